# SPDX-License-Identifier: Apache-2.0
"""Cgroups as a whole: all limits of one container, shares under contention, several containers under one parent."""
import os
import subprocess

import pytest

from harness.container import cgroup_value, inspect
from harness.shell import wait_for

V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
MIB = 1 << 20


def folder_of(controller, parent):
    return f"/sys/fs/cgroup{parent}" if V2 else f"/sys/fs/cgroup/{controller}{parent}"


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


@pytest.fixture
def parent():
    """The name of a parent cgroup; it is gone afterwards, in every hierarchy."""
    name = f"caisson-shared-{os.getpid()}"
    yield "/" + name
    subprocess.run(["find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*/{name}*", "-exec", "rmdir", "{}", ";"],
                   stderr=subprocess.DEVNULL, check=False)


@pytest.mark.skipif(V2, reason="the guest's checks read the files of version 2")
def test_all_controllers_of_version_1(cli, api):
    """One container with everything; where the kernel lacks a file, the limit is tested (or refused) elsewhere."""
    assert api.ok("GET", "/info")["CgroupVersion"] == "1"
    assert cli.out("info", "--format", "{{.CgroupVersion}} {{.CgroupDriver}}") == "1 cgroupfs"
    ident = cli.out("run", "-d", "-m", "64m", "--memory-reservation", "32m", "--memory-swap", "96m", "--memory-swappiness", "10", "--cpu-shares", "333",
                    "--cpu-period", "50000", "--cpu-quota", "25000", "--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "77", "busybox", "sleep", "99")
    for file, want in (("memory.limit_in_bytes", 64 * MIB), ("memory.soft_limit_in_bytes", 32 * MIB), ("memory.swappiness", 10), ("cpu.shares", 333),
                       ("cpu.cfs_period_us", 50000), ("cpu.cfs_quota_us", 25000), ("cpuset.cpus", 0), ("cpuset.mems", 0), ("pids.max", 77)):
        assert cgroup_value(ident, file.split(".")[0], file, "") == str(want), file
    if os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"):
        assert cgroup_value(ident, "memory", "memory.memsw.limit_in_bytes", "") == str(96 * MIB)
    assert int(cgroup_value(ident, "cpuacct", "cpuacct.usage", "")) > 0
    assert "a *:* m" not in cgroup_value(ident, "devices", "devices.list", "") and "c 1:3 rwm" in cgroup_value(ident, "devices", "devices.list", "")
    assert cgroup_value(ident, "freezer", "freezer.state", "") == "THAWED"
    assert "Total" in cgroup_value(ident, "blkio", "blkio.throttle.io_service_bytes", "")
    seen = read(f"/proc/{inspect(cli, ident)['State']['Pid']}/cgroup").splitlines()
    mounted = [line.split()[-1] for line in subprocess.run(["findmnt", "-rn", "-t", "cgroup", "-o", "TARGET"], capture_output=True, text=True, check=True).stdout.splitlines()]
    assert len([line for line in seen if ident in line]) >= len(mounted) > 0


def usage(ident):
    if V2:
        return int(dict(line.split() for line in cgroup_value(ident, "cpu", "", "cpu.stat").splitlines())["usage_usec"]) * 1000
    return int(cgroup_value(ident, "cpuacct", "cpuacct.usage", ""))


def test_cpu_shares_under_contention(caisson, parent):
    """Two busy containers on one processor get time by their shares. Siblings: who else is busy takes from both alike."""
    names = [caisson.out("run", "-d", "--cgroup-parent", parent, "--cpuset-cpus", "0", "--cpu-shares", shares, "busybox", "sh", "-c", "while :; do :; done")
             for shares in ("1024", "256")]
    wait_for(lambda: all(usage(name) > 20_000_000 for name in names), "both are busy", 60)
    before = [usage(name) for name in names]
    wait_for(lambda: sum(usage(name) for name in names) - sum(before) > 2_500_000_000, "they have used some time", 120, 0.1)
    much, little = (usage(name) - start for name, start in zip(names, before))
    caisson("rm", "-f", *names)
    assert 2 < much / little < 8, (much, little)


def test_containers_share_the_limit_of_a_parent(cli, parent):
    """What a parent group may have is for all below it, whatever each of them may have by itself."""
    first = cli.out("run", "-d", "--cgroup-parent", parent, "busybox", "sleep", "99")
    group = folder_of("pids", parent)
    assert os.path.isdir(f"{group}/{first}") and read(f"{group}/pids.current") == "1"
    with open(f"{group}/pids.max", "w", encoding="ascii") as file:
        file.write("6")
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 9 & done; echo all forked"
    done = cli("run", "--rm", "--cgroup-parent", parent, "busybox", "sh", "-c", script, rc=None)
    assert "can't fork" in done.err and "all forked" not in done.out, done
    assert "all forked" in cli("run", "--rm", "busybox", "sh", "-c", script).out
    cli("rm", "-f", first)
    wait_for(lambda: not os.path.exists(f"{group}/{first}"), "its group is gone")
    assert os.path.isdir(group)


@pytest.mark.skipif(V2, reason="the guest's checks write files of version 2")
def test_cgroup_conf_needs_version_2(caisson, api):
    done = caisson("run", "--cgroup-conf", "memory.high=50M", "busybox", "true", rc=125)
    assert "cgroup-conf names files of cgroup v2, and this host has v1" in done.err
    assert api.post("/containers/create", {"Image": "busybox", "HostConfig": {"CgroupConf": {"memory.high": "50M"}}}).status == 400
