# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-docker (docker-py 5.0.3): attach, exec, logs, events, archives, terminals."""
import datetime
import io
import socket
import tarfile
import threading
import time

import pytest

from harness import clients
from harness.api import stream as frames_of
from harness.shell import wait_for

docker = clients.docker_py()


@pytest.fixture
def client(engine):
    made = docker.DockerClient(base_url=engine.host, version="auto", timeout=30)
    yield made
    made.close()


@pytest.fixture
def sleeper(client):
    return client.containers.run("busybox", ["sleep", "999"], detach=True, init=True)


def plain(hijacked):
    """The socket itself behind what docker-py hands out."""
    found = hijacked._sock if hasattr(hijacked, "_sock") else hijacked
    found.settimeout(20)
    return found


def read_all(peer):
    out = b""
    while piece := peer.recv(65536):
        out += piece
    return out


# --- attach -----------------------------------------------------------------------------------------

def test_attach_stream(client):
    container = client.containers.create("busybox", ["sh", "-c", "read line; echo got $line; echo err >&2"], stdin_open=True)
    pieces = container.attach(stream=True, stdout=True, stderr=True, demux=True)
    peer = container.attach_socket(params={"stdin": 1, "stream": 1})
    container.start()
    plain(peer).sendall(b"typed\n")
    seen = list(pieces)
    assert b"".join(out for out, _ in seen if out) == b"got typed\n"
    assert b"".join(err for _, err in seen if err) == b"err\n"
    peer.close()


def test_attach_logs(client):
    container = client.containers.run("busybox", ["echo", "before"], detach=True)
    container.wait()
    assert container.attach(logs=True, stream=False) == b"before\n"


def test_attach_socket_half_close(client):
    container = client.api.create_container("busybox", ["wc", "-c"], stdin_open=True, host_config=client.api.create_host_config())
    hijacked = client.api.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    client.api.start(container)
    peer = plain(hijacked)
    peer.sendall(b"x" * 100_000)
    peer.shutdown(socket.SHUT_WR)
    # stdin stays open for another client (StdinOnce is not set), so the program sees no end: it is ended by signal.
    state = client.api.inspect_container(container)
    if not state["Config"]["StdinOnce"]:
        assert state["State"]["Running"]
        client.api.kill(container)
    read_all(peer)
    hijacked.close()


def test_attach_socket_stdin_once(client, engine):
    created = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["wc", "-c"], "OpenStdin": True, "StdinOnce": True, "AttachStdin": True})
    hijacked = client.api.attach_socket(created["Id"], params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    client.api.start(created["Id"])
    peer = plain(hijacked)
    peer.sendall(b"x" * 300_000)
    peer.shutdown(socket.SHUT_WR)
    assert frames_of(read_all(peer), 1).strip() == b"300000"
    hijacked.close()


def test_attach_socket_of_a_terminal(client):
    container = client.containers.create("busybox", ["sh"], stdin_open=True, tty=True)
    hijacked = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    container.start()
    peer = plain(hijacked)
    container.resize(height=33, width=77)
    peer.sendall(b"stty size; exit 6\n")
    out = read_all(peer)
    assert b"33 77" in out and container.wait()["StatusCode"] == 6
    hijacked.close()


# --- exec -------------------------------------------------------------------------------------------

def test_exec_output_and_code(sleeper):
    assert sleeper.exec_run(["sh", "-c", "echo hi; exit 3"]) == (3, b"hi\n")
    assert sleeper.exec_run("echo 'one word'") == (0, b"one word\n")


def test_exec_demux(sleeper):
    assert sleeper.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True) == (0, (b"out\n", b"err\n"))
    assert sleeper.exec_run(["sh", "-c", "echo out; echo err >&2"], stderr=False) == (0, b"out\n")


def test_exec_stream(sleeper):
    code, pieces = sleeper.exec_run(["sh", "-c", "echo 1; echo 2"], stream=True)
    assert code is None and b"".join(pieces) == b"1\n2\n"


