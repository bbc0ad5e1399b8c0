# SPDX-License-Identifier: Apache-2.0
"""Flags of run that set limits, seen where the kernel keeps them."""
import os
import subprocess

import pytest

from harness.container import cgroup_value, inspect, pid_of, proc_status

V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def has_v1(controller, *files):
    return any(os.path.exists(f"/sys/fs/cgroup/{controller}/{file}") for file in files)


def value(cli, flags, controller, v1, v2):
    return cgroup_value(cli.out("run", "-d", *flags, "busybox", "sleep", "99"), controller, v1, v2)


@pytest.mark.parametrize("flags, period, quota", [(("--cpu-period", "50000"), "50000", None), (("--cpu-period", "20000", "--cpu-quota", "10000"), "20000", "10000"),
                                                  (("--cpu-quota", "30000"), "100000", "30000")])
def test_cpu_period_and_quota(cli, flags, period, quota):
    ident = cli.out("run", "-d", *flags, "busybox", "sleep", "99")
    if V2:
        assert cgroup_value(ident, "cpu", "", "cpu.max") == f"{quota or 'max'} {period}"
    else:
        assert cgroup_value(ident, "cpu", "cpu.cfs_period_us", "") == period
        assert cgroup_value(ident, "cpu", "cpu.cfs_quota_us", "") == (quota or "-1")


@pytest.mark.parametrize("flags, text", [(("--cpu-period", "10"), "CPU cfs period can not be less than 1ms"), (("--cpu-quota", "10"), "CPU cfs quota can not be less than 1ms"),
                                         (("--cpus", "1", "--cpu-quota", "5000"), "Nano CPUs and CPU Quota cannot both be set"),
                                         (("--cpus", "1", "--cpu-period", "5000"), "Nano CPUs and CPU Period cannot both be set")])
def test_cpu_bad_values(cli, flags, text):
    assert text in cli("run", *flags, "busybox", "true", rc=125).err


