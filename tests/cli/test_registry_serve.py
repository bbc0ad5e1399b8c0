# SPDX-License-Identifier: Apache-2.0
"""caisson registry serve with real clients: skopeo, a second engine with both command lines, TLS and passwords."""
import glob
import json
import os
import shutil
import tempfile

import pytest

from harness import certs, store
from harness.clients import caisson_program
from harness.distribution import Distribution
from harness.shell import TREE, run

pytestmark = pytest.mark.no_leak_check
PORT = 5911


@pytest.fixture
def serving(own_engine):
    """An engine with busybox that serves on a loopback port."""
    engine = own_engine(extra=["--registry-listen", f"127.0.0.1:{PORT}"])
    yield engine
    assert store.orphans(engine) == []


def skopeo(netns, *args, rc=0):
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    return run(netns.enter(["skopeo", *args]), rc=rc, timeout=60, env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")})


def tags(engine):
    return {tag for image in engine.images() for tag in image["RepoTags"] or []}


def test_another_engine_pushes_and_pulls(serving, own_engine, client_of):
    other = own_engine()
    client = client_of(other)
    ident = other.images()[0]["Id"]
    name = f"127.0.0.1:{PORT}/team/busybox:1"
    client("tag", "busybox", name)
    assert "digest: sha256:" in client.out("push", name)
    assert f"localhost:{PORT}/team/busybox:1" in tags(serving)
    shown = serving.api.ok("GET", f"/images/localhost:{PORT}/team/busybox:1/json")
    assert shown["Id"] == ident
    client("rmi", name)
    client("rmi", "busybox")
    client("pull", name)
    assert client.out("run", "--rm", name, "echo", "from", "there") == "from there"
    assert other.images()[0]["Id"] == ident
    client("rmi", name)


def test_what_is_tagged_is_served(serving, own_engine, client_of):
    """Nothing is copied: the tag is enough, and its end is the end."""
    other = own_engine(images=())
    client = client_of(other)
    serving.api.ok("POST", f"/images/busybox/tag?repo=localhost:{PORT}/shared&tag=now")
    before = set(os.listdir(serving.data_root + "/images/blobs/sha256"))
    client("pull", f"127.0.0.1:{PORT}/shared:now")
    assert set(os.listdir(serving.data_root + "/images/blobs/sha256")) == before
    assert other.images()[0]["Id"] == serving.images()[0]["Id"]
    serving.api.ok("DELETE", f"/images/localhost:{PORT}/shared:now")
    assert client("pull", f"127.0.0.1:{PORT}/shared:now", rc=1)


def test_skopeo_copies_to_it_and_from_it(serving, netns, tmp_path):
    archive = tmp_path / "made.tar"
    archive.write_bytes(store.checked_image("made:1", ["s"], 30_000))
    skopeo(netns, "copy", "--dest-tls-verify=false", f"docker-archive:{archive}", f"docker://127.0.0.1:{PORT}/made:1")
    assert f"localhost:{PORT}/made:1" in tags(serving)
    ident = serving.api.ok("POST", "/containers/create", {"Image": f"localhost:{PORT}/made:1", "Cmd": ["sha256sum", "-c", "-s", "/sums"]})["Id"]
    serving.api.ok("POST", f"/containers/{ident}/start")
    assert serving.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0
    serving.api.ok("DELETE", f"/containers/{ident}")
    raw = skopeo(netns, "inspect", "--raw", "--tls-verify=false", f"docker://127.0.0.1:{PORT}/made:1").out
    skopeo(netns, "copy", "--src-tls-verify=false", f"docker://127.0.0.1:{PORT}/made:1", f"dir:{tmp_path}/out")
    assert (tmp_path / "out/manifest.json").read_text() == raw
    assert json.loads(skopeo(netns, "list-tags", "--tls-verify=false", f"docker://127.0.0.1:{PORT}/made").out)["Tags"] == ["1"]
    skopeo(netns, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://127.0.0.1:{PORT}/made:1", f"docker://127.0.0.1:{PORT}/again/made:2")
    skopeo(netns, "delete", "--tls-verify=false", f"docker://127.0.0.1:{PORT}/made:1")
    assert skopeo(netns, "inspect", "--tls-verify=false", f"docker://127.0.0.1:{PORT}/made:1", rc=None).rc != 0
    skopeo(netns, "inspect", "--tls-verify=false", f"docker://127.0.0.1:{PORT}/again/made:2")


def test_what_was_pushed_outlives_a_kill_and_the_image(serving, netns, own_engine):
    """The registry keeps what was pushed when the engine's image of it goes, also after a death."""
    client = Distribution(netns, PORT)
    other = own_engine()
    other.api.ok("POST", f"/images/busybox/tag?repo=127.0.0.1:{PORT}/kept&tag=1")
    answer = other.api.post(f"/images/127.0.0.1:{PORT}/kept/push?tag=1", headers={"X-Registry-Auth": "e30="}, timeout=60)
    assert b"errorDetail" not in answer.body
    serving.kill9()
    serving.start()
    assert f"localhost:{PORT}/kept:1" in tags(serving)
    serving.api.ok("DELETE", f"/images/localhost:{PORT}/kept:1")
    manifest = client("GET", "/v2/kept/manifests/1").json
    for entry in [manifest["config"], *manifest["layers"]]:
        assert store.sha256(client("GET", f"/v2/kept/blobs/{entry['digest']}").body) == entry["digest"]
    assert client("DELETE", "/v2/kept/manifests/1").status == 202
    assert serving.api.ok("POST", "/caisson/registry/prune")["ManifestsDeleted"] == 1


def test_command_line(own_engine, netns, tmp_path):
    engine = own_engine()

    def caisson(*args, rc=0):
        return run([caisson_program(), "--host", engine.host, "registry", *args], rc=rc)
    assert caisson("status").out == "not serving\n"
    out = caisson("serve", "--listen", str(PORT)).out
    assert f"serving on 127.0.0.1:{PORT}" in out and f"localhost:{PORT}/NAME:TAG" in out
    engine.api.ok("POST", f"/images/busybox/tag?repo=localhost:{PORT}/seen&tag=1")
    assert caisson("status").out == f"serving on 127.0.0.1:{PORT}\nseen\n"
    assert caisson("prune").out == "manifests deleted: 0, blobs deleted: 0\n"
    assert "serves on" in caisson("serve", "--listen", "127.0.0.1:5912", rc=1).err
    assert "absolute" in caisson("serve", "--htpasswd", "here", rc=1).err
    caisson("stop")
    assert "does not serve" in caisson("stop", rc=1).err
    engine.restart()
    assert caisson("status").out.startswith("not serving")


def test_tls(own_engine, netns, tmp_path):
    home = certs.Authority(tmp_path / "ca", "registry-ca").issue("localhost", "serverAuth")
    engine = own_engine(extra=["--registry-listen", f"127.0.0.1:{PORT}", "--registry-listen-tlscert", home + "/cert.pem",
                               "--registry-listen-tlskey", home + "/key.pem"])
    client = Distribution(netns, PORT, ca=home + "/ca.pem")
    assert client("GET", "/v2/").status == 200
    digest = client.push_blob("secure", b"x" * 100_000)
    assert client("GET", f"/v2/secure/blobs/{digest}").body == b"x" * 100_000
    assert client("DELETE", f"/v2/secure/blobs/{digest}").status == 202
    with pytest.raises(OSError):
        Distribution(netns, PORT, ca=certs.Authority(tmp_path / "other", "other-ca").pem)("GET", "/v2/")
    assert engine.process.poll() is None


def test_podman_pushes_and_pulls(serving, netns, tmp_path, request):
    found = glob.glob(TREE + "/build/cache/debs/podman/usr/bin/podman") or [p for p in [shutil.which("podman")] if p]
    if not found:
        pytest.skip("podman could not be unpacked")

    top = tempfile.mkdtemp(prefix="cp-")  # its paths have to be short
    with open(top + "/storage.conf", "w", encoding="ascii") as file:
        file.write(f'[storage]\ndriver = "vfs"\ngraphroot = "{top}/root"\nrunroot = "{top}/run"\n')
    with open(top + "/containers.conf", "w", encoding="ascii") as file:
        file.write(f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nconmon_path = ["{TREE}/build/cache/debs/conmon/usr/bin/conmon", "/usr/bin/conmon"]\n')
    with open(top + "/policy.json", "w", encoding="ascii") as file:
        file.write('{"default": [{"type": "insecureAcceptAnything"}]}')
    env = {"PATH": os.environ["PATH"], "HOME": top, "TMPDIR": top, "XDG_RUNTIME_DIR": top, "CONTAINERS_CONF": top + "/containers.conf",
           "CONTAINERS_STORAGE_CONF": top + "/storage.conf"}
    request.addfinalizer(lambda: run(["rm", "-rf", top]))

    def podman(*args, policy=False):
        own = ["--root", top + "/root", "--runroot", top + "/run", "--tmpdir", top + "/tmp", "--storage-driver", "vfs"]
        return run(netns.enter([found[0], *own, *args, *(["--signature-policy", top + "/policy.json"] if policy else [])]), env, timeout=60)
    archive = tmp_path / "made.tar"
    archive.write_bytes(store.checked_image("made:1", ["p"], 30_000))
    podman("load", "-i", str(archive), policy=True)
    name = f"127.0.0.1:{PORT}/podman/made:1"
    podman("push", "--tls-verify=false", "--signature-policy", top + "/policy.json", "localhost/made:1", name)
    assert f"localhost:{PORT}/podman/made:1" in tags(serving)
    ident = podman("images", "-q", "--no-trunc", "localhost/made:1").out.strip()
    assert serving.api.ok("GET", f"/images/localhost:{PORT}/podman/made:1/json")["Id"] == ident
    podman("rmi", "-a", "-f")
    podman("pull", "--tls-verify=false", name, policy=True)
    assert podman("images", "-q", "--no-trunc", name).out.strip() == ident
