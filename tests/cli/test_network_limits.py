# SPDX-License-Identifier: Apache-2.0
"""Limits of bandwidth of a container's interfaces."""
import json
import time

import pytest

from harness.container import inspect, pid_of
from harness.shell import run, wait_for

IN, OUT = "com.caisson.network.limit.ingress", "com.caisson.network.limit.egress"
# Sends or receives as much as it is told to; the receiver says when all is there.
SEND = "import socket; s = socket.create_connection(('ADDRESS', 9000)); s.sendall(bytes(SIZE)); s.shutdown(1); s.recv(1)"


@pytest.fixture
def net(cli):
    made = []

    def make(name, *flags):
        cli("network", "create", name, *flags)
        made.append(name)
        return name
    yield make
    for name in made:
        for container in inspect_network(cli, name)["Containers"]:
            cli("rm", "-f", container)
        cli("network", "rm", name)


def inspect_network(cli, name):
    return json.loads(cli.out("network", "inspect", name))[0]


def limits(engine, cli, name, interface="eth0"):
    """What the kernel holds the container's interface to, in bits a second: (to it, from it)."""
    inside = ["nsenter", f"--net=/proc/{pid_of(cli, name)}/ns/net"]
    link = json.loads(run([*inside, "ip", "-j", "link", "show", "dev", interface]).out)[0]
    peers = {entry["ifindex"]: entry["ifname"] for entry in json.loads(run(engine.netns.enter(["ip", "-j", "link"])).out)}
    found = []
    for command in (engine.netns.enter(["tc", "-j", "qdisc", "show", "dev", peers[link["link_index"]]]), [*inside, "tc", "-j", "qdisc", "show", "dev", interface]):
        queues = [queue for queue in json.loads(run(command).out) if queue["kind"] == "tbf" and queue.get("root")]
        found.append(queues[0]["options"]["rate"] * 8 if queues else 0)
    return tuple(found)


def test_bandwidth_is_limited(cli, net, engine):
    net("own")
    cli("run", "-d", "--name", "slow", "--network", f"name=own,driver-opt={IN}=4Mbit,driver-opt={OUT}=2.5mbit", "busybox", "sleep", "999")
    cli("run", "-d", "--name", "free", "--network", "own", "busybox", "sleep", "999")
    assert limits(engine, cli, "slow") == (4_000_000, 2_500_000) and limits(engine, cli, "free") == (0, 0)

    def seconds(sender, receiver, size):
        """How long a transfer takes at the least: the time that the receiver sees between its first and last byte."""
        address = inspect(cli, receiver)["NetworkSettings"]["Networks"]["own"]["IPAddress"]
        listener = cli.start("exec", receiver, "sh", "-c", "nc -l -p 9000 | wc -c")
        try:
            inside = ["nsenter", f"--net=/proc/{pid_of(cli, receiver)}/ns/net"]
            wait_for(lambda: run([*inside, "ss", "-Hltn", "sport = :9000"]).out, "the receiver listens")
            began = time.monotonic()
            run(["nsenter", f"--net=/proc/{pid_of(cli, sender)}/ns/net", "/usr/bin/python3", "-c", SEND.replace("ADDRESS", address).replace("SIZE", str(size))])
            out, _ = listener.communicate(timeout=60)
        finally:
            listener.kill()
        assert int(out) == size
        return time.monotonic() - began
    # Lower bounds only: a busy machine is slower, never faster.
    assert seconds("free", "slow", 500_000) > 0.7, "4 Mbit/s to it: a second for 500 kB"
    assert seconds("slow", "free", 500_000) > 1.1, "2.5 Mbit/s from it: 1.6 s"


def test_limits_of_a_running_container(cli, net, engine):
    net("own")
    net("other")
    cli("run", "-d", "--name", "one", "--network", "own", "busybox", "sleep", "999")
    cli("network", "connect", "--driver-opt", f"{OUT}=12gbit", "other", "one")
    assert limits(engine, cli, "one", "eth1") == (0, 12_000_000_000) and limits(engine, cli, "one") == (0, 0)
    cli("restart", "-t", "0", "one")
    interface = next(name for name, mine in zip(("eth0", "eth1"), ("own", "other"))
                     if inspect(cli, "one")["NetworkSettings"]["Networks"]["other"]["MacAddress"] in run(["nsenter", f"--net=/proc/{pid_of(cli, 'one')}/ns/net", "ip", "link", "show", "dev", name]).out)
    assert limits(engine, cli, "one", interface) == (0, 12_000_000_000)


@pytest.mark.parametrize("value", ["fast", "1k", "10mbps", "-1", "1000001mbit", "7kbit", "1.0001gbit", "99999999999999999999", ".", "1..5mbit", "nan"])
def test_limits_that_make_no_sense_are_refused(cli, net, value):
    net("own")
    done = cli("create", "--network", f"name=own,driver-opt={IN}={value}", "busybox", rc=None)
    assert done.rc == 125 or done.rc == 1
    assert f"failed to parse {IN} value" in done.err
