# SPDX-License-Identifier: Apache-2.0
"""`run`: output, exit codes, and what each flag does inside the container."""
import re

import pytest

from harness.container import cgroup_value, inspect
from harness.shell import wait_for


def test_run_echo(cli):
    assert cli("run", "--rm", "busybox", "echo", "hi").out == "hi\n"


def test_run_default_command(cli):
    assert cli("run", "--rm", "-i", "busybox", stdin="echo from-sh\n").out == "from-sh\n"


def test_run_keeps_streams_apart(cli):
    done = cli("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == ("out\n", "err\n")


@pytest.mark.parametrize("command, code", [(["sh", "-c", "exit 42"], 42), (["true"], 0), (["false"], 1), (["sh", "-c", "kill -9 $$; sleep 1"], None)])
def test_run_exit_code(cli, command, code):
    # A kill of pid 1 by itself is ignored by the kernel, so the last one ends well.
    cli("run", "--rm", "busybox", *command, rc=0 if code is None else code)


def test_run_exit_code_137_when_killed(cli):
    running = cli.start("run", "--name", "killed", "busybox", "sleep", "99")
    wait_for(lambda: cli("inspect", "killed", rc=None).rc == 0 and inspect(cli, "killed")["State"]["Running"], "the container runs", 10)
    cli("kill", "killed")
    running.communicate(timeout=10)
    assert running.returncode == 137
    assert inspect(cli, "killed")["State"]["ExitCode"] == 137


def test_run_exit_code_127_for_a_missing_command(cli):
    done = cli("run", "--rm", "busybox", "no-such-command", rc=127)
    assert "no-such-command" in done.err and "not found" in done.err


def test_run_exit_code_126_for_a_file_that_is_not_executable(cli):
    done = cli("run", "--rm", "busybox", "/etc/passwd", rc=126)
    assert "/etc/passwd" in done.err and "permission denied" in done.err.lower()


def test_run_exit_code_126_for_a_directory(cli):
    cli("run", "--rm", "busybox", "/etc", rc=126)


def test_run_exit_code_125_for_an_engine_error(cli):
    cli("run", "--rm", "--name", "bad/name", "busybox", "true", rc=125)


def test_run_stdin_passes_bytes(cli):
    data = bytes(range(256)) * 4000
    done = cli("run", "--rm", "-i", "busybox", "cat", stdin=data)
    assert done.raw == data


def test_run_large_output_is_complete(cli):
    done = cli("run", "--rm", "busybox", "sh", "-c", "seq 1 300000", timeout=60)
    lines = done.out.split()
    assert len(lines) == 300000 and lines[0] == "1" and lines[-1] == "300000"


def test_run_stdin_is_closed_without_i(cli):
    assert cli("run", "--rm", "busybox", "sh", "-c", "cat; echo end", stdin="never seen\n").out == "end\n"


def test_run_rm_leaves_nothing(cli, api):
    cli("run", "--rm", "--name", "gone", "busybox", "true")
    assert api.get("/containers/gone/json").status == 404


def test_run_without_rm_keeps_the_container(cli):
    cli("run", "--name", "kept", "busybox", "sh", "-c", "echo x > /made; exit 3", rc=3)
    state = inspect(cli, "kept")["State"]
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("exited", 3, False)


def test_run_detached_prints_the_id(cli):
    ident = cli.out("run", "-d", "--name", "detached", "busybox", "sleep", "99")
    assert re.fullmatch("[0-9a-f]{64}", ident)
    assert inspect(cli, "detached")["Id"] == ident


def test_run_cidfile(cli, tmp_path):
    cli("run", "--rm", "--cidfile", tmp_path / "cid", "busybox", "true")
    assert re.fullmatch("[0-9a-f]{64}", (tmp_path / "cid").read_text())


def test_run_env(cli):
    out = cli.out("run", "--rm", "-e", "A=1", "-e", "B=two words", "busybox", "sh", "-c", 'echo "$A|$B|$HOME|$PATH"')
    assert out == "1|two words|/root|/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_run_env_from_the_client(cli):
    cli.env["FROM_CLIENT"] = "yes"
    assert cli.out("run", "--rm", "-e", "FROM_CLIENT", "busybox", "sh", "-c", "echo $FROM_CLIENT") == "yes"


def test_run_env_file(cli, tmp_path):
    (tmp_path / "env").write_text("# comment\nX=1\nY=a b\n")
    assert cli.out("run", "--rm", "--env-file", tmp_path / "env", "busybox", "sh", "-c", 'echo "$X,$Y"') == "1,a b"


def test_run_workdir(cli):
    assert cli.out("run", "--rm", "-w", "/tmp", "busybox", "pwd") == "/tmp"


def test_run_workdir_is_created(cli):
    assert cli.out("run", "--rm", "-w", "/made/here", "busybox", "pwd") == "/made/here"


@pytest.mark.parametrize("user, shown", [("1000", "1000 1000"), ("4321", "4321 0"), ("1000:33", "1000 33"), ("www-data", "33 33"), ("user:daemon", "1000 1"), ("0", "0 0")])
def test_run_user(cli, user, shown):
    assert cli.out("run", "--rm", "-u", user, "busybox", "sh", "-c", "echo $(id -u) $(id -g)") == shown


def test_run_unknown_user(cli):
    done = cli("run", "--rm", "-u", "nobody-here", "busybox", "true", rc=None)
    assert done.rc in (125, 126) and "unable to find user nobody-here" in done.err


def test_run_group_add(cli):
    assert "33" in cli.out("run", "--rm", "--group-add", "www-data", "busybox", "id", "-G").split()


def test_run_bind_mount(cli, tmp_path):
    (tmp_path / "in").write_text("from host\n")
    done = cli("run", "--rm", "-v", f"{tmp_path}:/data", "busybox", "sh", "-c", "cat /data/in; echo back > /data/out")
    assert done.out == "from host\n"
    assert (tmp_path / "out").read_text() == "back\n"


def test_run_bind_mount_read_only(cli, tmp_path):
    done = cli("run", "--rm", "-v", f"{tmp_path}:/data:ro", "busybox", "touch", "/data/x", rc=1)
    assert "Read-only file system" in done.err
    assert not (tmp_path / "x").exists()


def test_run_bind_mount_of_a_file(cli, tmp_path):
    (tmp_path / "one").write_text("single\n")
    assert cli("run", "--rm", "-v", f"{tmp_path}/one:/etc/one", "busybox", "cat", "/etc/one").out == "single\n"


def test_run_bind_mount_makes_a_missing_source(cli, tmp_path):
    cli("run", "--rm", "-v", f"{tmp_path}/new/dir:/d", "busybox", "touch", "/d/f")
    assert (tmp_path / "new/dir/f").exists()


def test_run_name_and_hostname(cli):
    cli("run", "--name", "named", "--hostname", "box", "busybox", "sh", "-c", "hostname; cat /etc/hostname; grep -c box /etc/hosts")
    assert cli.out("logs", "named").split() == ["box", "box", "1"]
    assert inspect(cli, "named")["Name"] == "/named"


def test_run_hostname_is_the_short_id_by_default(cli):
    cli("run", "--name", "short", "busybox", "hostname")
    assert cli.out("logs", "short") == inspect(cli, "short")["Id"][:12]


def test_run_memory_limit(cli):
    ident = cli.out("run", "-d", "-m", "64m", "busybox", "sleep", "99")
    assert cgroup_value(ident, "memory", "memory.limit_in_bytes", "memory.max") == "67108864"
    assert inspect(cli, ident)["HostConfig"]["Memory"] == 67108864


def test_run_memory_limit_kills(cli):
    done = cli("run", "--name", "oom", "-m", "16m", "busybox", "sh", "-c", "x=a; while :; do x=$x$x; done", rc=None, timeout=60)
    # The shell itself may be the victim (137) or report that it cannot allocate.
    assert done.rc == 137, done
    assert inspect(cli, "oom")["State"]["OOMKilled"] is True


def test_run_cpus(cli):
    ident = cli.out("run", "-d", "--cpus", "0.5", "busybox", "sleep", "99")
    assert cgroup_value(ident, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert inspect(cli, ident)["HostConfig"]["NanoCpus"] == 500000000


def test_run_cpu_shares(cli):
    ident = cli.out("run", "-d", "--cpu-shares", "512", "busybox", "sleep", "99")
    assert cgroup_value(ident, "cpu", "cpu.shares", "cpu.weight") in ("512", "20")


def test_run_pids_limit(cli):
    ident = cli.out("run", "-d", "--pids-limit", "20", "busybox", "sleep", "99")
    assert cgroup_value(ident, "pids", "pids.max", "pids.max") == "20"
    done = cli("exec", ident, "sh", "-c", "for i in $(seq 40); do sleep 5 & done; echo never", rc=None)
    assert "can't fork" in done.err


def test_run_cap_add(cli):
    cli("run", "--rm", "busybox", "ip", "link", "add", "d0", "type", "bridge", rc=None)
    assert cli("run", "--rm", "busybox", "ip", "link", "set", "lo", "mtu", "1400", rc=None).rc != 0
    cli("run", "--rm", "--cap-add", "NET_ADMIN", "busybox", "ip", "link", "set", "lo", "mtu", "1400")


def test_run_cap_drop(cli):
    assert cli("run", "--rm", "--cap-drop", "CHOWN", "busybox", "chown", "1", "/tmp", rc=1).err
    status = cli.out("run", "--rm", "--cap-drop", "ALL", "busybox", "grep", "Cap", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status


def test_run_read_only(cli):
    done = cli("run", "--rm", "--read-only", "busybox", "touch", "/x", rc=1)
    assert "Read-only file system" in done.err
    cli("run", "--rm", "--read-only", "--tmpfs", "/scratch", "busybox", "touch", "/scratch/x")


def test_run_entrypoint(cli):
    assert cli.out("run", "--rm", "--entrypoint", "echo", "busybox", "a", "b") == "a b"


def test_run_init_reaps_and_forwards(cli):
    ident = cli.out("run", "-d", "--init", "busybox", "sh", "-c", "trap 'exit 5' TERM; touch /ready; while :; do sleep 0.05; done")
    assert "init" in cli.out("exec", ident, "cat", "/proc/1/comm")
    cli("exec", ident, "sh", "-c", "(sleep 0.1 &) ; exit 0")
    wait_for(lambda: cli("exec", ident, "test", "-e", "/ready", rc=None).rc == 0, "the trap is set")
    cli("stop", "-t", "5", ident)
    assert inspect(cli, ident)["State"]["ExitCode"] == 5


def test_run_labels(cli):
    ident = cli.out("run", "-d", "--label", "a=b", "-l", "c", "busybox", "true")
    assert inspect(cli, ident)["Config"]["Labels"] == {"a": "b", "c": ""}


def test_run_ulimit(cli):
    assert cli.out("run", "--rm", "--ulimit", "nofile=100:200", "busybox", "sh", "-c", "ulimit -n; ulimit -Hn").split() == ["100", "200"]


def test_run_sysctl(cli):
    assert cli.out("run", "--rm", "--sysctl", "net.ipv4.ip_unprivileged_port_start=0", "busybox", "cat",
                   "/proc/sys/net/ipv4/ip_unprivileged_port_start") == "0"


def test_run_shm_size(cli):
    out = cli.out("run", "--rm", "--shm-size", "8m", "busybox", "df", "-k", "/dev/shm")
    assert "8192" in out


def test_run_two_at_once(cli):
    first = cli.start("run", "--rm", "busybox", "sh", "-c", "sleep 0.3; echo one")
    second = cli.start("run", "--rm", "busybox", "sh", "-c", "sleep 0.3; echo two")
    assert first.communicate(timeout=20)[0] == b"one\n"
    assert second.communicate(timeout=20)[0] == b"two\n"


def test_run_interrupt_reaches_the_container(cli):
    import signal
    running = cli.start("run", "--rm", "--name", "sig", "busybox", "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done")
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=10)
    assert b"caught" in out and running.returncode == 9
