# SPDX-License-Identifier: Apache-2.0
"""caisson-dns alone, with real sockets: what containers are told, what is forwarded, and what it survives."""
import os
import random
import shutil
import socket
import struct
import subprocess

import pytest

from harness import dns
from harness.dns import A, AAAA, ANY, NOERROR, NXDOMAIN, PTR, REFUSED, SERVFAIL, TXT, ContainerSide, DnsServer, Upstream
from harness.netns import NetworkNamespace
from harness.shell import run, wait_for

pytestmark = pytest.mark.no_leak_check


@pytest.fixture
def server(tmp_path):
    made = DnsServer(str(tmp_path))
    yield made
    assert made.process.poll() is None, "caisson-dns ended during the test"
    made.close()


@pytest.fixture
def side():
    made = ContainerSide()
    yield made
    made.close()


@pytest.fixture
def upstream():
    made = []

    def make(**options):
        made.append(Upstream(**options))
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture
def container(tmp_path):
    """A network namespace with lo up, as a container has."""
    space = NetworkNamespace("cd" + os.path.basename(os.path.dirname(tmp_path))[-6:] + str(os.getpid()))
    yield space.name
    space.remove()


def dig(side, *args):
    if not shutil.which("dig"):
        pytest.skip("the program 'dig' is missing (package bind9-dnsutils)")
    port = side.tcp_server[1] if "+tcp" in args else side.server[1]
    return run(["dig", "@127.0.0.11", "-p", str(port), "+time=30", "+tries=1", *args], timeout=60).out


def test_names_of_containers(server, side):
    server.add("Web", "172.18.0.2", "fd00::2", aliases=["www", "0123456789ab"])
    server.add("web", "172.19.0.2", network="net2", network_name="back")
    server.attach("me", side)
    for name in ("web", "WEB", "www", "0123456789ab", "web.front", "wEb.Front", "www.front"):
        reply = side.ask(name)
        assert (reply.code, reply.data, reply.question) == (NOERROR, ["172.18.0.2"], name)
        assert reply.recursion and reply.ident == 0x1234 and reply.records[0][2] == 600
    assert side.ask("web", AAAA).data == ["fd00::2"]
    assert sorted(side.ask("web", ANY).data) == ["172.18.0.2", "fd00::2"]
    assert side.ask("web", TXT).code == NOERROR and not side.ask("web", TXT).data
    # Another network's names are not for this container, until it is connected.
    assert side.ask("web.back").code == SERVFAIL
    server.tell("scope", scope="me", networks=[{"id": "net2"}, {"id": "net1"}], forward=True)
    assert side.ask("web.back").data == ["172.19.0.2"]
    assert side.ask("web").data == ["172.19.0.2"]
    server.tell("remove", network="net2", endpoint="ep-web")
    assert side.ask("web").data == ["172.18.0.2"]


def test_reverse_names(server, side):
    server.add("web", "172.18.0.2", "fd00::2", aliases=["a"])
    server.attach("me", side)
    assert side.ask("2.0.18.172.in-addr.arpa", PTR).data == ["web.front"]
    assert side.ask("2.0.0.0." + "0.0.0.0." * 6 + "0.0.d.f.ip6.arpa", PTR).data == ["web.front"]
    assert side.ask("3.0.18.172.in-addr.arpa", PTR).code == SERVFAIL


def test_an_alias_of_several_containers_gives_all_in_changing_order(server, side):
    addresses = {f"10.0.0.{i}" for i in range(1, 4)}
    for address in addresses:
        server.add("app" + address[-1], address, aliases=["app"])
    server.attach("me", side)
    first = set()
    for _ in range(200):
        data = side.ask("app").data
        assert set(data) == addresses and len(data) == 3
        first.add(data[0])
    assert first == addresses


def test_links_belong_to_one_container(server, side):
    other = ContainerSide()
    server.add("mysql-1", "10.0.0.1")
    server.attach("me", side, links={"net1": {"db": "mysql-1"}})
    server.attach("other", other)
    assert side.ask("db").data == ["10.0.0.1"]
    assert other.ask("db").code == SERVFAIL
    server.add("mysql-1", "10.0.0.9")
    assert side.ask("DB.front").data == ["10.0.0.9"]
    other.close()


