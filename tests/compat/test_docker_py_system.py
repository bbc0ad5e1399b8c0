# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-docker (docker-py 5.0.3): the engine itself, its images, and a registry."""
import io

import pytest

from harness import clients
from harness.shell import IMAGES

docker = clients.docker_py()


@pytest.fixture
def client(engine):
    made = docker.DockerClient(base_url=engine.host, version="auto", timeout=60)
    yield made
    made.close()


def test_ping_and_version(client):
    assert client.ping() is True
    version = client.version()
    assert version["ApiVersion"] == "1.51" == client.api.api_version and version["Os"] == "linux" and version["MinAPIVersion"] == "1.24"
    assert client.version(api_version=False)["ApiVersion"] == "1.51"


def test_info(client):
    client.containers.create("busybox")
    info = client.info()
    assert (info["Containers"], info["ContainersRunning"], info["Images"], info["OSType"]) == (1, 0, 3, "linux")
    assert info["NCPU"] >= 1 and info["MemTotal"] > 1 << 20 and info["ID"]


def test_df(client):
    container = client.containers.run("busybox", ["sh", "-c", "head -c 1000000 /dev/zero > /f"], detach=True)
    container.wait()
    df = client.df()
    assert len(df["Images"]) == 3 and df["LayersSize"] > 0
    row, = df["Containers"]
    assert row["Id"] == container.id and row["SizeRw"] >= 1_000_000


def test_images_list_and_get(client):
    assert sorted(t for i in client.images.list() for t in i.tags) == ["busybox:latest", "debian:latest", "nginx:latest"]
    image = client.images.get("busybox")
    assert client.images.get(image.id) == image and image.short_id.startswith("sha256:") and image.attrs["Os"] == "linux"
    assert [i.tags for i in client.images.list(name="nginx")] == [["nginx:latest"]]
    assert client.images.list(filters={"reference": "busy*"}) == [image]
    assert client.images.list(filters={"dangling": True}) == []
    assert image.history()[0]["Id"] == image.id


def test_images_tag_and_remove(client):
    image = client.images.get("busybox")
    assert image.tag("mine/box", tag="v1") is True
    assert "mine/box:v1" in client.images.get("mine/box:v1").tags
    client.images.remove("mine/box:v1")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("mine/box:v1")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.remove("mine/box:v1")


def test_images_save_and_load(client):
    image = client.images.get("busybox")
    image.tag("saved/box", tag="v2")
    packed = b"".join(client.images.get("saved/box:v2").save(named="saved/box:v2"))
    client.images.remove("saved/box:v2")
    loaded, = client.images.load(packed)
    assert loaded.id == image.id and "saved/box:v2" in loaded.tags


def test_images_load_of_a_stream(client):
    with open(f"{IMAGES}/busybox.tar", "rb") as file:
        loaded, = client.images.load(file)
    assert "busybox:latest" in loaded.tags
    with pytest.raises(docker.errors.ImageLoadError, match="invalid tar"):
        client.images.load(io.BytesIO(b"not a tar at all"))


def test_images_push_and_pull(client, registry):
    name = f"{registry.address}/py/box"
    client.images.get("busybox").tag(name, tag="one")
    steps = list(client.images.push(name, tag="one", stream=True, decode=True))
    assert not [s for s in steps if "error" in s] and any(s.get("aux", {}).get("Tag") == "one" for s in steps), steps
    client.images.remove(f"{name}:one")
    pulled = client.images.pull(name, tag="one")
    assert f"{name}:one" in pulled.tags
    assert client.containers.run(f"{name}:one", "echo pulled", remove=True) == b"pulled\n"
    digest, = (s["aux"]["Digest"] for s in steps if "aux" in s)
    assert f"{name}@{digest}" in pulled.attrs["RepoDigests"]
    messages = [s["status"] for s in client.api.pull(name, tag="one", stream=True, decode=True)]
    assert f"Status: Image is up to date for {name}:one" in messages


def test_run_pulls_what_is_missing(client, registry):
    name = f"{registry.address}/py/missing:two"
    client.images.get("busybox").tag(name)
    client.images.push(name)
    client.images.remove(name)
    assert client.containers.run(name, "echo fetched", remove=True) == b"fetched\n"


def test_pull_of_what_is_not_there(client, registry):
    with pytest.raises(docker.errors.NotFound, match="manifest unknown"):
        client.images.pull(f"{registry.address}/py/none", tag="nope")


def test_what_is_not_there_yet_says_so(client):
    with pytest.raises(docker.errors.APIError) as caught:
        client.api.inspect_swarm()
    assert caught.value.status_code in (501, 503) and caught.value.explanation
