# SPDX-License-Identifier: Apache-2.0
"""One caissond on roots of its own inside a network namespace: start, stop, kill -9, and what it owns."""
import glob
import hashlib
import json
import os
import signal
import subprocess
import time

from harness.api import Api
from harness.shell import BIN, IMAGES, pasteable, run, wait_for


def own_name(data_root, exec_root):
    """How an engine whose roots are not the default ones calls its nft table and its cgroups."""
    return "caisson-" + hashlib.sha256(f"{data_root}:{exec_root}".encode()).hexdigest()[:8]


def remove_cgroups(name):
    for top in glob.glob(f"/sys/fs/cgroup/*/{name}") + glob.glob(f"/sys/fs/cgroup/{name}"):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass


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
        self.own_name = own_name(self.data_root, self.exec_root)

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

    def run_once(self):
        ident = self.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})["Id"]
        self.api.ok("POST", f"/containers/{ident}/start")
        self.api.ok("POST", f"/containers/{ident}/wait")
        self.api.ok("DELETE", f"/containers/{ident}?v=1")

    def remove_networks(self):
        for network in self.api.get("/networks").json or []:
            if network["Name"] not in ("bridge", "host", "none"):
                self.api.delete(f"/networks/{network['Id']}")

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
        """{pid: what it is} of this engine's monitors and other helpers, whoever is their parent now, and of dead
        children that the engine has not waited for. The engine itself is left out."""
        found = {}
        own = self.process.pid if self.process is not None else -1
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if int(pid) == own:
                continue
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
                state, parent = rest.split()[:2]
                if not name.startswith("caisson") and int(parent) != own:
                    continue
                if int(parent) == own and state == "Z":
                    found[int(pid)] = f"{name}, dead, not waited for"
                elif int(parent) == own or self.holds_files_of(pid):
                    found[int(pid)] = name
            except (OSError, IndexError, ValueError):
                continue
        return found

    def holds_files_of(self, pid):
        """A helper is this engine's when it was told of its roots or holds a file below them."""
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if self.root.encode() in file.read():
                return True
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(self.root + "/"):
                    return True
            except OSError:
                continue
        return False

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
        end = time.monotonic() + 10  # dying takes its time on a loaded machine
        while self.processes() and time.monotonic() < end:
            time.sleep(0.02)
        self.remove_traces()

    def remove_traces(self):
        """What an engine keeps in the kernel on purpose, for its next start."""
        for family in ("ip", "ip6"):
            subprocess.run(self.netns.enter(["nft", "delete", "table", family, self.own_name]), stderr=subprocess.DEVNULL, check=False)
        subprocess.run(self.netns.enter(["ip", "link", "delete", self.bridge]), stderr=subprocess.DEVNULL, check=False)
        remove_cgroups(self.own_name)


def start_error(tmp_path, *flags, config=None):
    """The one line that an engine says that does not start."""
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(config or {}))
    done = run([BIN + "/caissond", "--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "e"), "--host", f"unix://{tmp_path}/s", "--config-file", str(path), *flags],
               rc=None, timeout=10)
    assert done.rc not in (0, None), done
    return done.err.splitlines()[0]
