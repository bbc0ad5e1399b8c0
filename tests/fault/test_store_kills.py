# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the engine at random moments of pull, load, commit, delete and prune: no acknowledged image is lost, each still
runs, nothing belongs to nobody. CAISSON_KILLS: how often (100 is the goal's number); CAISSON_SEED: the same run again."""
import collections
import http.client
import json
import os
import random
import re
import threading
import time

import pytest

from harness import store
from harness.shell import wait_for

pytestmark = pytest.mark.no_leak_check

KILLS = int(os.environ.get("CAISSON_KILLS") or 40)
LOST = (OSError, http.client.HTTPException)
LAYER_BYTES = 700_000
REMOTE = 3  # images in the registry: they share layers


class Killed(Exception):
    """The engine died while it answered."""


class Worker:
    """A client with image names of its own: `expected` tells which are there, not there, or may be either."""

    def __init__(self, load, number, seed):
        self.load, self.number, self.random = load, number, random.Random(f"{seed}/{number}")
        self.api, self.expected, self.count, self.acknowledged = load.engine.api, {}, 0, 0
        self.problem, self.at_work = None, threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.load.over:
            self.load.running.wait(0.2)
            with self.at_work:
                if not self.load.running.is_set():
                    continue
                try:
                    self.step()
                except (*LOST, Killed):
                    pass
                except BaseException as error:  # told by the test's own thread
                    self.problem = error
                    return

    def step(self):
        mine = sorted(name for name, state in self.expected.items() if state == {"there"})
        choices = [self.pull, self.pull, self.load_archive, self.commit] * (2 if len(mine) < 3 else 1)
        choices += [self.delete] * (len(mine) if len(mine) < 3 else 12) + [self.prune]
        self.random.choice(choices)()

    def stream(self, path, body=None, headers=None):
        """A request whose end is told in its stream: one that was cut is no acknowledgement."""
        answer = self.api.request("POST", path, body, headers=headers, timeout=60)
        assert answer.status == 200, f"{path}: {answer}"
        lines = [json.loads(line) for line in answer.body.splitlines() if line.strip()]
        for line in lines:
            assert "error" not in line, f"{path}: {line}"
        return lines

    def change(self, name, state, ask):
        before = self.expected.get(name, {"absent"})
        self.expected[name] = before | {state}
        done = ask()
        if done is False:
            raise Killed
        self.expected[name] = {state}
        self.acknowledged += 1

    def pull(self):
        number = self.random.randrange(REMOTE)
        name = f"{self.load.address}/kills/w{self.number}-{number}:1"
        self.change(name, "there", lambda: any(
            re.match("Status: (Downloaded newer image|Image is up to date)", line.get("status", ""))
            for line in self.stream(f"/images/create?fromImage={name}")))

    def load_archive(self):
        self.count += 1
        name = f"loaded{self.number}:{self.count}"
        seeds = [f"shared{self.random.randrange(2)}", f"own{self.number}-{self.count}"]
        body = store.checked_image(name, seeds, LAYER_BYTES)
        self.change(name, "there", lambda: any("Loaded image" in line.get("stream", "") for line in self.stream(
            "/images/load", body, headers={"Content-Type": "application/x-tar"})))

    def commit(self):
        self.count += 1
        repo = f"made{self.number}" if self.random.random() < 0.8 else ""
        query = f"container={self.load.container}&changes=" + f"LABEL+n={self.number}-{self.count}"
        def ask():
            answer = self.api.post(f"/commit?{query}" + (f"&repo={repo}&tag={self.count}" if repo else ""), {}, timeout=60)
            assert answer.status == 201, answer
        if repo:
            self.change(f"{repo}:{self.count}", "there", ask)
        else:
            ask()  # dangling: prunes of others take it

    def delete(self):
        mine = sorted(name for name, state in self.expected.items() if state == {"there"})
        name = self.random.choice(mine)
        def ask():
            answer = self.api.delete(f"/images/{name}?force=1", timeout=60)
            assert answer.status == 200, answer
        self.change(name, "absent", ask)

    def prune(self):
        answer = self.api.post("/images/prune", timeout=60)
        assert answer.status == 200, answer


class Load:
    def __init__(self, engine, address, container, seed):
        self.engine, self.address, self.container, self.over = engine, address, container, False
        self.random, self.running = random.Random(seed), threading.Event()
        self.workers = [Worker(self, number, seed) for number in range(3)]
        for worker in self.workers:
            worker.thread.start()

    def kill_once(self, changes, delay):
        """After so many more changes were acknowledged, however long they take here, and then some."""
        goal = self.acknowledged() + changes
        end = time.monotonic() + 5
        self.running.set()
        while self.acknowledged() < goal and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(delay)
        self.running.clear()
        self.engine.kill9()
        for worker in self.workers:
            assert worker.at_work.acquire(timeout=90), "a client waits for an engine that is dead"
        try:
            for worker in self.workers:
                if worker.problem:
                    raise worker.problem
            self.engine.start()
            self.check()
        finally:
            for worker in self.workers:
                worker.at_work.release()

    def acknowledged(self):
        return sum(worker.acknowledged for worker in self.workers)

    def check(self):
        tags = {tag for image in self.engine.images() for tag in image["RepoTags"] or []}
        for worker in self.workers:
            for name, states in worker.expected.items():
                now = "there" if name in tags else "absent"
                assert now in states, f"{name} is {now}, expected {states}\n{self.engine.log()[-3000:]}"
                worker.expected[name] = {now}
        settled(self.engine)
        if tags - {"busybox:latest"}:
            runs(self.engine, self.random.choice(sorted(tags - {"busybox:latest"})))

    def end(self):
        self.over = True
        self.running.set()
        for worker in self.workers:
            worker.thread.join(60)


def settled(engine):
    """What was under way when the engine ended is cleared away in the background."""
    end = time.monotonic() + 20
    while left := store.orphans(engine):
        assert time.monotonic() < end, "\n".join(left) + "\n" + engine.log()[-3000:]
        time.sleep(0.02)


def runs(engine, name):
    """Every byte of the image's files is what it was when it was made."""
    ident = engine.api.ok("POST", "/containers/create", {"Image": name, "Cmd": ["sha256sum", "-c", "-s", "/sums"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    assert engine.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0, name
    engine.api.ok("DELETE", f"/containers/{ident}")


def push_images(engine, registry):
    """What the workers pull; three layers each, one of all, one of two of them."""
    for number in range(REMOTE):
        body = store.checked_image(f"kills:{number}", ["all", f"pair{number // 2}", f"one{number}"], LAYER_BYTES)
        engine.api.post("/images/load", body, headers={"Content-Type": "application/x-tar"}, timeout=60)
        for worker in range(3):
            engine.api.ok("POST", f"/images/kills:{number}/tag?repo={registry.address}/kills/w{worker}-{number}&tag=1")
            answer = engine.api.post(f"/images/{registry.address}/kills/w{worker}-{number}/push?tag=1", headers={"X-Registry-Auth": "e30="}, timeout=60)
            assert answer.status == 200 and b"errorDetail" not in answer.body, answer
            engine.api.ok("DELETE", f"/images/{registry.address}/kills/w{worker}-{number}:1")
        engine.api.ok("DELETE", f"/images/kills:{number}")


def test_store_survives_kills(own_engine, registry):
    seed = os.environ.get("CAISSON_SEED") or str(random.randrange(10 ** 9))
    print(f"CAISSON_SEED={seed} CAISSON_KILLS={KILLS}")
    moments = random.Random(seed)
    engine = own_engine()
    push_images(engine, registry)
    sums = store.random_layer("committed", LAYER_BYTES)
    container = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})["Id"]
    answer = engine.api.request("PUT", f"/containers/{container}/archive?path=/", sums[0])
    assert answer.status == 200, answer
    answer = engine.api.request("PUT", f"/containers/{container}/archive?path=/", store.layer({"sums": sums[1].encode()}))
    assert answer.status == 200, answer
    load = Load(engine, registry.address, container, seed)
    try:
        for _ in range(KILLS):
            load.kill_once(moments.choice([0, 1, 1, 2]), moments.choice([moments.uniform(0, 0.03), moments.uniform(0.02, 0.3)]))
    finally:
        load.end()
    for worker in load.workers:
        if worker.problem:
            raise worker.problem
    load.check()
    names = {name for worker in load.workers for name, states in worker.expected.items() if states == {"there"}}
    print(f"{load.acknowledged()} changes acknowledged, {len(names)} images at the end")
    for name in sorted(names):
        runs(engine, name)
    for name in sorted(names):
        engine.api.ok("DELETE", f"/images/{name}?force=1")
    engine.api.ok("DELETE", f"/containers/{container}")
    engine.api.ok("POST", "/images/prune")
    settled(engine)
