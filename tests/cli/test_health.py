# SPDX-License-Identifier: Apache-2.0
"""Health checks: status, log, events, time limits, and what an unhealthy container gets."""
import re

import pytest

from harness.container import inspect
from harness.shell import wait_for

FAST = ["--health-interval", "200ms", "--health-retries", "2"]


def health(client, name="box"):
    return inspect(client, name)["State"]["Health"]


def becomes(client, status, name="box"):
    wait_for(lambda: health(client, name)["Status"] == status, f"it becomes {status}", timeout=10)


def test_starting_healthy_unhealthy_and_back(cli):
    cli("run", "-d", "--name", "box", "--health-cmd", "test -e /good || { echo it is bad; exit 1; }", "--health-start-period", "60s",
        "--health-start-interval", "200ms", *FAST, "busybox", "sleep", "99")
    assert health(cli)["Status"] == "starting"
    assert "(health: starting)" in cli.out("ps")
    cli("exec", "box", "touch", "/good")
    becomes(cli, "healthy")
    assert "(healthy)" in cli.out("ps", "--filter", "health=healthy")
    cli("exec", "box", "rm", "/good")
    becomes(cli, "unhealthy")
    shown = health(cli)
    assert shown["FailingStreak"] >= 2 and len(shown["Log"]) <= 5
    last = shown["Log"][-1]
    assert last["ExitCode"] == 1 and last["Output"] == "it is bad\n" and re.match(r"\d{4}-\d\d-\d\dT", last["Start"]) and last["End"] >= last["Start"]
    cli("exec", "box", "touch", "/good")
    becomes(cli, "healthy")


def test_a_probe_that_hangs_is_ended(cli):
    cli("run", "-d", "--name", "box", "--health-cmd", "sleep 60", "--health-timeout", "300ms", "--health-interval", "100ms", "--health-retries", "1",
        "busybox", "sleep", "99")
    becomes(cli, "unhealthy")
    last = health(cli)["Log"][-1]
    assert last["ExitCode"] == -1 and "exceeded timeout" in last["Output"]
    wait_for(lambda: cli.out("top", "box").count("sleep 60") <= 1, "ended probes are gone")


def test_a_program_that_is_missing_is_a_failure(cli, api):
    ident = api.ok("POST", "/containers/create?name=box", {"Image": "busybox", "Cmd": ["sleep", "99"], "Healthcheck": {"Test": ["CMD", "/nosuch"], "Interval": 100000000, "Retries": 1}})["Id"]
    api.ok("POST", f"/containers/{ident}/start")
    becomes(cli, "unhealthy")
    assert "/nosuch" in health(cli)["Log"][-1]["Output"]


def test_output_is_cut(cli):
    cli("run", "-d", "--name", "box", "--health-cmd", "yes | head -c 100000", *FAST, "busybox", "sleep", "99")
    becomes(cli, "healthy")
    assert len(health(cli)["Log"][-1]["Output"]) == 4096


def test_events(cli):
    cli("run", "-d", "--name", "box", "--health-cmd", "true", *FAST, "busybox", "sleep", "99")
    becomes(cli, "healthy")
    out = cli.out("events", "--since", "1h", "--until", "0s", "--filter", "container=box", "--format", "{{.Action}}")
    assert "health_status: healthy" in out.splitlines()


@pytest.mark.parametrize("flags", [["--no-healthcheck"], []])
def test_without_a_check(cli, flags):
    cli("run", "-d", "--name", "box", *flags, "busybox", "sleep", "99")
    assert "Health" not in inspect(cli, "box")["State"]
    assert "health" not in cli.out("ps")


def test_it_stops_with_the_container(cli):
    cli("run", "-d", "--name", "box", "--health-cmd", "true", *FAST, "busybox", "sleep", "99")
    becomes(cli, "healthy")
    cli("stop", "-t", "0", "box")
    count = len(health(cli)["Log"])
    assert health(cli)["Status"] == "healthy" and count >= 1
    cli("start", "box")
    assert health(cli)["Status"] == "starting"


@pytest.mark.parametrize("action,running", [("none", True), ("stop", False), ("kill", False)])
def test_on_failure(caisson, action, running):
    caisson("run", "-d", "--name", "box", "--health-cmd", "false", "--health-on-failure", action, *FAST, "--stop-timeout", "0", "busybox", "sleep", "99")
    if running:
        becomes(caisson, "unhealthy")
    wait_for(lambda: inspect(caisson, "box")["State"]["Running"] is running, "the action is taken", timeout=10)


def test_on_failure_restart(caisson):
    caisson("run", "-d", "--name", "box", "--health-cmd", "test -e /good", "--health-on-failure", "restart", *FAST, "--stop-timeout", "0",
            "busybox", "sh", "-c", "[ -e /tried ] && touch /good; touch /tried; sleep 99")
    becomes(caisson, "healthy")
    assert inspect(caisson, "box")["State"]["Running"] is True


@pytest.mark.parametrize("body,words", [({"Test": ["RUN", "x"]}, "unknown type 'RUN' in Healthcheck"), ({"Test": ["CMD", "x"], "Interval": 5}, "Interval in Healthcheck cannot be less than 1ms"),
                                        ({"Test": ["CMD", "x"], "Retries": -1}, "Retries in Healthcheck cannot be negative"), ({"Test": ["CMD", "x"], "OnFailure": "weep"}, "unknown action")])
def test_bad_checks(api, body, words):
    answer = api.post("/containers/create", {"Image": "busybox", "Healthcheck": body})
    assert answer.status == 400 and words in answer.json["message"]
