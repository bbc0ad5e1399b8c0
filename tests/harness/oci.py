# SPDX-License-Identifier: Apache-2.0
"""Bundles and containers for the tests of OCI runtimes: ours, and runc and crun as references.

Everything goes through the runtime's command line. One Oci object serves one test; what the test leaves behind after
`delete --force` of its containers is named by `leaks`.
"""
import copy
import ctypes
import glob
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time

from harness.shell import BIN, Done, pasteable, run, wait_for

APPLETS = ["sh", "cat", "id", "sleep", "true", "false", "env", "ls", "echo", "stty", "mount", "hostname", "ps", "kill", "touch", "grep",
           "readlink", "stat", "ip"]
CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
                "CAP_KILL", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE"]
ENVIRONMENT = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
]
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x20000


def default_config():
    """What `runc spec` writes, less what costs time and is tested on its own."""
    return {
        "ociVersion": "1.0.2",
        "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["sh"], "env": list(ENVIRONMENT), "cwd": "/",
                    "capabilities": {"bounding": list(CAPABILITIES), "permitted": list(CAPABILITIES), "effective": list(CAPABILITIES)},
                    "noNewPrivileges": True},
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "box",
        "mounts": copy.deepcopy(MOUNTS),
        "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")],
                  "resources": {"devices": [{"allow": False, "access": "rwm"}]}},
    }


def edited(config, edits):
    """`config` with the values of {"a.b.c": value} set; None takes a key away."""
    for path, value in (edits or {}).items():
        *parents, last = path.split(".")
        at = config
        for name in parents:
            at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
        if value is None and isinstance(at, dict):
            at.pop(last, None)
        else:
            at[int(last) if isinstance(at, list) else last] = value
    return config


def namespaces(config, *, without=(), **paths):
    """Changes the namespaces of a config: some left out, some joined (path) or made anew (True)."""
    listed = [n for n in config["linux"]["namespaces"] if n["type"] not in without and n["type"] not in paths]
    listed += [{"type": t} if p is True else {"type": t, "path": p} for t, p in paths.items()]
    config["linux"]["namespaces"] = listed
    return config


IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def with_user_namespace(oci, args="sleep 99", edits=None, ids=None, mounts=()):
    config = namespaces(oci.config({"linux.uidMappings": ids or IDS, "linux.gidMappings": ids or IDS, **(edits or {})}, args, mounts), user=True)
    # The state root, the bundle and all above must let the mapped root through.
    path = oci.dir
    while path != "/":
        os.chmod(path, os.stat(path).st_mode | 0o111)
        path = os.path.dirname(path)
    return config


def cgroup_mounts():
    """{controller: mount point} of the version 1 hierarchies, and "" for that of version 2."""
    found = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind == "cgroup":
                for name in options.split(","):
                    found.setdefault(name.strip().removeprefix("name="), left.split()[4])
            elif kind == "cgroup2":
                found[""] = left.split()[4]
    return found


def children():
    """Processes whose parent is this one, also those that came by being orphaned."""
    found = []
    for task in glob.glob("/proc/self/task/*/children"):
        try:
            with open(task, encoding="ascii") as file:
                found += [int(p) for p in file.read().split()]
        except OSError:
            pass
    return found


