# SPDX-License-Identifier: Apache-2.0
"""Images made for tests, and a second opinion on an engine's image store: what lies on the disk against what it says."""
import contextlib
import hashlib
import io
import json
import os
import random
import re
import sqlite3
import tarfile

from harness.shell import IMAGES


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def busybox_layer():
    with tarfile.open(IMAGES + "/busybox.tar") as archive:
        names = json.load(archive.extractfile("manifest.json"))[0]["Layers"]
        return archive.extractfile(names[0]).read()


def layer(files):
    """{name: bytes} as an uncompressed tar, the same bytes for the same files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def random_layer(seed, size):
    """One file of incompressible bytes and its line in the list that `sha256sum -c` reads."""
    data = random.Random(seed).randbytes(size)
    return layer({f"data-{seed}": data}), f"{hashlib.sha256(data).hexdigest()}  /data-{seed}\n"


def archive(name, layers, **config):
    """A docker-archive of one image."""
    document = {"architecture": "amd64", "os": "linux", "created": "2024-05-01T10:00:00Z", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin:/sbin"], **config},
                "rootfs": {"type": "layers", "diff_ids": [sha256(data) for data in layers]}, "history": [{"created_by": "made"} for _ in layers]}
    text = json.dumps(document).encode()
    members = {sha256(text)[7:] + ".json": text}
    members.update({sha256(data)[7:] + "/layer.tar": data for data in layers})
    listed = [{"Config": sha256(text)[7:] + ".json", "RepoTags": [name], "Layers": [sha256(data)[7:] + "/layer.tar" for data in layers]}]
    members["manifest.json"] = json.dumps(listed).encode()
    return layer(members)


def checked_image(name, seeds, size, **config):
    """An archive of busybox and a layer of random bytes for each seed; `sha256sum -c -s /sums` succeeds in it."""
    made = [random_layer(seed, size) for seed in seeds]
    sums = layer({"sums": "".join(line for _, line in made).encode()})
    return archive(name, [busybox_layer(), *(data for data, _ in made), sums], **config)


def orphans(engine):
    """Lines about what is in the store and belongs to nothing, or is missing, or is not what its name says."""
    root, out = engine.data_root, []
    with contextlib.closing(sqlite3.connect(f"file:{root}/state.db?mode=ro", uri=True)) as database:
        # Those that only containers stand on have layers and no blobs.
        images = database.execute("SELECT manifest_digest, manifest, config FROM images WHERE is_kept=0").fetchall()
        keys = {row[0] for row in database.execute("SELECT key FROM layers")}
    wanted, diff_ids = set(), set()
    for digest, manifest, config in images:
        wanted.add(digest)
        document = json.loads(manifest)
        wanted.update(entry["digest"] for entry in [document["config"], *document["layers"]])
        diff_ids.update(json.loads(config)["rootfs"]["diff_ids"])
    blobs = {"sha256:" + name for name in os.listdir(root + "/images/blobs/sha256")}
    out += [f"blob that nobody wants: {digest}" for digest in blobs - wanted - resumable(engine)]
    out += [f"blob is missing: {digest}" for digest in wanted - blobs]
    for digest in blobs & wanted:
        with open(f"{root}/images/blobs/sha256/{digest[7:]}", "rb") as file:
            if sha256(file.read()) != digest:
                out.append(f"blob with other content: {digest}")
    directories = {"sha256:" + name for name in os.listdir(root + "/layers")}
    out += [f"layer directory without a row: {name}" for name in directories - keys]
    out += [f"layer without its directory: {name}" for name in keys - directories]
    out += [f"left in tmp: {name}" for name in os.listdir(root + "/tmp")]
    out += [f"left in images: {name}" for name in os.listdir(root + "/images") if not re.fullmatch("blobs|oci-layout|index.json|partial|uploads", name)]
    out += [f"container's directory without a container: {name}" for name in
            set(os.listdir(root + "/containers")) - {c["Id"] for c in engine.containers()}]
    return out


def resumable(engine):
    """Finished blobs of pulls that were cut short: a repeated pull takes them."""
    with contextlib.closing(sqlite3.connect(f"file:{engine.data_root}/state.db?mode=ro", uri=True)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name='held_blobs'").fetchall():
            return set()
        return {row[0] for row in database.execute("SELECT digest FROM held_blobs")}
