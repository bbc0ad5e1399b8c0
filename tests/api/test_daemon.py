# SPDX-License-Identifier: Apache-2.0
"""Flags and configuration file of caissond."""
import ipaddress
import json
import os
import signal
import subprocess

import pytest

from harness.api import stream
from harness.container import cgroup_value
from harness.engine import Engine
from harness.netns import NetworkNamespace
from harness.shell import BIN, run, wait_for


def output(engine, *command, **config):
    """What a container prints."""
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": list(command), **config})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    engine.api.ok("POST", f"/containers/{ident}/wait")
    return stream(engine.api.get(f"/containers/{ident}/logs?stdout=1").body, 1).decode()


def test_daemon_version():
    assert "version" in run([BIN + "/caissond", "--version"]).out


@pytest.mark.parametrize("argv", [["--no-such-flag"], ["--mtu", "x"], ["--data-root", "relative"], ["--host", "gopher://x"], ["--log-level", "loud"], ["stray"]])
def test_daemon_bad_flag(argv, tmp_path):
    done = run([BIN + "/caissond", "--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "e"), "--host", f"unix://{tmp_path}/s", *argv], rc=None, timeout=10)
    assert done.rc not in (0, None) and len(done.err.strip().splitlines()) <= 2 and done.err.strip(), done


def test_daemon_bip_and_mtu(own_engine, netns):
    engine = own_engine(bip="10.99.7.1/24", extra=["--mtu", "1400"])
    out = output(engine, "sh", "-c", "ip -o -4 addr show eth0; ip link show eth0; ip route")
    assert "inet 10.99.7." in out and "mtu 1400" in out and "default via 10.99.7.1" in out
    links = json.loads(run(netns.enter(["ip", "-j", "addr", "show", "dev", engine.bridge])).out)
    assert links[0]["addr_info"][0]["local"] == "10.99.7.1"


def test_daemon_dns(own_engine):
    engine = own_engine(extra=["--dns", "9.8.7.6", "--dns-search", "one.example", "--dns-search", "two.example", "--dns-opt", "ndots:3"])
    lines = output(engine, "cat", "/etc/resolv.conf").splitlines()
    assert "nameserver 9.8.7.6" in lines and "search one.example two.example" in lines and "options ndots:3" in lines


def test_daemon_labels(own_engine):
    engine = own_engine(images=(), extra=["--label", "rack=7", "--label", "zone=b"])
    assert engine.api.ok("GET", "/info")["Labels"] == ["rack=7", "zone=b"]


def test_daemon_pidfile(own_engine, tmp_path):
    engine = own_engine(images=(), extra=["--pidfile", str(tmp_path / "pid")])
    assert (tmp_path / "pid").read_text().strip() == str(engine.pid)


def test_daemon_debug(own_engine):
    quiet, loud = own_engine(images=(), extra=["--log-level", "error"]), own_engine(images=(), extra=["--debug"])
    for engine in (quiet, loud):
        engine.api.get("/nothing")
    assert " info " not in quiet.log() and loud.api.ok("GET", "/info")["Debug"] is True and quiet.api.ok("GET", "/info")["Debug"] is False


def test_daemon_cgroup_parent(own_engine):
    name = "ctest-parent-%d" % os.getpid()
    engine = own_engine(extra=["--cgroup-parent", "/" + name])
    try:
        ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "99"]})["Id"]
        engine.api.ok("POST", f"/containers/{ident}/start")
        pid = engine.api.ok("GET", f"/containers/{ident}/json")["State"]["Pid"]
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            assert f"/{name}/{ident}" in file.read()
        assert cgroup_value(ident, "pids", "pids.max", "pids.max")
    finally:
        engine.own_name = name
        engine.destroy()


def test_daemon_config_file(own_engine, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"labels": ["from=file"], "debug": True, "mtu": 1300, "dns": ["1.2.3.4"]}))
    engine = own_engine(extra=["--config-file", str(path)])
    info = engine.api.ok("GET", "/info")
    assert info["Labels"] == ["from=file"] and info["Debug"] is True
    assert "nameserver 1.2.3.4" in output(engine, "cat", "/etc/resolv.conf")


