#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev run`: an engine on private roots inside a private network namespace, thrown away at the end.

    tryout.py                 the tour: two containers, one with a published port
    tryout.py IMAGE CMD...    passes on to `caisson run --rm` (-it on a terminal); flags of run may stand before IMAGE
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("CAISSON_BIN") or TREE + "/build/release/bin"
IMAGES = TREE + "/build/images"
sys.path.insert(0, TREE + "/tests")
from harness.engine import own_name, remove_cgroups  # noqa: E402


class Tryout:
    """The engine and all that belongs to it; a context manager."""

    def __enter__(self):
        os.makedirs(TREE + "/build", exist_ok=True)
        self.root = tempfile.mkdtemp(prefix="tryout-", dir=TREE + "/build")
        self.name = "caisson-try-" + self.root[-4:].replace("_", "x")
        self.engine = None
        try:
            subprocess.run(["ip", "netns", "add", self.name], check=True)
            subprocess.run(self.inside(["ip", "link", "set", "lo", "up"]), check=True)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def inside(self, argv):
        return ["nsenter", f"--net=/run/netns/{self.name}", *argv]

    def start(self):
        self.socket = self.root + "/caisson.sock"
        with open(self.root + "/engine.log", "ab") as log:
            self.engine = subprocess.Popen(self.inside([BIN + "/caissond", "--data-root", self.root + "/data", "--exec-root", self.root + "/exec",
                                                        "--host", "unix://" + self.socket, "--bridge", "caisson0"]),
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.env = {**os.environ, "CAISSON_HOST": "unix://" + self.socket, "DOCKER_HOST": "unix://" + self.socket}
        end = time.monotonic() + 10
        while subprocess.run([BIN + "/caisson", "version"], env=self.env, capture_output=True, check=False).returncode:
            if self.engine.poll() is not None or time.monotonic() > end:
                with open(self.root + "/engine.log", encoding="utf-8", errors="replace") as log:
                    raise RuntimeError("the engine did not start: " + log.read()[-500:].strip())
            time.sleep(0.02)

    def caisson(self, *argv, quiet=False, check=True):
        done = subprocess.run([BIN + "/caisson", *argv], env=self.env, check=False, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=None if not quiet else subprocess.PIPE, timeout=60)
        if check and done.returncode:
            raise RuntimeError(f"'caisson {' '.join(argv)}' ended with {done.returncode}: {(done.stderr or '').strip()}")
        return done.stdout

    def __exit__(self, *unused):
        if self.engine is not None:
            if self.engine.poll() is None:
                try:
                    for ident in self.caisson("ps", "-aq", quiet=True).split():
                        self.caisson("rm", "-f", ident, quiet=True)
                except (RuntimeError, subprocess.TimeoutExpired):
                    pass
                self.engine.send_signal(signal.SIGTERM)
                try:
                    self.engine.wait(5)
                except subprocess.TimeoutExpired:
                    self.engine.kill()
                    self.engine.wait()
        remove_cgroups(own_name(self.root + "/data", self.root + "/exec"))
        subprocess.run(["ip", "netns", "delete", self.name], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.root, ignore_errors=True)


def make_busybox():
    done = subprocess.run([sys.executable, TREE + "/tools/images/build.py", "--quiet", "busybox"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())


def step(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def show(engine, *argv):
    print("$ caisson " + " ".join(a if " " not in a else "'" + a.replace("'", '"') + "'" for a in argv), flush=True)
    out = engine.caisson(*argv)
    print(out, end="", flush=True)
    return out


INSIDE = 'echo "I am $(hostname), pid $$"; ip -4 addr show eth0 | grep inet; ls /'


def tour():
    started = time.monotonic()
    step("An engine of its own, in a private network, on throw-away directories")
    make_busybox()
    with Tryout() as engine:
        print(f"caissond answers on {engine.socket.removeprefix(TREE + '/')}")
        step("An image from Debian's busybox-static")
        show(engine, "load", "-i", f"{IMAGES}/busybox.tar")
        step("A container tells about itself")
        out = show(engine, "run", "--rm", "busybox", "sh", "-c", INSIDE)
        if "pid 1\n" not in out or "inet 1" not in out:
            raise RuntimeError("the container did not tell what it should")
        step("A web server in a container, its port published")
        show(engine, "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", "echo 'Hello from a container' > /var/www/index.html; exec httpd -f -p 80 -h /var/www")
        print("$ curl http://127.0.0.1:8080/", flush=True)
        print(fetch(engine), end="")
        show(engine, "ps")
        step("Cleaning up")
        show(engine, "rm", "-f", "web")
    print(f"\nAll gone again, after {time.monotonic() - started:.1f} s. Try your own: ./dev run busybox sh")
    return 0


def fetch(engine):
    """The page, fetched from the network the engine lives in, by busybox so that nothing else is needed."""
    end = time.monotonic() + 5
    while True:
        done = subprocess.run(engine.inside(["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]), capture_output=True, text=True, check=False, timeout=10)
        if done.returncode == 0:
            return done.stdout
        if time.monotonic() > end:
            raise RuntimeError(f"the published port does not answer: {done.stderr.strip()}")
        time.sleep(0.05)


def pass_on(argv):
    make_busybox()
    with Tryout() as engine:
        for name in ("busybox", "debian", "nginx"):
            # Only what the command line can mean; loading all of them would take seconds.
            if any(a.split(":")[0] == name for a in argv) and os.path.exists(f"{IMAGES}/{name}.tar"):
                engine.caisson("load", "-q", "-i", f"{IMAGES}/{name}.tar")
        flags = ["--rm"] + (["-it"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"])
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client handles it
        try:
            return subprocess.run([BIN + "/caisson", "run", *flags, *argv], env=engine.env, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, previous)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return pass_on(sys.argv[1:]) if len(sys.argv) > 1 else tour()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
