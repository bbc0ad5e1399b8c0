# SPDX-License-Identifier: Apache-2.0
"""Names in user networks go on being answered while the engine or caisson-dns is killed; servers that come and go."""
import os
import signal

import pytest

from harness.container import inspect
from harness.dns import PATIENCE, Upstream
from harness.shell import run, wait_for

pytestmark = [pytest.mark.no_leak_check, pytest.mark.parametrize("client_of", ["caisson"], indirect=True)]


@pytest.fixture
def pair(own_engine, client_of):
    """An engine with 'one' and 'two' on the network 'own', and a client of it."""
    engine = own_engine()
    client = client_of(engine)
    client("network", "create", "own")
    for name in ("one", "two"):
        client("run", "-d", "--name", name, "--network", "own", "busybox", "sleep", "999")
    return engine, client


def names_server(engine):
    """The pid of the engine's caisson-dns, 0 while there is none."""
    for pid, line in engine.processes().items():
        if line == "caisson-dns":
            return pid
    return 0


def resolves(client, name, address, within="two"):
    done = client("exec", within, "nslookup", name, rc=None)
    return done.rc == 0 and address in done.out.split("Name:", 1)[-1]


def address_of(client, name):
    return inspect(client, name)["NetworkSettings"]["Networks"]["own"]["IPAddress"]


def inside(client, name, *argv):
    """A command in the container's network, without any engine."""
    return ["nsenter", f"--net=/proc/{inspect(client, name)['State']['Pid']}/ns/net", *argv]


def test_names_without_an_engine(pair):
    engine, client = pair
    address = address_of(client, "one")
    lookup = inside(client, "two", "busybox", "nslookup", "one", "127.0.0.11")
    server = names_server(engine)
    assert server
    engine.kill9()
    assert address in run(lookup, rc=None).out.split("Name:", 1)[-1]
    engine.start()
    assert resolves(client, "one", address)
    assert names_server(engine) == server, "the one that was there goes on"
    client("run", "-d", "--name", "three", "--network", "own", "busybox", "sleep", "999")
    assert resolves(client, "three", address_of(client, "three"))
    client("rm", "-f", "one")
    assert not resolves(client, "one", address)


def test_a_killed_names_server_is_replaced(pair):
    engine, client = pair
    address = address_of(client, "one")
    before = names_server(engine)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: names_server(engine) not in (0, before), "another caisson-dns runs", PATIENCE)
    assert resolves(client, "one", address)


def test_both_killed(pair):
    engine, client = pair
    address = address_of(client, "one")
    server = names_server(engine)
    engine.kill9()
    os.kill(server, signal.SIGKILL)
    engine.start()
    assert resolves(client, "one", address) and resolves(client, "two", address_of(client, "two"), within="one")


def test_servers_of_a_container(pair):
    engine, client = pair
    gateway = inspect(client, "one")["NetworkSettings"]["Networks"]["own"]["Gateway"]
    client("run", "-d", "--name", "asks", "--network", "own", "--dns", "192.0.2.53", "--dns", gateway, "busybox", "sleep", "999")
    assert resolves(client, "one", address_of(client, "one"), within="asks")
    outside = Upstream(answers={"www.example.com": "192.0.2.80"}, address=gateway, port=53, namespace=engine.netns.name)
    try:
        wait_for(lambda: resolves(client, "www.example.com", "192.0.2.80", within="asks"), "the second server answers", PATIENCE)
        # Asked from inside the container: by its own address.
        with outside.lock:
            assert ("udp", "www.example.com") in {entry[:2] for entry in outside.seen}
        assert "one" not in outside.names_seen()
        assert resolves(client, "one", address_of(client, "one"), within="asks")
    finally:
        outside.close()
