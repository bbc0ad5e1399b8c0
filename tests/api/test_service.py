# SPDX-License-Identifier: Apache-2.0
"""The engine as a service: told when it is ready, started with its sockets open already."""
import os
import shutil
import socket
import subprocess
import sys

import pytest

from harness.api import Api
from harness.engine import own_name, remove_cgroups
from harness.shell import BIN, wait_for


@pytest.fixture
def service(scratch, netns, tmp_path):
    """Starts an engine as a service manager would: service(sockets, env) -> process."""
    started = []
    root = f"{scratch}/service"

    def start(*flags, sockets=(), env=None):
        os.makedirs(root, exist_ok=True)
        # The pid stays the same over exec: it is the one the sockets are for.
        script = ("import os, sys\n"
                  "fds = [int(fd) for fd in sys.argv[1].split(',') if fd]\n"
                  "for i, fd in enumerate(fds): os.dup2(fd, 3 + i)\n"
                  "if fds: os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))\n"
                  "os.execv(sys.argv[2], sys.argv[2:])")
        argv = netns.enter([sys.executable, "-c", script, ",".join(str(s.fileno()) for s in sockets), f"{BIN}/caissond", "--data-root", root + "/data",
                            "--exec-root", root + "/exec", "--bridge", "cserv0", *flags])
        log = open(root + "/log", "ab")  # the child has it
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})}, pass_fds=[s.fileno() for s in sockets])
        log.close()
        started.append(child)
        return child
    start.log = root + "/log"
    yield start
    for child in started:
        child.terminate()
        child.wait(5)
    remove_cgroups(own_name(root + "/data", root + "/exec"))
    shutil.rmtree(root, ignore_errors=True)


def test_ready_is_told_once_it_answers(service, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10)
        child = service("--host", f"unix://{tmp_path}/api.sock", env={"NOTIFY_SOCKET": path})
        assert manager.recv(100) == b"READY=1"
        assert Api(f"{tmp_path}/api.sock").get("/_ping").status == 200
        child.terminate()
        assert manager.recv(100) == b"STOPPING=1"


def test_sockets_that_are_handed_over(service, tmp_path):
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen(10)
        # A client that comes before the engine is served by it.
        early = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        early.connect(path)
        early.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        child = service("--host", "fd://", sockets=[listening])
        early.settimeout(10)
        assert early.recv(100).startswith(b"HTTP/1.1 200")
        early.close()
        child.terminate()
        child.wait(5)
        # The socket is the manager's: it stays.
        assert os.path.exists(path)


def test_fd_without_sockets_is_an_error(service):
    child = service("--host", "fd://")
    assert child.wait(10) == 1
    with open(service.log, encoding="utf-8") as file:
        assert "no sockets were handed over" in file.read()


def test_children_do_not_inherit_the_announcement(service, tmp_path):
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen(10)
        child = service("--host", "fd://", sockets=[listening])
        wait_for(lambda: Api(path).get("/_ping").status == 200, "it answers", timeout=10)
        with open(f"/proc/{child.pid}/fdinfo/3", encoding="ascii") as file:
            flags = int(next(line for line in file if line.startswith("flags:")).split()[1], 8)
        assert flags & os.O_CLOEXEC
