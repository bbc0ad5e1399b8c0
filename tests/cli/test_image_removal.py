# SPDX-License-Identifier: Apache-2.0
"""rmi and image prune: what Docker untags, deletes and refuses, in its words. Written so that Debian's dockerd passes as well
(CAISSON_TEST_REFERENCE=dockerd)."""
import json
import time
import urllib.parse

import pytest

from harness.archives import docker_archive, image_config, sha256, tar_of

BASE, TOP = tar_of({"base": b"below\n", "bin": b""}), tar_of({"top": b"above\n"})


@pytest.fixture
def image(api):
    """An image of two layers named gone/app:1."""
    assert b"Loaded" in api.post("/images/load", docker_archive([BASE, TOP], ["gone/app:1"])).body
    return api.ok("GET", "/images/gone/app:1/json")["Id"]


def short(ident):
    return ident.removeprefix("sha256:")[:12]


def stopped(cli, image, name="standing"):
    cli("create", "--name", name, image, "x")
    return cli.out("inspect", "-f", "{{.Id}}", name)


def delete(api, name, query=""):
    answer = api.delete(f"/images/{name}?{query}")
    return [tuple(entry.items())[0] for entry in answer.json] if answer.status == 200 else (answer.status, answer.message)


def chain(*diff_ids):
    ident = diff_ids[0]
    for diff_id in diff_ids[1:]:
        ident = sha256(f"{ident} {diff_id}".encode())
    return ident


LAYERS = [("Deleted", chain(sha256(BASE), sha256(TOP))), ("Deleted", sha256(BASE))]


def test_the_last_name_takes_the_image_along(api, image):
    assert delete(api, "gone/app:1") == [("Untagged", "gone/app:1"), ("Deleted", image), *LAYERS]
    assert delete(api, "gone/app:1") == (404, "No such image: gone/app:1")


@pytest.mark.parametrize("reference", ["id", "short", "prefix"])
def test_by_id_with_one_name(api, image, reference):
    name = {"id": image, "short": short(image), "prefix": image[:20]}[reference]
    assert delete(api, name) == [("Untagged", "gone/app:1"), ("Deleted", image), *LAYERS]


def test_one_name_of_several(cli, api, image):
    cli("tag", "gone/app:1", "gone/app:2")
    assert delete(api, "gone/app:1") == [("Untagged", "gone/app:1")]
    assert api.ok("GET", f"/images/{image}/json")["RepoTags"] == ["gone/app:2"]


def test_by_id_with_several_names(cli, api, image):
    cli("tag", "gone/app:1", "other/app:1")
    conflict = f"conflict: unable to delete {short(image)} (must be forced) - image is referenced in multiple repositories"
    assert delete(api, image) == (409, conflict)
    assert conflict in cli("rmi", short(image), rc=1).err
    told = delete(api, image, "force=1")
    assert sorted(told[:2]) == [("Untagged", "gone/app:1"), ("Untagged", "other/app:1")] and told[2:] == [("Deleted", image), *LAYERS]


def test_under_a_stopped_container_by_name(cli, api, image):
    user = stopped(cli, "gone/app:1")
    conflict = f'conflict: unable to remove repository reference "gone/app:1" (must force) - container {short(user)} is using its referenced image {short(image)}'
    assert delete(api, "gone/app:1") == (409, conflict)
    assert conflict in cli("rmi", "gone/app:1", rc=1).err
    assert delete(api, "gone/app:1", "force=1") == [("Untagged", "gone/app:1"), ("Deleted", image)]
    assert api.get(f"/images/{image}/json").status == 404


def test_under_a_stopped_container_by_id(cli, api, image):
    user = stopped(cli, "gone/app:1")
    assert delete(api, image) == (409, f"conflict: unable to delete {short(image)} (must be forced) - image is being used by stopped container {short(user)}")
    assert delete(api, image, "force=1") == [("Untagged", "gone/app:1"), ("Deleted", image)]


def test_a_container_outlives_its_image(cli, api):
    """What it stands on stays until it goes itself."""
    made = cli.out("commit", cli.out("run", "-d", "--name", "maker", "busybox", "sh", "-c", "echo mine > /mine"), "gone/own:1")
    cli("run", "--name", "survivor", "gone/own:1", "cat", "/mine")
    assert delete(api, "gone/own:1", "force=1")[-1] == ("Deleted", made)
    assert cli.out("start", "-a", "survivor") == "mine"
    assert cli.out("inspect", "-f", "{{.Image}}", "survivor") == made
    cli("rm", "survivor", "maker")
    assert cli("run", "--rm", made, "true", rc=125).err


def test_under_a_running_container(cli, api):
    cli("tag", "busybox", "gone/busy:1")
    image = api.ok("GET", "/images/gone/busy:1/json")["Id"]
    made = cli.out("commit", cli.out("create", "--name", "maker", "busybox", "sleep", "99"), "gone/runs:1")
    cli("rm", "maker")
    user = cli.out("run", "-d", "gone/runs:1")
    hard = f"conflict: unable to delete {short(made)} (cannot be forced) - image is being used by running container {short(user)}"
    assert delete(api, made) == (409, hard) and delete(api, made, "force=1") == (409, hard)
    assert delete(api, "gone/runs:1", "force=1") == [("Untagged", "gone/runs:1")]
    assert api.ok("GET", f"/images/{made}/json")["RepoTags"] == []
    cli("rm", "-f", user)
    assert delete(api, made)[0] == ("Deleted", made)
    assert delete(api, "gone/busy:1") == [("Untagged", "gone/busy:1")] and image


