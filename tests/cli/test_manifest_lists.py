# SPDX-License-Identifier: Apache-2.0
"""manifest create, annotate, push, rm: lists of images of several machines, in Debian's docker-registry and in our own."""
import json

import pytest

from harness.clients import docker_version, find_docker
from harness.distribution import Distribution
from harness.shell import run
from harness.store import sha256

PORT = 5913
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Place:
    """A registry, and what is in it as the registry itself says."""

    def __init__(self, address, netns):
        self.address, self.http = address, Distribution(netns, int(address.split(":")[1]))

    def raw(self, name, reference, accept=f"{LIST}, {INDEX}"):
        answer = self.http("GET", f"/v2/{name}/manifests/{reference}", Accept=accept)
        assert answer.status == 200, answer
        return answer


@pytest.fixture(params=["docker-registry", "ours"])
def place(request, engine, netns):
    if request.param == "docker-registry":
        yield Place(request.getfixturevalue("registry").address, netns)
        return
    engine.api.ok("POST", "/caisson/registry", {"Listen": f"127.0.0.1:{PORT}"})
    yield Place(f"127.0.0.1:{PORT}", netns)
    client = Distribution(netns, PORT)
    for name in engine.api.ok("GET", "/caisson/registry")["Repositories"]:
        for tag in client("GET", f"/v2/{name}/tags/list").json["tags"]:
            client("DELETE", f"/v2/{name}/manifests/{tag}")
    engine.api.ok("POST", "/caisson/registry/prune")
    engine.api.ok("DELETE", "/caisson/registry")


@pytest.fixture
def pushed(caisson, place):
    """Two images of a repository."""
    names = [f"{place.address}/lists/x:{tag}" for tag in ("small", "large")]
    for image, name in zip(("busybox", "debian"), names):
        caisson("tag", image, name)
        caisson("push", name, timeout=120)
        caisson("rmi", name)
    return names


def own_docker(netns, caisson):
    """Docker's client beside the registry: it speaks to it by itself. It shares the lists of `caisson`."""
    program = find_docker()
    if not program:
        pytest.skip("no docker client: none on PATH and none unpacked from Debian")
    return lambda *args, rc=0: run(netns.enter([program, "manifest", *args]), caisson.env, rc=rc, timeout=60)


def test_a_list_of_two_images(caisson, engine, place, pushed):
    small, large = pushed
    name = f"{place.address}/lists/x:both"
    assert caisson.out("manifest", "create", name, small, large) == "Created manifest list " + name
    caisson("manifest", "annotate", name, large, "--arch", "arm64", "--variant", "v8", "--os-features", "a,b", "--os-version", "1")
    shown = json.loads(caisson.out("manifest", "inspect", name))
    assert shown["mediaType"] in (LIST, INDEX)
    arm, amd = shown["manifests"]  # by the names of the images
    assert amd["platform"] == {"architecture": "amd64", "os": "linux"}
    assert arm["platform"] == {"architecture": "arm64", "os": "linux", "os.version": "1", "os.features": ["a", "b"], "variant": "v8"}
    assert json.loads(caisson.out("manifest", "inspect", "-v", name, large))["Descriptor"]["platform"] == arm["platform"]
    assert json.loads(caisson.out("manifest", "inspect", name, small))["config"]
    digest = caisson.out("manifest", "push", name)
    served = place.raw("lists/x", "both")
    assert served.headers["Content-Type"] == shown["mediaType"] and sha256(served.body) == digest and served.json == shown
    # By the list this machine gets its own.
    caisson("pull", name)
    assert caisson.out("image", "inspect", "-f", "{{.Id}}", name) == caisson.out("image", "inspect", "-f", "{{.Id}}", "busybox")
    caisson("manifest", "push", "--purge", name)
    assert "No such manifest: " + name in caisson("manifest", "push", name, rc=1).err
    assert json.loads(caisson.out("manifest", "inspect", name)) == shown  # now from the registry


