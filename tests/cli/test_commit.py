# SPDX-License-Identifier: Apache-2.0
"""commit: a container's changes as an image."""
import io
import json
import tarfile
import time

import pytest

from harness.container import inspect

CHANGES = """
mkdir -p /data/sub; echo one > /data/sub/one; ln /data/sub/one /data/two; ln -s sub/one /data/link
echo more >> /etc/passwd; rm /etc/group; rm -r /var/www; mkdir /var/www; echo z > /var/www/new
mkfifo /data/pipe; chmod 4755 /data/two; chown 12:34 /data/sub
"""
LOOK = "cat /data/link; tail -n1 /etc/passwd; ls /etc/group; ls /var/www; stat -c '%F %a' /data/two /data/pipe; stat -c %u:%g /data/sub"
SEEN = ["one", "more", "new", "regular file 4755", "fifo 644", "12:34"]


@pytest.fixture
def changed(cli):
    cli("run", "--name", "changed", "busybox", "sh", "-ec", CHANGES)
    return "changed"


def test_commit_keeps_what_was_changed(cli, changed):
    image = cli.out("commit", "-m", "why", "-a", "who <w@x>", changed, "made:1")
    assert image.startswith("sha256:") and len(image) == 71
    assert cli("run", "--rm", "made:1", "sh", "-c", LOOK, rc=0).out.splitlines() == SEEN
    config = json.loads(cli.out("image", "inspect", "made:1"))[0]
    base = json.loads(cli.out("image", "inspect", "busybox"))[0]
    assert config["Id"] == image and config["Author"] == "who <w@x>" and config["Comment"] == "why"
    assert config["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert config["Config"]["Cmd"] == ["sh", "-ec", CHANGES]
    newest = cli("history", "--no-trunc", "--format", "{{.Comment}}|{{.ID}}", "made:1").out.splitlines()[0]
    assert newest == f"why|{image}"


def test_commit_writes_whiteouts_and_no_mount_points(cli, changed):
    cli("commit", changed, "made:1")
    archive = cli("save", "made:1").raw
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        manifest = json.load(outer.extractfile("manifest.json"))
        layer = outer.extractfile(manifest[0]["Layers"][-1]).read()
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        names = {m.name: m for m in inner.getmembers()}
    assert {"etc/.wh.group", "var/www/.wh..wh..opq", "data/sub/one"} <= set(names)
    assert names["data/two"].islnk() or names["data/sub/one"].islnk()
    assert not {"etc/hosts", "etc/resolv.conf", "etc/hostname", "dev/console"} & set(names)


def test_commit_image_travels(cli, changed):
    cli("commit", changed, "made:1")
    archive = cli("save", "made:1").raw
    image = cli.out("image", "inspect", "-f", "{{.Id}}", "made:1")
    cli("rmi", "made:1")
    cli("load", stdin=archive)
    assert cli.out("image", "inspect", "-f", "{{.Id}}", "made:1") == image
    assert cli("run", "--rm", "made:1", "sh", "-c", LOOK).out.splitlines() == SEEN


def test_commit_change_instructions(cli, changed):
    cli("run", "--name", "base", "-e", "OLD=1", "-l", "old=1", "busybox", "true")
    cli("commit", "-c", "ENV NEW=\"a b\" OLD=2", "-c", "LABEL new=2", "-c", "EXPOSE 80 53/udp", "-c", "USER 12", "-c", "WORKDIR /tmp",
        "-c", 'CMD ["id", "-u"]', "-c", "VOLUME /data", "-c", "STOPSIGNAL INT", "base", "made:2")
    config = json.loads(cli.out("image", "inspect", "made:2"))[0]["Config"]
    assert config["Labels"] == {"old": "1", "new": "2"} and config["User"] == "12" and config["WorkingDir"] == "/tmp"
    assert "NEW=a b" in config["Env"] and "OLD=2" in config["Env"] and "OLD=1" not in config["Env"]
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"} and config["Volumes"] == {"/data": {}} and config["StopSignal"] == "INT"
    assert cli.out("run", "--rm", "made:2") == "12"
    # An entrypoint without a command drops the container's own.
    cli("commit", "-c", 'ENTRYPOINT ["echo", "hi"]', "base", "made:3")
    assert cli.out("run", "--rm", "made:3") == "hi"


def test_commit_of_a_running_container_pauses_it(cli, api):
    cli("run", "-d", "--name", "counter", "busybox", "sh", "-c", "i=0; while true; do i=$((i+1)); echo $i > /count; done")
    since = time.time() - 0.001
    cli("commit", "counter", "made:4")
    assert inspect(cli, "counter")["State"]["Status"] == "running"
    events = [json.loads(line) for line in api.get(f"/events?since={since:.6f}&until={time.time():.6f}").body.decode().splitlines()]
    # Its start may have been told in the same millisecond.
    actions = [e["Action"] for e in events if e["Type"] == "container" and e["Actor"]["Attributes"].get("name") == "counter" and e["Action"] != "start"]
    assert actions == ["pause", "commit", "unpause"] or actions == ["pause", "unpause", "commit"]
    since = time.time() - 0.001
    cli("commit", "--pause=false", "counter", "made:5")
    events = [json.loads(line) for line in api.get(f"/events?since={since:.6f}&until={time.time():.6f}").body.decode().splitlines()]
    assert "pause" not in [e["Action"] for e in events]


def test_commit_of_nothing_adds_no_layer(cli):
    cli("create", "--name", "idle", "busybox", "true")
    cli("commit", "idle", "made:6")
    layers = "{{json .RootFS.Layers}}"
    assert cli.out("image", "inspect", "-f", layers, "made:6") == cli.out("image", "inspect", "-f", layers, "busybox")


def test_commit_leaves_volumes_out(cli, tmp_path):
    (tmp_path / "file").write_text("x")
    cli("run", "--name", "bound", "-v", f"{tmp_path}:/bound", "--tmpfs", "/mem", "busybox", "sh", "-c", "echo y > /bound/y; echo z > /mem/z")
    cli("commit", "bound", "made:7")
    assert cli.out("run", "--rm", "made:7", "ls", "/bound", "/mem") == "/bound:\n\n/mem:"


@pytest.mark.parametrize("arguments, status, words", [
    (["nobody", "made:1"], 1, "No such container: nobody"),
    (["changed", "UPPER"], 1, "must be lowercase"),
    (["-c", "RUN make", "changed"], 1, "RUN is not a valid change command"),
    (["-c", "EXPOSE x", "changed"], 1, "invalid containerPort"),
])
def test_commit_refuses(cli, changed, arguments, status, words):
    before = cli.out("images", "-aq")
    answer = cli("commit", *arguments, rc=status)
    assert words in answer.err
    assert cli.out("images", "-aq") == before


def test_commit_bad_requests(api, cli, changed):
    assert api.post("/commit").status == 400
    assert api.post("/commit?container=changed&repo=a/b&tag=" + "x" * 200).status == 400
    assert api.post("/commit?container=changed", {"Cmd": 5}).status == 400
    assert api.post("/commit?container=changed&changes=" + "A" * 5000).status == 400
    answer = api.post("/commit?container=changed&repo=made&tag=8&changes=ENV%20A%3D1%0ALABEL%20b%3Dc", {"Env": ["B=2"]})
    assert answer.status == 201
    config = api.get("/images/made:8/json").json["Config"]
    assert {"A=1", "B=2"} <= set(config["Env"]) and config["Labels"]["b"] == "c"
