#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""OCI runtimes on one bundle, in one run: busybox, all namespaces but user and time, Docker's default capabilities and
system call filter, memory, cpu and pids limits, device rules.

    bench_oci.py [--write] [--rounds N]

Ratios against crun, and for `run` against the floor program of bench/. Runs as root in network and mount namespaces of
its own. --write puts the table into docs/performance.md.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile

import bench
from bench import BIN, RUN_LIMIT, TREE, Contender, median, missing

BUDGETS = (("caisson-oci run", "crun run", 0.6), ("caisson-oci exec", "crun exec", 0.6), ("caisson-oci run", "floor", 1.6))
SECCOMP = TREE + "/../shared/spec/seccomp-default.json"
CAPABILITIES = ["CAP_" + name for name in "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE".split()]


def filter_section():
    """Docker's default profile with its conditions resolved for CAPABILITIES, as an engine writes it."""
    with open(SECCOMP, encoding="utf-8") as file:
        profile = json.load(file)
    rules = []
    for rule in profile["syscalls"]:
        with_, without = rule.get("includes", {}), rule.get("excludes", {})
        if not set(with_.get("caps", [])) <= set(CAPABILITIES) or set(without.get("caps", [])) & set(CAPABILITIES):
            continue
        if "amd64" not in with_.get("arches", ["amd64"]) or "amd64" in without.get("arches", []):
            continue
        rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key) is not None})
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules}


def make_bundle(place, lower, args):
    shutil.copytree(lower, place + "/rootfs", symlinks=True)
    subprocess.run(["crun", "spec"], cwd=place, check=True, timeout=RUN_LIMIT)
    with open(place + "/config.json", encoding="utf-8") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=args, capabilities={kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")})
    config["root"]["readonly"] = False
    linux = config["linux"]
    present = {entry["type"] for entry in linux["namespaces"]}
    linux["namespaces"] += [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup") if kind not in present]
    linux["resources"] = {"memory": {"limit": 256 << 20}, "cpu": {"shares": 512, "quota": 50000, "period": 100000}, "pids": {"limit": 100},
                          "devices": [{"allow": False, "access": "rwm"}]}
    has_filter = os.path.exists(SECCOMP)
    if has_filter:
        linux["seccomp"] = filter_section()
    with open(place + "/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
    return has_filter


def runtimes(root):
    """(name, command to which a subcommand is added)"""
    for name, program in (("caisson-oci", BIN + "/caisson-oci"), ("crun", shutil.which("crun")), ("runc", shutil.which("runc"))):
        yield name, [program, "--root", f"{root}/{name}-state"] if program and os.path.exists(program) else None


def measure(options):
    signal.signal(signal.SIGALRM, bench.on_alarm)
    # crun refuses hosts where the version 2 hierarchy beside version 1 has controllers; the mount namespace is ours.
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL, check=False)
    os.makedirs(TREE + "/build/bench", exist_ok=True)
    root = tempfile.mkdtemp(prefix="oci-", dir=TREE + "/build/bench")
    running = []
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        floor = bench.floor_contenders(root)[1]
        floor.name = "floor"
        contenders, has_filter = [floor], True
        for name, command in runtimes(root):
            if not command:
                contenders += [missing(name + " run", "not installed"), missing(name + " exec", "not installed")]
                continue
            has_filter &= make_bundle(f"{root}/{name}", root + "/floor/lower", ["true"])
            make_bundle(f"{root}/{name}-sleep", root + "/floor/lower", ["sleep", "1000"])
            subprocess.run(command + ["run", "-d", "-b", f"{root}/{name}-sleep", name + "-sleep"], check=True, timeout=RUN_LIMIT,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            running.append(command + ["delete", "--force", name + "-sleep"])
            every = 2 if name == "runc" else 1
            contenders.append(Contender(name + " run", command + ["run", "-b", f"{root}/{name}", name + "-bench"], every=every))
            contenders.append(Contender(name + " exec", command + ["exec", name + "-sleep", "true"], every=every))
        bench.rounds(contenders, options.rounds, root + "/stderr")
        return contenders, has_filter
    finally:
        for command in running:
            subprocess.run(command, check=False, timeout=RUN_LIMIT)
        shutil.rmtree(root, ignore_errors=True)


def report(contenders, has_filter, options):
    """Markdown lines and the list of missed budgets."""
    by_name = {c.name: c for c in contenders}
    lines = [f"Linux {platform.release().split('-')[0]}, {os.cpu_count()} CPUs, {options.rounds} interleaved rounds, medians"
             + ("." if has_filter else "; without the default system call filter, whose table is not on this machine."), "",
             "| command | wall, x crun | wall, x floor | CPU of the whole machine, x crun | peak RSS, MiB |", "|---|---|---|---|---|"]
    floor = by_name["floor"]
    for c in contenders:
        base = by_name["crun exec" if c.name.endswith("exec") else "crun run"]
        if c.problem or base.problem:
            lines.append(f"| {c.name} | not measured: {(c.problem or base.problem)[:160]} | | | |")
            continue
        over_floor = "" if c.name.endswith("exec") or floor.problem else f"{median(c.seconds) / median(floor.seconds):.2f}"
        lines.append(f"| {c.name} | {median(c.seconds) / median(base.seconds):.2f} | {over_floor} | {median(c.cpu) / max(median(base.cpu), 1e-9):.2f} | {c.peak / 1024:.1f} |")
    lines += ["", "| budget | value | limit | |", "|---|---|---|---|"]
    missed = []

    def row(text, value, limit):
        kept = value <= limit
        lines.append(f"| {text} | {value:.2f} | at most {limit:g} | {'kept' if kept else 'missed'} |")
        if not kept:
            missed.append(f"{text}: {value:.2f}, limit {limit:g}")

    for ours, other, limit in BUDGETS:
        if not by_name[ours].problem and not by_name[other].problem:
            row(f"{ours}, wall, x {other}", median(by_name[ours].seconds) / median(by_name[other].seconds), limit)
    for kind in ("run", "exec"):
        ours, other = by_name["caisson-oci " + kind], by_name["crun " + kind]
        if not ours.problem and not other.problem and other.peak:
            row(f"caisson-oci {kind}, peak memory, x crun", ours.peak / other.peak, 1.0)
    return lines, missed


def main():
    parser = argparse.ArgumentParser(prog="./dev bench oci", description="OCI runtimes on one bundle, as ratios of one run")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("dev: the bench starts containers, which needs root", file=sys.stderr)
        return 1
    if not options.inside:
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv, "--inside"])
    try:
        contenders, has_filter = measure(options)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"dev: the bench could not be run: {error}", file=sys.stderr)
        return 1
    lines, missed = report(contenders, has_filter, options)
    print("\n".join(lines))
    if options.write:
        bench.write_page(lines, "<!-- bench oci: written by ./dev bench oci --write -->", "<!-- bench oci: end -->")
    for text in missed:
        print("missed:", text, file=sys.stderr)
    problems = [c for c in contenders if c.problem]
    return 1 if missed or any(c.name.startswith(("caisson", "floor")) for c in problems) else 0


if __name__ == "__main__":
    sys.exit(main())
