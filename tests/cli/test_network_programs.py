# SPDX-License-Identifier: Apache-2.0
"""Networks as programs meet them: web servers, a proxy and its applications, UDP, firewalls and tunnels inside."""
import os
import shutil
import signal
import subprocess

import busybox
import pytest

from cli.test_networks import net, second_host  # noqa: F401  (fixtures)
from harness.container import inspect
from harness.shell import run, wait_for

HOST = "10.91.9.1"  # the engine's machine as the second host sees it
SECOND = "10.91.9.2"


def address(cli, name, network="bridge"):
    return inspect(cli, name)["NetworkSettings"]["Networks"][network]["IPAddress"]


def gateway(cli, name, network="bridge"):
    return inspect(cli, name)["NetworkSettings"]["Networks"][network]["Gateway"]


def page_server(text):
    return ("sh", "-c", f"mkdir /w; echo {text} > /w/index.html; exec httpd -f -p 80 -h /w")


def python_inside(space, source, *args):
    """A server of the host's, in the engine's network."""
    return subprocess.Popen(space.enter(["/usr/bin/python3", "-u", "-c", source, *args]), stdout=subprocess.PIPE, text=True)


def ended(process):
    process.kill()
    process.communicate()


# --- web servers ------------------------------------------------------------------------------------

@pytest.mark.parametrize("server", ["busybox", "nginx"])
def test_web_server_from_everywhere(cli, net, engine, second_host, server):
    net("own")
    net("other")
    argv = ("busybox", *page_server("works")) if server == "busybox" else ("nginx",)
    cli("run", "-d", "--name", "web", "-p", "18601:80", "--network", "own", *argv)
    here = gateway(cli, "web", "own")
    for name, network in (("near", "own"), ("far", "other"), ("plain", "bridge")):
        cli("run", "-d", "--name", name, "--network", network, "busybox", "sleep", "999")

    def inside(name, where):
        return cli("exec", name, "wget", "-qO-", f"http://{where}/", rc=None).out
    wait_for(lambda: "works" in engine.netns.fetch("http://127.0.0.1:18601/", rc=None), "the server answers")
    for where in ("127.0.0.1", "127.9.9.9", here, HOST):
        assert "works" in engine.netns.fetch(f"http://{where}:18601/"), where
    assert "works" in second_host.fetch(f"http://{HOST}:18601/")
    assert "works" in inside("near", "web")
    for name in ("near", "far", "plain"):
        assert "works" in inside(name, f"{here}:18601"), name
        assert "works" in inside(name, f"{HOST}:18601"), name
    if server == "busybox":
        assert "works" in inside("web", f"{here}:18601")
    else:
        wait_for(lambda: f"\n{SECOND} - - " in "\n" + cli("logs", "web").out, "the second host's address in the access log")


# --- a proxy in front of three applications -------------------------------------------------------------

PROXY = """
upstream apps {{ {servers} }}
server {{
  listen 8080;
  location / {{ proxy_pass http://apps; proxy_connect_timeout 2s; proxy_set_header X-Forwarded-For $remote_addr; }}
}}
"""
# The applications say who they are and for whom they are asked.
APPLICATION = ("sh", "-c", "mkdir -p /w/cgi-bin; printf '#!/bin/sh\\nprintf \"Content-Type: text/plain\\\\n\\\\n\"; echo $(hostname) for $HTTP_X_FORWARDED_FOR\\n' "
               "> /w/cgi-bin/who; chmod 755 /w/cgi-bin/who; exec httpd -f -p 80 -h /w")


