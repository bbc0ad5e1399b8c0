# SPDX-License-Identifier: Apache-2.0
"""The archive, changes and export routes: statuses, headers, hostile archives."""
import base64
import gzip
import io
import json
import os
import tarfile

import pytest

TAR = {"Content-Type": "application/x-tar"}


@pytest.fixture
def box(api):
    ident = api.ok("POST", "/containers/create?name=box", {"Image": "busybox", "Cmd": ["sleep", "99"]})["Id"]
    assert api.post("/containers/box/start").status == 204
    return ident


def make_tar(add):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        add(archive)
    return out.getvalue()


def entry(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, io.BytesIO(data)


def path_stat(answer):
    return json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))


def put(api, data, path="/tmp", query="", headers=None):
    return api.request("PUT", f"/containers/box/archive?path={path}{query}", data, headers={**TAR, **(headers or {})})


def in_box(api, *command):
    ident = api.ok("POST", "/containers/box/exec", {"Cmd": list(command), "AttachStdout": True, "Tty": True})["Id"]
    peer, _, rest = api.hijack(f"/exec/{ident}/start", {"Tty": True})
    with peer:
        while True:
            piece = peer.recv(65536)
            if not piece:
                return rest.decode().replace("\r\n", "\n")
            rest += piece


def test_archive_stat_header(api, box):
    answer = api.request("HEAD", "/containers/box/archive?path=/etc/passwd")
    assert answer.status == 200 and answer.body == b""
    shown = path_stat(answer)
    assert shown["name"] == "passwd" and shown["size"] > 10 and shown["mode"] == 0o644 and shown["linkTarget"] == "" and shown["mtime"].endswith("Z")
    assert path_stat(api.request("HEAD", "/containers/box/archive?path=/etc"))["mode"] == 1 << 31 | 0o755
    in_box(api, "sh", "-c", "ln -s ../etc/../../../nowhere /tmp/broken; ln -s /etc /tmp/dir")
    broken = path_stat(api.request("HEAD", "/containers/box/archive?path=/tmp/broken"))
    assert broken["linkTarget"] == "/nowhere" and broken["mode"] & 1 << 27
    assert path_stat(api.request("HEAD", "/containers/box/archive?path=/tmp/dir/."))["name"] == "."
    assert path_stat(api.request("HEAD", "/containers/box/archive?path=/"))["name"] == "/"


def test_archive_get_names(api, box):
    for path, first in (("/etc", "etc"), ("/etc/.", "."), ("etc", "etc"), ("/etc/passwd", "passwd"), ("/bin/../etc/", "etc")):
        answer = api.get(f"/containers/box/archive?path={path}")
        assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-tar", answer
        with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
            assert archive.getnames()[0] == first
            assert all(m.mtime == int(m.mtime) for m in archive.getmembers())


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT"])
def test_archive_statuses(api, box, method):
    body = make_tar(lambda t: None) if method == "PUT" else None
    ask = lambda name, query: api.request(method, f"/containers/{name}/archive{query}", body, headers=TAR)
    assert ask("box", "").status == 400
    assert ask("box", "?path=").status == 400
    assert ask("nobody", "?path=/etc").status == 404
    missing = ask("box", "?path=/no/where")
    assert missing.status == 404
    if method != "HEAD":
        assert missing.message == "Could not find the file /no/where in container box"
    assert ask("box", "?path=/" + "x" * 5000).status == 400
    assert ask("box", "?path=/" + "x" * 1000).status in (400, 404)
    assert ask("box", "?path=/etc/passwd/").status in (400, 404)


def test_archive_put_into_a_file(api, box):
    answer = put(api, make_tar(lambda t: t.addfile(*entry("f", b"x"))), "/etc/passwd")
    assert answer.status == 400 and "not a directory" in answer.message


def test_archive_put_compressed(api, box):
    data = make_tar(lambda t: t.addfile(*entry("zipped", b"unzipped")))
    assert put(api, gzip.compress(data)).status == 200
    assert in_box(api, "cat", "/tmp/zipped") == "unzipped"


def test_archive_put_keeps_kinds(api, box):
    in_box(api, "mkdir", "/tmp/d")
    data = make_tar(lambda t: t.addfile(*entry("d", b"x")))
    answer = put(api, data, query="&noOverwriteDirNonDir=true")
    assert answer.status == 400 and "cannot overwrite directory" in answer.message
    assert put(api, data).status == 200 and in_box(api, "cat", "/tmp/d") == "x"


def test_archive_put_owner(api, box):
    data = make_tar(lambda t: t.addfile(*entry("mine", b"", uid=12, gid=34, mode=0o4755)))
    assert put(api, data).status == 200
    assert in_box(api, "stat", "-c", "%u %g %a", "/tmp/mine").strip() == "12 34 4755"


