# SPDX-License-Identifier: Apache-2.0
"""A registry that lies: whatever it does, one clear error, no more memory or disk than the limits say, a clean store, and
an engine that goes on. tests/harness/lying_registry.py tells the lies."""
import json
import os

import pytest

from harness import store
from harness.engine import Engine
from harness.lying_registry import LyingRegistry
from harness.shell import run

SECONDS = 3  # --registry-timeout of the engine that meets the slow ones
KIB_OF_GROWTH = 24 << 10  # the engine's own memory while it is lied to


@pytest.fixture(scope="module")
def liar(scratch, netns):
    registry = LyingRegistry(scratch + "/liar", netns, 5066)
    yield registry
    registry.stop()


def module_engine(scratch, netns, name, bridge, *flags):
    engine = Engine(f"{scratch}/{name}", netns, bridge=bridge, extra=flags)
    os.makedirs(engine.root)
    return engine.start()


@pytest.fixture(scope="module")
def patient(scratch, netns):
    """One engine for all lies: what one leaves behind the next one's check finds."""
    engine = module_engine(scratch, netns, "lied-to", "ctlie0")
    yield engine
    engine.destroy()


@pytest.fixture(scope="module")
def hasty(scratch, netns):
    engine = module_engine(scratch, netns, "hasty", "ctlie1", "--registry-timeout", str(SECONDS))
    yield engine
    engine.destroy()


