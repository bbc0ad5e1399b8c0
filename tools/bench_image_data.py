# SPDX-License-Identifier: Apache-2.0
"""The image of ./dev bench images: 20,000 files and 500 MB of a Debian system in 8 gzip layers.

The files are this machine's own /usr, a fixed choice of them, so that sizes and compressibility are real. What is made is
kept below build/cache: the storage of a docker-registry that holds the image, and the image as a docker-archive.
"""
import gzip
import hashlib
import http.client
import json
import os
import shutil
import stat
import tarfile

FILES, BYTES, LARGE = 20_000, 500_000_000, 100
SHARES = [0.30, 0.20, 0.15, 0.10, 0.10, 0.08, 0.05, 0.02]  # of the files; images have few large layers and some small
NAME, TAG, VERSION = "bench", "1", "1"


def candidates():
    """(rank, size, path) of regular files, in an order that only their names decide."""
    out = []
    for folder, _, names in os.walk("/usr"):
        for name in names:
            path = folder + "/" + name
            st = os.lstat(path)
            if stat.S_ISREG(st.st_mode) and st.st_nlink == 1 and 0 < st.st_size < 20_000_000:
                out.append((hashlib.sha1(path.encode("utf-8", "surrogateescape")).digest(), st.st_size, path))
    return sorted(out)


def choose():
    """FILES paths of about BYTES bytes together: most are small, some are libraries and programs."""
    found = candidates()
    if len(found) < FILES:
        raise RuntimeError(f"/usr has {len(found)} files; the bench needs {FILES} (install some more Debian packages)")
    low, high = 1000, 1_000_000
    while high - low > 500:  # the size limit that makes the small ones three fifths of all bytes
        cap = (low + high) // 2
        small = [f for f in found if f[1] <= cap][:FILES - LARGE]
        low, high = (cap, high) if sum(f[1] for f in small) < BYTES * 3 // 5 else (low, cap)
    small = [f for f in found if f[1] <= low][:FILES - LARGE]
    chosen, left, large_left = list(small), BYTES - sum(f[1] for f in small), FILES - len(small)
    for entry in found:
        if large_left and low < entry[1] <= 3 * left / large_left:
            chosen.append(entry)
            left, large_left = left - entry[1], large_left - 1
    return sorted(f[2] for f in chosen)


def write_layer(paths, target):
    """A layer with all its directories listed; returns the diff-id."""
    made = set()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        def add(path):
            info = tar.gettarinfo(path, path.lstrip("/"))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = int(info.mtime)
            return info

        for number, path in enumerate(paths):
            parts = path.strip("/").split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/" + "/".join(parts[:depth])
                if folder not in made:
                    made.add(folder)
                    info = add(os.path.realpath(folder))
                    info.name, info.type, info.linkname = folder.lstrip("/"), tarfile.DIRTYPE, ""
                    tar.addfile(info)
            info = add(path)
            with open(path, "rb") as file:
                tar.addfile(info, file)
            if number % 10 == 0:  # Debian has about one link for ten files
                link = tarfile.TarInfo(path.lstrip("/") + ".link")
                link.type, link.linkname = tarfile.SYMTYPE, os.path.basename(path)
                tar.addfile(link)
    return digest_of(target)


def digest_of(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            sha.update(part)
    return "sha256:" + sha.hexdigest()


def compress(source, target):
    """Level 6 without a name or time in the head: what Docker's own push sends."""
    with open(source, "rb") as plain, open(target, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        shutil.copyfileobj(plain, packed, 1 << 20)
    return {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": os.path.getsize(target), "digest": digest_of(target)}


def put(port, method, path, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status}")
    return answer.headers


def upload(port, path, descriptor):
    where = put(port, "POST", f"/v2/{NAME}/blobs/uploads/", b"")["Location"]
    where = where[where.index("/v2/"):]
    with open(path, "rb") as file:
        put(port, "PUT", f"{where}&digest={descriptor['digest']}", file, **{"Content-Type": "application/octet-stream", "Content-Length": str(descriptor["size"])})


def make(folder, port):
    """Everything into `folder`; a registry that stores below it listens on `port`."""
    chosen, at, layers, diff_ids = choose(), 0, [], []
    for number, share in enumerate(SHARES):
        end = len(chosen) if number == len(SHARES) - 1 else at + int(share * len(chosen))
        plain = f"{folder}/{number}.tar"
        diff_ids.append(write_layer(chosen[at:end], plain))
        layers.append(compress(plain, plain + ".gz"))
        upload(port, plain + ".gz", layers[-1])
        os.remove(plain + ".gz")
        at = end
    config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2024-05-01T00:00:00Z", "config": {"Cmd": ["sh"]},
                         "rootfs": {"type": "layers", "diff_ids": diff_ids},
                         "history": [{"created": "2024-05-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(layers))]}).encode()
    config_digest = "sha256:" + hashlib.sha256(config).hexdigest()
    with open(folder + "/config.json", "wb") as file:
        file.write(config)
    descriptor = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": config_digest}
    upload(port, folder + "/config.json", descriptor)
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": descriptor, "layers": layers}).encode()
    put(port, "PUT", f"/v2/{NAME}/manifests/{TAG}", manifest, **{"Content-Type": kind})
    write_archive(folder, config_digest[7:] + ".json")
    with open(folder + "/facts.json", "w", encoding="ascii") as file:
        json.dump({"files": len(chosen), "bytes": sum(os.path.getsize(p) for p in chosen), "layers": [d["digest"][7:] for d in layers],
                   "compressed": sum(d["size"] for d in layers)}, file)


def write_archive(folder, config_name):
    """As `docker save` has written images for years: layers as plain tars, the manifest last."""
    names = []
    with tarfile.open(folder + "/image.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(folder + "/config.json", config_name)
        for number in range(len(SHARES)):
            names.append(f"{number}/layer.tar")
            tar.add(f"{folder}/{number}.tar", names[-1])
            os.remove(f"{folder}/{number}.tar")
        manifest = json.dumps([{"Config": config_name, "RepoTags": [f"{NAME}:{TAG}"], "Layers": names}]).encode()
        with open(folder + "/manifest.json", "wb") as file:
            file.write(manifest)
        tar.add(folder + "/manifest.json", "manifest.json")
