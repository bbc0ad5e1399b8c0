# SPDX-License-Identifier: Apache-2.0
"""kill -9 and restart of the engine: containers run on, logs are complete, exit codes are kept."""
import os
import signal
import time

import pytest

from harness.api import stream
from harness.container import inspect, pid_of
from harness.shell import wait_for

pytestmark = pytest.mark.no_leak_check


def counter(client, *flags):
    """A container that counts quickly to 100, then waits for a file and ends with code 23."""
    return client.out("run", "-d", *flags, "busybox", "sh", "-c",
                      "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; while [ ! -e /end ]; do sleep 0.02; done; exit 23")


def test_killed_engine_container_runs_on(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = counter(client)
    pid = pid_of(client, ident)
    engine.kill9()
    time.sleep(0.3)
    assert os.path.exists(f"/proc/{pid}")
    engine.start()
    shown = inspect(client, ident)
    assert shown["State"]["Running"] is True and shown["State"]["Pid"] == pid
    assert client.out("ps", "-q", "--no-trunc") == ident


def test_killed_engine_log_is_complete(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = counter(client)
    wait_for(lambda: "line 10\n" in client("logs", ident).out, "it counts")
    engine.kill9()
    time.sleep(0.6)
    engine.start()
    wait_for(lambda: "line 99\n" in client("logs", ident).out, "it has counted to the end")
    assert client("logs", ident).out == "".join(f"line {i}\n" for i in range(100))


def test_killed_engine_exec_afterwards_and_exit_code(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = counter(client)
    engine.kill9()
    engine.start()
    assert client.out("exec", ident, "hostname") == ident[:12]
    waiting = client.start("wait", ident)
    client("exec", ident, "touch", "/end")
    assert waiting.communicate(timeout=10)[0] == b"23\n"
    assert inspect(client, ident)["State"]["ExitCode"] == 23


def test_container_that_ends_while_the_engine_is_down(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "busybox", "sh", "-c", "sleep 0.5; echo last words; exit 31")
    pid = pid_of(client, ident)
    engine.kill9()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the container ended")
    engine.start()
    state = wait_for(lambda: (found := inspect(client, ident)["State"])["Status"] == "exited" and found, "its end is known")
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("exited", 31, False)
    assert state["FinishedAt"] > state["StartedAt"]
    assert client("logs", ident).out == "last words\n"


def test_auto_removed_container_that_ends_while_the_engine_is_down(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "--rm", "busybox", "sleep", "0.5")
    pid = pid_of(client, ident)
    engine.kill9()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the container ended")
    engine.start()
    wait_for(lambda: client.out("ps", "-aq") == "", "it is removed")


def test_published_port_works_while_the_engine_is_down_and_after(own_engine, client_of, netns):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "-p", "18200:80", "busybox", "sh", "-c", "echo up > /var/www/index.html; exec httpd -f -p 80 -h /var/www")
    wait_for(lambda: netns.fetch("http://127.0.0.1:18200/", rc=None) == "up\n", "it serves")
    address = inspect(client, ident)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    engine.kill9()
    gateway = address.rsplit(".", 1)[0] + ".1"
    assert netns.fetch(f"http://{gateway}:18200/", rc=None) == "up\n"
    engine.start()
    wait_for(lambda: netns.fetch("http://127.0.0.1:18200/", rc=None) == "up\n", "it serves again")
    assert inspect(client, ident)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == address
    other = client.out("run", "-d", "busybox", "sleep", "99")
    assert inspect(client, other)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] != address
    client("rm", "-f", ident, other)
    again = client.out("run", "-d", "-p", "18200:80", "busybox", "sleep", "99")
    client("rm", "-f", again)


def test_killed_engine_keeps_stopped_containers_and_images(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    client("run", "--name", "kept", "busybox", "sh", "-c", "echo x > /file; exit 4", rc=4)
    engine.kill9()
    engine.start()
    assert inspect(client, "kept")["State"]["ExitCode"] == 4
    assert "busybox" in client.out("images")
    assert client("start", "-a", "kept", rc=4)


def test_orderly_stop_is_quick_and_leaves_containers_running(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = counter(client)
    pid = pid_of(client, ident)
    assert engine.stop() < 2.0
    assert os.path.exists(f"/proc/{pid}")
    engine.start()
    assert inspect(client, ident)["State"]["Pid"] == pid
    client("rm", "-f", ident)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the container is gone")


def test_follower_ends_cleanly_when_the_engine_dies(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "busybox", "sh", "-c", "echo ready; sleep 99")
    follower = client.start("logs", "-f", ident)
    assert follower.stdout.readline() == b"ready\n"
    engine.kill9()
    follower.communicate(timeout=10)
    engine.start()
    assert client("logs", ident).out == "ready\n"


def test_killed_monitor_is_noticed(own_engine, client_of):
    """Without its monitor a container has nobody to report for it: it must not stay 'running' for ever."""
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "busybox", "sleep", "99")
    pid = pid_of(client, ident)
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        monitor = int(next(l for l in file if l.startswith("PPid:")).split()[1])
    with open(f"/proc/{monitor}/comm", encoding="ascii") as file:
        assert file.read() == "caisson-monitor\n"
    os.kill(monitor, signal.SIGKILL)
    wait_for(lambda: not inspect(client, ident)["State"]["Running"], "the engine notices", 5)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the container's process is gone")
    client("rm", "-f", ident)
    assert client.out("run", "--rm", "busybox", "echo", "ok") == "ok"


def test_kill_in_the_middle_of_a_load(own_engine, client_of):
    """Half-made things are dropped at the next start, and the load works then."""
    import threading
    from harness.shell import IMAGES
    engine = own_engine(images=())

    def load():
        try:
            with open(f"{IMAGES}/debian.tar", "rb") as file:
                engine.api.post("/images/load", iter(lambda: file.read(1 << 16), b""), timeout=60)
        except (OSError, AssertionError):
            pass
    worker = threading.Thread(target=load)
    worker.start()
    time.sleep(0.25)
    engine.kill9()
    worker.join()
    engine.start()
    tmp = engine.data_root + "/tmp"
    assert not os.path.isdir(tmp) or os.listdir(tmp) == []
    client = client_of(engine)
    client("load", "-i", f"{IMAGES}/debian.tar", timeout=120)
    assert client.out("run", "--rm", "debian", "echo", "whole") == "whole"


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.08])
def test_kill_in_the_middle_of_runs(own_engine, client_of, delay):
    """Whatever was half-started is either running and adopted or gone; names can be used again."""
    engine = own_engine()
    client = client_of(engine)
    if client.name == "docker":
        pytest.skip("the race is in the engine, one client is enough")
    starting = [client.start("run", "--name", f"r{i}", "busybox", "sleep", "99") for i in range(4)]
    time.sleep(0.05 + delay)
    engine.kill9()
    for process in starting:
        process.kill()
        process.communicate()
    engine.start()
    for entry in engine.containers():
        shown = engine.api.ok("GET", f"/containers/{entry['Id']}/json")
        assert shown["State"]["Running"] == (shown["State"]["Pid"] > 0 and os.path.exists(f"/proc/{shown['State']['Pid']}"))
    engine.remove_containers()
    wait_for(lambda: not engine.processes(), "no monitor is left")
    assert client.out("run", "--rm", "--name", "r0", "busybox", "echo", "fine") == "fine"


