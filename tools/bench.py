#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Start latency of containers against a floor program and other engines, and memory, in one run.

    bench.py [--write] [--rounds N] [--quick]

All contenders take turns in the same rounds, so that a busy machine hurts them alike; what is reported are
ratios against the floor program (bench/floor.cc), which makes the same container by the same system calls
without an engine. Runs as root in a network namespace of its own. --write puts the table into docs/performance.md.
"""
import argparse
import glob
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("CAISSON_BIN") or TREE + "/build/release/bin"
DEBS = TREE + "/build/cache/debs"
sys.path[:0] = [TREE + "/tools/images", TREE + "/tests"]
import archive  # noqa: E402
import busybox  # noqa: E402
from harness.api import Api  # noqa: E402
from harness.clients import find_docker  # noqa: E402
from harness.engine import own_name, remove_cgroups  # noqa: E402

RUN_LIMIT = 30  # seconds any one command may take
BUDGETS = {"bridge": 2.5, "dockerd": 15.0, "engine MiB": 12.0, "monitor KiB": 400.0, "ready ms": 100.0}


class Late(Exception):
    pass


def on_alarm(*_):
    raise Late()


def run_once(argv, env, log):
    """Wall seconds of one command; raises RuntimeError when it fails or hangs."""
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
               (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)]
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    signal.alarm(RUN_LIMIT)
    try:
        _, status = os.waitpid(pid, 0)
    except Late:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise RuntimeError(f"no end after {RUN_LIMIT} s: {' '.join(argv)}") from None
    finally:
        signal.alarm(0)
    seconds = time.perf_counter() - started
    if status:
        with open(log, encoding="utf-8", errors="replace") as file:
            raise RuntimeError(f"exit code {os.waitstatus_to_exitcode(status)}: {' '.join(argv)}: {file.read()[-300:].strip()}")
    return seconds


def busybox_peak(argv, env):
    done = subprocess.run([busybox.BUSYBOX, "time", "-f", "peak %M", *argv], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_LIMIT, check=False)
    match = re.search(r"peak (\d+)", done.stderr)
    return int(match[1]) if match else 0, done.stdout


def peak_kib(argv, env):
    """Peak RSS of one command. By way of busybox: a child of ours would count our own size."""
    # Some releases of busybox take KiB for pages: the unit is found by a program that knows its own peak.
    shown, own = busybox_peak([sys.executable, "-c", "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"], os.environ)
    unit = 4 if shown > 2 * int(own) else 1
    return busybox_peak(argv, env)[0] // unit


def machine_cpu():
    """CPU seconds the whole machine has used: clients, engines, helpers and containers alike."""
    for path, scale in (("/sys/fs/cgroup/cpuacct/cpuacct.usage", 1e-9), ("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", 1e-9)):
        try:
            with open(path, encoding="ascii") as file:
                return int(file.read()) * scale
        except OSError:
            continue
    with open("/sys/fs/cgroup/cpu.stat", encoding="ascii") as file:
        return int(re.search(r"usage_usec (\d+)", file.read())[1]) * 1e-6


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M)[1])


def status_kib(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(rf"^{field}:\s+(\d+)", file.read(), re.M)[1])


# --- contenders -------------------------------------------------------------------------------------

class Contender:
    def __init__(self, name, argv, env=None, every=1):
        self.name, self.argv, self.every = name, argv, every
        self.env = dict(os.environ, **(env or {}))
        self.seconds, self.cpu, self.peak, self.problem = [], [], 0, None

    def measure(self, log):
        before = machine_cpu()
        self.seconds.append(run_once(self.argv, self.env, log))
        self.cpu.append(machine_cpu() - before)


def floor_contenders(root):
    lower, scratch = root + "/floor/lower", root + "/floor/scratch"
    os.makedirs(lower)
    os.makedirs(scratch)
    with open(root + "/floor/layer.tar", "wb") as file:
        file.write(busybox.layer())
    with tarfile.open(root + "/floor/layer.tar") as tar:
        tar.extractall(lower)
    subprocess.run([BIN + "/floor", "--make-bpf", root + "/floor/bpf"], check=True, timeout=RUN_LIMIT)
    for argv in (["ip", "link", "add", "fbench0", "type", "bridge"], ["ip", "addr", "add", "172.29.0.1/16", "dev", "fbench0"], ["ip", "link", "set", "fbench0", "up"]):
        subprocess.run(argv, check=True, timeout=RUN_LIMIT)
    base = [BIN + "/floor", "--lower", lower, "--scratch", scratch, "--bpf", root + "/floor/bpf"]
    return [Contender("floor, bridge", base + ["--net", "bridge", "--bridge", "fbench0", "--address", "172.29.0.2", "--gateway", "172.29.0.1", "true"]),
            Contender("floor, none", base + ["--net", "none", "true"])]


def bundle_contenders(root):
    """crun and runc on a bundle: no image, no engine, no network."""
    out = []
    for name in ("crun", "runc"):
        program = shutil.which(name)
        if not program:
            out.append(missing(name + " run", "not installed"))
            continue
        bundle = f"{root}/{name}"
        shutil.copytree(root + "/floor/lower", bundle + "/rootfs", symlinks=True)
        subprocess.run([program, "spec"], cwd=bundle, check=True, timeout=RUN_LIMIT)
        with open(bundle + "/config.json", encoding="utf-8") as file:
            config = json.load(file)
        config["process"].update(terminal=False, args=["true"])
        config["root"]["readonly"] = False
        with open(bundle + "/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        out.append(Contender(name + " run, none", [program, "--root", f"{root}/{name}-state", "run", "-b", bundle, name + "-bench"], every=2))
    return out


def missing(name, reason):
    contender = Contender(name, [])
    contender.problem = reason
    return contender


class OurEngine:
    def __init__(self, root):
        self.root = root + "/caisson"
        os.makedirs(self.root)
        self.socket = self.root + "/c.sock"
        self.process = None
        self.api = Api(self.socket)

    def start(self):
        """Seconds from exec to the first answer."""
        log = open(self.root + "/engine.log", "ab")
        started = time.perf_counter()
        self.process = subprocess.Popen([BIN + "/caissond", "--data-root", self.root + "/data", "--exec-root", self.root + "/exec",
                                         "--host", "unix://" + self.socket, "--bridge", "cbench0"],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        while True:
            try:
                if self.api.get("/_ping", timeout=1).status == 200:
                    return time.perf_counter() - started
            except OSError:
                pass
            if self.process.poll() is not None or time.perf_counter() - started > 10:
                raise RuntimeError("caissond does not start: " + open(self.root + "/engine.log", encoding="utf-8").read()[-400:])
            time.sleep(0.0005)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        remove_cgroups(own_name(self.root + "/data", self.root + "/exec"))

    def load(self, path):
        with open(path, "rb") as file:
            answer = self.api.post("/images/load?quiet=1", file.read(), headers={"Content-Type": "application/x-tar"})
        if answer.status != 200:
            raise RuntimeError(f"load: {answer}")

    def monitors(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                    if file.read() == "caisson-monitor\n" and self.is_ours(pid):
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def is_ours(self, pid):
        """By an open file below our roots."""
        for fd in glob.glob(f"/proc/{pid}/fd/*"):
            try:
                if os.readlink(fd).startswith(self.root):
                    return True
            except OSError:
                continue
        return False


class Dockerd:
    """Debian's dockerd, containerd and runc from unpacked packages, in pid and mount namespaces of their own."""

    def __init__(self, root):
        self.root = root + "/dockerd"
        os.makedirs(self.root)
        self.process = None

    def start(self, image):
        program = glob.glob(DEBS + "/docker.io/usr/sbin/dockerd") or glob.glob(DEBS + "/docker.io/usr/bin/dockerd")
        containerd = glob.glob(DEBS + "/containerd/usr/bin/containerd")
        if not program or not containerd or not shutil.which("runc") or not shutil.which("iptables"):
            raise RuntimeError("docker.io, containerd, runc or iptables could not be had from Debian")
        path = ":".join(glob.glob(DEBS + "/*/usr/bin") + glob.glob(DEBS + "/*/usr/sbin") + ["/usr/sbin:/usr/bin:/sbin:/bin"])
        self.env = {"PATH": path, "HOME": self.root}
        self.host = f"unix://{self.root}/d.sock"
        log = open(self.root + "/log", "ab")
        self.process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", program[0],
                                         "--data-root", self.root + "/data", "--exec-root", self.root + "/exec", "--pidfile", self.root + "/pid", "-H", self.host,
                                         "--cgroup-parent", "caisson-bench-dockerd"],
                                        env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        api = Api(self.root + "/d.sock")
        end = time.monotonic() + 40
        while True:
            try:
                if api.get("/_ping", timeout=2).status == 200:
                    break
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("it does not start: " + open(self.root + "/log", encoding="utf-8").read()[-300:].strip().replace("\n", " "))
            time.sleep(0.05)
        with open(image, "rb") as file:
            api.post("/images/load?quiet=1", file.read(), headers={"Content-Type": "application/x-tar"}, timeout=60)
        self.version = api.ok("GET", "/version")["Version"]

    def pss_mib(self):
        """dockerd and containerd, idle."""
        total = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.path.basename(os.readlink(f"/proc/{pid}/exe")) in ("dockerd", "containerd") and DEBS in os.readlink(f"/proc/{pid}/exe"):
                    total += pss_kib(pid)
            except OSError:
                continue
        return total / 1024

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            # --kill-child ends the pid namespace, and with it everything dockerd has started.
            self.process.kill()
            self.process.wait()
        time.sleep(0.2)
        for folder in glob.glob("/sys/fs/cgroup/*/caisson-bench-dockerd") + glob.glob("/sys/fs/cgroup/caisson-bench-dockerd"):
            for inner, _, _ in os.walk(folder, topdown=False):
                try:
                    os.rmdir(inner)
                except OSError:
                    pass


