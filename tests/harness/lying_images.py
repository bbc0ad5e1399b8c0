# SPDX-License-Identifier: Apache-2.0
"""What the repositories of the lying registry hold: images, and what only looks like some. The same name gives the same bytes."""
import gzip
import hashlib
import io
import json
import tarfile

OCI = "application/vnd.oci.image."
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(*members):
    """A layer of (name, bytes), (name, bytes, type, target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data, *special in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            if special:
                info.type, info.linkname, info.size = special[0], special[1], 0
            archive.addfile(info, io.BytesIO(data) if info.size else None)
    return out.getvalue()


def filler(size, seed):
    """Bytes that do not compress, the same every time."""
    out, block = bytearray(), seed.encode()
    while len(out) < size:
        block = hashlib.sha512(block).digest()
        out += block
    return bytes(out[:size])


class Content:
    """What one repository holds: documents by digest and by tag."""
    def __init__(self):
        self.blobs, self.manifests, self.tags = {}, {}, {}

    def blob(self, data):
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def manifest(self, document, media_type, tag=None):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.manifests[digest_of(data)] = (data, media_type)
        if tag:
            self.tags[tag] = digest_of(data)
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def image(self, layers, tag="1", architecture="amd64", config_type=OCI + "config.v1+json", tweak=None):
        """layers: (bytes as stored, media type, plain tar)."""
        config = json.dumps({"architecture": architecture, "os": "linux", "created": "2024-01-02T03:04:05Z", "config": {"Cmd": ["/hello"]},
                             "rootfs": {"type": "layers", "diff_ids": [digest_of(plain) for _, _, plain in layers]}}).encode()
        document = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                    "config": {"mediaType": config_type, "digest": self.blob(config), "size": len(config)},
                    "layers": [{"mediaType": kind, "digest": self.blob(data), "size": len(data)} for data, kind, _ in layers]}
        if tweak:
            tweak(document)
        return self.manifest(document, OCI + "manifest.v1+json", tag)


def gzip_layer(tar):
    return gzip.compress(tar, 6, mtime=0), OCI + "layer.v1.tar+gzip", tar


def simple_layer(name, size=200 << 10):
    return gzip_layer(tar_of(("hello", b"#!/bin/true\n"), ("data", filler(size, name))))


def monotonous_layer(megabytes):
    """A tar with one file of one letter, compressed as far as gzip goes, without ever being whole in memory. Not of zeros:
    those would become a hole."""
    size = megabytes << 20
    info = tarfile.TarInfo("letters")
    info.size = size
    head = info.tobuf(tarfile.USTAR_FORMAT)
    out, plain = io.BytesIO(), hashlib.sha256()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, mtime=0) as packed:
        for piece in [head, *[b"x" * (1 << 20)] * megabytes, bytes(10240)]:
            packed.write(piece)
            plain.update(piece)
    return out.getvalue(), "sha256:" + plain.hexdigest()


def zstd_bomb():
    """A zstd frame whose blocks are all `repeat one byte`: 4 bytes for 128 KiB each, 1 GiB in 32 KiB."""
    block = (0 | 1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    last = (1 | 1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    # Magic, a descriptor without a single segment and without a size, a window of 1 MiB.
    return b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(20 - 10) << 3]) + block * 8191 + last


def zstd_stored(data):
    """A zstd frame whose blocks are stored as they are."""
    pieces = [data[at:at + (64 << 10)] for at in range(0, len(data), 64 << 10)]
    blocks = b"".join((int(at == len(pieces) - 1) | len(piece) << 3).to_bytes(3, "little") + piece for at, piece in enumerate(pieces))
    return b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(20 - 10) << 3]) + blocks


def build(repository):
    """The content of a repository, from its name alone."""
    kind = repository.split("/")[0]
    content, plain = Content(), simple_layer(repository)
    if kind == "traversal":
        bad = {"dotdot": [("../../../../../../../../tmp/caisson-escaped", b"x")], "absolute": [("/tmp/caisson-escaped", b"x")],
               "symlink": [("out", b"", tarfile.SYMTYPE, "/tmp"), ("out/caisson-escaped", b"x")],
               "symlink-up": [("out", b"", tarfile.SYMTYPE, "../../../../../../../tmp"), ("out/caisson-escaped", b"x")],
               "hardlink": [("link", b"", tarfile.LNKTYPE, "../../../../../../../etc/hostname")],
               "hardlink-absolute": [("link", b"", tarfile.LNKTYPE, "/etc/hostname")],
               "dotdot-inside": [("a/../../../b", b"x")]}[repository.split("/")[1]]
        content.image([gzip_layer(tar_of(("hello", b"x"), *bad))])
    elif kind == "zstd-bomb":
        bomb = zstd_bomb()
        content.image([(bomb, OCI + "layer.v1.tar+zstd", b"whatever")])
    elif kind == "gzip-bomb":
        data, diff_id = monotonous_layer(512)
        content.image([(data, OCI + "layer.v1.tar+gzip", b"")])
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()
        content.manifest({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                          "config": {"mediaType": OCI + "config.v1+json", "digest": content.blob(config), "size": len(config)},
                          "layers": [{"mediaType": OCI + "layer.v1.tar+gzip", "digest": digest_of(data), "size": len(data)}]},
                         OCI + "manifest.v1+json", "1")
    elif kind == "foreign":
        def urls(document):
            document["layers"][0].update(mediaType=FOREIGN, urls=["https://example.com/layer"])
        content.image([plain], tweak=urls)
    elif kind == "schema1":
        content.manifest({"schemaVersion": 1, "name": repository, "tag": "1", "fsLayers": [], "history": [], "signatures": []}, DOCKER_SCHEMA1, "1")
    elif kind == "deep-index":
        entry = content.image([plain], tag=None)
        for _ in range(5):
            entry["platform"] = {"architecture": "amd64", "os": "linux"}
            entry = content.manifest({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [entry]}, OCI + "index.v1+json", "1")
    elif kind == "platforms":
        entries = []
        for architecture in ("s390x", "amd64", "arm64"):
            entry = content.image([simple_layer(repository + architecture)], tag=None, architecture=architecture)
            entries.append({**entry, "platform": {"architecture": architecture, "os": "linux"}})
        content.manifest({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}, OCI + "index.v1+json", "1")
    elif kind == "no-platform":
        entry = content.image([plain], tag=None, architecture="s390x")
        content.manifest({"schemaVersion": 2, "mediaType": OCI + "index.v1+json",
                          "manifests": [{**entry, "platform": {"architecture": "s390x", "os": "linux"}}]}, OCI + "index.v1+json", "1")
    elif kind == "not-an-image":
        content.image([plain], config_type="application/vnd.example.chart.config.v1+json")
    elif kind == "bad-digest":
        content.image([plain], tweak=lambda d: d["layers"][0].update(digest="sha256:../../../../etc/passwd"))
    elif kind == "negative-size":
        content.image([plain], tweak=lambda d: d["layers"][0].update(size=-5))
    elif kind == "huge-size":
        content.image([plain], tweak=lambda d: d["layers"][0].update(size=1 << 62))
    elif kind == "smaller-size":
        content.image([plain], tweak=lambda d: d["layers"][0].update(size=d["layers"][0]["size"] - 7))
    elif kind == "larger-size":
        content.image([plain], tweak=lambda d: d["layers"][0].update(size=d["layers"][0]["size"] + 7))
    elif kind == "missing-diff-id":
        content.image([plain], tweak=lambda d: d["layers"].append(d["layers"][0]))
    elif kind == "wrong-diff-id":
        data, media_type, _ = plain
        content.image([(data, media_type, b"another tar")])
    elif kind == "zstd":
        packed = zstd_stored(plain[2])
        content.image([(packed, OCI + "layer.v1.tar+zstd", plain[2])])
    elif kind == "uncompressed":
        content.image([(plain[2], OCI + "layer.v1.tar", plain[2])])
    elif kind == "both":
        content.image([plain], tweak=lambda d: d.update(manifests=[]))
    elif kind == "tags":
        for tag in ("1", "2", "3", "4", "5"):
            content.image([plain, simple_layer(repository + tag)], tag=tag)
    else:
        content.image([plain, simple_layer(repository + "2", 600 << 10)])
    return content