def test_dig_reads_the_answers(server, side):
    server.add("web", "172.18.0.2", "fd00::2")
    for i in range(100):
        server.add(f"app{i}", f"10.0.1.{i}", aliases=["app"])
    server.attach("me", side)
    assert dig(side, "+short", "web").split() == ["172.18.0.2"]
    assert dig(side, "+short", "web", "AAAA").split() == ["fd00::2"]
    assert dig(side, "+short", "-x", "172.18.0.2").split() == ["web.front."]
    assert dig(side, "+short", "+tcp", "web").split() == ["172.18.0.2"]
    out = dig(side, "web")
    assert "status: NOERROR" in out and "EDNS: version: 0" in out and "WARNING" not in out and ";; Warning" not in out
    assert "flags: qr rd ra" in out
    # 1600 bytes: cut for a plain client, whole over TCP and for one that takes more.
    out = dig(side, "+noedns", "+ignore", "app")
    assert "flags: qr tc rd ra" in out
    assert len(dig(side, "+short", "+tcp", "app").split()) == 100
    assert len(dig(side, "+short", "+bufsize=4096", "app").split()) == 100
    assert "status: BADVERS" in dig(side, "+edns=1", "+noednsnegotiation", "web")
    assert "status: NOTIMP" in dig(side, "+opcode=notify", "web")
    assert "status: REFUSED" in dig(side, "CH", "TXT", "version.bind")


def test_truncation_and_tcp(server, side):
    for i in range(60):
        server.add(f"app{i}", f"10.0.1.{i}", aliases=["app"])
    server.attach("me", side)
    plain = side.ask("app")
    assert plain.truncated and len(plain.raw) <= 512
    assert not side.ask("app", size=4096).truncated
    assert 512 < len(side.ask("app", size=700).raw) <= 700
    assert side.ask("app", size=100).truncated
    assert len(side.ask_tcp("app").data) == 60
    # Several queries at once over one connection, byte by byte, and a half-closed one.
    with side.stream() as stream:
        messages = [dns.make_query(f"app{i}", ident=i) for i in range(40)]
        stream.sendall(b"".join(struct.pack("!H", len(m)) + m for m in messages))
        stream.shutdown(socket.SHUT_WR)
        replies = [dns.Reply(dns.read_exactly(stream, struct.unpack("!H", dns.read_exactly(stream, 2))[0])) for _ in messages]
        assert [(r.ident, r.data) for r in replies] == [(i, [f"10.0.1.{i}"]) for i in range(40)]
        assert stream.recv(1) == b""


def test_forwarding(server, side, upstream):
    outside = upstream(answers={"www.example.com": "192.0.2.1", "single": "192.0.2.2", "big.example": "big"})
    server.tell("upstreams", upstreams=[outside.entry()])
    server.add("web", "172.18.0.2")
    server.attach("me", side)
    reply = side.ask("www.example.com")
    assert (reply.data, reply.ident, reply.question) == (["192.0.2.1"], 0x1234, "www.example.com")
    assert side.ask("single").data == ["192.0.2.2"]
    assert side.ask("nowhere.example").code == NXDOMAIN
    assert side.ask("web").data == ["172.18.0.2"] and side.ask("web", AAAA).code == NOERROR
    assert "web" not in outside.names_seen()
    # Kept, a missing name too: nobody is asked again.
    seen = len(outside.seen)
    assert side.ask("WWW.example.com").data == ["192.0.2.1"]
    assert side.ask("nowhere.example").code == NXDOMAIN
    assert len(outside.seen) == seen
    # What was too long for UDP comes over TCP, here as there.
    assert side.ask("big.example", TXT).truncated
    assert len(side.ask_tcp("big.example", TXT).data) == 16
    assert [entry[0] for entry in outside.seen if entry[1] == "big.example"] == ["udp", "tcp"]
    # Then it is known whole: cut for those who take less.
    assert len(side.ask_tcp("big.example", TXT).data) == 16


def test_source_ports_and_ids_cannot_be_guessed(server, side, upstream):
    outside = upstream(answers={f"n{i}.example": "192.0.2.1" for i in range(32)})
    server.attach("me", side, upstreams=[outside.entry()])
    for i in range(32):
        assert side.ask(f"n{i}.example").data == ["192.0.2.1"]
    assert len({entry[3] for entry in outside.seen}) > 24


