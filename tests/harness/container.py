# SPDX-License-Identifier: Apache-2.0
"""Facts about containers that are read from the kernel, not from the engine."""
import glob
import json

from harness.shell import wait_for


def inspect(client, name):
    return json.loads(client.out("inspect", name))[0]


def pid_of(client, name):
    return inspect(client, name)["State"]["Pid"]


def cgroup_value(container_id, controller, v1_file, v2_file):
    """The content of a container's limit file on either version of cgroups."""
    for pattern, file in ((f"/sys/fs/cgroup/{controller}/**/*{container_id}*", v1_file), (f"/sys/fs/cgroup/**/*{container_id}*", v2_file)):
        for folder in glob.glob(pattern, recursive=True):
            try:
                with open(f"{folder}/{file}", encoding="ascii") as handle:
                    return handle.read().strip()
            except OSError:
                continue
    raise AssertionError(f"no {v1_file} or {v2_file} for {container_id}")


def proc_status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def wait_for_trap(pid, number):
    """Until a process catches or ignores a signal: before that, the first process of a container does not even get it."""
    def is_set():
        shown = proc_status(pid)
        return (int(shown["SigCgt"], 16) | int(shown["SigIgn"], 16)) >> number - 1 & 1
    wait_for(is_set, f"the trap for signal {int(number)} is set")


LOOP = "trap 'exit 7' TERM; while :; do sleep 0.05; done"
