# SPDX-License-Identifier: Apache-2.0
"""Known escapes of other engines, tried on running containers. Each test names the case it comes from."""
import hashlib
import os

import pytest

from harness.container import pid_of, proc_status
from harness.shell import BIN, run, wait_for


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture
def programs():
    """Our programs on the host, whose bytes must be the same afterwards."""
    names = [os.path.join(BIN, n) for n in sorted(os.listdir(BIN)) if n.startswith("caisson") and not n.endswith("_test")]
    before = {n: digest(n) for n in names if os.path.isfile(n)}
    yield
    assert before == {n: digest(n) for n in before}


def test_entrypoint_proc_self_exe(caisson, programs):
    """CVE-2019-5736: an entrypoint that is a link to /proc/self/exe must not give the runtime's file."""
    done = caisson("run", "--rm", "--entrypoint", "/proc/self/exe", "busybox", "echo", "x", rc=None)
    assert done.rc != 0 or done.out == "x\n"


def test_overwriting_the_runtime_during_exec(caisson, programs):
    """CVE-2019-5736: the container keeps trying to open the exe of whoever enters it for writing."""
    script = "while :; do for p in /proc/[0-9]*; do if [ $p != /proc/1 ] && (echo broken > $p/exe) 2>/dev/null; then echo WROTE $p; fi; done; done"
    ident = caisson.out("run", "-d", "busybox", "sh", "-c", script)
    for _ in range(20):
        caisson("exec", ident, "true", rc=None)
    assert "WROTE" not in caisson.out("logs", "--tail", "20", ident)


@pytest.mark.parametrize("number", range(3, 21))
def test_workdir_in_proc_self_fd(caisson, number):
    """CVE-2024-21626: no leaked directory to start in."""
    done = caisson("run", "--rm", "-w", f"/proc/self/fd/{number}", "busybox", "sh", "-c", "ls -d ../../etc/hostname ../../../etc; pwd", rc=None)
    assert done.rc != 0 and "/etc" not in done.out.replace("/etc/hostname", ""), done


def test_exec_workdir_in_proc_self_fd(caisson):
    ident = caisson.out("run", "-d", "busybox", "sleep", "99")
    for number in range(3, 21):
        assert caisson("exec", "-w", f"/proc/self/fd/{number}", ident, "pwd", rc=None).rc != 0


def test_no_foreign_descriptor_in_run_or_exec(caisson):
    """CVE-2016-9962, CVE-2024-21626: nothing but 0, 1, 2."""
    assert caisson.out("run", "--rm", "busybox", "sh", "-c", "ls /proc/1/fd; true").split() == ["0", "1", "2"]
    ident = caisson.out("run", "-d", "busybox", "sleep", "99")
    pid = pid_of(caisson, ident)
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    out = caisson.out("exec", ident, "sh", "-c", "ls -l /proc/self/fd")
    targets = [line.split(" -> ")[1] for line in out.splitlines() if " -> " in line]
    assert all(t.startswith(("pipe:", "/dev/null", "/proc/", "socket:")) for t in targets), targets


def test_exec_process_is_not_dumpable_by_the_container(caisson):
    """CVE-2016-9962: with ptrace, the container looks into every process that enters it; no host path may appear."""
    script = "while :; do for p in /proc/[0-9]*; do ls -l $p/fd $p/cwd $p/root 2>/dev/null; done | grep -E ' -> (/work|/usr/s?bin/caisson|.*/layers/|.*/containers/)' && echo HOST; done"
    ident = caisson.out("run", "-d", "--cap-add", "SYS_PTRACE", "busybox", "sh", "-c", script.replace("/work", os.path.dirname(BIN)))
    for _ in range(20):
        caisson("exec", ident, "true")
    assert "HOST" not in caisson.out("logs", "--tail", "20", ident)


def test_inheritable_capabilities_are_empty(caisson):
    """CVE-2022-24769, CVE-2022-29162."""
    ident = caisson.out("run", "-d", "--cap-add", "NET_ADMIN", "busybox", "sleep", "99")
    assert proc_status(pid_of(caisson, ident))["CapInh"] == "0" * 16
    for flags in ([], ["-u", "1000"], ["--privileged"]):
        line = caisson.out("exec", *flags, ident, "grep", "CapInh", "/proc/self/status")
        assert line.split()[-1] == "0" * 16, flags


def test_non_root_user_has_no_capabilities(caisson):
    out = caisson.out("run", "--rm", "-u", "1000", "busybox", "grep", "-E", "Cap(Eff|Prm|Amb)", "/proc/self/status")
    assert [line.split()[-1] for line in out.splitlines()] == ["0" * 16] * 3


