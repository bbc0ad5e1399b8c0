# SPDX-License-Identifier: Apache-2.0
"""ps, logs, exec, stop, kill, wait, rm, inspect, top, start, create."""
import re
import select
import signal
import time

import pytest

from harness.container import LOOP, inspect, pid_of, proc_status, wait_for_trap
from harness.shell import wait_for


@pytest.fixture
def sleeper(cli):
    return cli.out("run", "-d", "--name", "sleeper", "busybox", "sleep", "99")


def test_ps_lists_running_and_all(cli, sleeper):
    cli("run", "--name", "ended", "busybox", "true")
    shown = cli.out("ps")
    assert "sleeper" in shown and "ended" not in shown and shown.startswith("CONTAINER ID") and "Up " in shown
    both = cli.out("ps", "-a")
    assert "sleeper" in both and "ended" in both and "Exited (0)" in both
    assert cli.out("ps", "-q") == sleeper[:12]
    assert cli.out("ps", "-q", "--no-trunc") == sleeper


def test_ps_filter(cli, sleeper):
    cli("run", "--name", "ended", "busybox", "false", rc=1)
    assert cli.out("ps", "-aq", "--no-trunc", "--filter", "status=running") == sleeper
    assert cli.out("ps", "-aq", "--no-trunc", "--filter", "name=sleep") == sleeper
    assert cli.out("ps", "-aq", "--filter", "exited=1") == inspect(cli, "ended")["Id"][:12]


def test_ps_shows_ports(cli):
    cli("run", "-d", "-p", "18080:80", "busybox", "sleep", "99")
    assert "0.0.0.0:18080->80/tcp" in cli.out("ps")


def test_logs_of_both_streams(cli):
    cli("run", "--name", "talker", "busybox", "sh", "-c", "echo one; echo two >&2; echo three")
    done = cli("logs", "talker")
    assert done.out == "one\nthree\n" and done.err == "two\n"


def test_logs_tail_and_timestamps(cli):
    cli("run", "--name", "talker", "busybox", "seq", "1", "50")
    assert cli("logs", "--tail", "2", "talker").out == "49\n50\n"
    line = cli.out("logs", "-t", "--tail", "1", "talker")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 50", line)


def test_logs_since(cli):
    cli("run", "--name", "talker", "busybox", "sh", "-c", "echo early; sleep 1.2; echo late")
    stamp = cli.out("logs", "-t", "--tail", "1", "talker").split()[0]
    assert cli("logs", "--since", stamp, "talker").out == "late\n"


