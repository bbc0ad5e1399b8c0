# SPDX-License-Identifier: Apache-2.0
"""ps, pause, resume, update, events, list, spec, features, checkpoint, restore, and the flags before the command."""
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from harness.oci import cgroup_mounts, line_of, namespaces
from harness.shell import run, wait_for

MIB = 1 << 20
V1 = "memory" in cgroup_mounts()
ONLY_V1 = pytest.mark.skipif(not V1, reason="reads files of version 1; the guest's tests read those of version 2")


# --- ps ---

def test_ps_table(oci):
    box = oci.start("sleep 98 & sleep 97")
    out = oci("ps", box.id).out
    assert "PID" in out.splitlines()[0] and str(box.pid) in out
    assert oci.machine.name == "crun" or "sleep 98" in out


def test_ps_json(oci):
    box = oci.start("sleep 98 & echo ready; wait")
    box.output("ready")
    pids = json.loads(oci("ps", "--format", "json", box.id).out)
    assert box.pid in pids and len(pids) == 2 and all(os.path.exists(f"/proc/{p}") for p in pids)


def test_ps_json_short_flag(oci):
    box = oci.start()
    assert json.loads(oci("ps", "-f", "json", box.id).out) == [box.pid]


def test_ps_with_arguments_of_ps(oci):
    if oci.machine.name == "crun":
        pytest.skip("not with crun")
    box = oci.start("sleep 98")
    out = oci("ps", box.id, "-o", "pid,args").out
    assert str(box.pid) in out and "sleep 98" in out and len(out.splitlines()) >= 2


def test_ps_bad_format(oci):
    box = oci.start()
    oci.refused(oci("ps", "--format", "xml", box.id, rc=None), "format|xml")


def test_ps_shows_exec(oci):
    box = oci.start()
    oci("exec", "-d", box.id, "sleep", "96", output=oci.dir + "/log")
    assert len(json.loads(oci("ps", "--format", "json", box.id).out)) == 2


# --- pause, resume ---

def test_pause_and_resume(oci):
    box = oci.start("i=0; while :; do i=$((i+1)); echo $i; sleep 0.005; done")
    box.output("3\n")
    box("pause")
    assert box.status == "paused"
    first = box.output()
    time.sleep(0.1)
    assert box.output() == first
    box("resume")
    assert box.status == "running"
    wait_for(lambda: box.output() != first, "it goes on")


def test_pause_twice(oci):
    box = oci.start()
    box("pause")
    done = oci("pause", box.id, rc=None)
    if done.rc:
        oci.refused(done, "paused|not running")
    assert box.status == "paused"


def test_resume_of_a_running_one(oci):
    box = oci.start()
    done = oci("resume", box.id, rc=None)
    if oci.ours:
        oci.refused(done, "not paused|running")
    assert box.status == "running"


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_pause_of_a_stopped_one(oci, command):
    box = oci.start("true")
    box.wait_status("stopped")
    oci.refused(oci(command, box.id, rc=None), "stopped|not running|not paused")


def test_kill_of_a_paused_one(oci):
    """KILL ends it though it is frozen: at once, or when it is resumed."""
    box = oci.start()
    box("pause")
    oci("kill", box.id, "KILL")
    if oci("state", box.id).out and box.status != "stopped":
        oci("resume", box.id, rc=None)
    box.wait_status("stopped")


def test_delete_force_of_a_paused_one(oci):
    box = oci.start()
    box("pause")
    box("delete", "--force", timeout=10)
    assert oci.machine.cgroups() == [] or not oci.ours


# --- update ---

@ONLY_V1
@pytest.mark.parametrize("flag, value, file, want", [
    ("--memory", str(80 * MIB), "memory.limit_in_bytes", str(80 * MIB)), ("--memory-reservation", str(40 * MIB), "memory.soft_limit_in_bytes", str(40 * MIB)),
    ("--cpu-share", "500", "cpu.shares", "500"), ("--cpu-quota", "30000", "cpu.cfs_quota_us", "30000"), ("--cpu-period", "60000", "cpu.cfs_period_us", "60000"),
    ("--cpuset-cpus", "0", "cpuset.cpus", "0"), ("--cpuset-mems", "0", "cpuset.mems", "0"), ("--pids-limit", "55", "pids.max", "55"),
    ("--blkio-weight", "200", "blkio.bfq.weight", "200")])
