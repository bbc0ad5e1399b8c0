# SPDX-License-Identifier: Apache-2.0
"""linux.cgroupsPath and linux.resources: what is asked is what cgroupfs says afterwards. These are the version 1 files;
the guest's tests read those of version 2."""
import os
import subprocess
import sys
import time

import pytest

from harness.oci import Oci, cgroup_mounts, realtime_budget

V1 = cgroup_mounts()
MIB = 1 << 20


def needs(controller):
    if controller not in V1:
        pytest.skip(f"no version 1 hierarchy of the controller '{controller}' is mounted")


# --- cgroupsPath ---

def paths(text):
    return {name.removeprefix("name="): path for line in text.splitlines() for _, names, path in [line.split(":", 2)] for name in names.split(",")}


def test_path_absolute(oci):
    needs("pids")
    want = f"{oci.machine.parent}/some/where"
    got = paths(oci.run("cat /proc/self/cgroup", {"linux.cgroupsPath": want}).out)
    assert {got[c] for c in ("memory", "pids", "cpu", "devices", "freezer") if c in V1} == {want}
    for top in set(V1.values()):
        if os.path.exists(f"{top}{oci.machine.parent}/some"):
            os.rmdir(f"{top}{oci.machine.parent}/some")


def test_path_relative(oci):
    """Below the runtime's own cgroup; the runtime decides."""
    needs("pids")
    name = f"caisson-oci-test-{os.getpid()}-relative"
    box = oci.start(edits={"linux.cgroupsPath": name})
    assert os.path.basename(box.cgroup("pids")) == name
    folder = box.cgroup("pids")
    box("delete", "--force")
    assert not os.path.exists(folder)


def test_path_missing_is_made_of_the_id(oci):
    needs("pids")
    config = oci.config(args="sleep 99")
    config["linux"]["cgroupsPath"] = ""
    box = oci.start(config=config)
    assert box.id in box.cgroup("pids")
    folder = box.cgroup("pids")
    box("delete", "--force")
    assert not os.path.exists(folder)


def test_path_with_dots_stays_in_the_hierarchy(oci):
    """No directory outside cgroupfs, nor the hierarchy's own root."""
    needs("pids")
    name = f"caisson-oci-test-{os.getpid()}"
    done = oci.run("cat /proc/self/cgroup", {"linux.cgroupsPath": f"/../../../{name}/dots"}, rc=None)
    if done.rc == 0:
        assert paths(done.out)["pids"].endswith(f"/{name}/dots")
    else:
        oci.refused(done, "cgroup")
    assert not os.path.exists(f"/{name}") and not os.path.exists(f"/sys/{name}")


def test_every_hierarchy_is_joined(oci):
    box = oci.start()
    with open(f"/proc/{box.pid}/cgroup", encoding="ascii") as file:
        got = paths(file.read())
    assert {c for c in V1 if c in ("memory", "pids", "cpu", "cpuacct", "cpuset", "devices", "freezer", "blkio")} <= {c for c, p in got.items() if p.endswith(box.id)}


def test_removed_on_delete_and_by_a_finished_run(oci):
    oci.run("true")
    assert oci.machine.cgroups() == []
    box = oci.start()
    oci("kill", box.id, "KILL")
    box.wait_status("stopped")
    box("delete")
    assert oci.machine.cgroups() == []


def test_removed_with_groups_that_the_container_made(oci):
    needs("pids")
    box = oci.start()
    os.makedirs(box.cgroup("pids") + "/inner/most")
    box("delete", "--force")
    assert oci.machine.cgroups() == []


def test_exec_is_in_the_cgroup(oci):
    needs("pids")
    box = oci.start()
    inner = paths(box.exec("cat /proc/self/cgroup").out)
    assert inner["pids"] == paths(open(f"/proc/{box.pid}/cgroup", encoding="ascii").read())["pids"]


# --- one value each ---