@pytest.mark.parametrize("text, words", [("{", "daemon.json"), ('{"odd-key": 1}', "odd-key"), ('{"mtu": "many"}', "mtu"), ('{"labels": ["a=b"]}', "label")])
def test_daemon_bad_config_file(tmp_path, text, words):
    path = tmp_path / "daemon.json"
    path.write_text(text)
    flags = ["--label", "c=d"] if "labels" in text else []  # given twice, by flag and file, is refused as Docker does
    done = run([BIN + "/caissond", "--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "e"), "--host", f"unix://{tmp_path}/s", "--config-file", str(path), *flags],
               rc=None, timeout=10)
    assert done.rc not in (0, None) and words in done.err, done


def test_daemon_lives_on_after_sighup(own_engine, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    engine = own_engine(images=(), extra=["--config-file", str(path)])
    path.write_text("{")
    os.kill(engine.pid, signal.SIGHUP)
    assert engine.api.ok("GET", "/info")["Labels"] in ([], None)


def test_daemon_removes_its_socket(own_engine):
    engine = own_engine(images=())
    engine.stop()
    assert not os.path.exists(engine.socket)


# --- networks ---------------------------------------------------------------------------------------

def bridge_of(engine):
    return engine.api.ok("GET", "/networks/bridge")


def started(engine, *command, **config):
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": list(command) or ["sleep", "999"], **config})["Id"]
    answer = engine.api.post(f"/containers/{ident}/start")
    return ident, answer


def settings(engine, ident):
    return engine.api.ok("GET", f"/containers/{ident}/json")["NetworkSettings"]


@pytest.fixture
def lonely_engine(scratch):
    """In a network namespace of its own, where nothing is set up yet."""
    made = []

    def make(*extra):
        name = f"ctl{os.getpid() % 100000}x{len(made)}"
        netns = NetworkNamespace(name)
        engine = Engine(f"{scratch}/{name}", netns, f"{name}b"[:15], extra)
        os.makedirs(engine.root)
        made.append((netns, engine))
        engine.start()
        engine.load("busybox")
        return engine
    yield make
    for netns, engine in made:
        engine.destroy()
        netns.remove()


def test_daemon_ipv6(own_engine):
    engine = own_engine(bip="10.99.41.1/24", extra=["--ipv6", "--bip6", "fd00:41::1/64", "--fixed-cidr", "10.99.41.128/25", "--fixed-cidr-v6", "fd00:41::1:0/112"])
    ident, answer = started(engine)
    assert answer.status == 204, answer
    network = bridge_of(engine)
    assert network["EnableIPv6"] is True
    assert network["IPAM"]["Config"] == [{"Subnet": "10.99.41.0/24", "IPRange": "10.99.41.128/25", "Gateway": "10.99.41.1"},
                                         {"Subnet": "fd00:41::/64", "IPRange": "fd00:41::1:0/112", "Gateway": "fd00:41::1"}]
    shown = settings(engine, ident)
    assert ipaddress.ip_address(shown["GlobalIPv6Address"]) in ipaddress.ip_network("fd00:41::1:0/112")
    assert shown["GlobalIPv6PrefixLen"] == 64 and shown["IPv6Gateway"] == "fd00:41::1"
    assert ipaddress.ip_address(shown["IPAddress"]) in ipaddress.ip_network("10.99.41.128/25")
    assert network["Containers"][ident]["IPv6Address"] == shown["GlobalIPv6Address"] + "/64"
    routes = output(engine, "sh", "-c", "ip -6 route; ping -6 -c1 -W3 fd00:41::1 >/dev/null && echo reached")
    assert "default via fd00:41::1" in routes and "reached" in routes


def test_daemon_ipv6_chosen(own_engine):
    """Without an address the default network has one of fd00::/8, the same after a restart."""
    engine = own_engine(bip="10.99.42.1/24", extra=["--ipv6"])
    _, answer = started(engine)
    assert answer.status == 204, answer
    before = bridge_of(engine)["IPAM"]["Config"]
    subnet = ipaddress.ip_network(before[1]["Subnet"])
    assert subnet.subnet_of(ipaddress.ip_network("fd00::/8")) and subnet.prefixlen == 64
    engine.restart()
    assert bridge_of(engine)["IPAM"]["Config"] == before


def test_daemon_address_pools(own_engine):
    engine = own_engine(images=(), extra=["--default-address-pool", "base=10.199.0.0/16,size=26", "--default-address-pool", "base=fd00:199::/48,size=64"])
    subnets = []
    for name in ("one", "two"):
        engine.api.ok("POST", "/networks/create", {"Name": name, "EnableIPv6": True})
        subnets += [ipaddress.ip_network(c["Subnet"]) for c in engine.api.ok("GET", f"/networks/{name}")["IPAM"]["Config"]]
    four, six = ipaddress.ip_network("10.199.0.0/16"), ipaddress.ip_network("fd00:199::/48")
    assert len(set(subnets)) == 4
    assert all(s.subnet_of(four) and s.prefixlen == 26 for s in subnets if s.version == 4)
    assert all(s.subnet_of(six) and s.prefixlen == 64 for s in subnets if s.version == 6)
    assert engine.api.ok("GET", "/info")["DefaultAddressPools"] == [{"Base": "10.199.0.0/16", "Size": 26}, {"Base": "fd00:199::/48", "Size": 64}]
    engine.remove_networks()


def test_daemon_default_network_options(own_engine):
    engine = own_engine(extra=["--default-network-opt", "bridge=com.docker.network.driver.mtu=1333", "--default-network-opt", "bridge=com.docker.network.enable_ipv6=true"])
    engine.api.ok("POST", "/networks/create", {"Name": "own", "Options": {"org.example.note": "x"}})
    engine.api.ok("POST", "/networks/create", {"Name": "other", "Options": {"com.docker.network.driver.mtu": "1400"}, "EnableIPv6": False})
    own, other = engine.api.ok("GET", "/networks/own"), engine.api.ok("GET", "/networks/other")
    assert own["Options"]["com.docker.network.driver.mtu"] == "1333" and own["EnableIPv6"] is True
    assert other["Options"]["com.docker.network.driver.mtu"] == "1400" and other["EnableIPv6"] is False
    assert "mtu 1333" in output(engine, "ip", "link", "show", "eth0", HostConfig={"NetworkMode": "own"})
    engine.remove_containers()
    engine.remove_networks()


def test_daemon_address_of_published_ports(own_engine):
    engine = own_engine(bip="10.99.43.1/24", extra=["--ip", "127.0.0.1"])
    ident, answer = started(engine, HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "18601"}]}}, ExposedPorts={"80/tcp": {}})
    assert answer.status == 204, answer
    assert settings(engine, ident)["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "18601"}]
    assert bridge_of(engine)["Options"]["com.docker.network.bridge.host_binding_ipv4"] == "127.0.0.1"


def test_daemon_icc(own_engine):
    engine = own_engine(bip="10.99.44.1/24", extra=["--icc=false"])
    ident, answer = started(engine)
    assert answer.status == 204, answer
    address = settings(engine, ident)["IPAddress"]
    out = output(engine, "sh", "-c", f"ping -c1 -W2 {address} >/dev/null || echo no; ping -c1 -W3 10.99.44.1 >/dev/null && echo gateway")
    assert out.split() == ["no", "gateway"]
    assert bridge_of(engine)["Options"]["com.docker.network.bridge.enable_icc"] == "false"


def test_daemon_masquerade_off(own_engine, netns):
    def masquerades(engine):
        return [rule for rule in netns.rules() if "masquerade" in rule and f'"table": "{engine.own_name}"' in rule]
    on, off = own_engine(bip="10.99.45.1/24"), own_engine(bip="10.99.46.1/24", extra=["--ip-masq=false"])
    for engine in (on, off):
        _, answer = started(engine)
        assert answer.status == 204, answer
    elements = [rule for rule in netns.rules() if "10.99.46.0" in rule and f'"table": "{off.own_name}"' in rule]
    assert masquerades(on)
    assert not [rule for rule in elements if "masq" in rule]
    assert bridge_of(off)["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"


def test_daemon_without_rules(own_engine, netns):
    engine = own_engine(bip="10.99.47.1/24", extra=["--iptables=false"])
    _, answer = started(engine)
    assert answer.status == 204, answer
    assert not [rule for rule in netns.rules() if engine.own_name in rule]
    _, answer = started(engine, HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "18602"}]}})
    assert answer.status >= 400 and "turned off" in answer.json["message"], answer
    assert any("--iptables=false" in warning for warning in engine.api.ok("GET", "/info")["Warnings"])


