# SPDX-License-Identifier: Apache-2.0
"""Images to and from other tools: skopeo, umoci, and Debian's podman and dockerd, each on roots of its own. Image ids and
manifest digests are the same everywhere."""
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile

import pytest

from harness.archives import Layout, docker_archive, legacy_archive, sha256, tar_of
from harness.clients import find_docker
from harness.shell import IMAGES, TREE, run, wait_for

DEBS = TREE + "/build/cache/debs"
PATH = ":".join(glob.glob(DEBS + "/*/usr/bin") + glob.glob(DEBS + "/*/usr/sbin") + ["/usr/sbin:/usr/bin:/sbin:/bin"])
ENV = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith(("DOCKER_", "CONTAINER"))}
LAYERS = [tar_of({"base": b"below\n"}), tar_of({"top": b"above\n"})]


def unpacked(package, name):
    found = glob.glob(f"{DEBS}/{package}/usr/*bin/{name}")
    if not found:
        pytest.skip(f"Debian's {package} is not unpacked (./dev test does it)")
    return found[0]


def remove_tree(path):
    subprocess.run(["rm", "-rf", path], check=False)


@pytest.fixture
def skopeo(netns, tmp_path):
    if not shutil.which("skopeo"):
        pytest.skip("Debian's skopeo is not installed")
    policy = tmp_path / "policy.json"
    policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')

    def call(*args, **options):
        return run(netns.enter(["skopeo", "--policy", str(policy), "--tmpdir", str(tmp_path), *map(str, args)]), {**ENV, "HOME": str(tmp_path)}, timeout=120, **options)
    return call


@pytest.fixture(scope="module")
def podman():
    program = unpacked("podman", "podman")
    conmon = unpacked("conmon", "conmon")
    top = f"{TREE}/build/tests/podman-{os.getpid()}"
    os.makedirs(top)
    runroot = tempfile.mkdtemp(prefix="pod-")  # podman takes 50 characters
    with open(top + "/containers.conf", "w", encoding="ascii") as file:
        file.write(f'[engine]\nconmon_path = ["{conmon}"]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nnetwork_cmd_path = "/bin/false"\n')
    with open(top + "/storage.conf", "w", encoding="ascii") as file:
        file.write(f'[storage]\ndriver = "vfs"\ngraphroot = "{top}/root"\nrunroot = "{runroot}"\n')
    with open(top + "/policy.json", "w", encoding="ascii") as file:
        file.write('{"default":[{"type":"insecureAcceptAnything"}]}')
    env = {**ENV, "PATH": PATH, "CONTAINERS_CONF": top + "/containers.conf", "CONTAINERS_STORAGE_CONF": top + "/storage.conf", "HOME": top, "XDG_RUNTIME_DIR": top, "TMPDIR": top}

    def call(*args, **options):
        if args[0] == "load":
            args = ("load", "--signature-policy", top + "/policy.json", *args[1:])
        return run([program, "--root", top + "/root", "--runroot", runroot, "--tmpdir", top + "/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", *map(str, args)], env,
                   timeout=120, **options)
    yield call
    remove_tree(top)
    remove_tree(runroot)


