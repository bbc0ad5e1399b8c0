# SPDX-License-Identifier: Apache-2.0
"""process.terminal and consoleSize; --console-socket; run and exec in the foreground of a terminal."""
import array
import fcntl
import os
import select
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness.terminal import Terminal

# The references set the size when the program may already run.
SIZE = "until stty size 2>/dev/null | grep -v '^0 0'; do sleep 0.02; done"
TERMINAL = {"process.terminal": True}


class ConsoleSocket:
    """What an engine does: takes the master of a new terminal from the runtime."""

    def __init__(self, oci):
        self.path = oci.dir + "/console.sock"
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(self.path)
        self.server.listen(1)
        self.server.settimeout(10)
        self.master, self.message = None, b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.server.close()
        if self.master is not None:
            os.close(self.master)

    def receive(self):
        peer, _ = self.server.accept()
        with peer:
            peer.settimeout(10)
            self.message, control, _, _ = peer.recvmsg(4096, socket.CMSG_SPACE(16))
        fds = array.array("i")
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        assert len(fds) == 1, fds
        self.master = fds[0]
        return self

    def read(self, until, timeout=10):
        text, end = "", time.monotonic() + timeout
        while until not in text:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"{until!r} was not shown: {text!r}"
            try:
                text += os.read(self.master, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"the terminal ended before {until!r}: {text!r}") from None
        return text

    def size(self):
        return struct.unpack("HHHH", fcntl.ioctl(self.master, termios.TIOCGWINSZ, bytes(8)))[:2]


def with_console(oci, command, args, edits=None):
    console = ConsoleSocket(oci)
    flags = ["--console-socket", console.path, *(["-d"] if command == "run" else [])]
    box = oci.create(args, {**TERMINAL, **(edits or {})}, command=command, flags=flags)
    return box, console.receive()


# --- through the socket ---

@pytest.mark.parametrize("command", ["run", "create"])
def test_socket_receives_the_master(oci, command):
    box, console = with_console(oci, command, "tty; echo ready; read line; echo got $line; sleep 99")
    with console:
        assert os.isatty(console.master)
        if command == "create":
            box.start()
        out = console.read("ready")
        assert "/dev/" in out
        os.write(console.master, b"words\n")
        console.read("got words")


def test_socket_message_names_the_terminal(oci):
    box, console = with_console(oci, "run", "sleep 99")
    with console:
        assert console.message and box.status == "running"


def test_terminal_is_the_controlling_one(oci):
    _, console = with_console(oci, "run", "probe session; echo x > /dev/tty; sleep 99")
    with console:
        out = console.read("x\r\n")
        facts = dict(pair.split("=") for pair in out.split("\r\n", maxsplit=1)[0].split())
        assert facts["sid"] == "1" and facts["foreground"] == facts["pgrp"]


def test_terminal_interrupt(oci):
    _, console = with_console(oci, "run", "trap 'echo interrupted' INT; echo ready; while :; do sleep 0.02; done")
    with console:
        console.read("ready")
        os.write(console.master, b"\x03")
        console.read("interrupted")


@pytest.mark.parametrize("height, width", [(10, 110), (55, 33)])
def test_console_size(oci, height, width):
    _, console = with_console(oci, "run", "stty size; sleep 99", {"process.consoleSize": {"height": height, "width": width}})
    with console:
        assert f"{height} {width}" in console.read(f"{width}\r\n") and console.size() == (height, width)


def test_dev_console_is_the_terminal(oci):
    """The specification: /dev/console when terminal is set."""
    _, console = with_console(oci, "run", "ls -l /dev/console; echo line > /dev/console; sleep 99")
    with console:
        out = console.read("line\r\n")
        assert "No such file" not in out and out.lstrip().startswith("c")


def test_terminal_belongs_to_the_user(oci):
    _, console = with_console(oci, "run", "stat -L -c %u /proc/self/fd/0; echo end; sleep 99", {"process.user": {"uid": 1000, "gid": 1000}})
    with console:
        assert console.read("end\r\n").split()[0] == "1000"


def test_descriptors_with_a_terminal(oci):
    _, console = with_console(oci, "run", "probe descriptors; echo end; sleep 99")
    with console:
        lines = console.read("end\r\n").split("\r\n")
        assert [line.split()[0] for line in lines[:-2]] == ["0", "1", "2"]


@pytest.mark.parametrize("command", ["run", "create"])
def test_terminal_without_a_socket_is_refused(oci, command):
    box = oci.create("sleep 99", TERMINAL, command=command, flags=["-d"] if command == "run" else [], rc=None)
    oci.refused(box.created, "console.socket|terminal")
    oci.refused(oci("state", box.id, rc=None), "does not exist")


