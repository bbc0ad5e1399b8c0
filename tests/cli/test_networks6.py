# SPDX-License-Identifier: Apache-2.0
"""IPv6 and the further options of networks: addresses, gateways, names, published ports, ranges of ports."""
import ipaddress
import itertools
import json
import re
import subprocess

import pytest

from cli.test_networks import ANSWERS
from harness.container import inspect
from harness.dns import Upstream
from harness.shell import run, wait_for

WEB = ("sh", "-c", "mkdir /w; echo hello > /w/index.html; exec httpd -f -h /w -p 80")
PREFIX = "com.docker.network"


@pytest.fixture
def net(caisson):
    """Makes networks with subnets that nothing else uses."""
    made = []

    def make(name, *flags, rc=0):
        done = caisson("network", "create", *flags, name, rc=rc)
        if rc == 0:
            made.append(name)
        return done.out.strip() if rc == 0 else done.err
    yield make
    ids = caisson.out("ps", "-aq").split()
    if ids:
        caisson("rm", "-f", "-v", *ids)
    for name in made:
        caisson("network", "rm", name, rc=None)


def shown(cli, name):
    return json.loads(cli.out("network", "inspect", name))[0]


def endpoint(cli, container, network):
    return inspect(cli, container)["NetworkSettings"]["Networks"][network]


def sleeper(cli, name, *flags):
    return cli.out("run", "-d", "--name", name, *flags, "busybox", "sleep", "999")


def pings6(cli, container, target):
    return cli("exec", container, "ping", "-6", "-c1", "-W3", target, rc=None).rc == 0


def routes6(cli, container):
    return cli.out("exec", container, "ip", "-6", "route")


def fetch(engine, url):
    return engine.netns.fetch(url, rc=None)


# --- networks ---------------------------------------------------------------------------------------

def test_network_of_both_families(caisson, net, engine):
    cli = caisson
    ident = net("own", "--ipv6", "--subnet", "10.91.0.0/24", "--subnet", "fd00:91::/64", "--gateway", "10.91.0.9", "--gateway", "fd00:91::9",
                "--ip-range", "fd00:91::100/120", "--aux-address", "router=fd00:91::101")
    network = shown(cli, "own")
    assert network["EnableIPv4"] is True and network["EnableIPv6"] is True
    assert network["IPAM"]["Config"] == [
        {"Subnet": "10.91.0.0/24", "Gateway": "10.91.0.9"},
        {"Subnet": "fd00:91::/64", "IPRange": "fd00:91::100/120", "Gateway": "fd00:91::9", "AuxiliaryAddresses": {"router": "fd00:91::101"}}]
    assert cli.out("network", "ls", "--filter", "name=own", "--format", "{{.IPv4}} {{.IPv6}}") == "true true"
    sleeper(cli, "one", "--network", "own")
    sleeper(cli, "two", "--network", "own")
    mine = endpoint(cli, "one", "own")
    address = ipaddress.ip_address(mine["GlobalIPv6Address"])
    assert address in ipaddress.ip_network("fd00:91::100/120") and str(address) != "fd00:91::101"
    assert mine["GlobalIPv6PrefixLen"] == 64 and mine["IPv6Gateway"] == "fd00:91::9" and mine["Gateway"] == "10.91.0.9"
    members = {c["Name"]: c for c in shown(cli, "own")["Containers"].values()}
    assert members["one"]["IPv6Address"] == f"{address}/64" and members["one"]["IPv4Address"] == mine["IPAddress"] + "/24"
    assert f"{address}/64" in cli.out("exec", "one", "ip", "-6", "addr", "show", "eth0")
    assert "default via fd00:91::9" in routes6(cli, "one")
    assert pings6(cli, "one", "fd00:91::9") and pings6(cli, "one", endpoint(cli, "two", "own")["GlobalIPv6Address"])
    engine_side = json.loads(run(engine.netns.enter(["ip", "-j", "-6", "addr", "show", "dev", f"br-{ident[:12]}"])).out)
    assert "fd00:91::9" in [a["local"] for link in engine_side for a in link.get("addr_info", [])]


