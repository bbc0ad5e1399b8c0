# SPDX-License-Identifier: Apache-2.0
"""What a registry client must be able to do: retries, tokens, mirrors, rewrites and blocks, certificates, proxies, HTTP/2,
chunks, mounts. The registries are Debian's docker-registry and tests/harness/lying_registry.py."""
import json
import os
import subprocess

import pytest

from harness.certs import Authority
from harness.lying_registry import LyingRegistry
from harness.registry import Registry
from harness.shell import TREE, run, wait_for


@pytest.fixture(scope="module")
def odd(scratch, netns):
    """A registry with moods."""
    registry = LyingRegistry(scratch + "/odd", netns, 5070, token_life=300)
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
    """A second of life: none lasts for the whole transfer, as the registry takes it."""
    server = LyingRegistry(scratch + "/short", netns, 5072, token_needed=True, token_life=1)
    try:
        login(caisson, server.address)
        name = f"{server.address}/auth/short:1"
        caisson("tag", "busybox", name)
        caisson("push", name)
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
    hashed = subprocess.run(["/usr/bin/python3", "-c", "import crypt; print(crypt.crypt('secret', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))"],
                            capture_output=True, text=True, check=True).stdout.strip()
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
    assert "Not logged in to 127.0.0.1:5998" in cli("logout", "127.0.0.1:5998").out


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
    assert "manifest unknown" in caisson("manifest", "inspect", odd.address + "/status-404/x:1", rc=1).err


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
    assert "Mounted from mount/first" in caisson.out("push", second)


def test_a_manifest_that_was_filed_as_another(caisson, remote):
    name = remote("refiled/x:1")
    caisson("tag", "busybox", name)
    assert "registry filed the manifest as sha256:" in caisson("push", name, rc=1).err


def test_a_push_that_the_registry_cannot_take(caisson, remote):
    name = remote("push-500/x:1")
    caisson("tag", "busybox", name)
    assert "500 Internal Server Error" in caisson("push", name, rc=1).err


# --- registries.conf, mirrors ---

def other_engine(own_engine, conf=None, config=None, extra=()):
    """An engine with a registries.conf and a daemon.json of its own, without any image."""
    engine = own_engine(images=(), start=False, extra=extra)
    os.makedirs(engine.root, exist_ok=True)
    engine.conf, engine.config = engine.root + "/registries.conf", engine.root + "/daemon.json"
    for path, text in ((engine.conf, conf or ""), (engine.config, json.dumps(config or {}))):
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    engine.argv += ["--registries-conf", engine.conf, "--config-file", engine.config]
    return engine


def test_mirror_of_one_registry(own_engine, client_of, odd):
    """registry.invalid has no address: all of it comes from the mirror, under the name that was asked for."""
    engine = other_engine(own_engine, f'[[registry]]\nlocation = "registry.invalid"\n[[registry.mirror]]\nlocation = "{odd.address}"\n').start()
    client = client_of(engine)
    client("pull", "registry.invalid/good/mirrored:1")
    assert client.out("images", "--format", "{{.Repository}}") == "registry.invalid/good/mirrored"
    # What the mirror does not have is asked for at the registry itself, whose word is shown.
    assert "registry.invalid" in client("pull", "registry.invalid/status-404/x:1", rc=1).err


def test_rewrites_blocks_and_wildcards(own_engine, client_of, odd):
    conf = f"""
[[registry]]
prefix = "company.invalid/team"
location = "{odd.address}/good"
[[registry]]
prefix = "*.wild.invalid"
location = "{odd.address}"
[[registry]]
prefix = "company.invalid/team/secret"
location = "{odd.address}/good"
blocked = true
[[registry]]
location = "{odd.address}"
[[registry.mirror]]
location = "127.0.0.1:5998"
"""
    engine = other_engine(own_engine, conf).start()
    client = client_of(engine)
    client("pull", "company.invalid/team/app:1")
    assert odd.requests("/v2/good/app/manifests/1")
    client("pull", "a.b.wild.invalid/good/wild:1")
    refused = client("pull", "company.invalid/team/secret/app:1", rc=1)
    assert "blocked in registries.conf" in refused.err
    assert not odd.requests("/v2/good/app2") and not odd.requests("/secret/")
    client("pull", odd.address + "/good/direct:1")  # the mirror does not answer
    client("tag", "company.invalid/team/app:1", "company.invalid/team/secret/x:1")
    assert "blocked in registries.conf" in client("push", "company.invalid/team/secret/x:1", rc=1).err