class Machine:
    """What all tests of a session share: the runtime under test, the root file system, the parent of all cgroups."""

    def __init__(self, runtime, scratch):
        self.name = runtime
        self.program = f"{BIN}/caisson-oci" if runtime == "caisson-oci" else shutil.which(runtime)
        self.ours = runtime == "caisson-oci"
        self.scratch = str(scratch)
        self.parent = f"/caisson-oci-test-{os.getpid()}"
        self.popens = {}
        self.count = 0
        # Orphans of the runtime come to us, so that none is overlooked.
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if runtime == "crun" and "" in cgroup_mounts() and len(cgroup_mounts()) > 1:
            # crun refuses machines with a version 2 hierarchy that has controllers beside version 1: it gets a view without.
            if libc.unshare(CLONE_NEWNS) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            run(["mount", "--make-rslave", "/"])
            run(["umount", cgroup_mounts()[""]])
        self.template = self.make_template()

    def make_template(self):
        root = self.scratch + "/template"
        for folder in ("bin", "proc", "dev", "sys", "tmp", "etc", "mnt", "root", "home"):
            os.makedirs(f"{root}/{folder}")
        os.chmod(root + "/tmp", 0o1777)
        shutil.copy(shutil.which("busybox"), root + "/bin/busybox")
        source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "oci/probe.c")
        run(["gcc", "-O1", "-static", "-w", "-o", root + "/bin/probe", source])
        with open(root + "/etc/passwd", "w", encoding="ascii") as file:
            file.write("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home:/bin/sh\n")
        with open(root + "/etc/group", "w", encoding="ascii") as file:
            file.write("root:x:0:\nalice:x:1000:\nextra:x:2000:alice\n")
        return root

    def make_rootfs(self, path):
        """A fresh root file system; its programs are links to the session's."""
        for folder in ("bin", "proc", "dev", "sys", "tmp", "etc", "mnt", "root", "home"):
            os.makedirs(f"{path}/{folder}")
        os.chmod(path + "/tmp", 0o1777)
        for program in ("bin/busybox", "bin/probe"):
            os.link(f"{self.template}/{program}", f"{path}/{program}")
        for name in APPLETS:
            os.symlink("busybox", f"{path}/bin/{name}")
        for name in ("passwd", "group"):
            shutil.copy(f"{self.template}/etc/{name}", f"{path}/etc/{name}")

    def reap(self):
        """Buries orphans as the machine's first process would; those that still live are returned."""
        alive = []
        for pid in children():
            if pid in self.popens:
                continue
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    alive.append(pid)
            except ChildProcessError:
                pass
        return alive

    def cgroups(self):
        """Directories below the session's cgroup, in every hierarchy."""
        out = []
        for top in set(cgroup_mounts().values()):
            for folder, dirs, _ in os.walk(top + self.parent):
                out += [os.path.join(folder, d) for d in dirs]
        return sorted(out)

    def remove_parent(self):
        for folder in sorted(self.cgroups(), reverse=True) + [top + self.parent for top in set(cgroup_mounts().values())]:
            try:
                os.rmdir(folder)
            except OSError:
                pass


def line_of(child, timeout=10):
    """The next line of a child's output, without its end; fails when none comes."""
    out, end = b"", time.monotonic() + timeout
    while not out.endswith(b"\n"):
        ready, _, _ = select.select([child.stdout], [], [], max(0, end - time.monotonic()))
        piece = os.read(child.stdout.fileno(), 1) if ready else b""
        if not piece:
            child.kill()
            raise AssertionError(f"no line but {out!r}, rc {child.poll()}: {child.args}")
        out += piece
    return out.decode(errors="replace").rstrip("\n")


def mounts_now():
    """The mounts of this mount namespace, but for named network namespaces and what engines in other tests have mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return sorted(row for row in (line.split(" ", 3)[3] for line in file) if not re.search(" /run/netns|/build/tests/", row))


class realtime_budget:
    """A realtime budget for the session's cgroup, which has none at first."""

    def __init__(self, oci):
        self.file = f"/sys/fs/cgroup/cpu{oci.machine.parent}/cpu.rt_runtime_us"

    def __enter__(self):
        os.makedirs(os.path.dirname(self.file), exist_ok=True)
        with open(self.file, "w", encoding="ascii") as file:
            file.write("100000")

    def __exit__(self, *unused):
        try:
            with open(self.file, "w", encoding="ascii") as file:
                file.write("0")
        except OSError:
            pass  # a cgroup below is not quite gone; this one goes at the end of the session