def test_ula_is_chosen(caisson, net):
    net("own", "--ipv6")
    net("other", "--ipv6")
    subnets = []
    for name in ("own", "other"):
        four, six = shown(caisson, name)["IPAM"]["Config"]
        subnet = ipaddress.ip_network(six["Subnet"])
        assert subnet.subnet_of(ipaddress.ip_network("fc00::/7")) and subnet.prefixlen == 64
        assert ipaddress.ip_address(six["Gateway"]) in subnet and ipaddress.ip_network(four["Subnet"]).version == 4
        subnets.append(subnet)
    assert not subnets[0].overlaps(subnets[1])
    sleeper(caisson, "one", "--network", "own")
    assert ipaddress.ip_address(endpoint(caisson, "one", "own")["GlobalIPv6Address"]) in subnets[0]


def test_network_of_ipv6_alone(caisson, net):
    cli = caisson
    net("six", "--ipv4=false", "--ipv6", "--subnet", "fd00:92::/64")
    network = shown(cli, "six")
    assert network["EnableIPv4"] is False and network["EnableIPv6"] is True
    assert network["IPAM"]["Config"] == [{"Subnet": "fd00:92::/64", "Gateway": "fd00:92::1"}]
    sleeper(cli, "one", "--network", "six")
    sleeper(cli, "two", "--network", "six")
    mine = endpoint(cli, "one", "six")
    assert mine["IPAddress"] == "" and mine["IPPrefixLen"] == 0 and mine["Gateway"] == ""
    assert mine["GlobalIPv6Address"].startswith("fd00:92::")
    assert "inet " not in cli.out("exec", "one", "ip", "-4", "addr", "show", "eth0")
    assert "default" not in cli.out("exec", "one", "ip", "-4", "route")
    assert pings6(cli, "one", "two")
    members = {c["Name"]: c for c in shown(cli, "six")["Containers"].values()}
    assert members["one"]["IPv4Address"] == "" and members["one"]["IPv6Address"]
    assert "no IPv4 addresses" in cli("run", "--rm", "--network", "six", "--ip", "10.0.0.5", "busybox", "true", rc=125).err


def test_a_network_outlives_the_engine(own_engine, client_of):
    engine = own_engine(bip="10.99.31.1/24")
    cli = client_of(engine)
    engine.api.ok("POST", "/networks/create", {"Name": "own", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "10.99.32.0/24"}, {"Subnet": "fd00:99:32::/64"}]}})
    sleeper(cli, "one", "--network", "own", "--ip6", "fd00:99:32::77", "-p", "[::1]:18531:80")
    before = endpoint(cli, "one", "own")
    engine.restart()
    assert shown(cli, "own")["EnableIPv6"] is True
    assert endpoint(cli, "one", "own") == before
    assert "18531" in cli.out("port", "one")
    cli("restart", "-t", "0", "one")
    assert endpoint(cli, "one", "own")["GlobalIPv6Address"] == "fd00:99:32::77"
    cli("rm", "-f", "one")
    cli("network", "rm", "own")


@pytest.mark.parametrize("flags, words", [
    (["--ipv4=false"], "IPv4 or IPv6 must be enabled"),
    (["--ipv6", "--subnet", "fd00:93::/64", "--subnet", "fd00:94::/64"], "one IPv6 subnet"),
    (["--ipv6", "--subnet", "fd00:93::1/64"], "it should be fd00:93::/64"),
    (["-o", f"{PREFIX}.bridge.gateway_mode_ipv6=isolated"], "can only be used for an internal network"),
    (["-o", f"{PREFIX}.bridge.gateway_mode_ipv4=open"], "gateway_mode_ipv4"),
    (["-o", f"{PREFIX}.bridge.host_binding_ipv4=here"], "host_binding_ipv4"),
    (["-o", f"{PREFIX}.bridge.inhibit_ipv4=perhaps"], "neither true nor false"),
    (["-o", f"{PREFIX}.bridge.trusted_host_interfaces=a b"], "trusted_host_interfaces"),
    (["-o", f"{PREFIX}.host_ipv6=10.0.0.1"], "is not an IPv6 address"),
    (["-o", f"{PREFIX}.enable_ipv6=perhaps"], "enable_ipv6"),
    (["-o", f"{PREFIX}.container_iface_prefix=with/slash"], "container_iface_prefix"),
])
def test_create_refuses(caisson, net, flags, words):
    err = net("bad", *flags, rc=1)
    assert words in err and len(err.strip().splitlines()) <= 3
    assert "bad" not in caisson.out("network", "ls", "--format", "{{.Name}}").split()


