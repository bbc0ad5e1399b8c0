#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many containers: the start of 200 by 8 clients against dockerd, and what 500 exited and 200 running ones cost.

    bench_scale.py [--write] [--running N] [--exited N] [--quick]

Runs as root in a network namespace of its own. --write puts the table into docs/performance.md; --quick leaves dockerd out.
"""
import argparse
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import bench

CLIENTS = 8
LIMITS = {"list ms": 5.0, "engine MiB": 30.0, "restart ms": 150.0, "monitor KiB": 300.0, "dockerd": 15.0}
BEGIN, END = "<!-- bench scale: written by ./dev bench scale --write -->", "<!-- bench scale: end -->"


class Wire:
    """One connection that is kept: a client's own cost must not hide the engine's."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(120)
        self.socket.connect(path)
        self.buffer = bytearray(1 << 22)
        self.view = memoryview(self.buffer)

    def ask(self, method, path, body=b""):
        """Status, body and the seconds until its last byte was here."""
        head = f"{method} {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        started = time.perf_counter()
        self.socket.sendall(head + body)
        size, end = 0, -1
        while end < 0:
            size += self.more(size)
            end = self.buffer.find(b"\r\n\r\n", 0, size)
        head = bytes(self.buffer[:end]).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        length = re.search(r"content-length: *(\d+)", head, re.I)
        if length:
            while size < end + 4 + int(length[1]):
                size += self.more(size)
            seconds = time.perf_counter() - started
            return status, bytes(self.buffer[end + 4:size]), seconds
        if status in (204, 304):
            return status, b"", time.perf_counter() - started
        while not self.buffer.endswith(b"0\r\n\r\n", 0, size):  # chunked
            size += self.more(size)
        return status, bytes(self.buffer[end + 4:size]), time.perf_counter() - started

    def more(self, at):
        if at > len(self.buffer) - 65536:
            self.view.release()
            self.buffer.extend(bytes(len(self.buffer)))
            self.view = memoryview(self.buffer)
        got = self.socket.recv_into(self.view[at:])
        if not got:
            raise RuntimeError("the engine closed the connection")
        return got


def start_share(path, count, command):
    """What one client does: creates and starts `count` containers, one after the other."""
    wire = Wire(path)
    body = ('{"Image":"busybox","Cmd":["' + '","'.join(command) + '"]}').encode()
    for _ in range(count):
        status, answer, _ = wire.ask("POST", "/containers/create", body)
        if status != 201:
            raise RuntimeError(f"create: {status} {answer[:200]}")
        ident = re.search(rb'"Id": ?"([0-9a-f]{64})"', answer)[1].decode()
        status, answer, _ = wire.ask("POST", f"/containers/{ident}/start")
        if status != 204:
            raise RuntimeError(f"start: {status} {answer[:200]}")


def start_many(path, count, command):
    """Seconds until CLIENTS processes have started `count` containers together."""
    begin, go = os.pipe()
    pids = []
    for number in range(CLIENTS):
        share = count // CLIENTS + (number < count % CLIENTS)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(go)
                os.read(begin, 1)
                start_share(path, share, command)
                code = 0
            except BaseException as error:  # the parent tells
                print(f"client: {error}", file=sys.stderr)
            os._exit(code)
        pids.append(pid)
    os.close(begin)
    time.sleep(0.2)
    started = time.perf_counter()
    os.close(go)
    failed = 0
    for pid in pids:
        failed += os.waitpid(pid, 0)[1] != 0
    seconds = time.perf_counter() - started
    if failed:
        raise RuntimeError(f"{failed} of {CLIENTS} clients failed")
    return seconds


def wait_until(condition, what, timeout=60):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("still not: " + what)
        time.sleep(0.05)


def measure_ours(root, image, options):
    facts = {}
    engine = bench.OurEngine(root)
    try:
        engine.start()
        engine.load(image)
        start_many(engine.socket, CLIENTS, ["true"])  # bridge, rules, caches
        facts["start s"] = start_many(engine.socket, options.running, ["sleep", "9999"])
        time.sleep(3)  # monitors give back what they do not need
        monitors = [bench.pss_kib(pid) for pid in engine.monitors()]
        if len(monitors) != options.running:
            raise RuntimeError(f"{len(monitors)} monitors for {options.running} containers")
        facts["monitor KiB"], facts["largest monitor KiB"] = statistics.mean(monitors), max(monitors)
        start_many(engine.socket, options.exited - CLIENTS, ["true"])

        def settled():
            states = [c["State"] for c in engine.api.ok("GET", "/containers/json?all=1")]
            return states.count("exited") == options.exited and states.count("running") == options.running
        wait_until(settled, f"{options.exited} exited and {options.running} running containers")
        wire = Wire(engine.socket)
        samples = [wire.ask("GET", "/containers/json?all=1") for _ in range(40)]
        facts["list ms"] = statistics.median(s[2] for s in samples[5:]) * 1000
        facts["list bytes"] = len(samples[-1][1])
        # What the client alone needs for as many bytes over a socket of the same kind.
        facts["copy ms"] = copy_ms(len(samples[-1][1]))
        time.sleep(3)
        facts["engine MiB"] = bench.pss_kib(engine.process.pid) / 1024
        facts["engine peak MiB"] = bench.status_kib(engine.process.pid, "VmHWM") / 1024
        restarts = []
        for number in range(6):
            if number % 2:
                engine.process.send_signal(signal.SIGTERM)
            else:
                engine.process.kill()
            engine.process.wait(20)
            restarts.append(engine.start() * 1000)
        facts["restart ms"], facts["slowest restart ms"] = statistics.median(restarts), max(restarts)
        time.sleep(3)
        facts["engine restarted MiB"] = bench.pss_kib(engine.process.pid) / 1024
    finally:
        for container in engine.api.ok("GET", "/containers/json?all=1") if engine.process and engine.process.poll() is None else []:
            engine.api.delete(f"/containers/{container['Id']}?force=1")
        engine.stop()
    return facts


