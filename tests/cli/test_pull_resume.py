# SPDX-License-Identifier: Apache-2.0
"""What a pull that failed, was cancelled or was killed has fetched is not fetched again: bytes counted at the registry."""
import http.client
import json
import os
import random
import threading

import pytest

from harness import store
from harness.api import UnixConnection
from harness.counting_registry import CountingRegistry
from harness.shell import wait_for

PORT = 5087
SIZE = 3 << 20


@pytest.fixture
def counting(netns, tmp_path):
    registry = CountingRegistry(tmp_path / "registry", netns, PORT)
    yield registry
    registry.stop()


@pytest.fixture
def layers():
    """Incompressible, so that half a blob is half of it on the disk too."""
    return [store.layer({f"file-{number}": random.Random(number).randbytes(SIZE)}) for number in range(3)]


def lines_of(answer):
    return [json.loads(line) for line in answer.body.splitlines() if line.strip()]


def pull(engine, counting, tag="1", timeout=60):
    return lines_of(engine.api.request("POST", f"/images/create?fromImage={counting.address}/resume&tag={tag}", timeout=timeout))


def assert_pulled(lines):
    assert not [line for line in lines if "error" in line], lines
    assert any("Downloaded newer image" in line.get("status", "") for line in lines), lines


def partial_size(engine, digest):
    try:
        return os.path.getsize(f"{engine.data_root}/images/partial/{digest[7:]}")
    except OSError:
        return -1


def by_layer(lines, digest):
    """The statuses of one layer, repeats left out."""
    out = []
    for line in lines:
        if line.get("id") == digest[7:19] and (not out or out[-1] != line["status"]):
            out.append(line["status"])
    return out


def assert_only_once(counting, digests):
    for digest in digests:
        assert counting.sent(digest) == counting.size(digest), (digest, counting.books(digest))