def test_families_by_option_and_unknown_options(caisson, net):
    net("own", "-o", f"{PREFIX}.enable_ipv6=true", "-o", "org.example.note=kept", "--subnet", "fd00:95::/64")
    network = shown(caisson, "own")
    assert network["EnableIPv6"] is True and network["Options"]["org.example.note"] == "kept"
    # A subnet of a family that the network has not is not looked at, as in Docker.
    net("four", "--subnet", "10.91.3.0/24", "--subnet", "fd00:96::/64")
    assert [c["Subnet"] for c in shown(caisson, "four")["IPAM"]["Config"]] == ["10.91.3.0/24"]


def test_prefix_of_interfaces(caisson, net):
    net("dmz", "-o", f"{PREFIX}.container_iface_prefix=dmz", "--subnet", "10.91.4.0/24")
    net("plain", "--subnet", "10.91.5.0/24")
    sleeper(caisson, "one", "--network", "dmz", "--network", "plain")
    addresses = caisson.out("exec", "one", "ip", "-o", "-4", "addr")
    assert re.search(r"dmz0\s+inet 10\.91\.4\.", addresses) and re.search(r"eth0\s+inet 10\.91\.5\.", addresses)
    caisson("network", "disconnect", "dmz", "one")
    caisson("network", "connect", "dmz", "one")
    assert "10.91.4." in caisson.out("exec", "one", "ip", "-o", "-4", "addr", "show", "dmz0")


def test_isolated_gateway_mode(caisson, net):
    net("closed", "--internal", "--ipv6", "--subnet", "10.91.6.0/24", "--subnet", "fd00:97::/64",
        "-o", f"{PREFIX}.bridge.gateway_mode_ipv4=isolated", "-o", f"{PREFIX}.bridge.gateway_mode_ipv6=isolated")
    sleeper(caisson, "one", "--network", "closed")
    sleeper(caisson, "two", "--network", "closed")
    mine = endpoint(caisson, "one", "closed")
    assert mine["Gateway"] == "" and mine["IPv6Gateway"] == ""
    assert "default" not in caisson.out("exec", "one", "ip", "route") and "default" not in routes6(caisson, "one")
    assert pings6(caisson, "one", "two")


# --- endpoints --------------------------------------------------------------------------------------

def test_static_ipv6_address(cli, net):
    net("own", "--ipv6", "--subnet", "10.91.7.0/24", "--subnet", "fd00:98::/64")
    sleeper(cli, "one", "--network", "own", "--ip6", "fd00:98::77")
    assert endpoint(cli, "one", "own")["GlobalIPv6Address"] == "fd00:98::77"
    cli("restart", "-t", "0", "one")
    assert endpoint(cli, "one", "own")["GlobalIPv6Address"] == "fd00:98::77"
    assert endpoint(cli, "one", "own")["IPAMConfig"]["IPv6Address"] == "fd00:98::77"
    assert "already in use" in cli("run", "--rm", "--network", "own", "--ip6", "fd00:98::77", "busybox", "true", rc=125).err
    assert "no configured subnet contains" in cli("run", "--rm", "--network", "own", "--ip6", "fd00:1::5", "busybox", "true", rc=125).err
    net("four", "--subnet", "10.91.8.0/24")
    assert "no IPv6 addresses" in cli("run", "--rm", "--network", "four", "--ip6", "fd00:98::5", "busybox", "true", rc=125).err
    net("auto", "--ipv6")
    assert "user configured subnets" in cli("run", "--rm", "--network", "auto", "--ip6", "fd00:98::5", "busybox", "true", rc=125).err


def test_connect_and_disconnect_ipv6_while_running(cli, net):
    net("four", "--subnet", "10.91.9.0/24")
    net("both", "--ipv6", "--subnet", "10.91.10.0/24", "--subnet", "fd00:9a::/64")
    sleeper(cli, "mover", "--network", "four")
    sleeper(cli, "other", "--network", "both")
    cli("network", "connect", "--ip6", "fd00:9a::99", "both", "mover")
    assert endpoint(cli, "mover", "both")["GlobalIPv6Address"] == "fd00:9a::99"
    assert "fd00:9a::99\t" in cli.out("exec", "mover", "cat", "/etc/hosts")
    assert pings6(cli, "other", "mover") and pings6(cli, "mover", "other")
    assert "default via fd00:9a::1" in routes6(cli, "mover")
    cli("network", "disconnect", "both", "mover")
    assert "fd00:9a::99\t" not in cli.out("exec", "mover", "cat", "/etc/hosts")
    assert "default via fd00" not in routes6(cli, "mover")
    assert "default via 10.91.9.1" in cli.out("exec", "mover", "ip", "route")


