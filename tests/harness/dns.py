# SPDX-License-Identifier: Apache-2.0
"""DNS from scratch: queries, replies, a server to forward to, and caisson-dns as an engine would drive it."""
import array
import ctypes
import json
import os
import socket
import struct
import subprocess
import threading

from harness.shell import BIN, wait_for

A, CNAME, SOA, PTR, TXT, AAAA, OPT, ANY = 1, 5, 6, 12, 16, 28, 41, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
PATIENCE = 30  # seconds a loaded machine may take; never what a test measures


def wire_name(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def make_query(name, kind=A, ident=0x1234, flags=0x100, size=None, klass=1):
    extra = b"" if size is None else b"\0" + struct.pack("!HHIH", OPT, size, 0, 0)
    return struct.pack("!6H", ident, flags, 1, 0, 0, 1 if extra else 0) + wire_name(name) + struct.pack("!HH", kind, klass) + extra


def read_name(message, at):
    labels, end = [], None
    for _ in range(200):
        size = message[at]
        if size >= 0xc0:
            end = end or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3fff
        elif size == 0:
            return ".".join(labels), end or at + 1
        else:
            labels.append(message[at + 1:at + 1 + size].decode())
            at += 1 + size
    raise AssertionError("a name without an end")


class Reply:
    def __init__(self, message):
        self.raw = message
        self.ident, self.flags, _, answers, authority, extra = struct.unpack_from("!6H", message)
        self.code, self.truncated, self.recursion = self.flags & 15, bool(self.flags & 0x200), bool(self.flags & 0x80)
        at = 12
        self.question = None
        if len(message) > 12:
            self.question, at = read_name(message, at)
            at += 4
        self.records, self.edns_size = [], None
        for index in range(answers + authority + extra):
            name, at = read_name(message, at)
            kind, klass, ttl, size = struct.unpack_from("!HHIH", message, at)
            at += 10
            data = message[at:at + size]
            if kind == PTR:
                data = read_name(message, at)[0]
            elif kind in (A, AAAA):
                data = socket.inet_ntop(socket.AF_INET if kind == A else socket.AF_INET6, data)
            at += size
            if kind == OPT:
                self.edns_size = klass
            elif index < answers:
                self.records.append((name, kind, ttl, data))
        assert at == len(message), "something behind the last record"

    @property
    def data(self):
        return [record[3] for record in self.records]


class Upstream:
    """A server on loopback, over UDP and TCP at one port. `answers`: name -> address, or a code, or "silent"."""

    def __init__(self, answers=None, address="127.0.0.1", port=0, namespace=None, ttl=60):
        self.answers, self.ttl = answers or {}, ttl
        self.seen = []  # (protocol, name, type, source port)
        self.lock = threading.Lock()
        with inside(namespace):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self.udp = socket.socket(family, socket.SOCK_DGRAM)
            self.tcp = socket.socket(family, socket.SOCK_STREAM)
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for _ in range(50):  # the port that is free for one may not be for the other
                self.tcp.bind((address, port))
                try:
                    self.udp.bind((address, self.tcp.getsockname()[1]))
                    break
                except OSError:
                    self.tcp.close()
                    self.tcp = socket.socket(family, socket.SOCK_STREAM)
            self.tcp.listen(32)
        self.address, self.port = address, self.udp.getsockname()[1]
        for work in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def entry(self, from_host=True):
        return {"address": self.address, "port": self.port, "from_host": from_host}

    def names_seen(self):
        with self.lock:
            return [entry[1] for entry in self.seen]

    def reply(self, message, protocol, peer):
        if len(message) < 17:
            return None  # what recvfrom gives when the socket is shut
        name, at = read_name(message, 12)
        kind = struct.unpack_from("!H", message, at)[0]
        with self.lock:
            self.seen.append((protocol, name, kind, peer[1]))
        answer = self.answers.get(name.lower(), NXDOMAIN)
        if answer == "silent":
            return None
        head, question = message[:2], message[12:at + 4]
        if isinstance(answer, int):
            soa = wire_name("ns") + wire_name("root") + struct.pack("!5I", 1, 1, 1, 1, 60)
            record = b"\0" + struct.pack("!HHIH", SOA, 1, 60, len(soa)) + soa
            return head + struct.pack("!5H", 0x8180 | answer, 1, 0, 1, 0) + question + record
        if protocol == "udp" and answer == "big":
            return head + struct.pack("!5H", 0x8380, 1, 0, 0, 0) + question
        if answer == "big":
            text = b"\xc0\x0c" + struct.pack("!HHIH", TXT, 1, self.ttl, 251) + b"\xfa" + b"x" * 250
            return head + struct.pack("!5H", 0x8180, 1, 16, 0, 0) + question + text * 16
        record = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, self.ttl, 4) + socket.inet_aton(answer)
        return head + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + question + record

    def serve_udp(self):
        while True:
            try:
                message, peer = self.udp.recvfrom(65535)
                if reply := self.reply(message, "udp", peer):
                    self.udp.sendto(reply, peer)
            except OSError:
                return

    def serve_tcp(self):
        while True:
            try:
                client, peer = self.tcp.accept()
                threading.Thread(target=self.serve_client, args=(client, peer), daemon=True).start()
            except OSError:
                return

    def serve_client(self, client, peer):
        try:
            with client:
                while size := read_exactly(client, 2):
                    reply = self.reply(read_exactly(client, struct.unpack("!H", size)[0]), "tcp", peer)
                    if reply:
                        client.sendall(struct.pack("!H", len(reply)) + reply)
        except OSError:
            pass

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