def test_two_engines_do_not_touch_each_other(own_engine, client_of):
    first, second = own_engine(), own_engine()
    one, two = client_of(first), client_of(second)
    ident = one.out("run", "-d", "--name", "same", "busybox", "sleep", "99")
    two("run", "-d", "--name", "same", "busybox", "sleep", "99")
    two("rm", "-f", "same")
    second.stop()
    assert inspect(one, ident)["State"]["Running"] is True
    assert one.out("exec", ident, "echo", "here") == "here"


def test_second_engine_on_the_same_roots_is_refused(own_engine):
    from harness.shell import run
    engine = own_engine(images=())
    argv = [a if a != engine.host else engine.host + ".second" for a in engine.argv]
    done = run(argv, rc=None, timeout=5)
    assert done.rc not in (0, None) and done.err.strip()
    assert engine.api.get("/_ping").status == 200


def test_logs_survive_as_docker_writes_them(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "--log-driver", "json-file", "busybox", "echo", "hello")
    wait_for(lambda: not inspect(client, ident)["State"]["Running"], "it ended")
    path = inspect(client, ident)["LogPath"]
    import json
    with open(path, encoding="utf-8") as file:
        entry = json.loads(file.readline())
    assert entry["log"] == "hello\n" and entry["stream"] == "stdout" and entry["time"].endswith("Z")
    assert stream(engine.api.get(f"/containers/{ident}/logs?stdout=1").body, 1) == b"hello\n"
