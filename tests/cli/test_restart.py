# SPDX-License-Identifier: Apache-2.0
"""Restart policies: what Docker's users see of them, with both clients."""
import os
import re
import signal
import time

import pytest

from harness.container import inspect
from harness.shell import wait_for

def restarts(client, name):
    return inspect(client, name)["RestartCount"]


def test_on_failure_gives_up_after_its_retries(cli):
    cli("run", "-d", "--name", "box", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo run; exit 3")
    wait_for(lambda: inspect(cli, "box")["State"]["Status"] == "exited", "it gives up")
    shown = inspect(cli, "box")
    assert (shown["RestartCount"], shown["State"]["ExitCode"], shown["State"]["Restarting"]) == (2, 3, False)
    assert cli("logs", "box").out == "run\n" * 3
    assert shown["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}


def test_on_failure_is_content_with_success(cli):
    cli("run", "-d", "--name", "box", "--restart", "on-failure", "busybox", "true")
    assert cli.out("wait", "box") == "0"
    assert restarts(cli, "box") == 0


def test_always_comes_back_after_a_success(cli):
    cli("run", "-d", "--name", "box", "--restart", "always", "busybox", "sh", "-c", "echo run; sleep 0.2")
    wait_for(lambda: restarts(cli, "box") >= 2, "it is started again")
    assert inspect(cli, "box")["State"]["Running"] is True
    cli("stop", "-t", "0", "box")
    count = restarts(cli, "box")
    assert inspect(cli, "box")["State"]["Status"] == "exited"
    time.sleep(0.5)
    assert restarts(cli, "box") == count


def test_the_state_between_two_runs(cli):
    cli("run", "-d", "--name", "box", "--restart", "always", "busybox", "false")
    wait_for(lambda: inspect(cli, "box")["State"]["Restarting"], "it waits for its next start")
    wait_for(lambda: "Restarting (1)" in cli.out("ps", "--filter", "status=restarting"), "ps tells it")
    wait_for(lambda: restarts(cli, "box") >= 4, "the pauses grow")
    # The pause is long now: what needs a process says so.
    done = cli("exec", "box", "true", rc=None)
    assert done.rc != 0 and "restarting" in done.err
    assert "restarting" in cli("pause", "box", rc=1).err
    cli("rm", "-f", "box")


def test_stop_ends_the_wait_for_the_next_start(cli):
    cli("run", "-d", "--name", "box", "--restart", "always", "busybox", "false")
    wait_for(lambda: restarts(cli, "box") >= 4, "the pauses grow")
    cli("stop", "box", timeout=5)
    state = inspect(cli, "box")["State"]
    assert (state["Status"], state["Running"], state["Restarting"], state["ExitCode"]) == ("exited", False, False, 1)


def test_start_after_a_stop_begins_to_count_again(cli):
    cli("run", "-d", "--name", "box", "--restart", "unless-stopped", "busybox", "sh", "-c", "sleep 0.1; exit 1")
    wait_for(lambda: restarts(cli, "box") >= 1, "it is started again")
    cli("stop", "-t", "0", "box")
    cli("start", "box")
    assert restarts(cli, "box") <= 1


def test_kill_keeps_it_down_but_a_crash_does_not(cli):
    cli("run", "-d", "--name", "box", "--restart", "always", "busybox", "sleep", "99")
    first = inspect(cli, "box")["State"]["Pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: inspect(cli, "box")["State"]["Pid"] not in (0, first), "it is back")
    cli("kill", "box")
    wait_for(lambda: inspect(cli, "box")["State"]["Status"] == "exited", "it stays down")


def test_the_files_stay_over_a_restart(cli):
    cli("run", "-d", "--name", "box", "--restart", "on-failure", "busybox", "sh", "-c", "echo x >> /kept; cat /kept; [ $(wc -l < /kept) = 3 ]")
    assert cli.out("wait", "box") == "0"
    assert cli("logs", "box").out == "x\n" + "x\n" * 2 + "x\n" * 3


def test_the_address_stays_over_a_restart(cli):
    cli("run", "-d", "--name", "box", "--restart", "on-failure", "busybox", "sh", "-c",
        "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'; wget -q -O- http://nowhere 2>/dev/null; echo x >> /kept; [ $(wc -l < /kept) = 2 ]")
    cli("wait", "box")
    shown = [line for line in cli("logs", "box").out.splitlines() if line.startswith("inet")]
    assert len(shown) == 2 and shown[0] == shown[1]


def test_wait_is_not_over_between_two_runs(cli):
    cli("run", "-d", "--name", "box", "--restart", "on-failure:1", "busybox", "sh", "-c", "sleep 0.2; exit 9")
    assert cli.out("wait", "box") == "9"
    assert restarts(cli, "box") == 1


@pytest.mark.parametrize("policy,words", [("sometimes", "sometimes"), ("always:3", "maximum retry count"), ("on-failure:-1", "negative|integer|cannot")])
def test_bad_policies(cli, policy, words):
    done = cli("run", "-d", "--restart", policy, "busybox", "true", rc=None)
    assert done.rc != 0 and re.search(words, done.err)
    assert cli.out("ps", "-aq") == ""


def test_not_together_with_rm(cli):
    assert "conflicting options" in cli("run", "--rm", "--restart", "always", "busybox", "true", rc=None).err