def test_a_dead_server_delays_no_local_name(server, side, upstream):
    dead = upstream(answers={"slow.example": "silent", "again.example": "silent"})
    good = upstream(answers={"slow.example": "192.0.2.1", "again.example": "192.0.2.2"})
    server.add("web", "172.18.0.2")
    server.attach("me", side, upstreams=[dead.entry(), good.entry()])
    with side.client() as client:
        client.send(dns.make_query("slow.example", ident=1))
        wait_for(lambda: dead.names_seen() == ["slow.example"], "the dead server is asked", dns.PATIENCE)
        client.send(dns.make_query("web", ident=2))
        first, second = dns.Reply(client.recv(4096)), dns.Reply(client.recv(4096))
        assert (first.ident, first.data) == (2, ["172.18.0.2"])
        assert (second.ident, second.data) == (1, ["192.0.2.1"])
    assert side.ask("again.example").data == ["192.0.2.2"]
    assert "again.example" not in dead.names_seen()


def test_servers_that_refuse_or_are_not_there(server, side, upstream):
    refusing, good = upstream(answers={"www.example.com": REFUSED}), upstream(answers={"www.example.com": "192.0.2.1"})
    gone = upstream()
    gone.close()
    server.attach("me", side, upstreams=[gone.entry(), refusing.entry(), good.entry()])
    assert side.ask("www.example.com").data == ["192.0.2.1"]
    assert refusing.names_seen() == ["www.example.com"]
    server.tell("scope", scope="me", networks=[], upstreams=[gone.entry()], forward=True)
    assert side.ask("www.example.com").code == SERVFAIL


def test_without_forwarding_nothing_leaves(server, side, upstream):
    outside = upstream(answers={"www.example.com": "192.0.2.1"})
    server.tell("upstreams", upstreams=[outside.entry()])
    server.add("web", "172.18.0.2")
    server.attach("me", side, forward=False)
    assert side.ask("web").data == ["172.18.0.2"]
    for name in ("www.example.com", "single"):
        reply = side.ask(name)
        assert reply.code == SERVFAIL and not reply.recursion
    assert side.ask_tcp("www.example.com").code == SERVFAIL
    assert not outside.seen
    server.tell("scope", scope="me", networks=[{"id": "net1"}], forward=True)
    assert side.ask("www.example.com").data == ["192.0.2.1"]


