# SPDX-License-Identifier: Apache-2.0
"""--firewall=honor: the host's INPUT rules hold for published ports, and containers see who asks."""
import os
import shutil
import signal
import subprocess

import pytest

from harness.clients import Client, caisson_program
from harness.container import inspect
from harness.engine import Engine
from harness.netns import NetworkNamespace
from harness.shell import BIN, run, wait_for

# Answers on each port, TCP and UDP, of both families: who asks and how many bytes came.
SERVER = """
use IO::Socket::IP; use IO::Select; use Socket qw(getnameinfo NI_NUMERICHOST NI_NUMERICSERV); $| = 1;
$all = IO::Select->new;
for $port (@ARGV) {
  %at = (LocalHost => "::", LocalPort => $port, V6Only => 0, GetAddrInfoFlags => 0);
  $t = IO::Socket::IP->new(%at, Listen => 99, ReuseAddr => 1) or die; $what{$t} = "tcp"; $all->add($t);
  $u = IO::Socket::IP->new(%at, Proto => "udp") or die; $what{$u} = "udp"; $all->add($u);
}
print "ready\\n";
while (1) { for $c ($all->can_read) {
  if ($what{$c} eq "tcp") { $n = $c->accept and $all->add($n) }
  elsif ($what{$c} eq "udp") {
    $peer = recv($c, $m, 70000, 0); ($err, $host) = getnameinfo($peer, NI_NUMERICHOST | NI_NUMERICSERV);
    send($c, "$host " . length($m), 0, $peer);
  } elsif (sysread($c, $m, 70000)) { syswrite($c, $c->peerhost . " " . length($m) . "\\n") }
  else { $all->remove($c); close $c }
} }
"""
# ask KIND HOST PORT BYTES SECONDS [SOURCE]
ASK = """
import socket, sys
kind, host, port, size, seconds, *source = sys.argv[1:]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
s.settimeout(float(seconds))
if source:
    s.bind((source[0], 0))
try:
    s.connect((host, int(port)))
    s.send(b"x" * int(size))
    print(s.recv(100).decode().strip().replace("::ffff:", ""))
except OSError as error:
    print("timeout" if isinstance(error, TimeoutError) else type(error).__name__)
"""
# Sends what many lines say, one by one, on one connection that stays.
TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
for line in sys.stdin:
    s.sendall(line.encode())
    print(s.recv(100).decode().strip().replace("::ffff:", ""), flush=True)