@pytest.mark.parametrize("path", ["/proc", "/proc/self"])
def test_volume_over_proc_is_refused_or_harmless(caisson, tmp_path, path):
    """CVE-2019-16884, CVE-2023-27561: procfs cannot be replaced by a volume."""
    (tmp_path / "fake").write_text("x")
    done = caisson("run", "--rm", "-v", f"{tmp_path}:{path}", "busybox", "sh", "-c", f"ls {path}", rc=None)
    assert done.rc != 0 and path in done.err, done


def test_cgroup_release_agent(caisson):
    """CVE-2022-0492: no writable cgroup hierarchy, and none can be mounted."""
    script = """
mkdir -p /tmp/cg; mount -t cgroup -o rdma none /tmp/cg 2>/dev/null && echo MOUNTED
mount -t cgroup -o memory none /tmp/cg 2>/dev/null && echo MOUNTED
unshare -UrmC sh -c 'mount -t cgroup -o memory none /tmp/cg && echo MOUNTED' 2>/dev/null
for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent; do [ -e $f ] && (echo /x > $f) 2>/dev/null && echo WROTE $f; done
echo end"""
    assert caisson.out("run", "--rm", "busybox", "sh", "-c", script) == "end"


def test_mknod_of_devices_and_opening_them(caisson):
    """Device rules: a node may be made (CAP_MKNOD is granted), not opened."""
    script = """
for d in 'b 254 0' 'b 8 0' 'c 1 1' 'c 1 2' 'c 1 4' 'c 1 11' 'c 10 200'; do
  rm -f /tmp/d; mknod /tmp/d $d || { echo "no node $d"; continue; }
  (head -c 1 /tmp/d > /dev/null) 2>&1 | grep -q 'ot permitted' && echo refused || echo OPENED $d
done"""
    out = caisson.out("run", "--rm", "busybox", "sh", "-c", script)
    assert "OPENED" not in out and out.count("refused") + out.count("no node") == 7, out


def test_default_devices_can_be_used(caisson):
    caisson("run", "--rm", "busybox", "sh", "-c", "for d in null zero full random urandom; do head -c 1 /dev/$d > /dev/null || exit 1; done; echo x > /dev/null; : < /dev/ptmx")


@pytest.mark.parametrize("call, argv", [("mount", ["mount", "-t", "tmpfs", "t", "/tmp"]), ("umount", ["umount", "/proc"]), ("unshare", ["unshare", "-U", "true"]),
                                        ("unshare mount", ["unshare", "-m", "true"]), ("swapon", ["swapon", "/etc/passwd"]), ("sethostname", ["hostname", "x"]),
                                        ("clock_settime", ["date", "-s", "2001-01-01"]), ("pivot_root", ["pivot_root", "/", "/tmp"]), ("reboot", ["reboot", "-f"]),
                                        ("chroot is allowed", None)])
def test_refused_system_calls_by_command(caisson, call, argv):
    if argv is None:
        assert caisson.out("run", "--rm", "busybox", "chroot", "/", "echo", "ok") == "ok"
        return
    done = caisson("run", "--rm", "busybox", *argv, rc=None)
    assert done.rc != 0 or done.err, (call, done)  # date complains and goes on
    assert "ermitted" in done.err or "denied" in done.err or "unction not implemented" in done.err or done.err == "", (call, done)


PROBE = r"""
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static void probe(const char* name, long number, long a, long b, long c) {
  errno = 0;
  long r = syscall(number, a, b, c, 0, 0, 0);
  printf("%s %s\n", name, r == -1 ? strerrorname_np(errno) : "OK");
}
int main(void) {
  probe("keyctl", SYS_keyctl, 0, -3, 0);
  probe("add_key", SYS_add_key, 0, 0, 0);
  probe("request_key", SYS_request_key, 0, 0, 0);
  probe("bpf", SYS_bpf, 0, 0, 0);
  probe("perf_event_open", SYS_perf_event_open, 0, 0, 0);
  probe("userfaultfd", SYS_userfaultfd, 0, 0, 0);
  probe("io_uring_setup", SYS_io_uring_setup, 1, 0, 0);
  probe("kexec_load", SYS_kexec_load, 0, 0, 0);
  probe("init_module", SYS_init_module, 0, 0, 0);
  probe("open_by_handle_at", SYS_open_by_handle_at, -1, 0, 0);
  probe("unshare_userns", SYS_unshare, 0x10000000, 0, 0);
  probe("setns", SYS_setns, -1, 0, 0);
  probe("clone3", SYS_clone3, 0, 0, 0);
  probe("acct", SYS_acct, 0, 0, 0);
  probe("settimeofday", SYS_settimeofday, 0, 0, 0);
  probe("iopl", 172, 3, 0, 0);
  probe("newer", 700, 0, 0, 0);
  probe("getpid", SYS_getpid, 0, 0, 0);
  return 0;
}
"""
ALLOWED_ANSWERS = {"clone3": {"ENOSYS"}, "newer": {"ENOSYS"}, "getpid": {"OK"}}


