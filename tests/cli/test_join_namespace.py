# SPDX-License-Identifier: Apache-2.0
"""--network ns:PATH: a container in a network namespace that somebody else made."""
import json
import os

import pytest

from harness.container import inspect, pid_of
from harness.netns import NetworkNamespace
from harness.shell import run, wait_for


@pytest.fixture
def space():
    made = NetworkNamespace(f"join{os.getpid()}")
    run(made.enter(["ip", "link", "add", "inner0", "type", "veth", "peer", "name", "inner1"]))
    run(made.enter(["ip", "addr", "add", "10.215.0.1/24", "dev", "inner0"]))
    run(made.enter(["ip", "link", "set", "inner0", "up"]))
    run(made.enter(["ip", "link", "set", "inner1", "up"]))
    yield made
    made.remove()


def inode(path):
    return os.stat(path).st_ino


def test_container_joins_a_namespace_by_path(cli, space):
    path = f"/run/netns/{space.name}"
    out = cli.out("run", "--rm", "--network", f"ns:{path}", "busybox", "ip", "-o", "-4", "addr")
    assert "10.215.0.1/24" in out
    cli.out("run", "-d", "--name", "inside", "--hostname", "guest", "--network", f"ns:{path}", "busybox", "sleep", "999")
    assert inode(f"/proc/{pid_of(cli, 'inside')}/ns/net") == inode(path)
    assert cli.out("exec", "inside", "hostname") == "guest"
    shown = inspect(cli, "inside")
    assert shown["HostConfig"]["NetworkMode"] == f"ns:{path}"
    assert shown["NetworkSettings"]["SandboxKey"] == path and shown["NetworkSettings"]["Networks"] == {}
    # Another container can share it the usual way.
    assert "inner1" in cli.out("run", "--rm", "--network", "container:inside", "busybox", "ip", "link")
    cli("restart", "-t", "0", "inside")
    assert inode(f"/proc/{pid_of(cli, 'inside')}/ns/net") == inode(path)
    err = cli("network", "connect", "bridge", "inside", rc=1).err
    assert "cannot be connected to any other network" in err
    cli("rm", "-f", "inside")
    # It is not the container's: it stays as it was.
    assert "inner0" in space.links()


def test_namespace_made_anew_is_joined_at_the_next_start(cli, space):
    path = f"/run/netns/{space.name}"
    cli.out("create", "--name", "later", "--network", f"ns:{path}", "busybox", "sleep", "999")
    space.remove()
    err = cli("start", "later", rc=1).err
    assert f"joining a network namespace: open '{path}': no such file or directory" in err.lower()
    assert inspect(cli, "later")["State"]["Status"] == "created"
    run(["ip", "netns", "add", space.name])
    cli("start", "later")
    assert inode(f"/proc/{pid_of(cli, 'later')}/ns/net") == inode(path)


def test_restart_policy_stays_in_the_namespace(cli, space):
    path = f"/run/netns/{space.name}"
    cli("run", "-d", "--name", "again", "--restart", "always", "--network", f"ns:{path}", "busybox", "sleep", "999")
    first = pid_of(cli, "again")
    os.kill(first, 9)
    wait_for(lambda: pid_of(cli, "again") not in (0, first), "the policy starts it again")
    wait_for(lambda: inode(f"/proc/{pid_of(cli, 'again')}/ns/net") == inode(path), "it is in the namespace")


@pytest.mark.parametrize("path, why", [
    ("/etc/passwd", "'/etc/passwd' is not a network namespace"),
    ("/proc/self/ns/mnt", "'/proc/self/ns/mnt' is a namespace, but not of networks"),
    ("/", "'/' is not a network namespace"),
    ("/nowhere/at/all", "open '/nowhere/at/all': No such file or directory"),
])
def test_what_is_no_namespace_is_refused(cli, path, why):
    err = cli("run", "--rm", "--network", f"ns:{path}", "busybox", "true", rc=125).err
    assert why.lower() in err.lower() and "joining a network namespace" in err


def test_a_fifo_is_not_opened(cli, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    err = cli("run", "--rm", "--network", f"ns:{tmp_path}/fifo", "busybox", "true", rc=125).err
    assert "is not a network namespace" in err


def test_options_that_cannot_be_meant(api, cli):
    err = cli("create", "--network", "ns:relative", "busybox", rc=None).err
    assert "ns: is followed by the whole path of a namespace" in err
    answer = api.post("/containers/create", {"Image": "busybox", "HostConfig": {"NetworkMode": "ns:/run/netns/x", "Links": ["a:b"]}})
    assert answer.status == 400 and "links and a network namespace" in answer.json["message"]
    made = api.ok("POST", "/containers/create", {"Image": "busybox", "HostConfig": {
        "NetworkMode": "ns:/run/netns/x", "PortBindings": {"80/tcp": [{"HostPort": "8099"}]}}})
    assert made["Warnings"] == ["Published ports are discarded when using ns:/run/netns/x network mode"]
    answer = api.post("/containers/create", {"Image": "busybox", "HostConfig": {"NetworkMode": "ns:/run/netns/x"},
                                             "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}})
    assert answer.status == 400, json.dumps(answer.json)