def test_logs_follow_ends_with_the_container(cli):
    ident = cli.out("run", "-d", "busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
    assert cli("logs", "-f", ident, timeout=15).out == "1\n2\n3\n4\n5\n"


def test_logs_follow_shows_lines_at_once(cli):
    ident = cli.out("run", "-d", "-i", "busybox", "sh", "-c", "echo ready; while read x; do echo got $x; done")
    follower = cli.start("logs", "-f", ident)
    assert follower.stdout.readline() == b"ready\n"
    attached = cli.start("attach", ident)
    attached.stdin.write(b"a\n")
    attached.stdin.flush()
    assert follower.stdout.readline() == b"got a\n"
    cli("rm", "-f", ident)
    follower.communicate(timeout=10)
    attached.communicate(timeout=10)


def test_logs_of_long_and_binary_lines(cli):
    script = "head -c 50000 /dev/zero | tr '\\0' x; echo; printf 'a\\001\\377b\\n'"
    cli("run", "--name", "talker", "busybox", "sh", "-c", script)
    assert cli("logs", "talker").raw.startswith(b"x" * 50000 + b"\na\x01")


def test_exec_output_and_code(cli, sleeper):
    assert cli("exec", sleeper, "echo", "in").out == "in\n"
    cli("exec", sleeper, "sh", "-c", "exit 42", rc=42)
    cli("exec", sleeper, "sh", "-c", "kill -9 $$", rc=137)


def test_exec_flags(cli, sleeper):
    done = cli("exec", "-e", "A=1", "-w", "/tmp", "-u", "1000", sleeper, "sh", "-c", "echo $A; pwd; id -u")
    assert done.out.split() == ["1", "/tmp", "1000"]


def test_exec_stdin(cli, sleeper):
    assert cli("exec", "-i", sleeper, "cat", stdin="typed\n").out == "typed\n"


def test_exec_missing_command(cli, sleeper):
    done = cli("exec", sleeper, "no-such-command", rc=127)
    assert "no-such-command" in done.out + done.err


def test_exec_not_executable(cli, sleeper):
    cli("exec", sleeper, "/etc/passwd", rc=126)


def test_exec_in_a_stopped_container_is_refused(cli):
    cli("run", "--name", "ended", "busybox", "true")
    done = cli("exec", "ended", "true", rc=1)
    assert "is not running" in done.err


def test_exec_enters_all_namespaces(cli, sleeper):
    for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
        inside = cli.out("exec", sleeper, "readlink", f"/proc/self/ns/{kind}")
        assert inside == cli.out("exec", sleeper, "readlink", f"/proc/1/ns/{kind}"), kind


def test_exec_detached(cli, sleeper):
    cli("exec", "-d", sleeper, "sh", "-c", "echo done > /tmp/mark")
    wait_for(lambda: cli("exec", sleeper, "cat", "/tmp/mark", rc=None).out == "done\n", "the detached exec wrote its mark")


def test_stop_escalates_to_kill(cli, sleeper):
    started = time.monotonic()
    cli("stop", "-t", "1", sleeper)
    assert 0.9 < time.monotonic() - started
    state = inspect(cli, sleeper)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)


def test_stop_lets_the_program_end(cli):
    ident = cli.out("run", "-d", "busybox", "sh", "-c", LOOP)
    wait_for_trap(pid_of(cli, ident), signal.SIGTERM)
    assert cli.out("stop", "-t", "60", ident) == ident
    assert inspect(cli, ident)["State"]["ExitCode"] == 7


def test_stop_of_a_stopped_container_is_fine(cli):
    cli("run", "--name", "ended", "busybox", "true")
    cli("stop", "ended")


def test_kill_with_a_signal(cli):
    ident = cli.out("run", "-d", "busybox", "sh", "-c", "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done")
    wait_for(lambda: "ready" in cli.out("logs", ident), "the trap is set")
    cli("kill", "-s", "USR1", ident)
    wait_for(lambda: "usr1" in cli.out("logs", ident), "the handler ran")
    assert inspect(cli, ident)["State"]["Running"] is True


def test_kill_of_a_stopped_container_is_refused(cli):
    cli("run", "--name", "ended", "busybox", "true")
    assert "is not running" in cli("kill", "ended", rc=1).err


def test_wait_prints_the_code(cli):
    ident = cli.out("run", "-d", "busybox", "sh", "-c", "sleep 0.3; exit 12")
    assert cli.out("wait", ident) == "12"
    assert cli.out("wait", ident) == "12"


def test_rm_refuses_a_running_container(cli, sleeper):
    done = cli("rm", sleeper, rc=1)
    assert "running" in done.err and ("force" in done.err or "stop" in done.err)
    assert cli.out("rm", "-f", sleeper) == sleeper
    assert cli.out("ps", "-aq") == ""


def test_rm_of_an_unknown_container(cli):
    assert "No such container: nobody" in cli("rm", "nobody", rc=1).err


def test_create_then_start(cli):
    ident = cli.out("create", "--name", "made", "busybox", "sh", "-c", "echo begun; exit 5")
    assert inspect(cli, "made")["State"]["Status"] == "created"
    done = cli("start", "-a", "made", rc=5)
    assert done.out == "begun\n"
    assert inspect(cli, ident)["State"]["Status"] == "exited"


