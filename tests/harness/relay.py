# SPDX-License-Identifier: Apache-2.0
"""caisson-relay as an engine would drive it, in a namespace that plays the host, beside one that plays a container."""
import array
import json
import os
import socket
import subprocess

from harness.dns import inside
from harness.netns import NetworkNamespace
from harness.shell import BIN, run, wait_for

PATIENCE = 30

RULES = """
table ip6 relay {
  chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local tcp dport { PORTS } redirect to :LISTENER; }
  chain output { type nat hook output priority -100; fib daddr type local tcp dport { PORTS } redirect to :LISTENER; }
}
"""


class Wiring:
    """A host with fd00:1::1 and fd00:1::2, a container with 10.9.0.2 only, and another host with fd00:2::2."""

    def __init__(self, name):
        self.spaces = []
        try:
            for part in ("h", "c", "f"):
                self.spaces.append(NetworkNamespace(name + part))
            self.host, self.container, self.far = (space.name for space in self.spaces)
            for other, link in ((self.container, "toc"), (self.far, "tof")):
                self.at(self.host, "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", other)
            for space, link, *addresses in ((self.host, "toc", "10.9.0.1/24"), (self.container, "eth0", "10.9.0.2/24"),
                                            (self.host, "tof", "fd00:2::1/64"), (self.far, "eth0", "fd00:2::2/64"),
                                            (self.host, "lo", "fd00:1::1/128", "fd00:1::2/128")):
                for address in addresses:
                    self.at(space, "ip", "address", "add", address, "dev", link, *(["nodad"] if ":" in address else []))
                self.at(space, "ip", "link", "set", link, "up")
            self.at(self.far, "ip", "-6", "route", "add", "default", "via", "fd00:2::1")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def at(space, *argv, **options):
        return run(["nsenter", f"--net=/run/netns/{space}", *argv], **options)

    def redirect(self, ports, listener):
        rules = RULES.replace("PORTS", ports).replace("LISTENER", str(listener))
        self.at(self.host, "nft", "-f", "-", stdin=rules.encode())

    def close(self):
        for space in self.spaces:
            space.remove()


def patient(sock):
    sock.settimeout(PATIENCE)
    return sock


def listen(space, family, address, port=0, kind=socket.SOCK_STREAM):
    with inside(space):
        sock = patient(socket.socket(family, kind))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        return sock


def connect(space, address, port):
    with inside(space):
        return patient(socket.create_connection((address, port), timeout=PATIENCE))


class RelayServer:
    """The program, and this process in the part of its engine."""

    def __init__(self, directory, space):
        self.path = os.path.join(directory, "relay.sock")
        self.listener = listen(space, socket.AF_INET6, "::")
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        argv = ["nsenter", f"--net=/run/netns/{space}", BIN + "/caisson-relay", "--socket", self.path]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        self.connection = None
        self.connect([self.listener])

    def connect(self, sockets=()):
        """As a new engine does."""
        self.disconnect()
        self.connection = patient(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        wait_for(lambda: self.connection.connect_ex(self.path) == 0, "caisson-relay accepts", PATIENCE)
        answer = self.tell("hello", sockets)
        if sockets:
            self.tell("sync")
        assert answer["version"] == 1
        return answer

    def disconnect(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def exchange(self, request, sockets=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno() for s in sockets]))] if sockets else []
        text = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.connection.sendmsg([text], rights)
        answer, control, _, _ = self.connection.recvmsg(4096, socket.CMSG_SPACE(16 * 4))
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

    def add(self, port, container_port, host="::", count=1, container="::ffff:10.9.0.2", protocol="tcp", sockets=(), **options):
        return self.tell("add", sockets, protocol=protocol, host=host, port=port, count=count, container=container,
                         container_port=container_port, **options)

    def status(self, key):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(line.split(":", 1)[1].split() for line in file if line.startswith(key + ":"))

    def memory(self, key="Pss:"):
        """In kB."""
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(key))

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def close(self):
        self.disconnect()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.listener.close()
