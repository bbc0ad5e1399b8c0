# SPDX-License-Identifier: Apache-2.0
"""linux.seccomp: actions, conditions on arguments, flags, architectures, and the listener."""
import array
import errno
import json
import os
import platform
import socket
import struct
import threading

import pytest

X86 = platform.machine() == "x86_64"
# personality(2): nothing in a container needs it, and its first argument is free to choose.
PERSONALITY = 135 if X86 else 92
GETPID = 39 if X86 else 172


def filtered(oci, line, rules, default="SCMP_ACT_ALLOW", rc=None, edits=None, **more):
    seccomp = {"defaultAction": default, "syscalls": rules, **more}
    return oci.run(line, {"linux.seccomp": seccomp, **(edits or {})}, rc=rc)


def rule(action, *args, names=("personality",), **more):
    out = {"names": list(names), "action": action, **more}
    if args:
        out["args"] = [dict(zip(("index", "op", "value", "valueTwo"), a)) for a in args]
    return out


def call(*values):
    return ["probe", "call", str(PERSONALITY), *map(str, values)]


# --- actions ---

def test_action_errno_default_is_eperm(oci):
    assert filtered(oci, call(0), [rule("SCMP_ACT_ERRNO")]).out == "EPERM\n"


@pytest.mark.parametrize("number, name", [(38, "ENOSYS"), (13, "EACCES"), (1, "EPERM"), (0, "ok 0"), (111, "ECONNREFUSED")])
def test_action_errno_ret(oci, number, name):
    assert filtered(oci, call(0), [rule("SCMP_ACT_ERRNO", errnoRet=number)]).out == name + "\n"


@pytest.mark.parametrize("where", ["rule", "default"])
def test_errno_that_is_none(oci, where):
    """The kernel takes 12 bits and would return another one."""
    given = {"errnoRet": 4096} if where == "rule" else {}
    done = filtered(oci, call(0), [rule("SCMP_ACT_ERRNO" if given else "SCMP_ACT_ALLOW", **given)], default="SCMP_ACT_ALLOW" if given else "SCMP_ACT_ERRNO",
                    rc=None, **({} if given else {"defaultErrnoRet": 4096}))
    oci.refused(done, "errnoRet 4096")


def test_action_allow(oci):
    assert filtered(oci, call(0xffffffff), [rule("SCMP_ACT_ALLOW")]).out.startswith("ok")


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"])
def test_action_kill(oci, action):
    done = filtered(oci, ["sh", "-c", f"probe call {PERSONALITY}; echo $?"], [rule(action)])
    assert done.out.split()[-1] == "159", done


@pytest.mark.parametrize("action, goes_on", [("SCMP_ACT_KILL_PROCESS", False), ("SCMP_ACT_KILL_THREAD", True), ("SCMP_ACT_KILL", True)])
def test_action_kill_of_a_thread_or_all(oci, action, goes_on):
    done = filtered(oci, ["probe", "thread-kill", str(PERSONALITY)], [rule(action)])
    assert ("the process goes on" in done.out) == goes_on


def test_action_trap(oci):
    assert filtered(oci, ["probe", "trap", str(PERSONALITY)], [rule("SCMP_ACT_TRAP")]).out == f"SIGSYS {PERSONALITY}\n"


def test_action_log(oci):
    assert filtered(oci, call(0xffffffff), [rule("SCMP_ACT_LOG")]).out.startswith("ok")


def test_action_trace_without_a_tracer(oci):
    """Nobody traces: the kernel answers ENOSYS."""
    assert filtered(oci, call(0), [rule("SCMP_ACT_TRACE", errnoRet=7)]).out == "ENOSYS\n"


def test_action_unknown(oci):
    oci.refused(filtered(oci, "true", [rule("SCMP_ACT_NONSENSE")]), "SCMP_ACT_NONSENSE")


# --- the default ---

