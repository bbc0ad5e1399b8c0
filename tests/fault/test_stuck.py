# SPDX-License-Identifier: Apache-2.0
"""One container that hangs, one client that never reads, one log sink that takes nothing: nobody else notices, the
stuck one can be stopped or says why not, and the engine starts again beside it."""
import ctypes
import errno
import os
import socket
import statistics
import struct
import threading
import time

import pytest

from harness import leaks
from harness.shell import wait_for
from harness.sinks import unix_sink

pytestmark = pytest.mark.no_leak_check

libc = ctypes.CDLL(None, use_errno=True)
HUNG = 5.0  # seconds; what is meant is "for ever"
MNT_FORCE, MNT_DETACH = 1, 2
FUSE_GETATTR, FUSE_STATFS, FUSE_GETXATTR, FUSE_LISTXATTR, FUSE_INIT, FUSE_ACCESS = 3, 17, 22, 23, 26, 34
DIRECTORY = 0o40755


class StuckFileSystem:
    """A FUSE file system whose root can be looked at and nothing else: every other question stays without an answer."""

    def __init__(self, at):
        self.at, self.asked = at, 0
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        os.makedirs(at, exist_ok=True)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if libc.mount(b"stuck", at.encode(), b"fuse", 0, options) != 0:
            code = ctypes.get_errno()
            os.close(self.fd)
            raise OSError(code, os.strerror(code))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                request = os.read(self.fd, 1 << 18)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return
            if not request:
                return
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode == FUSE_INIT:
                self.answer(unique, struct.pack("<IIIIHHIIHH", 7, 31, 65536, 0, 16, 12, 65536, 1, 0, 0) + bytes(28))
            elif opcode == FUSE_GETATTR and node == 1:
                attr = struct.pack("<6Q10I", 1, 0, 0, 0, 0, 0, 0, 0, 0, DIRECTORY, 2, 0, 0, 0, 4096, 0)
                self.answer(unique, struct.pack("<QII", 3600, 0, 0) + attr)
            elif opcode == FUSE_ACCESS and node == 1:
                self.answer(unique, b"")
            elif opcode in (FUSE_GETXATTR, FUSE_LISTXATTR):
                self.answer(unique, b"", -errno.ENOSYS)
            elif opcode == FUSE_STATFS:
                self.answer(unique, bytes(80))
            else:
                self.asked += 1

    def answer(self, unique, body, error=0):
        try:
            os.write(self.fd, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
        except OSError:
            pass

    def end(self):
        """Everybody who waits is told that nobody is there any more."""
        if self.fd < 0:
            return
        libc.umount2(self.at.encode(), MNT_FORCE)  # ends the connection, whoever still uses the mount
        libc.umount2(self.at.encode(), MNT_DETACH)
        self.thread.join(5)
        os.close(self.fd)
        self.fd = -1


@pytest.fixture
def stuck_at(tmp_path):
    made = []

    def make(path=None):
        try:
            made.append(StuckFileSystem(path or str(tmp_path / "stuck")))
        except OSError as error:
            pytest.skip(f"no FUSE here: {error}")
        return made[-1]
    yield make
    for system in made:
        system.end()


class Bystander:
    """A container that has nothing to do with it, and how quickly its engine answers."""

    def __init__(self, engine):
        self.engine, self.api = engine, engine.api
        self.clean = leaks.Snapshot(engine)
        self.id = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sh", "-c", "echo here; exec sleep 9999"]})["Id"]
        self.api.ok("POST", f"/containers/{self.id}/start")
        self.before = self.times()

    def times(self):
        asks = {"list": "/containers/json?all=1", "inspect": f"/containers/{self.id}/json", "logs": f"/containers/{self.id}/logs?stdout=1",
                "stats": f"/containers/{self.id}/stats?stream=0&one-shot=1", "top": f"/containers/{self.id}/top", "info": "/info", "df": "/system/df", "images": "/images/json"}
        out = {name: statistics.median(self.timed(self.ask, "GET", path) for _ in range(3)) for name, path in asks.items()}
        out["stop"] = self.timed(self.ask, "POST", f"/containers/{self.id}/stop?t=0")
        out["start"] = self.timed(self.ask, "POST", f"/containers/{self.id}/start")
        out["exec"] = self.timed(self.execute)
        return out

    def ask(self, method, path):
        try:
            answer = self.api.request(method, path, timeout=HUNG)
        except TimeoutError:
            raise AssertionError(f"{method} {path}: no answer within {HUNG} s") from None
        assert answer.status < 300, f"{method} {path}: {answer}"

    def execute(self):
        ident = self.api.ok("POST", f"/containers/{self.id}/exec", {"Cmd": ["true"], "AttachStdout": True}, timeout=HUNG)["Id"]
        self.api.ok("POST", f"/exec/{ident}/start", {}, timeout=HUNG)

    def leave(self):
        """Goes, and asks that nothing else is there than before it came (the bridge appears with it)."""
        self.api.ok("DELETE", f"/containers/{self.id}?force=1")
        end = time.monotonic() + 15
        while self.left() and time.monotonic() < end:
            time.sleep(0.1)
        assert not self.left()

    def left(self):
        return [line for line in leaks.differences(self.engine, self.clean)
                if "open files" not in line and (not line.startswith("cgroup:") or self.engine.own_name in line)]

    @staticmethod
    def timed(function, *arguments):
        started = time.monotonic()
        function(*arguments)
        return time.monotonic() - started

    def undisturbed(self):
        """A request that waits for the stuck one would take all its time; a busy machine makes all of them slower."""
        now = self.times()
        slow = {name: (self.before[name], now[name]) for name in now if now[name] > max(20 * self.before[name], 1.5)}
        assert not slow, f"slower than before (seconds before, now): {slow}"


def create(engine, command, **body):
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": command, **body})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start", timeout=HUNG)
    return ident


