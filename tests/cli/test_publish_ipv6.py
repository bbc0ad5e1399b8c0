# SPDX-License-Identifier: Apache-2.0
"""Published ports of containers that have IPv4 alone, for clients of IPv6."""
import subprocess

import pytest

from harness.container import inspect
from harness.netns import NetworkNamespace
from harness.shell import run, wait_for

ECHO = """
import socket
s = socket.socket(socket.AF_INET6 if ":" in "HOST" else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(("HOST", PORT))
s.send(b"ping")
print(s.recv(100).decode())
"""


def serve(cli, name, *flags, text="served"):
    return cli.out("run", "-d", "--name", name, *flags, "busybox", "sh", "-c",
                   f"echo {text} > /var/www/index.html; exec httpd -f -p 80 -h /var/www")


def ask_udp(space, host, port):
    code = ECHO.replace("HOST", host).replace("PORT", str(port))
    return subprocess.run(space.enter(["/usr/bin/python3", "-c", code]), capture_output=True, text=True).stdout.strip()


@pytest.fixture
def far_host(engine):
    """Another host: fd91::2 there, fd91::1 here."""
    name = engine.netns.name + "f"
    other = NetworkNamespace(name)
    try:
        run(engine.netns.enter(["ip", "link", "add", "wire6", "type", "veth", "peer", "name", "wire7", "netns", name]))
        for space, link, address in ((engine.netns, "wire6", "fd91::1/64"), (other, "wire7", "fd91::2/64")):
            run(space.enter(["ip", "addr", "add", address, "dev", link, "nodad"]))
            run(space.enter(["ip", "link", "set", link, "up"]))
        yield other
    finally:
        other.remove()
        run(engine.netns.enter(["ip", "link", "delete", "wire6"]), rc=None)


def test_publish_reaches_ipv6_clients(cli, engine, far_host):
    ident = serve(cli, "web6", "-p", "18710:80")
    bindings = inspect(cli, ident)["NetworkSettings"]["Ports"]["80/tcp"]
    assert bindings == [{"HostIp": "0.0.0.0", "HostPort": "18710"}, {"HostIp": "::", "HostPort": "18710"}]
    assert "[::]:18710->80/tcp" in cli.out("ps")
    wait_for(lambda: engine.netns.fetch("http://127.0.0.1:18710/", rc=None) == "served\n", "the page")
    for url in ("http://[::1]:18710/", "http://[fd91::1]:18710/"):
        wait_for(lambda: engine.netns.fetch(url, rc=None) == "served\n", url)
    wait_for(lambda: far_host.fetch("http://[fd91::1]:18710/", rc=None) == "served\n", "the page from another host")
    taken = cli("run", "-d", "-p", "[::1]:18710:80", "busybox", "sleep", "9", rc=125)
    assert "Bind for [::1]:18710 failed: port is already allocated" in taken.err
    cli("rm", "-f", ident)
    assert run(engine.netns.enter(["curl", "-sS", "-m", "2", "http://[::1]:18710/"]), rc=None).rc == 7


def test_publish_on_one_ipv6_address(cli, engine, far_host):
    serve(cli, "web6", "-p", "[fd91::1]:18711:80", "-p", "[::1]:18712:80")
    wait_for(lambda: far_host.fetch("http://[fd91::1]:18711/", rc=None) == "served\n", "the page")
    wait_for(lambda: engine.netns.fetch("http://[::1]:18712/", rc=None) == "served\n", "the page on ::1")
    for space, url in ((engine.netns, "http://127.0.0.1:18711/"), (engine.netns, "http://[::1]:18711/"),
                       (far_host, "http://[fd91::1]:18712/")):
        assert run(space.enter(["curl", "-sS", "-m", "2", url]), rc=None).rc == 7, url
    assert "80/tcp -> [fd91::1]:18711" in cli.out("port", "web6")


def test_publish_udp_reaches_ipv6_clients(cli, engine, far_host):
    cli("run", "-d", "--name", "echo6", "-p", "18713:9/udp", "debian", "perl", "-MIO::Socket::INET", "-e",
        "$s = IO::Socket::INET->new(LocalPort => 9, Proto => 'udp'); while ($s->recv($m, 99)) { $s->send($m) }")
    for space, host in ((engine.netns, "127.0.0.1"), (engine.netns, "::1"), (far_host, "fd91::1")):
        assert wait_for(lambda: ask_udp(space, host, 18713), host) == "ping"


def test_publish_ipv6_survives_the_engine(own_engine, client_of):
    engine = own_engine(images=("busybox",))
    cli = client_of(engine)
    serve(cli, "web6", "-p", "18714:80")
    page = "http://[::1]:18714/"
    wait_for(lambda: engine.netns.fetch(page, rc=None) == "served\n", "the page")
    engine.kill9()
    try:
        assert engine.netns.fetch(page) == "served\n", "without an engine"
    finally:
        engine.start()
    assert engine.netns.fetch(page) == "served\n", "with the next engine"
    cli("rm", "-f", "web6")
    assert run(engine.netns.enter(["curl", "-sS", "-m", "2", page]), rc=None).rc == 7


def test_publish_ipv6_serves_the_first_client(own_engine, client_of):
    """The one whose connection starts the program: it waits in the listener until the program knows the port."""
    engine = own_engine(images=("busybox",))
    cli = client_of(engine)
    serve(cli, "web6", "-p", "18715:80")
    wait_for(lambda: engine.netns.fetch("http://127.0.0.1:18715/", rc=None) == "served\n", "the page")
    assert engine.netns.fetch("http://[::1]:18715/") == "served\n"
    cli("rm", "-f", "web6")


def test_long_ranges_of_udp_are_told(cli, engine):
    """They are not carried to containers without IPv6, and the user is told so at once."""
    short = cli("create", "-p", "18800-18863:18800-18863/udp", "-p", "18800-18899:18800-18899", "-p", "127.0.0.1:18900-18999:18900-18999/udp", "busybox")
    assert "IPv6" not in short.err
    long = cli("create", "-p", "18800-18864:18800-18864/udp", "busybox")
    assert "Published ports 18800-18864/udp are not reached by IPv6 clients" in long.err
    named = cli("run", "-d", "-p", "[::1]:18800-18864:18800-18864/udp", "busybox", "sleep", "9", rc=125)
    assert "cannot publish 65 UDP ports on ::1: the container has no IPv6 address" in named.err
    cli("network", "create", "--ipv6", "both6")
    try:
        assert "IPv6" not in cli("create", "--network", "both6", "-p", "18800-18864:18800-18864/udp", "busybox").err
    finally:
        cli("rm", "-f", *cli.out("ps", "-aq").split())
        cli("network", "rm", "both6")
