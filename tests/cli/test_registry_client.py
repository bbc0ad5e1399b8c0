# SPDX-License-Identifier: Apache-2.0
"""What a registry client must be able to do: retries, tokens, logins, compressions, platforms, chunks, mounts. The registries
are Debian's docker-registry and tests/harness/lying_registry.py."""
import ctypes
import json
import os

import pytest

from harness.lying_registry import LyingRegistry
from harness.registry import Registry


@pytest.fixture(scope="module")
def odd(scratch, netns):
    """A registry with moods."""
    registry = LyingRegistry(scratch + "/odd", netns, 5070)
    yield registry
    registry.stop()


@pytest.fixture
def remote(caisson, odd):
    """Names in the odd registry, gone from the engine at the end."""
    used = []

    def name(repository):
        used.append(f"{odd.address}/{repository}")
        return used[-1]
    yield name
    for one in used:
        caisson("rmi", "-f", one, rc=None)


# --- what may pass by itself ---

def test_busy_registry_is_asked_again_when_it_says(caisson, odd, remote):
    caisson("pull", remote("busy-once/x:1"))
    first, second = [r["time"] for r in odd.requests("/v2/busy-once/x/manifests/1")]
    assert second - first >= 1, "Retry-After was not waited for"


def test_unavailable_registry_is_asked_again(caisson, odd, remote):
    caisson("pull", remote("unavailable-twice/x:1"))
    assert len(odd.requests("/v2/unavailable-twice/x/manifests/1")) == 3


def test_rate_limit_is_shown(caisson, odd, remote):
    done = caisson("pull", remote("status-429/x:1"), rc=1)
    assert "toomanyrequests: You have reached your pull rate limit" in done.err
    assert len(odd.requests("/v2/status-429/x/manifests/1")) == 1, "an hour is not waited for"


def test_a_blob_that_breaks_is_taken_up_where_it_broke(caisson, odd, remote):
    caisson("pull", remote("truncated-once/x:1"))
    ranges = [r["headers"]["Range"] for r in odd.requests("/v2/truncated-once/x/blobs/") if "Range" in r["headers"]]
    assert ranges and all(not r.startswith("bytes=0-") for r in ranges)


def test_a_registry_without_ranges(caisson, remote):
    caisson("pull", remote("no-range/x:1"))


def test_an_answer_to_another_range_is_not_taken(own_engine, client_of, odd):
    client = client_of(own_engine(images=()))
    assert "another range" in client("pull", odd.address + "/other-range/x:1", rc=1).err


def test_blobs_of_another_host(caisson, odd, remote):
    caisson("pull", remote("redirected/x:1"))
    assert odd.requests("/elsewhere/")


# --- tokens ---

def login(client, server, rc=0):
    return client("login", "-u", "alice", "--password-stdin", server, stdin="secret" if rc == 0 else "wrong", rc=rc)


def test_login_push_and_pull_with_tokens(cli, netns, scratch):
    server = LyingRegistry(f"{scratch}/private-{cli.name}", netns, 5071, token_needed=True)
    try:
        name = f"{server.address}/auth/mine:1"
        assert "unauthorized" in login(cli, server.address, rc=1).err
        assert "Login Succeeded" in login(cli, server.address).out
        cli("tag", "busybox", name)
        cli("push", name)
        cli("rmi", name)
        cli("pull", name)
        cli("rmi", name)
        cli("logout", server.address)
        assert cli("pull", name, rc=1)
        # One token for each set of scopes, not one for each request.
        tokens, others = len(server.requests("/token")), len(server.requests("/v2/auth/mine/"))
        assert tokens < others
        identity = json.load(open(cli.env["DOCKER_CONFIG"] + "/config.json", encoding="utf-8"))
        assert not identity.get("auths")
    finally:
        server.stop()


def test_a_token_that_runs_out_is_fetched_again(caisson, netns, scratch):
    """Good for four requests: none lasts for a whole push."""
    server = LyingRegistry(scratch + "/short", netns, 5072, token_needed=True, token_uses=4)
    try:
        login(caisson, server.address)
        name = f"{server.address}/auth/short:1"
        caisson("tag", "busybox", name)
        caisson("push", name)
        assert len(server.requests("/token", "POST")) >= 2, "one by the identity token, and one more"
        caisson("rmi", name)
        caisson("pull", name)
        caisson("rmi", name)
    finally:
        server.stop()


