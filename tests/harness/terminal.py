# SPDX-License-Identifier: Apache-2.0
"""A program on a pseudo terminal: typing, reading what it shows, changing the window."""
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time

from harness.shell import pasteable


class Terminal:
    def __init__(self, argv, env=None, rows=24, columns=80):
        self.line = pasteable(argv, env)
        self.master, slave = os.openpty()
        self.resize(rows, columns, notify=False)

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(argv, env=env, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)
        os.close(slave)
        self.shown = ""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def type(self, text):
        os.write(self.master, text.encode())

    def resize(self, rows, columns, notify=True):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if notify:
            self.process.send_signal(signal.SIGWINCH)

    def read(self, timeout):
        """One piece, or None at the end or after `timeout`."""
        ready, _, _ = select.select([self.master], [], [], timeout)
        if not ready:
            return None
        try:
            piece = os.read(self.master, 65536).decode(errors="replace")
        except OSError:
            return None
        self.shown += piece
        return piece or None

    def expect(self, text, timeout=10):
        """Reads until `text` has been shown, and forgets all up to it."""
        end = time.monotonic() + timeout
        while text not in self.shown:
            left = end - time.monotonic()
            if left <= 0 or (self.read(left) is None and text not in self.shown and (self.process.poll() is not None or left <= 0)):
                raise AssertionError(f"{text!r} was not shown:\n  $ {self.line}\n  shown: {self.shown!r}, rc {self.process.poll()}")
        before, _, self.shown = self.shown.partition(text)
        return before

    def wait(self, timeout=10):
        """The exit code; what is still shown meanwhile is kept."""
        end = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.05)
        while self.read(0) is not None:
            pass
        assert self.process.poll() is not None, f"does not end:\n  $ {self.line}\n  shown: {self.shown!r}"
        return self.process.returncode