@pytest.mark.parametrize("how", ["by-name", "by-link"])
def test_proxy_before_three_applications(cli, net, engine, second_host, tmp_path, how):
    names = ["app1", "app2", "app3"]
    flags, links = [], []
    if how == "by-name":
        net("own")
        flags, servers = ["--network", "own"], names
    else:
        servers = ["one", "two", "three"]
        for name, alias in zip(names, servers):
            links += ["--link", f"{name}:{alias}"]
    (tmp_path / "proxy.conf").write_text(PROXY.format(servers=" ".join(f"server {s}:80 max_fails=1 fail_timeout=60s;" for s in servers)))
    for name in names:
        cli("run", "-d", "--name", name, "--hostname", name, *flags, "busybox", *APPLICATION)
    cli("run", "-d", "--name", "proxy", *flags, *links, "-p", "18610:8080", "-v", f"{tmp_path}/proxy.conf:/etc/nginx/conf.d/proxy.conf:ro", "nginx")

    def ask(space=engine.netns, where="127.0.0.1"):
        return space.fetch(f"http://{where}:18610/cgi-bin/who", rc=None)

    def seen(times=12):
        return {answer.split()[0] for answer in (ask() for _ in range(times)) if answer}
    wait_for(lambda: seen() == set(names), "all three applications answer through the proxy")
    assert ask(second_host, HOST).split(" for ")[1] == SECOND + "\n"
    # The applications are not reached from outside, only the proxy.
    assert cli.out("port", "app1") == ""
    # One less: the proxy goes on with the other two.
    cli("stop", "-t", "0", "app2")
    assert ask() and wait_for(lambda: seen() == {"app1", "app3"}, "the other two answer")
    # It comes back, with whatever address, and a proxy that looks again finds it.
    cli("start", "app2")
    cli("restart", "-t", "0", "proxy")
    wait_for(lambda: seen() == set(names), "all three answer again")


# --- UDP --------------------------------------------------------------------------------------------

ECHO = """
use IO::Socket::INET; $| = 1;
my $s = IO::Socket::INET->new(LocalPort => 9, Proto => 'udp') or die $!; print "ready\\n";
while (defined $s->recv(my $m, 2000)) { $s->send("$ENV{WHO} " . $s->peerhost . ":" . $s->peerport . " $m") }
"""
# Unconnected: the answer's source is told, whatever it is. A datagram may be lost: asked again.
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", int(sys.argv[3])))
s.settimeout(0.5)
for line in sys.stdin:
    for _ in range(2 if line == "nobody\\n" else 20):
        s.sendto(line.strip().encode(), (sys.argv[1], int(sys.argv[2])))
        try:
            text, peer = s.recvfrom(3000)
        except (TimeoutError, ConnectionRefusedError):
            continue
        print(peer[0], peer[1], text.decode())
        break
    else:
        print("nothing")
