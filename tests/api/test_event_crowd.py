# SPDX-License-Identifier: Apache-2.0
"""A thousand clients that follow the events at once: each hears all of them, in one order, and the engine stays small."""
import json
import os
import resource
import socket
import threading

from harness.shell import wait_for

CLIENTS = 1000
KIB_EACH = 64  # of the engine's memory


def resident_kib(engine):
    with open(f"/proc/{engine.pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1])


def open_fds(engine):
    return len(os.listdir(f"/proc/{engine.pid}/fd"))


class Follower:
    def __init__(self, path):
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.peer.settimeout(60)
        self.peer.connect(path)
        self.peer.sendall(b'GET /v1.43/events?filters={"type":["container"]} HTTP/1.1\r\nHost: d\r\n\r\n'.replace(b'{"type":["container"]}', b"%7B%22type%22%3A%5B%22container%22%5D%7D"))
        self.data = b""

    def head(self):
        while b"\r\n\r\n" not in self.data:
            self.data += self.receive()
        assert self.data.startswith(b"HTTP/1.1 200 OK"), self.data[:200]
        self.data = self.data.partition(b"\r\n\r\n")[2]

    def receive(self):
        piece = self.peer.recv(65536)
        assert piece, "the stream ended"
        return piece

    def events(self, count):
        """The first `count`; each is one chunk."""
        while self.data.count(b"}\n\r\n") < count:
            self.data += self.receive()
        return [json.loads(line) for line in self.data.split(b"\r\n") if line.startswith(b"{")]


def allow_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard))


def test_a_thousand_clients_on_events(own_engine):
    allow_descriptors(4096)
    engine = own_engine()
    engine.run_once()
    before, fds = resident_kib(engine), open_fds(engine)
    followers = [Follower(engine.socket) for _ in range(CLIENTS)]
    for follower in followers:
        follower.head()
    names = [f"crowd{number}" for number in range(10)]

    def lives(name):
        engine.api.ok("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": ["true"]})
        engine.api.ok("POST", f"/containers/{name}/start")
        engine.api.ok("POST", f"/containers/{name}/wait")
        engine.api.ok("DELETE", f"/containers/{name}")
    threads = [threading.Thread(target=lives, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = 4 * len(names)  # create, start, die, destroy
    first = followers[0].events(expected)
    actions = [e["Action"] for e in first]
    assert {a: actions.count(a) for a in set(actions)} == {a: len(names) for a in ("create", "start", "die", "destroy")}
    assert [e["timeNano"] for e in first] == sorted(e["timeNano"] for e in first)
    for follower in followers:
        assert follower.events(expected) == first
    grown = resident_kib(engine) - before
    assert grown < CLIENTS * KIB_EACH, f"{grown} KiB for {CLIENTS} clients"
    for follower in followers:
        follower.peer.close()
    wait_for(lambda: open_fds(engine) <= fds + 5, "the connections are gone")
