# SPDX-License-Identifier: Apache-2.0
"""Flags and configuration file of caissond."""
import json
import os
import signal

import pytest

from harness.api import stream
from harness.container import cgroup_value
from harness.shell import BIN, run


def output(engine, *command, **config):
    """What a container prints."""
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": list(command), **config})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    engine.api.ok("POST", f"/containers/{ident}/wait")
    return stream(engine.api.get(f"/containers/{ident}/logs?stdout=1").body, 1).decode()


def test_daemon_version():
    assert "version" in run([BIN + "/caissond", "--version"]).out


@pytest.mark.parametrize("argv", [["--no-such-flag"], ["--mtu", "x"], ["--data-root", "relative"], ["--host", "gopher://x"], ["--log-level", "loud"], ["stray"]])
def test_daemon_bad_flag(argv, tmp_path):
    done = run([BIN + "/caissond", "--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "e"), "--host", f"unix://{tmp_path}/s", *argv], rc=None, timeout=10)
    assert done.rc not in (0, None) and len(done.err.strip().splitlines()) <= 2 and done.err.strip(), done


def test_daemon_bip_and_mtu(own_engine, netns):
    engine = own_engine(bip="10.99.7.1/24", extra=["--mtu", "1400"])
    out = output(engine, "sh", "-c", "ip -o -4 addr show eth0; ip link show eth0; ip route")
    assert "inet 10.99.7." in out and "mtu 1400" in out and "default via 10.99.7.1" in out
    links = json.loads(run(netns.enter(["ip", "-j", "addr", "show", "dev", engine.bridge])).out)
    assert links[0]["addr_info"][0]["local"] == "10.99.7.1"


def test_daemon_dns(own_engine):
    engine = own_engine(extra=["--dns", "9.8.7.6", "--dns-search", "one.example", "--dns-search", "two.example", "--dns-opt", "ndots:3"])
    lines = output(engine, "cat", "/etc/resolv.conf").splitlines()
    assert "nameserver 9.8.7.6" in lines and "search one.example two.example" in lines and "options ndots:3" in lines


def test_daemon_labels(own_engine):
    engine = own_engine(images=(), extra=["--label", "rack=7", "--label", "zone=b"])
    assert engine.api.ok("GET", "/info")["Labels"] == ["rack=7", "zone=b"]


def test_daemon_pidfile(own_engine, tmp_path):
    engine = own_engine(images=(), extra=["--pidfile", str(tmp_path / "pid")])
    assert (tmp_path / "pid").read_text().strip() == str(engine.pid)


def test_daemon_debug(own_engine):
    quiet, loud = own_engine(images=(), extra=["--log-level", "error"]), own_engine(images=(), extra=["--debug"])
    for engine in (quiet, loud):
        engine.api.get("/nothing")
    assert " info " not in quiet.log() and loud.api.ok("GET", "/info")["Debug"] is True and quiet.api.ok("GET", "/info")["Debug"] is False


def test_daemon_cgroup_parent(own_engine):
    name = "ctest-parent-%d" % os.getpid()
    engine = own_engine(extra=["--cgroup-parent", "/" + name])
    try:
        ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "99"]})["Id"]
        engine.api.ok("POST", f"/containers/{ident}/start")
        pid = engine.api.ok("GET", f"/containers/{ident}/json")["State"]["Pid"]
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            assert f"/{name}/{ident}" in file.read()
        assert cgroup_value(ident, "pids", "pids.max", "pids.max")
    finally:
        engine.own_name = name
        engine.destroy()


def test_daemon_config_file(own_engine, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"labels": ["from=file"], "debug": True, "mtu": 1300, "dns": ["1.2.3.4"]}))
    engine = own_engine(extra=["--config-file", str(path)])
    info = engine.api.ok("GET", "/info")
    assert info["Labels"] == ["from=file"] and info["Debug"] is True
    assert "nameserver 1.2.3.4" in output(engine, "cat", "/etc/resolv.conf")


@pytest.mark.parametrize("text, words", [("{", "daemon.json"), ('{"odd-key": 1}', "odd-key"), ('{"mtu": "many"}', "mtu"), ('{"labels": ["a=b"]}', "label")])
def test_daemon_bad_config_file(tmp_path, text, words):
    path = tmp_path / "daemon.json"
    path.write_text(text)
    flags = ["--label", "c=d"] if "labels" in text else []  # given twice, by flag and file, is refused as Docker does
    done = run([BIN + "/caissond", "--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "e"), "--host", f"unix://{tmp_path}/s", "--config-file", str(path), *flags],
               rc=None, timeout=10)
    assert done.rc not in (0, None) and words in done.err, done


def test_daemon_lives_on_after_sighup(own_engine, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    engine = own_engine(images=(), extra=["--config-file", str(path)])
    path.write_text("{")
    os.kill(engine.pid, signal.SIGHUP)
    assert engine.api.ok("GET", "/info")["Labels"] in ([], None)


def test_daemon_removes_its_socket(own_engine):
    engine = own_engine(images=())
    engine.stop()
    assert not os.path.exists(engine.socket)
