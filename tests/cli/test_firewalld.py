# SPDX-License-Identifier: Apache-2.0
"""Published ports beside firewalld (Debian's, with its nftables backend) on a message bus of its own."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from harness.clients import Client, caisson_program
from harness.container import inspect
from harness.engine import Engine
from harness.netns import NetworkNamespace
from harness.shell import TREE, run, wait_for

UNPACKED = TREE + "/build/cache/debs/firewalld"
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow send_type="method_call"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>
"""
# What `firewall-cmd --permanent --zone=trusted --add-interface=cfw0` writes.
TRUSTED = '<?xml version="1.0" encoding="utf-8"?>\n<zone target="ACCEPT"><short>Trusted</short><interface name="cfw0"/></zone>\n'


class Firewalld:
    def __init__(self, root, space):
        self.root, self.space = str(root), space
        self.env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={root}/bus"}
        shutil.copytree(UNPACKED + "/etc/firewalld", self.root + "/etc")
        os.makedirs(self.root + "/etc/zones", exist_ok=True)
        with open(self.root + "/etc/zones/trusted.xml", "w", encoding="utf-8") as file:
            file.write(TRUSTED)
        with open(self.root + "/etc/firewalld.conf", encoding="utf-8") as file:
            assert "FirewallBackend=nftables" in file.read()
        with open(self.root + "/bus.conf", "w", encoding="utf-8") as file:
            file.write(BUS.format(path=self.root + "/bus"))
        self.log = open(self.root + "/log", "ab")
        self.bus = subprocess.Popen(["dbus-daemon", f"--config-file={self.root}/bus.conf", "--nofork"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.process = None

    def start(self):
        # Its files in /run and /var/log are its own business.
        inner = ("mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/log; exec /usr/bin/python3 \"$0\" --nofork --nopid "
                 "--system-config \"$1\" --default-config \"$2\"")
        self.process = subprocess.Popen(self.space.enter(["unshare", "--mount", "--propagation", "private", "sh", "-c", inner,
                                                          UNPACKED + "/usr/sbin/firewalld", self.root + "/etc", UNPACKED + "/usr/lib/firewalld"]),
                                        env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for(lambda: self.command("--state", rc=None).rc == 0, "firewalld runs", 90, 0.5)

    def command(self, *args, rc=0):
        assert self.process.poll() is None, "firewalld ended: " + open(self.root + "/log", encoding="utf-8", errors="replace").read()[-1000:]
        return run(self.space.enter(["/usr/bin/python3", UNPACKED + "/usr/bin/firewall-cmd", *args]), self.env, rc=rc, timeout=90)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def close(self):
        self.stop()
        self.bus.kill()
        self.bus.wait()
        self.log.close()


@pytest.fixture
def host(scratch, tmp_path):
    """A machine of its own with firewalld and an engine, and a second host on a wire: 10.94.0.1 and 10.94.0.2."""
    if not os.path.exists(UNPACKED + "/usr/sbin/firewalld") or not shutil.which("dbus-daemon"):
        pytest.skip("firewalld could not be unpacked, or dbus-daemon is not installed")
    for module in ("firewall", "nftables", "dbus", "gi"):
        if run(["/usr/bin/python3", "-c", f"import {module}"], rc=None).rc:
            pytest.skip(f"python3-{module} is not installed")
    name = "cf" + os.path.basename(scratch)[4:]
    made = []
    try:
        space, second = NetworkNamespace(name), NetworkNamespace(name + "b")
        made += [second.remove, space.remove]
        run(space.enter(["ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", second.name]))
        for where, link, address in ((space, "wire0", "10.94.0.1/24"), (second, "wire1", "10.94.0.2/24")):
            run(where.enter(["ip", "addr", "add", address, "dev", link]))
            run(where.enter(["ip", "link", "set", link, "up"]))
        root = tempfile.mkdtemp(prefix="firewalld-", dir=scratch)
        engine = Engine(root, space, bridge="cfw0")
        made.append(engine.destroy)
        (tmp_path / "firewalld").mkdir()
        firewalld = Firewalld(tmp_path / "firewalld", space)
        made.append(firewalld.close)
        yield engine, firewalld, second
    finally:
        for undo in reversed(made):
            undo()


SERVER = "import socket; s = socket.create_server(('0.0.0.0', 8000)); print('ready', flush=True)\nwhile True: c = s.accept()[0]; c.recv(99); c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhost\\n'); c.close()"


def test_firewalld_reload(host):
    engine, firewalld, second = host
    firewalld.start()
    engine.start()
    engine.load("busybox")
    cli = Client("caisson", caisson_program(), engine.host, engine.root)
    cli("network", "create", "own")
    for name, network, port in (("web", "bridge", 18640), ("other", "own", 18641)):
        cli("run", "-d", "--name", name, "--network", network, "-p", f"{port}:80", "busybox", "sh", "-c",
            "mkdir /w; echo page > /w/index.html; exec httpd -f -p 80 -h /w")
    cli("run", "-d", "--name", "asks", "busybox", "sleep", "9999")
    servers = [subprocess.Popen(space.enter(["/usr/bin/python3", "-c", SERVER]), stdout=subprocess.PIPE) for space in (second, engine.netns)]
    try:
        for server in servers:
            assert server.stdout.readline() == b"ready\n"

        def all_good():
            assert not second.fetch("http://10.94.0.1:8000/", rc=None), "firewalld keeps others from the host's own server"
            assert second.fetch("http://10.94.0.1:18640/") == "page\n" == engine.netns.fetch("http://127.0.0.1:18640/")
            for what in ("10.94.0.1:18640", "10.94.0.2:8000", "10.94.0.1:8000"):
                assert cli("exec", "asks", "wget", "-qO-", f"http://{what}/", rc=None).out, f"a container reaches {what}"
            # A bridge that is in no zone: firewalld stops what its containers begin, not what comes in by a published port.
            assert second.fetch("http://10.94.0.1:18641/") == "page\n" == engine.netns.fetch("http://127.0.0.1:18641/")
            assert not cli("exec", "other", "wget", "-qO-", "http://10.94.0.2:8000/", rc=None).out
        for port in (18640, 18641):
            wait_for(lambda p=port: second.fetch(f"http://10.94.0.1:{p}/", rc=None), "the published port answers")
        all_good()
        firewalld.command("--reload")
        all_good()
        run(engine.netns.enter(["nft", "delete", "table", "ip", engine.own_name]))
        wait_for(lambda: second.fetch("http://10.94.0.1:18640/", rc=None), "the rules are there again")
        all_good()
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def on_bus(engine, address):
    """The engine finds the bus there; without that none of another network namespace is looked at."""
    engine.argv = ["env", f"DBUS_SYSTEM_BUS_ADDRESS={address}", *engine.argv]


def helper(engine):
    """The pid of the engine's caisson-firewalld, 0 while there is none."""
    for pid, name in engine.processes().items():
        if name == "caisson-firewalld"[:15]:
            return pid
    return 0


def test_firewalld_zone(host):
    engine, firewalld, second = host
    on_bus(engine, f"unix:path={firewalld.root}/bus")
    firewalld.start()
    engine.start()
    engine.load("busybox")
    cli = Client("caisson", caisson_program(), engine.host, engine.root)

    def zone_of(link):
        done = firewalld.command(f"--get-zone-of-interface={link}", rc=None)
        return done.out.strip() if done.rc == 0 else ""
    cli("network", "create", "own", "-o", "com.docker.network.bridge.name=cfw1", "-o", "com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected")
    cli("run", "-d", "--name", "asks", "--network", "own", "-p", "18650:80", "busybox", "sh", "-c", "mkdir /w; echo page > /w/index.html; exec httpd -f -p 80 -h /w")
    server = subprocess.Popen(second.enter(["/usr/bin/python3", "-c", SERVER]), stdout=subprocess.PIPE)
    address = inspect(cli, "asks")["NetworkSettings"]["Networks"]["own"]["IPAddress"]
    run(second.enter(["ip", "route", "add", f"{address}/32", "via", "10.94.0.1"]))
    try:
        assert server.stdout.readline() == b"ready\n"

        def all_good(when):
            wait_for(lambda: zone_of("cfw1") == "caisson", f"the bridge is in our zone {when}", 60, 0.5)
            for what, answer in (("begins", lambda: cli("exec", "asks", "timeout", "5", "wget", "-qO-", "http://10.94.0.2:8000/", rc=None).out == "host\n"),
                                 ("publishes", lambda: second.fetch("http://10.94.0.1:18650/", rc=None) == "page\n"),
                                 ("is open to routers", lambda: second.fetch(f"http://{address}/", rc=None) == "page\n")):
                wait_for(answer, f"what a container {what} passes {when}", 30)
        all_good("at first")
        firewalld.command("--reload")
        all_good("after a reload")
        # Others may have forgotten it, too.
        firewalld.command("--zone=caisson", "--remove-interface=cfw1")
        assert zone_of("cfw1") == ""
        firewalld.command("--reload")
        all_good("after somebody took it out")
        firewalld.stop()
        firewalld.start()
        all_good("after firewalld came again")
        before = helper(engine)
        assert before
        firewalld.command("--zone=caisson", "--remove-interface=cfw1")
        os.kill(before, signal.SIGKILL)
        all_good("after its program was replaced")
        assert helper(engine) not in (0, before)
        cli("run", "-d", "--name", "plain", "busybox", "sleep", "999")
        assert zone_of("cfw0") == "trusted", "what the administrator chose stays"
        wait_for(lambda: "bridge 'cfw0' is in zone 'trusted' already and stays there" in engine.log(), "that is told")
        engine.kill9()
        wait_for(lambda: not helper(engine), "the program ends with its engine")
        engine.start()
        all_good("with the next engine")
        cli("rm", "-f", "asks")
        cli("network", "rm", "own")
        wait_for(lambda: not zone_of("cfw1"), "the interface leaves the zone with its network", 60, 0.5)
    finally:
        server.kill()
        server.communicate()


def test_a_bus_that_hangs_delays_nothing(host):
    engine, _, second = host
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(engine.root + "/bus")
        silent.listen()
        on_bus(engine, f"unix:path={engine.root}/bus")
        engine.start()
        engine.load("busybox")
        cli = Client("caisson", caisson_program(), engine.host, engine.root)
        cli("network", "create", "own")
        cli("run", "-d", "--network", "own", "-p", "18651:80", "busybox", "sh", "-c", "mkdir /w; echo page > /w/index.html; exec httpd -f -p 80 -h /w")
        wait_for(lambda: second.fetch("http://10.94.0.1:18651/", rc=None) == "page\n", "the published port answers")
        wait_for(lambda: helper(engine), "the program waits for the bus")
        engine.stop()
        wait_for(lambda: not helper(engine), "the program is gone")