"""


class Asking:
    """One UDP client with one source port, as long as it lives."""

    def __init__(self, space, where, port, own_port):
        self.process = subprocess.Popen(space.enter(["/usr/bin/python3", "-u", "-c", ASK, where, str(port), str(own_port)]),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def close(self):
        ended(self.process)


def echo_server(cli, name, *flags):
    cli("run", "-d", "--name", name, "-e", f"WHO={name}", *flags, "debian", "perl", "-e", ECHO)
    wait_for(lambda: "ready" in cli("logs", name).out, "the server listens")


def test_udp_echo(cli, net, engine, second_host):
    net("own")
    echo_server(cli, "echo", "--network", "own", "-p", "18620:9/udp")
    here = gateway(cli, "echo", "own")
    clients = []
    try:
        for space, where in ((second_host, HOST), (second_host, HOST), (engine.netns, "127.0.0.1"), (engine.netns, HOST), (engine.netns, here)):
            clients.append((Asking(space, where, 18620, 41000 + len(clients)), space, where, 41000 + len(clients)))
        for round_ in ("first", "second"):
            for client, space, where, port in clients:
                answer = client.ask(round_)
                assert answer[:2] == [where, "18620"] and answer[2] == "echo" and answer[4] == round_, answer
                if space is second_host:
                    assert answer[3] == f"{SECOND}:{port}", "the client's address and port are kept"
    finally:
        for client, *_ in clients:
            client.close()
    # From a container of the same network, by the published port.
    cli("run", "-d", "--name", "asks", "--network", "own", "debian", "sleep", "999")
    source = f"use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => '{here}:18620', Proto => 'udp'); $SIG{{ALRM}} = sub {{ $s->send('in') }};" \
             "use Time::HiRes 'ualarm'; $s->send('in'); ualarm(500000, 500000); $s->recv(my $m, 999); print $m"
    assert cli.out("exec", "asks", "perl", "-e", source).endswith(" in")


def test_udp_client_follows_a_new_server(cli, engine, second_host):
    """A client that keeps its source port is not held by what the kernel remembers of the old container."""
    echo_server(cli, "first", "-p", "18621:9/udp")
    outside, local = Asking(second_host, HOST, 18621, 41100), Asking(engine.netns, "127.0.0.1", 18621, 41101)
    try:
        assert outside.ask("x")[2] == "first" and local.ask("x")[2] == "first"
        cli("run", "-d", "--name", "between", "busybox", "sleep", "999")
        cli("rm", "-f", "first")
        outside.ask("nobody"), local.ask("nobody")  # makes the kernel remember that, too
        echo_server(cli, "second", "-p", "18621:9/udp")
        assert outside.ask("y")[2] == "second" and local.ask("y")[2] == "second"
    finally:
        outside.close()
        local.close()


# --- firewalls and tunnels inside -------------------------------------------------------------------------

# The host's own programs and libraries over those of the image: no image here brings a firewall.
HOST_PROGRAMS = ("-v", "/usr:/usr:ro", "--tmpfs", "/run")


def need(program):
    if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("program", ["nft", "iptables-nft", "iptables-legacy"])
def test_firewall_inside(cli, engine, program):
    need(program)
    cli("run", "-d", "--name", "wall", "--cap-add", "NET_ADMIN", *HOST_PROGRAMS, "debian", "sleep", "999")
    before = engine.netns.rules()
    if program == "iptables-legacy" and "Table does not exist" in cli("exec", "wall", program, "-L", "-n", rc=None).err:
        pytest.skip("the kernel has no tables of iptables-legacy")
    server = cli.start("exec", "wall", "perl", "-MIO::Socket::INET", "-e", """
        my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9, ReuseAddr => 1) or die;
        while (my $c = $s->accept) { print $c "HTTP/1.0 200 OK\\r\\n\\r\\nopen\\n"; close $c }""")
    try:
        where = address(cli, "wall")
        cli("run", "-d", "--name", "asks", "busybox", "sleep", "999")

        def answers(port=80):
            return cli("exec", "asks", "wget", "-qO-", f"http://{where}:{port}/", rc=None).out == "open\n"
        wait_for(answers, "the server answers")
        assert not answers(8080)
        if program == "nft":
            cli("exec", "-i", "wall", "nft", "-f", "-", stdin="table inet wall { chain in { type filter hook input priority 0; tcp dport 80 reject; }; "
                                                              "chain nat { type nat hook prerouting priority -100; tcp dport 8080 redirect to :81; }; }")
            assert "dport 8080" in cli.out("exec", "wall", "nft", "list", "ruleset")
        else:
            cli("exec", "wall", program, "-A", "INPUT", "-p", "tcp", "--dport", "80", "-j", "REJECT")
            cli("exec", "wall", program, "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "8080", "-j", "REDIRECT", "--to-ports", "81")
            assert "dpt:8080" in cli.out("exec", "wall", program, "-t", "nat", "-L", "-n")
        assert not answers()
        # A rule inside leads another port to the server's.
        if program == "nft":
            cli("exec", "-i", "wall", "nft", "-f", "-", stdin="flush ruleset; table ip nat { chain p { type nat hook prerouting priority -100; tcp dport 8080 redirect to :80; }; }")
        else:
            cli("exec", "wall", program, "-F", "INPUT")
            cli("exec", "wall", program, "-t", "nat", "-R", "PREROUTING", "1", "-p", "tcp", "--dport", "8080", "-j", "REDIRECT", "--to-ports", "80")
        assert answers() and answers(8080)
        assert engine.netns.rules() == before, "the host's rules are not touched"
    finally:
        ended(server)


def test_firewall_inside_needs_net_admin(cli, engine):
    need("nft")
    before = engine.netns.rules()
    for argv in (("nft", "add", "table", "inet", "wall"), ("iptables-nft", "-A", "INPUT", "-j", "DROP"), ("nft", "flush", "ruleset")):
        if shutil.which(argv[0], path="/usr/sbin:/usr/bin:/sbin:/bin"):
            failed = cli("run", "--rm", *HOST_PROGRAMS, "debian", *argv, rc=None)
            assert failed.rc != 0 and ("not permitted" in failed.err or "ermission denied" in failed.err), failed
    assert engine.netns.rules() == before


# A tunnel as VPN programs make it: packets of an interface in datagrams to the other one.
TUNNEL = r"""
use IO::Socket::INET; use IO::Select; $| = 1;
my ($mine, $peer) = @ARGV;
open(my $tun, "+<", "/dev/net/tun") or die "open: $!";
ioctl($tun, 0x400454ca, my $request = pack("a16 S x22", "tun7", 0x1001)) or die "TUNSETIFF: $!";
for ("ip addr add $mine/24 dev tun7", "ip link set tun7 up") { system("/busybox $_") == 0 or die $_ }
my $wire = IO::Socket::INET->new(LocalPort => 4500, Proto => 'udp') or die "socket: $!";
my $to = pack_sockaddr_in(4500, inet_aton($peer) || die "no name $peer");
my $both = IO::Select->new($tun, $wire); print "ready\n";
my $packet;
while (my @can = $both->can_read) { for my $from (@can) {
  if ($from == $tun) { sysread($tun, $packet, 2000) and send($wire, $packet, 0, $to) }
  else { recv($wire, $packet, 2000, 0); syswrite($tun, $packet) } } }
