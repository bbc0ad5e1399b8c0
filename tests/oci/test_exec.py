# SPDX-License-Identifier: Apache-2.0
"""exec: a further process in a running container."""
import json
import os
import subprocess

import pytest

from harness.oci import line_of
from harness.shell import wait_for


@pytest.fixture
def box(oci):
    return oci.start()


def process(**more):
    return {"args": ["sh", "-c", "id -u"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"], **more}


def by_file(oci, box, document, *flags, **options):
    path = oci.dir + "/process.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file)
    return oci("exec", "--process", path, *flags, box.id, **options)


# --- output and codes ---

def test_output(box):
    done = box.exec("echo out; echo err >&2")
    assert (done.out, done.err) == ("out\n", "err\n")


def test_stdin(box):
    assert box.exec("cat", stdin="words").out == "words"


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 255])
def test_exit_code(box, code):
    box.exec(f"exit {code}", rc=code)


def test_exit_code_of_a_signal(box):
    box.exec("kill -9 $$", rc=137)


@pytest.mark.parametrize("argv, code", [(["no-such-program"], (127, 255, 1)), (["/no/such/program"], (127, 255, 1)), (["/etc/passwd"], (126, 255, 1)), (["/etc"], (126, 255, 1))])
def test_exit_code_of_a_program_that_cannot_be_run(oci, box, argv, code):
    """runc answers 255, crun 1; ours what a shell would: 127 for missing, 126 for not executable."""
    done = oci("exec", box.id, *argv, rc=None)
    oci.refused(done, argv[0], "no such file|not found" if code[0] == 127 else "denied|is a directory")
    assert done.rc in (code[:2] if oci.ours else code), done


def test_exit_code_of_an_error_of_the_runtime(oci, box):
    done = oci("exec", "--cwd", "/etc/passwd", box.id, "true", rc=None)
    assert done.rc in (255, 126, 1) and done.err


@pytest.mark.parametrize("state", ["stopped", "created"])
def test_state_that_does_not_fit(oci, state):
    other = oci.create()
    if state == "stopped":
        other.start()
        oci("kill", other.id, "KILL")
        other.wait_status("stopped")
        oci.refused(oci("exec", other.id, "true", rc=None), "stopped|not running")
        return
    # runc and crun let a process into a container that is created.
    assert oci("exec", other.id, "echo", "ok", rc=None).out == "ok\n"


def test_no_command(oci, box):
    oci.refused(oci("exec", box.id, rc=None), "command|argument|args")


# --- flags ---

def test_flags_end_at_the_id(oci, box):
    assert oci("exec", box.id, "echo", "--cwd", "-t", "--", "x").out == "--cwd -t -- x\n"


def test_cwd(oci, box):
    assert box.exec("pwd", flags=["--cwd", "/tmp"]).out == "/tmp\n"
    assert box.exec("pwd").out == "/\n"


def test_cwd_of_the_container_is_the_default(oci):
    other = oci.start(edits={"process.cwd": "/tmp"})
    assert other.exec("pwd").out == "/tmp\n"


def test_env(oci, box):
    out = box.exec("echo $A $B; env | grep -c ^PATH=", flags=["--env", "A=1", "--env", "B=x y"], env={"LEAK": "1"}).out
    assert out == "1 x y\n1\n"
    assert "LEAK" not in box.exec("env", env={"LEAK": "1"}).out


def test_env_of_the_container_is_kept(oci):
    other = oci.start(edits={"process.env": ["PATH=/bin", "FROM=config"]})
    assert other.exec("echo $FROM").out == "config\n"
    assert other.exec("echo $FROM", flags=["-e", "FROM=flag"]).out == "flag\n"


@pytest.mark.parametrize("flag, want", [(["--user", "1000"], ("1000", "0")), (["--user", "1000:2000"], ("1000", "2000")), (["-u", "5:6"], ("5", "6")), ([], ("0", "0")), (["--user", ""], ("0", "0"))])
def test_user(box, flag, want):
    uid, gid = box.exec("id -u; id -g", flags=flag).out.split()
    assert uid == want[0] and gid in (want[1], want[0])


@pytest.mark.parametrize("value", ["x", "1000:x", "-5", "1:2:3", pytest.param("99999999999", marks=pytest.mark.reference_lacks("both cut the number"))])
def test_user_bad(oci, box, value):
    oci.refused(oci("exec", f"--user={value}", box.id, "true", rc=None), "user|uid|gid|invalid")


@pytest.mark.parametrize("flag", ["--additional-gids", "-g"])
def test_additional_gids(oci, box, flag):
    if oci.machine.name == "crun":
        pytest.skip("not a flag of crun's")
    out = box.exec("id -G", flags=[flag, "10", flag, "20"])
    assert {"10", "20"} <= set(out.out.split()), out