def test_start_again_keeps_the_files(cli):
    cli("run", "--name", "again", "busybox", "sh", "-c", "echo x >> /count; wc -l < /count")
    assert cli("start", "-a", "again").out.strip() == "2"


def test_restart(cli, sleeper):
    before = inspect(cli, sleeper)["State"]
    cli("restart", "-t", "0", sleeper)
    after = inspect(cli, sleeper)["State"]
    assert after["Running"] and after["Pid"] != before["Pid"] and after["StartedAt"] > before["StartedAt"]


def test_inspect_tells_what_is(cli, sleeper):
    shown = inspect(cli, "sleeper")
    assert shown["Id"] == sleeper and shown["Name"] == "/sleeper"
    assert shown["State"]["Running"] is True and shown["State"]["Status"] == "running"
    assert shown["Path"] == "sleep" and shown["Args"] == ["99"]
    assert shown["Config"]["Image"] == "busybox" and shown["Image"].startswith("sha256:")
    assert "sleep" in open(f"/proc/{shown['State']['Pid']}/cmdline", encoding="ascii").read()


def test_inspect_of_an_unknown_name(cli):
    done = cli("inspect", "nobody", rc=1)
    assert "nobody" in done.err and done.out.strip() == "[]"


def test_top_shows_host_pids(cli, sleeper):
    lines = cli.out("top", sleeper).splitlines()
    assert "PID" in lines[0] and "CMD" in lines[0]
    assert any("sleep 99" in line and str(pid_of(cli, sleeper)) in line.split() for line in lines[1:])


def test_top_of_a_stopped_container_is_refused(cli):
    cli("run", "--name", "ended", "busybox", "true")
    assert "is not running" in cli("top", "ended", rc=1).err


def test_short_ids_and_names(cli, sleeper):
    assert cli.out("exec", sleeper[:6], "hostname") == sleeper[:12]
    assert inspect(cli, "sleeper")["Id"] == inspect(cli, sleeper[:12])["Id"]


def test_pid_one_is_the_program(cli, sleeper):
    assert proc_status(pid_of(cli, sleeper))["NSpid"].split()[-1] == "1"


def test_pause_and_unpause(cli):
    ident = cli.out("run", "-d", "busybox", "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done")
    cli("pause", ident)
    assert inspect(cli, ident)["State"]["Paused"] is True and "(Paused)" in cli.out("ps")
    # What it wrote last may be on its way to the log.
    before = wait_for(lambda: (seen := cli.out("logs", "--tail", "1", ident)) == cli.out("logs", "--tail", "1", ident) and seen, "it stands still", step=0.2)
    time.sleep(0.3)
    assert cli.out("logs", "--tail", "1", ident) == before
    assert "is paused" in cli("exec", ident, "true", rc=1).err
    cli("unpause", ident)
    wait_for(lambda: cli.out("logs", "--tail", "1", ident) != before, "it counts on")
    assert inspect(cli, ident)["State"]["Paused"] is False


def test_events_of_a_container(cli):
    listener = cli.start("events", "--filter", "container=watched", "--format", "{{.Action}}")
    # The stream has no first line of its own: something is made to happen until it tells of it.
    cli("create", "--name", "watched", "busybox", "true")
    def is_there():
        cli("rename", "watched", "watched2")
        cli("rename", "watched2", "watched")
        return select.select([listener.stdout], [], [], 0.2)[0]
    wait_for(is_there, "the stream is open")
    cli("rm", "watched")
    while listener.stdout.readline() != b"destroy\n":
        pass
    cli("run", "--rm", "--name", "watched", "busybox", "true")
    seen = []
    while "destroy" not in seen:
        line = listener.stdout.readline().decode().strip()
        assert line, seen
        seen.append(line)
    listener.kill()
    listener.communicate()
    assert [a for a in seen if a in ("create", "start", "die", "destroy")] == ["create", "start", "die", "destroy"]
