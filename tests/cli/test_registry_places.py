# SPDX-License-Identifier: Apache-2.0
"""Where registry traffic goes and how it gets there: mirrors, rewrites and blocks of registries.conf, certificates, proxies,
HTTP/2. The registries are Debian's docker-registry and tests/harness/lying_registry.py."""
import json
import os
import signal
import subprocess

import pytest

from conftest import make_client
from harness.certs import Authority
from harness.lying_registry import LyingRegistry
from harness.shell import IMAGES, TREE, run, wait_for


@pytest.fixture(scope="module")
def odd(scratch, netns):
    """A registry with moods."""
    registry = LyingRegistry(scratch + "/odd-places", netns, 5086)
    yield registry
    registry.stop()


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


@pytest.mark.parametrize("way", ["environment", "flags", "daemon.json"])
def test_proxies(own_engine, client_of, scratch, netns, authority, far, monkeypatch, way):
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
        where = "http://user:pass@10.231.7.1:5090"
        config, flags = {"insecure-registries": ["hidden.test:5085"]}, []
        for name, value in (("http-proxy", where), ("https-proxy", where), ("no-proxy", "10.231.7.1")):
            # What is set otherwise counts more than the environment.
            monkeypatch.setenv(name.upper().replace("-", "_"), value if way == "environment" else "http://nowhere.invalid:1")
            if way == "flags":
                flags += [f"--{name}", value]
            if way == "daemon.json":
                config.setdefault("proxies", {})[name] = value
        os.makedirs(scratch + "/certs-proxy/hidden.test:5084", exist_ok=True)
        run(["cp", authority.pem, scratch + "/certs-proxy/hidden.test:5084/ca.crt"])
        engine = other_engine(own_engine, config=config, extra=["--registry-certs-dir", scratch + "/certs-proxy", *flags]).start()
        assert engine.api.ok("GET", "/info")["HttpProxy"] == "http://xxxxx:xxxxx@10.231.7.1:5090"
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
    engine = other_engine(own_engine, extra=["--registry-certs-dir", scratch + "/certs-h2"]).start()
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
            lines = open(root + "/versions.log", encoding="utf-8").read().splitlines()
            spoken = {line.split()[0] for line in lines if "curl" not in line and "/manifests/" in line}
            assert spoken == {"HTTP/2.0"}, spoken
        finally:
            server.terminate()
            server.wait(20)


# --- policy.json ---

POLICY = {"default": [{"type": "reject"}], "transports": {
    "docker": {"127.0.0.1:5086/good": [{"type": "insecureAcceptAnything"}], "127.0.0.1:5086/signed": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]}}}


def test_image_policy(own_engine, client_of, odd):
    """policy.json beside registries.conf says what may be brought in; it is read again with it."""
    assert odd.address == "127.0.0.1:5086"
    engine = other_engine(own_engine)
    policy = engine.root + "/policy.json"
    with open(policy, "w", encoding="ascii") as file:
        json.dump(POLICY, file)
    engine.start()
    client = client_of(engine)
    client("pull", odd.address + "/good/allowed:1")
    assert f"the image policy rejects '{odd.address}/other/x:1'" in client("pull", odd.address + "/other/x:1", rc=1).err
    assert "demands a signature (signedBy)" in client("pull", odd.address + "/signed/x:1", rc=1).err
    assert "the image policy rejects images from archives" in client("load", "-i", IMAGES + "/busybox.tar", rc=1).err
    assert not odd.requests("/v2/other/") and not odd.requests("/v2/signed/"), "asked for what may not be had"
    with open(policy + ".new", "w", encoding="ascii") as file:
        json.dump({"default": [{"type": "insecureAcceptAnything"}]}, file)
    os.rename(policy + ".new", policy)
    os.kill(engine.process.pid, signal.SIGHUP)
    wait_for(lambda: client("load", "-i", IMAGES + "/busybox.tar", rc=None).rc == 0, "the policy is read again")
    client("pull", odd.address + "/good/allowed:1")


def test_an_image_policy_with_a_mistake(own_engine):
    """Nothing is let in by a typing error: the engine does not start."""
    engine = other_engine(own_engine)
    with open(engine.root + "/policy.json", "w", encoding="ascii") as file:
        file.write('{"default": [{"type": "rejects"}]}')
    with pytest.raises(AssertionError):
        engine.start()
    assert "unknown requirement 'rejects'" in engine.log()
