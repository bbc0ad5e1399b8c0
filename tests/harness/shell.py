# SPDX-License-Identifier: Apache-2.0
"""Running commands so that a failure shows a line ready to paste, and waiting for things to become true."""
import os
import shlex
import subprocess
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("CAISSON_BIN") or os.path.join(TREE, "build/release/bin")
IMAGES = os.path.join(TREE, "build/images")


class Done:
    """What a finished command left: rc, out, err (text)."""

    def __init__(self, line, rc, out, err):
        self.line, self.rc, self.out, self.err = line, rc, out, err

    def __repr__(self):
        return f"\n  $ {self.line}\n  rc={self.rc}\n  out: {self.out[-2000:]}\n  err: {self.err[-2000:]}"


def pasteable(argv, env=None):
    """The command as a shell line, with those variables that differ from ours."""
    changed = [f"{k}={shlex.quote(v)}" for k, v in (env or {}).items() if os.environ.get(k) != v]
    return " ".join(changed + [shlex.quote(a) for a in argv])


def run(argv, env=None, rc=0, stdin=None, timeout=40):
    """Runs to the end; `rc` is the expected code, None for any. Text in and out; bytes pass through latin-1."""
    line = pasteable(argv, env)
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(argv, env=env, capture_output=True, timeout=timeout, check=False,
                              **({"input": data} if data is not None else {"stdin": subprocess.DEVNULL}))
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"no end after {timeout} s:\n  $ {line}\n  out: {error.stdout}\n  err: {error.stderr}") from None
    result = Done(line, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    result.raw = done.stdout
    assert rc is None or result.rc == rc, f"expected rc {rc}: {result}"
    return result


def wait_for(condition, what, timeout=20.0, step=0.02):
    """Polls until `condition` gives something true and returns it; fails with `what` otherwise."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout} s still not: {what}")
        time.sleep(step)
