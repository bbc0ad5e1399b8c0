# SPDX-License-Identifier: Apache-2.0
"""The runtime in the hands of other engines: Debian's podman, containerd and dockerd, each on roots of its own, unpacked
and not installed, in a network namespace of its own."""
import glob
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from harness.clients import find_docker
from harness.netns import NetworkNamespace
from harness.oci import Oci, cgroup_mounts
from harness.shell import IMAGES, TREE, run, wait_for
from harness.terminal import Terminal

DEBS = TREE + "/build/cache/debs"
PATH = ":".join(glob.glob(DEBS + "/*/usr/bin") + glob.glob(DEBS + "/*/usr/sbin") + ["/usr/sbin:/usr/bin:/sbin:/bin"])
ENV = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith(("DOCKER_", "CONTAINER"))}


def program(package, *names):
    for name in names:
        for found in glob.glob(f"{DEBS}/{package}/usr/*bin/{name}"):
            return found
    pytest.skip(f"Debian's {package} is not unpacked (./dev test does it)")


class Others:
    """What podman's and Docker's clients have in common: their command line."""

    image = []  # the words that name an image

    def __call__(self, *args, rc=0, timeout=60, **options):
        self.oci.machine.reap()
        return run([*self.client, *args], self.env, rc=rc, timeout=timeout, **options)

    def run(self, *args, flags=(), **options):
        return self("run", "--network", "none", *self.flags, *flags, *self.image, *args, **options)

    def inspect(self, name, template):
        return self("inspect", "--format", template, name).out.strip()

    def terminal(self, *args):
        terminal = Terminal([*self.client, *args], {**self.env, "TERM": "xterm"}, rows=27, columns=93)
        self.oci.machine.popens[terminal.process.pid] = terminal.process
        return terminal