TABLE = [
    ("memory.limit", 64 * MIB, "memory.limit_in_bytes", str(64 * MIB)), ("memory.limit", -1, "memory.limit_in_bytes", str(2**63 - 4096)),
    ("memory.reservation", 32 * MIB, "memory.soft_limit_in_bytes", str(32 * MIB)), ("memory.swappiness", 10, "memory.swappiness", "10"),
    ("memory.disableOOMKiller", True, "memory.oom_control", "oom_kill_disable 1"), ("memory.kernelTCP", 16 * MIB, "memory.kmem.tcp.limit_in_bytes", str(16 * MIB)),
    ("memory.useHierarchy", True, "memory.use_hierarchy", "1"),
    ("cpu.shares", 333, "cpu.shares", "333"), ("cpu.quota", 25000, "cpu.cfs_quota_us", "25000"), ("cpu.period", 50000, "cpu.cfs_period_us", "50000"),
    ("cpu.cpus", "0", "cpuset.cpus", "0"), ("cpu.mems", "0", "cpuset.mems", "0"), ("cpu.quota", -1, "cpu.cfs_quota_us", "-1"),
    ("pids.limit", 77, "pids.max", "77"), ("pids.limit", -1, "pids.max", "max"),
    ("blockIO.weight", 300, "blkio.bfq.weight|blkio.weight", "300"), ("blockIO.leafWeight", 200, "blkio.leaf_weight", "200"),
]


@pytest.mark.parametrize("key, value, file, want", TABLE, ids=[f"{t[0]}={t[1]}" for t in TABLE])
def test_value(oci, key, value, file, want):
    needs(file.split(".")[0])
    present = [f for f in file.split("|") if any(os.path.exists(f"{V1[f.split('.')[0]]}/{d}{f}") for d in ("", oci.machine.parent.lstrip("/") + "/"))]
    box = oci.create("sleep 99", {"linux.resources." + key: value}, command="run", flags=["-d"], rc=None)
    if box.created.rc:
        oci.refused(box.created, "cgroup|" + file.split(".")[0])
        pytest.skip(f"the kernel refuses it: {box.created.err.strip()[-150:]}")
    present = [f for f in file.split("|") if os.path.exists(f"{box.cgroup(f.split('.')[0])}/{f}")]
    if not present:
        pytest.skip(f"the kernel has no file {file}")
    assert box.value(present[0]).splitlines()[0] == want


def test_memory_swap(oci):
    """swap is memory and swap together; written after the limit, whatever is larger."""
    needs("memory")
    box = oci.start(edits={"linux.resources.memory": {"limit": 64 * MIB, "swap": 96 * MIB}})
    if not os.path.exists(box.cgroup("memory") + "/memory.memsw.limit_in_bytes"):
        pytest.skip("the kernel does not account swap")
    assert box.value("memory.memsw.limit_in_bytes") == str(96 * MIB)


def test_memory_swap_below_the_limit(oci):
    needs("memory")
    oci.refused(oci.run("true", {"linux.resources.memory": {"limit": 64 * MIB, "swap": 32 * MIB}}, rc=None), "memory|swap")


def test_memory_kernel_is_gone_from_the_kernel(oci):
    """memory.kernel is deprecated and has no effect; it must not be an error."""
    needs("memory")
    assert oci.out("echo ok", {"linux.resources.memory": {"limit": 64 * MIB, "kernel": 32 * MIB}}) == "ok"


def test_memory_limit_is_felt(oci):
    needs("memory")
    done = oci.run("head -c 60000000 /dev/zero | tail -c 60000000 > /dev/null; echo end", {"linux.resources.memory": {"limit": 16 * MIB, "swap": 16 * MIB}}, rc=None)
    assert "illed" in done.err or done.rc == 137 or "out of memory" in done.err.lower()


@pytest.mark.parametrize("flags", [[], ["--keep"]])
def test_memory_limit_too_small_to_begin(oci, flags):
    """Nothing can run in one page: what the kernel kills before the program is there has not been a container."""
    needs("memory")
    done = oci.run("true", {"linux.resources.memory": {"limit": 4096, "swap": 4096}}, rc=1, flags=flags if oci.machine.name != "crun" else [])
    oci.refused(done, "memory|died during set-up: signal 9")
    assert not oci.ours or not os.path.exists(f"{oci.root}/{oci.ids[-1]}")


@pytest.mark.reference_lacks("checkBeforeUpdate is of runtime-spec 1.1, later than these releases")
def test_memory_check_before_update(oci):
    """A limit below what is in use is refused when it is asked for."""
    needs("memory")
    box = oci.start("head -c 30000000 /dev/zero > /dev/shm/x; echo full; sleep 99", mounts=[], edits={"linux.resources.memory": {"limit": 256 * MIB, "checkBeforeUpdate": True}})
    box.output("full")
    done = oci("update", "-r", "-", box.id, stdin='{"memory": {"limit": 4194304, "checkBeforeUpdate": true}}', rc=None)
    oci.refused(done, "memory")
    assert box.value("memory.limit_in_bytes") == str(256 * MIB)


