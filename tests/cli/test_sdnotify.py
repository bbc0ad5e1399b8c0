# SPDX-License-Identifier: Apache-2.0
"""run --sdnotify: a container tells systemd that it is ready."""
import os
import socket

import pytest

from harness.container import inspect

SAY = 'perl -MSocket -e \'socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; send(S, $ARGV[0], 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die "$!"\' '


@pytest.fixture
def manager(caisson, tmp_path):
    """What systemd is for a service: a socket, named in the environment of `caisson`."""
    path = str(tmp_path / "manager")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(20)
        caisson.env.update(NOTIFY_SOCKET=path, XDG_RUNTIME_DIR=str(tmp_path))
        yield listening
    assert not [name for name in os.listdir(tmp_path) if name.startswith("caisson-notify")]


def test_sdnotify_container_detached(caisson, manager):
    # "ready" is printed before it is said: run -d has returned only after that.
    ident = caisson.out("run", "-d", "--rm", "--name", "service", "--sdnotify", "container", "debian", "sh", "-c",
                        f"{SAY} 'STATUS=warming'; sleep 0.3; echo ready; {SAY} \"READY=1\nMAINPID=1\nFDSTORE=1\"; sleep 99")
    assert "ready" in caisson.out("logs", ident)
    assert manager.recv(1000) == b"STATUS=warming"
    pid = inspect(caisson, ident)["State"]["Pid"]
    assert manager.recv(1000).decode().splitlines() == ["READY=1", f"MAINPID={pid}"]


def test_sdnotify_container_attached(caisson, manager):
    running = caisson.start("run", "--rm", "--name", "service", "--sdnotify=container", "debian", "sh", "-c", f"{SAY} READY=1; read line; {SAY} STOPPING=1; exit 3")
    assert b"READY=1\nMAINPID=" in manager.recv(1000)
    running.terminate()
    running.communicate(timeout=20)
    caisson("rm", "-f", "service", rc=None)


def test_sdnotify_container_that_ends_before(caisson, manager):
    answer = caisson("run", "-d", "--rm", "--sdnotify", "container", "debian", "false", rc=None)
    assert answer.rc != 0 and "ended before it said that it is ready" in answer.err


def test_sdnotify_of_the_client_itself(caisson, manager):
    ident = caisson.out("run", "-d", "--sdnotify", "conmon", "busybox", "sleep", "99")
    assert manager.recv(1000).decode() == f"READY=1\nMAINPID={inspect(caisson, ident)['State']['Pid']}"


@pytest.mark.parametrize("arguments, words", [
    (["--sdnotify", "container"], "needs --rm"),
    (["--sdnotify", "perhaps"], "is not one of container, conmon, ignore"),
])
def test_sdnotify_refuses(caisson, manager, arguments, words):
    assert words in caisson("run", *arguments, "busybox", "true", rc=None).err
    assert caisson.out("ps", "-aq") == ""


def test_sdnotify_without_a_manager(caisson):
    assert caisson.out("run", "--rm", "--sdnotify", "container", "busybox", "sh", "-c", "echo [$NOTIFY_SOCKET]") == "[]"
