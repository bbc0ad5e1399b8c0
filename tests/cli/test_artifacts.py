# SPDX-License-Identifier: Apache-2.0
"""What is in a registry beside images: artifacts of files, and what is said about an image (SBOMs, provenance, signatures)."""
import json
import os

import pytest

from harness.distribution import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Distribution
from harness.store import sha256

PORT = 5914
TITLE = "org.opencontainers.image.title"


@pytest.fixture(params=["docker-registry", "ours"])
def place(request, engine, netns):
    """Address and plain HTTP of a registry."""
    if request.param == "docker-registry":
        registry = request.getfixturevalue("registry")
        yield registry.address, Distribution(netns, registry.port)
        return
    engine.api.ok("POST", "/caisson/registry", {"Listen": f"127.0.0.1:{PORT}"})
    client = Distribution(netns, PORT)
    yield f"127.0.0.1:{PORT}", client
    for name in engine.api.ok("GET", "/caisson/registry")["Repositories"]:
        for tag in client("GET", f"/v2/{name}/tags/list").json["tags"]:
            client("DELETE", f"/v2/{name}/manifests/{tag}")
    engine.api.ok("POST", "/caisson/registry/prune")
    engine.api.ok("DELETE", "/caisson/registry")


def push_document(client, name, reference, document, media_type=OCI_MANIFEST):
    """docker-registry names the places of what it made in full, so Distribution.push_manifest is not for it."""
    body = json.dumps(document).encode()
    done = client("PUT", f"/v2/{name}/manifests/{reference or sha256(body)}", body, Content_Type=media_type)
    assert done.status == 201, done
    return sha256(body)


def push_blob(client, name, data):
    begun = client("POST", f"/v2/{name}/blobs/uploads/")
    place = begun.headers["Location"].removeprefix(f"http://localhost:{client.port}")
    done = client("PUT", place + ("&" if "?" in place else "?") + "digest=" + sha256(data), data, Content_Type="application/octet-stream")
    assert done.status == 201, done
    return {"mediaType": "application/vnd.in-toto+json", "digest": sha256(data), "size": len(data)}


def test_files_go_and_come_back(caisson, place, tmp_path):
    address, client = place
    name = address + "/files/x:1"
    (tmp_path / "one.txt").write_bytes(b"one\n")
    (tmp_path / "large.bin").write_bytes(os.urandom(3_000_000))
    digest = caisson.out("artifact", "push", "--type", "application/vnd.test", "--annotation", "who=me", name, tmp_path / "one.txt", tmp_path / "large.bin")
    served = client("GET", "/v2/files/x/manifests/1", Accept=OCI_MANIFEST)
    assert sha256(served.body) == digest and served.headers["Content-Type"] == OCI_MANIFEST
    manifest = served.json
    assert manifest["artifactType"] == "application/vnd.test" and manifest["config"]["mediaType"] == OCI_EMPTY
    assert manifest["annotations"] == {"who": "me"} and [layer["annotations"][TITLE] for layer in manifest["layers"]] == ["one.txt", "large.bin"]
    assert caisson.out("artifact", "push", "--type", "application/vnd.test", "--annotation", "who=me", name, tmp_path / "one.txt", tmp_path / "large.bin") == digest
    listed = caisson.out("artifact", "ls", "--format", "{{.Name}} {{.Size}}", name)
    assert listed.splitlines() == ["one.txt 4B", "large.bin 3MB"]
    assert json.loads(caisson.out("artifact", "inspect", name))["Manifest"] == manifest
    out = tmp_path / "out"
    caisson("artifact", "pull", "-o", out, name)
    assert sorted(os.listdir(out)) == ["large.bin", "one.txt"]
    for file in os.listdir(out):
        assert (out / file).read_bytes() == (tmp_path / file).read_bytes()
    assert "exists already" in caisson("artifact", "pull", "-o", out, name, rc=1).err
    caisson("artifact", "pull", "-f", "-o", out, name)
    # It is no image, and a pull says so.
    assert "not a container image" in caisson("pull", name, rc=1).err


