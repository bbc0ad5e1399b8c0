# SPDX-License-Identifier: Apache-2.0
"""Networks of users: what `docker network` does, and what containers on them see."""
import json
import re
import subprocess
import time

import pytest

from harness.container import inspect
from harness.netns import NetworkNamespace
from harness.shell import run, wait_for

NAMES_SERVER = "nameserver 127.0.0.11"


@pytest.fixture
def net(cli):
    """Makes networks with subnets that nothing else uses."""
    made = []

    def make(name, *flags):
        ident = cli.out("network", "create", *flags, name)
        made.append(name)
        return ident
    yield make
    ids = cli.out("ps", "-aq").split()
    if ids:
        cli("rm", "-f", "-v", *ids)
    for name in made:
        cli("network", "rm", name, rc=None)


def shown(cli, name):
    return json.loads(cli.out("network", "inspect", name))[0]


def endpoint(cli, container, network):
    return inspect(cli, container)["NetworkSettings"]["Networks"][network]


def sleeper(cli, name, *flags):
    return cli.out("run", "-d", "--name", name, *flags, "busybox", "sleep", "999")


def pings(cli, container, target):
    return cli("exec", container, "ping", "-c1", "-W3", target, rc=None).rc == 0


def test_create_and_inspect(cli, net, engine):
    ident = net("own", "--subnet", "10.90.0.0/24", "--gateway", "10.90.0.9", "--label", "a=b", "-o", "com.docker.network.driver.mtu=1400")
    assert re.fullmatch("[0-9a-f]{64}", ident)
    network = shown(cli, "own")
    assert network["Id"] == ident and network["Driver"] == "bridge" and network["Scope"] == "local"
    assert network["IPAM"]["Config"] == [{"Subnet": "10.90.0.0/24", "Gateway": "10.90.0.9"}]
    assert network["Labels"] == {"a": "b"} and network["Options"]["com.docker.network.driver.mtu"] == "1400"
    assert network["Containers"] == {} and network["Internal"] is False
    assert shown(cli, ident[:10])["Name"] == "own"
    assert f"br-{ident[:12]}" in engine.netns.links()
    assert cli.out("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}", "--filter", "name=own") == "own bridge local"
    assert cli.out("network", "ls", "-q", "--no-trunc", "--filter", "label=a=b") == ident
    assert cli.out("network", "rm", "own") == "own"
    assert f"br-{ident[:12]}" not in engine.netns.links()
    assert cli("network", "inspect", "own", rc=1).err


