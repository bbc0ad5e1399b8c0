# SPDX-License-Identifier: Apache-2.0
"""What the outside and a network may do with each other: gateway modes, masquerading, trusted interfaces, the bridge itself."""
import json
import subprocess

import pytest

from cli.test_networks import second_host  # noqa: F401  (fixture)
from cli.test_networks6 import endpoint, fetch, net, shown  # noqa: F401  (fixture)
from harness.container import inspect
from harness.shell import run, wait_for

PREFIX = "com.docker.network"
WEB = ("sh", "-c", "mkdir /w; echo hello > /w/index.html; httpd -h /w -p 81; exec httpd -f -h /w -p 80")
PEERS = """
import socket, sys
s = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.sendall((peer[0].removeprefix("::ffff:") + "\\n").encode())
    c.close()
"""


@pytest.fixture
def wire(engine, second_host):  # noqa: F811
    """The second host, with IPv6 on the wire too, and a server on port 9000 that says who connects."""
    for space, link, address in ((engine.netns, "wire0", "fd00:fe::1/64"), (second_host, "wire1", "fd00:fe::2/64")):
        run(space.enter(["ip", "addr", "add", address, "dev", link, "nodad"]))
    run(second_host.enter(["ip", "-6", "route", "add", "default", "via", "fd00:fe::1"]))
    peers = subprocess.Popen(second_host.enter(["/usr/bin/python3", "-c", PEERS]), stdout=subprocess.PIPE)
    try:
        assert peers.stdout.readline() == b"ready\n"
        yield second_host
    finally:
        peers.kill()
        peers.communicate()


def web(cli, engine, name, network, *flags):
    """A server on ports 80 and 81; its endpoint."""
    cli("run", "-d", "--name", name, "--network", network, *flags, "busybox", *WEB)
    mine = endpoint(cli, name, network)
    address = mine["IPAddress"] or f"[{mine['GlobalIPv6Address']}]"
    wait_for(lambda: fetch(engine, f"http://{address}:81/") == "hello\n", "the server is up")
    return mine


def reaches(space, url, wanted=True):
    """What is to answer has the time that neighbours need to find each other."""
    def answers():
        return space.fetch(url, timeout=2, rc=None) == "hello\n"
    if wanted:
        wait_for(answers, f"{url} answers", 10)
    return wanted if wanted else answers()


def seen_as(cli, container, server):
    """Who the second host says that the container is."""
    return wait_for(lambda: cli("exec", container, "nc", "-w", "3", server, "9000", rc=None).out.strip(), "the other host answers")


@pytest.mark.parametrize("mode", ["nat", "nat-unprotected", "routed"])
def test_modes_of_ipv4(caisson, net, engine, wire, mode):  # noqa: F811
    net("own", "--subnet", "10.92.0.0/24", "-o", f"{PREFIX}.bridge.gateway_mode_ipv4={mode}")
    mine = web(caisson, engine, "web", "own", "-p", "18451:80")
    published, inside = "http://10.91.9.1:18451/", f"http://{mine['IPAddress']}"
    for url, wanted in ((published, mode != "routed"), (inside + ":80/", mode != "nat"), (inside + ":81/", mode == "nat-unprotected")):
        assert reaches(wire, url, wanted) == wanted
    assert seen_as(caisson, "web", "10.91.9.2") == (mine["IPAddress"] if mode == "routed" else "10.91.9.1")
    assert shown(caisson, "own")["Options"][f"{PREFIX}.bridge.gateway_mode_ipv4"] == mode


@pytest.mark.parametrize("mode", ["nat", "nat-unprotected", "routed"])
def test_modes_of_ipv6(caisson, net, engine, wire, mode):  # noqa: F811
    net("own", "--ipv4=false", "--ipv6", "--subnet", "fd00:b0::/64", "-o", f"{PREFIX}.bridge.gateway_mode_ipv6={mode}")
    mine = web(caisson, engine, "web", "own", "-p", "18452:80")
    published, inside = "http://[fd00:fe::1]:18452/", f"http://[{mine['GlobalIPv6Address']}]"
    for url, wanted in ((published, mode != "routed"), (inside + ":80/", mode != "nat"), (inside + ":81/", mode == "nat-unprotected")):
        assert reaches(wire, url, wanted) == wanted
    assert seen_as(caisson, "web", "fd00:fe::2") == (mine["GlobalIPv6Address"] if mode == "routed" else "fd00:fe::1")


def test_masquerading_off(caisson, net, engine, wire):  # noqa: F811
    net("own", "--subnet", "10.92.1.0/24", "-o", f"{PREFIX}.bridge.enable_ip_masquerade=false")
    mine = web(caisson, engine, "web", "own")
    assert seen_as(caisson, "web", "10.91.9.2") == mine["IPAddress"]


