# SPDX-License-Identifier: Apache-2.0
"""`process` of config.json: what the first process of a container is given."""
import json
import os
import resource

import pytest

from harness.oci import namespaces, realtime_budget

SCHEDULER = pytest.mark.reference_lacks("process.scheduler is of runtime-spec 1.1, later than these releases")
IO_PRIORITY = pytest.mark.reference_lacks("process.ioPriority is of runtime-spec 1.1, later than these releases")
AFFINITY = pytest.mark.reference_lacks("process.execCPUAffinity is of runtime-spec 1.3, later than these releases")


def status(text):
    return {k: v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}


# --- args, env, cwd ---

@pytest.mark.parametrize("args", [["a"], ["a b", "c"], ["", "x", ""], ["*", "$HOME", "'", '"', "\\"], ["é", "日本"], ["x" * 100000], ["-c"] * 500])
def test_args_are_passed_as_they_are(oci, args):
    out = oci.run(["sh", "-c", 'for a in "$@"; do printf "<%s>" "$a"; done', "zero", *args]).out
    assert out == "".join(f"<{a}>" for a in args)


def test_args_first_is_looked_up_in_path(oci):
    def setup(bundle):
        os.mkdir(bundle + "/rootfs/opt")
        with open(bundle + "/rootfs/opt/tool", "w", encoding="ascii") as file:
            file.write("#!/bin/sh\necho \"$0\"\n")
        os.chmod(bundle + "/rootfs/opt/tool", 0o755)
    assert oci.out(["tool"], {"process.env": ["PATH=/nowhere:/opt:/bin"]}, setup=setup) == "/opt/tool"


def test_args_with_a_slash_are_not_looked_up(oci):
    assert oci.out(["./sh", "-c", "echo ok"], {"process.cwd": "/bin"}) == "ok"


def test_args_missing_program(oci):
    oci.refused(oci.run(["no-such-program"], rc=None), "no-such-program", "no such file|not found")


def test_args_program_without_execute_bit(oci):
    oci.refused(oci.run(["/etc/passwd"], rc=None), "/etc/passwd", "permission denied")


def test_args_a_directory_as_program(oci):
    oci.refused(oci.run(["/bin"], rc=None), "/bin", "denied|is a directory")


def test_args_missing_interpreter(oci):
    def setup(bundle):
        with open(bundle + "/rootfs/script", "w", encoding="ascii") as file:
            file.write("#!/no/interpreter\n")
        os.chmod(bundle + "/rootfs/script", 0o755)
    oci.refused(oci.run(["/script"], rc=None, setup=setup), "/script", "no such file")


@pytest.mark.parametrize("args", [[], None])
def test_args_must_not_be_empty(oci, args):
    oci.refused(oci.run(None, {"process.args": args}, rc=None), "args")


@pytest.mark.parametrize("code", [0, 1, 7, 126, 127, 128, 255])
def test_args_exit_code_is_passed_on(oci, code):
    oci.run(f"exit {code}", rc=code)


@pytest.mark.parametrize("name, number", [("KILL", 9), ("TERM", 15), ("SEGV", 11)])
def test_args_death_by_signal_gives_128_and_its_number(oci, name, number):
    """The shell is a child: the first process of a pid namespace is immune to its own signals."""
    oci.run(config=namespaces(oci.config(args=f"kill -{name} $$"), without=["pid"]), rc=128 + number)


def test_env_is_what_the_config_says_and_nothing_else(oci):
    want = ["PATH=/bin", "A=1", "B=two words", "EMPTY=", "C=a=b"]
    got = oci.lines(["env"], {"process.env": want}, env={"LEAK": "x"})
    assert sorted(line for line in got if not line.startswith("HOME=")) == sorted(want)


def test_env_last_one_of_a_name_wins(oci):
    assert oci.out("echo $A", {"process.env": ["PATH=/bin", "A=1", "A=2"]}) == "2"


def test_env_home_comes_from_passwd(oci):
    """Not of the specification, but what images rely on."""
    assert oci.out("echo $HOME", {"process.user": {"uid": 1000, "gid": 1000}}) == "/home"
    assert oci.out("echo $HOME", {"process.env": ["PATH=/bin", "HOME=/x"]}) == "/x"


def test_env_missing(oci):
    assert oci.out(["/bin/echo", "ok"], {"process.env": None}) == "ok"


def test_cwd(oci):
    assert oci.out("pwd", {"process.cwd": "/tmp"}) == "/tmp"