# --- the run ----------------------------------------------------------------------------------------

def rounds(contenders, count, log):
    for number in range(count + 2):
        for contender in contenders:
            if contender.problem or number % contender.every:
                continue
            try:
                contender.measure(log)
            except (RuntimeError, OSError) as error:
                contender.problem = str(error)
            if number < 2:  # warm-up
                contender.seconds, contender.cpu = [], []
    for contender in contenders:
        if not contender.problem and not contender.seconds:
            contender.problem = "not measured"
        if not contender.problem:
            contender.peak = peak_kib(contender.argv, contender.env)


def median(values):
    return statistics.median(values)


def memory(engine):
    """Idle memory: {what: value}."""
    out = {}
    time.sleep(1.5)  # the engine gives memory back when idle
    out["engine idle PSS, MiB"] = pss_kib(engine.process.pid) / 1024
    out["engine peak RSS, MiB"] = status_kib(engine.process.pid, "VmHWM") / 1024
    idents = []
    for wanted in (1, 10):
        while len(idents) < wanted:
            ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "99"]})["Id"]
            engine.api.ok("POST", f"/containers/{ident}/start")
            idents.append(ident)
        time.sleep(1.5)  # a monitor lets go of what its start has touched when it has nothing to do
        values = [pss_kib(pid) for pid in engine.monitors()]
        out[f"monitor PSS of {wanted}, KiB"] = max(values) if len(values) == wanted else float("nan")
    for ident in idents:
        engine.api.delete(f"/containers/{ident}?force=1")
    return out