def test_address_that_containers_are_seen_as(caisson, net, engine, wire):  # noqa: F811
    for address in ("10.91.9.77/24", "fd00:fe::77/64"):
        run(engine.netns.enter(["ip", "addr", "add", address, "dev", "wire0", *(["nodad"] if ":" in address else [])]))
    net("own", "--ipv6", "--subnet", "10.92.2.0/24", "--subnet", "fd00:b1::/64", "-o", f"{PREFIX}.host_ipv4=10.91.9.77", "-o", f"{PREFIX}.host_ipv6=fd00:fe::77")
    web(caisson, engine, "web", "own")
    assert seen_as(caisson, "web", "10.91.9.2") == "10.91.9.77"
    assert seen_as(caisson, "web", "fd00:fe::2") == "fd00:fe::77"


def test_trusted_interfaces(caisson, net, engine, wire):  # noqa: F811
    net("own", "--subnet", "10.92.3.0/24", "-o", f"{PREFIX}.bridge.trusted_host_interfaces=wire0")
    net("other", "--subnet", "10.92.4.0/24", "-o", f"{PREFIX}.bridge.trusted_host_interfaces=elsewhere0:elsewhere1")
    mine, theirs = web(caisson, engine, "web", "own", "-p", "18453:80"), web(caisson, engine, "second", "other", "-p", "18454:80")
    assert reaches(wire, f"http://{mine['IPAddress']}:80/") and not reaches(wire, f"http://{mine['IPAddress']}:81/", False)
    assert not reaches(wire, f"http://{theirs['IPAddress']}:80/", False)
    assert reaches(wire, "http://10.91.9.1:18453/") and reaches(wire, "http://10.91.9.1:18454/")


@pytest.mark.parametrize("client_of", ["caisson"], indirect=True)
def test_allow_direct_routing(second_host, own_engine, client_of):  # noqa: F811
    """--allow-direct-routing: published ports, and no others, at the containers' own addresses."""
    engine = own_engine(extra=["--allow-direct-routing"], bip="10.92.9.1/24")
    cli = client_of(engine)
    cli("network", "create", "own", "--subnet", "10.92.10.0/24")
    mine, theirs = web(cli, engine, "web", "bridge", "-p", "18455:80"), web(cli, engine, "second", "own", "-p", "18456:80")
    for one, port in ((mine, 18455), (theirs, 18456)):
        assert reaches(second_host, f"http://{one['IPAddress']}:80/") and reaches(second_host, f"http://10.91.9.1:{port}/")
        assert not reaches(second_host, f"http://{one['IPAddress']}:81/", False)
    # Networks stay apart.
    assert cli("exec", "web", "timeout", "3", "wget", "-qO-", f"http://{theirs['IPAddress']}:80/", rc=None).rc
    engine.kill9()
    engine.start()
    assert reaches(second_host, f"http://{mine['IPAddress']}:80/")
    cli("rm", "-f", "web")
    engine.stop()
    engine.argv.remove("--allow-direct-routing")
    engine.start()
    wait_for(lambda: not second_host.fetch(f"http://{theirs['IPAddress']}:80/", timeout=2, rc=None), "closed by an engine without the flag")
    assert reaches(second_host, "http://10.91.9.1:18456/")
    cli("rm", "-f", "second")
    cli("network", "rm", "own")


def test_a_bridge_without_address(caisson, net, engine):
    net("own", "--subnet", "10.92.5.0/24", "--gateway", "10.92.5.9", "-o", f"{PREFIX}.bridge.inhibit_ipv4=true", "-o", f"{PREFIX}.bridge.name=cinhibit0", "-o", f"{PREFIX}.driver.mtu=1350")
    caisson("run", "-d", "--name", "one", "--network", "own", "busybox", "sleep", "999")
    link = json.loads(run(engine.netns.enter(["ip", "-j", "addr", "show", "dev", "cinhibit0"])).out)[0]
    assert link["mtu"] == 1350 and not [a for a in link["addr_info"] if a["family"] == "inet"]
    assert "mtu 1350" in caisson.out("exec", "one", "ip", "link", "show", "eth0")
    caisson("run", "-d", "--name", "two", "--network", "own", "busybox", "sleep", "999")
    assert caisson("exec", "one", "ping", "-c1", "-W3", "two", rc=None).rc == 0
    assert inspect(caisson, "one")["NetworkSettings"]["Networks"]["own"]["Gateway"] == "10.92.5.9"


def test_packets_with_a_mark(caisson, net, engine, wire):  # noqa: F811
    """What --bridge-accept-fwmark is for is a rule of the administrator's."""
    net("own", "--subnet", "10.92.6.0/24")
    mine = web(caisson, engine, "web", "own")
    url = f"http://{mine['IPAddress']}:81/"
    assert not reaches(wire, url, False)
    run(engine.netns.enter(["nft", "add table ip marks; add chain ip marks early { type filter hook prerouting priority -300; }; add rule ip marks early iifname wire0 meta mark set 0x1"]))
    run(engine.netns.enter(["nft", "add", "rule", "ip", engine.own_name, "admin", "meta", "mark", "0x1", "accept"]))
    try:
        assert reaches(wire, url)
    finally:
        run(engine.netns.enter(["nft", "flush", "chain", "ip", engine.own_name, "admin"]))
        run(engine.netns.enter(["nft", "delete", "table", "ip", "marks"]))
