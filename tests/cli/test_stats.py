# SPDX-License-Identifier: Apache-2.0
"""stats, update, container prune, flags of ps."""
import json

import pytest

from harness.container import cgroup_value, inspect


@pytest.fixture
def busy(cli):
    return cli.out("run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done")


def test_stats_table(cli, busy):
    header, row = cli.out("stats", "--no-stream").splitlines()
    assert header.split() == "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS".split()
    assert row.startswith(busy[:12]) and " busy " in row and "/ 64MiB" in row and row.split()[-1] == "1"


def test_stats_format(cli, busy):
    shown = json.loads(cli.out("stats", "--no-stream", "--format", "json", "busy"))
    assert set(shown) == {"BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"}
    assert shown["ID"] == busy[:12] and shown["Container"] == "busy" and 1 < float(shown["CPUPerc"].rstrip("%")) < 250
    assert cli.out("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.PIDs}}", "busy") == f"{busy} 1"


def test_stats_of_stopped_containers(cli, busy):
    cli("create", "--name", "idle", "busybox", "true")
    assert "idle" not in cli.out("stats", "--no-stream")
    rows = cli.out("stats", "--no-stream", "-a", "--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}}").splitlines()
    assert "idle 0.00% 0B / 0B" in rows


def test_stats_of_an_unknown_container(cli):
    assert "No such container: nobody" in cli("stats", "--no-stream", "nobody", rc=1).err


def test_stats_stream_goes_on(cli, busy):
    shown = cli.start("stats", "--format", "{{.Name}} {{.CPUPerc}}", "busy")
    seen = 0
    while seen < 3:  # beside what moves the cursor
        seen += b"busy" in shown.stdout.readline()
    shown.kill()
    shown.communicate()


def test_update(cli, busy):
    assert cli.out("update", "--memory", "96m", "--memory-swap", "200m", "--cpu-shares", "300", "--pids-limit", "25", "--restart", "on-failure:2", "busy") == "busy"
    host = inspect(cli, "busy")["HostConfig"]
    assert host["Memory"] == 96 << 20 and host["MemorySwap"] == 200 << 20 and host["CpuShares"] == 300 and host["PidsLimit"] == 25
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert cgroup_value(busy, "memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    cli("update", "--cpus", "0.5", "busy")
    assert cgroup_value(busy, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"


def test_update_errors(cli, busy):
    assert "must provide one or more flags" in cli("update", "busy", rc=1).err
    assert "No such container: nobody" in cli("update", "--cpu-shares", "10", "nobody", rc=1).err
    done = cli("update", "--memory", "1g", "busy", rc=1)
    assert "Memory limit should be smaller than already set memoryswap limit" in done.err
    assert "Minimum memory limit allowed is 6MB" in cli("update", "--memory", "1m", "busy", rc=1).err


def test_container_prune(cli, busy):
    old = cli.out("create", "--label", "x=1", "busybox", "true")
    kept = cli.out("create", "busybox", "true")
    declined = cli("container", "prune", stdin="n\n")
    assert declined.out.startswith("WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N]") and "Deleted" not in declined.out
    done = cli("container", "prune", "-f", "--filter", "label=x=1")
    assert done.out == f"Deleted Containers:\n{old}\n\nTotal reclaimed space: 0B\n"
    assert cli("container", "prune", stdin="y\n").out.endswith(f"Deleted Containers:\n{kept}\n\nTotal reclaimed space: 0B\n")
    assert cli.out("container", "prune", "-f", "--filter", "until=1h") == "Total reclaimed space: 0B"
    assert cli.out("ps", "-aq", "--no-trunc") == busy


def test_ps_flags(cli, busy):
    cli("create", "--name", "second", "busybox", "true")
    assert cli.out("ps", "-lq", "--no-trunc") == inspect(cli, "second")["Id"]
    assert cli.out("ps", "-n", "1", "--format", "{{.Names}}") == "second"
    assert cli.out("ps", "--format", "{{.Names}} {{.Image}}") == "busy busybox"
    assert "SIZE" in cli.out("ps", "-s") and "virtual" in cli.out("ps", "-s")
    assert cli.out("ps", "-a", "--filter", "ancestor=busybox", "--filter", "status=created", "--format", "{{.Names}}") == "second"
    assert json.loads(cli.out("ps", "--format", "json"))["Names"] == "busy"
    assert "invalid filter" in cli("ps", "--filter", "nope=1", rc=1).err