def test_daemon_rules_of_one_family(own_engine):
    """Without rules for IPv6 a port is published for IPv4 alone."""
    engine = own_engine(bip="10.99.48.1/24", extra=["--ip6tables=false", "--ipv6", "--bip6", "fd00:48::1/64"])
    ident, answer = started(engine, HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "18603"}]}})
    assert answer.status == 204, answer
    assert settings(engine, ident)["Ports"]["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "18603"}]


def test_daemon_forwarding(lonely_engine):
    def forwards(engine):
        return run(engine.netns.enter(["cat", "/proc/sys/net/ipv4/ip_forward"])).out.strip()
    on, off = lonely_engine("--ip-forward-no-drop"), lonely_engine("--ip-forward=false")
    for engine in (on, off):
        run(engine.netns.enter(["sysctl", "-qw", "net.ipv4.ip_forward=0"]), rc=None)
        _, answer = started(engine)
        assert answer.status == 204, answer
    assert forwards(on) == "1" and forwards(off) == "0"


def test_daemon_host_gateway(own_engine):
    engine = own_engine(bip="10.99.49.1/24", extra=["--host-gateway-ip", "192.0.2.9", "--host-gateway-ip", "2001:db8::9"])
    lines = output(engine, "cat", "/etc/hosts", HostConfig={"ExtraHosts": ["outside:host-gateway"]}).splitlines()
    assert "192.0.2.9\toutside" in lines and "2001:db8::9\toutside" in lines


def test_daemon_default_gateway(own_engine):
    engine = own_engine(bip="10.99.50.1/24", extra=["--default-gateway", "10.99.50.77", "--ipv6", "--bip6", "fd00:50::1/64", "--default-gateway-v6", "fd00:50::77"])
    out = output(engine, "sh", "-c", "ip route; ip -6 route")
    assert "default via 10.99.50.77" in out and "default via fd00:50::77" in out
    ident, _ = started(engine)
    assert settings(engine, ident)["Gateway"] == "10.99.50.77" and settings(engine, ident)["IPv6Gateway"] == "fd00:50::77"


def test_daemon_network_keys_of_the_file(own_engine, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({
        "ipv6": True, "bip6": "fd00:51::1/64", "icc": False, "ip": "127.0.0.1", "ip-masq": False, "ip-forward": True, "iptables": True, "ip6tables": True,
        "userland-proxy": False, "firewall-backend": "nftables", "host-gateway-ip": "192.0.2.8", "mtu": 1399,
        "default-address-pools": [{"base": "10.198.0.0/16", "size": 27}], "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1350"}}}))
    engine = own_engine(images=(), extra=["--config-file", str(path)])
    options = bridge_of(engine)["Options"]
    assert options["com.docker.network.bridge.enable_icc"] == "false" and options["com.docker.network.driver.mtu"] == "1399"
    assert bridge_of(engine)["EnableIPv6"] is True
    engine.api.ok("POST", "/networks/create", {"Name": "own"})
    own = engine.api.ok("GET", "/networks/own")
    assert own["IPAM"]["Config"][0]["Subnet"].endswith("/27") and own["Options"] == {"com.docker.network.driver.mtu": "1350"}
    engine.remove_networks()


