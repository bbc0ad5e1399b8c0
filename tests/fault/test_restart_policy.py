# SPDX-License-Identifier: Apache-2.0
"""Restart policies while the engine is down, and what comes up at its start."""
import os
import time

import pytest

from harness.container import inspect, pid_of
from harness.shell import wait_for

pytestmark = pytest.mark.no_leak_check


def test_the_policy_works_without_an_engine(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "--restart", "always", "busybox", "sh", "-c", "echo run; sleep 0.3")
    engine.kill9()
    time.sleep(1.5)
    engine.start()
    shown = wait_for(lambda: (found := inspect(client, ident))["RestartCount"] >= 2 and found, "it has been started again")
    assert shown["State"]["Running"] or shown["State"]["Restarting"]
    assert client("logs", ident).out.count("run") >= shown["RestartCount"]
    client("rm", "-f", ident)


def test_the_last_try_is_known_afterwards(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "--restart", "on-failure:2", "busybox", "sh", "-c", "sleep 0.3; exit 5")
    engine.kill9()
    time.sleep(2)
    engine.start()
    shown = wait_for(lambda: (found := inspect(client, ident))["State"]["Status"] == "exited" and found, "it has given up")
    assert (shown["State"]["Status"], shown["State"]["ExitCode"], shown["RestartCount"]) == ("exited", 5, 2)


def test_the_new_process_is_adopted(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "--restart", "always", "busybox", "sh", "-c", "[ -e /second ] && exec sleep 99; touch /second; sleep 0.3")
    first = pid_of(client, ident)
    engine.kill9()
    time.sleep(1.2)
    engine.start()
    wait_for(lambda: pid_of(client, ident) not in (0, first), "the engine learns of the new process")
    assert os.path.exists(f"/proc/{pid_of(client, ident)}")
    client("exec", ident, "true")
    client("stop", "-t", "0", ident)
    assert inspect(client, ident)["State"]["Status"] == "exited"


@pytest.mark.parametrize("policy,comes", [("always", True), ("unless-stopped", False), ("no", False)])
def test_who_was_stopped_by_hand(own_engine, client_of, policy, comes):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "--restart", policy, "busybox", "sleep", "99")
    client("stop", "-t", "0", ident)
    engine.restart()
    if comes:
        wait_for(lambda: inspect(client, ident)["State"]["Running"], "it is started with the engine")
    else:
        time.sleep(0.5)
        assert inspect(client, ident)["State"]["Running"] is False
    client("rm", "-f", ident)


def test_after_the_machine_went_down(own_engine, client_of):
    """All monitors and processes are gone, as after a loss of power."""
    engine = own_engine()
    client = client_of(engine)
    idents = {policy: client.out("run", "-d", "--restart", policy, "busybox", "sleep", "99") for policy in ("always", "unless-stopped", "on-failure", "no")}
    after = client.out("run", "-d", "--restart", "always", "--network", "container:" + idents["always"], "busybox", "sleep", "99")
    pids = [pid_of(client, ident) for ident in [*idents.values(), after]]
    engine.kill9()
    for pid in [*engine.processes(), *pids]:
        os.kill(pid, 9)
    wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), "the processes are gone")
    engine.start()
    for policy in ("always", "unless-stopped", "on-failure"):
        wait_for(lambda p=policy: inspect(client, idents[p])["State"]["Running"], f"{policy} is up again", timeout=10)
    wait_for(lambda: inspect(client, after)["State"]["Running"], "the one that shares a network is up again", timeout=10)
    assert inspect(client, idents["no"])["State"]["Running"] is False
    for ident in [after, *idents.values()]:
        client("rm", "-f", ident)


def test_a_killed_monitor_is_an_end_like_any_other(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    always = client.out("run", "-d", "--restart", "always", "busybox", "sleep", "99")
    plain = client.out("run", "-d", "busybox", "sleep", "99")
    before = pid_of(client, always)
    for pid in engine.processes():
        os.kill(pid, 9)
    wait_for(lambda: not inspect(client, plain)["State"]["Running"], "the plain one has ended", timeout=10)
    wait_for(lambda: pid_of(client, always) not in (0, before), "the other one is started again", timeout=10)
    client("start", plain)
    assert inspect(client, plain)["State"]["Running"] is True
    client("rm", "-f", always, plain)


def test_a_policy_that_is_given_later(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", "busybox", "sleep", "99")
    client("update", "--restart", "always", ident)
    before = pid_of(client, ident)
    os.kill(before, 9)
    wait_for(lambda: pid_of(client, ident) not in (0, before), "it is started again", timeout=10)
    # And one that is taken away, from a monitor that has it.
    client("update", "--restart", "no", ident)
    os.kill(pid_of(client, ident), 9)
    wait_for(lambda: not inspect(client, ident)["State"]["Running"], "it stays down", timeout=10)
    time.sleep(0.5)
    assert inspect(client, ident)["State"]["Running"] is False
