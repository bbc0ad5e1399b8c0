# SPDX-License-Identifier: Apache-2.0
"""load and save: every form of archive, every compression, platforms; and the same compressions for cp."""
import io
import json
import tarfile

import pytest

from harness import archives
from harness.archives import PACKERS, Layout, docker_archive, image_config, legacy_archive, sha256, tar_of
from harness.shell import IMAGES

BASE, TOP = tar_of({"base": b"below\n"}), tar_of({"top": b"above\n"})


def inspect(api, name):
    return api.ok("GET", f"/images/{name}/json")


@pytest.mark.parametrize("packer", PACKERS)
def test_load_unpacks_every_compression(cli, engine, packer):
    archive = PACKERS[packer](docker_archive([BASE, TOP], ["packed:1"]))
    assert "Loaded image: packed:1" in cli.out("load", stdin=archive)
    assert inspect(engine.api, "packed:1")["Id"] == sha256(image_config([BASE, TOP]))


@pytest.mark.parametrize("packer", PACKERS)
def test_load_takes_layers_of_every_compression(api, packer):
    archive = docker_archive([BASE, TOP], ["layers:1"], pack=PACKERS[packer])
    assert b"Loaded image: layers:1" in api.post("/images/load", archive).body
    shown = inspect(api, "layers:1")
    assert shown["RootFS"]["Layers"] == [sha256(BASE), sha256(TOP)]
    assert shown["Id"] == sha256(image_config([BASE, TOP]))


def test_a_large_archive_in_xz_loads(cli, api):
    with open(f"{IMAGES}/busybox.tar", "rb") as file:
        archive = PACKERS["xz"](file.read())
    assert "Loaded image: busybox:latest" in cli.out("load", stdin=archive)


