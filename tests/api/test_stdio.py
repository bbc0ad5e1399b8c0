# SPDX-License-Identifier: Apache-2.0
"""Much data through attach, exec and logs: nothing is lost, nobody grows; many clients, slow ones, vanished ones.
CAISSON_STREAM_MB: how much is streamed in each direction (1024 is the goal's number)."""
import hashlib
import os
import socket
import threading

import pytest

from harness.api import frames, read_until_closed
from harness.shell import wait_for

MEGABYTES = int(os.environ.get("CAISSON_STREAM_MB") or 128)
LINE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"
GROWTH_KIB = 6 << 10


def create(api, command, log="none", **config):
    body = {"Image": "busybox", "Cmd": command, "HostConfig": {"LogConfig": {"Type": log, "Config": {}}, **config.pop("HostConfig", {})}, **config}
    return api.ok("POST", "/containers/create", body)["Id"]


def pour(megabytes):
    """A command that writes so much, in whole lines."""
    return ["sh", "-c", f"yes {LINE[:-1].decode()} | head -c {megabytes << 20}"]


def hash_of_lines(megabytes):
    digest, block = hashlib.sha256(), LINE * 1024
    for _ in range((megabytes << 20) // len(block)):
        digest.update(block)
    return digest.hexdigest()


class Frames:
    """The payload of the 8-byte framed form, as it comes."""

    def __init__(self, peer, first=b""):
        self.peer, self.buffer = peer, bytearray(first)

    def fill(self, size):
        while len(self.buffer) < size:
            piece = self.peer.recv(1 << 18)
            if not piece:
                return False
            self.buffer += piece
        return True

    def __iter__(self):
        while self.fill(8):
            assert self.buffer[0] in (1, 2) and self.buffer[1:4] == b"\0\0\0", bytes(self.buffer[:16])
            size = int.from_bytes(self.buffer[4:8], "big")
            assert self.fill(8 + size), "a cut frame"
            yield bytes(self.buffer[8:8 + size])
            del self.buffer[:8 + size]
        assert not self.buffer, "a cut header"


def hash_stream(parts):
    digest, size = hashlib.sha256(), 0
    for part in parts:
        digest.update(part)
        size += len(part)
    return digest.hexdigest(), size


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


class Weights:
    """The engine and a container's monitor must not have grown in between."""

    def __init__(self, engine, ident):
        pid = engine.api.ok("GET", f"/containers/{ident}/json")["State"]["Pid"]
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            self.monitor = int(next(line for line in file if line.startswith("PPid:")).split()[1])
        self.engine = engine.pid
        self.before = {pid: pss_kib(pid) for pid in (self.engine, self.monitor)}

    def check(self):
        for pid, name in ((self.engine, "engine"), (self.monitor, "monitor")):
            wait_for(lambda p=pid: pss_kib(p) <= self.before[p] + GROWTH_KIB, f"the {name} is as small as before ({self.before[pid]} KiB)", 10)


def send_all(peer, data_blocks):
    for block in data_blocks:
        peer.sendall(block)
    peer.shutdown(socket.SHUT_WR)


def blocks(megabytes):
    """Bytes of every value, the same each time."""
    block = bytes(range(256)) * 1024
    for number in range(megabytes * 4):
        yield number.to_bytes(8, "big") + block[8:]


def hash_of_blocks(megabytes):
    return hash_stream(blocks(megabytes))[0]


def test_attach_output(engine):
    api = engine.api
    # Its first process waits, so that the monitor can be weighed in between.
    ident = create(api, ["sh", "-c", f"read go; yes {LINE[:-1].decode()} | head -c {MEGABYTES << 20}; read end"], OpenStdin=True)
    peer, _, rest = api.hijack(f"/containers/{ident}/attach?stream=1&stdout=1&stdin=1", timeout=120)
    api.ok("POST", f"/containers/{ident}/start")
    weights = Weights(engine, ident)
    peer.sendall(b"go\n")
    digest, size = hashlib.sha256(), 0
    for part in Frames(peer, rest):
        digest.update(part)
        size += len(part)
        if size >= MEGABYTES << 20:
            break
    assert (size, digest.hexdigest()) == (MEGABYTES << 20, hash_of_lines(MEGABYTES))
    weights.check()
    peer.sendall(b"end\n")
    assert read_until_closed(peer) == b""
    peer.close()


def test_attach_input_and_half_close(engine):
    api = engine.api
    ident = create(api, ["sha256sum"], OpenStdin=True, StdinOnce=True)
    peer, _, rest = api.hijack(f"/containers/{ident}/attach?stream=1&stdin=1&stdout=1", timeout=120)
    api.ok("POST", f"/containers/{ident}/start")
    weights = Weights(engine, ident)
    stream = blocks(MEGABYTES)
    for _ in range(MEGABYTES * 4):
        peer.sendall(next(stream))
    weights.check()
    peer.shutdown(socket.SHUT_WR)
    answer = b"".join(d for _, d in frames(read_until_closed(peer, rest)))
    peer.close()
    assert answer.split()[0].decode() == hash_of_blocks(MEGABYTES)


def test_exec_both_directions_at_once(engine):
    api = engine.api
    ident = create(api, ["sleep", "999"])
    api.ok("POST", f"/containers/{ident}/start")
    weights = Weights(engine, ident)
    exec_id = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True})["Id"]
    peer, _, rest = api.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": False}, timeout=120)
    sender = threading.Thread(target=send_all, args=(peer, blocks(MEGABYTES)))
    sender.start()
    digest, size = hash_stream(Frames(peer, rest))
    sender.join()
    peer.close()
    assert (size, digest) == (MEGABYTES << 20, hash_of_blocks(MEGABYTES))
    weights.check()
    assert api.ok("GET", f"/exec/{exec_id}/json")["ExitCode"] == 0