def test_cwd_is_created(oci):
    assert oci.out("pwd", {"process.cwd": "/new/deep/dir"}) == "/new/deep/dir"


@pytest.mark.parametrize("cwd", ["", "tmp", "./tmp"])
def test_cwd_must_be_absolute(oci, cwd):
    oci.refused(oci.run("pwd", {"process.cwd": cwd}, rc=None), "cwd")


def test_cwd_that_is_a_file(oci):
    oci.refused(oci.run("pwd", {"process.cwd": "/etc/passwd"}, rc=None), "/etc/passwd", "not a directory")


def test_cwd_readable_only_by_the_user(oci):
    """The directory is entered as the user where root's rights do not do."""
    def setup(bundle):
        os.makedirs(bundle + "/rootfs/private")
        os.chown(bundle + "/rootfs/private", 1000, 1000)
        os.chmod(bundle + "/rootfs/private", 0o700)
    caps = {k: ["CAP_SETUID", "CAP_SETGID"] for k in ("bounding", "effective", "permitted")}
    assert oci.out("pwd", {"process.cwd": "/private", "process.user": {"uid": 1000, "gid": 1000}, "process.capabilities": caps}, setup=setup) == "/private"


# --- user ---

def test_user_uid_gid(oci):
    assert oci.out("echo $(id -u) $(id -g) $(id -G)", {"process.user": {"uid": 1234, "gid": 2345}}) == "1234 2345 2345"


def test_user_additional_gids(oci):
    out = oci.out("id -G", {"process.user": {"uid": 1000, "gid": 1000, "additionalGids": [10, 20, 2000000000]}})
    assert out.split()[0] == "1000" and set(out.split()) == {"1000", "10", "20", "2000000000"}


def test_user_groups_of_the_caller_do_not_leak(oci):
    out = oci.out("grep Groups: /proc/self/status", {"process.user": {"uid": 0, "gid": 0}})
    assert set(out.split()[1:]) <= {"0"}


@pytest.mark.parametrize("umask", [0o077, 0o000, 0o027])
def test_user_umask(oci, umask):
    assert oci.out("umask", {"process.user": {"uid": 0, "gid": 0, "umask": umask}}) == f"{umask:04o}"


def test_user_umask_default(oci):
    assert oci.out("umask") == "0022"


def test_user_username_is_for_other_platforms(oci):
    assert oci.out("id -u", {"process.user": {"uid": 5, "gid": 5, "username": "ContainerAdmin"}}) == "5"


def test_user_without_fields_is_root(oci):
    assert oci.out("id -u", {"process.user": {}}) == "0"


# --- rlimits ---

@pytest.mark.parametrize("name, row, soft, hard", [
    ("RLIMIT_NOFILE", "Max open files", 111, 222), ("RLIMIT_CORE", "Max core file size", 0, 0), ("RLIMIT_NPROC", "Max processes", 500, 600),
    ("RLIMIT_FSIZE", "Max file size", 1 << 20, 1 << 21), ("RLIMIT_STACK", "Max stack size", 1 << 22, 1 << 23), ("RLIMIT_CPU", "Max cpu time", 50, 60),
    ("RLIMIT_DATA", "Max data size", 1 << 30, 1 << 31), ("RLIMIT_AS", "Max address space", 1 << 31, 1 << 32), ("RLIMIT_LOCKS", "Max file locks", 10, 20),
    ("RLIMIT_SIGPENDING", "Max pending signals", 100, 200), ("RLIMIT_RSS", "Max resident set", 1 << 30, 1 << 31), ("RLIMIT_RTTIME", "Max realtime timeout", 1000, 2000),
    ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 8192), ("RLIMIT_MSGQUEUE", "Max msgqueue size", 1000, 2000), ("RLIMIT_NICE", "Max nice priority", 0, 0),
    ("RLIMIT_RTPRIO", "Max realtime priority", 0, 0)])
def test_rlimits(oci, name, row, soft, hard):
    line = oci.out(f"grep '^{row} ' /proc/self/limits", {"process.rlimits": [{"type": name, "soft": soft, "hard": hard}]})
    assert line.removeprefix(row).split()[:2] == [str(soft), str(hard)]