def caps(text):
    return {line.split(":")[0]: int(line.split()[1], 16) for line in text.splitlines() if line.startswith("Cap")}


def test_cap(oci, box):
    """--cap adds to what the container has."""
    plain = caps(box.exec("cat /proc/self/status").out)
    more = caps(box.exec("cat /proc/self/status", flags=["--cap", "CAP_NET_ADMIN", "--cap", "CAP_SYS_PTRACE"]).out)
    assert not plain["CapEff"] >> 12 & 1 and more["CapEff"] >> 12 & 1 and more["CapBnd"] >> 19 & 1
    assert more["CapEff"] & plain["CapEff"] == plain["CapEff"] and more["CapInh"] == 0


def test_capabilities_are_the_containers(oci):
    other = oci.start(edits={f"process.capabilities.{k}": ["CAP_KILL"] for k in ("bounding", "effective", "permitted")})
    got = caps(other.exec("cat /proc/self/status").out)
    assert got["CapEff"] == got["CapBnd"] == 1 << 5 and got["CapInh"] == got["CapAmb"] == 0


def test_no_new_privs(oci):
    other = oci.start(edits={"process.noNewPrivileges": False})
    assert other.exec("grep NoNewPrivs /proc/self/status").out.split()[1] == "0"
    assert other.exec("grep NoNewPrivs /proc/self/status", flags=["--no-new-privs"]).out.split()[1] == "1"


def test_no_new_privs_of_the_container(oci, box):
    assert box.exec("grep NoNewPrivs /proc/self/status").out.split()[1] == "1"


