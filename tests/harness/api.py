# SPDX-License-Identifier: Apache-2.0
"""The Engine API over its unix socket, without any client library: whole requests, and raw bytes."""
import http.client
import json
import socket

from harness import schema


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        """The error text; an error without one is a failure of its own."""
        assert self.headers.get("Content-Type", "").startswith("application/json"), self
        return self.json["message"]

    def __repr__(self):
        return f"HTTP {self.status} {dict(self.headers)} {self.body[:2000]!r}"


class Api:
    def __init__(self, socket_path):
        self.socket_path = socket_path

    def request(self, method, path, body=None, headers=None, timeout=30):
        """`body` may be an object (sent as JSON), bytes, or an iterable of bytes (sent chunked)."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = UnixConnection(self.socket_path, timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            answer = Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        schema.check(method, path, answer.status, answer.headers, answer.body)
        return answer

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)

    def ok(self, method, path, body=None, **options):
        """A request that must succeed; the parsed body, None where there is none."""
        answer = self.request(method, path, body, **options)
        assert answer.status < 300 or answer.status == 304, f"{method} {path}: {answer}"
        return answer.json if answer.body and "json" in answer.headers.get("Content-Type", "") else None

    def raw(self, data, timeout=5, half_close=False):
        """Sends bytes as they are and returns everything that comes back until the peer closes or `timeout`."""
        out = self.raw_unchecked(data, timeout, half_close)
        schema.check_raw(data, out)
        return out

    def raw_unchecked(self, data, timeout, half_close):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(timeout)
            peer.connect(self.socket_path)
            out = b""
            try:
                peer.sendall(data)
                if half_close:
                    peer.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            try:
                while True:
                    piece = peer.recv(65536)
                    if not piece:
                        return out
                    out += piece
            except (TimeoutError, ConnectionResetError):
                return out

    def hijack(self, path, body=None, timeout=10):
        """POST with Upgrade: the open socket and what already came behind the response's head."""
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(timeout)
        peer.connect(self.socket_path)
        data = json.dumps(body).encode() if body is not None else b""
        peer.sendall(f"POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = peer.recv(4096)
            assert piece, f"closed after {head!r}"
            head += piece
        if head[9:12] == b"101":
            schema.check_raw(f"POST {path} HTTP/1.1\r\n".encode(), head)
        head, _, rest = head.partition(b"\r\n\r\n")
        return peer, head.decode(), rest


def read_until_closed(peer, first=b""):
    out = first
    while True:
        piece = peer.recv(65536)
        if not piece:
            return out
        out += piece


def frames(data):
    """[(stream, bytes)] of Docker's multiplexed form; what does not fit the form is an error."""
    out = []
    while data:
        assert len(data) >= 8 and data[0] in (0, 1, 2) and data[1:4] == b"\0\0\0", f"not a frame: {data[:40]!r}"
        size = int.from_bytes(data[4:8], "big")
        assert len(data) >= 8 + size, "a cut frame"
        out.append((data[0], data[8:8 + size]))
        data = data[8 + size:]
    return out


def stream(data, number):
    return b"".join(d for n, d in frames(data) if n == number)