class Box:
    """A container that stays while the test looks at it."""

    def __init__(self, oci, ident, bundle, log):
        self.oci, self.id, self.bundle, self.log = oci, ident, bundle, log
        self.rootfs = bundle + "/rootfs"

    def __call__(self, command, *args, **options):
        """A runtime command whose last option-less argument is this container's id."""
        return self.oci(command, *args, self.id, **options)

    def state(self):
        return json.loads(self.oci("state", self.id).out)

    @property
    def status(self):
        return self.state()["status"]

    @property
    def pid(self):
        return self.state()["pid"]

    def exec(self, *argv, flags=(), **options):
        """`exec` of a list of arguments, or of one shell line."""
        argv = ["sh", "-c", argv[0]] if len(argv) == 1 else argv
        return self.oci("exec", *flags, self.id, *argv, **options)

    def start(self):
        self.oci("start", self.id)
        return self

    def wait_status(self, status):
        def is_so():
            self.oci.machine.reap()
            return self.status == status
        wait_for(is_so, f"{self.id} is {status}")

    def output(self, expected=None):
        """What the container has printed; with `expected`, once it contains that."""
        def read():
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        if expected is not None:
            wait_for(lambda: expected in read(), f"{self.id} prints {expected!r}, not {read()!r}")
        return read()

    def cgroup(self, controller=None):
        """Its directory in a hierarchy."""
        pid = self.pid
        mounts = cgroup_mounts()
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            for line in file:
                _, names, path = line.rstrip("\n").split(":", 2)
                if (controller or "") in [n.removeprefix("name=") for n in names.split(",")]:
                    return mounts[controller or ""] + path
        raise AssertionError(f"no cgroup hierarchy has the controller '{controller}'")

    def value(self, file):
        """The content of one of its cgroup files, such as memory.limit_in_bytes."""
        with open(f"{self.cgroup(file.split('.')[0])}/{file}", encoding="ascii") as opened:
            return opened.read().strip()