def test_mirrors_by_digest_or_tag(own_engine, client_of, odd):
    conf = f"""
[[registry]]
location = "digests.invalid"
[[registry.mirror]]
location = "{odd.address}"
pull-from-mirror = "digest-only"
"""
    engine = other_engine(own_engine, conf).start()
    client = client_of(engine)
    name = "good/bydigest-" + client.name
    assert client("pull", f"digests.invalid/{name}:1", rc=1)
    assert not odd.requests(f"/v2/{name}/")
    shown = engine.api.ok("GET", f"/distribution/{odd.address}/{name}:1/json")
    client("pull", f"digests.invalid/{name}@{shown['Descriptor']['digest']}")


def test_short_names(own_engine, caisson, odd, tmp_path):
    """Aliases are for names without a registry only; the image keeps the name that was asked for."""
    from conftest import make_client
    conf = f'unqualified-search-registries = ["127.0.0.1:5998", "{odd.address}"]\n[aliases]\n"tool" = "{odd.address}/good/tool"\n'
    engine = other_engine(own_engine, conf).start()
    client = make_client("caisson", engine, tmp_path / "short")
    client("pull", "tool:1")
    assert client.out("images", "--format", "{{.Repository}}:{{.Tag}}") == "tool:1"
    client("pull", "good/searched:1")
    assert odd.requests("/v2/good/searched/manifests/1")
    assert client("pull", "docker.io/library/tool:1", rc=1)


def test_registries_conf_is_read_again(own_engine, client_of, odd):
    engine = other_engine(own_engine, "").start()
    client = client_of(engine)
    assert client("pull", "later.invalid/good/x:1", rc=1)
    os.makedirs(engine.conf + ".d")
    with open(engine.conf + ".d/10-later.conf", "w", encoding="ascii") as file:
        file.write(f'[[registry]]\nprefix = "later.invalid"\nlocation = "{odd.address}"\n')
    engine.process.send_signal(1)
    wait_for(lambda: "configuration reloaded" in engine.log(), "the reload")
    client("pull", "later.invalid/good/x:1")
    with open(engine.conf, "w", encoding="ascii") as file:
        file.write("[[registry]\n")
    engine.process.send_signal(1)
    wait_for(lambda: "the old configuration stays" in engine.log(), "the refusal of a broken file")
    assert f"{engine.conf}:1:" in engine.log()
    client("rmi", "later.invalid/good/x:1")
    client("pull", "later.invalid/good/x:1")


def test_a_broken_registries_conf_is_told_at_the_start(own_engine):
    engine = other_engine(own_engine, '[[registry]]\nlocation = "https://example.com"\n')
    with pytest.raises(AssertionError):
        engine.start()
    assert "registries.conf:1: registry without a prefix or location" in engine.log()


def test_mirrors_of_docker_hub(own_engine, client_of, odd):
    engine = other_engine(own_engine, config={"registry-mirrors": ["http://" + odd.address]}).start()
    client = client_of(engine)
    client("pull", "good/hub:1")
    assert client.out("images", "--format", "{{.Repository}}") == "good/hub"
    client("pull", "tool:1")
    assert odd.requests("/v2/library/tool/manifests/1"), "names of the hub's own library"


# --- TLS ---

@pytest.fixture(scope="module")
def authority(scratch):
    return Authority(scratch + "/registry-ca", "registries")


@pytest.fixture(scope="module")
def far(netns):
    """An address of this namespace that is not loopback: there no certificate is taken on trust."""
    run(netns.enter(["ip", "address", "add", "10.231.7.1/32", "dev", "lo"]))
    yield "10.231.7.1"
    run(netns.enter(["ip", "address", "delete", "10.231.7.1/32", "dev", "lo"]))


def tls_registry(scratch, netns, authority, name, port, far, **options):
    home = authority.issue("registry", "serverAuth", names=f"IP:127.0.0.1,IP:{far}")
    registry = LyingRegistry(f"{scratch}/{name}", netns, port, address=far, cert=home + "/cert.pem", key=home + "/key.pem", **options)
    registry.address = f"{far}:{port}"
    return registry


