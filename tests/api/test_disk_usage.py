# SPDX-License-Identifier: Apache-2.0
"""`system df` to the byte: images of shared layers, logs, blobs of the registry server, downloads that were cut."""
import os

import pytest

from harness import store
from harness.clients import caisson_program
from harness.distribution import Distribution
from harness.shell import run

pytestmark = pytest.mark.no_leak_check
PORT = 5921


def bytes_below(path):
    """Each hard link once, without directories."""
    seen, total = set(), 0
    for folder, dirs, files in os.walk(path):
        for name in files + [d for d in dirs if os.path.islink(os.path.join(folder, d))]:
            info = os.lstat(os.path.join(folder, name))
            if os.path.stat.S_ISREG(info.st_mode) and (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_size
    return total


def test_images_of_shared_layers(own_engine):
    engine = own_engine()
    sizes = {}
    for name, seeds in (("one:1", ["a", "b"]), ("two:1", ["a", "c"]), ("three:1", ["a", "b", "d"])):
        body = store.checked_image(name, seeds, 123_457)
        assert engine.api.post("/images/load", body, headers={"Content-Type": "application/x-tar"}).status == 200
    df = engine.api.ok("GET", "/system/df")
    root = engine.data_root
    assert df["LayersSize"] == bytes_below(root + "/layers") + bytes_below(root + "/images/blobs")
    assert (df["OtherBlobsSize"], df["PartialSize"], df["CopiesSize"]) == (0, 0, 0)
    sizes = {image["RepoTags"][0]: (image["Size"], image["SharedSize"]) for image in df["Images"]}
    # Unpacked and as a tar; the sums of all seeds are layers of their own.
    unpacked, tar = 123_457, len(store.random_layer("a", 123_457)[0])
    assert sizes["three:1"][0] - sizes["one:1"][0] in range(unpacked + tar, unpacked + tar + 2000)
    alone = {name: size - shared for name, (size, shared) in sizes.items()}
    assert alone["two:1"] in range(unpacked + tar, unpacked + tar + 30_000)  # layer c
    assert alone["one:1"] < 30_000  # a and b are in others, too
    for name, freed in sorted(alone.items()):
        before = engine.api.ok("GET", "/system/df")["LayersSize"]
        if name == "two:1":
            engine.api.ok("DELETE", "/images/two:1")
            assert before - engine.api.ok("GET", "/system/df")["LayersSize"] == freed


def test_what_is_in_no_image(own_engine, netns):
    engine = own_engine(extra=["--registry-listen", f"127.0.0.1:{PORT}"])
    client = Distribution(netns, PORT)
    digest, document = client.artifact("things", "1", b"x" * 50_000)
    where = client("POST", "/v2/things/blobs/uploads/").headers["Location"]
    client("PATCH", where, b"y" * 30_000)
    os.makedirs(engine.data_root + "/partial", exist_ok=True)
    with open(engine.data_root + "/partial/" + "a" * 64, "wb") as file:
        file.write(b"z" * 7_000)
    df = engine.api.ok("GET", "/system/df")
    manifest = len(client("GET", "/v2/things/manifests/1").body)
    assert df["OtherBlobsSize"] == 50_000 + 2 + manifest
    assert df["PartialSize"] == 37_000
    rows = run([caisson_program(), "--host", engine.host, "system", "df", "--format", "{{.Type}}|{{.Size}}"]).out.splitlines()
    assert rows[-1].startswith("Other Data|87.")
    root = engine.data_root
    assert df["LayersSize"] + df["OtherBlobsSize"] == bytes_below(root + "/layers") + bytes_below(root + "/images/blobs")
    client("DELETE", where)
    client("DELETE", f"/v2/things/manifests/{digest}")
    assert engine.api.ok("GET", "/system/df")["OtherBlobsSize"] == 0


def test_copies_of_the_vfs_driver(own_engine, client_of):
    engine = own_engine(extra=["--storage-driver", "vfs"])
    engine.api.post("/images/load", store.checked_image("two:1", ["a"], 5_000), headers={"Content-Type": "application/x-tar"})
    engine.api.ok("POST", "/containers/create?name=copy", {"Image": "two:1", "Cmd": ["true"]})
    client_of(engine)("cp", "copy:/sums", "-")
    df = engine.api.ok("GET", "/system/df")
    assert df["CopiesSize"] == bytes_below(engine.data_root + "/vfs") > 5_000
    assert df["Containers"][0]["SizeRw"] == df["CopiesSize"]
