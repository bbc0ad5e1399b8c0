# SPDX-License-Identifier: Apache-2.0
"""stats, update and prune by the API."""
import json
import socket

import pytest

from harness.container import cgroup_value
from harness.shell import wait_for


def start(api, *command, name="box", **config):
    ident = api.ok("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": list(command or ["sleep", "99"]), **config})["Id"]
    assert api.post(f"/containers/{name}/start").status == 204
    return ident


def test_stats_once(api):
    ident = start(api, "sh", "-c", "while :; do :; done", HostConfig={"Memory": 64 << 20, "PidsLimit": 30})
    shown = api.ok("GET", "/containers/box/stats?stream=false")
    assert shown["name"] == "/box" and shown["id"] == ident and shown["pids_stats"] == {"current": 1, "limit": 30}
    assert shown["memory_stats"]["limit"] == 64 << 20 and 0 < shown["memory_stats"]["usage"] < 64 << 20 and shown["memory_stats"]["stats"]
    cpu, before = shown["cpu_stats"], shown["precpu_stats"]
    assert cpu["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"] > 0
    assert cpu["system_cpu_usage"] > before["system_cpu_usage"] and cpu["online_cpus"] >= 1
    assert shown["read"] > shown["preread"] > "2020" and shown["num_procs"] == 0 and shown["storage_stats"] == {}
    assert set(shown["networks"]) == {"eth0"} and "rx_bytes" in shown["networks"]["eth0"]


def test_stats_agree_with_the_cgroup(api):
    ident = start(api, "sh", "-c", "while :; do :; done")
    shown = api.ok("GET", "/containers/box/stats?stream=false&one-shot=true")
    total = int(cgroup_value(ident, "cpuacct", "cpuacct.usage", "cpu.stat").split("usage_usec")[-1].split()[0])
    assert abs(shown["cpu_stats"]["cpu_usage"]["total_usage"] - total) < 0.2e9
    assert shown["precpu_stats"]["cpu_usage"]["total_usage"] == 0 and shown["preread"].startswith("0001")


def test_stats_stream(api):
    start(api)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(10)
        peer.connect(api.socket_path)
        peer.sendall(b"GET /containers/box/stats HTTP/1.0\r\n\r\n")
        file = peer.makefile("rb")
        while file.readline().strip():
            pass
        samples = [json.loads(file.readline()) for _ in range(3)]
        assert samples[0]["preread"].startswith("0001") and samples[1]["preread"] == samples[0]["read"]
        assert api.post("/containers/box/kill").status == 204
        stopped = [json.loads(file.readline()) for _ in range(2)][-1]
        assert stopped["memory_stats"] == {} and stopped["read"].startswith("0001")
        assert api.delete("/containers/box").status == 204
        assert file.read() == b""