BASIC = ["read", "write", "open", "openat", "close", "execve", "exit", "exit_group", "brk", "mmap", "munmap", "mprotect", "fstat", "newfstatat", "stat", "lstat", "arch_prctl",
         "set_tid_address", "set_robust_list", "rseq", "prlimit64", "getrandom", "readlink", "readlinkat", "getuid", "geteuid", "getgid", "getegid", "setuid", "setgid", "setgroups",
         "rt_sigaction", "rt_sigprocmask", "ioctl", "futex", "uname", "chdir", "fchdir", "getcwd", "prctl", "capset", "capget", "fcntl", "dup", "dup2", "dup3", "getdents64", "statfs", "fstatfs",
         "lseek", "epoll_ctl", "epoll_pwait", "epoll_create1", "getpid", "gettid", "getppid", "tgkill", "nanosleep", "madvise", "sigaltstack", "faccessat2", "faccessat", "access", "pread64", "rt_sigreturn",
         "clone", "wait4", "sched_getaffinity", "sched_yield", "mincore", "close_range", "pipe2", "umask", "sysinfo", "poll", "writev", "keyctl", "setresuid", "setresgid", "fchown", "openat2", "seccomp", "pselect6",
         "sendmsg", "recvmsg", "sendto", "recvfrom", "socketpair", "socket", "connect", "clock_nanosleep", "clock_gettime", "setsid", "set_mempolicy", "execveat", "eventfd2", "epoll_wait", "timer_create", "unlink",
         "pidfd_open", "getsockopt", "membarrier", "statx", "gettimeofday", "waitid", "vfork", "fork", "clone3", "kill", "getpgrp", "getpgid", "getsid", "restart_syscall", "personality2"]


def test_default_action_refuses_what_is_not_listed(oci):
    done = filtered(oci, call(0), [rule("SCMP_ACT_ALLOW", names=BASIC)], default="SCMP_ACT_ERRNO")
    assert done.out == "EPERM\n", done


def test_default_errno_ret(oci):
    done = filtered(oci, call(0), [rule("SCMP_ACT_ALLOW", names=BASIC)], default="SCMP_ACT_ERRNO", defaultErrnoRet=38)
    assert done.out == "ENOSYS\n", done


def test_default_allow_without_rules(oci):
    assert filtered(oci, "echo ok", []).out == "ok\n"


def test_default_kill_shows_that_the_profile_is_on(oci):
    done = filtered(oci, "true", [], default="SCMP_ACT_KILL_PROCESS")
    assert done.rc != 0


def test_mode_is_filter(oci):
    out = filtered(oci, "grep Seccomp: /proc/self/status", [rule("SCMP_ACT_ERRNO")]).out
    assert out.split() == ["Seccomp:", "2"]


def test_no_profile(oci):
    assert oci.out("grep Seccomp: /proc/self/status").split() == ["Seccomp:", "0"]


def test_unknown_system_call_names_are_ignored(oci):
    """A profile may know more than this kernel or architecture."""
    done = filtered(oci, call(0), [rule("SCMP_ACT_ERRNO", names=["no_such_call", "personality", "arm_fadvise64_64"])])
    assert done.out == "EPERM\n"


def test_with_privileges_and_without_no_new_privs(oci):
    """The filter is loaded by a process that may, whatever noNewPrivileges says."""
    for value in (True, False):
        assert filtered(oci, call(0), [rule("SCMP_ACT_ERRNO")], edits={"process.noNewPrivileges": value}).out == "EPERM\n"


def test_another_user(oci):
    done = filtered(oci, call(0), [rule("SCMP_ACT_ERRNO")], edits={"process.user": {"uid": 1000, "gid": 1000}, "process.noNewPrivileges": False})
    assert done.out == "EPERM\n"