def test_exec_options(sleeper):
    done = sleeper.exec_run(["sh", "-c", "id -u; id -g; pwd; echo $V; grep CapEff /proc/self/status"], user="1000:100", workdir="/tmp", environment={"V": "v w"})
    assert done.output.decode().split("\n")[:4] == ["1000", "100", "/tmp", "v w"]
    full = sleeper.exec_run(["grep", "CapEff", "/proc/self/status"], privileged=True).output
    assert full != sleeper.exec_run(["grep", "CapEff", "/proc/self/status"]).output


def test_exec_tty(client, sleeper):
    made = client.api.exec_create(sleeper.id, ["sh", "-c", "test -t 1 && echo terminal"], tty=True)
    assert client.api.exec_start(made, tty=True).startswith(b"terminal\r\n")
    shown = client.api.exec_inspect(made)
    assert (shown["ExitCode"], shown["Running"], shown["ContainerID"]) == (0, False, sleeper.id)
    assert shown["ProcessConfig"]["tty"] is True


def test_exec_socket(sleeper):
    _, hijacked = sleeper.exec_run(["cat"], stdin=True, socket=True)
    peer = plain(hijacked)
    peer.sendall(b"through\n" * 1000)
    peer.shutdown(socket.SHUT_WR)
    assert frames_of(read_all(peer), 1) == b"through\n" * 1000
    hijacked.close()


def test_exec_socket_of_a_terminal_is_resized(client, sleeper):
    made = client.api.exec_create(sleeper.id, ["sh"], tty=True, stdin=True)
    hijacked = client.api.exec_start(made, tty=True, socket=True)
    client.api.exec_resize(made, height=44, width=111)
    peer = plain(hijacked)
    peer.sendall(b"stty size; exit\n")
    assert b"44 111" in read_all(peer)
    hijacked.close()


def test_exec_detached(client, sleeper):
    made = client.api.exec_create(sleeper.id, ["sh", "-c", "echo done > /made"])
    assert client.api.exec_start(made, detach=True) in ("", b"")
    wait_for(lambda: sleeper.exec_run("cat /made").output == b"done\n", "it ran")


def test_exec_of_what_is_not_there(client, sleeper):
    done = sleeper.exec_run("/no/such")
    assert done.exit_code in (126, 127), done
    with pytest.raises(docker.errors.NotFound):
        client.api.exec_inspect("0" * 64)
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(docker.errors.APIError) as caught:
        sleeper.exec_run("true")
    assert caught.value.status_code == 409


# --- logs -------------------------------------------------------------------------------------------

def test_logs(client):
    container = client.containers.run("busybox", ["sh", "-c", "echo one; echo two >&2; sleep 0.2; echo three"], detach=True)
    container.wait()
    assert sorted(container.logs().splitlines()) == [b"one", b"three", b"two"]
    assert container.logs(stderr=False) == b"one\nthree\n"
    assert container.logs(stdout=False) == b"two\n"
    assert container.logs(tail=1) == b"three\n"
    stamped = container.logs(tail=1, timestamps=True).decode()
    assert stamped.endswith("Z three\n") and stamped[4] == "-"
    assert b"".join(container.logs(stream=True, stdout=True, stderr=False)) == b"one\nthree\n"


def test_logs_follow(client):
    container = client.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], detach=True)
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"


def test_logs_since_and_until(client):
    container = client.containers.run("busybox", ["sh", "-c", "echo old; sleep 2.2; echo new"], detach=True)
    container.wait()
    stamps = {line.split()[1]: line.split()[0] for line in container.logs(timestamps=True).decode().splitlines()}
    new = datetime.datetime.strptime(stamps["new"][:19], "%Y-%m-%dT%H:%M:%S")
    # The SDK sends whole seconds of a datetime.
    assert container.logs(since=new) == b"new\n"
    assert container.logs(until=new) == b"old\n"
    assert container.logs(since=int(time.time()) + 1000) == b""


