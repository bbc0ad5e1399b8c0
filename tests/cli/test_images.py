# SPDX-License-Identifier: Apache-2.0
"""load, images, image inspect, history, tag, rmi, save, system df, and layers shared on disk."""
import gzip
import json
import os
import subprocess
import tarfile

import pytest

from harness.shell import IMAGES


def config_digest(name):
    with tarfile.open(f"{IMAGES}/{name}.tar") as tar:
        entry = json.load(tar.extractfile("manifest.json"))[0]
        return "sha256:" + entry["Config"].split("/")[-1], ["sha256:" + l.split("/")[-1] for l in entry["Layers"]]


def image_json(cli, name):
    return json.loads(cli.out("image", "inspect", name))[0]


def test_load_from_a_file(cli):
    assert "Loaded image: busybox:latest" in cli.out("load", "-i", f"{IMAGES}/busybox.tar")


def test_load_from_stdin(cli):
    with open(f"{IMAGES}/busybox.tar", "rb") as file:
        assert "Loaded image: busybox:latest" in cli.out("load", stdin=file.read())


def test_load_compressed(cli):
    with open(f"{IMAGES}/busybox.tar", "rb") as file:
        assert "Loaded image: busybox:latest" in cli.out("load", stdin=gzip.compress(file.read(), 1))


def test_load_twice_gives_the_same_image(cli):
    before = image_json(cli, "busybox")["Id"]
    cli("load", "-i", f"{IMAGES}/busybox.tar")
    assert image_json(cli, "busybox")["Id"] == before


def test_images_lists_what_is_there(cli):
    shown = cli.out("images")
    assert shown.splitlines()[0].split()[:3] == ["REPOSITORY", "TAG", "IMAGE"]
    for name in ("busybox", "debian", "nginx"):
        assert any(line.split()[:2] == [name, "latest"] for line in shown.splitlines())
    assert cli.out("images", "-q", "busybox") == config_digest("busybox")[0].removeprefix("sha256:")[:12]


def test_image_ids_are_digests(cli):
    for name in ("busybox", "debian", "nginx"):
        ident, layers = config_digest(name)
        shown = image_json(cli, name)
        assert shown["Id"] == ident
        assert shown["RootFS"] == {"Type": "layers", "Layers": layers}
        assert shown["RepoTags"] == [name + ":latest"]
        assert shown["Os"] == "linux" and shown["Size"] > 1000000


def test_image_inspect_config(cli):
    config = image_json(cli, "nginx")["Config"]
    assert config["Cmd"] == ["nginx", "-g", "daemon off;"] and config["ExposedPorts"] == {"80/tcp": {}}


def test_image_inspect_unknown(cli):
    done = cli("image", "inspect", "nothing:here", rc=1)
    assert "nothing:here" in done.err and "o such image" in done.err


def test_history(cli):
    done = cli.out("history", "--no-trunc", "nginx")
    lines = done.splitlines()
    assert len(lines) == 5  # the head, two layers, two entries without one
    assert "RUN apt-get install nginx-light" in done and "EXPOSE 80" in done
    assert config_digest("nginx")[0] in lines[1] and "<missing>" in lines[2]


def test_tag_and_rmi_untag(cli):
    cli("tag", "busybox", "mine:v1")
    assert sorted(image_json(cli, "mine:v1")["RepoTags"]) == ["busybox:latest", "mine:v1"]
    done = cli.out("rmi", "mine:v1")
    assert "Untagged: mine:v1" in done and "Deleted" not in done
    assert cli("image", "inspect", "mine:v1", rc=1)


def test_rmi_deletes_layers(cli, engine):
    cli("rmi", "nginx")
    try:
        assert cli("image", "inspect", "nginx", rc=1)
        cli("run", "--rm", "debian", "true")  # the shared layer is still there
    finally:
        engine.load("nginx")


def test_rmi_of_an_unknown_image(cli):
    assert "o such image: nothing:here" in cli("rmi", "nothing:here", rc=1).err


