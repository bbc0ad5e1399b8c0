# SPDX-License-Identifier: Apache-2.0
"""Drivers macvlan and ipvlan: containers on a link of the host, with a network namespace as the second host on it. What
this kernel lacks is shown in the guest (tests/guest/network_checks.sh), whose kernel has all of them."""
import json
import os
import subprocess

import pytest

from harness.container import inspect
from harness.netns import NetworkNamespace
from harness.shell import run, wait_for

GATEWAY = "192.168.150.1"


class Lan:
    """A veth pair: the host's end is the parent, the other end is in a namespace that is the rest of the network."""

    def __init__(self, netns):
        self.netns, self.parent = netns, "lanp0"
        self.other = NetworkNamespace(f"lan{os.getpid()}")
        run(netns.enter(["ip", "link", "add", self.parent, "type", "veth", "peer", "name", "lanp1", "netns", self.other.name]))
        run(netns.enter(["ip", "link", "set", self.parent, "up"]))
        run(self.other.enter(["ip", "link", "set", "lanp1", "up"]))
        run(self.other.enter(["ip", "addr", "add", GATEWAY + "/24", "dev", "lanp1"]))

    def kernel_has(self, kind, *more):
        made = run(self.other.enter(["ip", "link", "add", "link", "lanp1", "name", "probe0", "type", kind, *more]), rc=None)
        run(self.other.enter(["ip", "link", "delete", "probe0"]), rc=None)
        return made.rc == 0

    def sees(self, address):
        return run(self.other.enter(["busybox", "ping", "-c1", "-W5", address]), rc=None).rc == 0

    def remove(self):
        subprocess.run(self.netns.enter(["ip", "link", "delete", self.parent]), stderr=subprocess.DEVNULL, check=False)
        self.other.remove()


@pytest.fixture
def lan(netns):
    made = Lan(netns)
    yield made
    made.remove()


@pytest.fixture
def macvlan(lan):
    if not lan.kernel_has("macvlan"):
        pytest.skip("this kernel has no macvlan")
    return lan


def create(cli, *flags, name="lan", rc=0):
    return cli("network", "create", "-d", "macvlan", "--subnet", "192.168.150.0/24", "--gateway", GATEWAY, "-o", "parent=lanp0", *flags, name, rc=rc)


def sleeper(cli, name, *flags):
    return cli.out("run", "-d", "--name", name, "--network", "lan", *flags, "busybox", "sleep", "999")


def address(cli, container):
    return inspect(cli, container)["NetworkSettings"]["Networks"]["lan"]["IPAddress"]


def pings(cli, container, target):
    return cli("exec", container, "ping", "-c1", "-W5", target, rc=None).rc == 0


def test_macvlan_is_on_the_lan(cli, engine, macvlan):
    links, rules = engine.netns.links(), engine.netns.rules()
    create(cli, "--aux-address", "printer=192.168.150.2")
    shown = json.loads(cli.out("network", "inspect", "lan"))[0]
    assert shown["Driver"] == "macvlan" and shown["Options"]["parent"] == "lanp0"
    assert shown["IPAM"]["Config"][0]["Gateway"] == GATEWAY
    sleeper(cli, "one", "-p", "8077:80")
    sleeper(cli, "two", "--ip", "192.168.150.77", "--mac-address", "02:11:22:33:44:77")
    # The host has neither a bridge nor a rule nor an address of it, and publishes nothing.
    assert engine.netns.links() == links and engine.netns.rules() == rules
    assert GATEWAY not in run(engine.netns.enter(["ip", "addr"])).out and cli.out("port", "one") == ""
    assert address(cli, "one") == "192.168.150.3" and address(cli, "two") == "192.168.150.77"
    assert cli.out("exec", "two", "cat", "/sys/class/net/eth0/address") == "02:11:22:33:44:77"
    assert inspect(cli, "two")["NetworkSettings"]["Networks"]["lan"]["MacAddress"] == "02:11:22:33:44:77"
    assert f"default via {GATEWAY} dev eth0" in cli.out("exec", "one", "ip", "route")
    assert pings(cli, "one", GATEWAY) and macvlan.sees("192.168.150.3") and macvlan.sees("192.168.150.77")
    assert pings(cli, "one", "two") and pings(cli, "two", "192.168.150.3")
    assert "already in use" in cli("run", "--network", "lan", "--ip", "192.168.150.77", "busybox", "true", rc=125).err.lower()
    err = cli("network", "create", "-d", "macvlan", "--subnet", "10.219.0.0/24", "-o", "parent=lanp0", "again", rc=1).err
    assert "network lan is already using parent interface lanp0" in err
    assert "has active endpoints" in cli("network", "rm", "lan", rc=1).err
    cli("restart", "-t", "0", "two")
    assert address(cli, "two") == "192.168.150.77" and macvlan.sees("192.168.150.77")
    cli("rm", "-f", "one", "two")
    cli("network", "rm", "lan")
    assert engine.netns.links() == links


