# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the engine at random moments while several clients work: what was acknowledged holds afterwards, exit codes
are known, nothing is left behind. CAISSON_KILLS: how often (200 is the goal's number); CAISSON_SEED: the same run again."""
import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from harness import leaks
from harness.shell import wait_for

pytestmark = pytest.mark.no_leak_check

KILLS = int(os.environ.get("CAISSON_KILLS") or 60)
CLIENTS = 6
LOST = (OSError, http.client.HTTPException)
SUBNET = "172.31.77.1/27"
ADDRESSES = 29  # of a /27 without network, broadcast and gateway


class Expected:
    """What one client was told of one container, and what may be true of it beyond that."""

    def __init__(self, ident, name, kind, code, removed_by_engine, volume):
        self.id, self.name, self.kind, self.code, self.auto, self.volume = ident, name, kind, code, removed_by_engine, volume
        self.states = {"created"}
        self.exit_codes = {0}
        self.addressed = False

    def started(self):
        """Those that sleep go on; short ones have ended or are about to."""
        if self.kind == "short":
            self.states = {"running", "exited"}
            self.exit_codes = {self.code}
            if self.auto:
                self.states = {"running", "gone"}
        else:
            self.states = {"running"}

    def ended(self, code):
        self.states, self.exit_codes = {"gone"} if self.auto else {"exited"}, {code}

    def maybe(self, change, *args):
        """The answer was lost: the change may have happened or not."""
        before, codes = set(self.states), set(self.exit_codes)
        change(*args)
        self.states |= before
        self.exit_codes |= codes

    def gone(self):
        self.states = {"gone"}


class Worker:
    """One client with containers of its own. Works until its engine dies, then waits for the next one."""

    def __init__(self, load, number, seed):
        self.load, self.number, self.random = load, number, random.Random(f"{seed}/{number}")
        self.api, self.known, self.unnamed, self.count = load.engine.api, {}, None, 0
        self.acknowledged, self.problem, self.at_work = 0, None, threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.load.over:
            self.load.running.wait(0.2)
            with self.at_work:
                if not self.load.running.is_set():
                    continue
                try:
                    self.step()
                except LOST:
                    pass  # the engine is dead; what was asked may have happened
                except BaseException as error:  # told by the test's own thread
                    self.problem = error
                    return

    def ask(self, method, path, body=None, good=(200, 201, 204, 304)):
        answer = self.api.request(method, path, body, timeout=30)
        assert answer.status in good, f"{method} {path}: {answer}"
        self.acknowledged += 1
        return answer

    def step(self):
        mine = [e for e in self.known.values() if e.states != {"gone"}]
        can_start = [e for e in mine if e.states == {"created"}]
        runs = [e for e in mine if e.states == {"running"}]
        choices = [self.create] * (3 if len(mine) < 4 else 0) + [self.start] * 4 * bool(can_start)
        choices += [self.stop, self.execute, self.execute] * bool(runs)
        choices += [self.remove] * (1 if len(mine) < 4 else 4) * bool(mine)
        choices += [self.wait] * 2 * any(e.kind == "short" and not e.auto and "running" in e.states for e in mine)
        self.random.choice(choices)()

    def pick(self, condition):
        found = sorted((e for e in self.known.values() if condition(e)), key=lambda e: e.name)
        return self.random.choice(found) if found else None

    def create(self):
        self.count += 1
        name = f"w{self.number}n{self.count}"
        kind = self.random.choice(["sleep", "sleep", "short"])
        code = self.random.randrange(1, 120)
        auto, volume, port = self.random.random() < 0.25, self.random.random() < 0.3, self.random.random() < 0.2
        command = ["sleep", "999"] if kind == "sleep" else ["sh", "-c", f"sleep 0.0{self.random.randrange(9)}; exit {code}"]
        body = {"Image": "busybox", "Cmd": command, "HostConfig": {"AutoRemove": auto}}
        if volume:
            body["Volumes"] = {"/data": {}}
        if port:
            body["HostConfig"]["PortBindings"] = {"80/tcp": [{"HostPort": str(18300 + self.number * 20 + self.count % 20)}]}
        self.unnamed = Expected(None, name, kind, code, auto, volume)
        answer = self.ask("POST", f"/containers/create?name={name}", body)
        self.unnamed.id, self.unnamed.addressed = answer.json["Id"], True
        self.known[name], self.unnamed = self.unnamed, None

    def start(self):
        entry = self.pick(lambda e: e.states == {"created"})
        try:
            self.ask("POST", f"/containers/{entry.id}/start")
        except LOST:
            entry.maybe(entry.started)
            raise
        entry.started()

    def stop(self):
        entry = self.pick(lambda e: e.states == {"running"})
        verb = self.random.choice(["stop?t=0", "kill"])
        try:
            self.ask("POST", f"/containers/{entry.id}/{verb}")
        except LOST:
            entry.maybe(entry.ended, 137)
            raise
        entry.ended(137)

    def execute(self):
        entry = self.pick(lambda e: e.states == {"running"})
        if entry.kind != "sleep":
            return
        code = self.random.randrange(1, 120)
        ident = self.ask("POST", f"/containers/{entry.id}/exec", {"Cmd": ["sh", "-c", f"echo said; exit {code}"], "AttachStdout": True}).json["Id"]
        answer = self.ask("POST", f"/exec/{ident}/start", {"Detach": False, "Tty": False})
        if answer.body.endswith(b"said\n"):  # a dying engine may cut the stream, which looks like its end
            assert self.ask("GET", f"/exec/{ident}/json").json["ExitCode"] == code

    def remove(self):
        entry = self.pick(lambda e: e.states != {"gone"})
        try:
            self.ask("DELETE", f"/containers/{entry.id}?force=1&v=1", good=(204, 404) if entry.auto else (204,))
        except LOST:
            def gone():
                entry.gone()
                entry.exit_codes = {137}
            if "running" in entry.states:
                entry.maybe(entry.ended, 137)
            entry.maybe(gone)
            raise
        entry.gone()

    def wait(self):
        entry = self.pick(lambda e: e.kind == "short" and not e.auto and "running" in e.states)
        if "created" in entry.states:
            return
        code = self.ask("POST", f"/containers/{entry.id}/wait").json["StatusCode"]
        assert code in entry.exit_codes, f"wait for {entry.name}: {code}, not one of {entry.exit_codes}"
        entry.ended(code)


class Load:
    def __init__(self, engine, seed):
        self.engine, self.over = engine, False
        self.running = threading.Event()
        self.workers = [Worker(self, number, seed) for number in range(CLIENTS)]
        for worker in self.workers:
            worker.thread.start()

    def kill_once(self, delay):
        self.running.set()
        time.sleep(delay)
        self.running.clear()  # nobody begins anything new; what is under way is hit
        self.engine.kill9()
        for worker in self.workers:
            assert worker.at_work.acquire(timeout=40), "a client waits for an engine that is dead"
        try:
            self.raise_problems()
            self.engine.start()
            self.check()
        finally:
            for worker in self.workers:
                worker.at_work.release()

    def raise_problems(self):
        for worker in self.workers:
            if worker.problem:
                raise worker.problem

    def check(self):
        listed = {c["Names"][0][1:]: c for c in self.engine.containers()}
        for worker in self.workers:
            lost = worker.unnamed
            if lost:
                worker.unnamed = None
                if lost.name in listed:
                    lost.id = listed[lost.name]["Id"]
                    worker.known[lost.name] = lost
            for entry in worker.known.values():
                self.check_one(entry, listed)
            worker.known = {n: e for n, e in worker.known.items() if e.states != {"gone"}}
        wait_for(lambda: not self.strangers(), "no process is left whose container does not run", 10)

    def check_one(self, entry, listed):
        if entry.kind == "short" and ("gone" in entry.states or "exited" in entry.states) and "running" in entry.states:
            # A short one is given the time to end: then its code has to be known.
            # One with --rm is for a moment there after its end; it has to go by itself.
            wait_for(lambda: self.is_settled(entry), f"{entry.name} ended", 20)
        answer = self.engine.api.get(f"/containers/{entry.id}/json")
        if answer.status == 404:
            assert "gone" in entry.states, f"{entry.name} is gone, but was {entry.states}\n{self.engine.log()[-3000:]}"
            entry.gone()
            return
        state = answer.json["State"]
        assert state["Status"] in entry.states, f"{entry.name} ({entry.kind}, --rm {entry.auto}) is {state}, expected {entry.states}\n{self.engine.log()[-3000:]}"
        if state["Status"] == "exited":
            assert state["ExitCode"] in entry.exit_codes, f"{entry.name} ended with {state}, expected {entry.exit_codes}"
        if state["Status"] == "running":
            assert self.holds(entry.id, state["Pid"]), f"{entry.name}: process {state['Pid']} is not its own: {state}"
        entry.states = {state["Status"]}
        entry.exit_codes = {state["ExitCode"]}

    def is_settled(self, entry):
        answer = self.engine.api.get(f"/containers/{entry.id}/json")
        return answer.status == 404 or answer.json["State"]["Status"] in ({"created"} if entry.auto else {"created", "exited"})

    @staticmethod
    def holds(ident, pid):
        try:
            with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
                return ident in file.read()
        except OSError:
            return False

    def strangers(self):
        """Processes in cgroups of this engine whose container does not run."""
        running = {c["Id"] for c in self.engine.containers() if c["State"] == "running"}
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
                    text = file.read()
                if "/" + self.engine.own_name + "/" in text and not any(ident in text for ident in running):
                    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                        if ") Z " not in file.read():
                            found.append((pid, text.splitlines()[0]))
            except OSError:
                continue
        return found

    def end(self):
        self.over = True
        self.running.set()
        for worker in self.workers:
            worker.thread.join(30)


def test_engine_killed_at_random_moments(own_engine):
    seed = os.environ.get("CAISSON_SEED") or str(random.randrange(10 ** 9))
    print(f"CAISSON_SEED={seed} CAISSON_KILLS={KILLS}")
    moments = random.Random(seed)
    engine = own_engine(bip=SUBNET)
    first = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})["Id"]
    engine.api.ok("POST", f"/containers/{first}/start")  # the bridge and the rules come with the first one
    engine.api.ok("POST", f"/containers/{first}/wait")
    engine.api.ok("DELETE", f"/containers/{first}")
    engine.restart()
    before = leaks.Snapshot(engine)
    load = Load(engine, seed)
    try:
        for _ in range(KILLS):
            # Half of them early, where the restart's own work is under way.
            load.kill_once(moments.choice([moments.uniform(0, 0.03), moments.uniform(0.02, 0.3)]))
    finally:
        load.end()
    print(f"{sum(w.acknowledged for w in load.workers)} requests acknowledged")
    load.raise_problems()
    engine.remove_containers()
    assert engine.containers() == []
    left = wait_for_nothing(engine, before)
    assert not left, "left behind:\n  " + "\n  ".join(left) + "\n" + engine.log()[-2000:]
    every_address_is_free(engine)