def test_cpu_quota_and_period_together(oci):
    needs("cpu")
    box = oci.start(edits={"linux.resources.cpu": {"quota": 5000, "period": 1000000}})
    assert (box.value("cpu.cfs_quota_us"), box.value("cpu.cfs_period_us")) == ("5000", "1000000")


def test_cpu_burst(oci):
    needs("cpu")
    box = oci.create("sleep 99", {"linux.resources.cpu": {"quota": 50000, "period": 100000, "burst": 20000}}, command="run", flags=["-d"])
    if not oci.ours and box.value("cpu.cfs_burst_us") == "0":
        pytest.xfail("burst is of runtime-spec 1.1, later than these releases")
    assert box.value("cpu.cfs_burst_us") == "20000"


def test_cpu_idle(oci):
    needs("cpu")
    box = oci.create("sleep 99", {"linux.resources.cpu": {"idle": 1}}, command="run", flags=["-d"])
    if not oci.ours and box.value("cpu.idle") == "0":
        pytest.xfail("idle is not written by this release")
    assert box.value("cpu.idle") == "1"


def test_cpu_realtime(oci):
    needs("cpu")
    if not os.path.exists(V1["cpu"] + "/cpu.rt_runtime_us"):
        pytest.skip("the kernel has no realtime budgets of groups")
    with realtime_budget(oci):
        box = oci.start(edits={"linux.resources.cpu": {"realtimeRuntime": 2000, "realtimePeriod": 500000}})
        assert (box.value("cpu.rt_runtime_us"), box.value("cpu.rt_period_us")) == ("2000", "500000")
        oci.delete_all()


def test_cpuset_is_felt(oci):
    needs("cpuset")
    assert oci.out(["probe", "affinity"], {"linux.resources.cpu": {"cpus": "1"}}) == "1"


def test_pids_limit_is_felt(oci):
    needs("pids")
    done = oci.run("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; echo forked", {"linux.resources.pids": {"limit": 5}}, rc=None)
    assert "fork" in done.err.lower()


def test_pids_limit_zero(oci):
    """0 has meant no limit, and in later versions of the specification nothing but zero: never something else."""
    needs("pids")
    done = oci.run("cat /sys/fs/cgroup/pids/pids.max 2>/dev/null; echo ok", {"linux.resources.pids": {"limit": 0}}, rc=None)
    assert done.out.endswith("ok\n") or done.rc != 0


def disk():
    """Numbers of a whole disk that can be limited."""
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "zram", "ram")):
            with open(f"/sys/block/{name}/dev", encoding="ascii") as file:
                major, minor = file.read().strip().split(":")
            return int(major), int(minor)
    pytest.skip("the machine has no disk")


THROTTLES = [("throttleReadBpsDevice", "blkio.throttle.read_bps_device"), ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
             ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"), ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device")]


@pytest.mark.parametrize("key, file", THROTTLES)
def test_block_io_throttle(oci, key, file):
    needs("blkio")
    if not os.path.exists(f"{V1['blkio']}/{file}"):
        pytest.skip("the kernel has no throttling of block devices")
    major, minor = disk()
    box = oci.start(edits={"linux.resources.blockIO": {key: [{"major": major, "minor": minor, "rate": 7340032}]}})
    assert box.value(file) == f"{major}:{minor} 7340032"


def test_block_io_weight_device(oci):
    needs("blkio")
    major, minor = disk()
    box = oci.create("sleep 99", {"linux.resources.blockIO": {"weightDevice": [{"major": major, "minor": minor, "weight": 400, "leafWeight": 300}]}}, command="run", flags=["-d"], rc=None)
    if box.created.rc:
        oci.refused(box.created, "blkio|weight")
        pytest.skip(f"the kernel has no weights of devices: {box.created.err.strip()[-150:]}")
    files = [f for f in ("blkio.bfq.weight_device", "blkio.weight_device") if os.path.exists(f"{box.cgroup('blkio')}/{f}")]
    if not files:
        pytest.skip("the kernel has no weights of devices")
    assert f"{major}:{minor} 400" in box.value(files[0])


