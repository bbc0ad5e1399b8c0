# SPDX-License-Identifier: Apache-2.0
"""--max-concurrent-downloads, --max-concurrent-uploads and --max-download-attempts, told by a registry that counts."""
import http.client
import json
import random
import threading

import pytest

from harness import store
from harness.api import UnixConnection
from harness.counting_registry import CountingRegistry
from harness.engine import start_error
from harness.shell import wait_for
from harness.upload_counter import UploadCounter

PORT = 5088


@pytest.fixture
def counting(netns, tmp_path):
    registry = CountingRegistry(tmp_path / "registry", netns, PORT)
    yield registry
    registry.stop()


def add_image(counting):
    return counting.add_image("many", [store.layer({f"file-{number}": random.Random(number).randbytes(4096)}) for number in range(6)])


def pull(engine, counting):
    answer = engine.api.request("POST", f"/images/create?fromImage={counting.address}/many&tag=1", timeout=60)
    return [json.loads(line) for line in answer.body.splitlines() if line.strip()]


def started(counting, layers):
    return sum(len(counting.books(layer)) for layer in layers)


@pytest.mark.parametrize("flags, expected", [((), 3), (("--max-concurrent-downloads", "1"), 1), (("--max-concurrent-downloads=5",), 5)])
def test_concurrent_downloads(own_engine, counting, flags, expected):
    """A registry that falls silent in each layer: so many have been begun, and no more."""
    engine, layers = own_engine(images=(), extra=flags), add_image(counting)
    counting.control(limits={layer: 100 for layer in layers}, stall=True)
    connection = UnixConnection(engine.socket, 60)
    connection.request("POST", f"/images/create?fromImage={counting.address}/many&tag=1")
    wait_for(lambda: started(counting, layers) == expected, f"{expected} layers are under way")
    with pytest.raises(AssertionError):
        wait_for(lambda: started(counting, layers) > expected, "more than that", timeout=0.5)
    connection.close()


def test_download_attempts(own_engine, counting, tmp_path):
    config = tmp_path / "daemon.json"
    config.write_text(json.dumps({"max-download-attempts": 2, "max-concurrent-downloads": 1}))
    engine, layers = own_engine(images=(), extra=("--config-file", str(config))), add_image(counting)
    counting.control(limits={layers[0]: 0})
    assert [line for line in pull(engine, counting) if "error" in line]
    assert len(counting.books(layers[0])) == 2
    engine.stop()
    config.write_text(json.dumps({"max-download-attempts": 1}))
    engine.start()
    assert [line for line in pull(engine, counting) if "error" in line]
    assert len(counting.books(layers[0])) == 3
    counting.control()
    assert not [line for line in pull(engine, counting) if "error" in line]


@pytest.mark.parametrize("flags, expected", [(("--max-concurrent-uploads", "1"), 1), (("--max-concurrent-uploads", "4"), 4), ((), 5)])
def test_concurrent_uploads(own_engine, counting, netns, tmp_path, flags, expected):
    engine = own_engine(images=(), extra=flags)
    add_image(counting)
    assert not [line for line in pull(engine, counting) if "error" in line]
    sink = UploadCounter(tmp_path / "sink", netns, PORT + 1)
    try:
        engine.api.ok("POST", f"/images/{counting.address}/many:1/tag?repo={sink.address}/many&tag=1")
        pusher = threading.Thread(target=push, args=(engine, f"{sink.address}/many"))
        pusher.start()
        wait_for(lambda: sink.most() >= expected, f"{expected} uploads at once")
        with pytest.raises(AssertionError):
            wait_for(lambda: sink.most() > expected, "more than that", timeout=0.5)
    finally:
        sink.stop()
        pusher.join(60)


def push(engine, name):
    try:
        engine.api.request("POST", f"/images/{name}/push?tag=1", headers={"X-Registry-Auth": "e30="}, timeout=60)
    except (OSError, http.client.HTTPException):
        pass


@pytest.mark.parametrize("flag", ["max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts"])
def test_bad_numbers(tmp_path, flag):
    for value in ("0", "-1", "x", "100000"):
        assert "expected a number from 1 to" in start_error(tmp_path, f"--{flag}", value)
    assert "expected a number from 1 to" in start_error(tmp_path, config={flag: 0})