def test_rlimits_and_oom_score_of_the_container(oci):
    other = oci.start(edits={"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 199}], "process.oomScoreAdj": 300})
    assert other.exec("ulimit -n; cat /proc/self/oom_score_adj").out.split() == ["99", "300"]


def test_umask_of_the_container(oci):
    other = oci.start(edits={"process.user.umask": 0o077})
    out = other.exec("umask").out.strip()
    assert out == "0077" or (not oci.ours and out == "0022")


def test_preserve_fds(oci, box):
    with open(oci.dir + "/file", "w", encoding="ascii") as file:
        file.write("content")
    wrap = ["sh", "-c", f'exec "$@" 3<{oci.dir}/file 4</dev/null', "sh"]
    done = oci("exec", "--preserve-fds", "1", box.id, "sh", "-c", "cat <&3; echo; probe descriptors", wrap=wrap)
    assert done.out.splitlines()[0] == "content" and [line.split()[0] for line in done.out.splitlines()[1:]] == ["0", "1", "2", "3"]


def test_no_descriptors_leak(oci, box):
    done = oci("exec", box.id, "probe", "descriptors", wrap=["sh", "-c", 'exec "$@" 3</etc/passwd 7</ 8</proc', "sh"])
    assert [line.split()[0] for line in done.out.splitlines()] == ["0", "1", "2"]


def test_pid_file(oci, box):
    path = oci.dir + "/pid"
    oci("exec", "-d", "--pid-file", path, box.id, "sleep", "98", output=oci.dir + "/log")
    with open(path, encoding="ascii") as file:
        pid = int(file.read())
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        assert file.read() == b"sleep\x0098\x00"


def test_detach(oci, box):
    oci("exec", "--detach", box.id, "sh", "-c", "echo there > /tmp/x; sleep 98", output=oci.dir + "/log")
    wait_for(lambda: box.exec("cat /tmp/x", rc=None).out == "there\n", "the detached process runs")


def test_detach_error_is_told(oci, box):
    done = oci("exec", "-d", box.id, "no-such-program", output=oci.dir + "/log", rc=None)
    oci.refused(done, "no-such-program")


def test_ends_with_the_container(oci, box):
    child = oci.popen("exec", box.id, "sleep", "98", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: "sleep 98" in oci("ps", box.id, rc=None).out or "sleep 98" in box.exec("ps").out, "it runs")
    box("delete", "--force")
    assert child.wait(10) == 137
    child.stdout.close()


def test_signals_are_passed_on(oci, box):
    child = oci.popen("exec", box.id, "sh", "-c", "trap 'echo got; exit 4' TERM; echo ready; while :; do sleep 0.02; done", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert line_of(child) == "ready"
        child.terminate()
        assert line_of(child) == "got" and child.wait(10) == 4
    finally:
        child.kill()
        child.stdout.close()
        child.wait()


# --- --process ---

def test_process_file(oci, box):
    assert by_file(oci, box, process()).out == "0\n"


def test_process_file_everything(oci, box):
    document = process(args=["sh", "-c", "id -u; id -g; id -G; pwd; echo $X; umask; ulimit -n; grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status"], cwd="/tmp",
                       user={"uid": 11, "gid": 12, "additionalGids": [13], "umask": 0o27}, env=["PATH=/bin", "X=value"], rlimits=[{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
                       noNewPrivileges=True, capabilities={"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]})
    out = by_file(oci, box, document).out.split("\n")
    assert out[:2] == ["11", "12"] and set(out[2].split()) == {"12", "13"} and out[3:5] == ["/tmp", "value"] and out[5] in ("0027", "0022")
    assert out[6] == "50" and out[7].endswith("1") and int(out[8].split()[1], 16) == 1 << 5
    if oci.ours:
        assert out[5] == "0027"


@pytest.mark.parametrize("change, word", [({"args": []}, "args"), ({"cwd": "tmp"}, "cwd"), ({"args": "x"}, "args"), ({"user": {"uid": -1}}, "uid|user")])
def test_process_file_bad(oci, box, change, word):
    oci.refused(by_file(oci, box, process(**change), rc=None), word)


def test_process_file_missing(oci, box):
    oci.refused(oci("exec", "--process", "/nowhere.json", box.id, rc=None), "/nowhere.json", "no such file")


def test_process_file_not_json(oci, box):
    with open(oci.dir + "/bad.json", "w", encoding="ascii") as file:
        file.write("{")
    oci.refused(oci("exec", "--process", oci.dir + "/bad.json", box.id, rc=None), "bad.json|json|process")


def test_process_file_short_flag(oci, box):
    with open(oci.dir + "/p.json", "w", encoding="utf-8") as file:
        json.dump(process(), file)
    assert oci("exec", "-p", oci.dir + "/p.json", box.id).out == "0\n"


# --- paused containers, cgroups ---

@pytest.mark.skipif(not os.path.isdir("/sys/fs/cgroup/freezer") and not os.path.exists("/sys/fs/cgroup/cgroup.controllers"), reason="no freezer")
def test_paused_is_refused(oci, box):
    box("pause")
    done = oci("exec", box.id, "true", rc=None, timeout=10)
    box("resume")
    oci.refused(done, "paused")


def test_ignore_paused(oci, box):
    """The process is made and waits frozen like the others."""
    if oci.machine.name == "crun":
        pytest.skip("not a flag of crun's")
    box("pause")
    child = oci.popen("exec", "--ignore-paused", box.id, "echo", "thawed", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        import time
        time.sleep(0.2)
        assert child.poll() is None
        box("resume")
        assert child.wait(10) == 0 and child.stdout.read() == b"thawed\n"
    finally:
        child.kill()
        child.stdout.close()
        child.wait()


def test_cgroup(oci):
    """--cgroup PATH: a group below the container's; on version 1 with a controller before the colon."""
    box = oci.start()
    if not os.path.isdir("/sys/fs/cgroup/pids"):
        pytest.skip("version 2 alone: see the guest's tests")
    os.mkdir(box.cgroup("pids") + "/inner")
    flag = "inner" if oci.machine.name == "crun" else "pids:inner"
    if oci.machine.name == "crun":
        pytest.skip("crun makes the group itself, in all hierarchies")
    out = box.exec("grep :pids: /proc/self/cgroup", flags=["--cgroup", flag]).out
    assert out.strip().endswith(box.id + "/inner")


@pytest.mark.parametrize("path", ["pids:../..", "nosuch:/", "pids:nosuch"])
def test_cgroup_bad(oci, box, path):
    if oci.machine.name == "crun":
        pytest.skip("crun makes the group itself, in all hierarchies")
    oci.refused(oci("exec", "--cgroup", path, box.id, "true", rc=None), "cgroup")


# --- what it must share with the container ---

def test_sees_the_same_files_and_processes(box):
    box.exec("echo x > /tmp/shared; hostname > /tmp/name")
    assert box.exec("cat /tmp/shared /tmp/name; ps | grep -c 'sleep 99'").out.split()[:2] == ["x", "box"]


def test_parallel(oci, box):
    children = [oci.popen("exec", box.id, "sh", "-c", f"sleep 0.1; echo {i}", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for i in range(12)]
    assert [c.communicate()[0] for c in children] == [f"{i}\n".encode() for i in range(12)]
    assert all(c.returncode == 0 for c in children)


def test_after_the_program_was_deleted_from_the_bundle(oci, box):
    """exec needs neither config.json nor the bundle's path."""
    os.rename(box.bundle + "/config.json", box.bundle + "/gone.json")
    assert box.exec("echo ok").out == "ok\n"


def test_large_output(box):
    assert len(box.exec("head -c 3000000 /dev/zero | tr '\\0' x").out) == 3000000