@pytest.mark.parametrize("mode, among", [("bridge", True), ("private", False), ("vepa", False)])
def test_macvlan_modes(caisson, macvlan, mode, among):
    create(caisson, "-o", "macvlan_mode=" + mode)
    sleeper(caisson, "one")
    sleeper(caisson, "two")
    assert macvlan.sees(address(caisson, "one")) and pings(caisson, "two", GATEWAY)
    assert (caisson("exec", "one", "ping", "-c1", "-W1", address(caisson, "two"), rc=None).rc == 0) is among


def test_macvlan_passthru_is_for_one(caisson, macvlan):
    create(caisson, "-o", "macvlan_mode=passthru")
    sleeper(caisson, "one")
    assert macvlan.sees(address(caisson, "one"))
    err = caisson("run", "--name", "two", "--network", "lan", "busybox", "true", rc=125).err
    assert "its parent is used by others in a way that excludes it" in err
    caisson("rm", "-f", "one")
    caisson("start", "two")


def test_macvlan_connect_and_disconnect(cli, macvlan):
    create(cli)
    cli.out("run", "-d", "--name", "one", "-p", "8078:80", "busybox", "sleep", "999")
    cli("network", "connect", "--ip", "192.168.150.40", "lan", "one")
    assert macvlan.sees("192.168.150.40")
    assert "eth1" in cli.out("exec", "one", "ip", "link")
    cli("network", "disconnect", "lan", "one")
    assert "eth1" not in cli.out("exec", "one", "ip", "link") and not pings(cli, "one", GATEWAY)
    # The address is free for others at once.
    sleeper(cli, "two", "--ip", "192.168.150.40")
    assert macvlan.sees("192.168.150.40")
    cli("network", "disconnect", "bridge", "one")
    cli("network", "connect", "lan", "one")
    assert pings(cli, "one", "192.168.150.40") and "default via " + GATEWAY in cli.out("exec", "one", "ip", "route")


def test_macvlan_with_both_families(caisson, macvlan):
    run(macvlan.other.enter(["ip", "addr", "add", "fd15::1/64", "dev", "lanp1", "nodad"]))
    create(caisson, "--ipv6", "--subnet", "fd15::/64", "--gateway", "fd15::1")
    sleeper(caisson, "one")
    sleeper(caisson, "two", "--ip6", "fd15::77")
    shown = inspect(caisson, "one")["NetworkSettings"]["Networks"]["lan"]
    assert shown["GlobalIPv6Address"] == "fd15::2" and shown["IPv6Gateway"] == "fd15::1"
    assert caisson("exec", "one", "ping", "-6", "-c1", "-W5", "fd15::77", rc=None).rc == 0
    assert run(macvlan.other.enter(["busybox", "ping", "-6", "-c1", "-W5", "fd15::2"]), rc=None).rc == 0
    assert "default via fd15::1 dev eth0" in caisson.out("exec", "one", "ip", "-6", "route")


def test_macvlan_survives_the_engine(own_engine, client_of, macvlan):
    engine = own_engine()
    cli = client_of(engine)
    create(cli)
    sleeper(cli, "one")
    engine.kill9()
    assert macvlan.sees("192.168.150.2")
    engine.start()
    assert address(cli, "one") == "192.168.150.2"
    sleeper(cli, "two")
    assert address(cli, "two") == "192.168.150.3" and pings(cli, "one", "two")
    cli("rm", "-f", "one", "two")
    wait_for(lambda: cli("network", "rm", "lan", rc=None).rc == 0, "the network can be removed")


