# SPDX-License-Identifier: Apache-2.0
"""Archives that are small and would be large: what `load` keeps in memory has a limit, whatever a list says."""
import gzip
import json

import pytest

from harness.archives import image_config, sha256, tar_of

KIB_OF_GROWTH = 200 << 10
OCI = "application/vnd.oci.image."


@pytest.fixture
def bounded(engine):
    """load(archive): the error's text. The engine's own memory stays within bounds, its images are what they were."""
    with open(f"/proc/{engine.process.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before, images = peak_kib(engine), engine.images()

    def load(archive):
        answer = engine.api.request("POST", "/images/load", gzip.compress(archive, 1), headers={"Content-Type": "application/x-tar"}, timeout=120)
        lines = [json.loads(line) for line in answer.body.decode().splitlines() if line]
        return next((line.get("errorDetail", line)["message"] for line in lines if "errorDetail" in line or "message" in line), "")
    yield load
    assert peak_kib(engine) - before < KIB_OF_GROWTH
    assert [image["Id"] for image in engine.images()] == [image["Id"] for image in images]


def peak_kib(engine):
    with open(f"/proc/{engine.process.pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1])


def padded_config():
    return image_config([], Labels={"padding": "x" * (4 << 20)})


def test_a_config_named_again_and_again(bounded):
    config = padded_config()
    listed = [{"Config": "config.json", "RepoTags": [f"bomb:{number}"], "Layers": []} for number in range(400)]
    message = bounded(tar_of({"config.json": config, "manifest.json": json.dumps(listed).encode()}))
    assert message == "image archive: configs and manifests of more than 33554432 bytes together"


def test_a_manifest_named_again_and_again(bounded):
    config = padded_config()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "layers": [],
                           "config": {"mediaType": OCI + "config.v1+json", "digest": sha256(config), "size": len(config)}}).encode()
    entry = {"mediaType": OCI + "manifest.v1+json", "digest": sha256(manifest), "size": len(manifest)}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry] * 400}).encode()}
    files.update({"blobs/sha256/" + sha256(data)[7:]: data for data in (config, manifest)})
    assert bounded(tar_of(files)) == "image archive: configs and manifests of more than 33554432 bytes together"


def test_names_without_end(bounded):
    listed = [{"Config": "config.json", "RepoTags": [f"bomb:{number}" for number in range(200_000)], "Layers": []}]
    message = bounded(tar_of({"config.json": image_config([]), "manifest.json": json.dumps(listed).encode()}))
    assert message == "image archive: more than 10000 tags"


def test_old_layers_with_large_documents(bounded):
    files, parent = {}, None
    for number in range(60):
        ident = f"{number + 1:064x}"
        entry = {"id": ident, "comment": "x" * (4 << 20), "created": "2015-01-01T00:00:00Z", **({"parent": parent} if parent else {})}
        files.update({f"{ident}/VERSION": b"1.0", f"{ident}/json": json.dumps(entry).encode(), f"{ident}/layer.tar": tar_of({})})
        parent = ident
    files["repositories"] = json.dumps({"bomb": {"1": parent}}).encode()
    assert bounded(tar_of(files)) == "image archive: documents of more than 33554432 bytes together"
