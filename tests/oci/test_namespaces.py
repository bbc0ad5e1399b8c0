# SPDX-License-Identifier: Apache-2.0
"""linux.namespaces: each one new, joined by path, or left as the caller has it; timeOffsets."""
import os
import subprocess
import time

import pytest

from harness.oci import namespaces

FILES = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup", "time": "time", "user": "user"}
LATER = pytest.mark.reference_lacks("time namespaces are of runtime-spec 1.2, later than these releases")


def own(kind):
    return os.readlink(f"/proc/self/ns/{FILES[kind]}")


def show(kind):
    return f"readlink /proc/self/ns/{FILES[kind]}"


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "mount", "cgroup", pytest.param("time", marks=LATER)])
def test_new(oci, kind):
    config = namespaces(oci.config(args=show(kind)), **{kind: True})
    assert oci.out(config=config) != own(kind)


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup", "time"])
def test_left_out_is_that_of_the_caller(oci, kind):
    config = namespaces(oci.config({"hostname": None}, show(kind)), without=[kind])
    assert oci.out(config=config) == own(kind)


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "pid", pytest.param("time", marks=LATER)])
def test_joined_by_path(oci, kind):
    """The namespaces of another container."""
    first = oci.start(config=namespaces(oci.config(args="sleep 99"), **{kind: True}))
    path = f"/proc/{first.pid}/ns/{FILES[kind]}"
    want = os.readlink(path)
    edits = {"hostname": None} if kind == "uts" else {}
    assert oci.out(config=namespaces(oci.config(edits, show(kind)), **{kind: path})) == want


def test_joined_pid_namespace_shows_the_others(oci):
    first = oci.start("sleep 4242")
    out = oci.out(config=namespaces(oci.config(args="ps"), pid=f"/proc/{first.pid}/ns/pid"))
    assert "sleep 4242" in out


def test_joined_network_namespace_by_its_name(oci):
    """As engines do it: a network namespace bound to a file."""
    name = f"oci{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["nsenter", f"--net=/run/netns/{name}", "ip", "link", "set", "lo", "up"], check=True)
        config = namespaces(oci.config(args="cat /sys/class/net/lo/operstate; grep -c . /proc/net/dev; ip link show lo"), network=f"/run/netns/{name}")
        assert "UP" in oci.out(config=config)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_joined_namespace_is_joined_by_exec_too(oci):
    first = oci.start()
    second = oci.start(config=namespaces(oci.config(args="sleep 99"), network=f"/proc/{first.pid}/ns/net", ipc=f"/proc/{first.pid}/ns/ipc"))
    for kind in ("net", "ipc"):
        assert second.exec(f"readlink /proc/self/ns/{kind}").out.strip() == os.readlink(f"/proc/{first.pid}/ns/{kind}")


def test_joined_mount_namespace(oci):
    """The root file system is then looked up in the namespace that is joined."""
    space = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sleep", "99"])
    oci.machine.popens[space.pid] = space
    try:
        path = f"/proc/{space.pid}/ns/mnt"
        deadline = time.monotonic() + 5
        while os.readlink(path) == own("mount") and time.monotonic() < deadline:
            time.sleep(0.005)
        want = os.readlink(path)
        config = namespaces(oci.config(args=show("mount"), edits={"mounts": []}), without=["mount"], mount=path)
        config["linux"]["maskedPaths"], config["linux"]["readonlyPaths"] = [], []
        done = oci.run(config=config, rc=None)
        if done.rc == 0 and done.out.strip():
            assert done.out.strip() == want
        # /proc is not mounted without mounts; what counts is that the namespace of the tests was left alone
    finally:
        space.kill()
        space.wait()
        oci.machine.popens.pop(space.pid)


def test_none_of_them(oci):
    """No namespace at all but that of mounts, without which there is no root of one's own."""
    config = oci.config({"hostname": None}, "for n in pid net ipc uts; do readlink /proc/self/ns/$n; done")
    config["linux"]["namespaces"] = [{"type": "mount"}]
    assert oci.out(config=config).split() == [own(k) for k in ("pid", "network", "ipc", "uts")]


