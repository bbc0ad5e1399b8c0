# SPDX-License-Identifier: Apache-2.0
"""The store's self-check: what is missing or damaged is told and mended, at the start and on demand."""
import json
import os
import shutil
import subprocess

import pytest

from harness import store
from harness.clients import caisson_program
from harness.shell import run, wait_for

pytestmark = pytest.mark.no_leak_check


def layers_of(engine):
    return engine.data_root + "/layers"


def blob(engine, digest):
    return f"{engine.data_root}/images/blobs/sha256/{digest[7:]}"


def parts(engine, name):
    """(manifest digest, config digest, layer digests, diff-ids)"""
    index = json.load(open(engine.data_root + "/images/index.json", encoding="utf-8"))
    for entry in index["manifests"]:
        if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == name:
            manifest = json.load(open(blob(engine, entry["digest"]), encoding="utf-8"))
            config = json.load(open(blob(engine, manifest["config"]["digest"]), encoding="utf-8"))
            return entry["digest"], manifest["config"]["digest"], [layer["digest"] for layer in manifest["layers"]], config["rootfs"]["diff_ids"]
    raise AssertionError(f"{name} is not in index.json")


def check(engine, deep=False):
    return engine.api.ok("POST", "/caisson/check" + ("?deep=1" if deep else ""), timeout=120)


@pytest.fixture
def engine(own_engine):
    engine = own_engine()
    engine.api.post("/images/load", store.checked_image("three:1", ["a", "b"], 50_000), headers={"Content-Type": "application/x-tar"})
    return engine


