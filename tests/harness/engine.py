# SPDX-License-Identifier: Apache-2.0
"""One caissond on roots of its own inside a network namespace: start, stop, kill -9, and what it owns."""
import os
import signal
import subprocess
import time

from harness.api import Api
from harness.shell import BIN, IMAGES, pasteable, wait_for


class Engine:
    def __init__(self, root, netns, bridge="ctest0", extra=(), bip=None):
        """`root` is a fresh directory for data, exec root, socket and log."""
        self.root, self.netns, self.bridge = str(root), netns, bridge
        self.data_root, self.exec_root = self.root + "/data", self.root + "/exec"
        self.socket = self.root + "/engine.sock"
        self.host = "unix://" + self.socket
        self.log_path = self.root + "/engine.log"
        self.argv = netns.enter([BIN + "/caissond", "--data-root", self.data_root, "--exec-root", self.exec_root, "--host", self.host,
                                 "--bridge", bridge, *(["--bip", bip] if bip else []), *extra])
        self.api = Api(self.socket)
        self.process = None

    def start(self, timeout=10):
        started = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(self.answers, "the engine answers", timeout, 0.005)
        except AssertionError:
            code = self.process.poll()
            self.kill9()
            raise AssertionError(f"the engine does not answer (exit code {code}):\n  $ {pasteable(self.argv)}\n{self.log()[-3000:]}") from None
        self.ready_seconds = time.monotonic() - started
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("the engine ended")
        try:
            return self.api.get("/_ping", timeout=2).status == 200
        except OSError:
            return False

    @property
    def pid(self):
        return self.process.pid

    def stop(self, timeout=5):
        """SIGTERM, and the time it took to end."""
        if self.process is None:
            return 0.0
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"the engine does not end within {timeout} s of SIGTERM\n{self.log()[-2000:]}") from None
        self.process = None
        return time.monotonic() - started

    def kill9(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def load(self, *names):
        for name in names:
            with open(f"{IMAGES}/{name}.tar", "rb") as file:
                answer = self.api.post("/images/load?quiet=1", iter(lambda: file.read(1 << 20), b""),
                                       headers={"Content-Type": "application/x-tar"}, timeout=120)
            assert answer.status == 200 and b"errorDetail" not in answer.body, f"loading {name}: {answer}"

    # --- what the engine has -------------------------------------------------------------------------

    def containers(self):
        return self.api.ok("GET", "/containers/json?all=1")

    def images(self):
        return self.api.ok("GET", "/images/json")

    def remove_containers(self, keep=()):
        for container in self.containers():
            if container["Id"] not in keep:
                self.api.delete(f"/containers/{container['Id']}?force=1&v=1")

    def remove_images(self, keep):
        """Every tag and every untagged image that `keep` (a set of tags) does not name."""
        for image in self.images():
            tags = image.get("RepoTags") or []
            names = [t for t in tags if t not in keep]
            names += [d for d in image.get("RepoDigests") or [] if d] if len(names) == len(tags) else []
            for name in names or ([image["Id"]] if not tags else []):
                self.api.delete(f"/images/{name}?force=1")

    def processes(self):
        """{pid: command line} of the monitors and other helpers that name this engine's roots, the engine left out."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if self.process is not None and int(pid) == self.process.pid:
                continue
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace")
                exe = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if self.root in line and "pytest" not in line and (exe.startswith(BIN) or "caisson" in os.path.basename(exe)):
                found[int(pid)] = line
        return found

    def destroy(self):
        """Ends everything of this engine, by force where needed."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.remove_containers()
            except (OSError, AssertionError):
                pass
            try:
                self.stop()
            except AssertionError:
                pass
        self.kill9()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