def test_refused_system_calls_one_by_one(caisson, tmp_path):
    """The default profile: refused with EPERM, what is newer than the profile with ENOSYS."""
    (tmp_path / "probe.c").write_text("#define _GNU_SOURCE\n" + PROBE)
    run(["gcc", "-static", "-w", "-o", str(tmp_path / "probe"), str(tmp_path / "probe.c")])
    out = caisson.out("run", "--rm", "-v", f"{tmp_path}:/p:ro", "busybox", "/p/probe")
    answers = dict(line.split() for line in out.splitlines())
    assert len(answers) == 18
    wrong = {name: answer for name, answer in answers.items() if answer not in ALLOWED_ANSWERS.get(name, {"EPERM", "ENOSYS"})}
    assert not wrong, wrong


def test_symlink_in_a_bind_target(caisson, tmp_path):
    """A mount target that is a link to outside lands inside the container's root."""
    (tmp_path / "secret").write_text("s")
    outside = tmp_path / "outside"
    outside.mkdir()
    caisson("create", "--name", "linked", "busybox", "sh", "-c", "ls -la /link/; true")
    caisson("rm", "linked")
    done = caisson("run", "--rm", "-v", f"{tmp_path}:/bin/../../../../..{outside}", "busybox", "sh", "-c", f"cat {outside}/secret")
    assert done.out == "s"
    assert list(outside.iterdir()) == []


def test_symlink_swap_while_mounting(caisson, engine, tmp_path):
    """CVE-2021-30465: a shared directory whose entry flips between a directory and a link while others mount into it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    marker = tmp_path / "marker"
    marker.mkdir()
    swapper = caisson.out("run", "-d", "-v", f"{shared}:/s", "busybox", "sh", "-c",
                          "cd /s; mkdir d; ln -s / l; while :; do mv d t; mv l d; mv d l; mv t d; done")
    wait_for(lambda: len(list(shared.iterdir())) > 0, "it swaps")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        before = file.read().count("\n")
    for _ in range(12):
        caisson("run", "--rm", "--network", "none", "-v", f"{shared}:/s", "-v", f"{marker}:/s/d/mnt", "busybox", "true", rc=None)
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        after = file.read()
    assert str(marker) not in after and after.count("\n") <= before + 2
    assert not os.path.exists("/mnt/marker")
    caisson("rm", "-f", swapper)


def test_abstract_sockets_of_the_host_network(caisson, netns):
    """CVE-2020-15257: no monitor listens on an abstract socket."""
    ident = caisson.out("run", "-d", "--network", "host", "busybox", "sleep", "99")
    out = caisson.out("exec", ident, "cat", "/proc/net/unix")
    assert not [line for line in out.splitlines() if "@" in line and "caisson" in line.lower()]


def test_engine_socket_is_not_reachable_from_a_container(caisson, engine, netns):
    """CVE-2025-9074: nothing of the engine listens where a container can reach it."""
    out = run(netns.enter(["ss", "-Hltn"])).out
    assert "caissond" not in run(netns.enter(["ss", "-Hltnp"])).out, out
    assert not os.stat(engine.socket).st_mode & 0o007


def test_directories_of_the_engine_are_closed_to_others(engine, caisson):
    """CVE-2021-41091: no way through the data root for other users."""
    caisson("run", "-d", "busybox", "sleep", "99")
    open_to_all = []
    for top in (engine.data_root, engine.exec_root):
        mode = os.stat(top).st_mode & 0o777
        if mode & 0o006 or mode & 0o001 and any(os.stat(os.path.join(top, d)).st_mode & 0o007 for d in os.listdir(top) if os.path.isdir(os.path.join(top, d))):
            open_to_all.append((top, oct(mode)))
    assert not open_to_all


def test_proc_sys_cannot_be_written(caisson):
    script = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/sys/fs/file-max; do (echo x > $f) 2>/dev/null && echo WROTE $f; done; echo end"
    assert caisson.out("run", "--rm", "busybox", "sh", "-c", script) == "end"
    assert caisson.out("run", "--rm", "-u", "0", "--cap-add", "SYS_ADMIN", "busybox", "sh", "-c", script) == "end"


def test_fork_bomb_is_bounded(caisson, engine):
    ident = caisson.out("run", "-d", "--pids-limit", "50", "busybox", "sh", "-c", "f() { f | f & }; f; sleep 99")
    assert engine.api.get("/_ping", timeout=3).body == b"OK"
    assert caisson.out("run", "--rm", "--network", "none", "busybox", "echo", "alive") == "alive"
    caisson("rm", "-f", ident)