def copy_ms(size):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    data, buffer = bytes(size), bytearray(size)
    pid = os.fork()
    if pid == 0:
        for _ in range(20):
            theirs.recv(1)
            theirs.sendall(data)
        os._exit(0)
    samples = []
    for _ in range(20):
        started, at = time.perf_counter(), 0
        ours.sendall(b"x")
        while at < size:
            at += ours.recv_into(memoryview(buffer)[at:])
        samples.append(time.perf_counter() - started)
    os.waitpid(pid, 0)
    return statistics.median(samples) * 1000


def measure_dockerd(root, image, options):
    dockerd = bench.Dockerd(root)
    try:
        dockerd.start(image)
        path = dockerd.root + "/d.sock"
        start_many(path, CLIENTS, ["true"])
        seconds = start_many(path, options.running, ["sleep", "9999"])
        return {"dockerd s": seconds, "dockerd": dockerd.version}
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return {"dockerd problem": str(error)}
    finally:
        dockerd.stop()


def report(facts, options):
    lines = [f"Linux {platform.release().split('-')[0]}, {os.cpu_count()} CPUs, {options.running} running containers (`sleep`, bridge) and {options.exited} exited ones, {CLIENTS} clients.", "",
             "| what | value | limit | |", "|---|---|---|---|"]
    missed = []

    def limit(text, value, bound, shown, at_least=False):
        good = value >= bound if at_least else value <= bound
        lines.append(f"| {text} | {shown} | {'at least' if at_least else 'at most'} {bound:g} | {'kept' if good else 'MISSED'} |")
        if not good:
            missed.append(text)
    if "dockerd s" in facts:
        ratio = facts["dockerd s"] / facts["start s"]
        limit(f"start of {options.running} faster than by dockerd {facts['dockerd']}, x", ratio, LIMITS["dockerd"], f"{ratio:.1f}", at_least=True)
    elif not options.quick:
        lines.append(f"| start against dockerd | not measured: {facts.get('dockerd problem', '')[:160]} | | |")
    limit("`GET /containers/json?all=1`, share of 5 ms", facts["list ms"] / LIMITS["list ms"], 1.0, f"{facts['list ms'] / LIMITS['list ms']:.2f}")
    limit("engine, idle PSS, MiB", facts["engine MiB"], LIMITS["engine MiB"], f"{facts['engine MiB']:.1f}")
    limit("engine after a restart, idle PSS, MiB", facts["engine restarted MiB"], LIMITS["engine MiB"], f"{facts['engine restarted MiB']:.1f}")
    limit("restart to first answer, share of 150 ms", facts["restart ms"] / LIMITS["restart ms"], 1.0, f"{facts['restart ms'] / LIMITS['restart ms']:.2f}")
    limit("a running container beside its own processes, PSS, KiB", facts["monitor KiB"], LIMITS["monitor KiB"], f"{facts['monitor KiB']:.0f}")
    lines.append(f"| the same, largest of all, KiB | {facts['largest monitor KiB']:.0f} | | |")
    lines.append(f"| the list against copying its {facts['list bytes'] / 1024:.0f} KiB through a socket, x | {facts['list ms'] / facts['copy ms']:.1f} | | |")
    lines.append(f"| slowest restart, share of 150 ms | {facts['slowest restart ms'] / LIMITS['restart ms']:.2f} | | |")
    return lines, missed


def main():
    parser = argparse.ArgumentParser(prog="./dev bench scale", description="many containers: starts against dockerd, list, memory, restart")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--running", type=int, default=200)
    parser.add_argument("--exited", type=int, default=500)
    parser.add_argument("--quick", action="store_true", help="without dockerd")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("dev: the bench starts containers, which needs root", file=sys.stderr)
        return 1
    if "CAISSON_BENCH_INSIDE" not in os.environ:
        os.environ["CAISSON_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    signal.signal(signal.SIGALRM, bench.on_alarm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL, check=False)
    os.makedirs(bench.TREE + "/build/bench", exist_ok=True)
    root = tempfile.mkdtemp(prefix="scale-", dir=bench.TREE + "/build/bench")
    try:
        image = root + "/busybox.tar"
        bench.busybox.build(image)
        facts = measure_ours(root, image, options)
        if not options.quick:
            facts.update(measure_dockerd(root, image, options))
    except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError) as error:
        print(f"dev: the bench could not be run: {error}", file=sys.stderr)
        return 1
    finally:
        subprocess.run(["rm", "-rf", root], check=False)
    lines, missed = report(facts, options)
    print("\n".join(lines))
    print("\n" + ", ".join(f"{name}: {value:.1f}" for name, value in facts.items() if isinstance(value, float)), file=sys.stderr)
    if options.write:
        bench.write_page(lines, BEGIN, END)
    if missed:
        print("\nmissed: " + "; ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
