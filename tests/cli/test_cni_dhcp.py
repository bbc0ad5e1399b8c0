# SPDX-License-Identifier: Apache-2.0
"""Addresses from a DHCP server of the LAN: Debian's CNI plugins macvlan and dhcp, and a real server (dnsmasq)."""
import ipaddress
import os
import shutil
import subprocess

import pytest

from harness.cni import PLUGINS
from harness.netns import NetworkNamespace
from harness.shell import run, wait_for

SERVER = "192.168.160.1"


class DhcpLan:
    """A LAN with a DHCP server in a namespace; the engine's end of the wire is lanp0."""

    def __init__(self, space, directory):
        self.directory, self.leases = directory, directory + "/dnsmasq.leases"
        self.processes = []
        self.other = NetworkNamespace("dhcp" + directory[-8:])
        try:
            run(space.enter(["ip", "link", "add", "lanp0", "type", "veth", "peer", "name", "lanp1", "netns", self.other.name]))
            run(space.enter(["ip", "link", "set", "lanp0", "up"]))
            run(self.other.enter(["ip", "addr", "add", SERVER + "/24", "dev", "lanp1"]))
            run(self.other.enter(["ip", "link", "set", "lanp1", "up"]))
            self.begin(self.other.enter([
                shutil.which("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=lanp1", "--bind-interfaces",
                "--dhcp-range=192.168.160.100,192.168.160.150,255.255.255.0,2m", "--dhcp-leasefile=" + self.leases, "--dhcp-authoritative",
                "--pid-file=", "--no-ping", "--log-facility=" + directory + "/dnsmasq.log", "--user=root"]))
            self.socket = directory + "/dhcp.sock"
            self.begin(space.enter([PLUGINS + "/dhcp", "daemon", "-socketpath", self.socket]))
            wait_for(lambda: os.path.exists(self.socket) and os.path.exists(self.leases), "DHCP is served", 20)
        except BaseException:
            self.remove()
            raise

    def begin(self, argv):
        self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def leased(self):
        with open(self.leases, encoding="ascii") as file:
            return {line.split()[2] for line in file}

    def sees(self, address):
        return run(self.other.enter(["busybox", "ping", "-c1", "-W5", address]), rc=None).rc == 0

    def remove(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.other.remove()


@pytest.fixture
def lan_of_dhcp(cni):
    if not shutil.which("dnsmasq") or not os.path.exists(PLUGINS + "/dhcp"):
        pytest.skip("dnsmasq or Debian's containernetworking-plugins is not installed")
    made = DhcpLan(cni.space, cni.root)
    yield made
    made.remove()


def test_addresses_are_leased_and_released(cni, lan_of_dhcp):
    cni.write("lan", {"type": "macvlan", "master": "lanp0", "mode": "bridge", "ipam": {"type": "dhcp", "daemonSocketPath": lan_of_dhcp.socket}})
    cni.start()
    cni.sleeper("one", network="lan")
    cni.sleeper("two", network="lan")
    first, second = cni.address("one", "lan"), cni.address("two", "lan")
    assert first != second and {first, second} == lan_of_dhcp.leased()
    pool = [ipaddress.ip_address(f"192.168.160.{end}") for end in (100, 150)]
    assert pool[0] <= ipaddress.ip_address(first) <= pool[1]
    assert f"default via {SERVER}" in cni.cli.out("exec", "one", "ip", "route")
    assert lan_of_dhcp.sees(first) and lan_of_dhcp.sees(second) and cni.pings("one", second)
    # The end of a container gives its address back to the server.
    cni.cli("rm", "-f", "one")
    wait_for(lambda: lan_of_dhcp.leased() == {second}, f"{first} is given back", 30)
    assert lan_of_dhcp.sees(second)
    cni.cli("rm", "-f", "two")
    wait_for(lambda: not lan_of_dhcp.leased(), "nothing is leased", 30)