class Oci:
    def __init__(self, machine, directory):
        self.machine = machine
        self.ours = machine.ours
        self.dir = str(directory)
        self.root = self.dir + "/state"
        self.ids = []
        self.flags = ["--root", self.root]
        self.mounts = mounts_now()
        self.before = set(machine.reap())
        self.extra_env = {}

    # --- bundles ---

    def name(self):
        self.machine.count += 1
        return f"c{self.machine.count}"

    def config(self, edits=None, args=None, mounts=()):
        """The default config with `edits`; `args` is a list, or a line for the shell."""
        config = default_config()
        if args is not None:
            config["process"]["args"] = ["sh", "-c", args] if isinstance(args, str) else list(args)
        config["mounts"] += list(mounts)
        return edited(config, edits)

    def bundle(self, config, name=None):
        """A directory with config.json and a root file system of its own."""
        path = f"{self.dir}/{name or self.name()}"
        os.makedirs(path, exist_ok=True)
        if not os.path.exists(path + "/rootfs"):
            self.machine.make_rootfs(path + "/rootfs")
        if isinstance(config, dict):
            if "cgroupsPath" not in config.get("linux", {"cgroupsPath": 1}):
                config["linux"]["cgroupsPath"] = f"{self.machine.parent}/{os.path.basename(path)}"
            config = json.dumps(config)
        with open(path + "/config.json", "w" if isinstance(config, str) else "wb", **({"encoding": "utf-8"} if isinstance(config, str) else {})) as file:
            file.write(config)
        return path

    # --- commands ---

    def argv(self, *args):
        return [self.machine.program, *self.flags, *map(str, args)]

    def __call__(self, *args, rc=0, stdin=None, timeout=30, env=None, cwd=None, output=None, wrap=()):
        """A runtime command to its end. `output`: a file instead of pipes, for commands that leave processes behind.
        `wrap`: the beginning of a command that ends in the runtime's."""
        self.machine.reap()
        argv = [*wrap, *self.argv(*args)]
        env = {**os.environ, **self.extra_env, **(env or {})}
        data = stdin.encode() if isinstance(stdin, str) else stdin
        if output:
            with open(output, "ab") as log:
                child = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        else:
            child = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
        self.machine.popens[child.pid] = child
        try:
            out, err = child.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise AssertionError(f"no end after {timeout} s:\n  $ {pasteable(argv)}") from None
        finally:
            if child.returncode is not None:
                del self.machine.popens[child.pid]
        if output:
            with open(output, encoding="utf-8", errors="replace") as file:
                err, out = file.read().encode(), b""
        done = Done(pasteable(argv), child.returncode, (out or b"").decode(errors="replace"), (err or b"").decode(errors="replace"))
        assert rc is None or done.rc == rc, f"expected rc {rc}: {done}"
        return done

    def popen(self, *args, **options):
        child = subprocess.Popen(self.argv(*args), **options)
        self.machine.popens[child.pid] = child
        return child

    def known(self, bundle, ident=None):
        ident = ident or os.path.basename(bundle)
        self.ids.append(ident)
        return ident

    def run(self, args=None, edits=None, *, mounts=(), config=None, rc=0, flags=(), setup=None, **options):
        """`run` in the foreground to the end."""
        config = config or self.config(edits, args, mounts)
        bundle = self.bundle(config)
        if setup:
            setup(bundle)
        return self("run", *flags, "--bundle", bundle, self.known(bundle), rc=rc, **options)

    def out(self, *args, **options):
        """Stripped output of `run`."""
        return self.run(*args, **options).out.strip()

    def lines(self, *args, **options):
        return self.run(*args, **options).out.splitlines()

    def create(self, args="sleep 99", edits=None, *, mounts=(), config=None, flags=(), command="create", rc=0, setup=None, bundle=None, **options):
        bundle = bundle or self.bundle(config or self.config(edits, args, mounts))
        if setup:
            setup(bundle)
        ident = self.known(bundle)
        log = bundle + "/log"
        done = self(command, *flags, "--bundle", bundle, ident, output=log, rc=rc, **options)
        box = Box(self, ident, bundle, log)
        box.created = done
        return box

    def start(self, *args, flags=(), **options):
        """A container that runs on: `run -d`."""
        return self.create(*args, flags=["-d", *flags], command="run", **options)

    def refused(self, done, *words):
        """The command failed and says why. The words are asked of our runtime only: references speak their own."""
        assert done.rc != 0, f"was not refused: {done}"
        assert done.err.strip(), f"says nothing: {done}"
        if self.ours:
            for word in words:
                assert re.search(word, done.err, re.I), f"does not say '{word}': {done}"
        return done

    # --- the end ---

    def delete_all(self):
        for ident in dict.fromkeys(self.ids):
            if os.path.exists(f"{self.root}/{ident}"):
                self("delete", "--force", ident, rc=None)

    def leaks(self):
        """One line for each thing that is left after the containers were deleted."""
        left = []
        alive = [p for p in self.machine.reap() if p not in self.before]
        for pid in alive:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    left.append(f"process {pid}: {file.read().replace(bytes(1), b' ').decode(errors='replace')}")
            except OSError:
                pass
        left += [f"cgroup: {c}" for c in self.machine.cgroups()]
        left += [f"mount: {m.strip()}" for m in mounts_now() if m not in self.mounts]
        for folder, _, files in os.walk(self.root):
            if folder == self.root + "/.seccomp":
                continue  # a cache of translated profiles
            left += [f"file: {os.path.join(folder, f)}" for f in files]
            if os.path.dirname(folder) == self.root and os.path.basename(folder) in self.ids:
                left.append(f"directory: {folder}")
        return left

    def settled_leaks(self, seconds=2.0):
        end = time.monotonic() + seconds
        while True:
            left = self.leaks()
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.01)

    def clear(self):
        """By force, after a leak was told."""
        for folder in reversed(self.machine.cgroups()):
            for name in ("freezer.state", "cgroup.procs"):
                try:
                    if name == "freezer.state" and os.path.exists(f"{folder}/{name}"):
                        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                            file.write("THAWED")
                    with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
                        for pid in file.read().split():
                            os.kill(int(pid), signal.SIGKILL)
                except OSError:
                    pass
        for pid in self.machine.reap():
            if pid not in self.before:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (OSError, ChildProcessError):
                    pass
        end = time.monotonic() + 2
        while self.machine.cgroups() and time.monotonic() < end:
            for folder in reversed(self.machine.cgroups()):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
            self.machine.reap()
        for line in mounts_now():
            if line not in self.mounts and self.dir in line:
                subprocess.run(["umount", "-l", line.split()[1]], check=False, stderr=subprocess.DEVNULL)