def test_ipv6_servers_of_the_host_for_a_container_without_ipv6(server, container, upstream):
    try:
        outside = upstream(answers={"www.example.com": "192.0.2.1"}, address="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    side = ContainerSide(container, queries=True)
    server.tell("upstreams", upstreams=[outside.entry(from_host=False)])
    server.attach("me", side)
    assert side.ask("www.example.com").data == ["192.0.2.1"]
    # The same for servers of the container's own choice; never without a way out.
    server.tell("scope", scope="me", networks=[], forward=True, upstreams=[outside.entry(from_host=False)])
    assert side.ask("www.example.com").data == ["192.0.2.1"]
    server.tell("scope", scope="me", networks=[], forward=False, upstreams=[outside.entry(from_host=False)])
    assert side.ask("www.example.com").code == SERVFAIL
    side.close()


def test_ndots_keeps_single_labels(server, side, upstream):
    outside = upstream(answers={"single": "192.0.2.2", "a.b": "192.0.2.3"})
    server.attach("me", side, upstreams=[outside.entry()], ndots=True)
    assert (side.ask("single").code, side.ask("single").data) == (NOERROR, [])
    assert side.ask("a.b").data == ["192.0.2.3"]
    assert outside.names_seen() == ["a.b"]


def test_servers_are_asked_from_inside_the_container(server, container, upstream):
    within = upstream(answers={"www.example.com": "192.0.2.7", "big.example": "big", "slow.example": "silent"}, namespace=container)
    outside = upstream(answers={"www.example.com": "192.0.2.1"})
    side = ContainerSide(container, queries=True)
    server.attach("me", side, upstreams=[within.entry(from_host=False)], forward=False)
    assert side.ask("www.example.com").data == ["192.0.2.7"]
    assert len(side.ask_tcp("big.example", TXT).data) == 16
    assert len(side.ask_tcp("big.example", TXT, ident=9).data) == 16
    for i in range(64):
        within.answers[f"n{i}.example"] = "192.0.2.9"
        assert side.ask(f"n{i}.example").data == ["192.0.2.9"]
    assert len({entry[3] for entry in within.seen if entry[0] == "udp"}) > 32, "the sockets' ports do not change"
    # More streams at once than there are sockets: they wait for each other.
    within.answers.update({f"s{i}.example": "big" for i in range(5)})
    streams = [side.stream() for _ in range(5)]
    for i, stream in enumerate(streams):
        message = dns.make_query(f"s{i}.example", TXT)
        stream.sendall(struct.pack("!H", len(message)) + message)
    for stream in streams:
        assert len(dns.Reply(dns.read_exactly(stream, struct.unpack("!H", dns.read_exactly(stream, 2))[0])).data) == 16
        stream.close()
    # The host's way stays shut, and an address that nothing leads to fails at once.
    server.tell("scope", scope="me", networks=[], upstreams=[outside.entry(), {"address": "192.0.2.99", "port": 53}])
    assert side.ask("www.example.com").code == SERVFAIL
    assert not outside.seen
    # Nobody listens there: the kernel's word for it counts.
    within.close()
    server.tell("scope", scope="me", networks=[], upstreams=[within.entry(from_host=False)])
    assert side.ask("other.example").code == SERVFAIL
    side.close()


def test_a_new_engine_finds_what_is_served(server, side, upstream):
    outside = upstream(answers={"www.example.com": "192.0.2.1"})
    gone = ContainerSide()
    server.tell("upstreams", upstreams=[outside.entry()])
    server.add("web", "172.18.0.2")
    server.add("old", "172.18.0.3")
    server.attach("me", side)
    server.attach("gone", gone)
    server.disconnect()  # the kernel does the same for an engine that is killed
    assert side.ask("web").data == ["172.18.0.2"] and side.ask("www.example.com").data == ["192.0.2.1"]
    server.connect()
    assert side.ask("old").data == ["172.18.0.3"]
    answer, fds = server.exchange({"type": "resume", "scope": "me", "networks": [{"id": "net1"}], "forward": True})
    assert answer["ok"] and len(fds) == 2
    assert os.fstat(fds[0]).st_ino == os.fstat(side.udp.fileno()).st_ino
    for fd in fds:
        os.close(fd)
    answer = server.tell("resume", scope="unknown", ok=False)
    assert answer["not_found"] and answer["error"] == "no such scope 'unknown'"
    server.add("web", "172.18.0.2")
    server.tell("sync")
    assert side.ask("web").data == ["172.18.0.2"]
    assert side.ask("old").code == NXDOMAIN
    # Its sockets have been let go: nobody else holds them.
    gone.udp.close()
    wait_for(lambda: subprocess.run(["ss", "-uanH", "src", f"127.0.0.11:{gone.server[1]}"], capture_output=True, check=True).stdout == b"",
             "the sockets are closed", dns.PATIENCE)
    gone.close()


def test_a_visitor_does_not_take_the_engines_place(server, side):
    for words in (None, b'{"type": "detach", "scope": "me"}', b"junk"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
            visitor.settimeout(dns.PATIENCE)
            visitor.connect(server.path)
            if words:
                visitor.send(words)
                assert visitor.recv(100) == b""
        server.attach("me", side)
        server.add("web", "172.18.0.2")
        assert side.ask("web").data == ["172.18.0.2"]


def test_ends_with_nothing_to_serve(tmp_path, side):
    server = DnsServer(str(tmp_path))
    server.attach("me", side)
    server.disconnect()
    assert side.ask("web").code == SERVFAIL
    server.connect()
    server.tell("detach", scope="me")
    server.disconnect()
    assert server.process.wait(timeout=dns.PATIENCE) == 0


def test_a_scope_attached_again_has_the_new_sockets(server, side):
    server.add("web", "172.18.0.2")
    server.attach("me", side)
    second = ContainerSide()
    server.attach("me", second)
    assert second.ask("web").data == ["172.18.0.2"] and second.ask_tcp("web").data == ["172.18.0.2"]
    server.tell("detach", scope="me")
    second.close()


def test_hostile_packets(server, side):
    server.add("web", "172.18.0.2")
    server.attach("me", side)
    rng = random.Random(7)
    seeds = [dns.make_query("web"), dns.make_query("a.b.c", AAAA, size=1232), struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1"]
    with side.client() as client:
        for round_ in range(3000):
            packet = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(4)):
                packet[rng.randrange(len(packet))] = rng.randrange(256)
            client.send(bytes(packet[:rng.randrange(len(packet) + 1)] if round_ % 3 else packet))
        client.send(b"\0" * 5000)

    def answers():
        with side.client() as client:
            client.settimeout(0.5)
            client.send(dns.make_query("web"))
            try:
                return client.recv(4096)
            except TimeoutError:
                return None  # lost behind all that junk
    wait_for(answers, "queries are answered again", dns.PATIENCE)
    # Replies are not answered: no two servers talk to each other for ever.
    with side.client() as client:
        client.send(dns.make_query("web", flags=0x8180, ident=1))
        client.send(dns.make_query("web", ident=2))
        assert dns.Reply(client.recv(4096)).ident == 2
    assert dns.Reply(side.send(struct.pack("!6H", 5, 0x100, 7, 0, 0, 0))).code == dns.FORMERR
    assert dns.Reply(side.send(seeds[2])).code == dns.FORMERR
    # Streams: a size without an end, junk, and more connections than there may be.
    with side.stream() as stream:
        stream.sendall(b"\0\3abc")
        assert stream.recv(1) == b""
    idle = [side.stream() for _ in range(100)]
    assert side.ask_tcp("web").data == ["172.18.0.2"]
    assert idle[0].recv(1) == b"", "the one that idled longest makes room"
    for stream in idle:
        stream.close()
    assert side.ask("web").data == ["172.18.0.2"]


def test_wrong_requests_change_nothing(server, side):
    server.attach("me", side)
    server.add("web", "172.18.0.2")
    for request in ({"type": "nonsense"}, {"type": "attach", "scope": "x"}, {"type": "add", "network": "n"},
                    {"type": "add", "network": "net1", "network_name": "n", "endpoint": "ep-web", "name": "web", "addresses": ["1.2.3"]},
                    {"type": "upstreams", "upstreams": [{"address": "host", "port": 53}]}, {"type": "upstreams"},
                    {"type": "scope", "scope": "me", "networks": [{"id": ""}]},
                    {"type": "scope", "scope": "me", "networks": [{"id": str(i)} for i in range(129)]}):
        answer, _ = server.exchange(request)
        assert not answer["ok"] and answer["error"], request
    for text in (b"{", b"[]", b"\xff\xfe", b'{"type":7}'):
        assert not server.exchange(text)[0]["ok"]
    # Not the sockets they should be, and other descriptors.
    for sockets in ([side.tcp, side.udp], [side.udp, side.udp], list(socket.socketpair())):
        answer, _ = server.exchange({"type": "attach", "scope": "y"}, sockets)
        assert not answer["ok"]
    assert side.ask("web").data == ["172.18.0.2"]


def test_confined_and_small(server, side):
    server.attach("me", side)
    assert side.ask("web").code == SERVFAIL
    assert server.status("Uid") == ["65534"] * 4 and server.status("Gid") == ["65534"] * 4 and server.status("Groups") == []
    assert {server.status(f"Cap{s}")[0] for s in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert server.status("NoNewPrivs") == ["1"] and server.status("Seccomp") == ["2"] and server.status("Threads") == ["1"]
    assert os.stat(server.path).st_mode & 0o777 == 0o600
    with open(f"/proc/{server.process.pid}/smaps_rollup", encoding="ascii") as file:
        pss = next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    assert pss < 2048, f"{pss} kB"


def test_started_by_hand_it_says_what_it_is():
    done = run([dns.BIN + "/caisson-dns"], rc=2)
    assert done.err == "caisson-dns: started by caissond for the names of its containers, not by hand\n"


def test_forgets_scopes_with_all_they_had(server):
    sides = [ContainerSide() for _ in range(100)]
    server.add("web", "172.18.0.2")
    for i, side in enumerate(sides):
        server.attach(f"c{i}", side)
    for side in sides:
        assert side.ask("web").data == ["172.18.0.2"]
    for i, side in enumerate(sides):
        server.tell("detach", scope=f"c{i}")
        side.close()
    wait_for(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) < 12, "all sockets are closed", dns.PATIENCE)
