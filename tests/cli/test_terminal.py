# SPDX-License-Identifier: Apache-2.0
"""Real terminals: run -it, exec -it, attach, window size, detach keys."""
from harness.container import inspect
from harness.shell import wait_for

DETACH = "\x10\x11"  # Ctrl-P Ctrl-Q


def test_terminal_run(cli):
    with cli.terminal("run", "--rm", "-it", "busybox", "sh") as tty:
        tty.expect("# ")
        tty.type("tty; echo A$((1+1))B\n")
        tty.expect("/dev/pts/0")
        tty.expect("A2B")
        tty.type("exit 4\n")
        assert tty.wait() == 4


def test_terminal_window_size_and_resize(cli):
    with cli.terminal("run", "--rm", "-it", "busybox", "sh", rows=33, columns=101) as tty:
        tty.expect("# ")
        tty.type("stty size\n")
        tty.expect("33 101")
        tty.resize(20, 70)
        # The signal, the request and the ioctl take their way; what counts is that it arrives.
        tty.type("for i in 1 2 3 4 5 6 7 8 9 10; do stty size; sleep 0.1; done\n")
        tty.expect("20 70")
        tty.type("\nexit\n")
        assert tty.wait() == 0


def test_terminal_interrupt_key(cli):
    with cli.terminal("run", "--rm", "-it", "busybox", "sh") as tty:
        tty.expect("# ")
        tty.type("sleep 99\n")
        tty.expect("sleep 99")
        tty.type("\x03")
        tty.expect("# ")
        tty.type("echo rc=$?\n")
        tty.expect("rc=130")
        tty.type("exit 0\n")
        assert tty.wait() == 0


def test_terminal_without_a_terminal_is_refused(cli):
    done = cli("run", "--rm", "-it", "busybox", "sh", rc=None)
    assert done.rc in (1, 125) and "not a TTY" in done.err


def test_terminal_exec(cli):
    ident = cli.out("run", "-d", "busybox", "sleep", "99")
    with cli.terminal("exec", "-it", ident, "sh", rows=30, columns=90) as tty:
        tty.expect("# ")
        tty.type("for i in 1 2 3 4 5 6 7 8 9 10; do stty size; sleep 0.1; done\n")
        tty.expect("30 90")
        tty.type("\nexit 6\n")
        assert tty.wait() == 6


def test_terminal_detach_keys_leave_it_running(cli):
    with cli.terminal("run", "-it", "--name", "t", "busybox", "sh") as tty:
        tty.expect("# ")
        tty.type(DETACH)
        tty.wait()
    assert inspect(cli, "t")["State"]["Running"] is True
    with cli.terminal("attach", "t") as tty:
        tty.type("echo back$((2+2))\n")
        tty.expect("back4")
        tty.type("exit 2\n")
        assert tty.wait() == 2


def test_attach_two_clients_see_the_output(cli):
    ident = cli.out("run", "-d", "-i", "busybox", "sh", "-c", "read x; echo got $x; sleep 0.2")
    watcher = cli.start("attach", "--no-stdin", ident)
    typer = cli.start("attach", ident)
    # Attaching has no answer of its own to wait for: the line goes when both connections are seen by the engine.
    import time
    time.sleep(0.7)
    typer.stdin.write(b"word\n")
    typer.stdin.flush()
    assert b"got word\n" in typer.communicate(timeout=10)[0]
    assert b"got word\n" in watcher.communicate(timeout=10)[0]


def test_attach_gives_the_exit_code(cli):
    ident = cli.out("run", "-d", "-i", "busybox", "sh", "-c", "read x; exit 11")
    attached = cli.start("attach", ident)
    attached.communicate(b"go\n", timeout=10)
    assert attached.returncode == 11


def test_attach_to_a_stopped_container_is_refused(cli):
    ident = cli.out("run", "-d", "busybox", "true")
    wait_for(lambda: not inspect(cli, ident)["State"]["Running"], "it ended")
    done = cli("attach", ident, rc=1)
    assert "stopped container" in done.err
