# SPDX-License-Identifier: Apache-2.0
"""An engine on the other side of ssh: `-H ssh://`, and `system dial-stdio` that serves it there."""
import json
import os
import socket
import subprocess

import pytest

from harness.clients import make_client_by_name
from harness.shell import BIN, run, wait_for
from harness.ssh import SshServer, find_sshd

needs_sshd = pytest.mark.skipif(find_sshd() is None, reason="Debian's openssh-server is not unpacked, or ssh is missing")


@pytest.fixture
def server(engine, netns, tmp_path):
    """sshd in the engine's namespace; who logs in finds the client."""
    server = SshServer(tmp_path / "sshd", netns, 5022, engine.host)
    yield server
    server.stop()


@pytest.fixture(params=["docker-docker", "caisson-caisson", "caisson-docker"])
def far(request, engine, netns, tmp_path):
    """A client that knows the engine by ssh only, and by which name it finds caisson over there."""
    here, there = request.param.split("-")
    server = SshServer(tmp_path / "sshd", netns, 5022, engine.host, (there,))
    yield over_ssh(here, server, tmp_path)
    server.stop()


def over_ssh(name, server, tmp_path, path=""):
    client = make_client_by_name(name, f"ssh://root@127.0.0.1:{server.port}{path}", tmp_path / "config")
    client.env["PATH"] = server.wrapper + ":" + os.environ["PATH"]
    return client


@needs_sshd
def test_commands_over_ssh(far):
    assert far.out("run", "--rm", "busybox", "echo", "there") == "there"
    assert far("run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo end >&2; exit 7", stdin="x" * 300000, rc=7).out == "x" * 300000
    far("run", "-d", "--name", "faraway", "busybox", "sh", "-c", "echo one; sleep 600")
    assert far.out("ps", "--format", "{{.Names}}") == "faraway"
    assert far.out("exec", "faraway", "sh", "-c", "echo two") == "two"
    with far.terminal("exec", "-it", "faraway", "sh") as terminal:
        terminal.type("stty size; exit 5\n")
        terminal.expect("24 80")
        assert terminal.wait() == 5
    wait_for(lambda: far.out("logs", "faraway") == "one", "the log is there")
    far("rm", "-f", "faraway")


@needs_sshd
def test_streams_over_ssh_end(far, engine):
    """Who leaves a stream leaves nothing over there: dial-stdio sees that nobody reads."""
    far("rm", far.out("create", "busybox"))
    watcher = far.start("events", "--since", "1")  # what is replayed shows that the stream is there
    assert watcher.stdout.readline()
    watcher.kill()
    watcher.communicate()
    wait_for(lambda: not dialers(engine), "no dial-stdio is left")


def dialers(engine):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                ours = f"DOCKER_HOST={engine.host}".encode() in file.read()
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if ours and b"dial-stdio" in file.read():
                    found.append(pid)
        except OSError:
            continue
    return found


@needs_sshd
def test_path_of_the_socket(server, tmp_path, engine):
    client = over_ssh("caisson", server, tmp_path, engine.socket)
    assert client.out("version", "--format", "{{.Server.APIVersion}}") == "1.51"
    missing = over_ssh("caisson", server, tmp_path, "/nonexistent.sock")("ps", rc=1)
    assert "Cannot connect to the Docker daemon at unix:///nonexistent.sock" in missing.err


@needs_sshd
def test_host_that_does_not_answer(server, tmp_path, caisson):
    client = over_ssh("caisson", server, tmp_path)
    client.env["CAISSON_HOST"] = "ssh://root@127.0.0.1:5023"
    done = client("ps", rc=1)
    assert "Connection refused" in done.err and "error during connect" in done.err
    client.env["PATH"] = "/nonexistent"
    assert "'ssh': executable file not found in $PATH" in client("ps", rc=1).err


@pytest.mark.parametrize("host, words", [
    ("ssh://a:b@h", "plain-text password is not supported"), ("ssh://h?x=1", "query is not allowed"), ("ssh://", "hostname is empty"),
    ("ssh://h:0", "port is no number"), ("ssh://h/$(id)", "the path may have letters")])
def test_bad_hosts(tmp_path, host, words):
    client = make_client_by_name("caisson", host, tmp_path)
    assert words in client("ps", rc=1).err


def test_dial_stdio_alone(engine):
    """Requests behind one another, and the engine's end of the connection is the end of the program."""
    argv, env = [BIN + "/caisson", "-H", engine.host, "system", "dial-stdio"], {"PATH": "/usr/bin:/bin"}
    request = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"
    done = run(argv, env, stdin=request + request.replace(b"_ping", b"version"))
    assert done.out.count("HTTP/1.1 200 OK") == 2 and '"ApiVersion"' in done.out
    assert "dial-stdio" not in run([BIN + "/caisson", "system", "--help"], env).out
    assert "accepts no arguments" in run([*argv, "x"], env, rc=1).err
    argv[2] = "unix:///nonexistent.sock"
    assert "Cannot connect to the Docker daemon" in run(argv, env, rc=1).err


def test_dial_stdio_ends_with_its_reader(engine):
    """On a socket as on a pipe: an event stream is no reason to stay."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([BIN + "/caisson", "-H", engine.host, "system", "dial-stdio"], stdin=theirs, stdout=theirs,
                               env={"PATH": "/usr/bin:/bin"})
    theirs.close()
    ours.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
    assert ours.recv(4096).startswith(b"HTTP/1.1 200 OK")
    ours.close()
    assert process.wait(20) == 0


def test_context_over_ssh(tmp_path):
    client = make_client_by_name("caisson", "unix:///nonexistent.sock", tmp_path)
    client("context", "create", "far", "--docker", "host=ssh://root@h:22")
    assert json.loads(client.out("context", "inspect", "far"))[0]["Endpoints"]["docker"]["Host"] == "ssh://root@h:22"