def peak_kib(engine):
    with open(f"/proc/{engine.process.pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1])


def forget_peak(engine):
    with open(f"/proc/{engine.process.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def pull(engine, liar, repository, **options):
    """(status, message): of an error before the stream its own, of one in the stream 200 and the last line's."""
    query = f"fromImage={liar.address}/{repository}&tag=" + options.pop("tag", "1")
    answer = engine.api.post("/images/create?" + query, timeout=120, **options)
    if answer.status != 200:
        return answer.status, answer.message
    lines = [line for line in answer.body.decode().splitlines() if line]
    last = json.loads(lines[-1])
    return 200, last.get("errorDetail", {}).get("message", "")


def assert_clean(engine):
    assert engine.api.ok("GET", "/images/json") == []
    assert store.orphans(engine) == []
    assert not engine.processes(), "a fetch worker is left"


def checker(engine, liar):
    forget_peak(engine)
    before = peak_kib(engine)

    def check(repository, status, text, **options):
        got = pull(engine, liar, repository, **options)
        assert got[0] == status and text in got[1], got
        assert "\n" not in got[1] and len(got[1]) < 1000, got
    yield check
    assert engine.process.poll() is None, engine.log()[-2000:]
    assert peak_kib(engine) - before < KIB_OF_GROWTH
    assert_clean(engine)


@pytest.fixture
def lied_to(patient, liar):
    yield from checker(patient, liar)


@pytest.fixture
def kept_waiting(hasty, liar):
    yield from checker(hasty, liar)


def test_the_truth_is_taken(patient, liar):
    assert pull(patient, liar, "good/image") == (200, "")
    patient.api.delete(f"/images/{liar.address}/good/image:1")
    assert_clean(patient)


@pytest.mark.parametrize("repository, status, text", [
    ("status-401/x", 500, "unauthorized: authentication required"),
    ("status-403/x", 404, "pull access denied for 127.0.0.1:5066/status-403/x, repository does not exist or may require 'docker login': denied: "
                          "requested access to the resource is denied"),
    ("status-404/x", 404, "manifest for 127.0.0.1:5066/status-404/x:1 not found: manifest unknown"),
    ("status-429/x", 500, "toomanyrequests: You have reached your pull rate limit"),
    ("status-500/x", 500, "unknown: something went wrong"),
    ("bare-500/x", 500, "received unexpected HTTP status: 500 Internal Server Error"),
])
def test_statuses_of_the_manifest(lied_to, repository, status, text):
    lied_to(repository, status, text)


@pytest.mark.parametrize("repository, text", [
    ("blob-401/x", "not today"), ("blob-403/x", "not today"), ("blob-404/x", "not today"), ("blob-429/x", "toomanyrequests: not today"),
    ("blob-500/x", "not today"),
])
def test_statuses_of_a_layer(lied_to, repository, text):
    lied_to(repository, 200, text)


@pytest.mark.parametrize("repository, status, text", [
    ("wrong-digest/x", 200, "filesystem layer verification failed for digest sha256:"),
    ("wrong-config/x", 200, "image config verification failed for digest sha256:"),
    ("wrong-manifest/x", 500, "manifest verification failed for digest sha256:"),
    ("wrong-diff-id/x", 200, "has the wrong content: its digest is"),
    ("longer-layer/x", 200, "larger than the"),
    ("endless-layer/x", 200, "larger than the"),
    ("smaller-size/x", 200, "larger than the"),
    ("larger-size/x", 200, "unexpected EOF after"),
    ("truncated/x", 200, "ended inside an answer"),
    ("missing-diff-id/x", 200, "names 1 layers, its manifest 2"),
])
def test_bytes_that_are_not_what_was_promised(lied_to, repository, status, text):
    lied_to(repository, status, text)


def test_a_manifest_asked_for_by_digest(lied_to):
    lied_to("wrong-manifest/x", 404, "manifest unknown", tag="sha256:" + "0" * 64)


@pytest.mark.parametrize("repository, text", [
    ("big-manifest/x", "manifest of 'big-manifest/x' is larger than 4194304 bytes"),
    ("endless-manifest/x", "manifest of 'endless-manifest/x' is larger than 4194304 bytes"),
    ("endless-chunked/x", "manifest of 'endless-chunked/x' is larger than 4194304 bytes"),
])
def test_manifests_without_end(lied_to, repository, text):
    lied_to(repository, 400, text)


@pytest.mark.parametrize("repository, status, text", [
    ("stalled-manifest/x", 500, f"no data within {SECONDS} s"),
    ("trickled-manifest/x", 500, f"no end within {2 * SECONDS} s"),
    ("stalled-layer/x", 200, f"no data within {SECONDS} s"),
    ("trickled-layer/x", 200, f"bytes in {SECONDS} s"),
    # Never silent, and never done.
    ("trickled-head/x", 500, f"no end within {2 * SECONDS} s"),
    ("interim/x", 500, f"no end within {2 * SECONDS} s"),
    ("interim-flood/x", 500, f"no end within {2 * SECONDS} s"),
    ("chunk-extension/x", 500, f"no end within {2 * SECONDS} s"),
])
def test_a_slow_registry(kept_waiting, repository, status, text):
    kept_waiting(repository, status, text)


@pytest.mark.parametrize("repository, text", [
    ("redirect-loop/x", "more than 5 redirects"),
    ("redirect-file/x", "refusing redirect to 'file:///etc/passwd'"),
    ("hang-up/x", "the connection was closed before an answer came"),
    ("garbage/x", "malformed"),
    ("endless-head/x", "head"),
])
def test_answers_that_lead_nowhere(lied_to, repository, text):
    lied_to(repository, 500, text)


@pytest.mark.parametrize("repository, status, text", [
    ("html/x", 400, "manifest"),
    ("wrong-type/x", 200, ""),  # the document itself says what it is
    ("both/x", 400, "index and image manifest at once"),
    ("schema1/x", 400, "schema 1 is not supported"),
    ("not-an-image/x", 400, "not a container image"),
    ("foreign/x", 400, "foreign layer"),
    ("bad-digest/x", 400, "malformed digest 'sha256:../../../../etc/passwd'"),
    ("negative-size/x", 400, "out of bounds"),
    ("huge-size/x", 400, "out of bounds"),
    ("deep-index/x", 400, "nested too deeply"),
    ("no-platform/x", 404, "no matching manifest for linux/amd64 in the manifest list entries"),
])
def test_documents_that_are_none(patient, liar, lied_to, repository, status, text):
    lied_to(repository, status, text)
    if not text:
        patient.api.delete(f"/images/{liar.address}/{repository}:1")


@pytest.mark.parametrize("how", ["dotdot", "absolute", "symlink", "symlink-up", "hardlink", "hardlink-absolute", "dotdot-inside"])
def test_layers_that_want_out(patient, liar, how):
    """Refused, or kept inside the layer: never anything outside of it."""
    status, text = pull(patient, liar, f"traversal/{how}")
    assert status == 200
    for path in ("/tmp/caisson-escaped", patient.data_root + "/tmp/caisson-escaped"):
        assert not os.path.lexists(path)
    if text:
        assert "\n" not in text and len(text) < 1000
    else:
        patient.api.delete(f"/images/{liar.address}/traversal/{how}:1")
    assert_clean(patient)


def test_a_zstd_bomb(lied_to):
    """32 KiB that would be 1 GiB."""
    lied_to("zstd-bomb/x", 200, "unpacked is larger than")


def test_a_gzip_bomb_on_a_small_disk(own_engine, scratch, liar):
    """512 MiB of one letter in 0.5 MiB is within what a real layer may be, so the disk's end is the limit: told as such, and all of
    it given back."""
    engine = own_engine(images=(), start=False)
    os.makedirs(engine.data_root)
    run(["mount", "-t", "tmpfs", "-o", "size=96m", "caisson-test", engine.data_root])
    try:
        engine.start()
        free = os.statvfs(engine.data_root).f_bavail
        status, text = pull(engine, liar, "gzip-bomb/x")
        assert status == 200 and "No space left on device" in text, text
        assert_clean(engine)
        left = os.statvfs(engine.data_root)
        assert (free - left.f_bavail) * left.f_bsize < 4 << 20
        assert pull(engine, liar, "good/after") == (200, "")
    finally:
        engine.destroy()
        run(["umount", engine.data_root])
