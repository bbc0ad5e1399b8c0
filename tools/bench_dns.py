#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a local name costs caisson-dns, as a ratio to a program that only sends datagrams back, in the same run.

    bench_dns.py [COUNT]     queries of each round, default 200000; called by ./dev bench dns
"""
import os
import subprocess
import sys
import tempfile

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TREE + "/tests")
os.environ.setdefault("CAISSON_BIN", TREE + "/build/release/bin")

from harness.dns import ContainerSide, DnsServer  # noqa: E402  (needs the path above)

ROUNDS = 3


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def load(program, address, port, count, pid):
    """Queries a second, and microseconds of CPU that each cost the server."""
    before = cpu_seconds(pid)
    out = subprocess.run([program, address, str(port), str(count), "web"], check=True, capture_output=True, text=True).stdout
    rate, lost = out.split()
    assert int(lost) < count / 100, f"{lost} of {count} lost"
    return float(rate), (cpu_seconds(pid) - before) / count * 1e6


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200000
    program = os.environ["CAISSON_BIN"] + "/dns_load"
    echo = subprocess.Popen([program, "--echo", "127.0.0.11"], stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory(prefix="caisson-bench-dns-") as scratch:
        server, side = DnsServer(scratch), ContainerSide()
        try:
            port = int(echo.stdout.readline())
            server.add("web", "172.18.0.2")
            server.attach("bench", side)
            for _ in range(ROUNDS):
                floor, floor_cpu = load(program, "127.0.0.11", port, count, echo.pid)
                rate, cpu = load(program, "127.0.0.11", side.server[1], count, server.process.pid)
                print(f"local name: {rate:.0f}/s, {cpu:.2f} us CPU each, {1e6 / cpu:.0f} on one core; "
                      f"echo: {floor:.0f}/s, {floor_cpu:.2f} us; CPU ratio {cpu / floor_cpu:.2f}", flush=True)
        finally:
            echo.kill()
            echo.wait()
            server.close()
            side.close()


if __name__ == "__main__":
    main()
