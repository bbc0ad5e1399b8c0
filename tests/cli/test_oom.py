# SPDX-License-Identifier: Apache-2.0
"""Running out of memory: told at once, for whichever process it was, and the policy of who has to go."""
import json
import os
import signal
import time

import pytest

from harness.container import inspect, pid_of
from harness.shell import wait_for

GREEDY = "dd if=/dev/zero of=/dev/null bs=200M count=1"
LIMIT = ("-m", "24m", "--memory-swap", "24m")


def oom_events(engine, since, ident):
    query = f"/events?since={since:.9f}&until={time.time() + 0.001:.9f}&filters=" + json.dumps({"container": [ident], "event": ["oom"]}).replace('"', "%22").replace(" ", "")
    return [json.loads(line) for line in engine.api.get(query).body.splitlines()]


@pytest.fixture(autouse=True)
def memory_limits_work():
    if not os.path.isdir("/sys/fs/cgroup/memory") and "memory" not in open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii").read():
        pytest.skip("no memory controller")


def test_the_first_process_is_killed(cli, engine):
    since = time.time()
    ident = cli.out("run", "-d", *LIMIT, "busybox", *GREEDY.split())
    assert cli.out("wait", ident) == "137"
    state = inspect(cli, ident)["State"]
    assert (state["OOMKilled"], state["ExitCode"], state["Status"]) == (True, 137, "exited")
    events = oom_events(engine, since, ident)
    assert len(events) == 1
    assert events[0]["Actor"]["Attributes"]["memoryLimit"] == str(24 << 20)
    assert events[0]["Actor"]["Attributes"]["image"] == "busybox"


def test_the_event_comes_before_the_end(cli, engine):
    since = time.time()
    ident = cli.out("run", "-d", *LIMIT, "busybox", *GREEDY.split())
    cli.out("wait", ident)
    query = f"/events?since={since:.9f}&until={time.time() + 0.001:.9f}&filters=" + json.dumps({"container": [ident]}).replace('"', "%22").replace(" ", "")
    actions = [json.loads(line)["Action"] for line in engine.api.get(query).body.splitlines()]
    assert actions.index("oom") < actions.index("die")


def test_a_child_is_killed_and_the_container_lives_on(cli, engine):
    since = time.time()
    ident = cli.out("run", "-d", *LIMIT, "busybox", "sh", "-c", f"{GREEDY}; echo code $?; sleep 99")
    wait_for(lambda: "code 137" in cli("logs", ident).out, "the child was killed", 20)
    wait_for(lambda: inspect(cli, ident)["State"]["OOMKilled"], "it is told while the container runs")
    assert inspect(cli, ident)["State"]["Running"] is True
    events = wait_for(lambda: oom_events(engine, since, ident), "the event")
    assert len(events) == 1
    # Who it was, where the kernel left the time to look.
    if "process" in events[0]["Actor"]["Attributes"]:
        assert events[0]["Actor"]["Attributes"]["process"] == "dd"
        assert int(events[0]["Actor"]["Attributes"]["pid"]) != pid_of(cli, ident)


def test_each_kill_is_told(cli, engine):
    since = time.time()
    ident = cli.out("run", "-d", *LIMIT, "busybox", "sh", "-c", f"for i in 1 2 3; do {GREEDY}; echo code $?; sleep 0.3; done; sleep 99")
    wait_for(lambda: cli("logs", ident).out.count("code 137") == 3, "three were killed", 30)
    wait_for(lambda: len(oom_events(engine, since, ident)) == 3, "three events")


def test_an_exec_is_killed(cli):
    ident = cli.out("run", "-d", *LIMIT, "busybox", "sleep", "99")
    cli("exec", ident, *GREEDY.split(), rc=137)
    wait_for(lambda: inspect(cli, ident)["State"]["OOMKilled"], "it is told")
    assert inspect(cli, ident)["State"]["Running"] is True


def test_a_next_run_begins_without(cli):
    ident = cli.out("run", "-d", *LIMIT, "busybox", "sh", "-c", f"[ -e /second ] && exec sleep 99; touch /second; {GREEDY}")
    cli.out("wait", ident)
    assert inspect(cli, ident)["State"]["OOMKilled"] is True
    cli("start", ident)
    assert inspect(cli, ident)["State"]["OOMKilled"] is False


def test_an_ordinary_kill_is_none(cli, engine):
    since = time.time()
    ident = cli.out("run", "-d", *LIMIT, "busybox", "sleep", "99")
    os.kill(pid_of(cli, ident), signal.SIGKILL)
    assert cli.out("wait", ident) == "137"
    assert inspect(cli, ident)["State"]["OOMKilled"] is False
    assert oom_events(engine, since, ident) == []


def test_told_by_an_engine_that_was_away(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    ident = client.out("run", "-d", *LIMIT, "busybox", "sh", "-c", f"while [ ! -e /go ]; do sleep 0.02; done; {GREEDY}; touch /done; sleep 99")
    pid = pid_of(client, ident)
    engine.kill9()
    open(f"/proc/{pid}/root/go", "w", encoding="ascii").close()
    wait_for(lambda: os.path.exists(f"/proc/{pid}/root/done"), "the child was killed", 20)
    time.sleep(0.1)
    engine.start()
    state = inspect(client, ident)["State"]
    assert state["OOMKilled"] is True and state["Running"] is True


def test_policy_group_kills_all(caisson, engine):
    since = time.time()
    ident = caisson.out("run", "-d", *LIMIT, "--oom-policy", "group", "busybox", "sh", "-c", f"{GREEDY}; echo code $?; sleep 99")
    assert caisson.out("wait", ident) == "137"
    state = inspect(caisson, ident)["State"]
    assert (state["OOMKilled"], state["Running"]) == (True, False)
    assert len(oom_events(engine, since, ident)) == 1
    assert inspect(caisson, ident)["HostConfig"]["OomPolicy"] == "group"


def test_policy_process_is_what_holds_otherwise(caisson):
    ident = caisson.out("run", "-d", *LIMIT, "--oom-policy", "process", "busybox", "sh", "-c", f"{GREEDY}; echo code $?; sleep 99")
    wait_for(lambda: "code 137" in caisson("logs", ident).out, "the child was killed", 20)
    assert inspect(caisson, ident)["State"]["Running"] is True


def test_unknown_policy_is_refused(caisson, api):
    done = caisson("run", "-d", "--oom-policy", "none", "busybox", "true", rc=125)
    assert "invalid OOM policy 'none': must be 'process' or 'group'" in done.err
    answer = api.post("/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"OomPolicy": "x"}})
    assert answer.status == 400