def measure(options):
    signal.signal(signal.SIGALRM, on_alarm)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # crun refuses hosts where the version 2 hierarchy beside version 1 has controllers; we are in a mount namespace of our own.
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL, check=False)
    os.makedirs(TREE + "/build/bench", exist_ok=True)
    root = tempfile.mkdtemp(prefix="run-", dir=TREE + "/build/bench")
    log = root + "/stderr"
    engine, dockerd = OurEngine(root), Dockerd(root)
    try:
        image = root + "/busybox.tar"
        archive.write_archive(image, ["busybox:latest"], [busybox.layer()], {"Cmd": ["sh"], "Env": ["PATH=/bin"]}, ["busybox"])
        engine.start()
        engine.load(image)
        ready = []
        for _ in range(5):
            engine.stop()
            ready.append(engine.start())
        host = {"CAISSON_HOST": "unix://" + engine.socket, "DOCKER_HOST": "unix://" + engine.socket, "DOCKER_CONFIG": root, "HOME": root}
        contenders = floor_contenders(root)
        contenders += [Contender("caisson run, bridge", [BIN + "/caisson", "run", "--rm", "busybox", "true"], host),
                       Contender("caisson run, none", [BIN + "/caisson", "run", "--rm", "--network", "none", "busybox", "true"], host)]
        docker = find_docker()
        contenders.append(Contender("docker run on caissond, bridge", [docker, "run", "--rm", "busybox", "true"], host, every=2) if docker
                          else missing("docker run on caissond, bridge", "no docker client"))
        contenders += bundle_contenders(root)
        if options.quick:
            contenders.append(missing("docker run on dockerd, bridge", "left out by --quick"))
        else:
            try:
                if not docker:
                    raise RuntimeError("no docker client")
                dockerd.start(image)
                old = {**dockerd.env, "DOCKER_HOST": dockerd.host, "DOCKER_CONFIG": root}
                # An old dockerd wants a client that speaks its version; each pair is what a user has.
                contenders.append(Contender(f"docker run on dockerd {dockerd.version}, bridge", [docker, "run", "--rm", "busybox", "true"], old, every=3))
                contenders.append(Contender(f"docker run on dockerd {dockerd.version}, none", [docker, "run", "--rm", "--network", "none", "busybox", "true"], old, every=3))
            except (RuntimeError, OSError) as error:
                contenders.append(missing("docker run on dockerd, bridge", str(error)))
        podman = podman_contender(root, image)
        contenders.append(podman)
        rounds(contenders, options.rounds, log)
        facts = memory(engine)
        facts["ready ms"] = min(ready) * 1000, max(ready) * 1000
        if dockerd.process:
            facts["dockerd+containerd idle PSS, MiB"] = dockerd.pss_mib()
        return contenders, facts
    finally:
        try:
            engine.stop()
        finally:
            dockerd.stop()
            shutil.rmtree(root, ignore_errors=True)