def test_a_certificate_of_ones_own_authority(own_engine, client_of, scratch, netns, authority, far):
    registry = tls_registry(scratch, netns, authority, "own-ca", 5080, far)
    try:
        engine = other_engine(own_engine, extra=["--registry-certs-dir", scratch + "/certs-own"]).start()
        client = client_of(engine)
        refused = client("pull", registry.address + "/good/x:1", rc=1)
        assert "x509: certificate signed by unknown authority" in refused.err
        os.makedirs(f"{scratch}/certs-own/{registry.address}", exist_ok=True)
        with open(authority.pem, "rb") as source, open(f"{scratch}/certs-own/{registry.address}/ca.crt", "wb") as copy:
            copy.write(source.read())
        client("pull", registry.address + "/good/x:1")
        run(["rm", "-r", scratch + "/certs-own"])
    finally:
        registry.stop()


def test_a_certificate_for_the_client(own_engine, client_of, scratch, netns, authority, far):
    registry = tls_registry(scratch, netns, authority, "client-ca", 5081, far, client_ca=authority.pem)
    try:
        certs = f"{scratch}/certs-client/{registry.address}"
        os.makedirs(certs)
        own = authority.issue("alice", "clientAuth")
        engine = other_engine(own_engine, extra=["--registry-certs-dir", scratch + "/certs-client"]).start()
        client = client_of(engine)
        run(["cp", authority.pem, certs + "/ca.crt"])
        assert client("pull", registry.address + "/good/x:1", rc=1)
        run(["cp", own + "/cert.pem", certs + "/client.cert"])
        assert "missing key client.key for client certificate client.cert" in client("pull", registry.address + "/good/x:1", rc=1).err
        run(["cp", own + "/key.pem", certs + "/client.key"])
        client("pull", registry.address + "/good/x:1")
        run(["rm", "-r", scratch + "/certs-client"])
    finally:
        registry.stop()


@pytest.mark.parametrize("entry", ["host", "network", "registries.conf"])
def test_insecure_registries(own_engine, client_of, scratch, netns, authority, far, entry):
    """Any certificate, and plain http, by name, by network, by registries.conf."""
    secure = tls_registry(scratch, netns, authority, "insecure-" + entry, 5082, far)
    plain = LyingRegistry(f"{scratch}/plain-{entry}", netns, 5083, address=far)
    plain.address = f"{far}:5083"
    try:
        strict = other_engine(own_engine).start()
        refused = client_of(strict)("pull", plain.address + "/good/x:1", rc=1)
        assert "server gave HTTP response to HTTPS client" in refused.err
        if entry == "registries.conf":
            conf = "".join(f'[[registry]]\nlocation = "{r.address}"\ninsecure = true\n' for r in (secure, plain))
            engine = other_engine(own_engine, conf).start()
        else:
            entries = [secure.address, plain.address] if entry == "host" else ["10.231.0.0/16"]
            engine = other_engine(own_engine, config={"insecure-registries": entries}).start()
        client = client_of(engine)
        client("pull", secure.address + "/good/x:1")
        client("pull", plain.address + "/good/y:1")
    finally:
        secure.stop()
        plain.stop()


# --- proxies ---

PROXY = TREE + "/tests/harness/forward_proxy.py"


def test_proxies(own_engine, client_of, scratch, netns, authority, far, monkeypatch):
    """CONNECT for https, whole addresses for http, with a password; the proxy knows the name that we do not."""
    log = scratch + "/proxy.log"
    with open(log, "wb") as out:
        proxy = subprocess.Popen(netns.enter(["/usr/bin/python3", PROXY, "10.231.7.1", "5090", "user:pass", "hidden.test=10.231.7.1"]),
                                 stdout=out, stderr=out, start_new_session=True)
    home = authority.issue("hidden", "serverAuth", names="DNS:hidden.test")
    secure = LyingRegistry(scratch + "/behind-tls", netns, 5084, address=far, cert=home + "/cert.pem", key=home + "/key.pem")
    plain = LyingRegistry(scratch + "/behind", netns, 5085, address=far)
    try:
        wait_for(lambda: "listening" in open(log, encoding="utf-8").read(), "the proxy")
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "http://user:pass@10.231.7.1:5090")
        monkeypatch.setenv("NO_PROXY", "10.231.7.1")
        os.makedirs(scratch + "/certs-proxy/hidden.test:5084", exist_ok=True)
        run(["cp", authority.pem, scratch + "/certs-proxy/hidden.test:5084/ca.crt"])
        engine = other_engine(own_engine, config={"insecure-registries": ["hidden.test:5085"]},
                              extra=["--registry-certs-dir", scratch + "/certs-proxy"]).start()
        client = client_of(engine)
        client("pull", "hidden.test:5084/good/x:1")
        client("pull", "hidden.test:5085/good/y:1")
        text = open(log, encoding="utf-8").read()
        assert "CONNECT hidden.test:5084" in text and "GET http://hidden.test:5085/v2/" in text
        client("pull", f"{far}:5085/good/z:1", rc=1)  # neither proxied nor insecure
    finally:
        proxy.kill()
        proxy.wait()
        secure.stop()
        plain.stop()