def test_each_family_has_its_gateway(caisson, net):
    cli = caisson
    net("four", "--subnet", "10.91.11.0/24")
    net("six", "--ipv4=false", "--ipv6", "--subnet", "fd00:9b::/64")
    net("both", "--ipv6", "--subnet", "10.91.12.0/24", "--subnet", "fd00:9c::/64")
    sleeper(cli, "one", "--network", "four", "--network", "six")
    assert "default via 10.91.11.1" in cli.out("exec", "one", "ip", "route") and "default via fd00:9b::1" in routes6(cli, "one")
    # Both families from one network are better than each from its own.
    sleeper(cli, "two", "--network", "four", "--network", "six", "--network", "both")
    assert "default via 10.91.12.1" in cli.out("exec", "two", "ip", "route") and "default via fd00:9c::1" in routes6(cli, "two")
    # A priority counts for the families that the network has.
    sleeper(cli, "three", "--network", "name=four,gw-priority=5", "--network", "both")
    assert "default via 10.91.11.1" in cli.out("exec", "three", "ip", "route") and "default via fd00:9c::1" in routes6(cli, "three")


def test_link_local_addresses_of_both_families(caisson, net):
    net("own", "--ipv6", "--subnet", "10.91.13.0/24", "--subnet", "fd00:9d::/64")
    sleeper(caisson, "one", "--network", "own", "--link-local-ip", "169.254.9.9", "--link-local-ip", "fe80::99")
    shown_addresses = caisson.out("exec", "one", "ip", "addr", "show", "eth0")
    assert "169.254.9.9" in shown_addresses and "fe80::99" in shown_addresses
    assert endpoint(caisson, "one", "own")["IPAMConfig"]["LinkLocalIPs"] == ["169.254.9.9", "fe80::99"]


def test_names_and_files_of_ipv6(caisson, net):
    cli = caisson
    net("own", "--ipv6", "--subnet", "10.91.14.0/24", "--subnet", "fd00:9e::/64")
    sleeper(cli, "one", "--network", "own", "--network-alias", "db")
    sleeper(cli, "two", "--network", "own")
    there = endpoint(cli, "one", "own")["GlobalIPv6Address"]
    for name in ("one", "db"):
        assert there in cli("exec", "two", "nslookup", "-type=aaaa", name, rc=None).out
    assert "one.own" in cli("exec", "two", "nslookup", there, rc=None).out
    lines = cli.out("exec", "one", "cat", "/etc/hosts").splitlines()
    host = cli.out("exec", "one", "hostname")
    assert f"{there}\t{host}" in lines and "::1\tlocalhost ip6-localhost ip6-loopback" in lines and "ff02::1\tip6-allnodes" in lines


def test_names_of_outside_from_ipv6_alone(caisson, net, engine):
    """A server that only IPv4 leads to is asked for containers without IPv4, too."""
    net("six", "--ipv4=false", "--ipv6", "--subnet", "fd00:a3::/64")
    run(engine.netns.enter(["ip", "addr", "add", "192.0.2.53/32", "dev", "lo"]))
    answers = subprocess.Popen(engine.netns.enter(["/usr/bin/python3", "-c", ANSWERS]), stdout=subprocess.PIPE)
    try:
        assert answers.stdout.readline() == b"ready\n"
        sleeper(caisson, "one", "--network", "six", "--dns", "192.0.2.53")
        tries = itertools.count()
        wait_for(lambda: "9.8.7.6" in caisson("exec", "one", "nslookup", f"n{next(tries)}.outside.name", rc=None).out, "the server is asked", 30)
    finally:
        answers.kill()
        answers.communicate()
        run(engine.netns.enter(["ip", "addr", "del", "192.0.2.53/32", "dev", "lo"]))


def test_hosts_file_without_ipv6(cli):
    text = cli.out("run", "--rm", "--sysctl", "net.ipv6.conf.all.disable_ipv6=1", "--add-host", "far:fd00::5", "--add-host", "near:10.1.2.3", "busybox", "cat", "/etc/hosts")
    assert "::1" not in text and "fd00::5" not in text and "10.1.2.3\tnear" in text


