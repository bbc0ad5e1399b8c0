# SPDX-License-Identifier: Apache-2.0
"""images, image inspect, history: filters, parameters, and what older versions of the API have."""
import json
import time
import urllib.parse

import pytest

from harness.archives import docker_archive, image_config, sha256, tar_of

LAYER = tar_of({"file": b"x\n"})


@pytest.fixture
def images(api):
    """Three images, an hour of creation apart, with labels; the last without a name."""
    made = {}
    for hour, (name, labels) in enumerate([("list/old:1", {"kind": "a"}), ("list/new:1", {"kind": "b", "extra": ""}), (None, {"kind": "c"})]):
        config = json.loads(image_config([LAYER], Labels=labels))
        config["created"] = f"2024-05-01T1{hour}:00:00Z"
        text = json.dumps(config).encode()
        assert api.post("/images/load?quiet=1", docker_archive([LAYER], [name] if name else None, config=text)).status == 200
        made[name or "none"] = sha256(text)
    return made


def listed(api, query="", version="", **filters):
    if filters:
        query += "&filters=" + urllib.parse.quote(json.dumps(filters))
    return [image["Id"] for image in api.ok("GET", f"{version}/images/json?{query}")]


def named(images, ids):
    return [name for name in images if images[name] in ids]


@pytest.mark.parametrize("filters, expected", [
    ({"dangling": ["true"]}, ["none"]), ({"dangling": {"1": True}}, ["none"]), ({"dangling": ["false"]}, ["list/old:1", "list/new:1"]),
    ({"label": ["kind"]}, ["list/old:1", "list/new:1", "none"]), ({"label": ["kind=b"]}, ["list/new:1"]), ({"label": ["kind", "extra"]}, ["list/new:1"]),
    ({"label": ["kind=none"]}, []), ({"reference": ["list/*"]}, ["list/old:1", "list/new:1"]), ({"reference": ["list/n?w"]}, ["list/new:1"]),
    ({"reference": ["*"]}, []), ({"reference": ["*/*:1"]}, ["list/old:1", "list/new:1"]), ({"reference": ["list/[a-n]*"]}, ["list/new:1"]),
    ({"reference": ["list/old", "list/new"]}, ["list/old:1", "list/new:1"]),
    ({"before": ["list/new:1"]}, ["list/old:1"]), ({"since": ["list/old:1"]}, ["list/new:1", "none"]), ({"before": ["list/new:1"], "since": ["list/old:1"]}, []),
    ({"until": ["2024-05-01T10:30:00Z"]}, ["list/old:1"]), ({"until": ["2024-05-01"]}, []), ({"until": ["24h"]}, ["list/old:1", "list/new:1", "none"]),
])
def test_filters(api, images, filters, expected):
    assert named(images, listed(api, **filters)) == expected


@pytest.mark.parametrize("filters, status, words", [
    ({"nonsense": ["x"]}, 400, "invalid filter 'nonsense'"), ({"dangling": ["maybe"]}, 400, "invalid filter 'dangling=[maybe]'"),
    ({"dangling": ["true", "false"]}, 400, "invalid filter"), ({"until": ["yesterday"]}, 400, "until"), ({"reference": ["a["]}, 400, "syntax error in pattern"),
    ({"before": ["no/such:image"]}, 404, "No such image: no/such:image"), ({"since": ["no/such"]}, 404, "No such image: no/such:latest"), ({"label": "x"}, 400, "filter")])
def test_bad_filters(api, filters, status, words):
    answer = api.get("/images/json?filters=" + urllib.parse.quote(json.dumps(filters)))
    assert answer.status == status and words in answer.message


def test_bad_filters_at_the_client(cli):
    assert "invalid filter 'nonsense'" in cli("images", "-f", "nonsense=1", rc=1).err
    assert "no/such" in cli("images", "-f", "before=no/such", rc=1).err


