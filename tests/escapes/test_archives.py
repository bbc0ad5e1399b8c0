# SPDX-License-Identifier: Apache-2.0
"""Hostile image archives: refused or contained, in bounded time, nothing left, nothing outside touched."""
import io
import json
import os
import tarfile

import archive  # tools/images
import pytest

from harness.shell import wait_for


def image(tmp_path, layer, name="hostile:latest", settings=None):
    path = str(tmp_path / "hostile.tar")
    archive.write_archive(path, [name], [layer], settings or {"Cmd": ["sh"]}, ["hostile"])
    return path


def busybox_layer(change):
    """busybox with entries added by `change(writer)` behind it."""
    import busybox
    writer = archive.LayerWriter()
    with tarfile.open(fileobj=io.BytesIO(busybox.layer())) as tar:
        for info in tar:
            writer.tar.addfile(info, tar.extractfile(info) if info.isreg() else None)
    change(writer)
    return writer.finish()


@pytest.fixture
def outside(tmp_path):
    """A file of the host that hostile entries aim at; it must not change, and nothing may appear beside it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "victim").write_text("untouched")
    yield folder
    assert os.listdir(folder) == ["victim"] and (folder / "victim").read_text() == "untouched"


def load(client, path, timeout=60):
    """Either refused with a sentence or taken; returns whether it was taken."""
    done = client("load", "-i", path, rc=None, timeout=timeout)
    assert done.rc == 0 or done.err.strip(), done
    return done.rc == 0


def test_parent_directories(caisson, tmp_path, outside):
    def change(writer):
        writer.regular("../" * 12 + str(outside).lstrip("/") + "/evil", "x")
        writer.regular("/" + str(outside) + "/evil2", "x")
        writer.regular("bin/../../../.." + str(outside) + "/evil3", "x")
    load(caisson, image(tmp_path, busybox_layer(change)))


def test_symlink_then_file_below_it(caisson, tmp_path, outside):
    def change(writer):
        writer.symlink("link", str(outside))
        writer.regular("link/evil", "x")
        writer.symlink("up", "../../../../../../../../.." + str(outside))
        writer.regular("up/evil", "x")
        writer.directory("link/sub")
    load(caisson, image(tmp_path, busybox_layer(change)))


def test_hard_link_to_outside(caisson, tmp_path, outside):
    def change(writer):
        writer.hardlink("hard", str(outside) + "/victim")
        writer.hardlink("hard2", "../../../../../../../.." + str(outside) + "/victim")
    if load(caisson, image(tmp_path, busybox_layer(change))):
        caisson("run", "--rm", "--network", "none", "hostile", "sh", "-c", "echo changed > /hard; echo changed > /hard2", rc=None)


def test_symlink_replaced_over_a_directory(caisson, tmp_path, outside):
    def change(writer):
        writer.directory("d")
        writer.symlink("d", str(outside))
        writer.regular("d/evil", "x")
        writer.regular("d/.wh.victim", "")
        writer.regular("d/.wh..wh..opq", "")
    load(caisson, image(tmp_path, busybox_layer(change)))


def test_whiteouts_with_bad_names(caisson, tmp_path, outside):
    def change(writer):
        for name in (".wh.", ".wh..", ".wh...", "bin/.wh..", "bin/.wh." + "x" * 300):
            writer.regular(name, "")
    load(caisson, image(tmp_path, busybox_layer(change)))


def test_odd_names(caisson, tmp_path, outside):
    def change(writer):
        for name in ("a\nb", "tab\there", "\u00fcber", "x" * 250, "." , "./", "a//b", "a/./b"):
            writer.regular(name, "x") if not name.endswith("/") else writer.directory(name)
    load(caisson, image(tmp_path, busybox_layer(change)))


def test_deep_path(caisson, tmp_path, outside):
    def change(writer):
        writer.regular("/".join(["d"] * 2000) + "/f", "x")
    if load(caisson, image(tmp_path, busybox_layer(change))):
        caisson("rmi", "hostile")


def test_many_entries(caisson, tmp_path, outside):
    def change(writer):
        for number in range(20000):
            writer.regular(f"many/{number % 100}/{number}" if number else "many/0/0", "")
    assert load(caisson, image(tmp_path, busybox_layer(change)))
    caisson("rmi", "hostile")


def test_duplicate_entries(caisson, tmp_path, outside):
    def change(writer):
        writer.regular("twice", "first")
        writer.regular("twice", "second")
        writer.directory("kind")
        writer.regular("kind", "now a file")
        writer.regular("back", "file")
        writer.directory("back")
    if load(caisson, image(tmp_path, busybox_layer(change))):
        assert caisson.out("run", "--rm", "--network", "none", "hostile", "cat", "/twice") == "second"


def test_device_node_in_a_layer_cannot_be_opened(caisson, tmp_path, outside):
    def change(writer):
        info = archive.entry("disk", tarfile.BLKTYPE, 0o666)
        info.devmajor, info.devminor = 254, 0
        writer.raw(info)
    if load(caisson, image(tmp_path, busybox_layer(change))):
        done = caisson("run", "--rm", "--network", "none", "hostile", "head", "-c", "1", "/disk", rc=None)
        assert done.rc != 0 and done.out == ""


def test_size_that_lies(caisson, tmp_path, outside):
    layer = bytearray(busybox_layer(lambda writer: writer.regular("a-lying-entry", "x")))
    at = layer.index(b"a-lying-entry\0")
    layer[at + 124:at + 136] = b"77777777777\0"
    layer[at + 148:at + 156] = b" " * 8
    layer[at + 148:at + 156] = b"%06o\0 " % sum(layer[at:at + 512])
    assert not load(caisson, image(tmp_path, bytes(layer)))


def test_wrong_diff_id(caisson, tmp_path, outside):
    path = image(tmp_path, busybox_layer(lambda writer: None))
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read() if m.isreg() else b"") for m in tar]
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            if b'"rootfs"' in data:
                document = json.loads(data)
                document["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
                data = json.dumps(document).encode()
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    assert not load(caisson, path)


@pytest.mark.parametrize("manifest", ["[]", "{}", "[{}]", '[{"Config": "../../../../etc/passwd", "Layers": []}]', '[{"Config": "none", "RepoTags": ["a:b"], "Layers": ["/etc/passwd"]}]', "[" * 50000, "null", '[{"Config": 5}]'],
                         ids=["empty-list", "object", "empty-entry", "path-out", "path-layers", "nested", "null", "number"])
def test_odd_manifest(caisson, tmp_path, manifest):
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as tar:
        data = manifest.encode()
        tar.addfile(archive.entry("manifest.json", size=len(data)), io.BytesIO(data))
        link = archive.entry("none", tarfile.SYMTYPE, link="/etc/passwd")
        tar.addfile(link)
    done = caisson("load", "-i", path, rc=1)
    assert done.err.strip() and "root:" not in done.err + done.out


def test_config_is_a_link(caisson, tmp_path):
    """Members of the archive that are links to files of the host are not followed."""
    path = tmp_path / "link.tar"
    with tarfile.open(path, "w") as tar:
        data = b'[{"Config": "c.json", "RepoTags": ["a:b"], "Layers": ["l.tar"]}]'
        tar.addfile(archive.entry("manifest.json", size=len(data)), io.BytesIO(data))
        tar.addfile(archive.entry("c.json", tarfile.SYMTYPE, link="/etc/hostname"))
        tar.addfile(archive.entry("l.tar", tarfile.LNKTYPE, link="/etc/passwd"))
    caisson("load", "-i", path, rc=1)


def test_gzip_bomb(caisson, engine, tmp_path):
    """One GiB of zeros in a small file, as a layer that is no tar: refused, and not by filling the memory."""
    import zlib
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(bytes(1 << 24)) for _ in range(64)) + squeeze.flush()
    (tmp_path / "bomb.tar.gz").write_bytes(bomb)
    assert not load(caisson, tmp_path / "bomb.tar.gz", timeout=90)
    with open(f"/proc/{engine.pid}/status", encoding="ascii") as file:
        peak = int(next(l for l in file if l.startswith("VmHWM")).split()[1])
    assert peak < 200 << 10, f"{peak} kB at the peak"


def test_symlinks_at_proc_and_sys(caisson, tmp_path, outside):
    """CVE-2019-16884: /proc and /sys of the image are links; refused, or the real file systems."""
    writer = archive.LayerWriter()
    import busybox
    with tarfile.open(fileobj=io.BytesIO(busybox.layer())) as tar:
        for info in tar:
            if info.name not in ("proc", "sys", "dev"):
                writer.tar.addfile(info, tar.extractfile(info) if info.isreg() else None)
    writer.directory("fake")
    writer.regular("fake/self", "x")
    for name in ("proc", "sys", "dev"):
        writer.symlink(name, "/fake" if name != "dev" else str(outside))
    if load(caisson, image(tmp_path, writer.finish())):
        done = caisson("run", "--rm", "--network", "none", "hostile", "sh", "-c", "grep -E '^proc|^sysfs' /bin/../proc/mounts", rc=None)
        assert done.rc != 0 or "proc" in done.out


def test_links_in_the_image_at_files_the_engine_writes(caisson, tmp_path, outside):
    """/etc/hosts, /etc/resolv.conf and /etc/hostname of the image are links to the host."""
    def change(writer):
        for name in ("hosts", "resolv.conf", "hostname", "mtab"):
            writer.symlink("etc/" + name, str(outside) + "/victim")
    if load(caisson, image(tmp_path, busybox_layer(change))):
        caisson("run", "--rm", "hostile", "sh", "-c", "cat /etc/hosts; true", rc=None)


def test_passwd_of_the_image_is_a_link(caisson, tmp_path, outside):
    """Names are looked up inside the image, whatever its passwd points at."""
    def change(writer):
        writer.symlink("etc/passwd", "/../../../../etc/passwd")
        writer.symlink("etc/group", "/proc/self/root/etc/group")
    if load(caisson, image(tmp_path, busybox_layer(change))):
        done = caisson("run", "--rm", "--network", "none", "-u", "sync", "hostile", "id", "-u", rc=None)
        assert done.rc != 0, done


def test_engine_serves_after_all_that(caisson, engine):
    wait_for(lambda: engine.api.get("/_ping").body == b"OK", "the engine answers")
    assert caisson.out("run", "--rm", "busybox", "echo", "fine") == "fine"