def test_link_of_a_container_by_the_api(api, engine):
    """What HostConfig.Links means on a network of the user: an alias in that network."""
    api.ok("POST", "/networks/create", {"Name": "own"})
    ids = []
    for name, links in (("db", []), ("web", ["db:store"])):
        body = {"Image": "busybox", "Cmd": ["sleep", "999"], "HostConfig": {"NetworkMode": "own", "Links": links}}
        ids.append(api.ok("POST", f"/containers/create?name={name}", body)["Id"])
        api.ok("POST", f"/containers/{ids[-1]}/start")
    assert api.ok("GET", f"/containers/{ids[1]}/json")["NetworkSettings"]["Networks"]["own"]["Links"] == ["db:store"]
    made = api.ok("POST", f"/containers/{ids[1]}/exec", {"Cmd": ["ping", "-c1", "-W3", "store"], "AttachStdout": True})["Id"]
    api.post(f"/exec/{made}/start", {"Detach": False})
    wait_for(lambda: not api.ok("GET", f"/exec/{made}/json")["Running"], "ping ends")
    assert api.ok("GET", f"/exec/{made}/json")["ExitCode"] == 0


# --- published ports --------------------------------------------------------------------------------

def test_publish_on_ipv6(cli, net, engine):
    net("own", "--ipv6", "--subnet", "10.91.15.0/24", "--subnet", "fd00:9f::/64")
    cli("run", "-d", "--name", "web", "--network", "own", "-p", "18501:80", "-p", "[::1]:18502:80", "-p", "127.0.0.1:18503:80", "busybox", *WEB)
    wait_for(lambda: fetch(engine, "http://127.0.0.1:18501/") == "hello\n", "the page")
    wait_for(lambda: fetch(engine, "http://[::1]:18501/") == "hello\n", "the page on ::1")
    assert fetch(engine, "http://[fd00:9f::1]:18501/") == "hello\n"
    assert fetch(engine, "http://[::1]:18502/") == "hello\n" and not fetch(engine, "http://127.0.0.1:18502/")
    assert fetch(engine, "http://127.0.0.1:18503/") == "hello\n" and not fetch(engine, "http://[::1]:18503/")
    bindings = inspect(cli, "web")["NetworkSettings"]["Ports"]["80/tcp"]
    assert {(b["HostIp"], b["HostPort"]) for b in bindings} == {("0.0.0.0", "18501"), ("::", "18501"), ("::1", "18502"), ("127.0.0.1", "18503")}
    assert "[::1]:18502" in cli.out("port", "web").replace("::1:18502", "[::1]:18502")
    cli("create", "--name", "second", "--network", "own", "-p", "[::1]:18501:80", "busybox", "true")
    assert "port is already allocated" in cli("start", "second", rc=1).err


def test_ports_follow_the_gateway_of_their_family(caisson, net, engine):
    cli = caisson
    net("four", "--subnet", "10.91.16.0/24")
    net("six", "--ipv4=false", "--ipv6", "--subnet", "fd00:a0::/64")
    cli("run", "-d", "--name", "web", "--network", "four", "-p", "18511:80", "busybox", *WEB)
    wait_for(lambda: fetch(engine, "http://127.0.0.1:18511/") == "hello\n", "the page")
    cli("network", "connect", "six", "web")
    assert fetch(engine, "http://127.0.0.1:18511/") == "hello\n" and fetch(engine, "http://[::1]:18511/") == "hello\n"
    bindings = inspect(cli, "web")["NetworkSettings"]["Ports"]["80/tcp"]
    assert {(b["HostIp"], b["HostPort"]) for b in bindings} == {("0.0.0.0", "18511"), ("::", "18511")}
    cli("network", "disconnect", "four", "web")
    assert not fetch(engine, "http://127.0.0.1:18511/") and fetch(engine, "http://[::1]:18511/") == "hello\n"
    cli("network", "connect", "four", "web")
    assert fetch(engine, "http://127.0.0.1:18511/") == "hello\n"
    cli("restart", "-t", "0", "web")
    wait_for(lambda: fetch(engine, "http://[::1]:18511/") == "hello\n", "the page")
    assert fetch(engine, "http://127.0.0.1:18511/") == "hello\n"


