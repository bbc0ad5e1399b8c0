# SPDX-License-Identifier: Apache-2.0
"""Flags of run that concern the container's place on the default bridge."""
import pytest

from harness.container import inspect
from harness.shell import wait_for


def test_mac_address(cli):
    ident = cli.out("run", "-d", "--mac-address", "92:d0:c6:0a:29:33", "busybox", "sleep", "99")
    assert cli.out("exec", ident, "cat", "/sys/class/net/eth0/address") == "92:d0:c6:0a:29:33"
    assert inspect(cli, ident)["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == "92:d0:c6:0a:29:33"
    assert "is not a valid mac address" in cli("run", "--mac-address", "92:d0", "busybox", "true", rc=125).err


@pytest.mark.parametrize("flags, text", [(("--ip", "172.30.0.9"), "user specified IP address is supported on user defined networks only"),
                                         (("--ip6", "2001:db8::9"), "user specified IP address is supported on user defined networks only")])
def test_default_bridge_refuses(cli, flags, text):
    failed = cli("run", *flags, "busybox", "true", rc=125)
    assert f"invalid config for network bridge: invalid endpoint settings:\n{text}" in failed.err
    assert text in cli("run", "--network", "bridge", *flags, "busybox", "true", rc=125).err


def test_default_bridge_has_no_aliases(cli):
    for flags in (("--network-alias", "other"), ("--network", "bridge", "--network-alias", "other"), ("--network", "name=bridge,alias=other")):
        assert "network-scoped aliases are only supported for user-defined networks" in cli("run", *flags, "busybox", "true", rc=125).err


def test_link_local_ip(cli):
    ident = cli.out("run", "-d", "--link-local-ip", "169.254.34.68", "--link-local-ip", "169.254.34.69", "busybox", "sleep", "99")
    shown = cli.out("exec", ident, "ip", "-o", "-4", "addr", "show", "dev", "eth0")
    assert "169.254.34.68/16" in shown and "169.254.34.69/16" in shown
    cli("exec", ident, "ping", "-c1", "-W2", inspect(cli, ident)["NetworkSettings"]["Networks"]["bridge"]["Gateway"])
    assert "link-local" in cli("run", "--link-local-ip", "10.0.0.1", "busybox", "true", rc=125).err


def test_dns_flags(cli):
    text = cli("run", "--rm", "--dns", "10.9.8.7", "--dns-option", "ndots:3", "--dns-opt", "timeout:1", "--dns-search", "example.org", "--dns-search", "corp.example", "busybox", "cat", "/etc/resolv.conf").out
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert sorted(lines) == ["nameserver 10.9.8.7", "options ndots:3 timeout:1", "search example.org corp.example"]
    assert "search" not in cli("run", "--rm", "--dns-search", ".", "busybox", "cat", "/etc/resolv.conf").out
    assert "is not a valid domain" in cli("run", "--dns-search", "exa mple", "busybox", "true", rc=125).err
    assert "WARNING: Localhost DNS (127.0.0.1) may fail in containers." in cli("run", "--rm", "--dns", "127.0.0.1", "busybox", "true").err


def test_expose(cli, netns):
    ident = cli.out("run", "-d", "-P", "--expose", "8000-8001", "--expose", "53/udp", "busybox", "sh", "-c", "echo up > /index.html; exec httpd -f -p 8001 -h /")
    shown = inspect(cli, ident)
    assert set(shown["Config"]["ExposedPorts"]) == {"8000/tcp", "8001/tcp", "53/udp"}
    ports = shown["NetworkSettings"]["Ports"]
    assert len({ports[p][0]["HostPort"] for p in ("8000/tcp", "8001/tcp")}) == 2 and ports["53/udp"][0]["HostPort"]
    wait_for(lambda: netns.fetch(f"http://127.0.0.1:{ports['8001/tcp'][0]['HostPort']}/", rc=None) == "up\n", "the exposed port answers")
    cli("run", "-d", "--name", "quiet", "--expose", "8000", "busybox", "sleep", "99")
    assert "8000/tcp" in cli.out("ps", "--filter", "name=quiet", "--format", "{{.Ports}}")
    assert inspect(cli, "quiet")["NetworkSettings"]["Ports"] == {"8000/tcp": None}
    assert "invalid range format for --expose: 9-1" in cli("run", "--expose", "9-1", "busybox", "true", rc=125).err


def test_network_long_form(cli):
    ident = cli.out("run", "-d", "--network", "name=bridge,mac-address=92:d0:c6:0a:29:44,gw-priority=1,driver-opt=com.example.a=b", "busybox", "sleep", "99")
    network = inspect(cli, ident)["NetworkSettings"]["Networks"]["bridge"]
    assert network["MacAddress"] == "92:d0:c6:0a:29:44" and network["GwPriority"] == 1 and network["DriverOpts"] == {"com.example.a": "b"}