# --- HTTP/2 ---

NGINX = """daemon off; worker_processes 1; error_log stderr; pid {root}/nginx.pid;
events {{ worker_connections 64; }}
http {{
  access_log {root}/access.log; client_max_body_size 0; proxy_request_buffering off; client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  log_format versions '$server_protocol $request_method $request_uri'; access_log {root}/versions.log versions;
  server {{
    listen {address}:5443 ssl http2; ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem;
    http2_max_concurrent_streams 3; keepalive_requests 5;
    location / {{ proxy_pass http://{behind}; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https; }}
  }}
}}
"""


def test_http2(own_engine, client_of, scratch, netns, authority, far, registry, odd):
    """Through nginx, which offers h2: pushes and pulls of docker-registry, and what breaks in the middle."""
    program = TREE + "/build/cache/debs/nginx/usr/sbin/nginx"
    if not os.path.exists(program):
        pytest.skip("Debian's nginx could not be unpacked")
    root, home = scratch + "/h2", authority.issue("h2", "serverAuth", names=f"IP:{far}")
    os.makedirs(f"{scratch}/certs-h2/{far}:5443", exist_ok=True)
    run(["cp", authority.pem, f"{scratch}/certs-h2/{far}:5443/ca.crt"])
    engine = other_engine(own_engine, extra=["--registry-certs-dir", scratch + "/certs-h2", "--registry-timeout", "5"]).start()
    engine.load("busybox", "nginx")
    client = client_of(engine)
    for behind in (registry.address, odd.address):
        os.makedirs(root, exist_ok=True)
        run(["chmod", "755", scratch, root])
        with open(root + "/nginx.conf", "w", encoding="ascii") as file:
            file.write(NGINX.format(root=root, address=far, home=home, behind=behind))
        with open(root + "/log", "ab") as log:
            server = subprocess.Popen(netns.enter([program, "-p", root, "-e", "stderr", "-c", root + "/nginx.conf"]), stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(lambda: run(netns.enter(["curl", "-sk", "--noproxy", "*", f"https://{far}:5443/v2/"]), rc=None).rc == 0, "nginx answers", 20)
            if behind == registry.address:
                for image in ("busybox", "nginx"):
                    name = f"{far}:5443/{client.name}/{image}:h2"
                    client("tag", image, name)
                    client("push", name, timeout=120)
                    ident = json.loads(client.out("image", "inspect", image))[0]["Id"]
                    client("rmi", name)
                    client("rmi", image)
                    client("pull", name, timeout=120)
                    assert json.loads(client.out("image", "inspect", name))[0]["Id"] == ident
            else:
                client("pull", f"{far}:5443/truncated-once/h2{client.name}:1")
                assert "toomanyrequests" in client("pull", f"{far}:5443/status-429/h2:1", rc=1).err
                assert "is larger than 4194304 bytes" in client("pull", f"{far}:5443/endless-chunked/h2:1", rc=1).err
                assert client("pull", f"{far}:5443/stalled-layer/h2:1", rc=1, timeout=90)
            lines = open(root + "/versions.log", encoding="utf-8").read().splitlines()
            spoken = {line.split()[0] for line in lines if "curl" not in line and "/manifests/" in line}
            assert spoken == {"HTTP/2.0"}, spoken
        finally:
            server.terminate()
            server.wait(20)
