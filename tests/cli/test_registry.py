# SPDX-License-Identifier: Apache-2.0
"""pull and push against Debian's docker-registry on a loopback port."""
import json

import pytest


def image_json(cli, name):
    return json.loads(cli.out("image", "inspect", name))[0]


@pytest.fixture
def remote(cli, registry):
    """A name in the registry, of its own for each client."""
    return f"{registry.address}/{cli.name}/"


def test_push_and_pull(cli, remote):
    name = remote + "busybox:1"
    cli("tag", "busybox", name)
    pushed = cli.out("push", name)
    assert "digest: sha256:" in pushed
    ident = image_json(cli, name)["Id"]
    cli("rmi", name)
    assert cli("image", "inspect", name, rc=1)
    pulled = cli.out("pull", name)
    assert "Downloaded newer image for " + name in pulled or "up to date for " + name in pulled
    shown = image_json(cli, name)
    assert shown["Id"] == ident
    assert any(d.startswith(remote + "busybox@sha256:") for d in shown["RepoDigests"])


def test_push_again_says_the_layers_exist(cli, remote):
    name = remote + "again:1"
    cli("tag", "busybox", name)
    cli("push", name)
    assert "Layer already exists" in cli.out("push", name)


def test_pull_fetches_layers_that_are_missing(cli, engine, remote):
    """The layers come from the registry, not from what the engine still has."""
    name = remote + "nginx:1"
    cli("tag", "nginx", name)
    cli("push", name, timeout=120)
    cli("rmi", name)
    cli("rmi", "nginx")
    try:
        cli("pull", name, timeout=120)
        assert cli.out("run", "--rm", name, "cat", "/var/www/html/index.html") == "<h1>it works</h1>"
    finally:
        cli("rmi", "-f", name, rc=None)
        engine.load("nginx")


def test_pull_by_digest(cli, remote):
    name = remote + "digest:1"
    cli("tag", "busybox", name)
    cli("push", name)
    digest = image_json(cli, name)["RepoDigests"][-1].split("@")[1]
    cli("rmi", name)
    cli("pull", f"{remote}digest@{digest}")
    assert image_json(cli, f"{remote}digest@{digest}")["Id"] == image_json(cli, "busybox")["Id"]


def test_run_pulls_what_is_missing(cli, remote):
    name = remote + "run:1"
    cli("tag", "busybox", name)
    cli("push", name)
    cli("rmi", name)
    done = cli("run", "--rm", name, "echo", "pulled")
    assert done.out == "pulled\n" and "Unable to find image" in done.err


def test_pull_of_an_unknown_name(cli, remote):
    done = cli("pull", remote + "nothing:1", rc=1)
    assert "manifest unknown" in done.err or "not found" in done.err


def test_pull_from_nobody(cli):
    done = cli("pull", "127.0.0.1:5999/x:1", rc=1)
    assert "refused" in done.err


def test_push_of_an_unknown_image(cli, remote):
    done = cli("push", remote + "never-made:1", rc=1)
    assert "does not exist" in done.err