def podman_contender(root, image):
    program = shutil.which("podman")
    if not program:
        return missing("podman run", "not installed")
    base = [program, "--root", root + "/podman", "--runroot", root + "/podman-run", "--cgroup-manager", "cgroupfs"]
    done = subprocess.run(base + ["load", "-i", image], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return missing("podman run", done.stderr.strip()[-200:])
    return Contender("podman run, none", base + ["run", "--rm", "--network", "none", "busybox", "true"], every=3)


def report(contenders, facts, options):
    """Markdown lines and the list of missed budgets."""
    by_name = {c.name: c for c in contenders}
    floors = {"bridge": by_name["floor, bridge"], "none": by_name["floor, none"]}
    lines = [f"Linux {platform.release().split('-')[0]}, {os.cpu_count()} CPUs, {options.rounds} interleaved rounds, medians; each line against the floor program with the same kind of network.", "",
             "| contender | wall, x floor | CPU of the whole machine, x floor | peak RSS of the command, MiB |", "|---|---|---|---|"]
    ratio = {}
    for c in contenders:
        floor = floors["none" if c.name.endswith("none") else "bridge"]
        if c.problem or floor.problem:
            lines.append(f"| {c.name} | not measured: {(c.problem or floor.problem)[:160]} | | |")
            continue
        ratio[c.name] = median(c.seconds) / median(floor.seconds)
        lines.append(f"| {c.name} | {ratio[c.name]:.2f} | {median(c.cpu) / max(median(floor.cpu), 1e-9):.2f} | {c.peak / 1024:.1f} |")
    lines += ["", "| idle memory and start | value | limit | |", "|---|---|---|---|"]
    missed = []

    def limit(text, value, bound, shown, at_least=False):
        good = value >= bound if at_least else value <= bound
        lines.append(f"| {text} | {shown} | {'at least' if at_least else 'at most'} {bound:g} | {'kept' if good else 'MISSED'} |")
        if not good:
            missed.append(text)
    nan = float("nan")
    limit("caisson run with bridge, x floor", ratio.get("caisson run, bridge", nan), BUDGETS["bridge"], f"{ratio.get('caisson run, bridge', nan):.2f}")
    dockerd = next((n for n in ratio if n.startswith("docker run on dockerd") and n.endswith("bridge")), None)
    if dockerd:
        faster = ratio[dockerd] / ratio.get("caisson run, bridge", nan)
        limit("caisson run faster than docker run on dockerd, x", faster, BUDGETS["dockerd"], f"{faster:.1f}", at_least=True)
    limit("engine, idle PSS, MiB", facts["engine idle PSS, MiB"], BUDGETS["engine MiB"], f"{facts['engine idle PSS, MiB']:.1f}")
    for count in (1, 10):
        value = facts[f"monitor PSS of {count}, KiB"]
        limit(f"largest monitor of {count}, PSS, KiB", value, BUDGETS["monitor KiB"], f"{value:.0f}")
    best, worst = facts["ready ms"]
    limit("engine start to first answer, share of 100 ms", worst / 100, 1.0, f"{best / 100:.2f} to {worst / 100:.2f}")
    lines.append(f"| engine, peak RSS during the rounds, MiB | {facts['engine peak RSS, MiB']:.1f} | | |")
    if "dockerd+containerd idle PSS, MiB" in facts:
        lines.append(f"| dockerd and containerd, idle PSS, MiB | {facts['dockerd+containerd idle PSS, MiB']:.1f} | | |")
    return lines, missed


def write_page(lines, begin="<!-- bench: written by ./dev bench --write -->", end="<!-- bench: end -->"):
    path = TREE + "/docs/performance.md"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + begin + "\n" + "\n".join(lines) + "\n" + end + tail)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description="start latency and memory, as ratios of one run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="without dockerd")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("dev: the bench starts containers, which needs root", file=sys.stderr)
        return 1
    if "CAISSON_BENCH_INSIDE" not in os.environ:
        os.environ["CAISSON_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        contenders, facts = measure(options)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"dev: the bench could not be run: {error}", file=sys.stderr)
        return 1
    lines, missed = report(contenders, facts, options)
    print("\n".join(lines))
    if options.write:
        write_page(lines)
    if missed:
        print("\nmissed: " + "; ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
