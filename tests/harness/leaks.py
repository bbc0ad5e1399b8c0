# SPDX-License-Identifier: Apache-2.0
"""What an engine holds of the machine, so that a test can be asked to leave nothing behind."""
import json
import os
import re
import time

# The engine may keep idle connections, worker pipes and a pool of namespaces.
FD_SLACK = 12
SETTLE_SECONDS = 10.0
# Its own books and caches; they grow as they like.
OWN_FILES = re.compile(r"(^|/)(state\.db[^/]*|events(\.1)?|engine\.log|engine\.sock|caissond?\.pid|[^/]*\.sock|seccomp/[0-9a-f]+)$")


def open_files(pid):
    out = []
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                out.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:
                pass
    except OSError:
        pass
    return out


def host_mounts(root):
    """Mounts of the host that mention the engine's directories, and overlays of anybody made meanwhile."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return sorted(line.split(" ", 3)[3] for line in file if root in line)


def empty_cgroups(own_name):
    """Cgroup directories, in every hierarchy, that are named after a container id and hold no process. Those of other
    engines with roots of their own, which may run at the same time, are not looked at."""
    found = []
    for folder, dirs, _ in os.walk("/sys/fs/cgroup"):
        for name in dirs:
            others = re.search("/(caisson-[0-9a-f]{8})(/|$)", folder)
            if re.search("[0-9a-f]{64}", name) and (not others or others[1] == own_name):
                try:
                    with open(os.path.join(folder, name, "cgroup.procs"), encoding="ascii") as file:
                        if file.read().strip():
                            continue
                except OSError:
                    continue
                found.append(os.path.join(folder, name))
    return sorted(found)


def files_below(root):
    """Names below the data and exec roots; the insides of layers and container file systems are left out."""
    out = set()
    for top in (root + "/data", root + "/exec"):
        for folder, dirs, files in os.walk(top):
            inside = os.path.relpath(folder, root)
            depth = inside.count("/")
            if depth >= 3:
                dirs[:] = []
                continue
            out.update(os.path.join(inside, name) for name in dirs + files if not OWN_FILES.search(os.path.join(inside, name)))
    return out


def tables(rules):
    """Names of the tables that the entries of a rule set belong to."""
    return {entry.get("table") or (kind == "table" and entry.get("name")) for rule in rules for kind, entry in json.loads(rule).items()} - {False, None}


class Snapshot:
    def __init__(self, engine):
        self.fds = open_files(engine.pid)
        self.mounts = host_mounts(engine.root)
        self.links = engine.netns.links()
        self.rules = engine.netns.rules()
        self.processes = set(engine.processes())
        self.process_lines = engine.processes()
        self.files = files_below(engine.root)
        self.cgroups = empty_cgroups(engine.own_name)
        self.containers = {c["Id"] for c in engine.containers()}


def differences(engine, before):
    """One line for each thing that was not there before."""
    now = Snapshot(engine)
    out = []
    if len(now.fds) > len(before.fds) + FD_SLACK:
        extra = list(now.fds)
        for name in before.fds:
            if name in extra:
                extra.remove(name)
        out.append(f"{len(now.fds) - len(before.fds)} more open files in the engine: {sorted(extra)[:30]}")
    out += [f"mount: {m}" for m in now.mounts if m not in before.mounts]
    # The bridge and the engine's table appear with the first container and stay; what is in the table must not grow.
    out += [f"network link: {link}" for link in now.links if link not in before.links and link != engine.bridge]
    first = engine.own_name not in tables(before.rules)
    out += [f"nft rule: {rule}" for rule in now.rules if rule not in before.rules and not (first and tables([rule]) == {engine.own_name})]
    # One that answers for names is there from the first network of a user on, as long as the engine; one that carries
    # IPv6 clients, while ports are published and some seconds longer.
    allowed = ("caisson-dns", "caisson-relay")
    new = {pid: now.process_lines.get(pid) for pid in now.processes - before.processes}
    out += [f"process {pid}: {line}" for pid, line in new.items() if not any(name in str(line) for name in allowed)]
    for name in allowed:
        if len([line for line in now.process_lines.values() if name in str(line)]) > 1:
            out.append(f"more than one {name}")
    out += [f"file: {name}" for name in sorted(now.files - before.files)]
    out += [f"cgroup: {name}" for name in now.cgroups if name not in before.cgroups]
    return out


def settled_differences(engine, before):
    """What is left after the engine had time to clean up."""
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        left = differences(engine, before)
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)