def test_a_kernel_without_them_is_told(cli, engine, lan):
    links = engine.netns.links()
    told = 0
    for kind, more, flags, sentence in [
            ("ipvlan", (), ["-d", "ipvlan", "-o", "parent=lanp0"], "this host's kernel has no ipvlan (module 'ipvlan')"),
            ("macvlan", (), ["-d", "macvlan", "-o", "parent=lanp0"], "this host's kernel has no macvlan (module 'macvlan')"),
            ("vlan", ("id", "7"), ["-d", "macvlan", "-o", "parent=lanp0.10"], "this host's kernel has no vlan (module '8021q')"),
            ("dummy", (), ["-d", "macvlan", "--internal"], "this host's kernel has no dummy (module 'dummy')")]:
        if lan.kernel_has(kind, *more) or (kind in ("vlan", "dummy") and not lan.kernel_has("macvlan")):
            continue
        assert sentence in cli("network", "create", *flags, "--subnet", "10.216.0.0/24", "lacking", rc=1).err
        told += 1
    assert engine.netns.links() == links
    assert "lacking" not in cli.out("network", "ls", "--format", "{{.Name}}").splitlines()
    if not told:
        pytest.skip("this kernel has all of them")


@pytest.mark.parametrize("flags, why", [
    (["-d", "macvlan", "-o", "macvlan_mode=l2"], "requested macvlan_mode 'l2' is not valid"),
    (["-d", "ipvlan", "-o", "ipvlan_mode=bridge"], "requested ipvlan_mode 'bridge' is not valid"),
    (["-d", "ipvlan", "-o", "ipvlan_flag=l3"], "requested ipvlan_flag 'l3' is not valid"),
    (["-d", "macvlan", "-o", "parent=lo"], "loopback interface is not a valid macvlan parent link"),
    (["-d", "macvlan", "-o", "parent=a/b"], "'a/b' is not a name for a network interface"),
    (["-d", "macvlan", "--subnet", "10.217.0.0/24", "--gateway", "10.218.0.1"], "10.218.0.1"),
])
def test_what_is_refused(cli, flags, why):
    assert why in cli("network", "create", *flags, "lan", rc=1).err


def test_subnets_of_bridges_and_lans_stay_apart(own_engine, client_of, macvlan):
    """Whoever came first; the pool of bridges goes around what a LAN has."""
    engine = own_engine(extra=["--default-address-pool", "base=10.219.0.0/16,size=18"], bip="10.219.64.1/18")
    cli = client_of(engine)

    def subnet(name):
        return json.loads(cli.out("network", "inspect", name))[0]["IPAM"]["Config"][0]["Subnet"]
    taken = "Pool overlaps with other one on this address space"
    cli("network", "create", "-d", "macvlan", "--subnet", "10.219.0.0/18", "-o", "parent=lanp0", "lan")
    assert taken in cli("network", "create", "--subnet", "10.219.1.0/24", "bridged", rc=1).err
    cli("network", "create", "bridged")
    assert subnet("bridged") == "10.219.128.0/18"
    for busy in ("10.219.128.0/24", "10.219.64.0/18"):
        assert taken in cli("network", "create", "-d", "macvlan", "--subnet", busy, "-o", "parent=lanp0", "second", rc=1).err
    engine.kill9()
    engine.start()
    assert taken in cli("network", "create", "--subnet", "10.219.1.0/24", "other", rc=1).err
    cli("network", "create", "other")
    assert subnet("other") == "10.219.192.0/18"
    cli("network", "rm", "lan", "bridged", "other")


def test_a_limit_of_what_goes_out(own_engine, client_of, macvlan):
    engine = own_engine()
    cli = client_of(engine)
    create(cli)
    limit = "com.caisson.network.limit"
    told = cli("run", "-d", "--network", f"name=lan,driver-opt={limit}.ingress=1mbit", "busybox", "true", rc=125).err
    assert "network lan: what comes in cannot be limited on networks of driver macvlan" in told
    cli("run", "-d", "--name", "one", "--network", f"name=lan,driver-opt={limit}.egress=1mbit", "busybox", "sleep", "999")
    queue = json.loads(run(["nsenter", f"--net=/proc/{inspect(cli, 'one')['State']['Pid']}/ns/net", "tc", "-j", "qdisc", "show", "dev", "eth0"]).out)
    assert [entry["options"]["rate"] for entry in queue if entry["kind"] == "tbf"] == [125_000]
    cli("rm", "-f", "one")
    wait_for(lambda: cli("network", "rm", "lan", rc=None).rc == 0, "the network can be removed")