@pytest.mark.parametrize("command", ["run", "create"])
def test_socket_without_a_terminal_is_refused(oci, command):
    if oci.machine.name == "crun":
        pytest.skip("crun ignores it")
    with ConsoleSocket(oci) as console:
        box = oci.create("sleep 99", command=command, flags=["--console-socket", console.path, *(["-d"] if command == "run" else [])], rc=None)
        oci.refused(box.created, "console.socket|terminal")


@pytest.mark.parametrize("path", ["/nowhere/console.sock", "/etc/passwd"])
def test_socket_that_cannot_be_reached(oci, path):
    box = oci.create("sleep 99", TERMINAL, flags=["--console-socket", path], rc=None)
    oci.refused(box.created, path)


def test_exec_with_a_socket(oci):
    box = oci.start()
    with ConsoleSocket(oci) as console:
        oci("exec", "--tty", "-d", "--console-socket", console.path, box.id, "sh", "-c", "tty; stty size; echo ready; sleep 98", output=oci.dir + "/log")
        console.receive()
        console.read("ready")


def test_exec_detached_without_a_socket_is_refused(oci):
    box = oci.start()
    oci.refused(oci("exec", "-t", "-d", box.id, "true", output=oci.dir + "/log", rc=None), "console.socket|terminal")


# --- in the foreground ---

def test_run_in_the_foreground(oci):
    bundle = oci.bundle(oci.config(TERMINAL, SIZE + "; read line; echo got $line; exit 6"))
    with Terminal(oci.argv("run", "--bundle", bundle, oci.known(bundle)), rows=31, columns=97) as terminal:
        oci.machine.popens[terminal.process.pid] = terminal.process
        terminal.expect("31 97")
        terminal.type("words\n")
        terminal.expect("got words")
        assert terminal.wait() == 6


def test_resize_is_passed_on(oci):
    bundle = oci.bundle(oci.config(TERMINAL, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"))
    with Terminal(oci.argv("run", "--bundle", bundle, oci.known(bundle))) as terminal:
        oci.machine.popens[terminal.process.pid] = terminal.process
        terminal.expect("ready")
        terminal.resize(44, 123)
        terminal.expect("44 123")


def test_exec_in_the_foreground(oci):
    box = oci.start()
    with Terminal(oci.argv("exec", "-t", box.id, "sh", "-c", SIZE + "; read line; echo got $line; exit 3"), rows=20, columns=60) as terminal:
        oci.machine.popens[terminal.process.pid] = terminal.process
        terminal.expect("20 60")
        terminal.type("x\n")
        terminal.expect("got x")
        assert terminal.wait() == 3


def test_terminal_settings_come_back(oci):
    """The caller's terminal is as before when the container has ended."""
    bundle = oci.bundle(oci.config(TERMINAL, "stty -a > /dev/null; true"))
    with Terminal(oci.argv("run", "--bundle", bundle, oci.known(bundle))) as terminal:
        oci.machine.popens[terminal.process.pid] = terminal.process
        before = termios.tcgetattr(terminal.master)
        terminal.wait()
        after = termios.tcgetattr(terminal.master)
        assert before[:4] == after[:4]


def test_output_before_the_end_is_not_lost(oci):
    bundle = oci.bundle(oci.config(TERMINAL, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo the end"))
    with Terminal(oci.argv("run", "--bundle", bundle, oci.known(bundle))) as terminal:
        oci.machine.popens[terminal.process.pid] = terminal.process
        terminal.expect("the end", 20)
        assert terminal.wait() == 0


def test_input_that_is_not_read_holds_up_no_output(oci):
    """Both sides have more to say than the terminal holds, and the program says all of it first."""
    if not oci.ours:
        pytest.skip("the references want a terminal of their own")
    box = oci.start()
    line = "stty raw -echo; echo ready; head -c 400000 /dev/zero | tr '\\0' x; head -c 300000 | wc -c; echo end"
    child = oci.popen("exec", "-t", box.id, "sh", "-c", line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    watchdog = threading.Timer(60, child.kill)
    watchdog.start()
    try:
        while b"ready" not in child.stdout.readline():
            assert child.poll() is None
        writer = threading.Thread(target=lambda: child.stdin.write(b"y" * 300000))
        writer.start()
        out = child.stdout.read()
        writer.join()
    finally:
        watchdog.cancel()
        child.kill()
        child.communicate()
        oci.machine.popens.pop(child.pid)
    assert out.count(b"x") == 400000 and out.split(b"x")[-1].split() == [b"300000", b"end"]
