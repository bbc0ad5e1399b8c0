# SPDX-License-Identifier: Apache-2.0
"""Container routes as other clients use them: statuses, shapes, streams."""
import signal
import time

import pytest

from harness.api import frames, read_until_closed, stream
from harness.container import wait_for_trap
from harness.shell import wait_for


def create(api, *command, name="", **config):
    return api.ok("POST", "/containers/create" + (f"?name={name}" if name else ""), {"Image": "busybox", "Cmd": list(command), **config})["Id"]


def run(api, *command, **config):
    ident = create(api, *command, **config)
    assert api.post(f"/containers/{ident}/start").status == 204
    return ident


def wait(api, ident):
    return api.ok("POST", f"/containers/{ident}/wait", timeout=20)["StatusCode"]


def test_create_answers_id_and_warnings(api):
    answer = api.post("/containers/create", {"Image": "busybox", "Cmd": ["true"]})
    assert answer.status == 201 and len(answer.json["Id"]) == 64 and answer.json["Warnings"] == []


def test_statuses_of_the_life_cycle(api):
    ident = create(api, "sleep", "99")
    assert api.post(f"/containers/{ident}/start").status == 204
    assert api.post(f"/containers/{ident}/start").status == 304
    answer = api.delete(f"/containers/{ident}")
    assert answer.status == 409 and "running" in answer.message
    assert api.post(f"/containers/{ident}/stop?t=0").status == 204
    assert api.post(f"/containers/{ident}/stop").status == 304
    answer = api.post(f"/containers/{ident}/kill")
    assert answer.status == 409 and "is not running" in answer.message
    assert api.delete(f"/containers/{ident}").status == 204
    assert api.delete(f"/containers/{ident}").status == 404


