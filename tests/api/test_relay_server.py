# SPDX-License-Identifier: Apache-2.0
"""caisson-relay alone, behind a redirecting rule in a namespace: IPv6 clients reach a container that has IPv4 only."""
import os
import socket
import threading

import pytest

from harness import relay
from harness.dns import inside
from harness.relay import PATIENCE, RelayServer, Wiring, connect, listen
from harness.shell import run, wait_for

pytestmark = pytest.mark.no_leak_check


@pytest.fixture(scope="module")
def wiring():
    made = Wiring(f"cr{os.getpid()}")
    yield made
    made.close()


@pytest.fixture
def server(tmp_path, wiring):
    made = RelayServer(str(tmp_path), wiring.host)
    wiring.redirect("8080, 9000-9009", made.port)
    yield made
    wiring.at(wiring.host, "nft", "delete", "table", "ip6", "relay")
    assert made.process.poll() is None, "caisson-relay ended during the test"
    made.close()


@pytest.fixture
def web(wiring):
    """A listening socket of the container."""
    sock = listen(wiring.container, socket.AF_INET, "10.9.0.2")
    yield sock
    sock.close()


def port_of(sock):
    return sock.getsockname()[1]


def exchange_hello(client, web):
    """Both ways through; the peer as the container sees it."""
    with client:
        there, peer = web.accept()
        with there:
            there.settimeout(PATIENCE)
            client.sendall(b"hello")
            assert there.recv(5, socket.MSG_WAITALL) == b"hello"
            there.sendall(b"world")
            assert client.recv(5, socket.MSG_WAITALL) == b"world"
            client.shutdown(socket.SHUT_WR)
            assert there.recv(1) == b""
            there.sendall(b"!")
    return peer


def is_refused(space, address, port):
    """Accepted by the kernel and then reset."""
    try:
        with connect(space, address, port) as client:
            return client.recv(1) == b"never"
    except ConnectionError:
        return True


@pytest.mark.parametrize("address", ["::1", "fd00:1::1", "fd00:2::1"])
def test_every_address_of_the_host_leads_to_the_container(server, wiring, web, address):
    server.add(8080, port_of(web))
    assert exchange_hello(connect(wiring.host, address, 8080), web)[0] == "10.9.0.1"


def test_another_host_reaches_the_container(server, wiring, web):
    server.add(8080, port_of(web))
    exchange_hello(connect(wiring.far, "fd00:2::1", 8080), web)
    exchange_hello(connect(wiring.far, "fd00:1::1", 8080), web)


def test_an_exact_address_counts_before_any_and_ranges_keep_order(server, wiring, web):
    with listen(wiring.container, socket.AF_INET, "10.9.0.2") as other:
        server.add(8080, port_of(web))
        server.add(8080, port_of(other), host="fd00:1::2")
        server.add(9000, port_of(other) - 7, count=10)
        exchange_hello(connect(wiring.host, "::1", 8080), web)
        exchange_hello(connect(wiring.host, "fd00:1::2", 8080), other)
        exchange_hello(connect(wiring.host, "::1", 9007), other)


def test_a_container_with_ipv6_is_reached_too(server, wiring):
    with listen(wiring.far, socket.AF_INET6, "fd00:2::2") as web:
        server.add(8080, port_of(web), container="fd00:2::2")
        exchange_hello(connect(wiring.host, "::1", 8080), web)


def test_straight_to_the_listener_nobody_gets_in(server, wiring, web):
    server.add(8080, port_of(web))
    server.add(server.port, port_of(web))
    for space, address in ((wiring.host, "::1"), (wiring.far, "fd00:2::1")):
        assert is_refused(space, address, server.port)
    assert is_refused(wiring.host, "::1", 9000)
    assert is_refused(wiring.host, "fd00:1::1", 9009)