"""
CLOSED = """table inet filter { chain input { type filter hook input priority filter; policy drop;
  iifname lo accept; ct state established,related accept; icmpv6 type != echo-request accept; }
}"""
PYTHON = "/usr/bin/python3"


class Host:
    """A machine with an engine, and another beside it: 10.95.0.1 and fd95::1, 10.95.0.2-3 and fd95::2."""

    def __init__(self, root, name, undo):
        self.space, self.second = NetworkNamespace(name), None
        undo.append(self.space.remove)
        self.second = NetworkNamespace(name + "b")
        undo.append(self.second.remove)
        run(self.space.enter(["ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", self.second.name]))
        for where, link, addresses in ((self.space, "wire0", ("10.95.0.1/24", "10.95.0.9/24", "fd95::1/64")),
                                       (self.second, "wire1", ("10.95.0.2/24", "10.95.0.3/24", "fd95::2/64"))):
            for address in addresses:
                run(where.enter(["ip", "addr", "add", address, "dev", link, *(["nodad"] if ":" in address else [])]))
            run(where.enter(["ip", "link", "set", link, "up"]))
        self.root = root
        self.engine = Engine(root, self.space, bridge="cfh0", extra=["--firewall=honor"])
        undo.append(self.destroy)
        self.engine.start()
        self.engine.load("busybox", "debian")
        self.cli = Client("caisson", caisson_program(), self.engine.host, self.engine.root)
        self.cli("network", "create", "--ipv6", "--subnet", "fd96::/64", "both")

    def destroy(self):
        self.engine.destroy()
        assert not self.engine.processes()

    def serve(self, name, *flags, ports=(80,)):
        self.cli("run", "-d", "--name", name, *flags, "debian", "perl", "-e", SERVER, *map(str, ports))
        wait_for(lambda: "ready" in self.cli.out("logs", name), f"server {name} is ready")

    def ask(self, kind, host, port, size=4, seconds=20, source=None, space=None):
        return run((space or self.second).enter([PYTHON, "-c", ASK, kind, host, str(port), str(size), str(seconds), *([source] if source else [])])).out.strip()

    def refused(self, kind, host, port, **more):
        # A first attempt would be repeated after a second.
        return self.ask(kind, host, port, seconds=2.5, **more) == "timeout"

    def nft(self, text):
        subprocess.run(self.space.enter(["nft", "-f", "-"]), input=text, text=True, check=True)

    def gate(self):
        return [pid for pid, name in self.engine.processes().items() if name == "caisson-gate"]

    def queued(self):
        """How many packets the program has had."""
        lines = run(self.space.enter(["cat", "/proc/self/net/netfilter/nfnetlink_queue"])).out.splitlines()
        assert len(lines) == 1, lines
        return int(lines[0].split()[7])


@pytest.fixture(scope="module")
def machine(scratch):
    undo = []
    root = scratch + "/honor-engine"
    os.makedirs(root)
    try:
        yield Host(root, "ch" + os.path.basename(scratch)[4:], undo)
    finally:
        for step in reversed(undo):
            step()


@pytest.fixture
def host(machine):
    machine.nft(CLOSED)
    yield machine
    machine.nft("table inet filter { }; delete table inet filter")
    if machine.engine.process is None:
        machine.engine.start()
    machine.engine.remove_containers()


def iptables(host, program, *args):
    return run(host.space.enter([program, "-w", *args]), rc=None)


def test_input_rules_hold(host):
    host.serve("web", "-p", "18800:80")
    assert host.refused("tcp", "10.95.0.1", 18800)
    host.nft("add rule inet filter input tcp dport 18800 accept")
    assert host.ask("tcp", "10.95.0.1", 18800) == "10.95.0.2 4"
    assert host.ask("tcp", "10.95.0.9", 18800, source="10.95.0.3") == "10.95.0.3 4"
    host.nft("insert rule inet filter input ip saddr 10.95.0.2 tcp dport 18800 ct state new drop")
    assert host.refused("tcp", "10.95.0.1", 18800)
    assert host.ask("tcp", "10.95.0.1", 18800, source="10.95.0.3") == "10.95.0.3 4"
    # What the host itself begins is not asked for.
    host.nft("flush chain inet filter input; add rule inet filter input iifname lo accept; add rule inet filter input ct state established accept")
    for address in ("127.0.0.1", "10.95.0.1", "::1", "fd95::1"):
        assert host.ask("tcp", address, 18800, space=host.space).endswith(" 4"), address


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_input_rules_of_iptables_hold(host, program):
    if not shutil.which(program) or iptables(host, program, "-L", "INPUT").rc:
        pytest.skip(f"no {program} here")
    host.nft("delete table inet filter")
    host.serve("web", "-p", "18801:80")
    assert host.ask("tcp", "10.95.0.1", 18801) == "10.95.0.2 4"
    try:
        for rule in ("-i lo -j ACCEPT", "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"):
            assert iptables(host, program, "-A", "INPUT", *rule.split()).rc == 0
        assert iptables(host, program, "-P", "INPUT", "DROP").rc == 0
        assert host.refused("tcp", "10.95.0.1", 18801)
        assert iptables(host, program, "-A", "INPUT", "-p", "tcp", "-s", "10.95.0.3", "--dport", "18801", "-j", "ACCEPT").rc == 0
        assert host.refused("tcp", "10.95.0.1", 18801)
        assert host.ask("tcp", "10.95.0.1", 18801, source="10.95.0.3") == "10.95.0.3 4"
    finally:
        for args in (("-P", "INPUT", "ACCEPT"), ("-F", "INPUT")):
            iptables(host, program, *args)


def test_udp(host):
    host.serve("names", "-p", "18802:80/udp")
    assert host.refused("udp", "10.95.0.1", 18802)
    host.nft("add rule inet filter input udp dport 18802 accept")
    assert host.ask("udp", "10.95.0.1", 18802) == "10.95.0.2 4"
    assert host.ask("udp", "10.95.0.1", 18802, size=5000, source="10.95.0.3") == "10.95.0.3 5000", "the first packet, in fragments"


def test_ipv6(host):
    host.serve("both6", "--network", "both", "-p", "18803:80", "-p", "18803:80/udp")
    for kind in ("tcp", "udp"):
        for address, own in (("fd95::1", "fd95::2"), ("10.95.0.1", "10.95.0.2")):
            assert host.refused(kind, address, 18803), (kind, address)
        host.nft(f"add rule inet filter input {kind} dport 18803 accept")
        for address, own in (("fd95::1", "fd95::2"), ("10.95.0.1", "10.95.0.2")):
            assert host.ask(kind, address, 18803) == f"{own} 4", (kind, address)


def test_ipv6_clients_of_containers_without(host):
    """Nothing leads them past the host's rules; the host itself is served as ever."""
    host.nft("add rule inet filter input tcp dport 18804 accept")
    host.serve("web", "-p", "18804:80")
    assert host.ask("tcp", "fd95::1", 18804) == "ConnectionRefusedError"
    assert host.ask("tcp", "::1", 18804, space=host.space).endswith(" 4")


@pytest.mark.parametrize("filtering", [1, 2])
def test_addresses_ranges_and_reverse_paths(host, filtering):
    for link in ("all", "wire0", "cfh0"):
        run(host.space.enter(["sysctl", "-qw", f"net.ipv4.conf.{link}.rp_filter={filtering}"]))
    host.nft("add rule inet filter input tcp dport 18805-18815 accept")
    host.serve("web", "-p", "10.95.0.9:18805:80", "-p", "18810-18812:18810-18812", "-p", "18813:80", ports=(80, 18810, 18811, 18812))
    assert host.ask("tcp", "10.95.0.1", 18805) == "ConnectionRefusedError"
    for address, port in (("10.95.0.9", 18805), ("10.95.0.1", 18810), ("10.95.0.1", 18812), ("10.95.0.1", 18813)):
        assert host.ask("tcp", address, port) == "10.95.0.2 4", port
    host.nft("insert rule inet filter input tcp dport 18811 drop")
    assert host.refused("tcp", "10.95.0.1", 18811)