def test_stats_of_a_stopped_container(api):
    api.ok("POST", "/containers/create?name=box", {"Image": "busybox", "Cmd": ["true"]})
    shown = api.ok("GET", "/containers/box/stats?stream=0", timeout=3)
    assert shown["read"] == "0001-01-01T00:00:00Z" and shown["pids_stats"] == {} and shown["memory_stats"] == {} and "networks" not in shown
    assert shown["cpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_stats_statuses(api):
    start(api, HostConfig={"NetworkMode": "none"})
    assert api.get("/containers/nobody/stats").status == 404
    both = api.get("/containers/box/stats?one-shot=1")
    assert both.status == 400 and both.message == "cannot have stream=true and one-shot=true"
    assert "networks" not in api.ok("GET", "/containers/box/stats?stream=0&one-shot=1")


def test_update_limits_of_a_running_container(api):
    ident = start(api, HostConfig={"Memory": 64 << 20, "MemorySwap": 256 << 20})
    answer = api.post("/containers/box/update", {"Memory": 96 << 20, "CpuShares": 512, "CpuQuota": 50000, "CpuPeriod": 100000, "PidsLimit": 40})
    assert answer.status == 200 and answer.json == {"Warnings": []}
    assert cgroup_value(ident, "memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert cgroup_value(ident, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert cgroup_value(ident, "pids", "pids.max", "pids.max") == "40"
    host = api.ok("GET", "/containers/box/json")["HostConfig"]
    assert host["Memory"] == 96 << 20 and host["MemorySwap"] == 256 << 20 and host["CpuShares"] == 512 and host["PidsLimit"] == 40
    # The next start has them too.
    assert api.post("/containers/box/restart?t=0").status == 204
    assert cgroup_value(ident, "memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)


def test_update_of_a_stopped_container(api):
    ident = api.ok("POST", "/containers/create?name=box", {"Image": "busybox", "Cmd": ["sleep", "99"]})["Id"]
    api.ok("POST", "/containers/box/update", {"PidsLimit": 33, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4}})
    assert api.ok("GET", "/containers/box/json")["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 4}
    assert api.post("/containers/box/start").status == 204
    assert cgroup_value(ident, "pids", "pids.max", "pids.max") == "33"


@pytest.mark.parametrize("change, status, text", [
    ({"Memory": 1000}, 400, "Minimum memory limit allowed is 6MB"),
    ({"Memory": 64 << 20}, 409, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"),
    ({"Memory": 64 << 20, "MemorySwap": 32 << 20}, 400, "Minimum memoryswap limit should be larger than memory limit, see usage"),
    ({"CpuPeriod": 5}, 400, "CPU cfs period"),
    ({"NanoCpus": 1 << 60}, 400, "range of CPUs"),
    ({"RestartPolicy": {"Name": "odd"}}, 400, "unknown policy 'odd'"),
    ({"CpusetCpus": "9999"}, 400, "Invalid value 9999 for cpuset cpus"),
    ({"CpusetCpus": "0-77"}, 400, "Requested CPUs are not available"),
    ({"Memory": "much"}, 400, "Memory"),
])
def test_update_of_what_cannot_be(api, change, status, text):
    start(api)
    answer = api.post("/containers/box/update", change)
    assert answer.status == status and text in answer.message, answer
    assert api.post("/containers/nobody/update", {}).status == 404


def test_update_memory_below_the_use(api):
    start(api, "sh", "-c", "head -c 40000000 /dev/zero | tail | sleep 99", HostConfig={"Memory": 128 << 20})
    wait_for(lambda: api.ok("GET", "/containers/box/stats?stream=0&one-shot=1")["memory_stats"]["usage"] > 30000000, "it is used")
    answer = api.post("/containers/box/update", {"Memory": 6 << 20})
    assert answer.status in (200, 500)
    assert api.get("/containers/box/json").status == 200


def test_prune(api):
    for name, labels in (("one", {"keep": "yes"}), ("two", {})):
        api.ok("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": ["true"], "Labels": labels})
    running = start(api)
    two = api.ok("GET", "/containers/two/json")["Id"]
    report = api.ok("POST", '/containers/prune?filters={"label!":["keep=yes"]}')
    assert report == {"ContainersDeleted": [two], "SpaceReclaimed": 0}
    assert api.ok("POST", '/containers/prune?filters={"until":["1h"]}') == {"ContainersDeleted": None, "SpaceReclaimed": 0}
    assert len(api.ok("POST", "/containers/prune")["ContainersDeleted"]) == 1
    assert [c["Id"] for c in api.ok("GET", "/containers/json?all=1")] == [running]
    for bad in ('{"nope":["x"]}', '{"until":["x"]}', '{"until":["1h","2h"]}', "["):
        assert api.post(f"/containers/prune?filters={bad}").status == 400, bad


def test_prune_counts_what_was_written(api):
    start(api, "sh", "-c", "head -c 300000 /dev/zero > /f")
    assert api.ok("POST", "/containers/box/wait")["StatusCode"] == 0
    assert 300000 <= api.ok("POST", "/containers/prune")["SpaceReclaimed"] < 310000


def test_list_filters(api):
    start(api, name="web", ExposedPorts={"53/udp": {}}, Labels={"a": "1"}, HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "18099"}]}})
    api.ok("POST", "/containers/create?name=other", {"Image": "debian", "Cmd": ["true"], "Volumes": {"/data": {}}, "HostConfig": {"NetworkMode": "none"}})
    volume = api.ok("GET", "/containers/other/json")["Mounts"][0]["Name"]
    names = lambda filters: [c["Names"][0][1:] for c in api.ok("GET", f"/containers/json?all=1&filters={json.dumps(filters).replace(' ', '')}")]
    for filters, expected in (
            ({"name": ["^/web$"]}, ["web"]), ({"ancestor": ["busybox"]}, ["web"]), ({"ancestor": ["debian:latest"]}, ["other"]),
            ({"ancestor": ["nosuch"]}, []), ({"before": ["other"]}, ["web"]), ({"since": ["web"]}, ["other"]), ({"publish": ["80"]}, ["web"]),
            ({"publish": ["1-100"]}, ["web"]), ({"expose": ["53/udp"]}, ["web"]), ({"network": ["none"]}, ["other"]), ({"volume": ["/data"]}, ["other"]),
            ({"volume": [volume]}, ["other"]), ({"status": ["running"]}, ["web"]), ({"label": ["a=1"]}, ["web"]), ({"label": ["a=2"]}, []),
            ({"health": ["none"]}, ["other", "web"]), ({"is-task": ["false"]}, ["other", "web"]), ({"isolation": ["default"]}, ["other", "web"]),
            ({"exited": ["0"]}, [])):
        assert names(filters) == expected, filters
    assert api.get('/containers/json?filters={"since":["nobody"]}').status == 404
    for bad in ('{"is-task":["x"]}', '{"health":["x"]}', '{"publish":["a"]}', '{"exited":["x"]}', '{"bad":["x"]}'):
        assert api.get(f"/containers/json?filters={bad}").status == 400, bad


def test_list_sizes(api):
    start(api, "sh", "-c", "head -c 200000 /dev/zero > /f; sleep 99")
    entry = wait_for(lambda: (found := api.ok("GET", "/containers/json?size=1")[0])["SizeRw"] >= 200000 and found, "the file is written")
    assert 200000 <= entry["SizeRw"] < 210000 and entry["SizeRootFs"] > 1 << 20
    assert "SizeRw" not in api.ok("GET", "/containers/json")[0]