def test_bad_path_of_another_kind(oci):
    config = namespaces(oci.config(args="true"), ipc="/proc/self/ns/net")
    oci.refused(oci.run(config=config, rc=None), "ipc", "invalid argument|/proc/self/ns/net")


def test_bad_path_missing(oci):
    config = namespaces(oci.config(args="true"), network="/nowhere/ns")
    oci.refused(oci.run(config=config, rc=None), "/nowhere/ns", "no such file")


def test_bad_path_relative(oci):
    config = namespaces(oci.config(args="true"), network="proc/self/ns/net")
    oci.refused(oci.run(config=config, rc=None, cwd="/"), "proc/self/ns/net", "absolute|no such file|relative")


def test_bad_type(oci):
    config = namespaces(oci.config(args="true"), nonsense=True)
    oci.refused(oci.run(config=config, rc=None), "nonsense")


def test_duplicate_type(oci):
    """The specification: the same type twice is an error."""
    config = oci.config(args="true")
    config["linux"]["namespaces"].append({"type": "uts"})
    oci.refused(oci.run(config=config, rc=None), "uts", "twice|duplicate|repeated|more than once")


def test_new_ipc_namespace_is_empty(oci):
    assert oci.out("tail -n +2 /proc/sysvipc/shm | wc -l") == "0"


def test_new_pid_namespace_begins_with_one(oci):
    assert oci.out("echo $$") == "1"


def test_new_network_namespace_has_only_lo(oci):
    assert [line.split(":")[0].strip() for line in oci.lines("tail -n +3 /proc/net/dev")] == ["lo"]


def test_loopback_is_up(oci):
    """Not of the specification; runc and crun both do it."""
    assert "UP" in oci.out("ip link show lo")


def test_new_cgroup_namespace_has_the_container_at_its_root(oci):
    config = namespaces(oci.config(args="cat /proc/self/cgroup"), cgroup=True)
    paths = {line.split(":", 2)[2] for line in oci.lines(config=config) if not line.startswith("0::")}
    assert paths == {"/"}


def test_exec_enters_all(oci):
    box = oci.start(config=namespaces(oci.config(args="sleep 99"), cgroup=True))
    for name in ("pid", "net", "ipc", "uts", "mnt", "cgroup"):
        assert box.exec(f"readlink /proc/self/ns/{name}").out.strip() == os.readlink(f"/proc/{box.pid}/ns/{name}")


# --- timeOffsets ---

def clocks():
    return time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME)


@LATER
def test_time_offsets(oci):
    config = namespaces(oci.config({"linux.timeOffsets": {"monotonic": {"secs": 1000, "nanosecs": 500000000}, "boottime": {"secs": 2000000}}}, ["probe", "clocks"]), time=True)
    before = clocks()
    monotonic, boottime = map(float, oci.out(config=config).split())
    assert 1000.5 <= monotonic - before[0] < 1010 and 2000000 <= boottime - before[1] < 2000010


@LATER
def test_time_offsets_negative(oci):
    config = namespaces(oci.config({"linux.timeOffsets": {"boottime": {"secs": -100}}}, ["probe", "clocks"]), time=True)
    if clocks()[1] < 200:
        pytest.skip("the machine has just booted")
    assert -100.1 <= float(oci.out(config=config).split()[1]) - clocks()[1] < -90


@LATER
def test_time_offsets_at_exec(oci):
    box = oci.start(config=namespaces(oci.config({"linux.timeOffsets": {"monotonic": {"secs": 5000}}}, "sleep 99"), time=True))
    assert 5000 - 1 <= float(box.exec("probe", "clocks").out.split()[0]) - clocks()[0] < 5010


@LATER
def test_time_offsets_without_the_namespace_are_refused(oci):
    oci.refused(oci.run("true", {"linux.timeOffsets": {"monotonic": {"secs": 5}}}, rc=None), "time")


@LATER
@pytest.mark.parametrize("offsets", [{"realtime": {"secs": 5}}, {"monotonic": {"secs": 0, "nanosecs": 1000000000}}, {"monotonic": {"secs": -10**12}}])
def test_time_offsets_bad(oci, offsets):
    oci.refused(oci.run(config=namespaces(oci.config({"linux.timeOffsets": offsets}, "true"), time=True), rc=None), "time|offset")