class Podman(Others):
    def __init__(self, oci, top):
        conmon = program("conmon", "conmon")
        podman = program("podman", "podman")
        self.oci = oci
        os.makedirs(top)
        with open(top + "/containers.conf", "w", encoding="ascii") as file:
            file.write(f"""[containers]
log_driver = "k8s-file"
apparmor_profile = "unconfined"
default_ulimits = ["nofile=1024:4096", "nproc=2000:2000"]
[engine]
conmon_path = ["{conmon}"]
cgroup_manager = "cgroupfs"
events_logger = "file"
network_cmd_path = "/bin/false"
""")
        with open(top + "/storage.conf", "w", encoding="ascii") as file:
            file.write(f'[storage]\ndriver = "vfs"\ngraphroot = "{top}/root"\nrunroot = "{top}/run"\n')
        self.env = {**ENV, "PATH": PATH, "CONTAINERS_CONF": top + "/containers.conf", "CONTAINERS_STORAGE_CONF": top + "/storage.conf", "HOME": top, "XDG_RUNTIME_DIR": top,
                    "TMPDIR": "/tmp"}
        self.client = [podman, "--root", top + "/root", "--runroot", top + "/run", "--tmpdir", top + "/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
                       "--runtime", oci.machine.program]
        rootfs = top + "/rootfs"
        oci.machine.make_rootfs(rootfs)
        self.flags = ["--cgroup-parent", oci.machine.parent]
        self.image = ["--rootfs", rootfs]

    def close(self):
        self("rm", "-a", "-f", "-t", "0", rc=None)
        left = run([*self.client, "ps", "-aq"], self.env, rc=None).out
        for mount in sorted(self.oci_mounts(), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        # podman makes this one for its own program and keeps it.
        for folder in (top + self.oci.machine.parent + "/conmon" for top in set(cgroup_mounts().values())):
            if os.path.isdir(folder):
                os.rmdir(folder)
        assert left == ""

    def oci_mounts(self):
        top = self.env["HOME"]
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            return [line.split()[4] for line in file if top in line.split()[4]]


class Docker(Others):
    def __init__(self, oci, top):
        dockerd = program("docker.io", "dockerd")
        program("containerd", "containerd")
        client = find_docker()
        if not client:
            pytest.skip("no Docker client")
        self.oci = oci
        os.makedirs(top)
        self.netns = NetworkNamespace(f"oci{os.getpid()}d")
        host = f"unix://{top}/docker.sock"
        self.client, self.env = [client], {**ENV, "PATH": PATH, "DOCKER_HOST": host, "DOCKER_CONFIG": top + "/config", "HOME": top}
        self.log = open(top + "/log", "wb")
        argv = self.netns.enter(["unshare", "--mount", "--propagation", "slave", dockerd, "--data-root", top + "/data", "--exec-root", top + "/exec", "--pidfile", top + "/pid", "-H", host,
                                 "--add-runtime", "tested=" + oci.machine.program, "--default-runtime", "tested", "--bridge", "none", "--iptables=false", "--ip6tables=false",
                                 "--cgroup-parent", oci.machine.parent, "--storage-driver", "overlay2", "--exec-opt", "native.cgroupdriver=cgroupfs"])
        self.process = subprocess.Popen(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        oci.machine.popens[self.process.pid] = self.process
        try:
            wait_for(lambda: self.process.poll() is not None or self("version", rc=None).rc == 0, "dockerd answers", 60, 0.1)
            assert self.process.poll() is None, open(top + "/log", encoding="utf-8", errors="replace").read()[-2000:]
            self("load", "-i", IMAGES + "/busybox.tar", timeout=120)
        except BaseException:
            self.close()
            raise
        self.flags = []
        self.image = ["busybox"]

    def close(self):
        names = run([*self.client, "ps", "-aq"], self.env, rc=None).out.split()
        if names:
            self("rm", "-f", *names, rc=None)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
        self.oci.machine.popens.pop(self.process.pid, None)
        self.netns.remove()


@pytest.fixture(scope="module", params=["podman", "dockerd"])
def engines(request, oci_machine, tmp_path_factory):
    """One engine for all the tests below; the containers of each are removed after it."""
    top = tmp_path_factory.mktemp("others")
    # overlay needs a real file system, and socket paths are short: not below pytest's own deep directories.
    work = f"{TREE}/build/tests/oci-{request.param}-{os.getpid()}"
    os.makedirs(os.path.dirname(work), exist_ok=True)
    made = {"podman": Podman, "dockerd": Docker}[request.param](Oci(oci_machine, top), work)
    yield made
    try:
        made.close()
    finally:
        subprocess.run(["rm", "-rf", work], check=False)


@pytest.fixture
def engine(engines):
    yield engines
    names = engines("ps", "-aq").out.split()
    if names:
        engines("rm", "-f", *names, rc=None)
    end = time.monotonic() + 3
    while left := [c for c in engines.oci.machine.cgroups() if not c.endswith(("conmon", "/libpod_parent"))]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


def test_run(engine):
    done = engine.run("echo", "hello", flags=["--rm"])
    assert done.out == "hello\n"


@pytest.mark.parametrize("code", [0, 3, 127])
def test_run_exit_code(engine, code):
    engine.run("sh", "-c", f"exit {code}", flags=["--rm"], rc=code)


def test_run_missing_program(engine):
    done = engine.run("no-such-program", flags=["--rm"], rc=None)
    assert done.rc == 127 and "no-such-program" in done.err


def test_run_program_that_is_not_executable(engine):
    done = engine.run("/etc/passwd", flags=["--rm"], rc=None)
    assert done.rc == 126 and "/etc/passwd" in done.err


def test_run_stdin(engine):
    assert engine.run("cat", flags=["--rm", "-i"], stdin="words").out == "words"


def test_run_options(engine):
    script = "id -u; pwd; echo $A; hostname; ulimit -n; grep NoNewPrivs /proc/self/status | cut -f 2; touch /x 2>/dev/null || echo readonly; cat /sys/fs/cgroup/pids/pids.max"
    done = engine.run("sh", "-c", script, flags=["--rm", "-u", "1000:1000", "-w", "/tmp", "-e", "A=b", "-h", "harbour", "--ulimit", "nofile=99:99", "--ulimit", "nproc=999:999", "--security-opt", "no-new-privileges", "--read-only",
                                                 "--pids-limit", "44"])
    assert done.out.split() == ["1000", "/tmp", "b", "harbour", "99", "1", "readonly", "44"]


def test_run_volume(engine, tmp_path):
    (tmp_path / "file").write_text("from the host")
    assert engine.run("sh", "-c", "cat /v/file; echo x > /v/new || echo refused", flags=["--rm", "-v", f"{tmp_path}:/v:ro"]).out.split("\n")[0].startswith("from the host")
    assert not (tmp_path / "new").exists()
    engine.run("sh", "-c", "echo x > /v/new", flags=["--rm", "-v", f"{tmp_path}:/v"])
    assert (tmp_path / "new").read_text() == "x\n"


def without_all_capabilities(engine):
    """A privileged container asks for every capability: no runtime can give what the caller itself lacks."""
    with open("/proc/self/status", encoding="ascii") as file:
        mine = int(next(line for line in file if line.startswith("CapBnd")).split()[1], 16)
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        if mine != (1 << int(file.read()) + 1) - 1:
            pytest.skip("the caller lacks capabilities")


def test_run_privileged(engine):
    without_all_capabilities(engine)
    done = engine.run("sh", "-c", "mkdir -p /m && mount -t tmpfs x /m; echo $?", flags=["--rm", "--privileged"], rc=None)
    assert done.out.strip().endswith("0"), done


def test_run_memory_limit(engine):
    out = engine.run("cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", flags=["--rm", "--memory", "64m"]).out
    assert out.strip() == str(64 << 20)


def test_run_default_seccomp_profile(engine):
    assert engine.run("grep", "Seccomp:", "/proc/self/status", flags=["--rm"]).out.split()[1] == "2"


def test_life_cycle(engine):
    name = "life"
    engine.run("sh", "-c", "echo begun; trap 'echo ending; exit 7' TERM; while :; do sleep 0.05; done", flags=["-d", "--name", name])
    wait_for(lambda: "begun" in engine("logs", name).out, "it logs")
    assert engine.inspect(name, "{{.State.Status}}") == "running"
    pid = int(engine.inspect(name, "{{.State.Pid}}"))
    assert os.path.exists(f"/proc/{pid}")
    assert engine("exec", name, "sh", "-c", "echo inside; exit 3", rc=3).out == "inside\n"
    engine("stop", name)
    assert engine.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"
    assert "ending" in engine("logs", name).out
    engine("start", name)
    wait_for(lambda: engine("logs", name).out.count("begun") == 2, "it runs again")
    engine("kill", "-s", "KILL", name)
    wait_for(lambda: engine.inspect(name, "{{.State.ExitCode}}") == "137", "it was killed")
    engine("rm", name)


def test_create_and_start(engine):
    engine("create", "--network", "none", *engine.flags, "--name", "made", *engine.image, "echo", "started")
    assert engine.inspect("made", "{{.State.Status}}") == "created"
    assert engine("start", "-a", "made").out == "started\n"


def test_pause_and_unpause(engine):
    engine.run("sleep", "99", flags=["-d", "--name", "still"])
    engine("pause", "still")
    assert engine.inspect("still", "{{.State.Status}}") == "paused"
    engine("unpause", "still")
    assert engine.inspect("still", "{{.State.Status}}") == "running"


def test_top(engine):
    engine.run("sleep", "98", flags=["-d", "--name", "shown"])
    assert "sleep 98" in engine("top", "shown").out


def test_update(engine):
    if "podman" in engine.client[0]:
        pytest.skip("not with this podman")
    engine.run("sleep", "99", flags=["-d", "--name", "grown", "--memory", "64m", "--memory-swap", "64m"])
    engine("update", "--memory", "128m", "--memory-swap", "128m", "grown")
    assert engine("exec", "grown", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes").out.strip() == str(128 << 20)


def test_exec_flags(engine):
    engine.run("sleep", "99", flags=["-d", "--name", "box"])
    assert engine("exec", "-e", "A=1", "-w", "/tmp", "-u", "1000", "box", "sh", "-c", "echo $A; pwd; id -u").out.split() == ["1", "/tmp", "1000"]
    assert engine("exec", "-i", "box", "cat", stdin="words").out == "words"
    engine("exec", "-d", "box", "sh", "-c", "echo x > /tmp/there")
    wait_for(lambda: engine("exec", "box", "cat", "/tmp/there", rc=None).out == "x\n", "the detached process ran")
    done = engine("exec", "box", "no-such-program", rc=None)
    assert done.rc in (126, 127) and "no-such-program" in done.err + done.out


def test_exec_privileged(engine):
    without_all_capabilities(engine)
    engine.run("sleep", "99", flags=["-d", "--name", "box2"])
    plain = engine("exec", "box2", "grep", "CapEff", "/proc/self/status").out
    more = engine("exec", "--privileged", "box2", "grep", "CapEff", "/proc/self/status").out
    assert int(more.split()[1], 16) > int(plain.split()[1], 16)


def test_terminal(engine):
    with engine.terminal("run", "--network", "none", *engine.flags, "--rm", "-it", *engine.image, "sh", "-c", "until stty size | grep '27 93'; do sleep 0.05; done; read x; echo got $x; exit 5") as terminal:
        terminal.expect("27 93", 20)
        terminal.type("words\n")
        terminal.expect("got words", 20)
        assert terminal.wait(20) == 5


def test_terminal_exec(engine):
    engine.run("sleep", "99", flags=["-d", "--name", "tty"])
    with engine.terminal("exec", "-it", "tty", "sh", "-c", "tty; read x; echo got $x; exit 4") as terminal:
        terminal.expect("/dev/pts", 20)
        terminal.type("words\n")
        terminal.expect("got words", 20)
        assert terminal.wait(20) == 4


def test_user_namespace(engine):
    if "podman" not in engine.client[0]:
        pytest.skip("dockerd maps users for all containers or none")
    rootfs = engine.image[1]
    run(["chmod", "-R", "a+rX", os.path.dirname(rootfs)])
    # The mapped root may not make podman's mount point in a root file system that is another's.
    os.makedirs(rootfs + "/run", exist_ok=True)
    with open(rootfs + "/run/.containerenv", "a", encoding="ascii"):
        pass
    done = engine.run("cat", "/proc/self/uid_map", flags=["--rm", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"])
    assert done.out.split() == ["0", "100000", "65536"]


def test_pod_namespaces_are_shared(engine):
    if "podman" in engine.client[0]:
        engine.run("sleep", "99", flags=["-d", "--name", "first"])
        first = engine("exec", "first", "readlink", "/proc/self/ns/ipc").out
        out = engine("run", *engine.flags, "--rm", "--network", "container:first", "--ipc", "container:first", *engine.image, "readlink", "/proc/self/ns/ipc").out
    else:
        engine.run("sleep", "99", flags=["-d", "--name", "first", "--ipc", "shareable"])
        first = engine("exec", "first", "readlink", "/proc/self/ns/ipc").out
        out = engine("run", "--rm", "--network", "container:first", "--ipc", "container:first", "--pid", "container:first", "busybox", "readlink", "/proc/self/ns/ipc").out
    assert out == first


# --- containerd ---

class Containerd:
    def __init__(self, oci, top):
        self.oci, self.top = oci, top
        daemon = program("containerd", "containerd")
        self.ctr_program = program("containerd", "ctr")
        os.makedirs(top)
        self.env = {**ENV, "PATH": PATH}
        with open(top + "/config.toml", "w", encoding="ascii") as file:
            file.write(f'version = 2\nroot = "{top}/root"\nstate = "{top}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{top}/c.sock"\n')
        self.log = open(top + "/log", "wb")
        self.process = subprocess.Popen(["unshare", "--net", "--mount", "--propagation", "slave", daemon, "--config", top + "/config.toml"], env=self.env, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        oci.machine.popens[self.process.pid] = self.process
        try:
            wait_for(lambda: self.process.poll() is not None or self("version", rc=None).rc == 0, "containerd answers", 30, 0.1)
            assert self.process.poll() is None, open(top + "/log", encoding="utf-8", errors="replace").read()[-2000:]
            self("images", "import", IMAGES + "/busybox.tar", timeout=120)
            self.image = next(n for n in self("images", "ls", "-q").out.split() if "busybox" in n)
        except BaseException:
            self.close()
            raise

    def __call__(self, *args, **options):
        self.oci.machine.reap()
        return run([self.ctr_program, "--address", self.top + "/c.sock", *args], self.env, **options)

    def argv(self, *args, ident, flags=()):
        return ["run", "--runc-binary", self.oci.machine.program, "--runc-root", self.top + "/runc", "--cgroup", f"{self.oci.machine.parent}/{ident}", *flags, self.image, ident, *args]

    def run(self, *args, ident="c", flags=(), **options):
        return self(*self.argv(*args, ident=ident, flags=flags), **options)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
        self.oci.machine.popens.pop(self.process.pid, None)


def hierarchies_are_mounted():
    """Every cgroup hierarchy that processes are in: one that was mounted once and is in use lives on without."""
    with open("/proc/self/cgroup", encoding="ascii") as file:
        named = {name.removeprefix("name=") for line in file for name in line.split(":")[1].split(",") if name}
    return named <= set(cgroup_mounts())


@pytest.fixture(scope="module")
def containerd(oci_machine, tmp_path_factory):
    work = f"{TREE}/build/tests/oci-containerd-{os.getpid()}"
    os.makedirs(os.path.dirname(work), exist_ok=True)
    made = Containerd(Oci(oci_machine, tmp_path_factory.mktemp("others")), work)
    yield made
    for ident in made("containers", "ls", "-q", rc=None).out.split():
        made("tasks", "kill", "-s", "KILL", ident, rc=None)
        made("tasks", "rm", "-f", ident, rc=None)
        made("containers", "rm", ident, rc=None)
    made.close()
    subprocess.run(["rm", "-rf", work], check=False)


def test_containerd_run(containerd):
    assert containerd.run("echo", "hello", flags=["--rm"]).out == "hello\n"


def test_containerd_exit_code(containerd):
    containerd.run("sh", "-c", "exit 5", flags=["--rm"], rc=5)


def test_containerd_missing_program(containerd):
    done = containerd.run("no-such-program", flags=["--rm"], rc=None)
    assert done.rc and "no-such-program" in done.err


def test_containerd_task(containerd):
    containerd.run("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done", ident="task", flags=["-d"])
    rows = containerd("tasks", "ls").out.splitlines()[1:]
    assert any(r.split()[0] == "task" and r.split()[2] == "RUNNING" for r in rows), rows
    assert containerd("tasks", "exec", "--exec-id", "e1", "task", "sh", "-c", "echo inside; exit 3", rc=3).out == "inside\n"
    assert len(containerd("tasks", "ps", "task").out.splitlines()) >= 2
    containerd("tasks", "pause", "task")
    assert "PAUSED" in containerd("tasks", "ls").out
    containerd("tasks", "resume", "task")
    if hierarchies_are_mounted():  # else containerd gives up, whatever the runtime
        assert json.loads(containerd("tasks", "metrics", "--format", "json", "task").out)
    containerd("tasks", "kill", "-s", "TERM", "task")
    wait_for(lambda: "STOPPED" in containerd("tasks", "ls").out, "it has stopped", 10)
    containerd("tasks", "rm", "task", rc=None)
    containerd("containers", "rm", "task")
    assert not [c for c in containerd.oci.machine.cgroups() if c.endswith("/task")]


def test_containerd_terminal(containerd):
    argv = [containerd.ctr_program, "--address", containerd.top + "/c.sock", *containerd.argv("sh", "-c", "tty; read x; echo got $x; exit 6", ident="tty", flags=["--rm", "-t"])]
    with Terminal(argv, {**containerd.env, "TERM": "xterm"}) as terminal:
        containerd.oci.machine.popens[terminal.process.pid] = terminal.process
        terminal.expect("/dev/pts", 20)
        terminal.type("words\n")
        terminal.expect("got words", 20)
        assert terminal.wait(20) == 6


def test_programs_are_unpacked():
    """So that a machine where none of them is there says so once."""
    if not shutil.which("podman", path=PATH) and not shutil.which("containerd", path=PATH):
        pytest.skip("neither podman nor containerd is unpacked")