@pytest.mark.parametrize("title", ["../up", "/etc/x", "a/b", "..", ".", "new\nline", "x" * 256])
def test_files_stay_where_they_belong(caisson, place, tmp_path, title):
    address, client = place
    layer = push_blob(client, "hostile/x", b"content")
    layer["annotations"] = {TITLE: title}
    config = {**push_blob(client, "hostile/x", b"{}"), "mediaType": OCI_EMPTY}
    push_document(client, "hostile/x", "1", {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "a/b", "config": config, "layers": [layer]})
    assert "is no name of a file" in caisson("artifact", "pull", "-o", tmp_path / "out", address + "/hostile/x:1", rc=1).err
    assert not (tmp_path / "out").exists() and not (tmp_path / "up").exists()


def test_a_file_that_is_not_what_it_should_be(caisson, place, tmp_path):
    """The manifest's size is a lie: nothing is left of the file."""
    address, client = place
    layer = {**push_blob(client, "liar/x", b"content"), "size": 5, "annotations": {TITLE: "file"}}
    config = {**push_blob(client, "liar/x", b"{}"), "mediaType": OCI_EMPTY}
    push_document(client, "liar/x", "1", {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "a/b", "config": config, "layers": [layer]})
    assert caisson("artifact", "pull", "-o", tmp_path / "out", address + "/liar/x:1", rc=1).err
    assert os.listdir(tmp_path / "out") == []


def test_what_is_said_about_an_image(caisson, place):
    """Attestations as BuildKit puts them into an index, and what names the image as its subject."""
    address, client = place
    name = address + "/said/x:1"
    caisson("tag", "busybox", address + "/said/x:image")
    caisson("push", address + "/said/x:image")
    image = client("GET", "/v2/said/x/manifests/image", Accept=f"{OCI_MANIFEST}, application/vnd.docker.distribution.manifest.v2+json")
    config = push_blob(client, "said/x", b'{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}')
    layers = []
    for kind in ("https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2"):
        layers.append({**push_blob(client, "said/x", json.dumps({"predicateType": kind}).encode()), "annotations": {"in-toto.io/predicate-type": kind}})
    about = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {**config, "mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": layers}
    digest = push_document(client, "said/x", None, about)
    push_document(client, "said/x", "1", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": image.headers["Content-Type"], "digest": sha256(image.body), "size": len(image.body), "platform": {"architecture": "amd64", "os": "linux"}},
        {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(json.dumps(about)), "platform": {"architecture": "unknown", "os": "unknown"},
         "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": sha256(image.body)}}]}, OCI_INDEX)

    def found(of):
        return [json.loads(line) for line in caisson.out("image", "attestations", "--format", "json", of).splitlines()]
    assert [(a["Type"], a["Platform"], a["Via"], a["Subject"]) for a in found(name)] == [
        (kind, "linux/amd64", "index", sha256(image.body)) for kind in ("https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2")]
    assert "spdx.dev" in caisson.out("image", "attestations", name)
    assert found(address + "/said/x:image") == []
    # This machine's image comes without what is said about it.
    caisson("pull", name)
    assert caisson.out("image", "inspect", "-f", "{{.Id}}", name) == caisson.out("image", "inspect", "-f", "{{.Id}}", "busybox")


def test_referrers(caisson, place, tmp_path):
    """An artifact about an image is found by the referrers of our registry, and by the tag that stands for them elsewhere."""
    address, client = place
    caisson("tag", "busybox", address + "/about/x:1")
    caisson("push", address + "/about/x:1")
    (tmp_path / "sbom.json").write_text("{}")
    digest = caisson.out("artifact", "push", "--type", "application/vnd.sbom", "--subject", address + "/about/x:1", address + "/about/x:sbom", tmp_path / "sbom.json")
    subject = client("GET", "/v2/about/x/manifests/sbom", Accept=OCI_MANIFEST).json["subject"]["digest"]
    if client("GET", f"/v2/about/x/referrers/{subject}").status == 404:
        push_document(client, "about/x", "sha256-" + subject.split(":")[1], {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": digest, "size": 7, "artifactType": "application/vnd.sbom"}]}, OCI_INDEX)
    lines = caisson.out("image", "attestations", "--no-trunc", "--format", "{{.Type}} {{.Digest}} {{.Via}}", address + "/about/x:1").splitlines()
    assert lines == [f"application/vnd.sbom {digest} referrers"]