"""


def test_tunnel_between_containers(cli, net):
    net("own")
    tools = ("--cap-add", "NET_ADMIN", "--device", "/dev/net/tun", "-v", f"{busybox.BUSYBOX}:/busybox:ro", "--network", "own")
    for name in ("left", "right"):
        cli("run", "-d", "--name", name, *tools, "debian", "sleep", "999")
    running = [cli.start("exec", name, "perl", "-e", TUNNEL, mine, peer) for name, mine, peer in (("left", "10.77.7.1", "right"), ("right", "10.77.7.2", "left"))]
    try:
        for process in running:
            assert process.stdout.readline() == b"ready\n", process.stderr.read()
        wait_for(lambda: cli("exec", "left", "/busybox", "ping", "-c1", "-W2", "10.77.7.2", rc=None).rc == 0, "a ping through the tunnel")
        cli("exec", "-d", "right", "/busybox", "sh", "-c", "mkdir /w; /busybox seq 20000 > /w/index.html; exec /busybox httpd -f -p 10.77.7.2:7000 -h /w")
        expected = "".join(f"{n}\n" for n in range(1, 20001))
        wait_for(lambda: cli("exec", "left", "/busybox", "wget", "-qO-", "http://10.77.7.2:7000/", rc=None).out == expected, "a stream through the tunnel", 30)
        assert "tun7" not in cli.out("run", "--rm", "busybox", "ls", "/sys/class/net")
    finally:
        for process in running:
            ended(process)


# --- the host -----------------------------------------------------------------------------------------

HOST_SERVER = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"host for " + self.client_address[0].encode())
server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Page)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_host_docker_internal(cli, net, engine):
    net("own")
    server = python_inside(engine.netns, HOST_SERVER)
    try:
        port = int(server.stdout.readline())
        for network in ("bridge", "own"):
            cli("run", "-d", "--name", f"in-{network}", "--network", network, "--add-host", "host.docker.internal:host-gateway", "busybox", "sleep", "999")
            out = cli.out("exec", f"in-{network}", "wget", "-qO-", f"http://host.docker.internal:{port}/")
            assert out == "host for " + address(cli, f"in-{network}", network)
        cli("restart", "-t", "0", "in-own")
        cli("exec", "in-own", "wget", "-qO-", f"http://host.docker.internal:{port}/")
    finally:
        ended(server)


def test_a_network_costs_no_process(own_engine, client_of, tmp_path):
    """What the engine starts for a container with bridge and published port is what it starts for one without network."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    engine = own_engine()
    cli = client_of(engine)

    def started_by(*flags):
        out = tmp_path / "trace"
        strace = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=execve,clone,clone3,fork,vfork", "-e", "signal=none", "-o", str(out), "-p", str(engine.pid)],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait_for(lambda: traced(engine.pid), "strace has all threads")
            cli("run", "--rm", *flags, "busybox", "true")
            wait_for(lambda: not engine.containers(), "it is removed")
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate(timeout=20)
        lines = [line for line in out.read_text(errors="replace").splitlines() if "resumed>" not in line]
        programs = sorted(line.split('"')[1] if '"' in line else line for line in lines if " execve(" in line)
        processes = [line for line in lines if " execve(" not in line and "CLONE_THREAD" not in line]
        return [os.path.basename(p) for p in programs], len(processes)
    started_by("-p", "18630:80")  # the bridge, the rules
    without = started_by("--network", "none")
    assert started_by() == without
    assert started_by("-p", "18630:80", "-p", "18631:80/udp") == without
    assert not {"ip", "nft", "iptables", "tc", "sh"} & set(without[0]) and "true" in without[0]


def traced(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
                if "TracerPid:\t0\n" in file.read():
                    return False
        except OSError:
            continue
    return True