def test_unified_on_version_1_is_refused(oci):
    """The specification: unified needs version 2; a runtime must not ignore it."""
    if set(V1) == {""}:
        pytest.skip("version 2 alone: see the guest's tests")
    oci.refused(oci.run("true", {"linux.resources.unified": {"memory.max": "100000000"}}, rc=None), "unified|cgroup")


@pytest.mark.parametrize("key, value, word", [("cpu.shares", -5, "shares|integer|negative"), ("cpu.quota", 5, "cpu|quota"), ("cpu.period", 1, "cpu|period"), ("cpu.cpus", "100-200", "cpuset|cpus"),
                                              ("cpu.cpus", "x", "cpuset|cpus"), ("cpu.mems", "99", "cpuset|mems"), ("memory.swappiness", 2000, "swappiness"), ("memory.limit", 4096, "memory")])
def test_value_bad(oci, key, value, word):
    """Refused by the kernel or by the runtime: either way the value's name is told and nothing runs."""
    done = oci.run("true", {"linux.resources." + key: value}, rc=None)
    if key == "memory.limit" and done.rc:
        return  # a container that cannot hold its own first process may die without a word
    oci.refused(done, word)


# --- controllers that this machine has but does not mount: in a mount namespace of their own ---

EXTRA = """
import os, subprocess, sys
controllers = sys.argv[1].split(" "); argv = sys.argv[2:]
for name in controllers:
    path = "/sys/fs/cgroup/" + name
    os.makedirs(path, exist_ok=True)
    if subprocess.run(["mount", "-t", "cgroup", "-o", name, "cgroup", path]).returncode:
        sys.exit(os.rmdir(path))
os.execvp(argv[0], argv)
"""


class with_controllers:
    """Runs the runtime where further controllers are mounted; "a,b" is one hierarchy of both."""

    def __init__(self, oci, *names):
        self.oci, self.names = oci, names

    def __enter__(self):
        if self.oci.machine.name == "crun":
            pytest.skip("already in a mount namespace of its own")
        with open("/proc/cgroups", encoding="ascii") as file:
            known = {line.split()[0]: line.split()[1] for line in file if line[0] != "#"}
        for name in ",".join(self.names).split(","):
            if name in V1 or name not in known:
                pytest.skip(f"the kernel has no free controller '{name}'")
        self.space = subprocess.Popen(["unshare", "--mount", "--propagation", "private", sys.executable, "-c", EXTRA, " ".join(self.names), "sleep", "999"])
        self.oci.machine.popens[self.space.pid] = self.space
        for _ in range(500):
            with open(f"/proc/{self.space.pid}/cmdline", "rb") as file:
                if file.read().startswith(b"sleep"):
                    break
            if self.space.poll() is not None:
                pytest.skip("mounting them failed")
            time.sleep(0.01)
        argv = Oci.argv
        self.oci.argv = lambda *args: ["nsenter", f"--mount=/proc/{self.space.pid}/ns/mnt", *argv(self.oci, *args)]
        return self

    def read(self, path):
        with open(f"/proc/{self.space.pid}/root/sys/fs/cgroup/{path}", encoding="ascii") as file:
            return file.read().strip()

    def __exit__(self, *unused):
        self.oci.delete_all()
        self.oci.machine.reap()  # what is not buried holds its group
        for name in self.names:
            top = f"/proc/{self.space.pid}/root/sys/fs/cgroup/{name}{self.oci.machine.parent}"
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
            # A hierarchy whose groups are not quite gone outlives its mount: it is mounted again until it goes.
            free = f"grep -q '^{name.split(',')[0]}[[:space:]]0' /proc/cgroups"
            line = f"""cd /; for i in 1 2 3 4 5; do umount /sys/fs/cgroup/{name}; for j in 1 2 3 4 5 6; do {free} && exit; sleep 0.1; done
                       mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}; done; umount /sys/fs/cgroup/{name}"""
            subprocess.run(["nsenter", f"--mount=/proc/{self.space.pid}/ns/mnt", "sh", "-c", line], check=False)
            subprocess.run(["rmdir", f"/sys/fs/cgroup/{name}"], check=False)
        self.space.kill()
        self.space.wait()
        self.oci.machine.popens.pop(self.space.pid)