def committed(cli, parent, name):
    cli("create", "--name", "maker", parent, "x")
    try:
        return cli.out("commit", "-c", f"LABEL made={name}", "maker", *([name] if name else []))
    finally:
        cli("rm", "maker")


def test_an_image_with_children_stays(cli, api, image):
    child = committed(cli, "gone/app:1", "gone/child:1")
    hard = f"conflict: unable to delete {short(image)} (cannot be forced) - image has dependent child images"
    assert delete(api, image, "force=1") == (409, hard)
    assert delete(api, "gone/app:1") == [("Untagged", "gone/app:1")]
    assert api.get(f"/images/{image}/json").status == 200
    told = delete(api, "gone/child:1")
    assert told[:2] == [("Untagged", "gone/child:1"), ("Deleted", child)] and ("Deleted", image) in told
    assert told.index(("Deleted", child)) < told.index(("Deleted", image)) and told[-2:] == LAYERS


def test_noprune_keeps_the_parents(cli, api, image):
    child = committed(cli, "gone/app:1", "gone/child:1")
    delete(api, "gone/app:1")
    told = delete(api, "gone/child:1", "noprune=1")
    assert ("Deleted", child) in told and ("Deleted", image) not in told
    assert api.get(f"/images/{image}/json").status == 200
    assert ("Deleted", image) in delete(api, image)


def test_several_at_the_client(cli, image):
    cli("tag", "gone/app:1", "gone/app:2")
    done = cli("rmi", "gone/app:1", "gone/nothing:1", "gone/app:2", rc=1)
    assert done.out.splitlines()[:2] == ["Untagged: gone/app:1", "Untagged: gone/app:2"] and f"Deleted: {image}" in done.out
    assert "No such image: gone/nothing:1" in done.err
    assert cli("rmi", "-f", "gone/nothing:1").out == ""


def test_events_of_a_removal(cli, api, image):
    cli("tag", "gone/app:1", "gone/app:2")
    since = time.time() - 0.001
    delete(api, image, "force=1")
    events = [json.loads(line) for line in api.get(f"/events?since={since:.6f}&until={time.time():.6f}").body.decode().splitlines()]
    # The tag may have been told in the same millisecond.
    assert [event["Action"] for event in events if event["Actor"]["ID"] == image and event["Action"] != "tag"] == ["untag", "untag", "delete"]


def prune(api, **filters):
    answer = api.ok("POST", "/images/prune?filters=" + urllib.parse.quote(json.dumps(filters)))
    return [tuple(entry.items())[0] for entry in answer["ImagesDeleted"] or []], answer["SpaceReclaimed"]


def test_prune_takes_what_has_no_name(cli, api, image):
    delete_name = docker_archive([BASE, TOP], None, config=image_config([BASE, TOP], Labels={"nameless": "yes"}))
    api.post("/images/load", delete_name)
    nameless = sha256(image_config([BASE, TOP], Labels={"nameless": "yes"}))
    cli("create", "--name", "holder", image, "x")
    told, _ = prune(api)
    assert ("Deleted", nameless) in told and ("Deleted", image) not in told
    assert api.get(f"/images/{nameless}/json").status == 404 and api.get("/images/gone/app:1/json").status == 200


def test_prune_filters(cli, api):
    kept = {tag for entry in api.ok("GET", "/images/json") for tag in entry["RepoTags"] or []}
    for name in kept:
        cli("create", "--name", "hold-" + name.split(":")[0], name, "x")
    for number, labels in enumerate([{"a": "1"}, {"a": "2", "keep": ""}, {}]):
        layer = tar_of({"n": str(number).encode()})
        api.post("/images/load", docker_archive([layer], [f"pruned/n:{number}"], config=image_config([layer], Labels=labels)))

    def gone(**filters):
        return sorted(name for kind, name in prune(api, dangling=["false"], **filters)[0] if kind == "Untagged")
    assert gone(until=["2024-04-01"]) == []
    assert gone(label=["a=2"], **{"label!": ["keep"]}) == []
    assert gone(label=["a"], **{"label!": ["keep"]}) == ["pruned/n:0"]
    assert gone(**{"label!": ["keep"]}) == ["pruned/n:2"]
    assert gone(until=["2024-05-02"]) == ["pruned/n:1"]


@pytest.mark.parametrize("filters, words", [({"nonsense": ["1"]}, "invalid filter 'nonsense'"), ({"dangling": ["maybe"]}, "dangling"), ({"until": ["1h", "2h"]}, "until"),
                                            ({"until": ["x"]}, "x")])
def test_bad_prune_filters(api, filters, words):
    answer = api.post("/images/prune?filters=" + urllib.parse.quote(json.dumps(filters)))
    assert answer.status in (400, 500) and words in answer.message.lower()


def test_prune_at_the_client(cli, api, image):
    for name in {tag for entry in api.ok("GET", "/images/json") for tag in entry["RepoTags"] or []} - {"gone/app:1"}:
        cli("create", "--name", "hold-" + name.split(":")[0], name, "x")
    assert cli.out("image", "prune", "-f") == "Total reclaimed space: 0B"
    done = cli.out("image", "prune", "-a", "-f", "--filter", "label!=nothing")
    assert done.splitlines()[:3] == ["Deleted Images:", "untagged: gone/app:1", f"deleted: {image}"] and "Total reclaimed space: " in done