def test_cpuset_cpus(cli):
    assert cli.out("run", "--rm", "--cpuset-cpus", "0", "busybox", "nproc") == "1"
    ident = cli.out("run", "-d", "--cpuset-cpus", "0", "busybox", "sleep", "99")
    assert cgroup_value(ident, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert proc_status(pid_of(cli, ident))["Cpus_allowed_list"] == "0"


def test_cpuset_mems(cli):
    ident = cli.out("run", "-d", "--cpuset-mems", "0", "busybox", "sleep", "99")
    assert cgroup_value(ident, "cpuset", "cpuset.mems", "cpuset.mems") == "0"
    assert inspect(cli, ident)["HostConfig"]["CpusetMems"] == "0"


@pytest.mark.parametrize("flag, bad, text", [("--cpuset-cpus", "0-99", "Requested CPUs are not available - requested 0-99, available: 0"),
                                             ("--cpuset-cpus", "one", "Invalid value one for cpuset cpus"), ("--cpuset-mems", "77", "Requested memory nodes are not available - requested 77, available: 0"),
                                             ("--cpuset-mems", "1-0", "Invalid value 1-0 for cpuset mems")])
def test_cpuset_bad_values(cli, flag, bad, text):
    assert text in cli("run", flag, bad, "busybox", "true", rc=125).err


@pytest.fixture
def realtime_parent():
    """A group that has real-time runtime to give on."""
    if not has_v1("cpu", "cpu.rt_runtime_us"):
        pytest.skip("this kernel has no real-time groups")
    name = f"caisson-rt-{os.getpid()}"
    path = f"/sys/fs/cgroup/cpu/{name}"
    os.makedirs(path)
    try:
        with open(path + "/cpu.rt_runtime_us", "w", encoding="ascii") as file:
            file.write("50000")
        yield "/" + name
    finally:
        subprocess.run(["find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*/{name}*", "-exec", "rmdir", "{}", ";"],
                       stderr=subprocess.DEVNULL, check=False)


def test_cpu_rt(cli, realtime_parent):
    ident = cli.out("run", "-d", "--cgroup-parent", realtime_parent, "--cpu-rt-period", "500000", "--cpu-rt-runtime", "20000", "busybox", "sleep", "99")
    assert cgroup_value(ident, "cpu", "cpu.rt_runtime_us", "") == "20000"
    assert cgroup_value(ident, "cpu", "cpu.rt_period_us", "") == "500000"
    cli("rm", "-f", ident)


def test_cpu_rt_bad_values(cli):
    failed = cli("run", "--cpu-rt-period", "1000", "--cpu-rt-runtime", "2000", "busybox", "true", rc=125)
    if has_v1("cpu", "cpu.rt_runtime_us"):
        assert "cpu real-time runtime cannot be higher than cpu real-time period" in failed.err
    else:
        assert "kernel does not support CPU real-time scheduler" in failed.err or "cannot be higher" in failed.err


def test_memory_swappiness(cli):
    done = cli("run", "-d", "--memory-swappiness", "33", "busybox", "sleep", "99")
    if V2:
        assert "WARNING: Your kernel does not support memory swappiness capabilities" in done.err
    else:
        assert cgroup_value(done.out.strip(), "memory", "memory.swappiness", "") == "33" and not done.err
    assert "valid memory swappiness range is 0-100" in cli("run", "--memory-swappiness", "101", "busybox", "true", rc=125).err.replace("Valid", "valid")


def test_oom_kill_disable(cli):
    done = cli("run", "-d", "--oom-kill-disable", "-m", "32m", "busybox", "sleep", "99")
    if V2:
        assert "WARNING: Your kernel does not support OomKillDisable. OomKillDisable discarded." in done.err
        return
    assert "oom_kill_disable 1" in cgroup_value(done.out.strip(), "memory", "memory.oom_control", "")
    done = cli("run", "-d", "--oom-kill-disable", "busybox", "sleep", "99")
    assert "WARNING: OOM killer is disabled for the container, but no memory limit is set" in done.err


def test_oom_score_adj(cli):
    ident = cli.out("run", "-d", "--oom-score-adj", "350", "busybox", "sleep", "99")
    with open(f"/proc/{pid_of(cli, ident)}/oom_score_adj", encoding="ascii") as file:
        assert file.read().strip() == "350"
    assert cli.out("exec", ident, "cat", "/proc/1/oom_score_adj") == "350"
    assert "range for oom score adj is [-1000, 1000]" in cli("run", "--oom-score-adj", "1001", "busybox", "true", rc=125).err


def test_kernel_memory(cli, api):
    """Gone from Linux and from the API: later clients are taken at their word, earlier ones are told."""
    cli("run", "--rm", "--kernel-memory", "64m", "busybox", "true")
    body = {"Image": "busybox", "HostConfig": {"KernelMemory": 64 << 20}}
    assert api.ok("POST", "/v1.42/containers/create", body)["Warnings"] == []
    assert "Your kernel does not support kernel memory limit capabilities" in api.ok("POST", "/v1.41/containers/create", body)["Warnings"][0]


def test_blkio_weight(cli):
    done = cli("run", "-d", "--blkio-weight", "300", "busybox", "sleep", "99")
    if V2 or has_v1("blkio", "blkio.weight", "blkio.bfq.weight"):
        for v1 in ("blkio.bfq.weight", "blkio.weight"):
            if V2 or has_v1("blkio", v1):
                seen = cgroup_value(done.out.strip(), "blkio", v1, "io.bfq.weight" if V2 else "")
                assert seen.split()[-1] in ("300", "2929")
                return
    assert "WARNING: Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded." in done.err
    assert inspect(cli, done.out.strip())["HostConfig"]["BlkioWeight"] == 0
    assert "ange of blkio weight is from 10 to 1000" in cli("run", "--blkio-weight", "9", "busybox", "true", rc=125).err


@pytest.fixture
def disk():
    """A real disk: a limit on it hurts nobody but the container."""
    with open("/proc/partitions", encoding="ascii") as file:
        for line in file.read().splitlines()[2:]:
            major, minor, size, name = line.split()
            if int(size) and os.path.exists(f"/sys/block/{name}") and os.path.exists(f"/dev/{name}"):
                return f"/dev/{name}", f"{major}:{minor}"
    pytest.skip("this machine has no disk with a node in /dev")


def test_blkio_weight_device(cli, disk):
    done = cli("run", "-d", "--blkio-weight-device", f"{disk[0]}:300", "busybox", "sleep", "99")
    if V2 or has_v1("blkio", "blkio.weight_device", "blkio.bfq.weight_device"):
        file = next(f for f in ("blkio.bfq.weight_device", "blkio.weight_device", "") if V2 or has_v1("blkio", f))
        assert f"{disk[1]} " in cgroup_value(done.out.strip(), "blkio", file, "io.bfq.weight")
    else:
        assert "WARNING: Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded." in done.err
    assert "invalid weight for device" in cli("run", "--blkio-weight-device", f"{disk[0]}:9", "busybox", "true", rc=125).err


THROTTLES = [("--device-read-bps", "1mb", "blkio.throttle.read_bps_device", "rbps", "1048576"), ("--device-write-bps", "2mb", "blkio.throttle.write_bps_device", "wbps", "2097152"),
             ("--device-read-iops", "77", "blkio.throttle.read_iops_device", "riops", "77"), ("--device-write-iops", "88", "blkio.throttle.write_iops_device", "wiops", "88")]


@pytest.mark.parametrize("flag, rate, v1, word, number", THROTTLES)
def test_device_throttle(cli, disk, flag, rate, v1, word, number):
    seen = value(cli, (flag, f"{disk[0]}:{rate}"), "blkio", v1, "io.max")
    assert seen.startswith(disk[1] + " ") and (f"{word}={number}" in seen if V2 else seen.split()[1] == number)
    assert "bad format for device path" in cli("run", flag, "disk:1", "busybox", "true", rc=125).err


def test_device_write_bps_slows(cli, disk, tmp_path):
    """A write past the cache takes as long as its rate says."""
    done = cli("run", "--rm", "--device-write-bps", f"{disk[0]}:1mb", "-v", f"{tmp_path}:/data", "busybox", "sh", "-c",
               "dd if=/dev/zero of=/data/x bs=64k count=32 oflag=direct 2>/dev/null || echo no; cut -d' ' -f1 /proc/uptime; "
               "dd if=/dev/zero of=/data/x bs=64k count=32 oflag=direct 2>/dev/null; cut -d' ' -f1 /proc/uptime").out.split()
    if done[0] == "no":
        pytest.skip("no direct writes here")
    assert float(done[-1]) - float(done[-2]) > 1.2


def test_update_block_limits(cli, disk, api):
    ident = cli.out("run", "-d", "--device-read-bps", f"{disk[0]}:1mb", "busybox", "sleep", "99")
    api.ok("POST", f"/containers/{ident}/update", {"BlkioDeviceReadBps": [{"Path": disk[0], "Rate": 3 << 20}], "BlkioDeviceWriteIOps": [{"Path": disk[0], "Rate": 55}]})
    assert str(3 << 20) in cgroup_value(ident, "blkio", "blkio.throttle.read_bps_device", "io.max")
    assert "55" in cgroup_value(ident, "blkio", "blkio.throttle.write_iops_device", "io.max")
    host = inspect(cli, ident)["HostConfig"]
    assert host["BlkioDeviceReadBps"] == [{"Path": disk[0], "Rate": 3 << 20}] and host["BlkioDeviceWriteIOps"][0]["Rate"] == 55
    assert api.post(f"/containers/{ident}/update", {"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}]}).status == 400


def test_device_cgroup_rule(cli):
    """A node that is made inside works only where a rule allows the device."""
    if not os.path.exists("/dev/loop0"):
        pytest.skip("this machine has no loop devices")
    script = "mknod /tmp/n b 7 0 && head -c0 /tmp/n"
    assert cli("run", "--rm", "--device-cgroup-rule", "b 7:* rwm", "busybox", "sh", "-c", script).rc == 0
    assert cli("run", "--rm", "--device-cgroup-rule", "b 7:0 r", "busybox", "sh", "-c", script).rc == 0
    assert "Operation not permitted" in cli("run", "--rm", "busybox", "sh", "-c", script, rc=1).err
    assert "Operation not permitted" in cli("run", "--rm", "--device-cgroup-rule", "b 7:1 rwm", "busybox", "sh", "-c", script, rc=1).err
    assert "invalid device cgroup format" in cli("run", "--device-cgroup-rule", "c 1:3", "busybox", "true", rc=125).err


@pytest.mark.skipif(V2 or has_v1("memory", "memory.memsw.limit_in_bytes"), reason="this kernel counts swap")
def test_missing_swap_limit(cli):
    assert "WARNING: Your kernel does not support swap limit capabilities" in cli("run", "--rm", "-m", "32m", "busybox", "true").err
