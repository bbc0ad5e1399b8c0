# SPDX-License-Identifier: Apache-2.0
"""Container networks: none, host, bridge, published ports."""
import json
import subprocess

import pytest

from harness.container import inspect
from harness.shell import run, wait_for

UDP_SERVER = "$s = IO::Socket::INET->new(LocalPort => 9, Proto => 'udp'); $| = 1; while ($s->recv($m, 99)) { print $m; $s->send($m) }"


def serve(cli, *flags, text="served"):
    return cli.out("run", "-d", *flags, "busybox", "sh", "-c", f"echo {text} > /var/www/index.html; exec httpd -f -p 80 -h /var/www")


def test_network_none_has_only_lo(cli):
    out = cli.out("run", "--rm", "--network", "none", "busybox", "ip", "-o", "link")
    assert out.count("\n") == 0 and ": lo:" in out
    cli("run", "--rm", "--network", "none", "busybox", "ping", "-c1", "-W1", "127.0.0.1")


def test_network_host_shares_the_engines(cli, netns):
    out = cli.out("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net")
    assert out == netns_link(netns)


def netns_link(netns):
    from harness.shell import run
    return run(netns.enter(["readlink", "/proc/self/ns/net"])).out.strip()


def test_network_bridge_address(cli):
    ident = cli.out("run", "-d", "busybox", "sleep", "99")
    settings = inspect(cli, ident)["NetworkSettings"]
    network = settings["Networks"]["bridge"]
    shown = cli.out("exec", ident, "ip", "-o", "-4", "addr", "show", "dev", "eth0")
    assert f"{network['IPAddress']}/{network['IPPrefixLen']}" in shown
    assert f"default via {network['Gateway']} dev eth0" in cli.out("exec", ident, "ip", "route")
    assert network["MacAddress"] in cli.out("exec", ident, "ip", "link", "show", "eth0")
    assert f"{network['IPAddress']}\t{ident[:12]}" in cli.out("exec", ident, "cat", "/etc/hosts")


def test_network_gateway_answers_at_once(cli, netns):
    cli("run", "--rm", "busybox", "sh", "-c", "ping -c1 -W1 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p')")


def test_network_two_containers_talk(cli):
    server = serve(cli, text="neighbour")
    address = inspect(cli, server)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert cli.out("run", "--rm", "busybox", "wget", "-qO-", f"http://{address}/") == "neighbour"


