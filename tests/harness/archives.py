# SPDX-License-Identifier: Apache-2.0
"""Image archives made by hand: small images of any form, and the compressions that clients send."""
import bz2
import gzip
import hashlib
import io
import json
import lzma
import shutil
import subprocess
import tarfile

import pytest


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files):
    """An uncompressed tar of {name: bytes, or ("link", target)}, the same bytes each time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            if isinstance(data, tuple):
                info.type, info.linkname = tarfile.SYMTYPE, data[1]
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zstd(data):
    program = shutil.which("zstd")
    if not program:
        pytest.skip("no zstd program")
    return subprocess.run([program, "-q", "-c"], input=data, capture_output=True, check=True).stdout


PACKERS = {"plain": bytes, "gzip": lambda data: gzip.compress(data, 1), "xz": lambda data: lzma.compress(data, preset=1), "bzip2": bz2.compress, "zstd": zstd}


def image_config(layers, architecture="amd64", **config):
    """The config document of an image of these layers (uncompressed tars)."""
    return json.dumps({"architecture": architecture, "os": "linux", "created": "2024-05-01T10:00:00Z", "config": {"Cmd": ["sh"], **config},
                       "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
                       "history": [{"created": "2024-05-01T10:00:00Z", "created_by": f"ADD {number}"} for number in range(len(layers))]}).encode()


def docker_archive(layers, tags, config=None, pack=bytes):
    """A docker-archive with manifest.json; `pack` is applied to each layer."""
    config = config or image_config(layers)
    files = {sha256(config)[7:] + ".json": config}
    names = []
    for number, layer in enumerate(layers):
        names.append(f"{number:064x}/layer.tar")
        files[names[-1]] = pack(layer)
    files["manifest.json"] = json.dumps([{"Config": sha256(config)[7:] + ".json", "RepoTags": tags, "Layers": names}]).encode()
    return tar_of(files)


class Layout:
    """An OCI layout tar in the making."""

    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def add(self, media_type, data, **more):
        self.files["blobs/sha256/" + sha256(data)[7:]] = data
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}

    def image(self, layers, architecture="amd64", **more):
        """The descriptor of a manifest; gzip layers."""
        config = self.add("application/vnd.oci.image.config.v1+json", image_config(layers, architecture))
        blobs = [self.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(layer, mtime=0)) for layer in layers]
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": blobs}
        return self.add(manifest["mediaType"], json.dumps(manifest).encode(), platform={"os": "linux", "architecture": architecture}, **more)

    def index(self, manifests, **more):
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
        return self.add(index["mediaType"], json.dumps(index).encode(), **more)

    def tar(self, manifests):
        return tar_of({**self.files, "index.json": json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()})


def legacy_archive(layers, name, tag):
    """As Docker wrote it before 1.10: (archive, the config that the image has today)."""
    files, parent = {}, None
    for number, layer in enumerate(layers):
        ident = f"{number + 1:064x}"
        entry = {"id": ident, "created": f"2015-01-0{number + 1}T00:00:00Z", "docker_version": "1.9.1", "architecture": "amd64", "os": "linux",
                 "container_config": {"Cmd": ["/bin/sh", "-c", f"step {number}"]}, "config": {"Cmd": ["sh"]}, "Size": len(layer)}
        if parent:
            entry["parent"] = parent
        files.update({f"{ident}/VERSION": b"1.0", f"{ident}/json": json.dumps(entry).encode(), f"{ident}/layer.tar": layer})
        parent, top = ident, entry
    files["repositories"] = json.dumps({name: {tag: parent}}).encode()
    return tar_of(files), top
