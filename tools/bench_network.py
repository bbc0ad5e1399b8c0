#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Networking in one run: throughput against plain veth pairs, what a bridge and a published port add to a start, what
300 networks leave behind, and how soon flushed rules are back.

    bench_network.py [--write] [--quick] [--only PART[,PART]]      parts: throughput start networks flush

Runs as root in a network namespace of its own. --write puts the table into docs/performance.md.
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import bench
import bench_scale
from harness.netns import NetworkNamespace

LIMITS = {"throughput": 0.95, "bridge": 1.3, "publish ms": 0.3, "flush ms": 50.0}
BEGIN, END = "<!-- bench network: written by ./dev bench network --write -->", "<!-- bench network: end -->"
BYTES = "400M"  # of one iperf3 run: short, so that what else the machine does hurts both paths of a comparison alike
# One stream, sender and receiver on a CPU each, and no congestion control that paces by a clock: what is left is the path.
STREAM = ["-n", BYTES, "-C", "cubic", "-J"]
CPUS = sorted(os.sched_getaffinity(0))


def pinned(cpu, argv):
    return ["taskset", "-c", str(cpu), *argv]


class Space:
    """A network namespace by its path, or our own (None)."""

    def __init__(self, path=None):
        self.path = path

    def enter(self, argv):
        return ["nsenter", "--net=" + self.path, *argv] if self.path else argv

    def run(self, *argv):
        subprocess.run(self.enter(list(argv)), check=True, capture_output=True, timeout=30)


def named(name):
    space = NetworkNamespace(name)
    out = Space(f"/run/netns/{name}")
    out.remove = space.remove
    return out


