# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the engine while its registry takes and gives up manifests, while it imports, and while it repairs: what was
acknowledged is there with every byte, the rest is whole or not there. CAISSON_REGISTRY_KILLS: how often."""
import contextlib
import http.client
import json
import os
import random
import sqlite3
import threading
import time

import pytest

from harness import store
from harness.distribution import OCI_EMPTY, OCI_MANIFEST, Distribution
from harness.shell import wait_for

pytestmark = pytest.mark.no_leak_check

KILLS = int(os.environ.get("CAISSON_REGISTRY_KILLS") or 12)
PORT = 5921
LOST = (OSError, http.client.HTTPException)


class Pusher:
    """A client with a repository of its own: what it was promised, and what may be either."""

    def __init__(self, netns, number, seed):
        self.http, self.name, self.random = Distribution(netns, PORT), f"kills/r{number}", random.Random(f"{seed}/{number}")
        self.tags, self.unsure, self.count, self.problem = {}, set(), 0, None
        self.running, self.over, self.at_work = threading.Event(), False, threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            self.running.wait(0.2)
            with self.at_work:
                if not self.running.is_set():
                    continue
                try:
                    if self.tags and self.random.random() < 0.3:
                        self.delete()
                    else:
                        self.push()
                except LOST:
                    pass
                except BaseException as error:  # told by the test's own thread
                    self.problem = error
                    return

    def blob(self, data):
        begun = self.http("POST", f"/v2/{self.name}/blobs/uploads/")
        assert begun.status == 202, begun
        place, half = begun.headers["Location"], len(data) // 2
        if self.random.random() < 0.5:
            part = self.http("PATCH", place, data[:half], Content_Type="application/octet-stream", Content_Range=f"0-{half - 1}")
            assert part.status == 202, part
            place, rest = part.headers["Location"], data[half:]
        else:
            rest = data
        done = self.http("PUT", place + "?digest=" + store.sha256(data), rest, Content_Type="application/octet-stream")
        assert done.status == 201, done
        return {"mediaType": "application/octet-stream", "digest": store.sha256(data), "size": len(data)}

    def push(self):
        self.count += 1
        tag = f"t{self.random.randrange(4)}"
        config = {**self.blob(b"{}"), "mediaType": OCI_EMPTY}
        layers = [self.blob(self.random.randbytes(self.random.choice([100, 100_000, 2_000_000]))), self.blob(b"the same in all of them")]
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "a/b", "config": config, "layers": layers}).encode()
        before = self.tags.pop(tag, None)
        self.unsure.add(tag)
        done = self.http("PUT", f"/v2/{self.name}/manifests/{tag}", body, Content_Type=OCI_MANIFEST)
        assert done.status == 201, (done, before)
        self.tags[tag] = body
        self.unsure.discard(tag)

    def delete(self):
        tag = self.random.choice(sorted(self.tags))
        self.tags.pop(tag)
        self.unsure.add(tag)
        done = self.http("DELETE", f"/v2/{self.name}/manifests/{tag}")
        assert done.status == 202, done
        self.unsure.discard(tag)

    def check(self):
        """What is listed is served whole; what was promised is listed."""
        answer = self.http("GET", f"/v2/{self.name}/tags/list")
        listed = set(answer.json["tags"]) if answer.status == 200 else set()
        assert set(self.tags) <= listed <= set(self.tags) | self.unsure, (self.name, sorted(self.tags), sorted(self.unsure), sorted(listed))
        for tag in listed:
            served = self.http("GET", f"/v2/{self.name}/manifests/{tag}", Accept=OCI_MANIFEST)
            assert served.status == 200, served
            if tag in self.tags:
                assert served.body == self.tags[tag]
            for entry in [served.json["config"], *served.json["layers"]]:
                blob = self.http("GET", f"/v2/{self.name}/blobs/{entry['digest']}")
                assert blob.status == 200 and store.sha256(blob.body) == entry["digest"], (tag, entry, blob.status)
            self.tags[tag] = served.body
        self.unsure.clear()


def leftover(engine):
    """Blobs that are not in a repository: those whose manifest never came may wait there for a day."""
    with contextlib.closing(sqlite3.connect(f"file:{engine.data_root}/state.db?mode=ro", uri=True)) as database:
        known = {row[0] for row in database.execute("SELECT digest FROM registry_blobs")}
    return {"sha256:" + name for name in os.listdir(engine.data_root + "/images/blobs/sha256")} - known


def test_what_was_pushed_survives_kills(own_engine, netns):
    seed = os.environ.get("CAISSON_SEED") or str(random.randrange(10 ** 9))
    print(f"CAISSON_SEED={seed} CAISSON_REGISTRY_KILLS={KILLS}")
    moments = random.Random(seed)
    engine = own_engine(images=(), extra=["--registry-listen", f"127.0.0.1:{PORT}"])
    pushers = [Pusher(netns, number, seed) for number in range(3)]
    try:
        for _ in range(KILLS):
            goal, end = sum(p.count for p in pushers) + moments.choice([1, 2, 4]), time.monotonic() + 5
            for pusher in pushers:
                pusher.running.set()
            while sum(p.count for p in pushers) < goal and time.monotonic() < end:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.05))
            for pusher in pushers:
                pusher.running.clear()
            engine.kill9()
            for pusher in pushers:
                assert pusher.at_work.acquire(timeout=90), "a client waits for an engine that is dead"
            try:
                for pusher in pushers:
                    if pusher.problem:
                        raise pusher.problem
                engine.start()
                for pusher in pushers:
                    pusher.check()
                wait_for(lambda: store.orphans(engine) == [], "what belongs to nothing goes")
            finally:
                for pusher in pushers:
                    pusher.at_work.release()
    finally:
        for pusher in pushers:
            pusher.over = True
            pusher.running.set()
        for pusher in pushers:
            pusher.thread.join(60)
    # At the end all of it can be given up, and nothing is left.
    for pusher in pushers:
        answer = pusher.http("GET", f"/v2/{pusher.name}/tags/list")
        for tag in answer.json["tags"] if answer.status == 200 else []:
            assert pusher.http("DELETE", f"/v2/{pusher.name}/manifests/{tag}").status == 202
    engine.api.ok("POST", "/caisson/registry/prune")
    engine.restart()  # what was taken up between two steps of a push is let go of then
    wait_for(lambda: leftover(engine) == set(), "blobs that no repository knows go")
    assert not os.path.isdir(engine.data_root + "/images/uploads") or os.listdir(engine.data_root + "/images/uploads") == []


def kill_during(engine, delay, request):
    """kill -9 of the engine so long after a request went to it."""
    started = threading.Event()

    def ask():
        started.set()
        with contextlib.suppress(*LOST):
            request()
    thread = threading.Thread(target=ask)
    thread.start()
    started.wait()
    time.sleep(delay)
    engine.kill9()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.06])
def test_kill_in_the_middle_of_an_import(own_engine, delay):
    engine = own_engine()
    tar = store.random_layer("imported", 20_000_000)[0]
    kill_during(engine, delay, lambda: engine.api.request("POST", "/images/create?fromSrc=-&repo=imported&tag=1", tar, timeout=60))
    engine.start()
    wait_for(lambda: store.orphans(engine) == [], "what belongs to nothing goes")
    assert {"busybox:latest"} <= {tag for image in engine.images() for tag in image["RepoTags"]}
    assert engine.api.request("POST", "/images/create?fromSrc=-&repo=imported&tag=1", tar, timeout=60).status == 200
    engine.api.ok("DELETE", "/images/imported:1")
    assert store.orphans(engine) == []


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.08])
def test_kill_in_the_middle_of_a_repair(own_engine, delay):
    """A layer that was damaged is unpacked anew; killed meanwhile the next check still finds and mends it."""
    engine = own_engine(images=())
    body = store.checked_image("repaired:1", ["repaired"], 5_000_000)
    assert b"errorDetail" not in engine.api.request("POST", "/images/load", body, headers={"Content-Type": "application/x-tar"}, timeout=60).body
    layers = engine.data_root + "/layers"
    victim = next(f"{layers}/{name}/data-repaired" for name in os.listdir(layers) if os.path.exists(f"{layers}/{name}/data-repaired"))
    with open(victim, "r+b") as file:
        file.write(b"damaged")
    kill_during(engine, delay, lambda: engine.api.request("POST", "/caisson/check?deep=1", timeout=60))
    engine.start()
    report = engine.api.ok("POST", "/caisson/check?deep=1", timeout=60)
    assert all(problem["Repaired"] for problem in report["Problems"]), report
    assert engine.api.ok("POST", "/caisson/check?deep=1", timeout=60)["Problems"] == []
    wait_for(lambda: store.orphans(engine) == [], "what belongs to nothing goes")
    ident = engine.api.ok("POST", "/containers/create", {"Image": "repaired:1", "Cmd": ["sha256sum", "-c", "-s", "/sums"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    assert engine.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0
    engine.api.ok("DELETE", f"/containers/{ident}")