@pytest.fixture(scope="module")
def dockerd(netns):
    program, client = unpacked("docker.io", "dockerd"), find_docker()
    unpacked("containerd", "containerd")
    if not client:
        pytest.skip("no Docker client")
    top = f"{TREE}/build/tests/dockerd-{os.getpid()}"
    os.makedirs(top)
    env = {**ENV, "PATH": PATH, "DOCKER_HOST": f"unix://{top}/d.sock", "DOCKER_CONFIG": top + "/config", "HOME": top}
    with open(top + "/log", "wb") as log:
        process = subprocess.Popen(netns.enter(["unshare", "--mount", "--propagation", "slave", program, "--data-root", top + "/data", "--exec-root", top + "/exec", "--pidfile", top + "/pid",
                                                "-H", env["DOCKER_HOST"], "--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "overlay2",
                                                "--insecure-registry", "127.0.0.0/8"]), env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def call(*args, **options):
        return run([client, *map(str, args)], env, timeout=120, **options)
    try:
        wait_for(lambda: process.poll() is not None or call("version", rc=None).rc == 0, "dockerd answers", 90, 0.1)
        with open(top + "/log", encoding="utf-8", errors="replace") as log:
            assert process.poll() is None, log.read()[-2000:]
        yield call
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        remove_tree(top)


@pytest.fixture
def ours(api, tmp_path):
    """An image of ours with two names, and an archive of it: (name, what inspect shows, path)."""
    api.post("/images/load?quiet=1", docker_archive(LAYERS, ["round/trip:1"]))
    shown = api.ok("GET", "/images/round/trip:1/json")
    path = tmp_path / "ours.tar"
    path.write_bytes(api.get("/images/round/trip:1/get").body)
    return "round/trip:1", shown, path


@pytest.fixture
def packed(api, tmp_path):
    """As ours, but with gzip layers, which go to a registry as they are."""
    layout = Layout()
    api.post("/images/load?quiet=1", layout.tar([layout.image(LAYERS, annotations={"org.opencontainers.image.ref.name": "round/packed:1"})]))
    path = tmp_path / "packed.tar"
    path.write_bytes(api.get("/images/round/packed:1/get").body)
    return "round/packed:1", api.ok("GET", "/images/round/packed:1/json"), path


def load(api, path):
    with open(path, "rb") as file:
        answer = api.post("/images/load?quiet=1", file.read())
    assert b"Loaded image" in answer.body and b"errorDetail" not in answer.body, answer
    return json.loads(answer.body.splitlines()[-1])["stream"].split(": ")[1].strip()


def forget(api, name):
    assert api.delete(f"/images/{name}?force=1").status == 200


def index_digest(path):
    with tarfile.open(path) as tar:
        return json.load(tar.extractfile("index.json"))["manifests"][0]["digest"]


def digest_of(raw):
    return "sha256:" + hashlib.sha256(raw).hexdigest()


# --- skopeo and umoci ---------------------------------------------------------------------------------

def test_skopeo_reads_what_we_save(api, skopeo, ours):
    name, shown, path = ours
    assert digest_of(skopeo("inspect", "--config", "--raw", f"docker-archive:{path}:{name}").raw) == shown["Id"]
    assert digest_of(skopeo("inspect", "--config", "--raw", f"oci-archive:{path}:1").raw) == shown["Id"]
    assert digest_of(skopeo("inspect", "--raw", f"oci-archive:{path}:1").raw) == shown["Descriptor"]["digest"]


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_skopeo_archives_load(api, skopeo, ours, tmp_path, transport):
    name, shown, path = ours
    skopeo("copy", f"docker-archive:{path}:{name}", f"{transport}:{tmp_path}/made.tar:skopeo/made:2")
    forget(api, name)
    assert load(api, tmp_path / "made.tar") == "skopeo/made:2"
    loaded = api.ok("GET", "/images/skopeo/made:2/json")
    # From a docker-archive to OCI the config is written anew; skopeo says which id it has then.
    source = f"{transport}:{tmp_path}/made.tar:skopeo/made:2"
    assert loaded["Id"] == digest_of(skopeo("inspect", "--config", "--raw", source).raw)
    assert loaded["RootFS"] == shown["RootFS"]
    if transport == "oci-archive":
        assert loaded["Descriptor"]["digest"] == index_digest(tmp_path / "made.tar") == digest_of(skopeo("inspect", "--raw", source).raw)
    else:
        assert loaded["Id"] == shown["Id"]


def test_skopeo_turns_our_archive_into_a_directory_and_back(api, skopeo, ours, tmp_path):
    _, shown, path = ours
    skopeo("copy", f"oci-archive:{path}:1", f"oci:{tmp_path}/layout:some")
    skopeo("copy", f"oci:{tmp_path}/layout:some", f"oci-archive:{tmp_path}/back.tar:round/back:1")
    assert load(api, tmp_path / "back.tar") == "round/back:1"
    back = api.ok("GET", "/images/round/back:1/json")
    assert (back["Id"], back["Descriptor"]["digest"]) == (shown["Id"], shown["Descriptor"]["digest"])


def test_skopeo_reads_the_store(api, engine, skopeo, ours):
    name, shown, _ = ours
    store = f"oci:{engine.data_root}/images"
    assert digest_of(skopeo("inspect", "--raw", f"{store}:{name}").raw) == shown["Descriptor"]["digest"]
    assert digest_of(skopeo("inspect", "--config", "--raw", f"{store}:{name}").raw) == shown["Id"]
    skopeo("copy", f"{store}:busybox:latest", f"oci:{engine.root}/copied:all")
    remove_tree(engine.root + "/copied")


def test_umoci_reads_the_store(engine, ours):
    name, shown, _ = ours
    if not shutil.which("umoci"):
        pytest.skip("Debian's umoci is not installed")
    assert name in run(["umoci", "list", "--layout", engine.data_root + "/images"]).out.split()
    stat = json.loads(run(["umoci", "stat", "--json", "--image", f"{engine.data_root}/images:{name}"]).out)
    assert [step["layer"]["digest"] for step in stat["history"] if step.get("layer")] and len(stat["history"]) == len(shown["RootFS"]["Layers"])


# --- a registry ---------------------------------------------------------------------------------------

def test_what_we_push_has_our_digest(api, registry, skopeo, packed, cli):
    _, shown, _ = packed
    remote = f"{registry.address}/{cli.name}/pushed:1"
    cli("tag", "round/packed:1", remote)
    assert f"digest: {shown['Descriptor']['digest']}" in cli.out("push", remote)
    raw = skopeo("inspect", "--tls-verify=false", "--raw", "docker://" + remote).raw
    assert digest_of(raw) == shown["Descriptor"]["digest"]
    assert digest_of(skopeo("inspect", "--tls-verify=false", "--config", "--raw", "docker://" + remote).raw) == shown["Id"]


def test_what_skopeo_pushed_has_its_digest_here(api, registry, skopeo, packed, cli):
    _, shown, path = packed
    remote = f"{registry.address}/{cli.name}/skopeo:1"
    skopeo("copy", "--dest-tls-verify=false", f"oci-archive:{path}:1", "docker://" + remote)
    digest = digest_of(skopeo("inspect", "--tls-verify=false", "--raw", "docker://" + remote).raw)
    cli("rmi", "round/packed:1")
    cli("pull", remote)
    pulled = api.ok("GET", f"/images/{remote}/json")
    assert pulled["RepoDigests"] == [f"{registry.address}/{cli.name}/skopeo@{digest}"] and pulled["Descriptor"]["digest"] == digest
    assert pulled["Id"] == shown["Id"]


def test_skopeo_copies_from_the_registry_what_we_pushed(api, registry, skopeo, packed, cli, tmp_path):
    _, shown, _ = packed
    remote = f"{registry.address}/{cli.name}/fetched:1"
    cli("tag", "round/packed:1", remote)
    cli("push", remote)
    skopeo("copy", "--src-tls-verify=false", "docker://" + remote, f"oci-archive:{tmp_path}/fetched.tar:fetched:1")
    cli("rmi", remote, "round/packed:1")
    assert load(api, tmp_path / "fetched.tar") == "fetched:1"
    again = api.ok("GET", "/images/fetched:1/json")
    assert (again["Id"], again["Descriptor"]["digest"]) == (shown["Id"], shown["Descriptor"]["digest"])


@pytest.mark.parametrize("form, kind", [("v2s2", "application/vnd.docker.distribution.manifest.v2+json"), ("oci", "application/vnd.oci.image.manifest.v1+json")])
def test_both_kinds_of_manifest_are_pulled_and_run(api, registry, skopeo, cli, form, kind):
    remote = f"{registry.address}/{cli.name}/{form}:1"
    skopeo("copy", "--dest-tls-verify=false", "--format", form, f"docker-archive:{IMAGES}/busybox.tar:busybox:latest", "docker://" + remote)
    raw = skopeo("inspect", "--tls-verify=false", "--raw", "docker://" + remote).raw
    cli("pull", remote)
    pulled = api.ok("GET", f"/images/{remote}/json")
    assert json.loads(raw)["mediaType"] == kind and pulled["RepoDigests"] == [remote.removesuffix(":1") + "@" + digest_of(raw)]
    assert pulled["Id"] == json.loads(raw)["config"]["digest"]
    assert cli.out("run", "--rm", remote, "echo", "runs") == "runs"


# --- podman -------------------------------------------------------------------------------------------

def test_podman_loads_what_we_save(podman, ours):
    name, shown, path = ours
    assert name in podman("load", "-i", path).out
    assert "sha256:" + podman("image", "inspect", "--format", "{{.Id}}", name).out.strip() == shown["Id"]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_archives_load(api, podman, ours, tmp_path, form):
    name, shown, path = ours
    podman("load", "-i", path)
    podman("save", "--format", form, "-o", tmp_path / "podman.tar", name)
    forget(api, name)
    loaded = api.ok("GET", f"/images/{load(api, tmp_path / 'podman.tar')}/json")
    assert loaded["RootFS"] == shown["RootFS"]
    assert loaded["Id"] == shown["Id"]
    if form == "oci-archive":
        assert loaded["Descriptor"]["digest"] == index_digest(tmp_path / "podman.tar")


# --- dockerd ------------------------------------------------------------------------------------------

def test_dockerd_loads_what_we_save(dockerd, ours):
    name, shown, path = ours
    assert f"Loaded image: {name}" in dockerd("load", "-i", path).out
    assert dockerd("image", "inspect", "-f", "{{.Id}}", name).out.strip() == shown["Id"]


def test_dockerd_archives_load(api, dockerd, ours, tmp_path):
    name, shown, path = ours
    dockerd("load", "-i", path)
    dockerd("tag", name, "round/second:1")
    dockerd("save", "-o", tmp_path / "docker.tar", name, "round/second:1")
    forget(api, name)
    load(api, tmp_path / "docker.tar")
    loaded = api.ok("GET", f"/images/{name}/json")
    assert loaded["Id"] == shown["Id"] and loaded["RepoTags"] == ["round/second:1", name]


def test_a_larger_image_goes_to_dockerd_and_back(api, dockerd, tmp_path):
    dockerd("load", "-i", f"{IMAGES}/nginx.tar")
    dockerd("tag", "nginx:latest", "round/nginx:1")
    dockerd("save", "-o", tmp_path / "nginx.tar", "round/nginx:1")
    load(api, tmp_path / "nginx.tar")
    assert api.ok("GET", "/images/round/nginx:1/json")["Id"] == api.ok("GET", "/images/nginx/json")["Id"]


def test_an_archive_from_before_1_10_has_the_id_that_dockerd_gives_it(api, dockerd, tmp_path):
    archive, _ = legacy_archive(LAYERS, "round/ancient", "1")
    (tmp_path / "ancient.tar").write_bytes(archive)
    dockerd("load", "-i", tmp_path / "ancient.tar")
    load_answer = api.post("/images/load", archive)
    assert b"Loaded image: round/ancient:1" in load_answer.body
    assert api.ok("GET", "/images/round/ancient:1/json")["Id"] == dockerd("image", "inspect", "-f", "{{.Id}}", "round/ancient:1").out.strip()


def test_an_import_has_the_same_layer_as_dockerds(api, dockerd):
    files = tar_of({"etc/name": b"imported\n"})
    theirs = dockerd("import", "-", "round/import:1", stdin=files)
    layers = json.loads(dockerd("image", "inspect", "-f", "{{json .RootFS.Layers}}", theirs.out.strip()).out)
    api.post("/images/create?fromSrc=-&repo=round/import&tag=1", files)
    assert api.ok("GET", "/images/round/import:1/json")["RootFS"]["Layers"] == layers == [sha256(files)]


def test_a_hand_made_layout_is_read_as_skopeo_reads_it(api, skopeo, tmp_path):
    layout = Layout()
    inner = layout.index([layout.image(LAYERS), layout.image([LAYERS[0]], "arm64")], annotations={"org.opencontainers.image.ref.name": "round/nested:1"})
    (tmp_path / "nested.tar").write_bytes(layout.tar([inner]))
    assert load(api, tmp_path / "nested.tar") == "round/nested:1"
    config = skopeo("inspect", "--override-arch", "amd64", "--override-os", "linux", "--config", "--raw", f"oci-archive:{tmp_path}/nested.tar:round/nested:1", rc=None)
    if config.rc == 0:
        assert digest_of(config.raw) == api.ok("GET", "/images/round/nested:1/json")["Id"]