def test_images_of_other_repositories_are_brought_over(caisson, place, pushed):
    name = f"{place.address}/elsewhere/list:1"
    caisson("manifest", "create", name, *pushed)
    caisson("manifest", "annotate", name, pushed[1], "--arch", "s390x")
    out = caisson.out("manifest", "push", "-p", name).splitlines()
    assert len(out) == 3 and all(line.startswith(f"Pushed ref {place.address}/elsewhere/list@sha256:") for line in out[:2])
    for entry in place.raw("elsewhere/list", "1").json["manifests"]:
        manifest = place.raw("elsewhere/list", entry["digest"], entry["mediaType"])
        assert sha256(manifest.body) == entry["digest"] and len(manifest.body) == entry["size"]
        for blob in [manifest.json["config"], *manifest.json["layers"]]:
            assert place.http("HEAD", f"/v2/elsewhere/list/blobs/{blob['digest']}").status == 200


def test_what_is_refused(caisson, place, pushed):
    name, small = f"{place.address}/lists/x:refused", pushed[0]

    def refused(*args):
        return caisson("manifest", *args, rc=1).err.strip()
    assert refused("create", name, f"{place.address}/lists/none:1") == f"no such manifest: {place.address}/lists/none:1"
    assert refused("create", "a b", small) == "error parsing name for manifest list a b: invalid reference format"
    assert refused("annotate", name, small, "--arch", "arm64") == f"manifest for image {small} does not exist in {name}"
    caisson("manifest", "create", name, small)
    assert refused("create", name, pushed[1]) == "refusing to amend an existing manifest list with no --amend flag"
    caisson("manifest", "create", "-a", name, pushed[1])
    assert len(json.loads(caisson.out("manifest", "inspect", name))["manifests"]) == 2
    assert refused("annotate", name, small, "--arch", "abacus") == "manifest entry for image has unsupported os/arch combination: /abacus"
    caisson("manifest", "create", "other.example/x:1", small)
    assert refused("push", "other.example/x:1") == \
        f"cannot use source images from a different registry than the target image: {place.address} != other.example"
    assert refused("rm", "no/such:1", name) == "No such manifest: docker.io/no/such:1"
    assert refused("inspect", name, small) == "No such manifest: " + small
    caisson("manifest", "create", name, *pushed)
    caisson("manifest", "push", name)
    caisson("manifest", "rm", name)
    assert refused("create", f"{place.address}/lists/x:nested", name) == name + " is a manifest list"


def test_dockers_client_does_the_same(caisson, netns, place, pushed):
    """Against the registry by itself; lists are shared between the clients, and the same digest comes out."""
    docker = own_docker(netns, caisson)
    name = f"{place.address}/lists/x:docker"
    assert docker("create", "--insecure", name, *pushed).out.strip() == "Created manifest list " + name
    docker("annotate", name, pushed[1], "--arch", "arm64", "--variant", "v8")
    theirs = docker("inspect", "--insecure", name).out
    if docker_version(find_docker()) >= 23:
        assert caisson("manifest", "inspect", name).out == theirs
        assert caisson("manifest", "inspect", "-v", name).out == docker("inspect", "-v", "--insecure", name).out
        assert caisson("manifest", "inspect", pushed[0]).out == docker("inspect", "--insecure", pushed[0]).out
    digest = docker("push", "--insecure", name).out.split()[-1]
    assert sha256(place.raw("lists/x", "docker").body) == digest
    if docker_version(find_docker()) >= 23:
        assert caisson.out("manifest", "push", name) == digest
    caisson("manifest", "rm", name)
    assert "No such manifest" in docker("rm", name, rc=1).err
    caisson("manifest", "create", name, *pushed)
    assert len(json.loads(docker("inspect", "--insecure", name).out)["manifests"]) == 2
    docker("push", "--purge", "--insecure", name)
    assert [m["platform"]["architecture"] for m in json.loads(caisson.out("manifest", "inspect", name))["manifests"]] == ["amd64", "amd64"]
