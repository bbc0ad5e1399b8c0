# SPDX-License-Identifier: Apache-2.0
"""Peers of the log drivers: syslog over UDP, TCP and unix sockets, and the journal's socket."""
import array
import ctypes
import os
import socket
import threading
import time

CLONE_NEWNET = 0x40000000


def in_netns(netns, make):
    """What `make` gives when it runs inside the network namespace: a socket stays where it was made."""
    box = {}

    def work():
        with open(f"/run/netns/{netns.name}", encoding="ascii") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                box["error"] = OSError(ctypes.get_errno(), "setns")
                return
        try:
            box["value"] = make()
        except OSError as error:
            box["error"] = error
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if "error" in box:
        raise box["error"]
    return box["value"]


class Sink:
    """Collects what comes. `reading` False: the peer is stuck."""

    def __init__(self, listener, reading=True):
        self.listener, self.data, self.messages, self.reading = listener, b"", [], reading
        self.connections = []
        self.stream = listener.type == socket.SOCK_STREAM
        listener.settimeout(0.1)
        self.ending = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.ending:
            if not self.reading:
                time.sleep(0.02)
                continue
            try:
                if self.stream:
                    peer, _ = self.listener.accept()
                    self.connections.append(peer)
                    threading.Thread(target=self.read, args=(peer,), daemon=True).start()
                else:
                    self.take(*self.listener.recvmsg(1 << 20, 1024)[:2])
            except TimeoutError:
                continue
            except OSError:
                return

    def take(self, data, control):
        for _, kind, payload in control:
            if kind == socket.SCM_RIGHTS:
                fds = array.array("i", payload)
                with os.fdopen(fds[0], "rb") as file:
                    file.seek(0)
                    data = file.read()
        self.messages.append(data)

    def read(self, peer):
        while not self.ending:
            if not self.reading:
                time.sleep(0.02)
                continue
            try:
                piece = peer.recv(1 << 16)
            except OSError:
                return
            if not piece:
                return
            self.data += piece

    def lines(self):
        return [m.decode(errors="replace").rstrip("\n") for m in self.messages] if not self.stream else self.data.decode(errors="replace").splitlines()

    def close(self):
        self.ending = True
        self.listener.close()
        for peer in self.connections:
            peer.close()


def unix_sink(path, kind, reading=True):
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(path)
    if kind == socket.SOCK_STREAM:
        listener.listen(8)
    return Sink(listener, reading)


def inet_sink(netns, kind, reading=True, family=socket.AF_INET):
    """A sink on a free port of the namespace's loopback; .port tells which."""
    def make():
        listener = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            listener.listen(8)
        return listener
    listener = in_netns(netns, make)
    sink = Sink(listener, reading)
    sink.port = listener.getsockname()[1]
    return sink


def journal_fields(message):
    """{name: value} of one message in the journal's native form."""
    out, at = {}, 0
    while at < len(message):
        end = message.index(b"\n", at)
        line = message[at:end]
        if b"=" in line:
            name, _, value = line.partition(b"=")
            at = end + 1
        else:
            name, size = line, int.from_bytes(message[end + 1:end + 9], "little")
            value = message[end + 9:end + 9 + size]
            at = end + 10 + size
        out[name.decode()] = value
    return out