def test_a_large_transfer_arrives_whole_in_both_directions(server, wiring, web):
    server.add(8080, port_of(web))
    data = os.urandom(1 << 20) * 16
    with connect(wiring.host, "::1", 8080) as client:
        there, _ = web.accept()
        there.settimeout(PATIENCE)
        got = {}

        def read(name, sock):
            parts = []
            while part := sock.recv(1 << 18):
                parts.append(part)
            got[name] = b"".join(parts)

        def write(sock, what):
            sock.sendall(what)
            sock.shutdown(socket.SHUT_WR)
        threads = [threading.Thread(target=read, args=("there", there)), threading.Thread(target=read, args=("here", client)),
                   threading.Thread(target=write, args=(client, data)), threading.Thread(target=write, args=(there, data[::-1]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        there.close()
        assert got["there"] == data and got["here"] == data[::-1]
    wait_for(lambda: server.open_files() < 16, "what was lent is given back", PATIENCE)


def test_many_connections_cost_little_and_end_with_their_entry(server, wiring, web):
    server.add(8080, port_of(web))
    before = server.memory("Private")
    pairs = []
    for _ in range(200):
        client = connect(wiring.host, "::1", 8080)
        there, _ = web.accept()
        there.settimeout(PATIENCE)
        client.sendall(b"x")
        assert there.recv(1) == b"x"
        pairs.append((client, there))
    assert server.memory("Private") - before < 1024
    server.tell("remove", protocol="tcp", host="::", port=8080, count=1)
    for client, there in pairs:
        for side in (client, there):
            with side, pytest.raises(ConnectionResetError):
                side.recv(1)
    wait_for(lambda: server.open_files() < 16, "all connections are closed", PATIENCE)


def test_connections_go_on_without_an_engine_and_with_the_next(server, wiring, web):
    server.add(8080, port_of(web))
    server.add(9000, port_of(web))
    with connect(wiring.host, "::1", 8080) as client, connect(wiring.host, "::1", 9000) as dropped:
        there, _ = web.accept()
        other, _ = web.accept()
        server.disconnect()
        client.sendall(b"on")
        there.settimeout(PATIENCE)
        assert there.recv(2, socket.MSG_WAITALL) == b"on"
        exchange_hello(connect(wiring.host, "::1", 8080), web)
        server.connect()
        server.add(8080, port_of(web))
        server.tell("sync")
        client.sendall(b"still")
        assert there.recv(5, socket.MSG_WAITALL) == b"still"
        with pytest.raises(ConnectionResetError):
            dropped.recv(1)
        there.close()
        other.close()
    assert is_refused(wiring.host, "::1", 9000)


def test_datagrams_are_answered_from_the_address_that_was_asked(server, wiring):
    with listen(wiring.container, socket.AF_INET, "10.9.0.2", kind=socket.SOCK_DGRAM) as name_server, \
            listen(wiring.host, socket.AF_INET6, "::", 5300, socket.SOCK_DGRAM) as published:
        server.add(5300, port_of(name_server), protocol="udp", sockets=[published])
        for space, address in ((wiring.host, "::1"), (wiring.host, "fd00:1::2"), (wiring.far, "fd00:1::1"), (wiring.far, "fd00:2::1")):
            with inside(space):
                client = relay.patient(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
            with client:
                client.sendto(b"who?", (address, 5300))
                question, peer = name_server.recvfrom(64)
                assert question == b"who?" and peer[0] == "10.9.0.1"
                for answer in (b"me", b"x" * 30000):
                    name_server.sendto(answer, peer)
                    got, origin = client.recvfrom(65536)
                    assert got == answer and origin[:2] == (address, 5300)
        answer, fds = server.exchange({"type": "sockets", "from": 0})
        with socket.socket(fileno=fds[0]) as held:
            assert answer["ok"] and len(fds) == 1 and held.getsockname()[:2] == ("::", 5300)
        assert server.connect()["sockets"] == 1


def test_requests_that_make_no_sense_are_refused(server, wiring, web):
    server.add(8080, port_of(web))
    good = {"type": "add", "protocol": "tcp", "host": "::", "port": 1, "count": 1, "container": "::ffff:1.2.3.4", "container_port": 1}
    for wrong in ({}, {"type": "sing"}, {**good, "protocol": "sctp"}, {**good, "host": "1.2.3.4"}, {**good, "port": 0},
                  {**good, "port": 65535, "count": 2}, {**good, "container": "::"}, {**good, "protocol": "udp"}):
        answer, _ = server.exchange(wrong)
        assert not answer["ok"] and answer["error"], wrong
    for text in (b"{", b"[]", b"\xff\xfe", b'{"type":7}', b'{"type":"add","port":65536}'):
        assert not server.exchange(text)[0]["ok"]
    for pair in ([web], list(socket.socketpair())):
        answer, _ = server.exchange({**good, "protocol": "udp"}, pair)
        assert not answer["ok"]
    exchange_hello(connect(wiring.host, "::1", 8080), web)


def test_confined_and_small(server, wiring, web):
    server.add(8080, port_of(web))
    exchange_hello(connect(wiring.host, "::1", 8080), web)
    assert server.status("Uid") == ["65534"] * 4 and server.status("Gid") == ["65534"] * 4 and server.status("Groups") == []
    assert {server.status(f"Cap{s}")[0] for s in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert server.status("NoNewPrivs") == ["1"] and server.status("Seccomp") == ["2"] and server.status("Threads") == ["1"]
    assert os.stat(server.path).st_mode & 0o777 == 0o600
    pss = server.memory()
    assert pss < 2048, f"{pss} kB"


def test_ends_with_the_engine_when_nothing_is_published(tmp_path, wiring):
    server = RelayServer(str(tmp_path), wiring.host)
    try:
        server.add(8080, 80)
        server.tell("remove", protocol="tcp", host="::", port=8080, count=1)
        assert server.process.poll() is None
        server.disconnect()
        assert server.process.wait(PATIENCE) == 0
    finally:
        server.close()


def test_started_by_hand_it_says_what_it_is():
    done = run([relay.BIN + "/caisson-relay"], rc=2)
    assert done.err == "caisson-relay: started by caissond for the published ports of its containers, not by hand\n"