def test_archive_put_hostile(api, box, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()

    def climb(archive):
        archive.addfile(*entry("../../../../../.." + str(victim) + "/climbed", b"bad"))

    def absolute_link(archive):
        archive.addfile(*entry("out", type=tarfile.SYMTYPE, linkname=str(victim)))
        archive.addfile(*entry("out/linked", b"bad"))

    def climbing_link(archive):
        archive.addfile(*entry("up", type=tarfile.SYMTYPE, linkname="../" * 20 + str(victim)))
        archive.addfile(*entry("up/linked", b"bad"))

    def hard_link(archive):
        archive.addfile(*entry("hard", type=tarfile.LNKTYPE, linkname="../../../../../../etc/shadow"))

    def proc_link(archive):
        archive.addfile(*entry("magic", type=tarfile.SYMTYPE, linkname="/proc/self/root" + str(victim)))
        archive.addfile(*entry("magic/linked", b"bad"))

    for attack in (climb, absolute_link, climbing_link, hard_link, proc_link):
        put(api, make_tar(attack))
        assert os.listdir(victim) == [], attack
    assert put(api, make_tar(climb)).status == 400
    assert put(api, b"this is no tar" * 100).status == 400
    assert put(api, make_tar(lambda t: t.addfile(*entry("cut", b"x" * 5000)))[:2000]).status >= 400
    assert api.get("/containers/box/json").status == 200


def test_archive_of_links_in_the_container_stays_inside(api, box, tmp_path):
    (tmp_path / "secret").write_text("host")
    in_box(api, "sh", "-c", f"ln -s {tmp_path}/secret /tmp/l; ln -s {tmp_path} /tmp/d; ln -s /proc/1/root /tmp/r")
    for path in ("/tmp/d/secret", "/tmp/d/", "/proc/1/root/etc/shadow", "/proc/self/root/" + str(tmp_path) + "/secret"):
        assert api.get(f"/containers/box/archive?path={path}").status in (404, 400, 500), path
    answer = api.get("/containers/box/archive?path=/tmp/l")
    assert b"host" not in answer.body


def test_archive_of_special_files(api, box):
    in_box(api, "sh", "-c", "mkdir /tmp/s; mkfifo /tmp/s/fifo; mknod /tmp/s/null c 1 3; echo x > /tmp/s/f; ln /tmp/s/f /tmp/s/g")
    with tarfile.open(fileobj=io.BytesIO(api.get("/containers/box/archive?path=/tmp/s", timeout=10).body)) as archive:
        kinds = {m.name: m.type for m in archive.getmembers()}
    assert kinds == {"s": tarfile.DIRTYPE, "s/f": tarfile.REGTYPE, "s/fifo": tarfile.FIFOTYPE, "s/g": tarfile.LNKTYPE, "s/null": tarfile.CHRTYPE}


def test_changes_shape(api, box):
    assert api.get("/containers/box/changes").json is None
    in_box(api, "sh", "-c", "echo x > /tmp/a; rm /etc/group")
    assert api.ok("GET", "/containers/box/changes") == [
        {"Path": "/etc", "Kind": 0}, {"Path": "/etc/group", "Kind": 2}, {"Path": "/tmp", "Kind": 0}, {"Path": "/tmp/a", "Kind": 1}]
    assert api.get("/containers/nobody/changes").status == 404


def test_changes_of_a_replaced_directory(api, box):
    in_box(api, "sh", "-c", "rm -r /etc; mkdir /etc; echo x > /etc/passwd")
    shown = {c["Path"]: c["Kind"] for c in api.ok("GET", "/containers/box/changes")}
    assert shown["/etc"] == 0 and shown["/etc/passwd"] == 0 and shown["/etc/group"] == 2


def test_export_statuses(api, box):
    answer = api.get("/containers/box/export")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/octet-stream"
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        assert "etc/passwd" in archive.getnames()
    assert api.get("/containers/nobody/export").status == 404


def test_a_client_that_goes_away_leaves_nothing(api, box):
    for _ in range(5):
        api.raw(b"PUT /containers/box/archive?path=/tmp HTTP/1.1\r\nHost: d\r\nContent-Length: 100000\r\n\r\n" + b"x" * 600, timeout=1, half_close=True)
        api.raw(b"GET /containers/box/archive?path=/bin HTTP/1.1\r\nHost: d\r\n\r\n", timeout=0.05)
    assert api.post("/containers/box/stop?t=0").status == 204
    assert api.post("/containers/box/start").status == 204