def test_logs_followed(engine):
    api = engine.api
    ident = create(api, ["sh", "-c", f"read go; yes {LINE[:-1].decode()} | head -c {MEGABYTES << 20}; read end"], log="json-file", OpenStdin=True)
    api.ok("POST", f"/containers/{ident}/start")
    weights = Weights(engine, ident)
    control, _, _ = api.hijack(f"/containers/{ident}/attach?stream=1&stdin=1", timeout=120)
    control.sendall(b"go\n")
    digest, size = hashlib.sha256(), 0
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(120)
    peer.connect(engine.socket)
    peer.sendall(f"GET /containers/{ident}/logs?stdout=1&follow=1 HTTP/1.0\r\nHost: d\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += peer.recv(1 << 16)
    assert b" 200 " in head.split(b"\r\n", 1)[0]
    chunked = b"chunked" in head.lower()
    assert not chunked
    for part in Frames(peer, head.partition(b"\r\n\r\n")[2]):
        digest.update(part)
        size += len(part)
        if size >= MEGABYTES << 20:
            break
    assert (size, digest.hexdigest()) == (MEGABYTES << 20, hash_of_lines(MEGABYTES))
    weights.check()
    control.sendall(b"end\n")
    control.close()
    peer.close()


def test_twenty_attached_one_of_them_slow(engine):
    api = engine.api
    megabytes = 16
    ident = create(api, pour(megabytes))
    peers = [api.hijack(f"/containers/{ident}/attach?stream=1&stdout=1", timeout=120) for _ in range(20)]
    results = [None] * len(peers)
    others_done = threading.Event()

    def read(number):
        peer, _, rest = peers[number]

        def parts():
            for at, part in enumerate(Frames(peer, rest)):
                if number == 0 and at % 40 == 0:
                    others_done.wait(0.02)  # slow, as long as there are others
                yield part
        results[number] = hash_stream(parts())
    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(peers))]
    for thread in threads:
        thread.start()
    api.ok("POST", f"/containers/{ident}/start")
    for thread in threads[1:]:
        thread.join()
    others_done.set()
    threads[0].join()
    for peer, _, _ in peers:
        peer.close()
    assert results == [(hash_of_lines(megabytes), megabytes << 20)] * len(peers)


def test_detach_keys_of_the_request(api):
    ident = create(api, ["cat"], OpenStdin=True, Tty=True)
    api.ok("POST", f"/containers/{ident}/start")
    peer, _, rest = api.hijack(f"/containers/{ident}/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,z", timeout=20)
    peer.sendall(b"seen\n")
    wait = rest
    while b"seen" not in wait:
        wait += peer.recv(4096)
    peer.sendall(b"\x01z")
    read_until_closed(peer)
    peer.close()
    assert api.ok("GET", f"/containers/{ident}/json")["State"]["Running"] is True