def test_network_publish(cli, netns):
    ident = serve(cli, "-p", "18090:80")
    wait_for(lambda: netns.fetch("http://127.0.0.1:18090/", rc=None) == "served\n", "the published port answers")
    gateway = inspect(cli, ident)["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    assert netns.fetch(f"http://{gateway}:18090/") == "served\n"
    assert inspect(cli, ident)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == "18090"
    assert "0.0.0.0:18090" in cli.out("port", ident, "80/tcp")


def test_network_publish_on_one_address(cli, netns):
    ident = serve(cli, "-p", "127.0.0.1:18091:80")
    wait_for(lambda: netns.fetch("http://127.0.0.1:18091/", rc=None) == "served\n", "loopback answers")
    gateway = inspect(cli, ident)["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    netns.fetch(f"http://{gateway}:18091/", timeout=1, rc=None)
    from harness.shell import run
    assert run(netns.enter(["curl", "-s", "--max-time", "1", f"http://{gateway}:18091/"]), rc=None).rc != 0


def test_network_publish_a_free_port(cli, netns):
    ident = serve(cli, "-p", "80")
    port = inspect(cli, ident)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    assert int(port) > 1023
    wait_for(lambda: netns.fetch(f"http://127.0.0.1:{port}/", rc=None) == "served\n", "the chosen port answers")


def test_network_publish_all(cli, netns):
    ident = cli.out("run", "-d", "-P", "nginx")
    port = inspect(cli, ident)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    wait_for(lambda: "it works" in netns.fetch(f"http://127.0.0.1:{port}/", rc=None), "nginx answers", 10)


def test_network_publish_udp(cli, netns):
    from harness.shell import run
    ident = cli.out("run", "-d", "-p", "18092:9/udp", "debian", "perl", "-MIO::Socket::INET", "-e", UDP_SERVER)
    wait_for(lambda: run(netns.enter(["bash", "-c", "echo ping > /dev/udp/127.0.0.1/18092"]), rc=None) and "ping" in cli.out("logs", ident),
             "the datagram arrives", 8, 0.3)


def test_network_container_reaches_its_own_published_port(cli):
    ident = serve(cli, "-p", "18093:80")
    gateway = inspect(cli, ident)["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    wait_for(lambda: cli("exec", ident, "wget", "-qO-", f"http://{gateway}:18093/", rc=None).out == "served\n", "hairpin answers")


def test_network_port_clash(cli):
    serve(cli, "-p", "18094:80", "--name", "first")
    done = cli("run", "-d", "--name", "second", "-p", "127.0.0.1:18094:80", "busybox", "sleep", "99", rc=125)
    assert "Bind for 127.0.0.1:18094 failed: port is already allocated to container first" in done.err
    state = inspect(cli, "second")["State"]
    assert state["Running"] is False
    cli("rename", "first", "chief")
    assert "already allocated to container chief" in cli("start", "second", rc=1).err
    cli("rm", "-f", "chief")
    cli("start", "second")
    assert "18094" in cli.out("port", "second")


def test_network_port_clash_after_a_kill(cli, own_engine, client_of):
    engine = own_engine()
    own = client_of(engine)
    own.out("run", "-d", "--name", "first", "-p", "18094:80", "busybox", "sleep", "99")
    engine.kill9()
    engine.start()
    assert "already allocated to container first" in own("run", "-d", "-p", "18090-18099:18090-18099", "busybox", "true", rc=125).err


def test_network_port_of_a_program_of_the_host(cli, engine):
    program = subprocess.Popen(engine.netns.enter(["busybox", "httpd", "-f", "-p", "127.0.0.1:18095"]))
    try:
        wait_for(lambda: run(engine.netns.enter(["curl", "-s", "http://127.0.0.1:18095/"]), rc=None).rc == 0, "the program listens")
        done = cli("run", "-d", "--name", "second", "-p", "18095:80", "busybox", "sleep", "99", rc=125)
        assert f"address already in use by busybox (pid {program.pid})" in done.err
    finally:
        program.kill()
        program.wait()
    cli("start", "second")


def test_network_port_is_free_after_rm(cli, netns):
    ident = serve(cli, "-p", "18095:80")
    cli("rm", "-f", ident)
    again = serve(cli, "-p", "18095:80", text="fresh")
    wait_for(lambda: netns.fetch("http://127.0.0.1:18095/", rc=None) == "fresh\n", "the second server answers")
    cli("rm", "-f", again)


def test_network_no_rule_is_left(cli, netns):
    serve(cli, "-p", "18096:80")
    assert "18096" in json.dumps(netns.rules())
    cli("rm", "-f", cli.out("ps", "-q"))
    assert "18096" not in json.dumps(netns.rules())


def test_network_resolv_conf(cli):
    out = cli.out("run", "--rm", "busybox", "cat", "/etc/resolv.conf")
    assert "nameserver" in out
    assert "nameserver 9.9.9.9" in cli.out("run", "--rm", "--dns", "9.9.9.9", "busybox", "cat", "/etc/resolv.conf")


def test_network_add_host(cli):
    out = cli.out("run", "--rm", "--add-host", "db:1.2.3.4", "busybox", "cat", "/etc/hosts")
    assert "1.2.3.4\tdb" in out and "127.0.0.1\tlocalhost" in out


@pytest.mark.parametrize("flag", ["70000:80", "x:80", "80:", "1.2.3:80:80", "80/foo"])
def test_network_bad_publish_is_refused(cli, flag):
    done = cli("run", "--rm", "-p", flag, "busybox", "true", rc=125)
    assert done.err.strip()


def test_network_unknown_is_refused(cli):
    done = cli("run", "--rm", "--network", "nowhere", "busybox", "true", rc=125)
    assert "nowhere" in done.err and "not found" in done.err