def test_logs_follow_is_cut_by_the_client(client):
    container = client.containers.run("busybox", ["sh", "-c", "echo one; exec sleep 999"], detach=True, init=True)
    lines = container.logs(stream=True, follow=True)
    assert next(lines) == b"one\n"
    lines.close()
    container.reload()
    assert container.status == "running"


# --- archives ---------------------------------------------------------------------------------------

def test_put_and_get_archive(client, sleeper):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("dir/file")
        entry.size, entry.mode, entry.uid = 5, 0o640, 1000
        tar.addfile(entry, io.BytesIO(b"hello"))
    assert sleeper.put_archive("/tmp", packed.getvalue()) is True
    assert sleeper.exec_run(["stat", "-c", "%a %u %s", "/tmp/dir/file"]).output == b"640 1000 5\n"
    pieces, about = sleeper.get_archive("/tmp/dir")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert tar.extractfile("dir/file").read() == b"hello"
    assert about["name"] == "dir" and about["mode"] >> 31 & 1  # Go's bit of a directory
    pieces, about = sleeper.get_archive("/tmp/dir/file", chunk_size=100)
    assert about["size"] == 5 and about["linkTarget"] == "" and b"hello" in b"".join(pieces)
    with pytest.raises(docker.errors.NotFound):
        sleeper.get_archive("/nowhere")
    with pytest.raises(docker.errors.NotFound):
        sleeper.put_archive("/nowhere", packed.getvalue())


def test_put_archive_as_a_stream(sleeper):
    content = b"z" * 3_000_000
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("big")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    assert sleeper.put_archive("/", packed)
    assert sleeper.exec_run(["wc", "-c", "/big"]).output.split()[0] == b"3000000"


def test_export(client):
    container = client.containers.run("busybox", ["sh", "-c", "echo mine > /file"], detach=True)
    container.wait()
    with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as tar:
        names = tar.getnames()
        assert tar.extractfile("file").read() == b"mine\n" and "bin/busybox" in names


# --- events -----------------------------------------------------------------------------------------

def test_events_live(client):
    events = client.events(decode=True, filters={"type": "container"})
    seen = []

    def collect():
        for event in events:
            seen.append(event)
            if event["Action"] == "destroy":
                return
    reader = threading.Thread(target=collect)
    reader.start()
    container = client.containers.run("busybox", ["true"], detach=True, labels={"mark": "m"})
    container.wait()
    container.remove()
    reader.join(20)
    events.close()
    assert not reader.is_alive()
    assert [e["Action"] for e in seen] == ["create", "start", "die", "destroy"]
    assert {e["Actor"]["ID"] for e in seen} == {container.id} and seen[0]["Actor"]["Attributes"]["mark"] == "m"
    assert seen[2]["Actor"]["Attributes"]["exitCode"] == "0" and seen[0]["timeNano"] <= seen[-1]["timeNano"]


def test_events_replayed(client):
    container = client.containers.run("busybox", ["sh", "-c", "exit 2"], detach=True)
    container.wait()
    container.rename("renamed-later")
    container.remove()
    until = datetime.datetime.utcnow() + datetime.timedelta(seconds=1)
    since = until - datetime.timedelta(minutes=5)
    events = list(client.events(since=since, until=until, decode=True, filters={"container": container.id}))
    assert [e["Action"] for e in events] == ["create", "start", "die", "rename", "destroy"]
    only = list(client.events(since=since, until=until, decode=True, filters={"container": container.id, "event": ["die", "rename"]}))
    assert [e["Action"] for e in only] == ["die", "rename"]
    text = b"".join(p if isinstance(p, bytes) else p.encode() for p in client.events(since=since, until=until, filters={"container": container.id}))
    assert text.count(b"\n") == 5