def test_list_has_the_predefined(cli):
    lines = cli.out("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()
    assert {"bridge bridge", "host host", "none null"} <= set(lines)
    assert cli.out("network", "ls").split()[:5] == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert "bridge" not in cli.out("network", "ls", "--filter", "type=custom")


def test_names_resolve(cli, net):
    net("own")
    one = sleeper(cli, "one", "--network", "own", "--network-alias", "db", "--hostname", "first")
    sleeper(cli, "two", "--network", "own")
    assert NAMES_SERVER in cli.out("exec", "two", "cat", "/etc/resolv.conf")
    where = endpoint(cli, "one", "own")["IPAddress"]
    for name in ("one", "db", one[:12], "one.own", "first", "ONE"):
        out = cli("exec", "two", "nslookup", name, rc=None).out
        assert where in out.split("Name:", 1)[-1], (name, out)
        assert pings(cli, "two", name)
    assert "one.own" in cli("exec", "two", "nslookup", where, rc=None).out
    assert set(endpoint(cli, "one", "own")["DNSNames"]) == {"one", "db", one[:12], "first"}
    cli("rename", "one", "uno")
    assert pings(cli, "two", "uno") and not pings(cli, "two", "one")
    cli("rm", "-f", "uno")
    assert not pings(cli, "two", "uno")


def test_default_bridge_has_no_names(cli):
    sleeper(cli, "one")
    sleeper(cli, "two")
    assert NAMES_SERVER not in cli.out("exec", "two", "cat", "/etc/resolv.conf")
    assert not pings(cli, "two", "one")


def test_static_address(cli, net):
    net("own", "--subnet", "10.90.1.0/24")
    sleeper(cli, "one", "--network", "own", "--ip", "10.90.1.77")
    assert endpoint(cli, "one", "own")["IPAddress"] == "10.90.1.77"
    cli("restart", "-t", "0", "one")
    assert endpoint(cli, "one", "own")["IPAddress"] == "10.90.1.77"
    failed = cli("run", "--rm", "--network", "own", "--ip", "10.90.1.77", "busybox", "true", rc=125)
    assert "already in use" in failed.err
    assert "no configured subnet contains IP address 10.91.0.1" in cli("run", "--rm", "--network", "own", "--ip", "10.91.0.1", "busybox", "true", rc=125).err
    net("auto")
    assert "user configured subnets" in cli("run", "--rm", "--network", "auto", "--ip", "10.91.0.1", "busybox", "true", rc=125).err


def test_range_and_auxiliary_addresses(cli, net):
    net("own", "--subnet", "10.90.2.0/24", "--ip-range", "10.90.2.128/30", "--gateway", "10.90.2.1", "--aux-address", "router=10.90.2.129")
    got = {endpoint(cli, sleeper(cli, f"c{i}", "--network", "own"), "own")["IPAddress"] for i in range(3)}
    assert got == {"10.90.2.128", "10.90.2.130", "10.90.2.131"}
    assert "no available IPv4 addresses" in cli("run", "--rm", "--network", "own", "busybox", "true", rc=125).err


def test_networks_are_isolated(cli, net):
    net("left")
    net("right")
    sleeper(cli, "one", "--network", "left")
    sleeper(cli, "two", "--network", "right")
    sleeper(cli, "three")
    there = endpoint(cli, "two", "right")["IPAddress"]
    for source in ("one", "three"):
        assert not pings(cli, source, there)
    assert not pings(cli, "one", "two")


def test_internal_network(cli, net):
    net("closed", "--internal")
    sleeper(cli, "one", "--network", "closed")
    sleeper(cli, "two", "--network", "closed")
    assert pings(cli, "one", "two")
    assert "default" not in cli.out("exec", "one", "ip", "route")
    assert shown(cli, "closed")["Internal"] is True


def test_icc_off(cli, net):
    net("quiet", "-o", "com.docker.network.bridge.enable_icc=false")
    sleeper(cli, "one", "--network", "quiet")
    sleeper(cli, "two", "--network", "quiet")
    assert not pings(cli, "one", endpoint(cli, "two", "quiet")["IPAddress"])
    assert pings(cli, "one", shown(cli, "quiet")["IPAM"]["Config"][0]["Gateway"])


def test_connect_and_disconnect_while_running(cli, net):
    net("one-net", "--subnet", "10.90.3.0/24")
    net("two-net", "--subnet", "10.90.4.0/24")
    sleeper(cli, "mover", "--network", "one-net")
    sleeper(cli, "other", "--network", "two-net")
    assert not pings(cli, "mover", "other")
    cli("network", "connect", "--ip", "10.90.4.99", "--alias", "extra", "two-net", "mover")
    assert "10.90.4.99" in cli.out("exec", "mover", "ip", "addr", "show", "eth1")
    assert pings(cli, "mover", "other") and pings(cli, "other", "extra") and pings(cli, "other", "mover")
    assert "10.90.4.99\t" in cli.out("exec", "mover", "cat", "/etc/hosts")
    assert endpoint(cli, "mover", "two-net")["IPAddress"] == "10.90.4.99"
    assert set(c["Name"] for c in shown(cli, "two-net")["Containers"].values()) == {"mover", "other"}
    assert "already exists in network two-net" in cli("network", "connect", "two-net", "mover", rc=1).err
    cli("network", "disconnect", "two-net", "mover")
    assert "10.90.4.99\t" not in cli.out("exec", "mover", "cat", "/etc/hosts")
    assert cli("exec", "mover", "ip", "link", "show", "eth1", rc=None).rc != 0
    assert not pings(cli, "mover", "other") and not pings(cli, "other", "extra")
    assert "is not connected to network two-net" in cli("network", "disconnect", "two-net", "mover", rc=1).err
    # It can come again, also by the name of the interface.
    cli("network", "connect", "two-net", "mover")
    assert pings(cli, "mover", "other")
    cli("restart", "-t", "0", "mover")
    assert pings(cli, "mover", "other") and set(inspect(cli, "mover")["NetworkSettings"]["Networks"]) == {"one-net", "two-net"}


def test_connect_from_the_default_bridge(cli, net):
    net("own")
    sleeper(cli, "old")
    sleeper(cli, "new", "--network", "own")
    cli("network", "connect", "own", "old")
    assert NAMES_SERVER in cli.out("exec", "old", "cat", "/etc/resolv.conf")
    assert pings(cli, "old", "new")
    cli("network", "disconnect", "own", "old")
    assert NAMES_SERVER not in cli.out("exec", "old", "cat", "/etc/resolv.conf")


def test_connect_a_stopped_container(cli, net):
    net("own")
    cli("create", "--name", "later", "busybox", "sleep", "99")
    cli("network", "connect", "own", "later")
    cli("start", "later")
    assert set(inspect(cli, "later")["NetworkSettings"]["Networks"]) == {"bridge", "own"}
    assert "eth1" in cli.out("exec", "later", "ip", "link")


def test_several_networks_and_the_gateway(cli, net):
    net("aa", "--subnet", "10.90.5.0/24")
    net("bb", "--subnet", "10.90.6.0/24")
    net("cc", "--subnet", "10.90.7.0/24", "--internal")
    sleeper(cli, "many", "--network", "bb", "--network", "aa", "--network", "cc")
    addresses = cli.out("exec", "many", "ip", "-o", "-4", "addr")
    assert re.search(r"eth0\s+inet 10\.90\.6\.", addresses) and re.search(r"eth1\s+inet 10\.90\.5\.", addresses)
    assert "default via 10.90.5.1" in cli.out("exec", "many", "ip", "route")
    sleeper(cli, "wanted", "--network", "name=bb,gw-priority=1", "--network", "aa")
    assert "default via 10.90.6.1" in cli.out("exec", "wanted", "ip", "route")
    cli("network", "disconnect", "bb", "wanted")
    assert "default via 10.90.5.1" in cli.out("exec", "wanted", "ip", "route")


def test_ports_go_with_the_gateway(cli, net, engine):
    net("aa", "--subnet", "10.90.8.0/24")
    net("bb", "--subnet", "10.90.9.0/24")
    cli("run", "-d", "--name", "web", "-p", "18401:80", "--network", "aa", "busybox", "sh", "-c", "mkdir /w; echo hello > /w/index.html; httpd -f -h /w -p 80")

    def fetch():
        return engine.netns.fetch("http://127.0.0.1:18401/", rc=None)
    wait_for(lambda: fetch() == "hello\n", "the page")
    cli("network", "connect", "bb", "web")
    assert fetch() == "hello\n"
    cli("network", "disconnect", "aa", "web")
    assert fetch() == "hello\n" and "18401" in cli.out("port", "web")
    cli("network", "disconnect", "bb", "web")
    assert not fetch()
    cli("network", "connect", "aa", "web")


def test_published_port_from_another_network(cli, net):
    net("left")
    net("right")
    cli("run", "-d", "--name", "web", "-p", "18402:80", "--network", "left", "busybox", "sh", "-c", "mkdir /w; echo hello > /w/index.html; httpd -f -h /w -p 80")
    sleeper(cli, "asks", "--network", "right")
    gateway = shown(cli, "right")["IPAM"]["Config"][0]["Gateway"]
    wait_for(lambda: cli("exec", "asks", "wget", "-q", "-O-", f"http://{gateway}:18402/", rc=None).out == "hello\n", "the page")


def test_aliases_shared_by_several(cli, net):
    net("own")
    for name in ("one", "two", "three"):
        sleeper(cli, name, "--network", "own", "--network-alias", "service")
    out = cli("exec", "one", "nslookup", "service", rc=None).out
    for name in ("one", "two", "three"):
        assert endpoint(cli, name, "own")["IPAddress"] in out


def test_link_on_a_user_network(cli, net):
    net("own")
    sleeper(cli, "db", "--network", "own")
    sleeper(cli, "web", "--network", "own", "--link", "db:store")
    assert pings(cli, "web", "store")
    sleeper(cli, "third", "--network", "own")
    assert not pings(cli, "third", "store")
    cli("restart", "-t", "0", "db")
    assert pings(cli, "web", "store")


def test_shared_namespace(cli, net):
    net("own")
    sleeper(cli, "one", "--network", "own")
    sleeper(cli, "two", "--network", "own")
    assert pings(cli, "two", "one")
    assert "ok" in cli.out("run", "--rm", "--network", "container:two", "busybox", "sh", "-c", "ping -c1 -W3 one >/dev/null && echo ok")


def test_remove_refuses(cli, net):
    net("own")
    sleeper(cli, "one", "--network", "own")
    assert "has active endpoints" in cli("network", "rm", "own", rc=1).err
    assert "is a pre-defined network and cannot be removed" in cli("network", "rm", "bridge", rc=1).err
    assert "not found" in cli("network", "rm", "nothing", rc=1).err
    cli("network", "rm", "-f", "nothing")


def test_prune(cli, net):
    net("used")
    net("idle")
    net("kept", "--label", "keep=yes")
    cli("create", "--name", "one", "--network", "used", "busybox")
    out = cli.out("network", "prune", "-f", "--filter", "label!=keep=yes")
    assert "idle" in out and "used" not in out and "kept" not in out
    assert {"used", "kept"} <= set(cli.out("network", "ls", "--format", "{{.Name}}").split())


@pytest.mark.parametrize("flags, words", [
    (["--subnet", "10.90.0.0/33"], "invalid CIDR address"),
    (["--subnet", "10.90.20.5/24"], "10.90.20.0/24"),
    (["--subnet", "10.90.20.0/24", "--gateway", "10.91.0.1"], "no matching subnet for gateway"),
    (["--subnet", "10.90.20.0/24", "--ip-range", "10.91.0.0/25"], "no matching subnet for range"),
    (["--subnet", "10.90.20.0/24", "--aux-address", "x=10.91.0.1"], "no matching subnet for aux-address"),
    (["-d", "nowhere"], "plugin"),
    (["-d", "overlay"], "swarm"),
    (["-o", "com.docker.network.bridge.enable_icc=maybe"], "enable_icc"),
    (["-o", "com.docker.network.bridge.name=a-name-that-is-too-long"], "bridge name"),
    (["-o", "com.docker.network.driver.mtu=many"], "mtu")])
def test_create_refuses(cli, flags, words):
    failed = cli("network", "create", *flags, "bad", rc=1)
    assert words in failed.err, failed
    assert "bad" not in cli.out("network", "ls", "--format", "{{.Name}}").split()


def test_create_refuses_names_and_overlap(cli, net):
    net("own", "--subnet", "10.90.21.0/24")
    assert "already exists" in cli("network", "create", "own", rc=1).err
    assert "Pool overlaps with other one on this address space" in cli("network", "create", "--subnet", "10.90.0.0/16", "big", rc=1).err
    assert "predefined bridge network" in cli("network", "create", "bridge", rc=1).err
    assert "invalid network name" in cli("network", "create", "a b", rc=1).err


def test_config_only(cli, net):
    net("plan", "--config-only", "--subnet", "10.90.22.0/24", "-o", "com.docker.network.driver.mtu=1300")
    net("real", "--config-from", "plan")
    assert shown(cli, "real")["IPAM"]["Config"][0]["Subnet"] == "10.90.22.0/24"
    assert "1300" in cli.out("run", "--rm", "--network", "real", "busybox", "cat", "/sys/class/net/eth0/mtu")
    assert "config-only" in cli("run", "--rm", "--network", "plan", "busybox", "true", rc=125).err
    assert "is in use" in cli("network", "rm", "plan", rc=1).err
    cli("network", "rm", "real")


def test_unknown_network(cli):
    assert "network nowhere not found" in cli("run", "--rm", "--network", "nowhere", "busybox", "true", rc=125).err


def test_mode_conflicts(cli, net):
    net("own")
    sleeper(cli, "alone", "--network", "host")
    assert "host" in cli("network", "connect", "own", "alone", rc=1).err
    sleeper(cli, "none-one", "--network", "none")
    assert cli("network", "connect", "own", "none-one", rc=1).err
    sleeper(cli, "plain")
    assert "host" in cli("network", "connect", "host", "plain", rc=1).err


def test_events(cli, net, api):
    since = time.time()
    ident = net("own")
    one = sleeper(cli, "one", "--network", "own")
    cli("rm", "-f", "one")
    cli("network", "rm", "own")
    text = api.get(f"/events?since={since:.9f}&until={time.time():.9f}&filters=" + '{"type":["network"]}').body.decode()
    events = [json.loads(line) for line in text.splitlines()]
    assert [e["Action"] for e in events] == ["create", "connect", "disconnect", "destroy"]
    assert {e["Actor"]["ID"] for e in events} == {ident}
    assert events[1]["Actor"]["Attributes"] == {"container": one, "name": "own", "type": "bridge"}


def test_update_publishes_live(caisson, engine):
    cli = caisson
    cli("run", "-d", "--name", "web", "-p", "18411:80", "busybox", "sh", "-c", "mkdir /w; echo hello > /w/index.html; httpd -f -h /w -p 80")

    def fetch(port):
        return engine.netns.fetch(f"http://127.0.0.1:{port}/", rc=None)
    wait_for(lambda: fetch(18411) == "hello\n", "the page")
    before = inspect(cli, "web")["State"]["Pid"]
    cli("update", "--publish", "18412:80", "--publish", "127.0.0.1:18413:80", "web")
    assert fetch(18411) == fetch(18412) == fetch(18413) == "hello\n"
    assert inspect(cli, "web")["State"]["Pid"] == before
    cli("create", "--name", "other", "-p", "18412:80", "busybox", "true")
    assert "port is already allocated" in cli("start", "other", rc=1).err
    failed = cli("update", "--publish", "18413:81", "--publish", "18414:80", "web", rc=1)
    assert "already allocated" in failed.err and not fetch(18414)
    cli("update", "--unpublish", "18411:80", "web")
    assert not fetch(18411) and fetch(18412) == "hello\n"
    cli("restart", "-t", "0", "web")
    wait_for(lambda: fetch(18412) == "hello\n", "the page")
    assert not fetch(18411) and "18413" in cli.out("port", "web")
    cli("update", "--unpublish", "80", "web")
    assert not fetch(18412) and not fetch(18413) and cli.out("port", "web") == ""
    cli("start", "other")
    assert cli("update", "--publish", "x", "web", rc=1).err
    cli("run", "-d", "--name", "hostly", "--network", "host", "busybox", "sleep", "99")
    assert "no network of its own" in cli("update", "--publish", "18415:80", "hostly", rc=1).err


ANSWERS = r"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 53))
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(4096)
    end = q.index(b"\0", 12) + 5
    a = q[end - 4:end - 2] == b"\0\1"
    s.sendto(q[:2] + b"\x81\x80\0\1" + (b"\0\1" if a else b"\0\0") + b"\0\0\0\0" + q[12:end] + (b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x09\x08\x07\x06" if a else b""), peer)
"""


def test_names_of_outside(cli, net, engine):
    net("own", "--subnet", "10.90.30.0/24")
    net("closed", "--internal", "--subnet", "10.90.31.0/24")
    answers = subprocess.Popen(engine.netns.enter(["/usr/bin/python3", "-c", ANSWERS]), stdout=subprocess.PIPE)
    try:
        assert answers.stdout.readline() == b"ready\n"
        where = "10.90.30.1"
        sleeper(cli, "one", "--network", "own", "--dns", where)
        assert "9.8.7.6" in cli("exec", "one", "nslookup", "some.outside.name", rc=None).out
        assert endpoint(cli, "one", "own")["IPAddress"] in cli("exec", "one", "nslookup", "one", rc=None).out
        sleeper(cli, "two", "--network", "closed", "--dns", where)
        assert "9.8.7.6" not in cli("exec", "two", "nslookup", "some.outside.name", rc=None).out
    finally:
        answers.kill()
        answers.communicate()


def test_a_name_server_in_a_container(cli, net):
    """The embedded server leaves port 53 of the container to its programs."""
    net("own")
    cli("run", "-d", "--name", "serves", "--network", "own", "busybox", "sh", "-c", "nc -l -p 53 -e echo listening & sleep 999")
    sleeper(cli, "asks", "--network", "own")
    assert "listening" in wait_for(lambda: cli("exec", "asks", "sh", "-c", "nc -w 3 serves 53 </dev/null", rc=None).out, "the port answers")


@pytest.fixture
def second_host(engine):
    """Another network namespace on a wire to the engine's: 10.91.9.2 there, 10.91.9.1 here."""
    name = engine.netns.name + "b"
    other = NetworkNamespace(name)
    try:
        run(engine.netns.enter(["ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", name]))
        for space, link, address in ((engine.netns, "wire0", "10.91.9.1/24"), (other, "wire1", "10.91.9.2/24")):
            run(space.enter(["ip", "addr", "add", address, "dev", link]))
            run(space.enter(["ip", "link", "set", link, "up"]))
        run(other.enter(["ip", "route", "add", "default", "via", "10.91.9.1"]))
        yield other
    finally:
        other.remove()
        run(engine.netns.enter(["ip", "link", "delete", "wire0"]), rc=None)


def test_another_host_sees_published_ports_only(cli, net, engine, second_host):
    net("own", "--subnet", "10.90.40.0/24")
    # The server says whom it talks to.
    cli("run", "-d", "--name", "web", "-p", "18421:80", "--network", "own", "busybox", "nc", "-ll", "-p", "80", "-e", "sh", "-c",
        "read x; printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'; echo $NCAT_REMOTE_ADDR; netstat -tn | grep ':80 ' | awk '{print $5}'")
    inside = endpoint(cli, "web", "own")["IPAddress"]

    def page():
        return second_host.fetch("http://10.91.9.1:18421/", rc=None)
    assert "10.91.9.2:" in wait_for(page, "the published port answers")
    assert not second_host.fetch(f"http://{inside}/", timeout=2, rc=None), "a container's own address is for its host alone"


def test_rules_of_the_administrator(cli, net, engine, second_host):
    net("own")
    cli("run", "-d", "--name", "web", "-p", "18422:80", "--network", "own", "busybox", "sh", "-c", "mkdir /w; echo hello > /w/index.html; httpd -f -h /w -p 80")
    wait_for(lambda: second_host.fetch("http://10.91.9.1:18422/", rc=None) == "hello\n", "the page")
    run(engine.netns.enter(["nft", "add", "rule", "ip", engine.own_name, "admin", "ip", "saddr", "10.91.9.2", "drop"]))
    try:
        # The first packet of a connection is what the rule meets; what is known already goes on.
        assert not second_host.fetch("http://10.91.9.1:18422/", timeout=2, rc=None)
        assert engine.netns.fetch("http://127.0.0.1:18422/") == "hello\n"
        net("more")
        assert "10.91.9.2" in run(engine.netns.enter(["nft", "list", "chain", "ip", engine.own_name, "admin"])).out
    finally:
        run(engine.netns.enter(["nft", "flush", "chain", "ip", engine.own_name, "admin"]))


TUNNEL = r"""
open(my $tun, "+<", "/dev/net/tun") or die "open: $!";
my $request = pack("a16 S x22", "tun5", 0x1001);
ioctl($tun, 0x400454ca, $request) or die "TUNSETIFF: $!";
open(my $devices, "<", "/proc/net/dev"); print grep { /tun5/ } <$devices>;
"""


def test_tunnels_with_net_admin(cli):
    assert "tun5" in cli.out("run", "--rm", "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun", "debian", "perl", "-e", TUNNEL)
    assert "TUNSETIFF" in cli("run", "--rm", "--device", "/dev/net/tun", "debian", "perl", "-e", TUNNEL, rc=None).err
    assert "open" in cli("run", "--rm", "--cap-add", "NET_ADMIN", "debian", "perl", "-e", TUNNEL, rc=None).err


def test_sysctls_and_name_of_an_interface(cli, net):
    net("own")
    flags = "name=own,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1,driver-opt=com.docker.network.endpoint.ifname=lan7"
    out = cli.out("run", "--rm", "--network", flags, "busybox", "sh", "-c", "cat /proc/sys/net/ipv4/conf/lan7/log_martians; ip -o -4 addr show lan7; ip route")
    assert out.startswith("1\n") and "lan7" in out and "default via" in out
    for bad, words in (("net.ipv4.ip_forward=1", "the form is"), ("net.core.x.IFNAME.y=1", "only net.ipv4"), ("net.ipv4.conf.IFNAME.../x=1", "sysctl"),
                       ("net.ipv4.conf.IFNAME.nonsense=1", "nonsense")):
        failed = cli("run", "--rm", "--network", f"name=own,driver-opt=com.docker.network.endpoint.sysctls={bad}", "busybox", "true", rc=125)
        assert words in failed.err, failed
    assert cli("run", "--rm", "--network", "name=own,driver-opt=com.docker.network.endpoint.ifname=a/b", "busybox", "true", rc=125).err