def test_exec_has_it_too(oci):
    box = oci.start(edits={"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("SCMP_ACT_ERRNO", errnoRet=38)]}})
    assert box.exec(*call(0)).out == "ENOSYS\n"


# --- arguments ---

BIG = 0x123456789
OPERATORS = [
    ("SCMP_CMP_EQ", 5, None, {5: True, 4: False, 6: False, 5 + (1 << 32): False}), ("SCMP_CMP_NE", 5, None, {5: False, 4: True, 5 + (1 << 32): True}),
    ("SCMP_CMP_LT", 5, None, {4: True, 5: False, 1 << 32: False}), ("SCMP_CMP_LE", 5, None, {5: True, 6: False, (1 << 32) + 1: False}),
    ("SCMP_CMP_GT", 5, None, {6: True, 5: False, 1 << 32: True}), ("SCMP_CMP_GE", 5, None, {5: True, 4: False, 1 << 40: True}),
    ("SCMP_CMP_EQ", BIG, None, {BIG: True, BIG & 0xffffffff: False}), ("SCMP_CMP_LT", BIG, None, {BIG - 1: True, BIG: False, 1 << 63: False}),
    ("SCMP_CMP_GT", BIG, None, {BIG + 1: True, BIG: False, 1 << 63: True}), ("SCMP_CMP_MASKED_EQ", 0xf0, 0x50, {0x5f: True, 0x150: True, 0x60: False}),
    ("SCMP_CMP_MASKED_EQ", 0x7e020000, 0, {0x11: True, 0x10000000: False}), ("SCMP_CMP_EQ", (1 << 64) - 1, None, {(1 << 64) - 1: True, 0xffffffff: False})]


@pytest.mark.parametrize("op, value, second, cases", OPERATORS, ids=[f"{o[0]}-{o[1]:x}" for o in OPERATORS])
@pytest.mark.parametrize("index", [0, 3])
def test_argument(oci, op, value, second, cases, index):
    if index == 3 and op != "SCMP_CMP_EQ":
        pytest.skip("once is enough")
    args = (index, op, value) if second is None else (index, op, value, second)
    # The others are what personality ignores; asked with 0xffffffff it changes nothing.
    lines = "; ".join(f"probe call {PERSONALITY} " + " ".join(["0xffffffff"] * index if index else []) + f" {v}" for v in cases)
    out = filtered(oci, lines, [rule("SCMP_ACT_ERRNO", args, errnoRet=99)]).out.split("\n")
    assert [line == "EADDRNOTAVAIL" for line in out if line] == list(cases.values())


def test_argument_several_must_all_hold(oci):
    out = filtered(oci, f"probe call {PERSONALITY} 1 2; probe call {PERSONALITY} 1 3; probe call {PERSONALITY} 0 2",
                   [rule("SCMP_ACT_ERRNO", (0, "SCMP_CMP_EQ", 1), (1, "SCMP_CMP_EQ", 2), errnoRet=99)]).out.split("\n")
    assert [line == "EADDRNOTAVAIL" for line in out if line] == [True, False, False]


def test_argument_alternatives_in_several_rules(oci):
    rules = [rule("SCMP_ACT_ERRNO", (0, "SCMP_CMP_EQ", 1), errnoRet=99), rule("SCMP_ACT_ERRNO", (0, "SCMP_CMP_EQ", 2), errnoRet=99)]
    out = filtered(oci, "; ".join(f"probe call {PERSONALITY} {v}" for v in (1, 2, 3)), rules).out.split("\n")
    assert [line == "EADDRNOTAVAIL" for line in out if line] == [True, True, False]


def test_argument_same_index_twice(oci):
    """Conditions on one argument: any of them, as the reference's library understands it."""
    rules = [rule("SCMP_ACT_ERRNO", (0, "SCMP_CMP_EQ", 1), (0, "SCMP_CMP_EQ", 2), errnoRet=99)]
    out = filtered(oci, "; ".join(f"probe call {PERSONALITY} {v}" for v in (1, 2, 3)), rules).out.split("\n")
    assert [line == "EADDRNOTAVAIL" for line in out if line] == [True, True, False]


@pytest.mark.parametrize("bad", [(6, "SCMP_CMP_EQ", 1), (0, "SCMP_CMP_NONSENSE", 1)])
def test_argument_bad(oci, bad):
    oci.refused(filtered(oci, "true", [rule("SCMP_ACT_ERRNO", bad)]), "seccomp|index|SCMP_CMP_NONSENSE")


# --- flags and architectures ---

@pytest.mark.parametrize("flags", [[], ["SECCOMP_FILTER_FLAG_LOG"], ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"], ["SECCOMP_FILTER_FLAG_TSYNC"], ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]])
def test_flags(oci, flags):
    done = filtered(oci, call(0), [rule("SCMP_ACT_ERRNO")], flags=flags)
    assert done.out == "EPERM\n", done


@pytest.mark.reference_lacks("the flag is of runtime-spec 1.2, later than these releases")
def test_flag_wait_killable(oci):
    """Needs a listener to mean anything."""
    seccomp_listener(oci, lambda request: (0, 7), flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])


def test_flag_unknown(oci):
    oci.refused(filtered(oci, "true", [rule("SCMP_ACT_ERRNO")], flags=["SECCOMP_FILTER_FLAG_NONSENSE"]), "SECCOMP_FILTER_FLAG_NONSENSE")


@pytest.mark.skipif(not X86, reason="names of x86")
@pytest.mark.parametrize("names", [["SCMP_ARCH_X86_64"], ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], ["SCMP_ARCH_X86"], ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]])
def test_architectures(oci, names):
    """The native one is always covered."""
    done = filtered(oci, call(0), [rule("SCMP_ACT_ERRNO")], architectures=names)
    if not oci.ours and done.rc:
        pytest.skip("not with this release")
    assert done.out == "EPERM\n", done


def test_architecture_unknown(oci):
    oci.refused(filtered(oci, "true", [rule("SCMP_ACT_ERRNO")], architectures=["SCMP_ARCH_NONSENSE"]), "SCMP_ARCH_NONSENSE")


# --- notify ---

class Listener:
    """What an agent does: takes the descriptor that the runtime sends, and answers system calls."""

    def __init__(self, oci, answer):
        self.path = oci.dir + "/agent.sock"
        self.answer = answer
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(self.path)
        self.server.listen(4)
        self.server.settimeout(10)
        self.state, self.requests = None, []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        import fcntl
        try:
            peer, _ = self.server.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(10)
            data, fds = b"", array.array("i")
            while True:
                piece, control, _, _ = peer.recvmsg(65536, socket.CMSG_SPACE(16))
                for level, kind, payload in control:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        fds.frombytes(payload[:len(payload) - len(payload) % fds.itemsize])
                data += piece
                try:
                    self.state = json.loads(data)
                    break
                except ValueError:
                    if not piece:
                        return
            self.fds = list(fds)
            if not fds:
                return
            receive, send = 0xc0502100, 0xc0182101
            while True:
                buffer = bytearray(80)
                try:
                    fcntl.ioctl(fds[0], receive, buffer)
                except OSError as error:
                    if error.errno == errno.EINTR:
                        continue
                    return
                ident, pid, _, number = struct.unpack_from("QIIi", buffer)
                value, failure = self.answer(number)
                self.requests.append((pid, number))
                try:
                    fcntl.ioctl(fds[0], send, bytearray(struct.pack("QqiI", ident, value, -failure, 0)))
                except OSError:
                    pass
                os.close(fds[0])
                return

    def close(self):
        self.server.close()
        self.thread.join(5)


def seccomp_listener(oci, answer, **more):
    listener = Listener(oci, answer)
    try:
        done = filtered(oci, call(0), [rule("SCMP_ACT_NOTIFY")], listenerPath=listener.path, listenerMetadata="some words", edits={"annotations": {"a": "b"}}, **more)
    finally:
        listener.close()
    assert done.out == "E2BIG\n", done
    return listener


def test_notify(oci):
    """The state that comes with the descriptor is the specification's ContainerProcessState."""
    listener = seccomp_listener(oci, lambda number: (0, errno.E2BIG))
    assert [n for _, n in listener.requests] == [PERSONALITY]
    told = listener.state
    assert told["metadata"] == "some words" and told["fds"] == ["seccompFd"] and told["pid"] > 0 and len(listener.fds) == 1
    assert told["state"]["annotations"]["a"] == "b" and told["state"]["id"] and told["state"]["status"] in ("creating", "created", "running")
    assert told["ociVersion"]


def test_notify_at_exec(oci):
    listener = Listener(oci, lambda number: (0, errno.E2BIG))
    try:
        # The first process takes the descriptor; exec sends one of its own.
        box = oci.start(edits={"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("SCMP_ACT_NOTIFY")], "listenerPath": listener.path}})
        assert listener.thread.is_alive() or listener.fds
        box("delete", "--force")
    finally:
        listener.close()


def test_notify_listener_missing(oci):
    done = filtered(oci, "true", [rule("SCMP_ACT_NOTIFY")], listenerPath=oci.dir + "/nobody.sock")
    oci.refused(done, "nobody.sock", "no such file|refused")


def test_notify_without_a_path(oci):
    oci.refused(filtered(oci, "true", [rule("SCMP_ACT_NOTIFY")]), "listenerPath|SCMP_ACT_NOTIFY")


def test_notify_as_default_action_is_refused(oci):
    oci.refused(filtered(oci, "true", [], default="SCMP_ACT_NOTIFY", listenerPath=oci.dir + "/x.sock"), "seccomp|SCMP_ACT_NOTIFY|x.sock")