@pytest.mark.parametrize("packer", ["gzip", "xz", "bzip2", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_stream_is_told_and_leaves_nothing(api, packer, damage):
    archive = bytearray(PACKERS[packer](docker_archive([BASE + bytes(300000)], ["broken:1"], config=image_config([BASE]))))
    if damage == "cut":
        del archive[len(archive) * 2 // 3:]
    else:
        for at in range(len(archive) // 3, len(archive) // 3 + 20):
            archive[at] ^= 0x5a
    answer = api.post("/images/load", bytes(archive))
    assert answer.status == 200 and b"errorDetail" in answer.body
    assert api.get("/images/broken:1/json").status == 404


def test_an_xz_that_wants_a_gibibyte_is_refused(api):
    import lzma
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    answer = api.post("/images/load", lzma.compress(b"three", format=lzma.FORMAT_XZ, filters=filters))
    assert b"more than 192 MiB of memory" in answer.body


def test_a_bomb_is_refused(api):
    archive = PACKERS["bzip2"](tar_of({"zeros": bytes(100 << 20)}))
    assert len(archive) < 10000
    assert b"larger than allowed" in api.post("/images/load", archive).body


def test_an_archive_of_old_with_linked_layers_loads(api):
    """Equal layers were written once, and linked to."""
    config = image_config([BASE, BASE])
    first, second = "a" * 64, "b" * 64
    archive = tar_of({sha256(config)[7:] + ".json": config, f"{first}/layer.tar": BASE, f"{first}/VERSION": b"1.0", f"{second}/layer.tar": ("link", f"../{first}/layer.tar"),
                      "manifest.json": json.dumps([{"Config": sha256(config)[7:] + ".json", "RepoTags": ["linked:1"],
                                                    "Layers": [f"{first}/layer.tar", f"{second}/layer.tar"]}]).encode()})
    assert b"Loaded image: linked:1" in api.post("/images/load", archive).body
    assert inspect(api, "linked:1")["RootFS"]["Layers"] == [sha256(BASE)] * 2


def test_an_archive_from_before_1_10_loads(cli, api):
    archive, config = legacy_archive([BASE, TOP], "ancient", "1")
    assert "Loaded image: ancient:1" in cli.out("load", stdin=archive)
    shown = inspect(api, "ancient:1")
    assert shown["RootFS"]["Layers"] == [sha256(BASE), sha256(TOP)] and shown["DockerVersion"] == "1.9.1"
    assert [step["CreatedBy"] for step in api.ok("GET", "/images/ancient:1/history")] == ["/bin/sh -c step 1", "/bin/sh -c step 0"]
    assert shown["Config"]["Cmd"] == config["config"]["Cmd"]


@pytest.mark.parametrize("spoil", ["parent", "layer", "circle", "id"])
def test_a_broken_archive_from_before_1_10_is_refused(api, spoil):
    one, two = "1" * 64, "2" * 64
    layers = {one: {"id": one}, two: {"id": two, "parent": one}}
    if spoil == "parent":
        layers[two]["parent"] = "3" * 64
    elif spoil == "circle":
        layers[one]["parent"] = two
    elif spoil == "id":
        layers[one]["parent"] = "../../etc"
    files = {f"{i}/json": json.dumps({"architecture": "amd64", "os": "linux", **entry}).encode() for i, entry in layers.items()}
    files.update({f"{i}/layer.tar": BASE for i in layers if spoil != "layer" or i != one})
    files["repositories"] = json.dumps({"bad": {"1": two}}).encode()
    answer = api.post("/images/load", tar_of(files))
    assert b"errorDetail" in answer.body and b"image archive" in answer.body
    assert api.get("/images/bad:1/json").status == 404


@pytest.mark.parametrize("key, value, name", [("org.opencontainers.image.ref.name", "named:2", "named:2"), ("io.containerd.image.name", "docker.io/library/full:3", "full:3")])
def test_a_layout_is_named_by_its_annotation(cli, api, key, value, name):
    layout = Layout()
    archive = layout.tar([layout.image([BASE], annotations={key: value})])
    assert f"Loaded image: {name}" in cli.out("load", stdin=archive)
    assert inspect(api, name)["Descriptor"]["digest"] == layout_digest(archive)


def layout_digest(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return json.load(tar.extractfile("index.json"))["manifests"][0]["digest"]


def test_a_nested_index_gives_this_machines_image_or_the_one_asked_for(api):
    layout = Layout()
    attestation = layout.image([tar_of({"x": b""})], "unknown")
    both = layout.index([layout.image([BASE]), layout.image([TOP], "arm64"), attestation], annotations={"org.opencontainers.image.ref.name": "multi:1"})
    archive = layout.tar([both])
    api.post("/images/load", archive)
    assert inspect(api, "multi:1")["Architecture"] == "amd64"
    api.post("/images/load?platform=" + '{"os":"linux","architecture":"arm64"}'.replace('"', "%22"), archive)
    assert inspect(api, "multi:1")["Architecture"] == "arm64"
    answer = api.post("/images/load?platform=" + '{"os":"linux","architecture":"s390x"}'.replace('"', "%22"), archive)
    assert b"no image for linux/s390x" in answer.body


def test_load_refuses_a_platform_that_is_none(api):
    assert api.post("/images/load?platform=linux", b"").status == 400
    answer = api.post("/images/load?platform=%7B%22os%22:%22linux%22,%22architecture%22:%22arm64%22%7D", docker_archive([BASE], ["other:1"]))
    assert b"for linux/amd64 and not for linux/arm64" in answer.body


def test_save_of_one_platform(api):
    arm = "%7B%22os%22:%22linux%22,%22architecture%22:%22arm64%22%7D"
    amd = arm.replace("arm64", "amd64")
    assert api.get(f"/images/busybox/get?platform={amd}").status == 200
    for path in (f"/images/busybox/get?platform={arm}", f"/images/get?names=busybox&platform={arm}"):
        answer = api.get(path)
        assert answer.status == 404 and "its platform (linux/amd64) does not match the specified platform (linux/arm64)" in answer.message


def test_save_of_many_images_keeps_ids_and_manifests(cli, engine, tmp_path):
    api = engine.api
    cli("load", stdin=docker_archive([BASE, TOP], ["many/one:1", "many/one:2"]))
    cli("load", stdin=docker_archive([BASE], ["many/two:1"]))
    before = {name: inspect(api, name) for name in ("many/one:1", "many/two:1")}
    path = tmp_path / "many.tar"
    cli("save", "-o", path, "many/one", "many/two:1")
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert {"manifest.json", "index.json", "oci-layout", "repositories"} <= set(names)
        assert len(names) == len(set(names))
        manifest = {entry["Config"]: entry for entry in json.load(tar.extractfile("manifest.json"))}
        assert sorted(tag for entry in manifest.values() for tag in entry["RepoTags"]) == ["many/one:1", "many/one:2", "many/two:1"]
    cli("rmi", "many/one:1", "many/one:2", "many/two:1")
    cli("load", "-i", path)
    for name, shown in before.items():
        now = inspect(api, name)
        assert now["Id"] == shown["Id"] and now["Descriptor"] == shown["Descriptor"]
    assert sorted(inspect(api, "many/one:1")["RepoTags"]) == ["many/one:1", "many/one:2"]


def test_two_saves_are_the_same_bytes(cli):
    assert cli("save", "busybox").raw == cli("save", "busybox").raw


def test_loading_over_a_name_tells_of_the_old_image(cli, api):
    cli("load", stdin=docker_archive([BASE], ["moving:1"]))
    old = inspect(api, "moving:1")["Id"]
    cli("load", stdin=docker_archive([TOP], ["moving:1"]))
    assert inspect(api, "moving:1")["Id"] != old and inspect(api, old)["RepoTags"] == []


def test_load_quiet(api):
    shown = [json.loads(line) for line in api.post("/images/load?quiet=1", docker_archive([BASE], ["quiet:1"])).body.splitlines()]
    assert [line.get("stream") for line in shown] == ["Loaded image: quiet:1\n"]


@pytest.mark.parametrize("packer", PACKERS)
def test_files_are_put_into_a_container_from_every_compression(api, cli, packer):
    cli("create", "--name", "taker", "busybox")
    assert api.request("PUT", "/containers/taker/archive?path=/tmp", PACKERS[packer](tar_of({"given": b"text\n"})), headers={"Content-Type": "application/x-tar"}).status == 200
    with tarfile.open(fileobj=io.BytesIO(api.get("/containers/taker/archive?path=/tmp/given").body)) as tar:
        assert tar.extractfile("given").read() == b"text\n"


def test_the_packers_make_what_they_say():
    magic = {"plain": tar_of({"a": b""})[:2], "gzip": b"\x1f\x8b", "xz": b"\xfd7", "bzip2": b"BZ", "zstd": b"\x28\xb5"}
    for name, packer in archives.PACKERS.items():
        assert packer(tar_of({"a": b""})).startswith(magic[name])
