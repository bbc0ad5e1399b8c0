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
        tty.type("while [ \"$(stty size)\" != '20 70' ]; do sleep 0.05; done; echo re''sized\n")
        tty.expect("resized")
        tty.type("\nexit\n")
        assert tty.wait() == 0


def test_terminal_interrupt_key(cli):
    with cli.terminal("run", "--rm", "-it", "busybox", "sh") as tty:
        tty.expect("# ")
        tty.type("sh -c \"echo sta''rted; exec sleep 99\"\n")  # said by the child, which is in the foreground then
        tty.expect("started")
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
        tty.type("while [ \"$(stty size)\" != '30 90' ]; do sleep 0.05; done; echo re''sized\n")
        tty.expect("resized")
        tty.type("\nexit 6\n")
        assert tty.wait() == 6


def test_terminal_detach_keys_leave_it_running(cli):
    with cli.terminal("run", "-it", "--name", "kept", "busybox", "sh") as tty:
        tty.expect("# ")
        tty.type(DETACH)
        tty.wait()
    assert inspect(cli, "kept")["State"]["Running"] is True
    with cli.terminal("attach", "kept") as tty:
        tty.type("echo back$((2+2))\n")
        tty.expect("back4")
        tty.type("exit 2\n")
        assert tty.wait() == 2


def test_attach_two_clients_see_the_output(cli):
    # It says it for a while, so that it does not matter which client is there first.
    ident = cli.out("run", "-d", "-i", "busybox", "sh", "-c", "read x; for i in $(seq 30); do echo got $x; sleep 0.1; done")
    watcher = cli.start("attach", "--no-stdin", ident)
    typer = cli.start("attach", ident)
    typer.stdin.write(b"word\n")
    typer.stdin.flush()
    # As with Docker, a client that closes its stdin is done: it stays open here.
    assert typer.stdout.readline() == b"got word\n"
    assert watcher.stdout.readline() == b"got word\n"
    cli("rm", "-f", ident)
    typer.communicate(timeout=10)
    watcher.communicate(timeout=10)


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
