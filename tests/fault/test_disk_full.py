# SPDX-License-Identifier: Apache-2.0
"""A disk that fills up in the middle of load, pull, commit and push, and one that is full already: the error says so, nothing
of it is left, and the engine goes on as soon as there is room."""
import json
import os

import pytest

from harness import store
from harness.shell import run

pytestmark = pytest.mark.no_leak_check
MIB = 1 << 20
FULL = ("No space left on device", "disk is full")


class SmallDisk:
    def __init__(self, engine):
        self.engine, self.api, self.root = engine, engine.api, engine.data_root

    def free(self):
        state = os.statvfs(self.root)
        return state.f_bavail * state.f_bsize

    def fill(self, leave):
        """All but `leave` bytes, and at most a page more."""
        with open(self.root + "/filler", "wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, max(1, self.free() - leave))

    def give_back(self):
        os.unlink(self.root + "/filler")

    def stream(self, path, body=None, **headers):
        """The error of a progress stream, "" if there is none."""
        answer = self.api.post(path, body, timeout=120, headers={name.replace("_", "-"): value for name, value in headers.items()})
        if answer.status >= 400:
            return answer.message
        lines = [json.loads(line) for line in answer.body.decode().splitlines() if line]
        return next((line["errorDetail"]["message"] for line in lines if "errorDetail" in line), "")

    def load(self, body):
        return self.stream("/images/load", body, Content_Type="application/x-tar")

    def settled(self):
        assert store.orphans(self.engine) == []
        assert not self.engine.processes(), "a worker is left"


@pytest.fixture
def small(own_engine):
    """An engine whose data root is a file system of 64 MiB; busybox is there."""
    engine = own_engine(images=(), start=False)
    os.makedirs(engine.data_root)
    run(["mount", "-t", "tmpfs", "-o", "size=64m", "caisson-test", engine.data_root])
    try:
        engine.start()
        engine.load("busybox")
        yield SmallDisk(engine)
    finally:
        engine.destroy()
        run(["umount", engine.data_root])


def is_full(message):
    return any(text in message for text in FULL) and "\n" not in message


def works(disk, name):
    """An image that fits is taken, runs, and goes."""
    assert disk.load(store.checked_image(name + ":1", [name], 100_000)) == ""
    ident = disk.api.ok("POST", "/containers/create", {"Image": name + ":1", "Cmd": ["sha256sum", "-c", "-s", "/sums"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    disk.api.ok("POST", f"/containers/{ident}/start")
    assert disk.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0
    disk.api.ok("DELETE", f"/containers/{ident}")
    disk.api.ok("DELETE", f"/images/{name}:1")


def test_load(small):
    """Blob and directory together are more than there is; once the blob alone is."""
    before = small.free()
    for number, size in enumerate((35, 80)):
        message = small.load(store.checked_image(f"large:{number}", [f"l{number}"], size * MIB))
        assert is_full(message), message
        small.settled()
        assert before - small.free() < MIB
    works(small, "after")


def test_pull(small, shared_engine, registry):
    name = f"{registry.address}/disk-full/large"
    body = store.checked_image("large:pushed", ["pushed"], 35 * MIB)
    shared = SmallDisk(shared_engine)
    assert shared.load(body) == ""
    shared_engine.api.ok("POST", f"/images/large:pushed/tag?repo={name}&tag=1")
    try:
        assert shared.stream(f"/images/{name}/push?tag=1", X_Registry_Auth="e30=") == ""
    finally:
        shared_engine.api.ok("DELETE", "/images/large:pushed")
        shared_engine.api.ok("DELETE", f"/images/{name}:1")
    message = small.stream(f"/images/create?fromImage={name}&tag=1")
    assert is_full(message), message
    # What came is kept for the next try, and given back to whoever asks for room.
    small.settled()
    before = small.free()
    small.api.ok("POST", "/images/prune")
    assert small.free() >= before
    works(small, "pulled")


def test_commit(small):
    ident = small.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    answer = small.api.request("PUT", f"/containers/{ident}/archive?path=/", store.random_layer("c", 25 * MIB)[0])
    assert answer.status == 200, answer
    before = small.free()
    answer = small.api.post(f"/commit?container={ident}&repo=committed&tag=1", {}, timeout=120)
    assert answer.status == 500 and is_full(answer.message), answer
    small.settled()
    assert before - small.free() < MIB
    assert [image["RepoTags"] for image in small.engine.images()] == [["busybox:latest"]]
    small.api.ok("DELETE", f"/containers/{ident}")
    works(small, "committed")


def test_a_full_disk(small):
    """Not a byte is left: what needs room says so, and nothing is half done."""
    small.api.ok("POST", "/images/busybox/tag?repo=second&tag=1")
    assert small.load(store.checked_image("goes:1", ["goes"], MIB)) == ""
    small.fill(0)
    for path in ("/images/busybox/tag?repo=third&tag=1", "/containers/create"):
        answer = small.api.post(path, {"Image": "busybox", "Cmd": ["true"]})
        assert answer.status >= 400 and is_full(answer.message) or answer.status == 201, answer
    message = small.load(store.checked_image("never:1", ["never"], MIB))
    assert is_full(message), message
    assert small.api.get("/images/json").status == 200 and small.api.get("/_ping").status == 200
    answer = small.api.delete("/images/goes:1")
    assert answer.status == 200 or is_full(answer.message), answer
    small.give_back()
    if answer.status != 200:
        small.api.ok("DELETE", "/images/goes:1")
    names = {tag for image in small.engine.images() for tag in image["RepoTags"]}
    assert {"busybox:latest", "second:1"} <= names and "never:1" not in names and "goes:1" not in names
    for container in small.engine.containers():
        small.api.ok("DELETE", f"/containers/{container['Id']}")
    small.settled()
    works(small, "again")
    small.engine.restart()
    small.settled()
    assert {tag for image in small.engine.images() for tag in image["RepoTags"]} == names


def test_a_full_disk_at_the_start(small):
    """An engine that cannot start says of which file, and has lost nothing when there is room again."""
    small.engine.stop()
    small.fill(0)
    with pytest.raises(AssertionError):
        small.engine.start()
    assert "state.db" in small.engine.log()
    small.give_back()
    small.engine.start()
    assert small.api.get("/images/json").json[0]["RepoTags"] == ["busybox:latest"]
    works(small, "later")