def test_resize_of_an_exec(api):
    ident = create(api, ["sleep", "999"])
    api.ok("POST", f"/containers/{ident}/start")
    exec_id = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["sh", "-c", "read x; stty size"], "Tty": True, "AttachStdin": True, "AttachStdout": True})["Id"]
    peer, _, rest = api.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": True}, timeout=20)
    api.ok("POST", f"/exec/{exec_id}/resize?h=41&w=101")
    peer.sendall(b"\n")
    assert b"41 101" in read_until_closed(peer, rest)
    peer.close()


# --- what is left of execs --------------------------------------------------------------------------

def commands(pid_of_container):
    """Command lines in the container's pid namespace."""
    out, space = [], os.readlink(f"/proc/{pid_of_container}/ns/pid")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") == space:
                with open(f"/proc/{pid}/cmdline", encoding="latin-1") as file:
                    out.append(file.read().replace("\0", " ").strip())
        except OSError:
            continue
    return [line for line in out if line]  # those that nobody waits for have none


def running_exec(api, ident, kill, tty=False, command=("sh", "-c", "echo on; sleep 77 & sleep 77")):
    body = {"Cmd": list(command), "AttachStdin": True, "AttachStdout": True, "Tty": tty, **({"KillOnDetach": True} if kill else {})}
    exec_id = api.ok("POST", f"/containers/{ident}/exec", body)["Id"]
    peer, _, rest = api.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": tty}, timeout=20)
    while b"on" not in rest:
        rest += peer.recv(4096)
    return exec_id, peer


@pytest.mark.parametrize("tty", [False, True])
def test_exec_is_killed_with_its_client_when_asked(api, tty):
    ident = create(api, ["sleep", "999"])
    api.ok("POST", f"/containers/{ident}/start")
    pid = api.ok("GET", f"/containers/{ident}/json")["State"]["Pid"]
    exec_id, peer = running_exec(api, ident, kill=True, tty=tty)
    assert api.ok("GET", f"/containers/{ident}/json")["ExecIDs"] == [exec_id]
    peer.close()
    shown = wait_for(lambda: (lambda e: None if e["Running"] else e)(api.ok("GET", f"/exec/{exec_id}/json")), "the exec ended", 10)
    assert shown["ExitCode"] in (137, 129)
    wait_for(lambda: commands(pid) == ["sleep 999"], "its children went with it", 10)
    assert not api.ok("GET", f"/containers/{ident}/json")["ExecIDs"]


def test_exec_outlives_its_client_otherwise(api):
    ident = create(api, ["sleep", "999"])
    api.ok("POST", f"/containers/{ident}/start")
    exec_id, peer = running_exec(api, ident, kill=False)
    peer.close()
    api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["true"]})
    assert api.ok("GET", f"/exec/{exec_id}/json")["Running"] is True


def test_half_close_is_no_vanishing(api):
    ident = create(api, ["sleep", "999"])
    api.ok("POST", f"/containers/{ident}/start")
    exec_id, peer = running_exec(api, ident, kill=True, command=("sh", "-c", "echo on; cat; sleep 0.3; echo off"))
    peer.shutdown(socket.SHUT_WR)
    assert b"off" in read_until_closed(peer)
    peer.close()
    assert api.ok("GET", f"/exec/{exec_id}/json")["ExitCode"] == 0


def test_the_flag_of_the_client(caisson, api):
    ident = caisson.out("run", "-d", "busybox", "sleep", "999")
    pid = api.ok("GET", f"/containers/{ident}/json")["State"]["Pid"]
    running = caisson.start("exec", "--kill-with-client", ident, "sh", "-c", "echo on; sleep 78")
    assert running.stdout.readline() == b"on\n"
    running.kill()
    running.communicate()
    wait_for(lambda: commands(pid) == ["sleep 999"], "the command is gone", 10)


def test_exec_ids_are_those_that_run(api):
    ident = create(api, ["sleep", "999"])
    api.ok("POST", f"/containers/{ident}/start")
    assert not api.ok("GET", f"/containers/{ident}/json")["ExecIDs"]
    running = [running_exec(api, ident, kill=False, command=("sh", "-c", "echo on; cat")) for _ in range(3)]
    assert sorted(api.ok("GET", f"/containers/{ident}/json")["ExecIDs"]) == sorted(e for e, _ in running)
    for exec_id, peer in running:
        peer.shutdown(socket.SHUT_WR)
        read_until_closed(peer)
        peer.close()
        assert api.ok("GET", f"/exec/{exec_id}/json")["ExitCode"] == 0
    assert not api.ok("GET", f"/containers/{ident}/json")["ExecIDs"]
