# SPDX-License-Identifier: Apache-2.0
"""IPv6 clients of containers without IPv6 are served again when caisson-relay is killed under a running engine."""
import os
import signal
import subprocess

import pytest

from harness.shell import wait_for

pytestmark = [pytest.mark.no_leak_check, pytest.mark.parametrize("client_of", ["caisson"], indirect=True)]
DATAGRAM = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect(("::1", 18721))
s.send(b"ping")
print(s.recv(100).decode())
"""


def relay_of(engine):
    """The pid of the engine's caisson-relay, 0 while there is none."""
    for pid, name in engine.processes().items():
        if name == "caisson-relay":
            return pid
    return 0


def test_a_killed_relay_is_replaced(own_engine, client_of):
    engine = own_engine(images=("busybox", "debian"))
    client = client_of(engine)
    client("run", "-d", "--name", "web", "-p", "18720:80", "busybox", "sh", "-c", "mkdir /w; echo page > /w/index.html; exec httpd -f -p 80 -h /w")
    client("run", "-d", "--name", "echo", "-p", "18721:9/udp", "debian", "perl", "-MIO::Socket::INET", "-e",
           "$s = IO::Socket::INET->new(LocalPort => 9, Proto => 'udp'); while ($s->recv($m, 99)) { $s->send($m) }")

    def served():
        return engine.netns.fetch("http://[::1]:18720/", rc=None) == "page\n"

    def echoed():
        return subprocess.run(engine.netns.enter(["/usr/bin/python3", "-c", DATAGRAM]), capture_output=True, text=True).stdout == "ping\n"
    for round_ in range(2):
        wait_for(served, f"TCP is served, round {round_}")
        wait_for(echoed, f"UDP is served, round {round_}")
        before = relay_of(engine)
        assert before
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: relay_of(engine) not in (0, before), "another caisson-relay runs")
    wait_for(served, "TCP is served at last")
    wait_for(echoed, "UDP is served at last")
    # What is published later is known to the new one.
    client("run", "-d", "--name", "later", "-p", "18722:80", "busybox", "sh", "-c", "mkdir /w; echo later > /w/index.html; exec httpd -f -p 80 -h /w")
    wait_for(lambda: engine.netns.fetch("http://[::1]:18722/", rc=None) == "later\n", "a later port is served")
