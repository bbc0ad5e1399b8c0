#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pull, load and save of an image of 20,000 files and 500 MB against a floor program, dockerd and podman, in one run.

    bench_images.py [--write] [--rounds N] [--quick] [--only pull,load,save]

Runs as root in a network namespace of its own; the registry is Debian's on its loopback. The contenders take turns in
every round, the disk is flushed before each. --write puts the table into docs/performance.md; --quick leaves dockerd and
podman out.
"""
import argparse
import glob
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import bench
import bench_image_data as data
from harness.api import UnixConnection

PORT = 5000
REFERENCE = f"127.0.0.1:{PORT}/{data.NAME}:{data.TAG}"
LIMITS = {"floor": 1.3, "others": 2.5, "memory MiB": 60.0}
OPERATIONS = ("pull", "load", "save")
BEGIN, END = "<!-- bench images: written by ./dev bench images --write -->", "<!-- bench images: end -->"


class Registry:
    """Debian's docker-registry over the cached storage; makes the image when it is not there yet."""

    def __init__(self):
        programs = glob.glob(bench.DEBS + "/docker-registry/usr/bin/docker-registry")
        if not programs:
            raise RuntimeError("docker-registry could not be had from Debian")
        self.program = programs[0]
        self.folder = f"{bench.TREE}/build/cache/bench-image-{data.VERSION}"
        self.process = None

    def start(self):
        if not os.path.exists(self.folder + "/facts.json"):
            print("making the image of the bench (once)", file=sys.stderr)
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.rmtree(self.folder + ".new", ignore_errors=True)
            self.serve(self.folder + ".new")
            data.make(self.folder + ".new", PORT)
            self.stop()
            os.rename(self.folder + ".new", self.folder)
        self.serve(self.folder)
        with open(self.folder + "/facts.json", encoding="ascii") as file:
            return json.load(file)

    def serve(self, folder):
        os.makedirs(folder, exist_ok=True)
        config = folder + "/config.yml"
        with open(config, "w", encoding="ascii") as file:
            file.write(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/storage}}}}\nhttp: {{addr: 127.0.0.1:{PORT}}}\nlog: {{level: error, accesslog: {{disabled: true}}}}\n")
        self.process = subprocess.Popen([self.program, "serve", config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")})
        end = time.monotonic() + 15
        while True:
            try:
                data.put(PORT, "GET", "/v2/", None)
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError("the registry does not start") from None
                time.sleep(0.05)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def run(argv, env=None, limit=300):
    """Seconds; the output of a command that fails is its error."""
    started = time.perf_counter()
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, check=False)
    seconds = time.perf_counter() - started
    if done.returncode or b'"errorDetail"' in done.stdout:
        raise RuntimeError(f"{' '.join(argv[:4])}...: {done.stdout[-300:].decode(errors='replace').strip()}")
    return seconds


class Floor:
    def __init__(self, root, facts, folder, keep=True):
        self.name = "floor" if keep else "floor that keeps no blobs"
        self.operations = OPERATIONS if keep else OPERATIONS[:2]
        self.root, self.facts, self.folder = root + "/floor" + "-" * (not keep), facts, folder
        self.keep = "1" if keep else "0"
        os.makedirs(self.root)
        # As the engine does it: ext4 otherwise looks long for inodes where many have just gone.
        subprocess.run(["chattr", "+T", self.root], stderr=subprocess.DEVNULL, check=False)

    def pull(self):
        return run([bench.BIN + "/floor_image", "pull", "127.0.0.1", str(PORT), data.NAME, self.root + "/out", "3", self.keep, *self.facts["layers"]])

    def load(self):
        return run([bench.BIN + "/floor_image", "load", self.folder + "/image.tar", self.root + "/out", self.keep])

    def save(self):
        blobs = sorted(glob.glob(self.root + "/out/*.blob"))
        return run([bench.BIN + "/floor_image", "save", self.root + "/saved.tar", *blobs])

    def forget(self):
        subprocess.run(["rm", "-rf", self.root + "/out", self.root + "/saved.tar"], check=True)


class ApiEngine:
    """caissond and dockerd, by the same requests of the same client."""

    def __init__(self, name, socket, root, folder):
        self.name, self.socket, self.root, self.folder = name, socket, root, folder
        self.curl = ["curl", "-s", "--fail-with-body", "--noproxy", "*", "--unix-socket", socket]

    def pull(self):
        return run(self.curl + ["-X", "POST", f"http://d/images/create?fromImage={REFERENCE.rpartition(':')[0]}&tag={data.TAG}"])

    def load(self):
        return run(self.curl + ["-X", "POST", "-T", self.folder + "/image.tar", "-H", "Content-Type: application/x-tar", "http://d/images/load?quiet=1"])

    def save(self):
        return run(self.curl + ["-o", self.root + "/saved.tar", f"http://d/images/{data.NAME}:{data.TAG}/get"])

    def ask(self, method, path):
        connection = UnixConnection(self.socket, 300)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {body[:200]!r}")
        return body

    def forget(self):
        for image in json.loads(self.ask("GET", "/images/json")):
            if not any(tag.startswith("busybox:") for tag in image["RepoTags"] or []):
                self.ask("DELETE", f"/images/{image['Id']}?force=1")
        if os.path.exists(self.root + "/saved.tar"):
            os.remove(self.root + "/saved.tar")


class Podman:
    def __init__(self, root, folder):
        programs = [p for p in [shutil.which("podman"), *glob.glob(bench.DEBS + "/podman/usr/bin/podman")] if p]
        if not programs:
            raise RuntimeError("podman could not be had from Debian")
        self.root, self.folder = root + "/podman", folder
        os.makedirs(self.root)
        for name, text in (("policy.json", '{"default":[{"type":"insecureAcceptAnything"}]}'), ("registries.conf", ""), ("storage.conf", f'[storage]\ndriver="overlay"\ngraphroot="{self.root}/data"\nrunroot="{self.root}/run"\n'), ("containers.conf", "")):
            with open(f"{self.root}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        self.env = {"PATH": ":".join(glob.glob(bench.DEBS + "/*/usr/bin") + ["/usr/sbin:/usr/bin:/sbin:/bin"]), "HOME": self.root, "TMPDIR": self.root,
                    "CONTAINERS_REGISTRIES_CONF": self.root + "/registries.conf", "CONTAINERS_STORAGE_CONF": self.root + "/storage.conf", "CONTAINERS_CONF": self.root + "/containers.conf"}
        self.base = [programs[0], "--root", self.root + "/data", "--runroot", self.root + "/run", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        version = subprocess.run(self.base + ["--version"], env=self.env, capture_output=True, text=True, check=False, timeout=60).stdout.split()
        self.name = "podman " + (version[-1] if version else "")

    def podman(self, *arguments):
        return run([*self.base, *arguments], self.env)

    def pull(self):
        return self.podman("pull", "-q", "--tls-verify=false", "--signature-policy", self.root + "/policy.json", REFERENCE)

    def load(self):
        return self.podman("load", "-q", "--signature-policy", self.root + "/policy.json", "-i", self.folder + "/image.tar")

    def save(self):
        return self.podman("save", "-q", "--signature-policy", self.root + "/policy.json", "-o", self.root + "/saved.tar", f"localhost/{data.NAME}:{data.TAG}")

    def forget(self):
        run([*self.base, "rmi", "-a", "-f"], self.env)
        if os.path.exists(self.root + "/saved.tar"):
            os.remove(self.root + "/saved.tar")


class Weigher(threading.Thread):
    """Largest sum of the PSS of the engine and all that it has started, sampled while an operation runs."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.done = pid, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.02):
            total = 0
            for pid in self.family():
                try:
                    total += bench.pss_kib(pid)
                except (OSError, TypeError):
                    continue
            self.peak = max(self.peak, total)

    def family(self):
        out, rest = [], [self.pid]
        while rest:
            pid = rest.pop()
            out.append(pid)
            for children in glob.glob(f"/proc/{pid}/task/*/children"):
                try:
                    with open(children, encoding="ascii") as file:
                        rest += map(int, file.read().split())
                except OSError:
                    continue
        return out


def weigh(engine, process, facts, operations):
    for operation in operations:
        weigher = Weigher(process.pid)
        weigher.start()
        getattr(engine, operation)()
        weigher.done.set()
        weigher.join()
        facts[f"memory of {operation}"] = weigher.peak / 1024
        if operation == "pull":
            engine.forget()
    engine.forget()


def rounds(contenders, options):
    """{name: {operation: [seconds]}} and {name: problem}."""
    seconds = {c.name: {o: [] for o in OPERATIONS} for c in contenders}
    problems = {}
    for _ in range(options.rounds):
        for operation in options.only:
            for contender in contenders:
                if contender.name in problems or operation not in getattr(contender, "operations", OPERATIONS):
                    continue
                os.sync()
                try:
                    seconds[contender.name][operation].append(getattr(contender, operation)())
                    if operation == "pull" or operation == [o for o in options.only if o in getattr(contender, "operations", OPERATIONS)][-1]:
                        contender.forget()
                except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError) as error:
                    problems[contender.name] = str(error).replace("\n", " ")
    return seconds, problems


def measure(options):
    os.makedirs(bench.TREE + "/build/bench", exist_ok=True)
    root = tempfile.mkdtemp(prefix="images-", dir=bench.TREE + "/build/bench")
    registry, ours, dockerd = Registry(), bench.OurEngine(root), bench.Dockerd(root)
    try:
        facts = registry.start()
        ours.start()
        caisson = ApiEngine("caisson", ours.socket, ours.root, registry.folder)
        contenders, problems = [Floor(root, facts, registry.folder), Floor(root, facts, registry.folder, keep=False), caisson], {}
        if not options.quick:
            image = root + "/busybox.tar"
            bench.busybox.build(image)
            try:
                dockerd.start(image)
                contenders.append(ApiEngine("dockerd " + dockerd.version, dockerd.root + "/d.sock", dockerd.root, registry.folder))
            except (RuntimeError, OSError) as error:
                problems["dockerd"] = str(error)
            try:
                contenders.append(Podman(root, registry.folder))
            except (RuntimeError, OSError) as error:
                problems["podman"] = str(error)
        weigh(caisson, ours.process, facts, options.only)
        seconds, failed = rounds(contenders, options)
        return facts, seconds, {**problems, **failed}
    finally:
        try:
            ours.stop()
        finally:
            dockerd.stop()
            registry.stop()
            subprocess.run(["rm", "-rf", root], check=False)


def report(facts, seconds, problems, options):
    lines = [f"Linux {platform.release().split('-')[0]}, {os.cpu_count()} CPUs, {facts['files']} files and {facts['bytes'] / 1e6:.0f} MB in {len(facts['layers'])} gzip layers ({facts['compressed'] / 1e6:.0f} MB), "
             f"{options.rounds} interleaved rounds, medians, each against the floor program.", "",
             "| wall, x floor | " + " | ".join(options.only) + " |", "|---|" + "---|" * len(options.only)]
    ratio = {}
    floor = seconds["floor"]
    for name, measured in seconds.items():
        if name in problems:
            lines.append(f"| {name} | not measured: {problems[name][:160]} |" + " |" * (len(options.only) - 1))
            continue
        ratio[name] = {o: statistics.median(measured[o]) / statistics.median(floor[o]) for o in options.only if measured[o] and floor[o]}
        lines.append(f"| {name} | " + " | ".join(f"{ratio[name][o]:.2f}" if o in ratio[name] else "" for o in options.only) + " |")
    lines += [f"| {name} | not measured: {text[:160]} |" + " |" * (len(options.only) - 1) for name, text in problems.items() if name not in seconds]
    lines += ["", "| budget | value | limit | |", "|---|---|---|---|"]
    missed = []

    def limit(text, value, bound, at_least=False):
        good = value >= bound if at_least else value <= bound
        lines.append(f"| {text} | {value:.2f} | {'at least' if at_least else 'at most'} {bound:g} | {'kept' if good else 'MISSED'} |")
        if not good:
            missed.append(text)
    for operation in options.only:
        limit(f"{operation}, x floor", ratio["caisson"][operation], LIMITS["floor"])
        for name in ratio:
            if name.startswith(("dockerd", "podman")):
                limit(f"{operation}, faster than {name}, x", ratio[name][operation] / ratio["caisson"][operation], LIMITS["others"], at_least=True)
    for operation in options.only:
        limit(f"{operation}, peak memory of the engine and its workers, PSS, MiB", facts[f"memory of {operation}"], LIMITS["memory MiB"])
    return lines, missed


def main():
    parser = argparse.ArgumentParser(prog="./dev bench images", description="pull, load and save of a large image, as ratios of one run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="without dockerd and podman")
    parser.add_argument("--only", type=lambda text: [o for o in OPERATIONS if o in text.split(",")], default=list(OPERATIONS), help="pull, load (save needs load)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("dev: the bench unpacks images, which needs root", file=sys.stderr)
        return 1
    if "CAISSON_BENCH_INSIDE" not in os.environ:
        os.environ["CAISSON_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        facts, seconds, problems = measure(options)
    except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError) as error:
        print(f"dev: the bench could not be run: {error}", file=sys.stderr)
        return 1
    if "caisson" in problems or "floor" in problems:
        print(f"dev: the bench could not be run: {problems}", file=sys.stderr)
        return 1
    lines, missed = report(facts, seconds, problems, options)
    print("\n".join(lines))
    print("\n" + "; ".join(f"{name}: " + ", ".join(f"{o} {statistics.median(v):.2f}" for o, v in by.items() if v) for name, by in seconds.items()), file=sys.stderr)
    if options.write:
        bench.write_page(lines, BEGIN, END)
    if missed:
        print("\nmissed: " + "; ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