def test_update_flag(oci, flag, value, file, want):
    box = oci.start()
    if not os.path.exists(f"{box.cgroup(file.split('.')[0])}/{file}"):
        pytest.skip(f"the kernel has no file {file}")
    oci("update", flag, value, box.id)
    assert box.value(file).splitlines()[0] == want


@ONLY_V1
@pytest.mark.parametrize("flag, value, file, want", [("--cpu-burst", "10000", "cpu.cfs_burst_us", "10000"), ("--cpu-idle", "1", "cpu.idle", "1")])
@pytest.mark.reference_lacks("flags of later releases")
def test_update_later_flag(oci, flag, value, file, want):
    box = oci.start(edits={"linux.resources.cpu": {"quota": 50000, "period": 100000}})
    oci("update", flag, value, box.id)
    assert box.value(file) == want


@ONLY_V1
def test_update_memory_and_swap_together(oci):
    box = oci.start(edits={"linux.resources.memory": {"limit": 32 * MIB, "swap": 32 * MIB}})
    if not os.path.exists(box.cgroup("memory") + "/memory.memsw.limit_in_bytes"):
        pytest.skip("the kernel does not account swap")
    oci("update", "--memory", str(64 * MIB), "--memory-swap", str(128 * MIB), box.id)
    assert (box.value("memory.limit_in_bytes"), box.value("memory.memsw.limit_in_bytes")) == (str(64 * MIB), str(128 * MIB))
    oci("update", "--memory", str(16 * MIB), "--memory-swap", str(16 * MIB), box.id)
    assert (box.value("memory.limit_in_bytes"), box.value("memory.memsw.limit_in_bytes")) == (str(16 * MIB), str(16 * MIB))


RESOURCES = {"memory": {"limit": 48 * MIB, "reservation": 24 * MIB}, "cpu": {"shares": 222, "quota": 44000, "period": 88000, "cpus": "0"}, "pids": {"limit": 33}}