def wait_for_nothing(engine, before):
    end = time.monotonic() + 10
    while True:
        # Other engines on this machine have cgroups of their own.
        left = [line for line in leaks.differences(engine, before) if not line.startswith("cgroup:") or engine.own_name in line]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.1)


def every_address_is_free(engine):
    idents = []
    for _ in range(ADDRESSES):
        idents.append(engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "99"]})["Id"])
        engine.api.ok("POST", f"/containers/{idents[-1]}/start")
    addresses = {c["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] for c in engine.containers()}
    assert len(addresses) == ADDRESSES
    engine.remove_containers()


def test_numbers_of_processes_that_are_others_by_now(own_engine):
    """What an engine has noted of processes may be wrong after years; nobody else's process is taken for its own."""
    engine = own_engine()
    api = engine.api
    idents = [api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "999"]})["Id"] for _ in range(2)]
    for ident in idents:
        api.ok("POST", f"/containers/{ident}/start")
    lives, dies = idents
    true_pid = api.ok("GET", f"/containers/{lives}/json")["State"]["Pid"]
    ended = api.ok("GET", f"/containers/{dies}/json")["State"]["Pid"]
    engine.kill9()
    stranger = subprocess.Popen(["sleep", "999"])
    try:
        os.kill(monitor_of(ended), signal.SIGKILL)
        os.kill(ended, signal.SIGKILL)
        with contextlib.closing(sqlite3.connect(engine.data_root + "/state.db")) as database:
            for ident in idents:
                record = json.loads(database.execute("SELECT record FROM containers WHERE id = ?", (ident,)).fetchone()[0])
                record["pid"] = record["monitor_pid"] = stranger.pid
                database.execute("UPDATE containers SET record = ? WHERE id = ?", (json.dumps(record), ident))
            database.commit()
        engine.start()
        assert api.ok("GET", f"/containers/{lives}/json")["State"]["Pid"] == true_pid
        assert api.ok("GET", f"/containers/{dies}/json")["State"]["Status"] == "exited"
        api.ok("POST", f"/containers/{dies}/start")
        for ident in idents:
            api.ok("DELETE", f"/containers/{ident}?force=1")
        assert stranger.poll() is None, "somebody else's process was killed"
    finally:
        stranger.kill()
        stranger.wait()


def monitor_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("PPid:")).split()[1])