def test_filters_at_the_client(cli, images):
    def rows(*args):
        return cli.out("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}}", *args).splitlines()
    assert rows("list/*") == ["list/new:1", "list/old:1"]
    assert rows("-f", "label=kind=a") == ["list/old:1"]
    assert rows("-f", "dangling=true") == ["<none>:<none>"]
    assert rows("-f", "since=list/old:1", "-f", "reference=list/*") == ["list/new:1"]
    assert cli.out("images", "-q", "--no-trunc", "-f", "dangling=true") == images["none"]


def test_the_newest_is_first(api, images):
    ids = listed(api)
    assert sorted((images["none"], images["list/new:1"], images["list/old:1"]), key=ids.index) == [images["none"], images["list/new:1"], images["list/old:1"]]


def test_intermediate_images_are_shown_with_all(cli, api, images):
    cli("create", "--name", "child-maker", images["none"], "x")
    child = cli.out("commit", "child-maker", "list/child:1")
    cli("rm", "child-maker")
    assert images["none"] not in listed(api) and images["none"] in listed(api, "all=1")
    assert images["none"] not in listed(api, dangling=["true"])
    entry = next(image for image in api.ok("GET", "/images/json") if image["Id"] == child)
    assert entry["ParentId"] == images["none"] and api.ok("GET", f"/images/{child}/json")["Parent"] == images["none"]


def test_shared_sizes_only_when_asked(api, images):
    plain = {image["Id"]: image["SharedSize"] for image in api.ok("GET", "/images/json")}
    shared = {image["Id"]: image["SharedSize"] for image in api.ok("GET", "/images/json?shared-size=1")}
    assert set(plain.values()) == {-1}
    assert shared[images["none"]] == shared[images["list/old:1"]] == 2


def test_manifests_when_asked(api, images):
    entry = next(i for i in api.ok("GET", "/images/json?manifests=1") if i["Id"] == images["list/old:1"])
    manifest, = entry["Manifests"]
    assert manifest["ID"] == entry["Descriptor"]["digest"] == manifest["Descriptor"]["digest"]
    assert manifest["Available"] and manifest["Kind"] == "image" and manifest["ImageData"]["Platform"] == {"architecture": "amd64", "os": "linux"}
    assert manifest["Size"]["Total"] == manifest["Size"]["Content"] + manifest["ImageData"]["Size"]["Unpacked"] and manifest["ImageData"]["Size"]["Unpacked"] == 2
    shown = api.ok("GET", "/images/list/old:1/json?manifests=1")
    assert shown["Manifests"] == entry["Manifests"] and "Manifests" not in api.ok("GET", "/images/list/old:1/json")


def test_containers_of_an_image_are_counted(cli, api, images):
    cli("create", "--name", "counted", "list/old:1", "x")
    ident = cli.out("inspect", "-f", "{{.Id}}", "counted")
    entry = next(i for i in api.ok("GET", "/images/json?manifests=1") if i["Id"] == images["list/old:1"])
    assert entry["Containers"] == 1 and entry["Manifests"][0]["ImageData"]["Containers"] == [ident]


def test_old_versions_have_the_shapes_of_their_time(api, images):
    def entry(version, name="list/old:1"):
        return next(i for i in api.ok("GET", f"/v1.{version}/images/json") if i["Id"] == images[name])
    assert "VirtualSize" in entry(43) and "VirtualSize" not in entry(44)
    assert "Descriptor" not in entry(47) and "Descriptor" in entry(48)
    assert entry(50)["Containers"] == -1 and entry(51)["Containers"] == 0
    assert entry(42, "none")["RepoTags"] == ["<none>:<none>"] and entry(43, "none")["RepoTags"] == []
    assert "Descriptor" not in api.ok("GET", "/v1.47/images/list/old:1/json")
    assert "Manifests" not in next(iter(api.ok("GET", "/v1.46/images/json?manifests=1")))
    assert named(images, [i["Id"] for i in api.ok("GET", "/v1.24/images/json?filter=list/old")]) == ["list/old:1"]
    assert len(api.ok("GET", "/v1.41/images/json?filter=list/old")) >= 3


