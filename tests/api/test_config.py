# SPDX-License-Identifier: Apache-2.0
"""Who reaches the unix sockets, what daemon.json and flags set for containers, and SIGHUP."""
import grp
import json
import os
import signal
import stat
import time

import pytest

from harness.api import Answer, UnixConnection, stream
from harness.engine import start_error
from harness.shell import BIN, run, wait_for


def output(engine, *command, **config):
    """What a container prints."""
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": list(command), **config})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    engine.api.ok("POST", f"/containers/{ident}/wait")
    return stream(engine.api.get(f"/containers/{ident}/logs?stdout=1").body, 1).decode()


def validate(*flags, rc=0):
    return run([BIN + "/caissond", "--validate", *flags], rc=rc, timeout=10)


# --- the unix socket --------------------------------------------------------------------------------

def test_group_of_the_socket(own_engine):
    group = next(g for g in grp.getgrall() if g.gr_gid not in (0, os.getgid()))
    for text in (group.gr_name, str(group.gr_gid)):
        engine = own_engine(images=(), extra=["--group", text])
        status = os.stat(engine.socket)
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), group.gr_gid, 0o660)


def test_group_by_default(own_engine):
    try:
        expected = grp.getgrnam("docker").gr_gid
    except KeyError:
        expected = os.getegid()
    status = os.stat(own_engine(images=()).socket)
    assert status.st_gid == expected and stat.S_IMODE(status.st_mode) == 0o660


def test_group_that_does_not_exist(tmp_path):
    assert "group 'no-such-group' not found" in start_error(tmp_path, "--group", "no-such-group")


class Reader:
    """Requests whose answers the API's own description does not know."""

    def __init__(self, path):
        self.path = path

    def request(self, method, path, body=None):
        connection = UnixConnection(self.path, 30)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body), headers={"Content-Type": "application/json"})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


@pytest.fixture
def read_only(own_engine, tmp_path):
    engine = own_engine(extra=["--host-readonly", f"unix://{tmp_path}/ro.sock"])
    return engine, Reader(f"{tmp_path}/ro.sock")


def test_read_only_socket_reads(read_only):
    engine, reader = read_only
    engine.api.ok("POST", "/containers/create?name=seen", {"Image": "busybox", "Cmd": ["true"]})
    for path in ("/_ping", "/version", "/info", "/containers/json?all=1", "/v1.43/containers/seen/json", "/containers/seen/logs?stdout=1", "/images/json",
                 "/images/busybox/json", "/networks", "/volumes", "/system/df"):
        assert reader.request("GET", path).status == 200, path


@pytest.mark.parametrize("method, path", [
    ("POST", "/containers/create"), ("POST", "/v1.41/containers/seen/start"), ("DELETE", "/containers/seen"), ("PUT", "/containers/seen/archive?path=/"),
    ("POST", "/containers/seen/attach?stream=1"), ("GET", "/containers/seen/attach/ws"), ("GET", "/containers/seen/archive?path=/etc/passwd"),
    ("GET", "/v1.44/containers/seen/export"), ("GET", "/images/busybox/get"), ("GET", "/images/get?names=busybox"), ("POST", "/images/create?fromImage=x"),
    ("POST", "/exec/x/start"), ("POST", "/no/such/route")])
def test_read_only_socket_refuses(read_only, method, path):
    engine, reader = read_only
    engine.api.ok("POST", "/containers/create?name=seen", {"Image": "busybox", "Cmd": ["true"]})
    answer = reader.request(method, path, {} if method in ("POST", "PUT") else None)
    assert answer.status == 403 and answer.message.startswith("this socket is for reading only: " + method), answer
    assert len(engine.containers()) == 1


def test_changes_are_logged_with_their_peer(own_engine):
    engine = own_engine()
    engine.api.ok("POST", "/containers/create?name=one", {"Image": "busybox", "Cmd": ["true"]})
    engine.api.get("/containers/json")
    engine.api.delete("/containers/nobody")
    lines = [line for line in engine.log().splitlines() if f" from pid {os.getpid()} uid {os.geteuid()} gid {os.getegid()} '" in line]
    created = next(line for line in lines if "POST /containers/create" in line)
    with open("/proc/self/comm", encoding="ascii") as file:
        assert created.endswith(f"'{file.read().strip()}': 201"), created
    assert any("DELETE /containers/nobody" in line and line.endswith(": 404") for line in lines)
    assert not any(" GET " in line for line in lines)


# --- flags and the file -----------------------------------------------------------------------------