def test_a_token_server_that_only_knows_post(caisson, netns, scratch):
    server = LyingRegistry(scratch + "/post", netns, 5073, token_needed=True, post_only=True)
    try:
        login(caisson, server.address)
        name = f"{server.address}/auth/post:1"
        caisson("pull", name)
        caisson("rmi", name)
        assert server.requests("/token", "POST")
    finally:
        server.stop()


# --- the user's logins ---

HELPER = """#!/bin/sh
store={store}
case "$1" in
  get) read server; [ -e "$store" ] || {{ echo "credentials not found in native keychain"; exit 1; }}; cat "$store";;
  store) cat > "$store";;
  erase) read server; rm -f "$store";;
esac
"""


@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
def test_credential_helpers(cli, netns, scratch, tmp_path, kind):
    server = LyingRegistry(f"{scratch}/helper-{kind}-{cli.name}", netns, 5074, token_needed=True)
    try:
        store, programs = tmp_path / "store", tmp_path / "bin"
        programs.mkdir()
        (programs / "docker-credential-test").write_text(HELPER.format(store=store))
        (programs / "docker-credential-test").chmod(0o755)
        os.makedirs(cli.env["DOCKER_CONFIG"], exist_ok=True)
        config = cli.env["DOCKER_CONFIG"] + "/config.json"
        with open(config, "w", encoding="ascii") as file:
            json.dump({kind: "test" if kind == "credsStore" else {server.address: "test"}, "other": 1}, file)
        cli.env["PATH"] = f"{programs}:{cli.env['PATH']}"
        login(cli, server.address)
        assert json.loads(store.read_text())["Username"] in ("alice", "<token>")
        text = open(config, encoding="utf-8").read()
        assert "secret" not in text and "identity" not in text and json.loads(text)["auths"] == {server.address: {}}
        name = f"{server.address}/auth/x:1"
        cli("pull", name)
        cli("rmi", name)
        cli("logout", server.address)
        assert not store.exists()
    finally:
        server.stop()


def test_login_against_htpasswd(cli, netns, scratch):
    """Debian's registry with basic authentication."""
    directory = f"{scratch}/htpasswd-{cli.name}"
    os.makedirs(directory)
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed = crypt(b"secret", b"$2b$05$abcdefghijklmnopqrstuu").decode()
    with open(directory + "/htpasswd", "w", encoding="ascii") as file:
        file.write(f"alice:{hashed}\n")
    server = Registry(directory, netns, 5075, more=f"auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}\n")
    try:
        name = f"{server.address}/mine:1"
        cli("tag", "busybox", name)
        assert "no basic auth credentials" in cli("push", name, rc=1).err
        assert "401 Unauthorized" in login(cli, server.address, rc=1).err
        assert "Login Succeeded" in login(cli, server.address).out
        cli("push", name)
        cli("rmi", name)
        cli("pull", name)
        cli("logout", server.address)
        cli("rmi", name)
        assert "no basic auth credentials" in cli("pull", name, rc=1).err
    finally:
        server.stop()


def test_login_asks_on_a_terminal(caisson, netns, scratch):
    server = LyingRegistry(scratch + "/asked", netns, 5076, token_needed=True)
    try:
        with caisson.terminal("login", server.address) as terminal:
            terminal.expect("Username: ")
            terminal.type("alice\n")
            terminal.expect("Password: ")
            terminal.type("secret\r")
            assert "secret" not in terminal.expect("Login Succeeded")
            assert terminal.wait() == 0
        assert "existing credentials" in caisson.out("login", server.address)
    finally:
        server.stop()


def test_login_wants_a_name_and_a_terminal(cli):
    assert "the --password-stdin option requires --username to be set" in cli("login", "--password-stdin", "127.0.0.1:5998", rc=1, stdin="x").err
    both = cli("login", "-p", "x", "-u", "a", "--password-stdin", "127.0.0.1:5998", rc=1, stdin="x")
    assert "conflicting options: cannot specify both --password and --password-stdin" in both.err
    assert "non TTY device" in cli("login", "127.0.0.1:5998", rc=1).err
    assert "Removing login credentials for 127.0.0.1:5998" in cli("logout", "127.0.0.1:5998").out


def test_search(cli, odd):
    out = cli.out("search", "--limit", "3", odd.address + "/word").splitlines()
    assert out[0].split()[:4] == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"] and len(out) == 4
    assert out[1].split() == ["word", "Number", "0", "100", "[OK]"]
    assert cli.out("search", "--filter", "is-official=true", "--format", "{{.Name}} {{.StarCount}}", odd.address + "/word") == "word 100"
    assert cli.out("search", "--filter", "stars=99", "--format", "{{.Name}}", odd.address + "/word").split() == ["word", "word1"]
    assert "outside the range" in cli("search", "--limit", "200", odd.address + "/word", rc=1).err


