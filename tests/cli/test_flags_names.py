# SPDX-License-Identifier: Apache-2.0
"""Flags of run that say with whom a container shares what: ipc, pid, uts, userns, and the names it goes by."""
import os
import socket

import pytest

from harness.container import inspect, pid_of


def space(cli, ident, kind):
    return os.readlink(f"/proc/{pid_of(cli, ident)}/ns/{kind}")


def start(cli, *flags):
    return cli.out("run", "-d", *flags, "busybox", "sleep", "99")


def test_ipc_modes(cli):
    own = os.readlink("/proc/self/ns/ipc")
    assert space(cli, start(cli, "--ipc", "host"), "ipc") == own
    private, donor = start(cli, "--ipc", "private"), start(cli, "--ipc", "shareable", "--name", "donor")
    assert len({space(cli, private, "ipc"), space(cli, donor, "ipc"), own}) == 3
    guest = start(cli, "--ipc", "container:donor")
    assert space(cli, guest, "ipc") == space(cli, donor, "ipc")
    cli("exec", donor, "sh", "-c", "echo shared > /dev/shm/file")
    assert cli.out("exec", guest, "cat", "/dev/shm/file") == "shared"
    assert inspect(cli, private)["HostConfig"]["IpcMode"] == "private"


def test_ipc_none(cli):
    ident = start(cli, "--ipc", "none")
    assert space(cli, ident, "ipc") != os.readlink("/proc/self/ns/ipc")
    assert "/dev/shm" not in cli.out("exec", ident, "cat", "/proc/mounts")


def test_ipc_refusals(cli):
    start(cli, "--name", "private")
    failed = cli("run", "--ipc", "container:private", "busybox", "true", rc=125)
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in failed.err
    assert "invalid IPC mode: sometimes" in cli("run", "--ipc", "sometimes", "busybox", "true", rc=125).err
    assert "No such container: nobody" in cli("run", "--ipc", "container:nobody", "busybox", "true", rc=125).err


def test_pid_host(cli):
    ident = start(cli, "--pid", "host")
    assert space(cli, ident, "pid") == os.readlink("/proc/self/ns/pid")
    assert f"/{os.getpid()}/" in cli.out("exec", ident, "sh", "-c", f"ls -d /proc/{os.getpid()}/")


def test_pid_container(cli):
    owner = start(cli, "--name", "owner")
    guest = start(cli, "--pid", "container:owner")
    assert space(cli, guest, "pid") == space(cli, owner, "pid")
    assert cli.out("exec", guest, "cat", "/proc/1/cmdline").replace("\0", " ").strip() == "sleep 99"
    cli("exec", guest, "sh", "-c", "kill -9 $(ps | awk '$1 != 1 && /sleep 99/ { print $1; exit }')", rc=None)
    assert "invalid PID mode" in cli("run", "--pid", "mine", "busybox", "true", rc=125).err
    cli("stop", "-t", "0", "owner")
    assert "non running container" in cli("run", "--pid", "container:owner", "busybox", "true", rc=125).err


def test_uts_host(cli):
    ident = start(cli, "--uts", "host")
    assert space(cli, ident, "uts") == os.readlink("/proc/self/ns/uts")
    assert cli.out("exec", ident, "hostname") == socket.gethostname()
    assert "conflicting options: hostname and the UTS mode" in cli("run", "--uts", "host", "-h", "mine", "busybox", "true", rc=125).err
    assert "invalid UTS mode" in cli("run", "--uts", "private", "busybox", "true", rc=125).err


def test_userns(cli, api):
    ident = start(cli, "--userns", "host")
    assert space(cli, ident, "user") == os.readlink("/proc/self/ns/user")
    assert inspect(cli, ident)["HostConfig"]["UsernsMode"] == "host"
    assert "invalid USER mode" in cli("run", "--userns", "keep-id", "busybox", "true", rc=125).err
    assert api.post("/containers/create", {"Image": "busybox", "HostConfig": {"UsernsMode": "private"}}).status == 400


def test_domainname(cli):
    ident = start(cli, "-h", "box", "--domainname", "example.org")
    assert cli.out("exec", ident, "cat", "/proc/sys/kernel/domainname") == "example.org"
    assert cli.out("exec", ident, "cat", "/etc/hostname") == "box.example.org"
    assert cli.out("exec", ident, "hostname") == "box"
    assert cli.out("exec", ident, "hostname", "-d") == "example.org"
    assert "\tbox.example.org box\n" in cli("exec", ident, "cat", "/etc/hosts").out


def test_runtime(cli):
    for name in ("runc", "io.containerd.runc.v2"):
        assert cli.out("run", "--rm", "--runtime", name, "busybox", "echo", "ran") == "ran"
    ident = start(cli, "--runtime", "caisson")
    with open(f"/proc/{pid_of(cli, ident)}/stat", encoding="ascii") as file:
        parent = file.read().rsplit(")", 1)[1].split()[1]
    with open(f"/proc/{parent}/comm", encoding="ascii") as file:
        assert file.read().strip() == "caisson-monitor"
    assert "unknown or invalid runtime name: kata" in cli("run", "--runtime", "kata", "busybox", "true", rc=125).err


@pytest.mark.parametrize("other, text", [(("-h", "x"), "hostname and the network mode"), (("--dns", "1.2.3.4"), "dns and the network mode"), (("--add-host", "a:1.2.3.4"), "custom host-to-IP mapping and the network mode"),
                                         (("-p", "80:80"), "port publishing and the container type network mode"), (("--expose", "80"), "port exposing and the container type network mode"),
                                         (("-P",), "port publishing and the container type network mode")])
def test_shared_network_conflicts(cli, other, text):
    assert "conflicting options: " + text in cli("run", "--network", "container:any", *other, "busybox", "true", rc=125).err