def test_rlimits_unlimited(oci):
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("the caller's own limit is not infinite")
    line = oci.out("grep '^Max file size ' /proc/self/limits", {"process.rlimits": [{"type": "RLIMIT_FSIZE", "soft": 2**64 - 1, "hard": 2**64 - 1}]})
    assert line.removeprefix("Max file size").split()[:2] == ["unlimited", "unlimited"]


@pytest.mark.parametrize("limits", [[{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}], [{"type": "NOFILE", "soft": 1, "hard": 1}],
                                    [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 5}]])
def test_rlimits_bad(oci, limits):
    oci.refused(oci.run("true", {"process.rlimits": limits}, rc=None), "rlimit|" + limits[0]["type"])


@pytest.mark.reference_lacks("both take the later one silently")
def test_rlimits_twice_the_same(oci):
    """The specification: a duplicated type is an error."""
    limit = {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}
    oci.refused(oci.run("true", {"process.rlimits": [limit, limit]}, rc=None), "RLIMIT_NOFILE")


# --- the rest ---

@pytest.mark.parametrize("value", [0, 100, 1000])
def test_oom_score_adj(oci, value):
    assert oci.out("cat /proc/self/oom_score_adj", {"process.oomScoreAdj": value}) == str(value)


def test_oom_score_adj_out_of_range(oci):
    oci.refused(oci.run("true", {"process.oomScoreAdj": 1001}, rc=None), "oom")


def test_oom_score_adj_not_given_is_inherited(oci):
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        assert oci.out("cat /proc/self/oom_score_adj") == file.read().strip()


@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges(oci, value):
    assert oci.out("grep NoNewPrivs /proc/self/status", {"process.noNewPrivileges": value}).split()[1] == str(int(value))


def lsm(name):
    try:
        with open("/sys/kernel/security/lsm", encoding="ascii") as file:
            return name in file.read().split(",")
    except OSError:
        return False


@pytest.mark.parametrize("name, key, value", [("apparmor", "process.apparmorProfile", "no-such-profile"), ("selinux", "process.selinuxLabel", "system_u:system_r:x_t:s0")])
def test_lsm_label_without_the_module_is_refused(oci, name, key, value):
    if lsm(name):
        pytest.skip(f"the kernel has {name}")
    oci.refused(oci.run("true", {key: value}, rc=None), name)


@pytest.mark.parametrize("key", ["process.apparmorProfile", "process.selinuxLabel", "linux.mountLabel"])
def test_lsm_label_that_is_empty(oci, key):
    assert oci.out("echo ok", {key: ""}) == "ok"


def test_apparmor_unconfined_needs_no_module(oci):
    """Engines write it where AppArmor is switched off for a container."""
    if not oci.ours:
        pytest.skip("the references differ")
    assert oci.out("echo ok", {"process.apparmorProfile": "unconfined"}) == "ok"


@pytest.mark.reference_lacks("ignores it silently where the kernel has no SELinux")
def test_mount_label_without_selinux_is_refused(oci):
    """Newer than what the references check: a label that cannot be applied is no label."""
    if lsm("selinux"):
        pytest.skip("the kernel has selinux")
    oci.refused(oci.run("true", {"linux.mountLabel": "system_u:object_r:x_t:s0"}, rc=None), "selinux|mountLabel")


NUMBERS = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5, "SCHED_DEADLINE": 6}


@SCHEDULER
@pytest.mark.parametrize("config, want", [
    ({"policy": "SCHED_OTHER", "nice": 5}, "policy=0 flags=0 nice=5 priority=0"),
    ({"policy": "SCHED_BATCH", "nice": 3}, "policy=3 flags=0 nice=3 priority=0"),
    ({"policy": "SCHED_IDLE"}, "policy=5 flags=0 nice=0 priority=0"),
    ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, "policy=0 flags=1 nice=0 priority=0")])
def test_scheduler(oci, config, want):
    assert oci.out(["probe", "scheduler"], {"process.scheduler": config}).startswith(want)


def realtime_possible():
    """Version 1 cpu cgroups without a realtime budget refuse realtime policies, and so may the container's limits."""
    return os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us")


@SCHEDULER
@pytest.mark.parametrize("policy", ["SCHED_FIFO", "SCHED_RR"])
def test_scheduler_realtime(oci, policy):
    """In the cgroup that the caller is in, for a cgroup of its own has no realtime budget at first."""
    edits = {"process.scheduler": {"policy": policy, "priority": 7}, "linux.resources.cpu": {"realtimeRuntime": 1000, "realtimePeriod": 1000000}}
    if realtime_possible():
        with realtime_budget(oci):
            assert oci.out(["probe", "scheduler"], edits).startswith(f"policy={NUMBERS[policy]} flags=0 nice=0 priority=7")
    else:
        del edits["linux.resources.cpu"]
        assert oci.out(["probe", "scheduler"], edits).startswith(f"policy={NUMBERS[policy]} flags=0 nice=0 priority=7")


