# SPDX-License-Identifier: Apache-2.0
"""attach/ws by a client of RFC 6455 that is written out here, and resize with bad values."""
import base64
import hashlib
import os
import socket
import struct

import pytest

from harness.shell import wait_for


class WebSocket:
    def __init__(self, api, path, version="13"):
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.peer.settimeout(10)
        self.peer.connect(api.socket_path)
        key = base64.b64encode(os.urandom(16)).decode()
        self.peer.sendall(f"GET {path} HTTP/1.1\r\nHost: d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                          f"Sec-WebSocket-Version: {version}\r\n\r\n".encode())
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            self.data += self.peer.recv(4096)
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        self.head = head.decode()
        expected = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        self.accepted = f"Sec-WebSocket-Accept: {expected}" in self.head

    def send(self, opcode, payload):
        mask = os.urandom(4)
        size = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BH", 0xfe, len(payload)) if len(payload) < 65536 else struct.pack("!BQ", 0xff, len(payload))
        self.peer.sendall(bytes([0x80 | opcode]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def exactly(self, count):
        while len(self.data) < count:
            piece = self.peer.recv(65536)
            if not piece:
                raise EOFError
            self.data += piece
        out, self.data = self.data[:count], self.data[count:]
        return out

    def frame(self):
        first, size = self.exactly(2)
        assert first & 0x80 and not size & 0x80
        if size == 126:
            size = struct.unpack("!H", self.exactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.exactly(8))[0]
        return first & 15, self.exactly(size)

    def read_to_close(self):
        out = b""
        while True:
            opcode, payload = self.frame()
            if opcode == 8:
                assert payload == b"\x03\xe8"
                return out
            assert opcode == 2
            out += payload

    def read_until(self, wanted):
        out = b""
        while wanted not in out:
            opcode, payload = self.frame()
            assert opcode == 2
            out += payload
        return out


def create(api, *command, **config):
    return api.ok("POST", "/containers/create?name=box", {"Image": "busybox", "Cmd": list(command), **config})["Id"]


@pytest.mark.parametrize("tty", [False, True])
def test_websocket_both_ways(api, tty):
    create(api, "sh", "-c", "read line; echo got $line; echo error >&2; sleep 0.2", OpenStdin=True, Tty=tty)
    client = WebSocket(api, "/v1.51/containers/box/attach/ws?stream=1&stdin=1&stdout=1&stderr=1")
    assert client.accepted and client.head.startswith("HTTP/1.1 101 ")
    assert api.post("/containers/box/start").status == 204
    client.send(2, b"hel")
    client.send(9, b"are you there")
    # A terminal echoes what it was sent, before or after.
    while (frame := client.frame()) != (10, b"are you there"):
        assert tty and frame[0] == 2
    client.send(1, b"lo\n")
    out = client.read_to_close()
    assert b"got hello" in out and b"error" in out


def test_websocket_large_output_arrives_whole(api):
    create(api, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    client = WebSocket(api, "/containers/box/attach/ws?stream=1&stdout=1")
    assert api.post("/containers/box/start").status == 204
    assert client.read_to_close() == b"x" * 3000000


def test_websocket_large_input(api):
    create(api, "sh", "-c", "head -c 1000000 | md5sum", OpenStdin=True)
    client = WebSocket(api, "/containers/box/attach/ws?stream=1&stdin=1&stdout=1")
    assert api.post("/containers/box/start").status == 204
    data = os.urandom(1000000)
    for at in range(0, len(data), 100000):
        client.send(2, data[at:at + 100000])
    assert hashlib.md5(data).hexdigest().encode() in client.read_to_close()


def test_websocket_logs(api):
    create(api, "sh", "-c", "echo before; echo worse >&2; read x", OpenStdin=True)
    assert api.post("/containers/box/start").status == 204
    first = WebSocket(api, "/containers/box/attach/ws?logs=1&stream=1&stdin=1&stdout=1")
    assert b"before\n" == first.read_until(b"before\n")
    wait_for(lambda: b"worse" in api.get("/containers/box/logs?stderr=1").body, "the second line is logged")
    # Without a stream what was written is all.
    assert WebSocket(api, "/containers/box/attach/ws?logs=1&stdout=1&stderr=1").read_to_close() == b"before\nworse\n"
    first.send(2, b"end\n")
    assert first.read_to_close() == b""


def test_websocket_of_the_client_closed(api):
    create(api, "cat", OpenStdin=True, StdinOnce=True)
    client = WebSocket(api, "/containers/box/attach/ws?stream=1&stdin=1&stdout=1")
    assert api.post("/containers/box/start").status == 204
    client.send(2, b"x\n")
    client.read_until(b"x\n")
    client.send(8, b"\x03\xe8")
    assert client.frame() == (8, b"\x03\xe8")
    assert api.ok("POST", "/containers/box/wait", timeout=10)["StatusCode"] == 0


def test_websocket_detach_keys(api):
    create(api, "cat", OpenStdin=True, Tty=True)
    client = WebSocket(api, "/containers/box/attach/ws?stream=1&stdin=1&stdout=1&detachKeys=a,b")
    assert api.post("/containers/box/start").status == 204
    client.send(2, b"ab")
    client.read_to_close()
    assert api.ok("GET", "/containers/box/json")["State"]["Running"]


def test_websocket_bad_requests(api):
    create(api, "sleep", "9")
    assert api.get("/containers/nobody/attach/ws?stream=1").status == 404
    plain = api.get("/containers/box/attach/ws?stream=1")
    assert plain.status == 400 and "websocket" in plain.message
    assert " 400 " in WebSocket(api, "/containers/box/attach/ws?stream=1", version="8").head
    assert " 400 " in WebSocket(api, "/containers/box/attach/ws?stream=1&detachKeys=bad-key").head
    assert api.post("/containers/box/start").status == 204
    for garbage in (b"\x82\x01x", b"\xf0" * 50, os.urandom(200)):
        broken = WebSocket(api, "/containers/box/attach/ws?stream=1&stdin=1&stdout=1")
        broken.peer.sendall(garbage)
        broken.peer.shutdown(socket.SHUT_WR)
        broken.peer.close()
    assert api.post("/containers/box/pause").status == 204
    assert " 409 " in WebSocket(api, "/containers/box/attach/ws?stream=1").head
    assert api.post("/containers/box/unpause").status == 204


@pytest.mark.parametrize("query", ["", "?h=10", "?w=10", "?h=x&w=1", "?h=-1&w=5", "?h=99999999999999999999&w=5", "?h=70000&w=5"])
def test_resize_bad_values(api, query):
    create(api, "sleep", "9", Tty=True)
    assert api.post("/containers/box/start").status == 204
    answer = api.post("/containers/box/resize" + query)
    assert answer.status == 400 and answer.message
    ident = api.ok("POST", "/containers/box/exec", {"Cmd": ["sleep", "9"], "Tty": True})["Id"]
    assert api.post(f"/exec/{ident}/start", {"Detach": True, "Tty": True}).status == 200
    assert api.post(f"/exec/{ident}/resize" + query).status == 400


def test_resize_statuses(api):
    ident = create(api, "sh", "-c", "sleep 0.7; stty size; sleep 9", Tty=True)
    stopped = api.post("/containers/box/resize?h=20&w=60")
    assert stopped.status == 409 and f"container {ident} is not running" in stopped.message
    assert api.post("/containers/nobody/resize?h=20&w=60").status == 404
    assert api.post("/exec/nothing/resize?h=20&w=60").status == 404
    assert api.post("/containers/box/start").status == 204
    assert api.post("/containers/box/resize?h=31&w=77").status == 200
    client = WebSocket(api, "/containers/box/attach/ws?logs=1&stream=1&stdout=1")
    client.read_until(b"31 77")


def test_top_statuses(api):
    create(api, "sleep", "9")
    assert api.get("/containers/box/top").status == 409
    assert api.get("/containers/nobody/top").status == 404
    assert api.post("/containers/box/start").status == 204
    assert api.ok("GET", "/containers/box/top")["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    shown = api.ok("GET", "/containers/box/top?ps_args=-o%20pid,comm")
    assert shown["Titles"] == ["PID", "COMMAND"] and shown["Processes"][0][1] == "sleep"
    assert api.ok("GET", "/containers/box/top?ps_args=aux")["Titles"][:3] == ["USER", "PID", "%CPU"]
    # The column of process numbers is what tells whose line it is.
    without = api.get("/containers/box/top?ps_args=-o%20comm")
    assert without.status >= 400 and without.message
    assert api.get("/containers/box/top?ps_args=--no-such-option").status >= 400