def test_rmi_of_a_used_image_is_refused(cli):
    cli("tag", "busybox", "used:v1")
    cli("run", "-d", "--name", "user", "used:v1", "sleep", "99")
    cli("rmi", "used:v1")  # only a name goes, another is left
    done = cli("rmi", "busybox", rc=1)
    assert "conflict: unable to remove repository reference" in done.err and "is using its referenced image" in done.err


def test_layers_are_stored_once(cli, engine):
    """debian and nginx share the debian layer: the store holds its files once."""
    copies = subprocess.run(["find", engine.data_root, "-path", "*/usr/bin/dpkg", "-type", "f"], capture_output=True, text=True, check=True).stdout.split()
    assert len(copies) == 1, copies
    assert image_json(cli, "debian")["RootFS"]["Layers"] == image_json(cli, "nginx")["RootFS"]["Layers"][:1]


def test_system_df_counts_shared_layers_once(cli, api):
    shown = cli.out("system", "df")
    assert shown.splitlines()[0].startswith("TYPE") and "Images" in shown and "Containers" in shown
    usage = api.ok("GET", "/system/df")
    images = {i["RepoTags"][0]: i for i in usage["Images"]}
    debian, nginx, busybox = (images[n + ":latest"] for n in ("debian", "nginx", "busybox"))
    # All of Debian's but its description, which is its own.
    assert nginx["SharedSize"] == debian["SharedSize"] and 0 < debian["Size"] - debian["SharedSize"] < 10000
    assert usage["LayersSize"] == nginx["Size"] + busybox["Size"] + debian["Size"] - debian["SharedSize"]


def test_a_container_does_not_copy_its_image(cli, engine):
    def used():
        return int(subprocess.run(["du", "-sk", engine.data_root], capture_output=True, text=True, check=False).stdout.split()[0])
    before = used()
    cli("run", "-d", "debian", "sleep", "99")
    cli("run", "-d", "debian", "sleep", "99")
    assert used() - before < 1024


def test_debian_runs(cli):
    assert cli.out("run", "--rm", "debian", "bash", "-c", "dpkg -s apt | head -1") == "Package: apt"


def test_nginx_serves(cli, netns):
    cli("run", "-d", "-p", "18081:80", "nginx")
    from harness.shell import wait_for
    wait_for(lambda: "it works" in netns.fetch("http://127.0.0.1:18081/", rc=None), "nginx answers", 10)


@pytest.mark.parametrize("content", ["empty", "text", "tar without manifest", "cut"])
def test_load_of_something_else_is_refused(cli, engine, tmp_path, content):
    path = tmp_path / "x.tar"
    if content == "empty":
        path.write_bytes(b"")
    elif content == "text":
        path.write_bytes(b"this is no image\n" * 100)
    elif content == "cut":
        with open(f"{IMAGES}/busybox.tar", "rb") as file:
            path.write_bytes(file.read(700000))
    else:
        with tarfile.open(path, "w") as tar:
            tar.add("/etc/hostname")
    before = sorted(i["Id"] for i in engine.images())
    done = cli("load", "-i", path, rc=1)
    assert done.err.strip() and len(done.err.strip().splitlines()) == 1, done
    assert sorted(i["Id"] for i in engine.images()) == before
    assert os.listdir(engine.data_root + "/tmp") == [] if os.path.isdir(engine.data_root + "/tmp") else True


def test_save_and_load_again(cli, engine, tmp_path):
    before = image_json(cli, "nginx")["Id"]
    cli("save", "-o", tmp_path / "n.tar", "nginx")
    with tarfile.open(tmp_path / "n.tar") as tar:
        assert "manifest.json" in tar.getnames()
    cli("rmi", "nginx")
    try:
        cli("load", "-i", tmp_path / "n.tar")
        assert image_json(cli, "nginx")["Id"] == before
    finally:
        engine.load("nginx")