def test_a_failed_pull_goes_on(own_engine, counting, layers):
    engine = own_engine(images=())
    digests = counting.add_image("resume", layers)
    counting.control(limits={digests[1]: SIZE // 2})
    failed = pull(engine, counting)
    assert "errorDetail" in failed[-1], failed
    assert partial_size(engine, digests[1]) == SIZE // 2
    assert engine.images() == []
    counting.control()
    done = pull(engine, counting)
    assert_pulled(done)
    assert_only_once(counting, digests)
    assert by_layer(done, digests[1])[-1] == "Pull complete"
    assert os.listdir(engine.data_root + "/images/partial") == []


def test_a_killed_engine_goes_on(own_engine, counting, layers):
    engine = own_engine(images=())
    digests = counting.add_image("resume", layers)
    counting.control(limits={digests[2]: SIZE // 2}, stall=True)
    outcome = []

    def first():
        try:
            outcome.append(pull(engine, counting))
        except (OSError, http.client.HTTPException) as error:
            outcome.append(error)
    client = threading.Thread(target=first)
    client.start()
    # The other layers are complete, the last one is half here.
    wait_for(lambda: partial_size(engine, digests[2]) == SIZE // 2, "half of the last layer is here")
    wait_for(lambda: all(os.path.exists(f"{engine.data_root}/images/blobs/sha256/{d[7:]}") for d in digests[:2]), "the other layers are here")
    wait_for(lambda: len(counting.books(digests[2])) == 1, "the registry has sent what it will send")
    engine.kill9()
    client.join()
    counting.control()
    engine.start()
    assert engine.images() == []
    assert_pulled(pull(engine, counting))
    assert_only_once(counting, digests)


def test_a_cancelled_pull_leaves_what_can_be_gone_on_from(own_engine, counting, layers):
    engine = own_engine(images=())
    digests = counting.add_image("resume", layers)
    counting.control(limits={digest: SIZE // 2 for digest in digests}, stall=True)
    connection = UnixConnection(engine.socket, 60)
    connection.request("POST", f"/images/create?fromImage={counting.address}/resume&tag=1")
    wait_for(lambda: all(partial_size(engine, d) == SIZE // 2 for d in digests), "half of every layer is here")
    wait_for(lambda: all(len(counting.books(d)) == 1 for d in digests), "the registry has sent what it will send")
    connection.close()  # the registry is silent: nothing but the client's going tells the engine
    wait_for(lambda: not any("caisson-fetch" in line for line in engine.processes().values()), "the worker is gone")
    assert engine.images() == [] and os.listdir(engine.data_root + "/layers") == []
    counting.control()
    assert_pulled(pull(engine, counting))
    assert_only_once(counting, digests)


def test_a_damaged_rest_is_fetched_anew(own_engine, counting, layers):
    engine = own_engine(images=())
    digests = counting.add_image("resume", layers[:1])
    counting.control(limits={digests[0]: SIZE // 2})
    assert "errorDetail" in pull(engine, counting)[-1]
    with open(f"{engine.data_root}/images/partial/{digests[0][7:]}", "r+b") as file:
        file.seek(SIZE // 4)
        file.write(b"damage")
    counting.control()
    assert_pulled(pull(engine, counting))
    assert os.listdir(engine.data_root + "/images/partial") == []


def test_old_and_foreign_rests_go_at_start(own_engine, counting, layers):
    engine = own_engine(images=())
    digests = counting.add_image("resume", layers[:2])
    counting.control(limits={digest: SIZE // 2 for digest in digests})
    assert "errorDetail" in pull(engine, counting)[-1]
    wait_for(lambda: all(partial_size(engine, d) >= 0 for d in digests), "both layers have begun")
    engine.stop()
    old = f"{engine.data_root}/images/partial/{digests[0][7:]}"
    os.utime(old, (1, 1))
    with open(f"{engine.data_root}/images/partial/not-a-digest", "wb"):
        pass
    engine.start()
    assert os.listdir(engine.data_root + "/images/partial") == [digests[1][7:]]


def test_prune_gives_up_what_is_left_of_downloads(own_engine, counting, layers):
    engine = own_engine(images=())
    digests = counting.add_image("resume", layers[:1])
    counting.control(limits={digests[0]: SIZE // 2})
    assert "errorDetail" in pull(engine, counting)[-1]
    pruned = engine.api.ok("POST", "/images/prune")
    assert pruned["SpaceReclaimed"] >= SIZE // 2
    assert os.listdir(engine.data_root + "/images/partial") == []


def test_two_pulls_at_once_share_the_downloads(own_engine, counting, layers):
    engine = own_engine(images=())
    digests = counting.add_image("resume", layers)
    counting.control(limits={digest: 0 for digest in digests}, stall=True)
    outcomes = {}
    streams = [UnixConnection(engine.socket, 60) for _ in range(2)]
    for stream in streams:
        stream.request("POST", f"/images/create?fromImage={counting.address}/resume&tag=1")

    def read(number):
        outcomes[number] = [json.loads(line) for line in streams[number].getresponse().read().splitlines() if line.strip()]
    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    wait_for(lambda: sum(e["kind"] == "manifest" for e in counting.books("1")) >= 2 and all(counting.books(d) for d in digests), "both pulls are under way")
    # The silent connections end with the registry; another one goes on where they stopped.
    counting.stop()
    os.remove(counting.directory + "/ready")
    counting.control()
    counting.__init__(counting.directory, engine.netns, PORT)
    for reader in readers:
        reader.join()
    for number in range(2):
        assert not [line for line in outcomes[number] if "error" in line], outcomes[number]
        for digest in digests:
            assert by_layer(outcomes[number], digest)[-1] == "Pull complete", outcomes[number]
    assert_only_once(counting, digests)
    for stream in streams:
        stream.close()


def test_progress_of_every_layer(own_engine, counting, layers):
    engine = own_engine(images=())
    digests = counting.add_image("resume", layers + [store.layer({"small": b"x"})])
    lines = pull(engine, counting)
    assert_pulled(lines)
    assert lines[0]["status"] == "Pulling from resume" and lines[0]["id"] == "1"
    expected = ["Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete"]
    for number, digest in enumerate(digests):
        assert by_layer(lines, digest) == [s for s in expected if s != "Waiting" or number == 3], lines
        for line in lines:
            if line.get("id") == digest[7:19] and line["status"] in ("Downloading", "Extracting"):
                assert 0 <= line["progressDetail"]["current"] <= line["progressDetail"]["total"] == counting.size(digest)
                assert line["progress"].startswith("[")
    counting.add_image("resume", layers[:1], tag="2")
    again = pull(engine, counting, tag="2")
    assert by_layer(again, digests[0]) == ["Already exists"]


def test_layers_of_every_media_type(own_engine, counting):
    """tar, gzip and zstd in one image; the same content whatever it was packed in."""
    from harness.lying_images import OCI, gzip_layer, zstd_stored
    engine = own_engine(images=())
    plain, packed, zstd = (store.layer({name: name.encode() * 1000}) for name in ("plain", "packed", "zstd"))
    counting.add_image("resume", [store.busybox_layer(), (plain, OCI + "layer.v1.tar", plain), gzip_layer(packed), (zstd_stored(zstd), OCI + "layer.v1.tar+zstd", zstd)])
    assert_pulled(pull(engine, counting))
    name = f"{counting.address}/resume:1"
    ident = engine.api.ok("POST", "/containers/create", {"Image": name, "Cmd": ["sh", "-c", "for f in plain packed zstd; do cut -c1-6 $f; done"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    assert engine.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0
    log = engine.api.get(f"/containers/{ident}/logs?stdout=1").body
    for name in (b"plainp", b"packed", b"zstdzs"):
        assert name in log, log
