# SPDX-License-Identifier: Apache-2.0
"""Image archives from layer tars: one file that is a docker-archive and an OCI layout at once, with the
same bytes for the same input."""
import hashlib
import io
import json
import os
import platform
import tarfile

EPOCH = 1700000000  # every time stamp that nothing else decides
CREATED = "2023-11-14T22:13:20Z"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x"}.get(
    platform.machine(), platform.machine())

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def entry(name, kind=tarfile.REGTYPE, mode=0o644, size=0, link="", mtime=EPOCH):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, size, link, mtime
    return info


class LayerWriter:
    """A layer tar in memory or in a file; entries in the order they are added."""

    def __init__(self, file=None):
        self.file = file or io.BytesIO()
        self.tar = tarfile.open(fileobj=self.file, mode="w", format=tarfile.PAX_FORMAT)

    def directory(self, name, mode=0o755):
        self.tar.addfile(entry(name, tarfile.DIRTYPE, mode))

    def regular(self, name, data, mode=0o644):
        data = data.encode() if isinstance(data, str) else data
        self.tar.addfile(entry(name, mode=mode, size=len(data)), io.BytesIO(data))

    def symlink(self, name, target):
        self.tar.addfile(entry(name, tarfile.SYMTYPE, 0o777, link=target))

    def hardlink(self, name, target, mode=0o755):
        # The header's mode counts: who unpacks a link sets it on the file both names share.
        self.tar.addfile(entry(name, tarfile.LNKTYPE, mode, link=target))

    def raw(self, info, data=b""):
        self.tar.addfile(info, io.BytesIO(data) if data else None)

    def finish(self):
        self.tar.close()
        return self.file.getvalue() if isinstance(self.file, io.BytesIO) else None


def digest(data):
    return hashlib.sha256(data).hexdigest()


def digest_of_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_json(layers, settings, history):
    """layers: hex diff-ids; settings: the `config` object; history: created_by texts, one per layer, then
    entries without a layer."""
    entries = []
    for number, text in enumerate(history):
        item = {"created": CREATED, "created_by": text}
        if number >= len(layers):
            item["empty_layer"] = True
        entries.append(item)
    document = {"architecture": ARCHITECTURE, "os": "linux", "created": CREATED, "config": settings,
                "rootfs": {"type": "layers", "diff_ids": ["sha256:" + layer for layer in layers]}, "history": entries}
    return json.dumps(document, sort_keys=True).encode()


def write_archive(path, tags, layers, settings, history):
    """layers: a list of bytes or of paths of uncompressed tars, base first. Appears by rename."""
    digests = [digest_of_file(l) if isinstance(l, str) else digest(l) for l in layers]
    config = config_json(digests, settings, history)
    sizes = [os.path.getsize(l) if isinstance(l, str) else len(l) for l in layers]
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": "sha256:" + digest(config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": "sha256:" + d, "size": s} for d, s in zip(digests, sizes)]}).encode()
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": "sha256:" + digest(manifest), "size": len(manifest),
         "annotations": {"io.containerd.image.name": "docker.io/library/" + tag, "org.opencontainers.image.ref.name": tag.split(":")[1]}}
        for tag in tags]}).encode()
    docker = json.dumps([{"Config": "blobs/sha256/" + digest(config), "RepoTags": tags,
                          "Layers": ["blobs/sha256/" + d for d in digests]}]).encode()
    with open(path + ".tmp", "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        def blob(name, data):
            tar.addfile(entry(name, size=len(data)), io.BytesIO(data))
        for folder in ("blobs", "blobs/sha256"):
            tar.addfile(entry(folder, tarfile.DIRTYPE, 0o755))
        for data in (config, manifest):
            blob("blobs/sha256/" + digest(data), data)
        for layer, name, size in zip(layers, digests, sizes):
            if isinstance(layer, str):
                with open(layer, "rb") as source:
                    tar.addfile(entry("blobs/sha256/" + name, size=size), source)
            else:
                blob("blobs/sha256/" + name, layer)
        blob("index.json", index)
        blob("manifest.json", docker)
        blob("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    os.rename(path + ".tmp", path)
    return "sha256:" + digest(config)