def runs(engine):
    ident = engine.api.ok("POST", "/containers/create", {"Image": "three:1", "Cmd": ["sha256sum", "-c", "-s", "/sums"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    code = engine.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"]
    engine.api.ok("DELETE", f"/containers/{ident}")
    return code == 0


def test_nothing_is_wrong(engine):
    for deep in (False, True):
        report = check(engine, deep)
        assert report["Problems"] == [] and report["OrphansRemoved"] == 0 and report["Deep"] is deep
        assert report["Images"] == 2 and report["Layers"] == 4
    done = run([caisson_program(), "--host", engine.host, "system", "check", "--deep"])
    assert "everything is as it should be" in done.out and "2 images" in done.out


def test_blob_that_was_cut(engine):
    layer = parts(engine, "three:1")[2][1]
    os.truncate(blob(engine, layer), 100)
    done = run([caisson_program(), "--host", engine.host, "system", "check"], rc=1)
    assert f"blob {layer} of three:1: has 100 bytes instead of" in done.out and "pull or load the image again" in done.out
    assert not os.path.exists(blob(engine, layer))
    assert check(engine)["Problems"][0]["Problem"] == "missing"
    assert runs(engine)
    assert layer in engine.log()
    # The same image once more brings the blob.
    engine.api.post("/images/load", store.checked_image("three:1", ["a", "b"], 50_000), headers={"Content-Type": "application/x-tar"})
    assert check(engine, deep=True)["Problems"] == []


def test_blob_that_was_cut_is_found_at_the_start(engine):
    layer = parts(engine, "three:1")[2][1]
    engine.stop()
    os.truncate(blob(engine, layer), 100)
    engine.start()
    assert f"blob {layer}: has 100 bytes instead of" in engine.log() and "pull or load the image again" in engine.log()
    assert not os.path.exists(blob(engine, layer))
    assert runs(engine)


def test_blob_with_other_content(engine):
    layer = parts(engine, "three:1")[2][1]
    with open(blob(engine, layer), "r+b") as file:
        file.seek(1000)
        file.write(b"????")
    assert check(engine)["Problems"] == []  # the size is right
    problem = check(engine, deep=True)["Problems"][0]
    assert problem["Object"] == "blob " + layer and "other content" in problem["Problem"] and problem["Images"] == ["three:1"]
    assert not os.path.exists(blob(engine, layer))


def test_documents_are_written_again(engine):
    manifest, config, _, _ = parts(engine, "three:1")
    for digest in (manifest, config):
        os.truncate(blob(engine, digest), 0)
    report = check(engine)
    assert [p["Repaired"] for p in report["Problems"]] == [True, True]
    assert check(engine, deep=True)["Problems"] == []


@pytest.mark.parametrize("damage", ["content", "missing", "extra", "mode", "owner", "link"])
def test_layer_that_was_changed(engine, damage):
    diff_id = parts(engine, "three:1")[3][1]
    directory = f"{layers_of(engine)}/{diff_id[7:]}"
    name = f"{directory}/data-a"
    if damage == "content":
        times = os.stat(name)
        with open(name, "r+b") as file:
            file.write(b"????")
        os.utime(name, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif damage == "missing":
        os.unlink(name)
    elif damage == "extra":
        with open(directory + "/more", "w", encoding="ascii"):
            pass
    elif damage == "mode":
        os.chmod(name, 0o600)
    elif damage == "owner":
        os.chown(name, 7, 7)
    else:
        os.unlink(name)
        os.symlink("/etc/passwd", name)
    assert check(engine)["Problems"] == []
    problem = check(engine, deep=True)["Problems"][0]
    assert problem["Object"] == "layer " + diff_id and problem["Repaired"] and problem["Images"] == ["three:1"], problem
    assert check(engine, deep=True)["Problems"] == []
    assert runs(engine)
    assert not os.path.exists(directory + "/more")


def test_layer_under_a_container_is_left_alone(engine):
    diff_id = parts(engine, "three:1")[3][1]
    ident = engine.api.ok("POST", "/containers/create", {"Image": "three:1", "Cmd": ["sleep", "999"]})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    os.chmod(f"{layers_of(engine)}/{diff_id[7:]}/data-a", 0o600)
    problem = check(engine, deep=True)["Problems"][0]
    assert not problem["Repaired"] and "containers stand on it" in problem["Action"]
    engine.api.ok("DELETE", f"/containers/{ident}?force=1")


def test_directory_that_vanished_is_unpacked_again_at_the_start(engine):
    diff_id = parts(engine, "three:1")[3][1]
    engine.stop()
    shutil.rmtree(f"{layers_of(engine)}/{diff_id[7:]}")
    engine.start()
    assert f"layer '{diff_id}' is unpacked again from its blob" in engine.log()
    assert runs(engine)
    assert check(engine, deep=True)["Problems"] == []


def test_image_that_is_beyond_help_is_forgotten_with_a_line(engine):
    _, _, layers, diff_ids = parts(engine, "three:1")
    engine.stop()
    shutil.rmtree(f"{layers_of(engine)}/{diff_ids[1][7:]}")
    os.unlink(blob(engine, layers[1]))
    engine.start()
    assert "cannot be used, forgotten" in engine.log()
    assert [image["RepoTags"] for image in engine.images()] == [["busybox:latest"]]
    assert store.orphans(engine) == []
    assert check(engine, deep=True)["Problems"] == []


def test_what_belongs_to_nothing_goes_at_the_start(engine):
    engine.stop()
    stray = ["images/index.json.tmp-00112233", "images/blobs/sha256/" + "a" * 64, "layers/" + "b" * 64 + "/x", "tmp/image-blob-left", "tmp/image-layer-left/y", "containers/" + "c" * 64 + "/upper/z"]
    for path in stray:
        os.makedirs(os.path.dirname(f"{engine.data_root}/{path}"), exist_ok=True)
        with open(f"{engine.data_root}/{path}", "w", encoding="ascii") as file:
            file.write("left")
    engine.start()
    wait_for(lambda: not store.orphans(engine), "nothing is left of it")
    assert runs(engine)


def test_images_are_flushed_before_they_are_told(own_engine, tmp_path):
    """The file system is flushed after the last rename and before the row of the image is written."""
    trace = shutil.which("strace")
    if not trace:
        pytest.skip("strace is not installed")
    engine = own_engine()
    watcher = subprocess.Popen([trace, "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "trace=rename,syncfs,fdatasync,fsync", "-p", str(engine.pid)],
                                             stderr=subprocess.DEVNULL)
    try:
        def traced():
            with open(f"/proc/{engine.pid}/status", encoding="ascii") as file:
                return "TracerPid:\t0\n" not in file.read()
        wait_for(traced, "strace is there")
        engine.api.post("/images/load", store.checked_image("flushed:1", ["f"], 10_000), headers={"Content-Type": "application/x-tar"})
    finally:
        watcher.terminate()
        watcher.wait()
    lines = [line for line in (tmp_path / "trace").read_text().splitlines() if "rename(" in line or "sync" in line]
    kept = [i for i, line in enumerate(lines) if "rename(" in line and ("/images/blobs/" in line or "/layers/" in line) and "index.json" not in line]
    flushed = [i for i, line in enumerate(lines) if "syncfs(" in line]
    assert kept and flushed and max(kept) < max(flushed), lines
    assert any("fdatasync(" in line or "fsync(" in line for line in lines[max(flushed):]), lines