def test_validate(tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"debug": True, "log-driver": "json-file", "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 10, "Hard": 20}}}))
    bad.write_text(json.dumps({"debug": True, "no-such-key": 1, "another": 2}))
    assert validate("--config-file", str(good)).err == "configuration OK\n"
    done = validate("--config-file", str(bad), rc=125)
    assert "the following directives don't match any configuration option: another, no-such-key" in done.err


def test_given_twice(tmp_path):
    error = start_error(tmp_path, "--label", "a=b", "--debug", config={"labels": ["c=d"], "debug": True})
    assert ("the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, from file: true), "
            "labels: (from flag: [a=b], from file: [c=d])") in error


@pytest.mark.parametrize("flags, words", [
    (["--default-runtime", "kata"], "specified default runtime 'kata' does not exist"), (["--add-runtime", "kata=/usr/bin/kata"], "runtime 'kata' cannot be added"),
    (["--add-runtime", "runc=/usr/bin/other"], "runtime name 'runc' is reserved"), (["--default-ulimit", "nofile=3:2"], "soft limit must be less than or equal to hard limit"),
    (["--default-ulimit", "odd=1"], "invalid ulimit type: odd"), (["--default-ipc-mode", "host"], "IPC mode is not allowed as a default"),
    (["--default-cgroupns-mode", "odd"], "invalid default cgroup namespace"), (["--default-shm-size", "much"], "invalid size"),
    (["--exec-opt", "native.cgroupdriver=systemd"], "control group driver 'systemd'"), (["--storage-driver", "btrfs"], "storage driver not supported: 'btrfs'"),
    (["--log-format", "xml"], "invalid log format: xml"), (["--init-path", "/no/such/init"], "'/no/such/init' does not exist"),
    (["--seccomp-profile", "/no/such/profile"], "/no/such/profile"), (["--shutdown-timeout", "soon"], "expected a number of seconds"),
    (["--host-readonly", "tcp://127.0.0.1:1"], "expected unix:///path")])
def test_refused_values(tmp_path, flags, words):
    assert words in start_error(tmp_path, *flags)


def test_runtime_is_ours(own_engine):
    engine = own_engine(extra=["--default-runtime", "runc", "--exec-opt", "native.cgroupdriver=cgroupfs", "--storage-driver", "overlay2"])
    info = engine.api.ok("GET", "/info")
    assert info["DefaultRuntime"] == "runc" and "caisson" in info["Runtimes"]
    answer = engine.api.post("/containers/create", {"Image": "busybox", "HostConfig": {"Runtime": "kata"}})
    assert answer.status == 400 and answer.message == "unknown or invalid runtime name: kata"


def test_containerd_flags_are_ignored(own_engine):
    engine = own_engine(images=(), extra=["--containerd", "/run/containerd/containerd.sock", "--containerd-namespace", "moby", "--containerd-plugins-namespace", "p", "--cri-containerd"])
    assert engine.log().count("accepted and does nothing") == 4


def test_log_format_json(own_engine):
    engine = own_engine(images=(), extra=["--log-format", "json", "--raw-logs"])
    engine.api.delete('/containers/quote"me')
    lines = [json.loads(line) for line in engine.log().splitlines()]
    assert all(set(line) == {"level", "msg", "time"} for line in lines)
    assert any(line["level"] == "info" and 'quote"me' in line["msg"] for line in lines)


def test_experimental(own_engine):
    engine = own_engine(images=(), extra=["--experimental"])
    assert engine.api.get("/_ping").headers["Docker-Experimental"] == "true" and engine.api.ok("GET", "/info")["ExperimentalBuild"] is True
    assert own_engine(images=()).api.get("/_ping").headers["Docker-Experimental"] == "false"


def test_defaults_from_the_file(own_engine, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"default-shm-size": "1M", "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 111, "Hard": 222}}, "default-ipc-mode": "shareable",
                                "default-cgroupns-mode": "host", "init": True, "no-new-privileges": True}))
    engine = own_engine(extra=["--config-file", str(path)])
    out = output(engine, "sh", "-c", "df -k /dev/shm | tail -1; ulimit -Sn; ulimit -Hn; cat /proc/1/comm; grep NoNewPrivs /proc/self/status; readlink /proc/self/ns/cgroup").splitlines()
    assert out[0].split()[1] == "1024" and out[1:3] == ["111", "222"] and out[3] in ("docker-init", "caisson-init", "init") and out[4].split() == ["NoNewPrivs:", "1"]
    assert out[5] == os.readlink("/proc/self/ns/cgroup")
    # What a container says itself counts more.
    out = output(engine, "sh", "-c", "ulimit -Sn; cat /proc/1/comm; grep NoNewPrivs /proc/self/status",
                 HostConfig={"Ulimits": [{"Name": "nofile", "Soft": 7, "Hard": 9}], "Init": False, "SecurityOpt": ["no-new-privileges=false"]}).splitlines()
    assert out[0] == "7" and out[1] == "sh" and out[2].split()[1] == "0"
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox"})["Id"]
    host = engine.api.ok("GET", f"/containers/{ident}/json")["HostConfig"]
    assert host["IpcMode"] == "shareable" and host["CgroupnsMode"] == "host" and host["ShmSize"] == 1 << 20