def wire(left, right, names, addresses):
    """A veth pair between two spaces, with a /24 each."""
    subprocess.run(["ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1]], check=True)
    for space, name, address in zip((left, right), names, addresses):
        if space.path:
            subprocess.run(["ip", "link", "set", name, "netns", os.path.basename(space.path)], check=True)
        space.run("ip", "addr", "add", address + "/24", "dev", name)
        space.run("ip", "link", "set", name, "up")


def show_bridged(space, yes):
    """Whether frames within a bridge of this namespace go through the rules of IP: br_netfilter, which some hosts load."""
    if os.path.exists("/proc/sys/net/bridge"):
        space.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={int(yes)}")


# --- throughput -----------------------------------------------------------------------------------------

class Path:
    """From one space to an iperf3 server in another one; `against` is the path it is compared with."""

    def __init__(self, name, client, server, address, port=5201, against=None, bridged=None, limit=None):
        self.name, self.client, self.server, self.address, self.port, self.against = name, client, server, address, port, against
        self.bridged = bridged  # the space whose bridge hands frames to the rules of IP
        self.limit = limit
        self.rates, self.cpu = [], []

    def listen(self):
        process = subprocess.Popen(self.server.enter(pinned(CPUS[-1], ["iperf3", "-s", "-p", "5201"])), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        bench_scale.wait_until(self.answers, f"the server of '{self.name}' answers", 10)
        return process

    def answers(self):
        done = subprocess.run(self.client.enter(["bash", "-c", f"exec 3<>/dev/tcp/{self.address}/{self.port}"]), stderr=subprocess.DEVNULL, timeout=5, check=False)
        return done.returncode == 0

    def measure(self):
        if self.bridged:
            show_bridged(self.bridged, True)
        try:
            self.measure_now()
        finally:
            if self.bridged:
                show_bridged(self.bridged, False)

    def measure_now(self):
        for _ in range(25):
            before = bench.machine_cpu()
            done = subprocess.run(self.client.enter(pinned(CPUS[0], ["iperf3", "-c", self.address, "-p", str(self.port), *STREAM])),
                                  capture_output=True, text=True, timeout=30, check=False)
            answer = json.loads(done.stdout)
            if not re.search("busy running a test|Connection refused", answer.get("error", "")):
                break
            time.sleep(0.2)  # the server still winds up the test before, or opens its port again
        if "error" in answer:
            raise RuntimeError(f"iperf3 of '{self.name}': {answer['error']}")
        total = answer["end"]["sum_received"]
        self.rates.append(total["bits_per_second"])
        self.cpu.append((bench.machine_cpu() - before) / total["bytes"])


def container(engine, ports=(), command=("sleep", "9999")):
    """Id, pid and address of a running container with published ports [(host, inside)]."""
    body = {"Image": "busybox", "Cmd": list(command), "HostConfig": {"PortBindings": {f"{inside}/tcp": [{"HostPort": str(host)}] for host, inside in ports}}}
    ident = engine.api.ok("POST", "/containers/create", body)["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    shown = engine.api.ok("GET", f"/containers/{ident}/json")
    return ident, shown["State"]["Pid"], shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]


def bare_bridge(spaces, hub):
    """The bridge that Linux gives, in a namespace without any rule: 10.92.3.1 and .2 in `spaces`."""
    hub.run("ip", "link", "add", "br0", "type", "bridge")
    hub.run("ip", "link", "set", "br0", "up")
    for number, space in enumerate(spaces, 1):
        name = os.path.basename(space.path)
        hub.run("ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", "cbn5", "netns", name)
        hub.run("ip", "link", "set", f"port{number}", "master", "br0", "up")
        space.run("ip", "addr", "add", f"10.92.3.{number}/24", "dev", "cbn5")
        space.run("ip", "link", "set", "cbn5", "up")


def throughput(engine, second, rounds):
    here = Space()
    spaces = [named("cbn-" + name) for name in ("left", "plain", "routed", "hub", "router")]
    left, plain, routed, hub, router = spaces
    servers, idents = [], []
    try:
        wire(left, plain, ("cbn0", "cbn1"), ("10.92.1.1", "10.92.1.2"))
        for side, space in enumerate((left, routed), 4):
            wire(router, space, (f"cbr{side}", f"cbs{side}"), (f"10.92.{side}.1", f"10.92.{side}.2"))
            space.run("ip", "route", "add", f"10.92.{9 - side}.0/24", "via", f"10.92.{side}.1")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        bare_bridge((left, plain), hub)
        for space in (here, hub):
            show_bridged(space, False)
        one, pid, address = container(engine, [(18700, 5201)])
        two, other, _ = container(engine)
        idents = [one, two]
        inside, neighbour = Space(f"/proc/{pid}/ns/net"), Space(f"/proc/{other}/ns/net")
        veth = Path("plain veth pair", left, plain, "10.92.1.2")
        two_pairs = Path("two plain veth pairs, routed", left, routed, "10.92.5.2")
        bare = [Path("the bridge of Linux alone, no rules", left, plain, "10.92.3.2", against=veth),
                Path("the same with br_netfilter", left, plain, "10.92.3.2", against=veth, bridged=hub)]
        limit = LIMITS["throughput"]
        paths = [veth, two_pairs, *bare,
                 Path("bridge, from the host", here, inside, address, against=veth, limit=limit),
                 Path("bridge, between two containers", neighbour, inside, address, against=veth, limit=limit),
                 Path("the same with br_netfilter", neighbour, inside, address, against=veth, bridged=here),
                 Path("published port, from the host", here, inside, "10.92.9.1", 18700, against=veth, limit=limit),
                 Path("published port, by loopback", here, inside, "127.0.0.1", 18700, against=veth),
                 Path("published port, from a second host", second, inside, "10.92.9.1", 18700, against=two_pairs, limit=limit)]
        for server in (plain, routed, inside):
            servers.append(next(p for p in paths if p.server is server).listen())
        for path in paths:
            bench_scale.wait_until(path.answers, f"a way for '{path.name}'", 10)
        for number in range(rounds):
            for path in paths if number % 2 else paths[::-1]:
                path.measure()
        return paths
    finally:
        for server in servers:
            server.kill()
            server.wait()
        for ident in idents:
            engine.api.delete(f"/containers/{ident}?force=1")
        for space in spaces:
            space.remove()


# --- starts -----------------------------------------------------------------------------------------------

KINDS = {"none": {"NetworkMode": "none"}, "bridge": {},
         "one port": {"PortBindings": {"80/tcp": [{"HostPort": "18701"}]}}, "eight ports": {"PortBindings": {f"{80 + n}/tcp": [{"HostPort": str(18710 + n)}] for n in range(8)}}}


def starts(engine, rounds):
    """Milliseconds of POST /start by kind of network, and of a whole `caisson run`."""
    wire_ = bench_scale.Wire(engine.socket)
    out = {kind: [] for kind in KINDS}
    for number in range(rounds + 5):
        order = list(KINDS)
        for kind in order if number % 2 else order[::-1]:
            body = json.dumps({"Image": "busybox", "Cmd": ["true"], "HostConfig": KINDS[kind]}).encode()
            status, answer, _ = wire_.ask("POST", "/containers/create", body)
            ident = re.search(rb'"Id": ?"([0-9a-f]{64})"', answer)[1].decode()
            status, answer, seconds = wire_.ask("POST", f"/containers/{ident}/start")
            if status != 204:
                raise RuntimeError(f"start: {status} {answer[:200]}")
            wire_.ask("POST", f"/containers/{ident}/wait")
            wire_.ask("DELETE", f"/containers/{ident}")
            time.sleep(0.005)  # the pool makes the next namespace meanwhile
            if number >= 5:
                out[kind].append(seconds * 1000)
    return out


def runs(engine, root, rounds):
    host = {"CAISSON_HOST": "unix://" + engine.socket, "HOME": root}
    contenders = [bench.Contender(kind, [bench.BIN + "/caisson", "run", "--rm", *flags, "busybox", "true"], host)
                  for kind, flags in (("none", ["--network", "none"]), ("bridge", []), ("one port", ["-p", "18702:80"]))]
    bench.rounds(contenders, rounds, root + "/stderr")
    for contender in contenders:
        if contender.problem:
            raise RuntimeError(contender.problem)
    return {c.name: [s * 1000 for s in c.seconds] for c in contenders}


# --- many networks ------------------------------------------------------------------------------------------

def state_of_kernel(engine):
    """Counts of what networks are made of."""
    def count(*argv):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        return json.loads(done.stdout or "[]")
    rules = count("nft", "-j", "list", "ruleset")["nftables"]
    elements = sum(len(item.get("set", item.get("map", {})).get("elem", [])) for item in rules)
    spaces = 0
    for fd in os.listdir(f"/proc/{engine.process.pid}/fd"):
        try:
            spaces += os.readlink(f"/proc/{engine.process.pid}/fd/{fd}").startswith("net:")
        except OSError:
            continue
    return {"links": len(count("ip", "-j", "link")), "nft elements": elements, "nft rules": sum("rule" in item for item in rules),
            "addresses": sum(len(link.get("addr_info", [])) for link in count("ip", "-j", "addr")),
            "namespaces held": spaces, "engine descriptors": len(os.listdir(f"/proc/{engine.process.pid}/fd"))}


def networks_share(path, first, count, step, seen):
    wire_ = bench_scale.Wire(path)

    def ask(method, where, body=None):
        status, answer, _ = wire_.ask(method, where, json.dumps(body).encode() if body else b"")
        if status >= 300 and status != 304:
            raise RuntimeError(f"{method} {where}: {status} {answer[:300]}")
        return json.loads(answer) if answer else None
    for number in range(first, count, step):
        name = f"n{number}"
        ask("POST", "/networks/create", {"Name": name, "IPAM": {"Config": [{"Subnet": f"10.{100 + number // 250}.{number % 250}.0/24"}]}})
        pair = []
        for _ in range(2):
            pair.append(ask("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "9999"], "HostConfig": {"NetworkMode": name}})["Id"])
            ask("POST", f"/containers/{pair[-1]}/start")
        seen.append((name, pair))


def many_networks(engine, count):
    """Networks with two containers each, all at once there, made and removed by four clients."""
    engine.api.ok("POST", "/networks/create", {"Name": "warm", "IPAM": {"Config": [{"Subnet": "10.99.0.0/24"}]}})
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "99"], "HostConfig": {"NetworkMode": "warm"}})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    engine.api.ok("DELETE", f"/containers/{ident}?force=1")
    engine.api.ok("DELETE", "/networks/warm")
    time.sleep(0.5)
    before = state_of_kernel(engine)
    made, problems = [], []

    def in_threads(work):
        def guarded(number):
            try:
                work(number)
            except Exception as error:  # the main thread tells
                problems.append(error)
        threads = [threading.Thread(target=guarded, args=(n,)) for n in range(4)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems:
            raise RuntimeError(str(problems[0]))
        return time.perf_counter() - started
    create = in_threads(lambda number: networks_share(engine.socket, number, count, 4, made))
    there = state_of_kernel(engine)
    addresses = [address for name, _ in made for address in (c["IPv4Address"] for c in engine.api.ok("GET", f"/networks/{name}")["Containers"].values())]

    def remove(number):
        for name, pair in made[number::4]:
            for ident in pair:
                engine.api.ok("DELETE", f"/containers/{ident}?force=1")
            engine.api.ok("DELETE", f"/networks/{name}")
    removal = in_threads(remove)
    end = time.monotonic() + 20
    while True:
        after = state_of_kernel(engine)
        if after["links"] <= before["links"] and after["nft elements"] <= before["nft elements"] or time.monotonic() > end:
            break
        time.sleep(0.2)
    # The engine keeps a few descriptors more or less by itself: prepared namespaces, idle connections.
    left = {key: after[key] - before[key] for key in before}
    return {"create s": create, "remove s": removal, "left": left, "there": there, "addresses": len(addresses), "distinct": len(set(addresses))}


# --- flushed rules --------------------------------------------------------------------------------------------

CONNECTS = r"""
import socket, sys, time
where = (sys.argv[1], int(sys.argv[2]))
while True:
    s = socket.socket()
    s.settimeout(0.01)
    try:
        s.connect(where)
        good = True
    except ConnectionRefusedError:
        good = False
    except OSError:
        continue  # its answer was on the way when the rules went, so nobody translated it back: the next one tells
    finally:
        s.close()
    print(int(good), time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)
    time.sleep(0.0005)
"""
ACCEPTS = r"""
import socket
s = socket.create_server(("0.0.0.0", 80), backlog=500)
print("ready", flush=True)
while True:
    s.accept()[0].close()
"""


def flushes(engine, second, rounds):
    """Milliseconds from the start of `nft flush ruleset` until a connection to the published port was made again, per
    round, and the longest time without one. Twenty other ports have to come back with it."""
    ident, pid, _ = container(engine, [(18703, 80)] + [(18720 + n, 8000 + n) for n in range(20)])
    server = subprocess.Popen(Space(f"/proc/{pid}/ns/net").enter(["/usr/bin/python3", "-c", ACCEPTS]), stdout=subprocess.PIPE)
    server.stdout.readline()
    client = subprocess.Popen(second.enter(["/usr/bin/python3", "-u", "-c", CONNECTS, "10.92.9.1", "18703"]), stdout=subprocess.PIPE)
    samples, lock = [], threading.Lock()

    def read():
        for line in client.stdout:
            good, when = line.split()
            with lock:
                samples.append((good == b"1", int(when) / 1e6))
    threading.Thread(target=read, daemon=True).start()

    def last(good=True):
        with lock:
            return next((when for was, when in reversed(samples) if was == good), None)
    try:
        bench_scale.wait_until(last, "the published port answers", 10)
        back, unseen = [], 0
        for _ in range(rounds):
            time.sleep(0.3)
            started = time.clock_gettime(time.CLOCK_MONOTONIC) * 1000
            subprocess.run(["nft", "flush", "ruleset"], check=True)
            flushed = time.clock_gettime(time.CLOCK_MONOTONIC) * 1000
            bench_scale.wait_until(lambda: (last() or 0) > flushed + 200, "the published port answers again", 10)
            with lock:
                failed = [when for was, when in samples if not was and started < when < flushed + 200]
                if failed:
                    back.append(next(when for was, when in samples if was and when > failed[-1]) - started)
                else:
                    unseen += 1
        return back, unseen
    finally:
        for process in (client, server):
            process.kill()
            process.wait()
        engine.api.delete(f"/containers/{ident}?force=1")


# --- the run --------------------------------------------------------------------------------------------------

def measure(root, image, options):
    facts = {}
    engine = bench.OurEngine(root)
    second = named("cbn-second")
    parts = options.only.split(",")
    try:
        wire(Space(), second, ("cbn8", "cbn9"), ("10.92.9.1", "10.92.9.2"))
        second.run("ip", "route", "add", "default", "via", "10.92.9.1")
        engine.start()
        engine.load(image)
        container_id, _, _ = container(engine)  # bridge, rules
        engine.api.delete(f"/containers/{container_id}?force=1")
        if "throughput" in parts:
            facts["paths"] = throughput(engine, second, 10 if options.quick else 60)
        if "start" in parts:
            facts["starts"] = starts(engine, 30 if options.quick else 150)
            facts["runs"] = runs(engine, root, 10 if options.quick else 40)
        if "flush" in parts:
            facts["flush"] = flushes(engine, second, 4 if options.quick else 20)
        if "networks" in parts:
            facts["networks"] = many_networks(engine, options.networks)
    finally:
        for entry in engine.api.ok("GET", "/containers/json?all=1") if engine.process and engine.process.poll() is None else []:
            engine.api.delete(f"/containers/{entry['Id']}?force=1")
        engine.stop()
        second.remove()
    return facts


def paired(values, against):
    """Each round against the same round of the other: what else the machine did meanwhile hurt both."""
    return statistics.median(a / b for a, b in zip(values, against))


def report(facts, options):
    lines = [f"Linux {platform.release().split('-')[0]}, {os.cpu_count()} CPUs, interleaved rounds, medians."]
    missed = []

    def rate(path):
        return paired(path.rates, path.against.rates)

    def limit(text, value, bound, shown, at_least=False):
        good = value >= bound if at_least else value <= bound
        lines.append(f"| {text} | {shown} | {'at least' if at_least else 'at most'} {bound:g} | {'kept' if good else 'MISSED'} |")
        if not good:
            missed.append(text)
    if "paths" in facts:
        lines += ["", f"| iperf3, one TCP stream of {BYTES}, CUBIC | against | throughput, x | CPU of the machine a byte, x |", "|---|---|---|---|"]
        for path in facts["paths"]:
            if path.against:
                lines.append(f"| {path.name} | {path.against.name} | {rate(path):.2f} | {paired(path.cpu, path.against.cpu):.2f} |")
    lines += ["", "| what | value | limit | |", "|---|---|---|---|"]
    for path in facts.get("paths", []):
        if path.limit:
            limit(f"throughput, {path.name}, x", rate(path), path.limit, f"{rate(path):.2f}", at_least=True)
    if "starts" in facts:
        starts_, runs_ = ({kind: statistics.median(values) for kind, values in facts[key].items()} for key in ("starts", "runs"))
        limit("`POST /start` with bridge, x none", starts_["bridge"] / starts_["none"], LIMITS["bridge"], f"{starts_['bridge'] / starts_['none']:.2f}")
        limit("`caisson run` with bridge, x none", runs_["bridge"] / runs_["none"], LIMITS["bridge"], f"{runs_['bridge'] / runs_['none']:.2f}")
        added = starts_["one port"] - starts_["bridge"]
        limit("one published port adds to a start, share of 0.3 ms", added / LIMITS["publish ms"], 1, f"{added / LIMITS['publish ms']:.2f}")
        added = (starts_["eight ports"] - starts_["one port"]) / 7
        lines.append(f"| each further one, share of 0.3 ms | {added / LIMITS['publish ms']:.2f} | | |")
    if "flush" in facts:
        back, unseen = facts["flush"]
        if back:
            limit("`nft flush ruleset`: a new connection again, slowest, share of 50 ms", max(back) / LIMITS["flush ms"], 1, f"{max(back) / LIMITS['flush ms']:.2f}")
            lines.append(f"| the same, median of {len(back)} | {statistics.median(back) / LIMITS['flush ms']:.2f} | | |")
        lines.append(f"| flushes that no connection noticed | {unseen} | | |")
    if "networks" in facts:
        many = facts["networks"]
        for key in ("links", "nft elements", "nft rules", "addresses"):
            limit(f"{options.networks} networks with 2 containers each came and went: {key} left", many["left"][key], 0, str(many["left"][key]))
        limit("the same: namespaces held by the engine, more than before", many["left"]["namespaces held"], 2, str(many["left"]["namespaces held"]))
        limit("the same: addresses given twice", many["addresses"] - many["distinct"], 0, str(many["addresses"] - many["distinct"]))
        lines.append(f"| links and nft elements while they were there | {many['there']['links']}, {many['there']['nft elements']} | | |")
    return lines, missed


def tell_figures(facts):
    """Bare figures of this machine, for whoever looks for where time goes."""
    for path in facts.get("paths", []):
        print(f"{path.name}: {statistics.median(path.rates) / 1e9:.2f} Gbit/s, {statistics.median(path.cpu) * 1e9:.3f} s CPU per GB", file=sys.stderr)
    for key in ("starts", "runs"):
        for kind, values in facts.get(key, {}).items():
            print(f"{key}, {kind}: {statistics.median(values):.3f} ms", file=sys.stderr)
    if "flush" in facts:
        print("flush: " + " ".join(f"{value:.1f}" for value in facts["flush"][0]) + " ms", file=sys.stderr)
    if "networks" in facts:
        print(f"networks: {facts['networks']}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench network", description="throughput, starts, many networks, flushed rules")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--only", default="throughput,start,networks,flush")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("dev: the bench starts containers, which needs root", file=sys.stderr)
        return 1
    for program in ("iperf3", "nft"):
        if not shutil.which(program):
            print(f"dev: {program} is not installed", file=sys.stderr)
            return 1
    if "CAISSON_BENCH_INSIDE" not in os.environ:
        os.environ["CAISSON_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    signal.signal(signal.SIGALRM, bench.on_alarm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.makedirs(bench.TREE + "/build/bench", exist_ok=True)
    root = tempfile.mkdtemp(prefix="network-", dir=bench.TREE + "/build/bench")
    try:
        image = root + "/busybox.tar"
        bench.busybox.build(image)
        facts = measure(root, image, options)
    except (RuntimeError, OSError, AssertionError, ValueError, subprocess.SubprocessError) as error:
        print(f"dev: the bench could not be run: {error}", file=sys.stderr)
        return 1
    finally:
        subprocess.run(["rm", "-rf", root], check=False)
    tell_figures(facts)
    lines, missed = report(facts, options)
    print("\n".join(lines))
    if options.write:
        bench.write_page(lines, BEGIN, END)
    if missed:
        print("\nmissed: " + "; ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