def test_containers_are_clients_too(host):
    host.cli("network", "create", "other")
    try:
        host.serve("web", "-p", "18816:80")
        for network in ("bridge", "other"):
            host.cli("run", "-d", "--name", "asks-" + network, "--network", network, "busybox", "sleep", "9999")
        ask = ["sh", "-c", "echo hi | nc -w 3 10.95.0.1 18816"]
        for network in ("bridge", "other"):
            assert not host.cli("exec", "asks-" + network, *ask, rc=None).out, network
        host.nft("add rule inet filter input tcp dport 18816 accept")
        for network in ("bridge", "other"):
            assert host.cli("exec", "asks-" + network, *ask, rc=None).out.strip().endswith(" 3"), network
    finally:
        host.cli("rm", "-f", "asks-other", rc=None)
        host.cli("network", "rm", "other")


def test_connections_outlive_the_program_and_the_engine(host):
    host.serve("web", "-p", "18817:80")
    host.nft("add rule inet filter input tcp dport 18817 accept")
    with subprocess.Popen(host.second.enter([PYTHON, "-c", TALK, "10.95.0.1", "18817"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as talk:
        def say(text="hi"):
            talk.stdin.write(text + "\n")
            talk.stdin.flush()
            return talk.stdout.readline().strip()
        try:
            assert say() == "10.95.0.2 3"
            # What is established never meets the program.
            before = host.queued()
            for _ in range(200):
                assert say("x" * 500) == "10.95.0.2 501"
            assert host.queued() == before
            first, = host.gate()
            os.kill(first, signal.SIGKILL)
            assert say() == "10.95.0.2 3"
            wait_for(lambda: host.gate() not in ([], [first]), "another program")
            wait_for(lambda: host.ask("tcp", "10.95.0.1", 18817) == "10.95.0.2 4", "new connections")
            second, = host.gate()
            host.engine.kill9()
            assert say() == "10.95.0.2 3"
            assert host.ask("tcp", "10.95.0.1", 18817) == "10.95.0.2 4", "without an engine"
            host.engine.start()
            assert host.gate() == [second]
            assert say() == "10.95.0.2 3"
            assert host.ask("tcp", "10.95.0.1", 18817) == "10.95.0.2 4", "with the next engine"
        finally:
            talk.kill()


def test_confined(host):
    pid, = host.gate()
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65534"] * 4 and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff")} == {1 << 12} and not int(status["CapBnd"], 16)


def test_own_again(scratch, request):
    """The next engine without the flag leaves no trace of it; --cleanup-network removes the rest."""
    undo = []
    name = "co" + os.path.basename(scratch)[4:]
    space = NetworkNamespace(name)
    undo.append(space.remove)
    root = scratch + "/own-again"
    os.makedirs(root)
    try:
        engine = Engine(root, space, bridge="cfh1", extra=["--firewall=honor"])
        undo.append(engine.destroy)
        engine.start()
        engine.load("busybox")
        cli = Client("caisson", caisson_program(), engine.host, engine.root)
        cli("run", "-d", "--name", "web", "-p", "18818:80", "busybox", "sleep", "9999")

        def chains():
            return {line.split()[1] for line in run(space.enter(["nft", "list", "table", "ip", engine.own_name]), rc=None).out.splitlines() if line.strip().startswith("chain ")}
        assert "gate" in chains()
        engine.stop()
        assert "caisson-gate" in engine.processes().values()
        engine.argv.remove("--firewall=honor")
        engine.start()
        assert "gate" not in chains() and "prerouting" in chains()
        assert "caisson-gate" not in engine.processes().values()
        engine.stop()
        engine.argv.append("--firewall=honor")
        engine.start()
        assert "gate" in chains()
        cli("rm", "-f", "web")
        engine.stop()
        wait_for(lambda: "caisson-gate" not in engine.processes().values(), "the program ends without ports and engine")
        engine.start()
        cli("run", "-d", "--name", "web", "-p", "18818:80", "busybox", "sleep", "9999")
        runs = inspect(cli, "web")["State"]["Pid"]
        undo.append(lambda: os.kill(runs, signal.SIGKILL))
        engine.kill9()
        assert "caisson-gate" in engine.processes().values()
        assert run([*engine.argv, "--cleanup-network"], rc=None).rc == 0
        assert not chains() and "caisson-gate" not in engine.processes().values()
    finally:
        for step in reversed(undo):
            step()


def test_unknown_value_is_refused(scratch):
    bad = run([BIN + "/caissond", "--validate", "--firewall=open"], rc=None)
    assert bad.rc != 0 and "expected own or honor, got 'open'" in bad.out + bad.err