def test_defaults_from_flags(own_engine):
    engine = own_engine(extra=["--default-shm-size", "2m", "--default-ulimit", "nofile=33:44", "--default-ipc-mode", "private", "--default-cgroupns-mode", "private",
                               "--init", "--init-path", BIN + "/caisson-init", "--no-new-privileges", "--shutdown-timeout", "3"])
    out = output(engine, "sh", "-c", "df -k /dev/shm | tail -1; ulimit -Hn; grep NoNewPrivs /proc/self/status").splitlines()
    assert out[0].split()[1] == "2048" and out[1] == "44" and out[2].split()[1] == "1"
    assert "name=no-new-privileges" in engine.api.ok("GET", "/info")["SecurityOptions"]


def test_seccomp_profile(own_engine, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}))
    engine = own_engine(extra=["--seccomp-profile", str(path)])
    script = "mkdir /tmp/x 2>/dev/null && echo made || echo refused"
    assert output(engine, "sh", "-c", script) == "refused\n"
    assert output(engine, "sh", "-c", script, HostConfig={"SecurityOpt": ["seccomp=unconfined"]}) == "made\n"
    assert f"name=seccomp,profile={path}" in engine.api.ok("GET", "/info")["SecurityOptions"]
    unconfined = own_engine(extra=["--seccomp-profile", "unconfined"])
    assert output(unconfined, "grep", "Seccomp:", "/proc/self/status").split()[1] == "0"


def test_shutdown_timeout(own_engine):
    """A request that waits for a container ends with the engine after that time, and the container goes on."""
    engine = own_engine(extra=["--shutdown-timeout", "0"])
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "1000"]})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    engine.stop()
    engine.start()
    assert engine.api.ok("GET", f"/containers/{ident}/json")["State"]["Running"] is True
    os.kill(engine.pid, signal.SIGHUP)
    wait_for(lambda: daemon_events(engine), "the reload is told", 10)
    assert daemon_events(engine)[-1]["Actor"]["Attributes"]["shutdown-timeout"] == "0"


# --- reload -----------------------------------------------------------------------------------------

def reload(engine, count):
    os.kill(engine.pid, signal.SIGHUP)
    wait_for(lambda: engine.log().count("configuration reload") == count, "the engine says what came of the reload", 10)


def test_reload(own_engine, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"labels": ["a=1"]}))
    engine = own_engine(images=(), extra=["--config-file", str(path)])
    path.write_text(json.dumps({"labels": ["b=2", "c=3"], "debug": True, "shutdown-timeout": 4, "mtu": 1400}))
    reload(engine, 1)
    info = engine.api.ok("GET", "/info")
    assert info["Labels"] == ["b=2", "c=3"] and info["Debug"] is True
    assert "only counts at a start: mtu" in engine.log()
    events = daemon_events(engine)
    assert events[-1]["Action"] == "reload" and json.loads(events[-1]["Actor"]["Attributes"]["labels"]) == ["b=2", "c=3"]
    assert events[-1]["Actor"]["Attributes"]["debug"] == "true"


def daemon_events(engine):
    answer = engine.api.get(f"/events?since=1&until={time.time():.6f}&filters=%7B%22type%22%3A%5B%22daemon%22%5D%7D", timeout=10)
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines()]


def test_bad_reload_keeps_the_old_configuration(own_engine, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"labels": ["a=1"]}))
    engine = own_engine(images=(), extra=["--config-file", str(path)])
    for number, text in enumerate(['{"labels": ["b=2"], ', '{"labels": ["b=2"], "odd-key": 1}', '{"labels": ["b=2"], "default-runtime": "kata"}'], 1):
        path.write_text(text)
        reload(engine, number)
        assert engine.api.ok("GET", "/info")["Labels"] == ["a=1"]
    assert engine.log().count("the old configuration stays") == 3 and "odd-key" in engine.log()