def test_volume_that_never_answers(own_engine, stuck_at):
    engine = own_engine()
    bystander = Bystander(engine)
    volume = engine.api.ok("POST", "/volumes/create", {"Name": "stuckvolume"})
    system = stuck_at(volume["Mountpoint"])
    ident = create(engine, ["sh", "-c", "echo before; ls /data; echo never"], HostConfig={"Binds": ["stuckvolume:/data:nocopy"]})
    wait_for(lambda: system.asked, "the container hangs")
    bystander.undisturbed()
    assert engine.api.ok("GET", f"/containers/{ident}/json", timeout=HUNG)["State"]["Running"] is True
    assert b"before" in engine.api.get(f"/containers/{ident}/logs?stdout=1", timeout=HUNG).body

    # Nobody can end a process that the kernel holds; that is said, in time, and others work meanwhile.
    answers = []
    stopping = threading.Thread(target=lambda: answers.append(engine.api.post(f"/containers/{ident}/stop?t=0", timeout=60)))
    stopping.start()
    bystander.undisturbed()
    stopping.join(45)
    assert answers, "stop does not come to an end"
    if answers[0].status != 204:
        assert answers[0].status == 500 and "did not end after SIGKILL" in answers[0].message, answers[0]

    engine.kill9()
    engine.start(timeout=10)
    bystander.undisturbed()
    system.end()
    wait_for(lambda: not engine.api.ok("GET", f"/containers/{ident}/json")["State"]["Running"], "it ends once it can", 20)
    engine.api.ok("DELETE", f"/containers/{ident}?force=1")
    engine.api.ok("DELETE", "/volumes/stuckvolume")
    bystander.leave()


def test_bind_mount_that_never_answers_and_is_removed(own_engine, stuck_at):
    engine = own_engine()
    bystander = Bystander(engine)
    system = stuck_at()
    ident = create(engine, ["sh", "-c", "ls /data"], HostConfig={"Binds": [system.at + ":/data"]})
    wait_for(lambda: system.asked, "the container hangs")
    removing = threading.Thread(target=lambda: engine.api.delete(f"/containers/{ident}?force=1", timeout=60))
    removing.start()
    bystander.undisturbed()
    removing.join(45)
    assert not removing.is_alive()
    bystander.undisturbed()


def silent_client(engine, request):
    peer = socket.socket(socket.AF_UNIX)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(engine.socket)
    peer.sendall(request.encode())
    return peer


def test_clients_that_never_read(own_engine):
    engine = own_engine()
    bystander = Bystander(engine)
    loud = create(engine, ["sh", "-c", "yes 0123456789012345678901234567890123456789 | head -c 30000000; sleep 9999"])
    wait_for(lambda: engine.api.get(f"/containers/{loud}/logs?stdout=1&tail=1").body, "it has written")
    clients = []
    for _ in range(12):
        clients.append(silent_client(engine, f"GET /containers/{loud}/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: d\r\n\r\n"))
        clients.append(silent_client(engine, f"GET /containers/{loud}/logs?stdout=1 HTTP/1.1\r\nHost: d\r\n\r\n"))
        clients.append(silent_client(engine, f"POST /containers/{loud}/attach?stream=1&stdout=1&logs=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"))
        clients.append(silent_client(engine, "GET /events?since=1 HTTP/1.1\r\nHost: d\r\n\r\n"))
        clients.append(silent_client(engine, f"GET /containers/{loud}/stats HTTP/1.1\r\nHost: d\r\n\r\n"))
    time.sleep(0.5)
    bystander.undisturbed()
    assert engine.api.post(f"/containers/{loud}/stop?t=1", timeout=60).status == 204
    bystander.undisturbed()
    engine.kill9()
    engine.start()
    bystander.undisturbed()
    for peer in clients:
        peer.close()
    engine.api.ok("DELETE", f"/containers/{loud}?force=1")
    bystander.leave()


@pytest.mark.parametrize("mode", ["blocking", "non-blocking"])
def test_log_sink_that_takes_nothing(own_engine, mode):
    engine = own_engine()
    bystander = Bystander(engine)
    sink = unix_sink(engine.root + "/syslog", socket.SOCK_STREAM, reading=False)
    try:
        ident = create(engine, ["sh", "-c", "yes some line that is logged; sleep 9999"],
                       HostConfig={"LogConfig": {"Type": "syslog", "Config": {"syslog-address": f"unix://{engine.root}/syslog", "mode": mode}}})
        time.sleep(0.5)
        bystander.undisturbed()
        assert engine.api.post(f"/containers/{ident}/stop?t=0", timeout=60).status == 204
        assert engine.api.ok("GET", f"/containers/{ident}/json")["State"]["ExitCode"] == 137
        engine.api.ok("POST", f"/containers/{ident}/start", timeout=30)
        engine.kill9()
        engine.start()
        bystander.undisturbed()
        assert engine.api.ok("GET", f"/containers/{ident}/json")["State"]["Running"] is True
        engine.api.ok("DELETE", f"/containers/{ident}?force=1", timeout=40)
    finally:
        sink.close()
        os.unlink(engine.root + "/syslog")
    bystander.leave()