def read_exactly(stream, size):
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            return b""
        data += part
    return data


class inside:
    """With this thread in a named network namespace; None: where it is."""

    def __init__(self, namespace):
        self.namespace = namespace

    def __enter__(self):
        if self.namespace:
            self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            self.enter(os.open(f"/run/netns/{self.namespace}", os.O_RDONLY))

    def __exit__(self, *_):
        if self.namespace:
            self.enter(self.home)

    @staticmethod
    def enter(fd):
        try:
            if ctypes.CDLL(None, use_errno=True).setns(fd, 0):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)


class ContainerSide:
    """The sockets of one container, and a client in front of them."""

    def __init__(self, namespace=None, queries=False):
        self.namespace = namespace
        with inside(namespace):
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("127.0.0.11", 0))
            self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.tcp.bind(("127.0.0.11", 0))
            self.tcp.listen(64)
            kinds = [socket.SOCK_DGRAM, socket.SOCK_DGRAM, socket.SOCK_STREAM] if queries else []
            self.queries = [socket.socket(socket.AF_INET, kind) for kind in kinds]
        self.server, self.tcp_server = self.udp.getsockname(), self.tcp.getsockname()

    @property
    def sockets(self):
        return [self.udp, self.tcp, *self.queries]

    def close(self):
        for sock in self.sockets:
            sock.close()

    def client(self):
        with inside(self.namespace):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect(self.server)
            sock.settimeout(PATIENCE)
            return sock

    def send(self, message):
        with self.client() as sock:
            sock.send(message)
            return sock.recv(65535)

    def ask(self, name, kind=A, **options):
        return Reply(self.send(make_query(name, kind, **options)))

    def stream(self):
        with inside(self.namespace):
            sock = socket.create_connection(self.tcp_server, timeout=PATIENCE)
            return sock

    def ask_tcp(self, name, kind=A, **options):
        with self.stream() as stream:
            message = make_query(name, kind, **options)
            stream.sendall(struct.pack("!H", len(message)) + message)
            return Reply(read_exactly(stream, struct.unpack("!H", read_exactly(stream, 2))[0]))


class DnsServer:
    """The program, and this process in the part of its engine."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "dns.sock")
        self.process = subprocess.Popen([BIN + "/caisson-dns", "--socket", self.path], stdin=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(self.path), "caisson-dns listens", PATIENCE)
        self.connection = None
        self.connect()

    def connect(self):
        """As a new engine does; whatever connection was there is that of a dead one."""
        self.disconnect()
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(PATIENCE)
        wait_for(lambda: self.connection.connect_ex(self.path) == 0, "caisson-dns accepts", PATIENCE)
        assert self.tell("hello")["version"] == 1

    def disconnect(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def exchange(self, request, sockets=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno() for s in sockets]))] if sockets else []
        text = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.connection.sendmsg([text], rights)
        answer, control, _, _ = self.connection.recvmsg(1 << 17, socket.CMSG_SPACE(16 * 4))
        fds = array.array("i")
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        return json.loads(answer), list(fds)

    def tell(self, kind, sockets=(), ok=True, **fields):
        answer, fds = self.exchange({"type": kind, **fields}, sockets)
        for fd in fds:
            os.close(fd)
        assert answer["ok"] is ok, answer
        return answer

    def attach(self, scope, side, networks=("net1",), links=None, forward=True, **fields):
        entries = [{"id": n, "links": (links or {}).get(n, {})} for n in networks]
        self.tell("attach", side.sockets, scope=scope, networks=entries, forward=forward, **fields)

    def add(self, name, *addresses, network="net1", network_name="front", aliases=(), endpoint=None):
        self.tell("add", network=network, network_name=network_name, endpoint=endpoint or "ep-" + name, name=name,
                  aliases=list(aliases), addresses=list(addresses))

    def status(self, key):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(line.split(":", 1)[1].split() for line in file if line.startswith(key + ":"))

    def close(self):
        self.disconnect()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
