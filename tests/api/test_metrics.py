# SPDX-License-Identifier: Apache-2.0
"""--metrics-addr: what Prometheus reads of the engine and of its containers."""
import re

import pytest

from harness.engine import start_error
from harness.shell import run, wait_for

PORT = 5090
LINE = re.compile(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})? ([0-9.]+)')


def fetch(netns, path="/metrics", *flags):
    return run(netns.enter(["curl", "-sS", "--noproxy", "*", "-i", "--max-time", "20", *flags, f"http://127.0.0.1:{PORT}{path}"])).out


def parsed(text):
    """{name with labels: value}; every line must be one of the format's, every series of a family that has its head."""
    head, _, body = text.replace("\r", "").partition("\n\n")
    assert " 200 OK" in head and "text/plain; version=0.0.4" in head, head
    out, known = {}, set()
    for line in body.splitlines():
        if line.startswith("# TYPE "):
            assert line.split()[2] not in known, line
            known.add(line.split()[2])
        elif not line.startswith("# HELP "):
            match = LINE.fullmatch(line)
            assert match and match[1] in known, line
            out[match[1] + (match[2] or "")] = float(match[3])
    return out


def value(metrics, series, /, **labels):
    found = [v for key, v in metrics.items() if key.startswith(series + "{") and all(f'{k}="{t}"' in key for k, t in labels.items())]
    assert len(found) == 1, (series, labels, metrics)
    return found[0]


def states(metrics):
    return {s: value(metrics, "engine_daemon_container_states_containers", state=s) for s in ("running", "paused", "stopped")}


def test_metrics(own_engine, netns):
    engine = own_engine(extra=("--metrics-addr", f"127.0.0.1:{PORT}"))
    api = engine.api
    empty = parsed(fetch(netns))
    assert states(empty) == {"running": 0, "paused": 0, "stopped": 0}
    assert not [name for name in empty if name.startswith("container_")]
    info = api.ok("GET", "/info")
    assert empty["engine_daemon_engine_cpus_cpus"] == info["NCPU"] and empty["engine_daemon_engine_memory_bytes"] == info["MemTotal"]
    assert value(empty, "engine_daemon_engine_info", version=info["ServerVersion"], daemon_id=info["ID"]) == 1
    assert empty["process_resident_memory_bytes"] > 1 << 20 and empty["process_open_fds"] > 3
    for name, command in (("busy", ["sh", "-c", "while :; do :; done"]), ("idle", ["sleep", "600"]), ("over", ["true"])):
        ident = api.ok("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": command, "HostConfig": {"Memory": 64 << 20}})["Id"]
        api.ok("POST", f"/containers/{ident}/start")
    api.ok("POST", "/containers/over/wait")
    api.ok("POST", "/containers/idle/pause")
    wait_for(lambda: states(parsed(fetch(netns))) == {"running": 1, "paused": 1, "stopped": 1}, "one in each state")
    first = parsed(fetch(netns))
    cpu = value(first, "container_cpu_usage_seconds_total", name="busy", image="busybox")
    wait_for(lambda: value(parsed(fetch(netns)), "container_cpu_usage_seconds_total", name="busy") > cpu + 0.1, "the counter goes up")
    assert value(first, "container_spec_memory_limit_bytes", name="idle") == 64 << 20
    assert 0 < value(first, "container_memory_usage_bytes", name="idle") < 64 << 20
    assert value(first, "container_processes", name="busy") == 1
    assert not [key for key in first if 'name="over"' in key]
    stats = api.ok("GET", "/containers/idle/stats?stream=0&one-shot=1")
    assert value(first, "container_network_receive_bytes_total", name="idle") <= sum(n["rx_bytes"] for n in stats["networks"].values())


def test_metrics_serve_nothing_else(own_engine, netns):
    own_engine(images=(), extra=("--metrics-addr", f"127.0.0.1:{PORT}"))
    for path in ("/", "/containers/json", "/v1.51/metrics", "/metrics/x"):
        assert " 404 " in fetch(netns, path).splitlines()[0]
    for method in ("POST", "DELETE"):
        assert " 405 " in fetch(netns, "/metrics", "-X", method).splitlines()[0]
    assert " 404 " in fetch(netns, "/containers/create", "-X", "POST", "-d", "{}").splitlines()[0]


def test_metrics_are_off_by_default(engine):
    assert engine.api.get("/metrics").status == 404


def test_metrics_on_an_address_in_use(own_engine):
    flags = ("--metrics-addr", f"127.0.0.1:{PORT}")
    own_engine(images=(), extra=flags)
    with pytest.raises(AssertionError, match="metrics-addr: "):
        own_engine(images=(), extra=flags)


def test_features(tmp_path, own_engine):
    assert "this release does not have the feature 'cdi'" in start_error(tmp_path, "--feature", "cdi")
    assert "unknown feature 'nosuch'" in start_error(tmp_path, config={"features": {"nosuch": True}})
    engine = own_engine(images=(), extra=("--feature", "containerd-snapshotter=true", "--feature", "cdi=false"))
    assert "--feature containerd-snapshotter is accepted and does nothing" in engine.log()
