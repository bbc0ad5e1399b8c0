# SPDX-License-Identifier: Apache-2.0
"""create, start, state, kill, delete, run: what each does in each state of a container."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from harness.oci import line_of, namespaces
from harness.shell import wait_for

# What engines look for in the answer to an unknown id.
MISSING = "does not exist"


def words(state):
    """What a command says about a state that does not fit."""
    return {"created": "created|not started|running", "running": "running", "stopped": "stopped|not running|no such"}[state]


def in_state(oci, state, args="sleep 99", **more):
    box = oci.create(args, **more)
    if state != "created":
        box.start()
    if state == "stopped":
        oci("kill", box.id, "KILL")
        box.wait_status("stopped")
    return box


# --- the usual way ---

def test_create_start_kill_delete(oci):
    box = oci.create()
    assert box.status == "created"
    box.start()
    assert box.status == "running"
    oci("kill", box.id, "KILL")
    box.wait_status("stopped")
    box("delete")
    oci.refused(oci("state", box.id, rc=None), MISSING)


def test_create_does_not_run_the_program(oci):
    box = oci.create("echo ran; sleep 99")
    time.sleep(0.05)
    assert box.output() == ""
    box.start()
    box.output("ran")


def test_the_program_keeps_the_pid_of_create(oci):
    box = oci.create()
    pid = box.pid
    box.start()
    assert box.pid == pid


def test_output_goes_where_create_was_told(oci):
    box = oci.create("echo out; echo err >&2; sleep 99").start()
    box.output("out\nerr\n")


def test_a_short_program_ends(oci):
    box = oci.create("true").start()
    box.wait_status("stopped")


def test_create_looks_the_program_up(oci):
    """A program that cannot be found is told by create or by start, never by silence."""
    box = oci.create(["no-such-program"], rc=None)
    done = box.created if box.created.rc else oci("start", box.id, rc=None)
    oci.refused(done, "no-such-program")


# --- state ---

def test_state_fields(oci):
    box = oci.create(edits={"annotations": {"a": "b"}})
    state = box.state()
    assert state["id"] == box.id and state["bundle"] == box.bundle and state["status"] == "created" and state["ociVersion"] and state["annotations"]["a"] == "b"
    assert state["pid"] > 0 and os.path.exists(f"/proc/{state['pid']}")


def test_state_also_tells_what_runc_does(oci):
    state = oci.create().state()
    assert state["rootfs"].endswith("/rootfs") and state["created"][:4].isdigit() and "owner" in state


def test_state_of_a_stopped_container_has_no_pid(oci):
    assert in_state(oci, "stopped").state().get("pid", 0) == 0


def test_state_bundle_relative_becomes_absolute(oci):
    bundle = oci.bundle(oci.config(args="sleep 99"))
    ident = oci.known(bundle)
    oci("run", "-d", "--bundle", os.path.basename(bundle), ident, cwd=oci.dir, output=bundle + "/log")
    assert json.loads(oci("state", ident).out)["bundle"] == bundle


def test_bundle_default_is_the_working_directory(oci):
    bundle = oci.bundle(oci.config(args="echo here"))
    assert oci("run", oci.known(bundle), cwd=bundle).out == "here\n"


def test_a_pid_that_is_used_again_is_not_taken_for_the_container(oci):
    """The state of a container whose first process is gone is stopped, whoever has its number now."""
    box = in_state(oci, "running")
    os.kill(box.pid, signal.SIGKILL)
    box.wait_status("stopped")
    oci.refused(oci("kill", box.id, "TERM", rc=None), words("stopped"))


# --- commands that do not fit the state ---

@pytest.mark.parametrize("state", ["running", "stopped"])
def test_start_is_for_created_ones(oci, state):
    box = in_state(oci, state)
    oci.refused(oci("start", box.id, rc=None), words(state))


@pytest.mark.parametrize("state", ["created", "running"])
def test_delete_refuses_what_lives(oci, state):
    box = in_state(oci, state)
    done = oci("delete", box.id, rc=None)
    if state == "created" and not oci.ours and done.rc == 0:
        pytest.skip("the references delete a created container")
    if state == "created" and done.rc == 0:
        return  # as the references do
    oci.refused(done, words(state) + "|not stopped")
    assert box.status == state


@pytest.mark.parametrize("state", ["created", "running", "stopped"])
def test_delete_force(oci, state):
    box = in_state(oci, state)
    box("delete", "--force")
    oci.refused(oci("state", box.id, rc=None), MISSING)


def test_delete_force_short(oci):
    box = in_state(oci, "running")
    box("delete", "-f")


def test_delete_force_of_what_is_not_there(oci):
    """Not an error: engines clean up that way."""
    oci("delete", "--force", "nobody")


def test_delete_of_what_is_not_there(oci):
    oci.refused(oci("delete", "nobody", rc=None), MISSING)


@pytest.mark.parametrize("command", ["start", "state", "kill", "exec", "pause", "resume", "ps", "update", "events"])
def test_unknown_container(oci, command):
    args = {"kill": ["nobody", "KILL"], "exec": ["nobody", "true"], "update": ["--memory", "100000000", "nobody"], "events": ["--stats", "nobody"]}.get(command, ["nobody"])
    oci.refused(oci(command, *args, rc=None), MISSING)


def test_create_twice(oci):
    box = in_state(oci, "running")
    again = oci.bundle(oci.config(args="true"))
    oci.refused(oci("create", "--bundle", again, box.id, rc=None, output=again + "/log"), box.id, "exist")
    assert box.status == "running"


def test_an_id_can_be_used_again(oci):
    box = in_state(oci, "stopped")
    box("delete")
    bundle = oci.bundle(oci.config(args="echo again"))
    assert oci("run", "--bundle", bundle, box.id).out == "again\n"


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".", "..", "a b", "a\nb", "é", "-x"])
def test_bad_ids(oci, name):
    bundle = oci.bundle(oci.config(args="true"))
    done = oci("create", "--bundle", bundle, "--", name, rc=None, output=bundle + "/log") if name.startswith("-") else oci("create", "--bundle", bundle, name, rc=None, output=bundle + "/log")
    if name == "-x" and done.rc == 0:
        oci.known(bundle, "-x")
        oci("delete", "--force", "--", "-x")
        return
    oci.refused(done, "id")
    assert not os.path.exists(oci.dir + "/x")


@pytest.mark.parametrize("name", ["a", "A.b_c-d+e", "x" * 64, "0", "_x"])
def test_good_ids(oci, name):
    bundle = oci.bundle(oci.config(args="echo ok"))
    assert oci("run", "--bundle", bundle, oci.known(bundle, name)).out == "ok\n"


# --- kill ---

@pytest.mark.parametrize("name, number", [("TERM", 15), ("SIGTERM", 15), ("15", 15), ("HUP", 1), ("USR1", 10), ("sigusr2", 12), ("10", 10)])
def test_kill_by_name_and_number(oci, name, number):
    box = in_state(oci, "running", f"trap 'echo got; exit 0' {number}; echo ready; while :; do sleep 0.02; done")
    box.output("ready")
    done = oci("kill", box.id, name, rc=None)
    if name == "sigusr2" and done.rc and not oci.ours:
        pytest.skip("not with this release")
    box.output("got")


def test_kill_default_is_term(oci):
    box = in_state(oci, "running", "trap 'echo got; exit 0' TERM; echo ready; while :; do sleep 0.02; done")
    box.output("ready")
    oci("kill", box.id)
    box.output("got")


@pytest.mark.parametrize("name", ["NOSUCH", "-1", "1000", "SIG"])
def test_kill_unknown_signal(oci, name):
    box = in_state(oci, "running")
    oci.refused(oci("kill", box.id, name, rc=None), "signal|flag")
    assert box.status == "running"


def test_kill_real_time_signal(oci):
    box = in_state(oci, "running", "trap 'echo got; exit 0' 40; echo ready; while :; do sleep 0.02; done")
    box.output("ready")
    oci("kill", box.id, "40")
    box.output("got")


@pytest.mark.parametrize("state", ["created"])
def test_kill_of_a_created_one(oci, state):
    box = in_state(oci, state)
    oci("kill", box.id, "KILL")
    box.wait_status("stopped")


def test_kill_of_a_stopped_one(oci):
    box = in_state(oci, "stopped")
    oci.refused(oci("kill", box.id, "TERM", rc=None), words("stopped"))


def test_kill_all(oci):
    """All processes of the container, also where it has no pid namespace of its own."""
    config = namespaces(oci.config(args="sleep 98 & sleep 97 & echo ready; wait"), without=["pid"])
    box = oci.create(config=config).start()
    box.output("ready")
    pid = box.pid
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        others = file.read().split()
    assert len(others) == 2
    oci("kill", "--all", box.id, "KILL")
    wait_for(lambda: oci.machine.reap() is not None and not any(os.path.exists(f"/proc/{p}") for p in [pid, *others]), "all are gone")


def test_delete_without_a_pid_namespace_ends_all(oci):
    """The first process ends; what it started would live on."""
    config = namespaces(oci.config(args="sleep 98 & echo ready"), without=["pid"])
    box = oci.create(config=config).start()
    box.output("ready")
    box.wait_status("stopped")
    box("delete", "--force")


# --- run ---

def test_run_detached(oci):
    box = oci.start("echo ready; sleep 99")
    assert box.status == "running"
    box.output("ready")


def test_run_leaves_nothing(oci):
    oci.run("true")
    assert not os.path.exists(f"{oci.root}/{oci.ids[0]}")
    oci.refused(oci("state", oci.ids[0], rc=None), MISSING)


def test_run_keep(oci):
    """--keep leaves the stopped container for delete."""
    bundle = oci.bundle(oci.config(args="true"))
    done = oci("run", "--keep", "--bundle", bundle, oci.known(bundle), rc=None)
    if done.rc and "--keep" in done.err or "keep" in done.err:
        pytest.skip("not with this release")
    assert json.loads(oci("state", oci.ids[0]).out)["status"] == "stopped"


@pytest.mark.parametrize("command", ["run", "create"])
def test_pid_file(oci, command):
    path = oci.dir + "/pid"
    box = oci.create("sleep 99", command=command, flags=["--pid-file", path, *(["-d"] if command == "run" else [])])
    with open(path, encoding="ascii") as file:
        assert file.read() == str(box.pid)


def test_pid_file_that_cannot_be_written(oci):
    box = oci.create("sleep 99", flags=["--pid-file", "/nowhere/pid"], rc=None)
    oci.refused(box.created, "/nowhere/pid", "no such file")
    oci.refused(oci("state", box.id, rc=None), MISSING)


@pytest.mark.parametrize("sent, name", [(signal.SIGTERM, "TERM"), (signal.SIGHUP, "HUP"), (signal.SIGUSR1, "USR1"), (signal.SIGINT, "INT")])
def test_run_forwards_signals(oci, sent, name):
    bundle = oci.bundle(oci.config(args=f"trap 'echo got; exit 5' {name}; echo ready; while :; do sleep 0.02; done"))
    child = oci.popen("run", "--bundle", bundle, oci.known(bundle), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        assert line_of(child) == "ready"
        child.send_signal(sent)
        assert line_of(child) == "got"
        assert child.wait(10) == 5
    finally:
        child.kill()
        child.stdout.close()
        child.wait()


def test_run_reads_stdin_to_its_end(oci):
    assert oci.run(["cat"], stdin="x" * 300000).out == "x" * 300000


def test_preserve_fds(oci):
    with open(oci.dir + "/file", "w", encoding="ascii") as file:
        file.write("content")
    done = oci.run("cat <&3; echo; probe descriptors", flags=["--preserve-fds", "1"], wrap=["sh", "-c", f'exec "$@" 3<{oci.dir}/file 4</dev/null', "sh"])
    lines = done.out.splitlines()
    assert lines[0] == "content"
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2", "3"]


def test_without_preserve_fds(oci):
    done = oci.run(["probe", "descriptors"], wrap=["sh", "-c", 'exec "$@" 3</etc/passwd 4</dev/null 9</', "sh"])
    assert [line.split()[0] for line in done.out.splitlines()] == ["0", "1", "2"]


def test_listen_fds(oci):
    """Socket activation: LISTEN_FDS is passed on with the descriptors, and names the new process."""
    wrap = [sys.executable, "-c", "import os, socket, sys; s = socket.socket(); os.dup2(s.fileno(), 3); os.set_inheritable(3, True); os.execve(sys.argv[1], sys.argv[1:], {**os.environ, 'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())})"]
    out = oci.run("echo $LISTEN_FDS $LISTEN_PID; readlink /proc/self/fd/3", wrap=wrap).out.split()
    assert out[:2] == ["1", "1"] and out[2].startswith("socket:")


def test_no_pivot(oci):
    """--no-pivot: for roots that are in memory; the container looks the same."""
    assert oci.out("cat /etc/passwd | head -n 1; ls /", flags=["--no-pivot"]).startswith("root:")


def test_no_new_keyring(oci):
    assert oci.out("echo ok", flags=["--no-new-keyring"]) == "ok"


def test_no_subreaper(oci):
    done = oci.run("echo ok", flags=["--no-subreaper"], rc=None)
    assert done.out == "ok\n" or not oci.ours


def test_run_pid_file_and_bundle_short(oci):
    bundle = oci.bundle(oci.config(args="echo ok"))
    assert oci("run", "-b", bundle, oci.known(bundle)).out == "ok\n"


def test_zombies_of_the_container_are_not_ours(oci):
    """A container without a pid namespace of its own whose orphans end leaves the runtime undisturbed."""
    assert oci.out("(sleep 0.01 &) ; sleep 0.05; echo ok") == "ok"


def test_many_containers_at_once(oci):
    boxes = [oci.start() for _ in range(10)]
    assert len({b.pid for b in boxes}) == 10
    listed = json.loads(oci("list", "--format", "json").out)
    assert {c["id"] for c in listed} == {b.id for b in boxes}


# --- what our caller is like ---

IGNORING = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.mark.reference_lacks("waits for ever", "crun")
def test_caller_that_ignores_the_end_of_children(oci):
    """That is inherited, and with it the kernel keeps no exit codes."""
    wrap = [sys.executable, "-c", IGNORING]
    hooks = {"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]}
    done = oci.run("grep SigIgn /proc/self/status; exit 7", {"hooks": hooks}, rc=7, wrap=wrap)
    assert int(done.out.split()[1], 16) == 0
    box = oci.create("exit 5", wrap=wrap)
    oci("start", box.id, wrap=wrap)
    box.wait_status("stopped")
    box = oci.start()
    assert oci("exec", box.id, "sh", "-c", "exit 6", rc=6, wrap=wrap).out == ""


@pytest.mark.reference_lacks("ended by the signal", "crun")
def test_caller_with_a_limit_of_file_sizes(oci):
    """The state cannot be written: an error, and nothing stays behind."""
    bundle = oci.bundle(oci.config(args="true"))
    done = oci("run", "--bundle", bundle, oci.known(bundle), rc=1, wrap=["prlimit", "--fsize=0"])
    oci.refused(done, "File too large")
    assert not os.path.exists(f"{oci.root}/{os.path.basename(bundle)}")