def page_sizes():
    try:
        return [int(n.split("-")[1][:-2]) for n in os.listdir("/sys/kernel/mm/hugepages")]
    except OSError:
        return []


def test_controllers_that_share_a_hierarchy(oci):
    """As most machines mount cpu,cpuacct: one directory, and a link for each name in the container."""
    if 2048 not in page_sizes():
        pytest.skip("the kernel has no huge pages of 2 MB")
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]}
    with with_controllers(oci, "hugetlb,perf_event") as view:
        out = oci.out("cd /sys/fs/cgroup; readlink hugetlb; readlink perf_event; cat hugetlb/hugetlb.2MB.limit_in_bytes; grep hugetlb /proc/self/cgroup",
                      {"linux.resources.hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
                      mounts=[{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}, mount]).splitlines()
        assert out[:3] == ["hugetlb,perf_event", "hugetlb,perf_event", "4194304"] and out[3].split(":")[2].startswith(oci.machine.parent)
        box = oci.start()
        assert view.read(f"hugetlb,perf_event{oci.machine.parent}/{box.id}/cgroup.procs").split() == [str(box.pid)]


def test_hugepage_limits(oci):
    if 2048 not in page_sizes():
        pytest.skip("the kernel has no huge pages of 2 MB")
    with with_controllers(oci, "hugetlb") as view:
        box = oci.start(edits={"linux.resources.hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]})
        assert view.read(f"hugetlb{oci.machine.parent}/{box.id}/hugetlb.2MB.limit_in_bytes") == "4194304"


@pytest.mark.parametrize("size", ["3MB", "x", "2M"])
def test_hugepage_limits_bad(oci, size):
    with with_controllers(oci, "hugetlb"):
        oci.refused(oci.run("true", {"linux.resources.hugepageLimits": [{"pageSize": size, "limit": 1}]}, rc=None), "huge")


def test_network_class_id(oci):
    with with_controllers(oci, "net_cls") as view:
        box = oci.start(edits={"linux.resources.network": {"classID": 1048577}})
        assert view.read(f"net_cls{oci.machine.parent}/{box.id}/net_cls.classid") == "1048577"


def test_network_priorities(oci):
    with with_controllers(oci, "net_prio") as view:
        box = oci.start(edits={"linux.resources.network": {"priorities": [{"name": "lo", "priority": 7}]}})
        assert "lo 7" in view.read(f"net_prio{oci.machine.parent}/{box.id}/net_prio.ifpriomap").splitlines()


def test_perf_event_has_a_group(oci):
    """Nothing to set there: being in a group of its own is what profilers select a container by."""
    with with_controllers(oci, "perf_event") as view:
        box = oci.start()
        assert view.read(f"perf_event{oci.machine.parent}/{box.id}/cgroup.procs").split() == [str(box.pid)]


def test_network_without_the_controller(oci):
    """Refused, or told: never silently without effect. The references go on without a word."""
    if "net_cls" in V1:
        pytest.skip("the controller is there")
    if not oci.ours:
        pytest.skip("the references differ")
    oci.refused(oci.run("true", {"linux.resources.network": {"classID": 5}}, rc=None), "net_cls")


def test_rdma(oci):
    with open("/proc/cgroups", encoding="ascii") as file:
        there = any(line.split()[0] == "rdma" for line in file)
    done = oci.run("echo ok", {"linux.resources.rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 100}}}, rc=None)
    if there:
        assert done.out == "ok\n" or oci.refused(done, "rdma")
        return
    if not oci.ours:
        pytest.skip("the references differ where the kernel has no rdma controller")
    oci.refused(done, "rdma")


def test_cpuset_cgroups_of_new_parents_are_filled(oci):
    """A new parent directory has no CPUs at first, and a process cannot join below it."""
    needs("cpuset")
    out = oci.out("echo ok; cat /proc/self/cgroup | grep cpuset", {"linux.cgroupsPath": f"{oci.machine.parent}/a/b/c"})
    assert out.startswith("ok")
    for top in set(V1.values()):
        for folder in ("a/b", "a"):
            if os.path.exists(f"{top}{oci.machine.parent}/{folder}"):
                os.rmdir(f"{top}{oci.machine.parent}/{folder}")