def test_list_shape(api):
    ident = run(api, "sleep", "99", name="shape", Labels={"k": "v"})
    entry = api.ok("GET", "/containers/json")[0]
    assert entry["Id"] == ident and entry["Names"] == ["/shape"] and entry["Image"] == "busybox" and entry["ImageID"].startswith("sha256:")
    assert entry["Command"] == "sleep 99" and entry["State"] == "running" and entry["Status"].startswith("Up ") and entry["Labels"] == {"k": "v"}
    assert entry["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] and entry["Ports"] == [] and abs(entry["Created"] - time.time()) < 60


def test_list_limit_and_order(api):
    for number in range(3):
        create(api, "true", name=f"c{number}")
    names = [c["Names"][0] for c in api.ok("GET", "/containers/json?all=1")]
    assert names == ["/c2", "/c1", "/c0"]
    assert [c["Names"][0] for c in api.ok("GET", "/containers/json?limit=1")] == ["/c2"]


def test_inspect_shape(api):
    ident = run(api, "sleep", "99", name="look", Env=["A=1"], HostConfig={"Memory": 67108864, "CapAdd": ["NET_ADMIN"]})
    shown = api.ok("GET", f"/containers/{ident[:12]}/json")
    assert shown["Id"] == ident and shown["HostConfig"]["Memory"] == 67108864 and "A=1" in shown["Config"]["Env"]
    assert shown["State"]["Status"] == "running" and shown["State"]["Pid"] > 1 and shown["RestartCount"] == 0
    assert shown["Driver"].startswith("overlay") and shown["Platform"] == "linux" and "GraphDriver" in shown and shown["Mounts"] == []
    assert shown["State"]["FinishedAt"] == "0001-01-01T00:00:00Z" and shown["State"]["StartedAt"].startswith("20")


def test_ambiguous_prefix(api):
    idents = [create(api, "true") for _ in range(17)]
    first = [i[0] for i in idents]
    twice = next(c for c in first if first.count(c) > 1)
    answer = api.get(f"/containers/{twice}/json")
    assert answer.status in (400, 404) and answer.message


def test_logs_are_framed(api):
    ident = run(api, "sh", "-c", "echo out; echo err >&2")
    assert wait(api, ident) == 0
    answer = api.get(f"/containers/{ident}/logs?stdout=1&stderr=1")
    assert answer.status == 200 and stream(answer.body, 1) == b"out\n" and stream(answer.body, 2) == b"err\n"
    assert stream(api.get(f"/containers/{ident}/logs?stderr=1").body, 1) == b""
    assert api.get(f"/containers/{ident}/logs").status == 400


def test_logs_of_a_tty_are_raw(api):
    ident = run(api, "echo", "raw", Tty=True)
    assert wait(api, ident) == 0
    answer = api.get(f"/containers/{ident}/logs?stdout=1")
    assert answer.body == b"raw\r\n" and "raw-stream" in answer.headers["Content-Type"], answer


def test_attach_before_start_sees_everything(api):
    ident = create(api, "sh", "-c", "echo first; echo second >&2")
    peer, head, rest = api.hijack(f"/containers/{ident}/attach?stream=1&stdout=1&stderr=1")
    assert head.startswith("HTTP/1.1 101") and "Upgrade: tcp" in head
    api.ok("POST", f"/containers/{ident}/start")
    data = read_until_closed(peer, rest)
    peer.close()
    assert stream(data, 1) == b"first\n" and stream(data, 2) == b"second\n"


def test_attach_without_upgrade(api):
    ident = create(api, "echo", "x")
    data = None
    import socket
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(api.socket_path)
        peer.sendall(f"POST /containers/{ident}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.recv(4096)
        api.ok("POST", f"/containers/{ident}/start")
        data = read_until_closed(peer, head.split(b"\r\n\r\n", 1)[1])
    assert head.startswith(b"HTTP/1.1 200") and stream(data, 1) == b"x\n"


def test_attach_half_close_ends_stdin(api):
    import socket
    ident = create(api, "sh", "-c", "cat; echo after", OpenStdin=True, StdinOnce=True, AttachStdin=True)
    peer, _, rest = api.hijack(f"/containers/{ident}/attach?stream=1&stdin=1&stdout=1")
    api.ok("POST", f"/containers/{ident}/start")
    peer.sendall(b"typed\n")
    peer.shutdown(socket.SHUT_WR)
    assert stream(read_until_closed(peer, rest), 1) == b"typed\nafter\n"
    peer.close()


def test_exec(api):
    ident = run(api, "sleep", "99")
    made = api.post(f"/containers/{ident}/exec", {"Cmd": ["sh", "-c", "echo in; exit 3"], "AttachStdout": True, "AttachStderr": True})
    assert made.status == 201
    peer, head, rest = api.hijack(f"/exec/{made.json['Id']}/start", {"Detach": False, "Tty": False})
    assert head.startswith("HTTP/1.1 101")
    assert frames(read_until_closed(peer, rest)) == [(1, b"in\n")]
    peer.close()
    shown = api.ok("GET", f"/exec/{made.json['Id']}/json")
    assert shown["ExitCode"] == 3 and shown["Running"] is False and shown["ContainerID"] == ident
    again = api.post(f"/exec/{made.json['Id']}/start", {})
    assert again.status == 409 and again.message


def test_exec_in_a_stopped_container(api):
    ident = create(api, "true")
    answer = api.post(f"/containers/{ident}/exec", {"Cmd": ["true"]})
    assert answer.status == 409 and answer.message.lower() == f"container {ident} is not running"


def test_exec_without_a_command(api):
    ident = run(api, "sleep", "99")
    answer = api.post(f"/containers/{ident}/exec", {"Cmd": []})
    assert answer.status == 400 and "No exec command specified" in answer.message


@pytest.mark.parametrize("condition", ["", "?condition=not-running", "?condition=next-exit"])
def test_wait(api, condition):
    ident = run(api, "sh", "-c", "sleep 0.4; exit 6")
    assert api.ok("POST", f"/containers/{ident}/wait{condition}", timeout=10)["StatusCode"] == 6


def test_wait_removed(api):
    ident = run(api, "sh", "-c", "sleep 0.4; exit 8", HostConfig={"AutoRemove": True})
    assert api.ok("POST", f"/containers/{ident}/wait?condition=removed", timeout=10)["StatusCode"] == 8
    assert api.get(f"/containers/{ident}/json").status == 404


def test_wait_unknown_condition(api):
    ident = create(api, "true")
    answer = api.post(f"/containers/{ident}/wait?condition=odd")
    assert answer.status == 400 and "odd" in answer.message


def test_top(api):
    ident = run(api, "sleep", "99")
    shown = api.ok("GET", f"/containers/{ident}/top")
    assert "PID" in shown["Titles"] and len(shown["Processes"]) == 1 and shown["Processes"][0][-1] == "sleep 99"


def test_resize(api):
    ident = run(api, "sh", Tty=True, OpenStdin=True)
    assert api.post(f"/containers/{ident}/resize?h=11&w=22").status == 200
    peer, _, rest = api.hijack(f"/containers/{ident}/attach?stream=1&stdin=1&stdout=1")
    peer.sendall(b"stty size; exit\n")
    assert b"11 22" in read_until_closed(peer, rest)
    peer.close()


def test_rename(api):
    ident = create(api, "true", name="old")
    assert api.post("/containers/old/rename?name=new").status == 204
    assert api.ok("GET", "/containers/new/json")["Id"] == ident
    create(api, "true", name="other")
    assert api.post("/containers/new/rename?name=other").status == 409


def test_a_slow_log_reader_stalls_nobody(api):
    """A client that follows a noisy log and never reads: the container and other requests go on."""
    import socket
    ident = run(api, "sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; i=$((i+1)); done; echo end")
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(api.socket_path)
        slow.sendall(f"GET /containers/{ident}/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        assert api.get("/containers/json", timeout=20).status == 200
        assert wait(api, ident) == 0
    assert stream(api.get(f"/containers/{ident}/logs?stdout=1&tail=1").body, 1) == b"end\n"


def test_stuck_attach_does_not_stop_the_container(api):
    ident = create(api, "sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; i=$((i+1)); done")
    peer, _, _ = api.hijack(f"/containers/{ident}/attach?stream=1&stdout=1")
    api.ok("POST", f"/containers/{ident}/start")
    assert api.get("/containers/json", timeout=2).status == 200
    peer.close()
    assert wait(api, ident) == 0


def test_inspect_size_and_statuses(api):
    ident = run(api, "sh", "-c", "dd if=/dev/zero of=/big bs=1024 count=100; sleep 99")
    wait_for(lambda: api.ok("GET", f"/containers/{ident}/json?size=1")["SizeRw"] >= 102400, "the file is counted", 10)
    shown = api.ok("GET", f"/containers/{ident}/json?size=true")
    assert shown["SizeRootFs"] > shown["SizeRw"] and "SizeRw" not in api.ok("GET", f"/containers/{ident}/json?size=0")
    assert api.get("/containers/nobody/json").status == 404


def test_start_detach_keys_and_statuses(api):
    ident = create(api, "sleep", "99")
    refused = api.post(f"/containers/{ident}/start?checkpoint=one&checkpoint-dir=/tmp")
    assert refused.status == 400 and refused.message == "this engine cannot start a container from a checkpoint"
    assert api.ok("GET", f"/containers/{ident}/json")["State"]["Status"] == "created"
    assert api.post(f"/containers/{ident}/start?detachKeys=ctrl-x").status == 204
    assert api.post(f"/containers/{ident}/start").status == 304 and api.post("/containers/nobody/start").status == 404
    broken = create(api, "/no/such/program")
    answer = api.post(f"/containers/{broken}/start")
    assert answer.status == 400 and "no such file or directory" in answer.message
    assert api.ok("GET", f"/containers/{broken}/json")["State"]["ExitCode"] == 127


def test_stop_signal_and_timeout(api):
    ident = run(api, "sh", "-c", "trap 'exit 7' HUP; trap '' TERM; while :; do sleep 0.05; done")
    wait_for_trap(api.ok("GET", f"/containers/{ident}/json")["State"]["Pid"], signal.SIGTERM)
    assert api.post(f"/containers/{ident}/stop?signal=SIGHUP&t=30").status == 204
    assert api.ok("GET", f"/containers/{ident}/json")["State"]["ExitCode"] == 7
    api.ok("POST", f"/containers/{ident}/start")
    assert api.post(f"/containers/{ident}/stop?t=0").status == 204
    assert api.ok("GET", f"/containers/{ident}/json")["State"]["ExitCode"] == 137
    assert api.post("/containers/nobody/stop").status == 404


def test_restart_statuses(api):
    ident = create(api, "sh", "-c", "trap 'exit 0' USR2; while :; do sleep 0.05; done")
    assert api.post(f"/containers/{ident}/restart").status == 204  # of one that does not run, too
    first = api.ok("GET", f"/containers/{ident}/json")["State"]
    assert first["Running"]
    wait_for_trap(first["Pid"], signal.SIGUSR2)
    assert api.post(f"/containers/{ident}/restart?t=30&signal=USR2").status == 204
    second = api.ok("GET", f"/containers/{ident}/json")["State"]
    assert second["Running"] and second["Pid"] != first["Pid"] and second["StartedAt"] > first["StartedAt"]
    assert api.post(f"/containers/{ident}/restart?t=x").status == 400 and api.post("/containers/nobody/restart").status == 404


def test_pause_statuses(api):
    ident = run(api, "sleep", "99")
    assert api.post(f"/containers/{ident}/unpause").status in (409, 500)
    assert api.post(f"/containers/{ident}/pause").status == 204
    answer = api.post(f"/containers/{ident}/pause")
    assert answer.status == 409 and answer.message.lower() == f"container {ident} is already paused"
    assert api.ok("GET", f"/containers/{ident}/json")["State"]["Status"] == "paused"
    for path in ("start", "attach?stream=1&stdout=1"):
        assert api.post(f"/containers/{ident}/{path}").status in (304, 409), path
    assert api.post(f"/containers/{ident}/exec", {"Cmd": ["true"]}).status == 409
    assert api.post(f"/containers/{ident}/unpause").status == 204
    answer = api.post(f"/containers/{ident}/unpause")
    assert answer.status in (409, 500) and "is not paused" in answer.message
    for verb in ("pause", "unpause"):
        assert api.post(f"/containers/nobody/{verb}").status == 404
        assert api.post(f"/containers/{create(api, 'true')}/{verb}").status in (409, 500)


def test_kill_signals(api):
    ident = run(api, "sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done")
    wait_for_trap(api.ok("GET", f"/containers/{ident}/json")["State"]["Pid"], signal.SIGUSR1)
    assert api.post(f"/containers/{ident}/kill?signal=10").status == 204
    assert wait(api, ident) == 9
    answer = api.post(f"/containers/{ident}/kill?signal=SIGUSR1")
    assert answer.status == 409 and "is not running" in answer.message
    assert api.post("/containers/nobody/kill").status == 404


def test_rename_statuses(api):
    create(api, "true", name="old")
    for query, status in (("name=", 400), ("", 400), ("name=old", 400), ("name=bad%2Fname", 400), ("name=-x", 400)):
        assert api.post(f"/containers/old/rename?{query}").status == status, query
    assert api.post("/containers/nobody/rename?name=new").status == 404
    assert api.ok("GET", "/containers/old/json")["Name"] == "/old"


def test_delete_parameters(api):
    ident = run(api, "sleep", "99", HostConfig={"Mounts": [{"Type": "volume", "Target": "/data"}]})
    volume = api.ok("GET", f"/containers/{ident}/json")["Mounts"][0]["Name"]
    assert api.delete(f"/containers/{ident}?v=1").status == 409
    assert api.delete(f"/containers/{ident}?link=1").status in (400, 404, 500)
    assert api.delete(f"/containers/{ident}?force=1&v=1").status == 204
    wait_for(lambda: api.get(f"/volumes/{volume}").status == 404, "the volume without a name is gone", 10)
    assert api.delete(f"/containers/{ident}?force=1").status == 404


def test_attach_logs_and_statuses(api):
    ident = run(api, "sh", "-c", "echo before; echo wrong >&2")
    assert wait(api, ident) == 0
    peer, _, rest = api.hijack(f"/containers/{ident}/attach?logs=1&stdout=1&stderr=1")
    data = read_until_closed(peer, rest)
    peer.close()
    assert stream(data, 1) == b"before\n" and stream(data, 2) == b"wrong\n"
    assert api.post("/containers/nobody/attach?stream=1").status == 404
    assert api.post(f"/containers/{ident}/attach?stream=1&detachKeys=ctrl-").status == 400


def test_exec_start_detached(api):
    ident = run(api, "sleep", "99")
    made = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["sh", "-c", "exit 4"], "Env": ["A=b"], "User": "1:1", "WorkingDir": "/tmp", "Privileged": True})["Id"]
    shown = api.ok("GET", f"/exec/{made}/json")
    assert shown["ExitCode"] is None and shown["ProcessConfig"] == {"tty": False, "entrypoint": "sh", "arguments": ["-c", "exit 4"], "privileged": True, "user": "1:1"}
    answer = api.post(f"/exec/{made}/start", {"Detach": True})
    assert answer.status == 200 and answer.body == b""
    wait_for(lambda: api.ok("GET", f"/exec/{made}/json")["ExitCode"] == 4, "it has ended", 10)
    assert api.post("/exec/nobody/start", {}).status == 404 and api.get("/exec/nobody/json").status == 404
    assert api.post("/containers/nobody/exec", {"Cmd": ["true"]}).status == 404


def test_exec_resize_statuses(api):
    ident = run(api, "sleep", "99")
    made = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["sh", "-c", "read a; stty size"], "Tty": True, "AttachStdin": True, "AttachStdout": True})["Id"]
    assert api.post(f"/exec/{made}/resize?h=11&w=22").status in (404, 409)  # not started
    peer, _, rest = api.hijack(f"/exec/{made}/start", {"Tty": True})
    assert api.post(f"/exec/{made}/resize?h=11&w=22").status == 200
    peer.sendall(b"\n")
    assert b"11 22" in read_until_closed(peer, rest)
    peer.close()
    assert api.post("/exec/nobody/resize?h=1&w=1").status == 404 and api.post(f"/exec/{made}/resize?h=1").status == 400


def test_changes_export_statuses(api):
    for path in ("changes", "export", "top", "stats?stream=0", "logs?stdout=1", "archive?path=/"):
        assert api.get(f"/containers/nobody/{path}").status == 404, path
    assert api.request("HEAD", "/containers/nobody/archive?path=/").status == 404
    assert api.request("PUT", "/containers/nobody/archive?path=/", b"").status == 404
    assert api.post("/containers/nobody/update", {}).status == 404 and api.post("/containers/nobody/wait").status == 404


def test_events_live(api):
    import socket
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(api.socket_path)
        peer.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += peer.recv(4096)
        ident = create(api, "true")
        while b'"create"' not in got:
            piece = peer.recv(4096)
            assert piece, got
            got += piece
    assert ident.encode() in got
