#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What caisson-relay costs: throughput and time of a short connection through it, as ratios to a direct connection
to the same container in the same run, and its memory with many idle connections.

    bench_relay.py [SECONDS]     of each transfer, default 3; called by ./dev bench relay
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TREE + "/tests")
os.environ.setdefault("CAISSON_BIN", TREE + "/build/release/bin")

from harness.relay import RelayServer, Wiring, connect, listen  # noqa: E402  (needs the path above)
from harness.shell import wait_for  # noqa: E402

ROUNDS = 3
SHORT = 300
IDLE = 500


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def transfer(wiring, address, seconds, *options):
    """Gbit/s, GB in all, and milliseconds of CPU that the two ends spent on each of them."""
    def attempt():
        out = wiring.at(wiring.host, "iperf3", "-J", "-c", address, "-t", str(seconds), *options, rc=None).out
        return json.loads(out or "{}").get("end", {}).get("sum_received") and json.loads(out)["end"]
    end = wait_for(attempt, "iperf3 has time for us", 60, 0.2)
    volume = end["sum_received"]["bytes"] / 1e9
    busy = sum(end["cpu_utilization_percent"][side] for side in ("host_total", "remote_total")) / 100
    return end["sum_received"]["bits_per_second"] / 1e9, volume, busy * seconds / volume * 1e3


def echo(sock):
    while True:
        try:
            there, _ = sock.accept()
        except OSError:
            return
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(there,), daemon=True).start()


def answer(there):
    with there:
        while data := there.recv(4096):
            there.sendall(data)


def short_connections(space, address, port):
    """Microseconds of a connection with one small question and its answer."""
    begin = time.perf_counter()
    for _ in range(SHORT):
        with connect(space, address, port) as client:
            client.sendall(b"?")
            client.recv(1)
    return (time.perf_counter() - begin) / SHORT * 1e6


def questions(space, address, port):
    """Microseconds of one small question and its answer on a connection that is there."""
    with connect(space, address, port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.perf_counter()
        for _ in range(SHORT * 5):
            client.sendall(b"?")
            client.recv(1)
        return (time.perf_counter() - begin) / SHORT / 5 * 1e6


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    wiring = Wiring(f"cb{os.getpid()}")
    iperf = None
    with tempfile.TemporaryDirectory(prefix="caisson-bench-relay-") as scratch:
        try:
            server = RelayServer(scratch, wiring.host)
            try:
                iperf = subprocess.Popen(["nsenter", f"--net=/run/netns/{wiring.container}", "iperf3", "-s"], stdout=subprocess.DEVNULL)
                web = listen(wiring.container, socket.AF_INET, "10.9.0.2")
                web.settimeout(None)
                port = web.getsockname()[1]
                threading.Thread(target=echo, args=(web,), daemon=True).start()
                wiring.redirect("5201, 8080", server.port)
                server.add(5201, 5201)
                server.add(8080, port)
                time.sleep(0.5)
                print(f"memory before any connection: {server.memory()} kB PSS, {server.memory('Private')} kB private")
                for name, options in (("to the container", ()), ("from the container", ("-R",)), ("8 connections", ("-P", "8"))):
                    for _ in range(ROUNDS):
                        direct, _, direct_cpu = transfer(wiring, "10.9.0.2", seconds, *options)
                        before = cpu_seconds(server.process.pid)
                        relayed, volume, ends_cpu = transfer(wiring, "::1", seconds, *options)
                        cpu = (cpu_seconds(server.process.pid) - before) / volume * 1e3
                        print(f"{name}: {relayed:.1f} Gbit/s, direct {direct:.1f}, ratio {relayed / direct:.2f}; CPU of a GB: relay {cpu:.0f} ms, "
                              f"ends {ends_cpu:.0f} ms, direct {direct_cpu:.0f} ms, ratio {direct_cpu / (cpu + ends_cpu):.2f}", flush=True)
                for name, measure in (("short connections", short_connections), ("questions", questions)):
                    for _ in range(ROUNDS):
                        direct = measure(wiring.host, "10.9.0.2", port)
                        relayed = measure(wiring.host, "::1", 8080)
                        print(f"{name}: {relayed:.0f} us, direct {direct:.0f} us, ratio {relayed / direct:.2f}", flush=True)
                before = server.memory("Private")
                idle = []
                for _ in range(IDLE):
                    idle.append(connect(wiring.host, "::1", 8080))
                    idle[-1].sendall(b"?")
                    idle[-1].recv(1)
                print(f"{IDLE} idle connections: {server.memory('Private') - before} kB more, {server.memory()} kB PSS in all")
            finally:
                if iperf:
                    iperf.kill()
                    iperf.wait()
                server.close()
        finally:
            wiring.close()


if __name__ == "__main__":
    main()