@ONLY_V1
@pytest.mark.parametrize("how", ["file", "-"])
def test_update_resources(oci, how):
    box = oci.start()
    with open(oci.dir + "/r.json", "w", encoding="utf-8") as file:
        json.dump(RESOURCES, file)
    oci("update", "--resources", "-" if how == "-" else oci.dir + "/r.json", box.id, stdin=json.dumps(RESOURCES) if how == "-" else None)
    got = [box.value(f) for f in ("memory.limit_in_bytes", "memory.soft_limit_in_bytes", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuset.cpus", "pids.max")]
    assert got == [str(48 * MIB), str(24 * MIB), "222", "44000", "88000", "0", "33"]


@ONLY_V1
def test_update_leaves_the_rest(oci):
    box = oci.start(edits={"linux.resources.pids": {"limit": 44}, "linux.resources.cpu": {"shares": 300}})
    devices = box.value("devices.list")
    oci("update", "--memory", str(80 * MIB), box.id)
    assert (box.value("pids.max"), box.value("cpu.shares"), box.value("devices.list")) == ("44", "300", devices)


@pytest.mark.parametrize("args, stdin", [(["-r", "-"], "{"), (["-r", "-"], '{"memory": "x"}'), (["-r", "/nowhere.json"], None), (["--memory", "x"], None), (["--cpu-quota", "1"], None)])
def test_update_bad(oci, args, stdin):
    box = oci.start()
    oci.refused(oci("update", *args, box.id, rc=None, stdin=stdin), "json|resources|nowhere|memory|cpu|invalid|syntax")
    assert box.status == "running"


def test_update_of_a_stopped_one(oci):
    box = oci.start("true")
    box.wait_status("stopped")
    done = oci("update", "--pids-limit", "5", box.id, rc=None)
    if oci.ours:
        oci.refused(done, "stopped|not running")


# --- events ---

def stats(oci, box):
    return json.loads(oci("events", "--stats", box.id).out)


def test_events_stats(oci):
    if oci.machine.name == "crun":
        pytest.skip("crun has no events")
    box = oci.start("head -c 10000000 /dev/zero > /dev/shm/x; sleep 1 & echo ready; wait; sleep 99", {"linux.resources.memory": {"limit": 256 * MIB}, "linux.resources.pids": {"limit": 50}})
    box.output("ready")
    told = stats(oci, box)
    assert told["type"] == "stats" and told["id"] == box.id
    data = told["data"]
    assert data["pids"]["current"] >= 2 and data["pids"]["limit"] == 50
    assert data["memory"]["usage"]["usage"] > 10000000 and data["memory"]["usage"]["limit"] == 256 * MIB
    assert data["cpu"]["usage"]["total"] > 0 and "throttling" in data["cpu"]
    assert {"blkio", "hugetlb", "intel_rdt"} & set(data) or "blkio" in data


def test_events_interval(oci):
    if oci.machine.name == "crun":
        pytest.skip("crun has no events")
    box = oci.start()
    child = oci.popen("events", "--interval", "1s", box.id, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        first = json.loads(line_of(child))
        assert first["type"] == "stats"
        box("delete", "--force")
        assert child.wait(10) is not None
    finally:
        child.kill()
        child.stdout.close()
        child.wait()


@ONLY_V1
def test_events_oom(oci):
    if oci.machine.name == "crun":
        pytest.skip("crun has no events")
    box = oci.start("until [ -e /tmp/go ]; do sleep 0.02; done; head -c 60000000 /dev/zero | tail -c 60000000 > /dev/null; sleep 99", {"linux.resources.memory": {"limit": 16 * MIB, "swap": 16 * MIB}})
    child = oci.popen("events", "--interval", "60s", box.id, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        box.exec("touch /tmp/go")
        end = time.monotonic() + 15
        os.set_blocking(child.stdout.fileno(), False)
        text = b""
        while b'"oom"' not in text and time.monotonic() < end:
            text += child.stdout.read() or b""
            time.sleep(0.02)
        kinds = [json.loads(line)["type"] for line in text.splitlines() if line.endswith(b"}")]
        assert "oom" in kinds, text
    finally:
        child.kill()
        child.stdout.close()
        child.wait()


def test_events_of_a_stopped_one(oci):
    if oci.machine.name == "crun":
        pytest.skip("crun has no events")
    box = oci.start("true")
    box.wait_status("stopped")
    oci.refused(oci("events", "--stats", box.id, rc=None), "stopped|not running")


@pytest.mark.parametrize("interval", ["0s", "-1s", "x"])
def test_events_bad_interval(oci, interval):
    if oci.machine.name == "crun":
        pytest.skip("crun has no events")
    box = oci.start()
    oci.refused(oci("events", f"--interval={interval}", "--stats", box.id, rc=None) if interval == "x" else oci("events", f"--interval={interval}", box.id, rc=None), "interval|duration")


# --- list ---

def test_list_json(oci):
    boxes = {oci.start(edits={"annotations": {"n": "1"}}).id: "running", oci.create().id: "created"}
    rows = json.loads(oci("list", "--format", "json").out)
    assert {r["id"]: r["status"] for r in rows} == boxes
    assert all(r["pid"] > 0 and r["bundle"] == f"{oci.dir}/{r['id']}" and r["created"] for r in rows)


def test_list_table(oci):
    box = oci.start()
    head, row = oci("list").out.splitlines()
    assert re.split(r"\s{2,}", head.strip())[:3] == ["ID", "PID", "STATUS"] or head.split()[:2] == ["NAME", "PID"]
    assert row.split()[:3] == [box.id, str(box.pid), "running"]


def test_list_quiet(oci):
    ids = sorted([oci.start().id, oci.create().id])
    assert sorted(oci("list", "-q").out.split()) == ids
    assert sorted(oci("list", "--quiet").out.split()) == ids


def test_list_empty(oci):
    assert oci("list", "-q").out == ""
    assert json.loads(oci("list", "--format", "json").out or "null") in (None, [])


def test_list_without_a_root(oci):
    """A directory that is not there yet holds no containers."""
    oci.flags = ["--root", oci.dir + "/fresh"]
    assert oci("list", "-q").out == ""


def test_list_shows_stopped_ones(oci):
    box = oci.start("true")
    box.wait_status("stopped")
    assert [r["status"] for r in json.loads(oci("list", "-f", "json").out)] == ["stopped"]


def test_list_survives_damaged_state(oci):
    """One broken entry does not hide the others."""
    box = oci.start()
    os.makedirs(oci.root + "/broken")
    with open(oci.root + "/broken/state.json", "w", encoding="ascii") as file:
        file.write("{")
    try:
        assert box.id in oci("list", "-q", rc=None).out.split()
    finally:
        subprocess.run(["rm", "-rf", oci.root + "/broken"], check=True)


def test_list_bad_format(oci):
    if oci.machine.name == "crun":
        pytest.skip("crun falls back to the table")
    oci.start()
    oci.refused(oci("list", "--format", "xml", rc=None), "format|xml")


# --- spec ---

def test_spec_is_a_bundle_that_runs(oci):
    bundle = oci.bundle("{}")
    os.unlink(bundle + "/config.json")
    oci("spec", "--bundle", bundle) if oci.machine.name != "crun" else oci("spec", cwd=bundle)
    with open(bundle + "/config.json", encoding="utf-8") as file:
        config = json.load(file)
    assert config["process"]["args"] == ["sh"] and config["process"]["terminal"] is True and config["root"]["path"] == "rootfs"
    config["process"]["terminal"], config["process"]["args"] = False, ["echo", "ran"]
    config["linux"]["cgroupsPath"] = f"{oci.machine.parent}/spec"
    with open(bundle + "/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
    assert oci("run", "--bundle", bundle, oci.known(bundle)).out == "ran\n"


def test_spec_in_the_working_directory(oci):
    os.makedirs(oci.dir + "/here")
    oci("spec", cwd=oci.dir + "/here")
    assert os.listdir(oci.dir + "/here") == ["config.json"]


def test_spec_does_not_overwrite(oci):
    os.makedirs(oci.dir + "/here")
    with open(oci.dir + "/here/config.json", "w", encoding="ascii") as file:
        file.write("mine")
    oci.refused(oci("spec", cwd=oci.dir + "/here", rc=None), "config.json", "exist")
    with open(oci.dir + "/here/config.json", encoding="ascii") as file:
        assert file.read() == "mine"


def test_spec_rootless(oci):
    os.makedirs(oci.dir + "/here")
    oci("spec", "--rootless", cwd=oci.dir + "/here")
    with open(oci.dir + "/here/config.json", encoding="utf-8") as file:
        config = json.load(file)
    kinds = {n["type"] for n in config["linux"]["namespaces"]}
    assert "user" in kinds and "network" not in kinds
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 0, "size": 1}] and config["linux"]["gidMappings"][0]["size"] == 1
    assert not config["linux"].get("resources")


# --- features ---

FEATURES = pytest.mark.reference_lacks("crun of this release has no features command; runc's document is of a draft")


def features(oci):
    if oci.machine.name == "crun":
        pytest.skip("no features command in this release")
    return json.loads(oci("features").out)


def test_features_versions(oci):
    told = features(oci)
    assert told["ociVersionMin"].startswith("1.0") and re.match(r"1\.\d+\.\d+", told["ociVersionMax"])


def test_features_hooks(oci):
    assert set(features(oci)["hooks"]) == {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}


def test_features_mount_options(oci):
    told = set(features(oci)["mountOptions"])
    assert {"ro", "rw", "nosuid", "nodev", "noexec", "bind", "rbind", "private", "rslave", "rro", "tmpcopyup", "noatime"} <= told
    if oci.ours:
        assert {"idmap", "ridmap", "nosymfollow", "rnosymfollow"} <= told


def test_features_linux(oci):
    linux = features(oci)["linux"]
    assert {"mount", "pid", "network", "uts", "ipc", "user", "cgroup"} <= set(linux["namespaces"])
    assert {"CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"} <= set(linux["capabilities"])
    assert linux["cgroup"]["v1"] is True and linux["cgroup"]["v2"] is True and "systemd" in linux["cgroup"] and "systemdUser" in linux["cgroup"]
    assert "enabled" in linux["apparmor"] and "enabled" in linux["selinux"]
    if oci.ours:
        assert "time" in linux["namespaces"] and "rdma" in linux["cgroup"]


def test_features_seccomp(oci):
    seccomp = features(oci)["linux"]["seccomp"]
    assert seccomp["enabled"] is True
    assert {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRAP", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"} <= set(seccomp["actions"])
    assert {"SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"} == set(seccomp["operators"])
    assert "SCMP_ARCH_X86_64" in seccomp["archs"]
    if oci.ours:
        assert "SECCOMP_FILTER_FLAG_LOG" in seccomp["knownFlags"] and set(seccomp["supportedFlags"]) <= set(seccomp["knownFlags"])


@FEATURES
def test_features_of_later_versions(oci):
    linux = features(oci)["linux"]
    assert linux["mountExtensions"]["idmap"]["enabled"] is True and "enabled" in linux["intelRdt"] and "enabled" in linux["netDevices"]


def test_features_annotations(oci):
    told = features(oci)
    assert isinstance(told.get("annotations", {}), dict) and all(isinstance(v, str) for v in told.get("annotations", {}).values())
    assert isinstance(told.get("potentiallyUnsafeConfigAnnotations", []), list)


# --- checkpoint, restore ---

@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_checkpoint_without_criu_is_a_clear_error(oci, command):
    """Where criu is missing, or the kernel cannot: an error, and the container runs on."""
    if oci.machine.name == "crun":
        pytest.skip("built without")
    if shutil.which("criu"):
        pytest.skip("criu is installed: see the tests of checkpoints")
    if command == "checkpoint":
        box = oci.start()
        oci.refused(oci("checkpoint", "--image-path", oci.dir + "/image", box.id, rc=None), "criu")
        assert box.status == "running"
    else:
        os.makedirs(oci.dir + "/image")
        bundle = oci.bundle(oci.config(args="sleep 99"))
        oci.refused(oci("restore", "-d", "--image-path", oci.dir + "/image", "--bundle", bundle, oci.known(bundle), rc=None, output=bundle + "/log"), "criu|image|inventory")


# --- the flags before the command ---

def test_version(oci):
    first = oci("--version").out.splitlines()
    assert re.match(rf"{oci.machine.name} version \S+", first[0]) and any(line.startswith("spec:") for line in first)
    assert oci("-v").out.splitlines()[0] == first[0]


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["help"]])
def test_help(oci, args):
    done = oci(*args, rc=None)
    if args == ["help"] and oci.machine.name == "crun":
        pytest.skip("not with crun")
    assert done.rc == 0 and "create" in done.out and "delete" in done.out


@pytest.mark.parametrize("command", ["create", "start", "run", "exec", "kill", "delete", "state", "ps", "pause", "resume", "update", "events", "list", "spec", "features", "checkpoint", "restore"])
def test_help_of_a_command(oci, command):
    done = oci(command, "--help", rc=None)
    if not oci.ours and done.rc:
        pytest.skip("not in this release")
    assert done.rc == 0 and command in done.out


@pytest.mark.parametrize("args", [["no-such-command"], ["--no-such-flag", "list"], ["run", "--no-such-flag", "x"], ["exec", "--no-such-flag", "x"], ["create"], ["run"], ["start"], ["state"], ["kill"], ["delete"]])
def test_usage_errors(oci, args):
    done = oci(*args, rc=None)
    if args == ["no-such-command"] and oci.machine.name == "runc":
        pytest.skip("runc prints its help and is content")
    oci.refused(done)


def test_root_is_made(oci):
    oci.flags = [f"--root={oci.dir}/deep/er/root"]
    bundle = oci.bundle(oci.config(args="echo ok"))
    assert oci("run", "--bundle", bundle, oci.known(bundle)).out == "ok\n"


def test_root_keeps_containers_apart(oci):
    box = oci.start()
    flags, oci.flags = oci.flags, ["--root", oci.dir + "/other"]
    oci.refused(oci("state", box.id, rc=None), "does not exist")
    oci.flags = flags
    assert box.status == "running"


def test_root_that_cannot_be_made(oci):
    oci.flags = ["--root", "/etc/passwd/root"]
    bundle = oci.bundle(oci.config(args="true"))
    oci.refused(oci("run", "--bundle", bundle, "x", rc=None), "/etc/passwd", "not a directory")


def test_root_is_closed_to_others(oci):
    oci.start()
    assert os.stat(oci.root).st_mode & 0o066 == 0


def failing(oci, *flags):
    bundle = oci.bundle(oci.config(args=["no-such-program"]))
    oci.flags = ["--root", oci.root, *flags]
    return oci("run", "--bundle", bundle, oci.known(bundle), rc=None)


def test_log_file(oci):
    """The error is in the log, and on standard error."""
    done = failing(oci, "--log", oci.dir + "/log")
    assert done.rc
    with open(oci.dir + "/log", encoding="utf-8") as file:
        assert "no-such-program" in file.read()


def test_log_format_json(oci):
    """One object in each line, with the fields that engines read: level, msg, time."""
    assert failing(oci, "--log", oci.dir + "/log", "--log-format", "json").rc
    with open(oci.dir + "/log", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    errors = [r for r in rows if r["level"] == "error"]
    assert errors and "no-such-program" in errors[-1]["msg"] and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", errors[-1]["time"])


def test_log_format_json_of_strange_bytes(oci):
    oci.flags = ["--root", oci.root, "--log", oci.dir + "/log", "--log-format", "json"]
    bundle = oci.bundle(oci.config(args=['no"such\\\n\tprögram']))
    assert oci("run", "--bundle", bundle, oci.known(bundle), rc=None).rc
    with open(oci.dir + "/log", encoding="utf-8") as file:
        assert any("such" in json.loads(line)["msg"] for line in file)


def test_log_is_appended_to(oci):
    with open(oci.dir + "/log", "w", encoding="ascii") as file:
        file.write("before\n")
    failing(oci, "--log", oci.dir + "/log")
    with open(oci.dir + "/log", encoding="utf-8") as file:
        text = file.read()
    assert text.startswith("before\n") and "no-such-program" in text


@pytest.mark.parametrize("flags", [["--log-format", "xml"], ["--log", "/nowhere/log"]])
def test_log_bad(oci, flags):
    oci.flags = ["--root", oci.root, *flags]
    bundle = oci.bundle(oci.config(args="true"))
    done = oci("run", "--bundle", bundle, oci.known(bundle), rc=None)
    oci.refused(done, "log")


def test_debug(oci):
    oci.flags = ["--root", oci.root, "--debug", "--log", oci.dir + "/log"]
    assert oci.out("echo ok") == "ok"
    assert os.path.exists(oci.dir + "/log")


def test_success_is_silent(oci):
    done = oci.run("true")
    assert done.err == ""


@pytest.mark.parametrize("value", ["true", "false", "auto"])
def test_rootless_flag(oci, value):
    if oci.machine.name == "crun":
        pytest.skip("crun sets it by itself")
    oci.flags = ["--root", oci.root, f"--rootless={value}"]
    bundle = oci.bundle(oci.config(args="echo ok"))
    done = oci("run", "--bundle", bundle, oci.known(bundle), rc=None)
    assert done.out == "ok\n" or value == "true", done


def test_systemd_cgroup_without_systemd_is_a_clear_error(oci):
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here")
    oci.flags = ["--root", oci.root, "--systemd-cgroup"]
    bundle = oci.bundle(oci.config({"linux.cgroupsPath": "system.slice:caisson:test"}, "true"))
    oci.refused(oci("run", "--bundle", bundle, oci.known(bundle), rc=None), "systemd")


@pytest.mark.reference_lacks("only some of runc's commands, and none of crun's")
@pytest.mark.parametrize("command", ["state", "list", "list --format json", "ps", "events --stats", "features"])
def test_output_that_cannot_be_written(oci, command):
    """Who asks must not take half an answer for the whole one."""
    box = oci.start()
    words = command.split() + ([] if command.startswith(("list", "features")) else [box.id])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(oci.argv(*words), stdout=full, stderr=subprocess.PIPE, timeout=30, check=False)
    assert done.returncode == 1 and b"write to the standard output: No space left on device" in done.stderr


def test_arguments_with_equals_and_blank(oci):
    bundle = oci.bundle(oci.config(args="echo ok"))
    assert oci("run", f"--bundle={bundle}", oci.known(bundle)).out == "ok\n"


def test_runs_of_programs_elsewhere(oci):
    """From another directory, by a link to the program, and with an empty environment."""
    link = oci.dir + "/runtime"
    os.symlink(oci.machine.program, link)
    bundle = oci.bundle(oci.config(args="echo ok"))
    assert run([link, "--root", oci.root, "run", "--bundle", bundle, oci.known(bundle)], env={}).out == "ok\n"


def test_without_stdio(oci):
    """Descriptors 0 to 2 closed: nothing of the runtime's own takes their place inside."""
    bundle = oci.bundle(oci.config(args="sleep 99"))
    ident = oci.known(bundle)
    run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *oci.argv("run", "-d", "--bundle", bundle, ident)], rc=None)
    done = oci("state", ident, rc=None)
    if done.rc == 0:
        pid = json.loads(done.out)["pid"]
        for fd in (0, 1, 2):
            target = os.readlink(f"/proc/{pid}/fd/{fd}") if os.path.exists(f"/proc/{pid}/fd/{fd}") else "/dev/null"
            assert target in ("/dev/null", "/null") or not oci.ours, target


def test_networkless_and_everything_shared(oci):
    """As little as possible: no namespaces but that of mounts, no resources, no capabilities named."""
    config = oci.config({"hostname": None, "linux.resources": None, "process.capabilities": None}, "echo ok")
    namespaces(config, without=["pid", "network", "ipc", "uts"])
    assert oci.out(config=config) == "ok"
