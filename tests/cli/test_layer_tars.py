# SPDX-License-Identifier: Apache-2.0
"""Layers that GNU tar and bsdtar have made, compared entry by entry with what GNU tar itself unpacks; and layers of our own,
whose bytes must not depend on anything but what is in them."""
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import tarfile

import pytest

from harness import store
from harness.shell import run

ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
    (1, 6, 0xffffffff), (2, 4, 54321), (4, 4, 0xffffffff), (16, 6, 0xffffffff), (32, 4, 0xffffffff)))
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service
FORMATS = {
    "gnu": ["--format=gnu"],
    "oldgnu-sparse": ["--format=oldgnu", "--sparse"],
    "pax": ["--format=posix", "--acls", "--xattrs", "--xattrs-include=*"],
    "pax-global": ["--format=posix", "--pax-option=globexthdr.name=g,comment=hello"],
    "pax-sparse-0.0": ["--format=posix", "--sparse", "--sparse-version=0.0"],
    "pax-sparse-0.1": ["--format=posix", "--sparse", "--sparse-version=0.1"],
    "pax-sparse-1.0": ["--format=posix", "--sparse", "--sparse-version=1.0", "--acls", "--xattrs", "--xattrs-include=*"],
}


def make_tree(top):
    """One of everything that a tar can say."""
    os.makedirs(top + b"/etc/deep")
    for name, data in {b"/etc/file": b"text\n", b"/etc/empty": b"", b"/etc/deep/bytes": bytes(range(256)) * 300}.items():
        with open(top + name, "wb") as file:
            file.write(data)
    long_name = b"/etc/" + b"long-" * 40
    with open(top + long_name, "wb") as file:
        file.write(b"long")
    folder = top + b"/etc/deep"
    for _ in range(12):
        folder += b"/a-directory-with-a-long-name"
        os.mkdir(folder)
    with open(folder + b"/file", "wb") as file:
        file.write(b"deep")
    with open(top + b"/etc/\xff\xfe not utf-8 \xc3\xa4", "wb") as file:
        file.write(b"name")
    os.symlink(b"/absolute/" + b"target-" * 30, top + b"/etc/long-link")
    os.symlink(b"file", top + b"/etc/link")
    os.link(top + b"/etc/file", top + b"/etc/hard")
    os.link(top + long_name, top + b"/etc/hard-to-long")
    os.mkfifo(top + b"/etc/fifo")
    os.mknod(top + b"/etc/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top + b"/etc/disk", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    with open(top + b"/etc/sparse", "wb") as file:
        for at in range(0, 40):
            file.seek(at * 262144 + 8192)
            file.write(b"data %d" % at)
        file.truncate(41 * 262144)
    with open(top + b"/etc/hole", "wb") as file:
        file.truncate(5_000_000)
    with open(top + b"/etc/setuid", "wb") as file:
        file.write(b"x")
    os.chown(top + b"/etc/setuid", 3_000_000, 2_500_000)
    os.chmod(top + b"/etc/setuid", 0o6755)
    os.setxattr(top + b"/etc/setuid", "security.capability", CAPABILITY)
    os.setxattr(top + b"/etc/file", "user.note", b"line\nbreak=\x00")
    os.setxattr(top + b"/etc/file", "trusted.secret", b"not for images")
    os.setxattr(top + b"/etc/file", "system.posix_acl_access", ACL)
    os.setxattr(top + b"/etc/deep", "system.posix_acl_default", ACL)
    os.chmod(top + b"/etc/deep", 0o1777)
    for name, ns in {b"/etc/file": 1_700_000_000_123_456_789, b"/etc/empty": -86_400_500_000_000, b"/etc/deep": 1_000_000_000}.items():
        os.utime(top + name, ns=(ns, ns))


def holes(path):
    """The places of data in a file, by blocks of 4 KiB."""
    out, at = [], 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while at < size:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            out.append((begin // 4096, -(-at // 4096)))
    return out


def describe(top, with_xattrs, with_holes):
    """{name: everything that must be equal}."""
    out, inodes = {}, {}
    for folder, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            facts = [stat.S_IFMT(st.st_mode), oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns, st.st_rdev]
            if not stat.S_ISDIR(st.st_mode):
                facts += [st.st_size, st.st_nlink, inodes.setdefault(st.st_ino, path[len(top):])]
            if stat.S_ISLNK(st.st_mode):
                facts.append(os.readlink(path))
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    facts.append(hash(file.read()))
                if with_holes and st.st_size > 1_000_000:
                    facts.append(holes(path))
            if with_xattrs:
                facts.append({n: os.getxattr(path, n, follow_symlinks=False) for n in sorted(os.listxattr(path, follow_symlinks=False)) if n not in ("trusted.secret", "security.selinux")})
            out[path[len(top):]] = facts
    return out


def load_layer(engine, tar, name="tars:1"):
    answer = engine.api.post("/images/load?quiet=1", store.archive(name, [tar]), headers={"Content-Type": "application/x-tar"}, timeout=120)
    assert answer.status == 200 and b"errorDetail" not in answer.body, answer
    return f"{engine.data_root}/layers/{store.sha256(tar)[7:]}"


@pytest.fixture(scope="module")
def tree(scratch):
    top = os.fsencode(scratch + "/tar-tree")
    os.mkdir(top)
    make_tree(top)
    yield top
    shutil.rmtree(top)


def unpacked_by_tar(tar, folder, *options):
    os.mkdir(folder)
    subprocess.run(["tar", "-x", "-p", "--numeric-owner", "-C", folder, *options], input=tar, check=True)
    return os.fsencode(folder)


@pytest.mark.parametrize("form", FORMATS)
def test_layers_of_gnu_tar(engine, tree, scratch, tmp_path, form):
    options = FORMATS[form]
    tar = run(["tar", "-c", "--numeric-owner", *options, "-C", os.fsdecode(tree), "etc"]).raw
    directory = os.fsencode(load_layer(engine, tar))
    with_xattrs, with_holes = "--xattrs" in options, "--sparse" in options
    reference = scratch + "/reference-" + form
    try:
        expected = describe(unpacked_by_tar(tar, reference, *(["--acls", "--xattrs", "--xattrs-include=*"] if with_xattrs else [])), with_xattrs, with_holes)
        got = describe(directory, with_xattrs, with_holes)
        assert sorted(got) == sorted(expected)
        for name, facts in expected.items():
            assert got[name] == facts, (name, got[name], facts)
        assert b"/etc/\xff\xfe not utf-8 \xc3\xa4" in got
        if with_xattrs:
            assert "user.note" in got[b"/etc/file"][-1] and "security.capability" in got[b"/etc/setuid"][-1]
            assert got[b"/etc/file"][-1]["system.posix_acl_access"] == ACL
            assert "trusted.secret" not in os.listxattr(directory + b"/etc/file")
        if with_holes:
            assert os.lstat(directory + b"/etc/hole").st_blocks == 0
    finally:
        shutil.rmtree(reference)


@pytest.mark.skipif(not shutil.which("bsdtar"), reason="no bsdtar: Debian's libarchive-tools is not installed")
@pytest.mark.parametrize("form", ["pax", "ustar", "gnutar"])
def test_layers_of_bsdtar(engine, tree, scratch, form):
    names = ["etc/file", "etc/hard", "etc/link", "etc/fifo", "etc/null", "etc/deep/bytes", "etc/sparse"]
    tar = run(["bsdtar", "-c", "--format", form, "--numeric-owner", "-f", "-", "-C", os.fsdecode(tree), *names]).raw
    directory = os.fsencode(load_layer(engine, tar))
    reference = scratch + "/reference-bsd-" + form
    try:
        expected, got = describe(unpacked_by_tar(tar, reference), False, False), describe(directory, False, False)
        for name in names:
            if form != "pax" or name not in ("etc/file", "etc/hard"):  # their list of access rights, and with it the mode, is below
                assert got[b"/" + name.encode()] == expected[b"/" + name.encode()], name
        if form == "pax":  # bsdtar writes sparse files as such here
            assert os.lstat(directory + b"/etc/sparse").st_blocks * 512 < 2_000_000
            assert os.getxattr(directory + b"/etc/file", "system.posix_acl_access") == ACL
    finally:
        shutil.rmtree(reference)


def test_a_file_of_more_than_8_gib(engine, tmp_path):
    """Its size is in base 256 (GNU) or in a pax record; a hole of that size costs nothing."""
    big = tmp_path / "big"
    with open(big, "wb") as file:
        file.truncate(9 << 30)
        file.seek(8 << 30)
        file.write(b"here")
    for form in (["--format=gnu", "--sparse"], ["--format=posix", "--sparse"]):
        tar = run(["tar", "-c", *form, "-C", str(tmp_path), "big"]).raw
        directory = load_layer(engine, tar)
        st = os.lstat(directory + "/big")
        assert st.st_size == 9 << 30 and st.st_blocks * 512 <= 65536
        with open(directory + "/big", "rb") as file:
            file.seek(8 << 30)
            assert file.read(5) == b"here\0"


def commit(engine, name, command):
    api = engine.api
    ident = api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": {"NetworkMode": "none"}})["Id"]
    api.ok("POST", f"/containers/{ident}/start")
    assert api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0, api.get(f"/containers/{ident}/logs?stderr=1").body
    api.ok("POST", f"/commit?container={ident}&repo={name}&tag=1", {})
    api.ok("DELETE", f"/containers/{ident}?force=1")
    return api.ok("GET", f"/images/{name}:1/json")["RootFS"]["Layers"][-1]


def test_commits_of_the_same_changes_are_the_same_layer(engine):
    """Made in another order, at another time, in another container."""
    names = ["/d/" + letter for letter in "zyxabc"]
    stamp = "touch -h -d @1700000000 /d/* /d /etc /; "
    one = commit(engine, "same-a", "mkdir /d; " + "".join(f"echo {n} > {n}; " for n in names) + "ln /d/a /d/hard; ln -s a /d/link; rm /etc/group; mkfifo /d/f; chmod 640 /d/b; " + stamp)
    two = commit(engine, "same-b", "mkdir /d; " + "".join(f"echo {n} > {n}; " for n in reversed(names)) + "rm /etc/group; chmod 640 /d/b; mkfifo /d/f; ln -s a /d/link; ln /d/a /d/hard; " + stamp)
    other = commit(engine, "same-c", "mkdir /d; echo other > /d/a; " + stamp)
    assert one == two != other
    blobs = [engine.api.ok("GET", f"/images/same-{x}:1/json") for x in "ab"]
    assert blobs[0]["RootFS"] == blobs[1]["RootFS"]


def saved_layer(engine, name, diff_id):
    """The bytes of a layer as `save` writes them, unpacked."""
    raw = engine.api.request("GET", f"/images/{name}/get", timeout=60).body
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        data = archive.extractfile(manifest["Layers"][-1]).read()
    import gzip
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    assert store.sha256(plain) == diff_id
    return plain


def test_a_committed_layer_holds_whole_files_and_no_sockets(engine):
    """A chmod of a file of the image brings the file with it, a sparse file comes as its bytes and becomes sparse again, a
    socket stays away; GNU tar reads it all."""
    engine.load("busybox")
    diff_id = commit(engine, "whole", "chmod 600 /bin/busybox; mv /etc/passwd /etc/moved; dd if=/dev/zero of=/sparse bs=1 count=1 seek=3000000 2>/dev/null; (nc -l -U /socket 2>/dev/null & sleep 1; true); mv /home /house 2>/dev/null; true")
    tar = saved_layer(engine, "whole:1", diff_id)
    with tarfile.open(fileobj=io.BytesIO(tar)) as layer:
        members = {m.name: m for m in layer.getmembers()}
        assert members["bin/busybox"].size > 100_000 and members["bin/busybox"].mode == 0o600
        assert "etc/.wh.passwd" in members and members["etc/moved"].size > 0
        assert members["sparse"].size == 3_000_001
        assert "socket" not in members
        assert not [m for m in members.values() if any("overlay" in key for key in m.pax_headers)]
    assert os.lstat(f"{engine.data_root}/layers/{diff_id[7:]}/sparse").st_blocks * 512 < 200_000


def test_hard_links_into_a_lower_layer(engine):
    base = store.layer({"dir/file": b"below"})
    upper = io.BytesIO()
    with tarfile.open(fileobj=upper, mode="w") as layer:
        link = tarfile.TarInfo("linked")
        link.type, link.linkname, link.mode = tarfile.LNKTYPE, "dir/file", 0o644
        layer.addfile(link)
    answer = engine.api.post("/images/load?quiet=1", store.archive("lower-links:1", [store.busybox_layer(), base, upper.getvalue()]), headers={"Content-Type": "application/x-tar"})
    assert answer.status == 200 and b"errorDetail" not in answer.body, answer
    ident = engine.api.ok("POST", "/containers/create", {"Image": "lower-links:1", "Cmd": ["sh", "-c", "cat /linked; [ /linked -ef /dir/file ]"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    assert engine.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0
    assert b"below" in engine.api.get(f"/containers/{ident}/logs?stdout=1").body


def test_an_image_of_128_layers(engine):
    """One more than Docker allows; the top one wins, whiteouts of the middle count."""
    layers = [store.busybox_layer(), store.layer({"gone": b"x", "stays": b"x"})]
    layers += [store.layer({f"file-{n}": b"%d" % n, "top": b"%d" % n}) for n in range(125)]
    layers.insert(60, store.layer({".wh.gone": b""}))
    answer = engine.api.post("/images/load?quiet=1", store.archive("deep:1", layers), headers={"Content-Type": "application/x-tar"}, timeout=120)
    assert answer.status == 200 and b"errorDetail" not in answer.body, answer
    assert len(layers) == 128 and all(os.path.isdir(f"{engine.data_root}/layers/{store.sha256(layer)[7:]}") for layer in layers)
    ident = engine.api.ok("POST", "/containers/create", {"Image": "deep:1", "Cmd": ["sh", "-c", "set -e; [ ! -e /gone ]; [ -e /stays ]; ls -d /file-* | wc -l; cat /top; echo new > /top; cat /top"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    assert engine.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0
    log = engine.api.get(f"/containers/{ident}/logs?stdout=1").body
    assert b"125" in log and b"124" in log and b"new" in log, log