@SCHEDULER
def test_scheduler_deadline(oci):
    edits = {"process.scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1000000, "deadline": 10000000, "period": 20000000}}
    out = oci.run(["probe", "scheduler"], edits, rc=None)
    if out.rc != 0:  # admission control of the machine may refuse
        oci.refused(out, "sched", "SCHED_DEADLINE|sched_setattr")
        pytest.skip("the kernel admits no deadline task here")
    assert out.out.strip() == "policy=6 flags=0 nice=0 priority=0 runtime=1000000 deadline=10000000 period=20000000"


@SCHEDULER
@pytest.mark.parametrize("config", [{"policy": "SCHED_NONSENSE"}, {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONSENSE"]}, {"policy": "SCHED_FIFO", "priority": 1000}])
def test_scheduler_bad(oci, config):
    oci.refused(oci.run("true", {"process.scheduler": config}, rc=None), "sched")


@IO_PRIORITY
@pytest.mark.parametrize("name, number", [("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3), ("IOPRIO_CLASS_RT", 1)])
def test_io_priority(oci, name, number):
    priority = 0 if number == 3 else 5
    assert oci.out(["probe", "ioprio"], {"process.ioPriority": {"class": name, "priority": priority}}) == str(number << 13 | priority)


@IO_PRIORITY
@pytest.mark.parametrize("config", [{"class": "IOPRIO_CLASS_NONSENSE", "priority": 1}, {"class": "IOPRIO_CLASS_BE", "priority": 8}])
def test_io_priority_bad(oci, config):
    oci.refused(oci.run("true", {"process.ioPriority": config}, rc=None), "ioprio")


@AFFINITY
def test_exec_cpu_affinity(oci):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU alone")
    first, second = sorted(os.sched_getaffinity(0))[:2]
    box = oci.start(edits={"process.execCPUAffinity": {"initial": str(first), "final": str(second)}})
    assert box.exec("probe", "affinity").out.split() == [str(second)]
    box2 = oci.start(edits={"process.execCPUAffinity": {"initial": f"{first}"}})
    assert str(first) in box2.exec("probe", "affinity").out.split()


@AFFINITY
@pytest.mark.parametrize("value", ["x", "1-", "999999"])
def test_exec_cpu_affinity_bad(oci, value):
    """Refused with the config, or at exec at the latest."""
    box = oci.create("sleep 99", {"process.execCPUAffinity": {"final": value}}, command="run", flags=["-d"], rc=None)
    done = box.created if box.created.rc else box.exec("true", rc=None)
    oci.refused(done, "affinity")


def test_command_line_is_for_windows(oci):
    """process.commandLine has no meaning here and is ignored."""
    assert oci.out("echo ok", {"process.commandLine": "cmd.exe"}) == "ok"


# --- what a process must not inherit ---

def test_descriptors_only_three(oci):
    lines = oci.lines(["probe", "descriptors"])
    assert [line.split()[0] for line in lines] == ["0", "1", "2"], lines


def test_signals_are_as_at_birth(oci):
    """Nothing ignored or blocked."""
    out = status(oci.run(["probe", "signals"]).out)
    assert int(out["SigBlk"], 16) == 0
    assert int(out["SigIgn"], 16) == 0


def test_stdin_is_passed(oci):
    assert oci.run(["cat"], stdin="some words").out == "some words"


def test_stdout_and_stderr_are_apart(oci):
    done = oci.run("echo one; echo two >&2")
    assert (done.out, done.err) == ("one\n", "two\n")


def test_session_of_its_own(oci):
    out = dict(pair.split("=") for pair in oci.out(["probe", "session"]).split())
    assert out["sid"] == "1" and out["pid"] == "1"


def test_process_missing_gives_a_container_that_cannot_start(oci):
    """process is optional in a config that is only created, but nothing can be started."""
    config = oci.config()
    del config["process"]
    box = oci.create(config=config, rc=None)
    done = box.created if box.created.rc else oci("start", box.id, rc=None)
    oci.refused(done, "process")
    assert json.dumps(config)