def test_platform_of_inspect_and_history(api, images):
    arm, amd = (urllib.parse.quote(json.dumps({"os": "linux", "architecture": a})) for a in ("arm64", "amd64"))
    for path in ("json", "history"):
        assert api.get(f"/images/list/old:1/{path}?platform={amd}").status == 200
        answer = api.get(f"/images/list/old:1/{path}?platform={arm}")
        assert answer.status == 404 and "does not match the specified platform (linux/arm64)" in answer.message
        assert api.get(f"/images/list/old:1/{path}?platform=linux").status == 400
        assert api.get(f"/images/list/old:1/{path}?platform=%7B%22os%22:%22linux%22%7D").message == "both OS and Architecture must be provided"
        assert api.get(f"/v1.47/images/list/old:1/{path}?platform={arm}").status == 200
    assert api.get(f"/images/list/old:1/json?platform={amd}&manifests=1").status == 400


def test_platform_at_the_client(caisson, images):
    assert caisson.out("image", "inspect", "--platform", "linux/amd64", "-f", "{{.Id}}", "list/old:1") == images["list/old:1"]
    assert "specified platform (linux/arm64)" in caisson("image", "inspect", "--platform", "linux/arm64", "list/old:1", rc=1).err
    assert "specified platform (linux/arm64)" in caisson("history", "--platform", "linux/arm64", "list/old:1", rc=1).err
    assert "specified platform (linux/arm64)" in caisson("save", "--platform", "linux/arm64", "list/old:1", rc=1).err
    assert "invalid platform" in caisson("history", "--platform", "a/b/c/d", "list/old:1", rc=1).err


def test_inspect_has_every_field(api, images):
    before = time.time()
    api.post("/images/list/old:1/tag?repo=list/again&tag=1")
    shown = api.ok("GET", "/images/list/again:1/json")
    assert shown["RepoTags"] == ["list/again:1", "list/old:1"] and shown["RepoDigests"] == []
    assert shown["Created"] == "2024-05-01T10:00:00Z" and shown["Size"] == 2
    assert shown["RootFS"] == {"Type": "layers", "Layers": [sha256(LAYER)]}
    assert shown["GraphDriver"]["Name"] == "overlay2" and shown["GraphDriver"]["Data"]["UpperDir"]
    assert shown["Descriptor"]["mediaType"] == "application/vnd.oci.image.manifest.v1+json" and shown["Descriptor"]["size"] > 0
    stamp = shown["Metadata"]["LastTagTime"]
    assert stamp.startswith(time.strftime("%Y-", time.gmtime(before)))


def test_tree(caisson, images):
    lines = caisson.out("images", "--tree", "list/old").splitlines()
    assert lines[0].split("  ")[0] == "IMAGE" and "DISK USAGE" in lines[0]
    assert [line.split()[0] for line in lines[1:] if line] == ["list/old:1", "└─"] and "linux/amd64" in lines[-1]
    assert "--quiet is not yet supported with --tree" in caisson("images", "--tree", "-q", rc=1).err


@pytest.mark.parametrize("repo, tag, status", [("Upper", "1", 400), ("a", "!", 400), ("a@sha256:" + 64 * "0", "", 400), ("good/name", "", 201), ("host:5000/x", "v1.0-rc_1", 201)])
def test_tag_rules(api, images, repo, tag, status):
    answer = api.post(f"/images/list/old:1/tag?repo={repo}&tag={tag}")
    assert answer.status == status, answer
    if status == 201:
        assert api.ok("GET", f"/images/{repo}:{tag or 'latest'}/json")["Id"] == images["list/old:1"]


def test_a_tag_moves_from_image_to_image(cli, api, images):
    cli("tag", "list/old:1", "list/moves:1")
    cli("tag", "list/new:1", "list/moves:1")
    assert api.ok("GET", "/images/list/moves:1/json")["Id"] == images["list/new:1"]
    assert api.ok("GET", "/images/list/old:1/json")["RepoTags"] == ["list/old:1"]