@pytest.mark.parametrize("argv, words", [
    (["--firewall-backend", "iptables"], "no iptables backend"), (["--firewall-backend", "ebtables"], "invalid firewall backend"),
    (["--bridge-accept-fwmark", "0x1"], "0x1"), (["--bip6", "10.0.0.1/24"], "expected an IPv6 address"), (["--fixed-cidr", "10.1.2.3/24"], "should be 10.1.2.0/24"),
    (["--default-address-pool", "base=10.0.0.0/16"], "invalid pool size"), (["--default-address-pool", "base=10.0.0.1/16,size=24"], "it should be 10.0.0.0/16"),
    (["--default-address-pool", "10.0.0.0/16"], "expected base="), (["--default-network-opt", "bridge=x"], "DRIVER=OPTION=VALUE"), (["--ip", "here"], "expected an IP address"),
    (["--host-gateway-ip", "10.0.0.1", "--host-gateway-ip", "10.0.0.2"], "one IPv4 address"), (["--default-gateway", "fd00::1"], "expected an IPv4 address"),
    (["--icc=maybe"], "expected true or false")])
def test_daemon_network_flags_refused(argv, words, tmp_path):
    done = run([BIN + "/caissond", "--validate", "--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "e"), *argv], rc=None, timeout=10)
    assert done.rc not in (0, None) and words in done.err and len(done.err.strip().splitlines()) <= 2, done


# --- the host's name servers --------------------------------------------------------------------------

def test_daemon_follows_a_link_to_the_hosts_servers(own_engine, netns, tmp_path):
    """resolv.conf as a link to a file that is replaced, as systemd-resolved has it: seen without a restart."""
    real = tmp_path / "stub-resolv.conf"

    def write(server):
        fresh = tmp_path / "fresh"
        fresh.write_text(f"nameserver {server}\n")
        fresh.rename(real)
    # What is asked is seen on addresses of the namespace's loopback.
    for last in (1, 2):
        run(netns.enter(["ip", "addr", "add", f"192.0.2.{200 + last}/32", "dev", "lo"]), rc=None)
    write("192.0.2.201")
    engine = own_engine(start=False, bip="10.99.52.1/24")
    # A mount namespace in which /etc/resolv.conf is such a link.
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "resolv.conf").symlink_to(real)
    for name in os.listdir("/etc"):
        if name != "resolv.conf":
            os.symlink(f"/proc/1/root/etc/{name}", etc / name)
    engine.argv = ["unshare", "-m", "--propagation", "slave", "sh", "-c", f"mount --bind {etc} /etc && exec \"$@\"", "sh", *engine.argv]
    engine.start()
    engine.load("busybox")
    engine.api.ok("POST", "/networks/create", {"Name": "own"})
    ident, answer = started(engine, HostConfig={"NetworkMode": "own"})
    assert answer.status == 204, answer
    servers = [subprocess.Popen(netns.enter(["/usr/bin/python3", "-c", ANSWERS, f"192.0.2.{200 + n}", str(n)]), stdout=subprocess.PIPE) for n in (1, 2)]
    try:
        for server in servers:
            assert server.stdout.readline() == b"ready\n"

        def answered_by():
            made = engine.api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["nslookup", f"n{os.urandom(4).hex()}.example.com"], "AttachStdout": True})["Id"]
            return engine.api.post(f"/exec/{made}/start", {"Detach": False}).body
        wait_for(lambda: b"9.9.9.1" in answered_by(), "the first server answers", 20)
        write("192.0.2.202")
        wait_for(lambda: b"9.9.9.2" in answered_by(), "the second server answers", 20)
        write("192.0.2.201")
        wait_for(lambda: b"9.9.9.1" in answered_by(), "the first one again", 20)
    finally:
        for server in servers:
            server.kill()
            server.communicate()
        for last in (1, 2):
            run(netns.enter(["ip", "addr", "del", f"192.0.2.{200 + last}/32", "dev", "lo"]), rc=None)
        engine.remove_containers()
        engine.remove_networks()


ANSWERS = r"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(4096)
    end = q.index(b"\0", 12) + 5
    a = q[end - 4:end - 2] == b"\0\1"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x09\x09\x09" + bytes([int(sys.argv[2])])
    s.sendto(q[:2] + b"\x81\x80\0\1" + (b"\0\1" if a else b"\0\0") + b"\0\0\0\0" + q[12:end] + (record if a else b""), peer)
"""