def test_manifest_inspect(caisson, odd):
    shown = json.loads(caisson.out("manifest", "inspect", odd.address + "/platforms/x:1"))
    assert [m["platform"]["architecture"] for m in shown["manifests"]] == ["s390x", "amd64", "arm64"]
    verbose = json.loads(caisson.out("manifest", "inspect", "-v", odd.address + "/platforms/x:1"))
    assert [v["Descriptor"]["platform"]["architecture"] for v in verbose] == ["s390x", "amd64", "arm64"]
    assert all(v["OCIManifest"]["schemaVersion"] == 2 for v in verbose)
    assert "no such manifest: " + odd.address in caisson("manifest", "inspect", odd.address + "/status-404/x:1", rc=1).err


# --- what is pulled and pushed ---

@pytest.mark.parametrize("kind", ["good", "zstd", "uncompressed"])
def test_compressions_of_layers(caisson, remote, kind):
    name = remote(f"{kind}/x:1")
    caisson("pull", name)
    assert json.loads(caisson.out("image", "inspect", name))[0]["RootFS"]["Layers"]


def test_platforms(caisson, remote):
    name = remote("platforms/x:1")
    for asked, architecture in (("linux/arm64", "arm64"), ("linux/s390x", "s390x"), (None, "amd64")):
        caisson("pull", *(["--platform", asked] if asked else []), name)
        assert json.loads(caisson.out("image", "inspect", name))[0]["Architecture"] == architecture
    assert "no matching manifest for linux/riscv64" in caisson("pull", "--platform", "linux/riscv64", name, rc=1).err


@pytest.mark.parametrize("repository", ["tags/x", "tags/pages"])
def test_all_tags(caisson, odd, remote, repository):
    for tag in "12345":
        remote(f"{repository}:{tag}")
    caisson("pull", "-a", f"{odd.address}/{repository}")
    tags = caisson.out("images", "--format", "{{.Tag}}", f"{odd.address}/{repository}").split()
    assert sorted(tags) == ["1", "2", "3", "4", "5"]


def test_push_of_all_tags(caisson, odd, remote):
    for tag in ("a", "b"):
        caisson("tag", "busybox", remote(f"mine/all:{tag}"))
    caisson("push", "-a", odd.address + "/mine/all")
    assert {r["path"].rsplit("/", 1)[1] for r in odd.requests("/v2/mine/all/manifests/", "PUT")} == {"a", "b"}


@pytest.mark.parametrize("repository", ["chunked/x", "chunked-break/x", "no-monolith/x"])
def test_chunked_uploads(caisson, odd, remote, repository):
    """Where the registry asks for chunks, breaks off in one, or refuses the whole: docker-registry does none of these."""
    name = remote(repository + ":1")
    caisson("tag", "debian", name)
    caisson("push", name, timeout=120)
    pieces = odd.requests(f"/v2/{repository}/blobs/uploads/", "PATCH")
    assert len(pieces) >= 2 and all("Content-Range" in p["headers"] for p in pieces)
    ident = json.loads(caisson.out("image", "inspect", name))[0]["Id"]
    caisson("rmi", name)
    caisson("pull", name, timeout=120)
    assert json.loads(caisson.out("image", "inspect", name))[0]["Id"] == ident


def test_small_blobs_go_in_one_piece(caisson, odd, remote):
    caisson("tag", "busybox", remote("whole/x:1"))
    caisson("push", remote("whole/x:1"))
    assert not odd.requests("/v2/whole/x/blobs/uploads/", "PATCH")
    assert odd.requests("/v2/whole/x/blobs/uploads/", "PUT")


def test_blobs_are_mounted_from_another_repository(caisson, registry):
    first, second = f"{registry.address}/mount/first:1", f"{registry.address}/mount/second:1"
    caisson("tag", "busybox", first)
    caisson("push", first)
    caisson("tag", "busybox", second)
    assert "Mounted from " in caisson.out("push", second)  # whichever repository has it: tests share the registry


def test_a_manifest_that_was_filed_as_another(caisson, remote):
    name = remote("refiled/x:1")
    caisson("tag", "busybox", name)
    assert "registry filed the manifest as sha256:" in caisson("push", name, rc=1).err


def test_a_push_that_the_registry_cannot_take(caisson, remote):
    name = remote("push-500/x:1")
    caisson("tag", "busybox", name)
    assert "500 Internal Server Error" in caisson("push", name, rc=1).err