def test_the_same_chosen_port_for_both_families(caisson, net):
    net("four", "--subnet", "10.91.17.0/24")
    net("six", "--ipv4=false", "--ipv6", "--subnet", "fd00:a1::/64")
    net("both", "--ipv6", "--subnet", "10.91.18.0/24", "--subnet", "fd00:a2::/64")
    for name, networks in (("one", ["four", "six"]), ("two", ["both"])):
        caisson("run", "-d", "--name", name, *[word for network in networks for word in ("--network", network)], "-p", "80", "busybox", "sleep", "999")
        bindings = inspect(caisson, name)["NetworkSettings"]["Ports"]["80/tcp"]
        assert {b["HostIp"] for b in bindings} == {"0.0.0.0", "::"} and len({b["HostPort"] for b in bindings}) == 1


def test_host_binding_of_a_network(cli, net, engine):
    net("own", "-o", f"{PREFIX}.bridge.host_binding_ipv4=127.0.0.1", "--subnet", "10.91.19.0/24")
    cli("run", "-d", "--name", "web", "--network", "own", "-p", "18521:80", "busybox", *WEB)
    assert inspect(cli, "web")["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "18521"}]
    wait_for(lambda: fetch(engine, "http://127.0.0.1:18521/") == "hello\n", "the page")
    assert not fetch(engine, "http://10.91.19.1:18521/")


def test_ranges_are_shown_port_by_port(caisson, engine):
    cli = caisson
    cli("run", "-d", "--name", "web", "-p", "127.0.0.1:7000-7009:7000-7009", "-p", "127.0.0.1:7100-7101:81-82/udp", "-p", "127.0.0.1:7080:80", "busybox", *WEB)
    assert cli.out("ps", "--format", "{{.Ports}}") == "127.0.0.1:7000-7009->7000-7009/tcp, 127.0.0.1:7080->80/tcp, 127.0.0.1:7100->81/udp, 127.0.0.1:7101->82/udp"
    shown_of = inspect(cli, "web")
    ports = shown_of["NetworkSettings"]["Ports"]
    assert len(ports) == 13 and ports["7004/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "7004"}]
    assert shown_of["HostConfig"]["PortBindings"]["7009/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "7009"}]
    assert len(shown_of["HostConfig"]["PortBindings"]) == 13 and "7003/tcp" in shown_of["Config"]["ExposedPorts"]
    assert "7004/tcp -> 127.0.0.1:7004" in cli.out("port", "web").splitlines() and cli.out("port", "web", "82/udp") == "127.0.0.1:7101"
    for value in ("7005", "82/udp"):
        assert cli.out("ps", "-q", "--filter", f"publish={value}") == shown_of["Id"][:12]
    assert cli.out("ps", "-q", "--filter", "publish=7010") == ""
    wait_for(lambda: fetch(engine, "http://127.0.0.1:7080/") == "hello\n", "the page")
    cli("create", "--name", "other", "-p", "127.0.0.1:7005:80", "busybox", "true")
    assert "port is already allocated" in cli("start", "other", rc=1).err


def test_ranges_change_live(caisson, engine):
    cli = caisson
    cli("run", "-d", "--name", "web", "-p", "127.0.0.1:7200-7209:7200-7209", "busybox", "sleep", "999")
    cli("update", "--unpublish", "7203-7205", "web")
    want = "127.0.0.1:7200-7202->7200-7202/tcp, 7203-7205/tcp, 127.0.0.1:7206-7209->7206-7209/tcp"
    assert sorted(cli.out("ps", "--format", "{{.Ports}}").split(", ")) == sorted(want.split(", "))
    cli("run", "-d", "--name", "other", "-p", "127.0.0.1:7204:80", "busybox", *WEB)  # they are free again
    wait_for(lambda: fetch(engine, "http://127.0.0.1:7204/") == "hello\n", "the page")
    assert "already allocated" in cli("update", "--publish", "127.0.0.1:7204-7205:7204-7205", "web", rc=1).err
    cli("rm", "-f", "other")
    cli("update", "--publish", "127.0.0.1:7203-7205:7203-7205", "web")
    cli("restart", "-t", "0", "web")
    assert cli.out("ps", "--format", "{{.Ports}}") == "127.0.0.1:7200-7209->7200-7209/tcp"


def test_one_of_a_range_of_host_ports(cli):
    for name, port in (("one", 7300), ("two", 7301)):
        cli("run", "-d", "--name", name, "-p", "127.0.0.1:7300-7302:80", "busybox", "sleep", "999")
        assert cli.out("port", name) == f"80/tcp -> 127.0.0.1:{port}"


def test_ten_thousand_ports(caisson, engine, api):
    cli = caisson

    def memory():
        with open(f"/proc/{engine.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1))
    before = memory()
    cli("run", "-d", "--name", "many", "-p", "127.0.0.1:20000-29999:20000-29999", "busybox", "sleep", "999")
    assert cli.out("ps", "--format", "{{.Ports}}") == "127.0.0.1:20000-29999->20000-29999/tcp"
    assert len(inspect(cli, "many")["NetworkSettings"]["Ports"]) == 10000
    # Far below what a socket, a process or a record a port would take.
    assert memory() - before < 24 << 10


def test_sctp(cli):
    """Published where the kernel has it, refused with one sentence where not."""
    done = cli("run", "-d", "--name", "signal", "-p", "127.0.0.1:7400:7400/sctp", "busybox", "sleep", "999", rc=None)
    if done.rc == 0:
        assert cli.out("port", "signal") == "7400/sctp -> 127.0.0.1:7400"
    else:
        assert "sctp" in done.err.lower() and len(done.err.strip().splitlines()) <= 3


# --- names of outside -------------------------------------------------------------------------------

ANSWERS_BY_IPV6 = r"""
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
s.bind(("::", 53))
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(4096)
    end = q.index(b"\0", 12) + 5
    six = q[end - 4:end - 2] == b"\0\x1c"
    answer = b"\xc0\x0c\0\x1c\0\1\0\0\0\x1e\0\x10" + socket.inet_pton(socket.AF_INET6, "2001:db8::99") if six else b""
    s.sendto(q[:2] + b"\x81\x80\0\1\0" + (b"\1" if six else b"\0") + b"\0\0\0\0" + q[12:end] + answer, peer)
    print(peer[0], flush=True)
"""


def test_names_of_outside_by_ipv6(caisson, net, engine):
    """A server of IPv6 is asked from the container's own namespace, also where it has no IPv4."""
    net("six", "--ipv6", "--ipv4=false", "--subnet", "fd90:30::/64")
    answers = subprocess.Popen(engine.netns.enter(["/usr/bin/python3", "-uc", ANSWERS_BY_IPV6]), stdout=subprocess.PIPE)
    try:
        assert answers.stdout.readline() == b"ready\n"
        sleeper(caisson, "one", "--network", "six", "--dns", "fd90:30::1")
        assert "2001:db8::99" in caisson("exec", "one", "nslookup", "some.outside.name", rc=None).out
        assert answers.stdout.readline().decode().strip() == endpoint(caisson, "one", "six")["GlobalIPv6Address"]
    finally:
        answers.kill()
        answers.communicate()


class Peers(Upstream):
    """A server of names that remembers who asked."""

    def __init__(self, **options):
        self.peers = []
        super().__init__(**options)

    def reply(self, message, protocol, peer):
        if peer:  # none when the socket is shut
            with self.lock:
                self.peers.append(peer[0])
        return super().reply(message, protocol, peer)


def test_names_are_asked_by_the_first_ipv6_network_from_its_connect_on(caisson, net, engine):
    """Servers with IPv6 addresses are asked by the host's way only as long as the container has no IPv6."""
    net("four")
    net("six", "--ipv6", "--subnet", "fd00:95::/64")
    caisson("run", "-d", "--name", "asks", "--network", "four", "--dns", "fd00:95::1", "busybox", "sleep", "999")
    server = Peers(answers={f"n{n}.example.com": "192.0.2.80" for n in range(40)}, address="fd00:95::1", port=53, namespace=engine.netns.name)
    numbers = iter(range(40))

    def asked_from():
        """The address that a question comes from; each is a new one, as answers are kept."""
        name = f"n{next(numbers)}.example.com"
        if "192.0.2.80" not in caisson("exec", "asks", "nslookup", "-type=a", name, rc=None).out:
            return None
        with server.lock:
            return server.peers[-1]
    try:
        assert wait_for(asked_from, "the host asks") == "fd00:95::1"
        caisson("network", "connect", "six", "asks")
        mine = endpoint(caisson, "asks", "six")["GlobalIPv6Address"]
        wait_for(lambda: asked_from() == mine, "the container itself asks", step=0.2)
        caisson("network", "disconnect", "six", "asks")
        wait_for(lambda: asked_from() == "fd00:95::1", "the host asks again", step=0.2)
    finally:
        server.close()
