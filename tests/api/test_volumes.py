# SPDX-License-Identifier: Apache-2.0
"""The Volume family, image and system prune, and system df against the disk."""
import json
import os
import stat
import time

import pytest

from harness.shell import wait_for


@pytest.fixture
def volume(api):
    """Makes volumes and removes them."""
    made = []

    def make(name, **fields):
        answer = api.post("/volumes/create", {"Name": name, **fields})
        assert answer.status == 201, answer.body
        made.append(answer.json["Name"])
        return answer.json
    yield make
    for name in made:
        for user in api.get(f'/containers/json?all=1&filters={{"volume":["{name}"]}}').json:
            api.delete(f"/containers/{user['Id']}?force=1")
        api.delete(f"/volumes/{name}?force=1")


def test_volume_create_inspect_remove(api, volume):
    made = volume("data-1", Labels={"a": "b"})
    assert made["Name"] == "data-1" and made["Driver"] == "local" and made["Labels"] == {"a": "b"} and made["Scope"] == "local"
    assert os.path.isdir(made["Mountpoint"])
    assert api.get("/volumes/data-1").json == made
    # Again with the same name is the same volume.
    assert volume("data-1", Labels={"c": "d"}) == made
    assert api.delete("/volumes/data-1").status == 204
    assert not os.path.exists(made["Mountpoint"])
    assert api.get("/volumes/data-1").status == 404
    assert api.delete("/volumes/data-1").status == 404
    assert api.delete("/volumes/data-1?force=1").status == 204


def test_volume_without_a_name(api, volume):
    made = volume("")
    assert len(made["Name"]) == 64 and "com.docker.volume.anonymous" in made["Labels"]


@pytest.mark.parametrize("body, status", [
    ({"Name": "../x"}, 400), ({"Name": "a/b"}, 400), ({"Name": ".hidden"}, 400), ({"Name": "x"}, 400), ({"Name": "n" * 256}, 400),
    ({"Name": 5}, 400), ({"Name": "ok", "Labels": ["a"]}, 400), ({"Name": "ok", "Driver": "other"}, 404),
    ({"Name": "ok", "DriverOpts": {"type": "tmpfs"}}, 501), ({"Name": "ok", "ClusterVolumeSpec": {}}, 503),
])
def test_volume_create_refuses(api, body, status):
    answer = api.post("/volumes/create", body)
    assert answer.status == status and answer.json["message"]
    assert api.get("/volumes/ok").status == 404


def test_volume_in_use(api, cli, volume):
    volume("busy")
    cli("run", "-d", "--name", "user", "-v", "busy:/data", "busybox", "sleep", "99")
    answer = api.delete("/volumes/busy")
    assert answer.status == 409 and "volume is in use" in answer.json["message"]
    cli("rm", "-f", "user")
    assert api.delete("/volumes/busy").status == 204


def test_volume_filters(api, cli, volume):
    volume("one-a", Labels={"tier": "db"})
    volume("two-b", Labels={"tier": "web"})
    cli("create", "--name", "user", "-v", "one-a:/data", "busybox")

    def names(filters):
        answer = api.get("/volumes?filters=" + filters)
        assert answer.status == 200, answer.body
        return [v["Name"] for v in answer.json["Volumes"] if v["Name"] in ("one-a", "two-b")]
    assert names("{}") == ["one-a", "two-b"]
    assert names('{"dangling":["true"]}') == ["two-b"] and names('{"dangling":["false"]}') == ["one-a"]
    assert names('{"label":["tier=db"]}') == ["one-a"] and names('{"name":["b$"]}') == ["two-b"]
    assert names('{"driver":["local"]}') == ["one-a", "two-b"] and names('{"driver":["x"]}') == []
    assert api.get('/volumes?filters={"what":["x"]}').status == 400
    assert api.get('/volumes?filters={"dangling":["perhaps"]}').status == 400


def test_volume_prune_takes_anonymous_ones_only(api, volume):
    volume("named-1")
    anonymous = volume("")["Name"]
    with open(api.get(f"/volumes/{anonymous}").json["Mountpoint"] + "/file", "w", encoding="ascii") as file:
        file.write("x" * 1000)
    answer = api.post("/volumes/prune").json
    assert answer["VolumesDeleted"] == [anonymous] and answer["SpaceReclaimed"] == 1000
    assert api.get("/volumes/named-1").status == 200
    answer = api.post('/volumes/prune?filters={"all":["1"],"label!":["keep"]}').json
    assert answer["VolumesDeleted"] == ["named-1"]
    # Before 1.42 all unused ones went.
    volume("named-2")
    assert api.post("/v1.41/volumes/prune").json["VolumesDeleted"] == ["named-2"]


def test_volume_events(api, volume):
    since = time.time() - 0.001
    volume("told")
    api.delete("/volumes/told")
    lines = api.get(f'/events?since={since:.6f}&until={time.time():.6f}&filters={{"type":["volume"]}}').body.decode().splitlines()
    lines = [json.loads(line) for line in lines]
    assert [(e["Action"], e["Actor"]["ID"]) for e in lines] == [("create", "told"), ("destroy", "told")]


# --- images -----------------------------------------------------------------------------------------

def test_image_prune(api, cli):
    cli("run", "--name", "changer", "busybox", "touch", "/one")
    dangling = cli.out("commit", "changer")
    cli.out("commit", "-c", "LABEL keep=1", "changer", "named:1")
    answer = api.post('/images/prune?filters={"label":["keep"]}').json
    assert not answer["ImagesDeleted"]
    answer = api.post("/images/prune").json
    assert {"Deleted": dangling} in answer["ImagesDeleted"]
    assert cli("image", "inspect", "named:1").rc == 0
    assert api.post('/images/prune?filters={"dangling":["false"],"until":["2001-01-01"]}').json["SpaceReclaimed"] == 0
    answer = api.post('/images/prune?filters={"dangling":["false"],"label":["keep=1"]}').json
    assert {"Untagged": "named:1"} in answer["ImagesDeleted"] and answer["SpaceReclaimed"] > 0
    assert cli("image", "inspect", "named:1", rc=1)
    for filters in ('{"dangling":["x"]}', '{"what":["x"]}', '{"until":["x"]}', "[1"):
        assert api.post("/images/prune?filters=" + filters).status == 400


@pytest.mark.no_leak_check
def test_system_prune(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    client("run", "--name", "gone", "-v", "/anonymous", "busybox", "sh", "-c", "echo x > /anonymous/x; dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null")
    client("run", "-d", "--name", "stays", "busybox", "sleep", "99")
    client("commit", "gone")
    client("volume", "create", "named")
    out = client.out("system", "prune", "-f", "--volumes")
    assert "Deleted Containers:" in out and "Deleted Images:" in out and out.splitlines()[-1].startswith("Total reclaimed space: ")
    assert client.out("ps", "-a", "--format", "{{.Names}}") == "stays"
    assert client.out("volume", "ls", "-q") == "named"
    client("system", "prune", "-a", "-f")
    assert client.out("images", "-q") != ""  # its container runs
    client("rm", "-f", "stays")
    out = client.out("system", "prune", "-a", "-f")
    assert client.out("images", "-q") == "" and "untagged: busybox:latest" in out
    answer = client("system", "prune", stdin="n\n", rc=None)
    assert "WARNING! This will remove:" in answer.out and "Total" not in answer.out


# --- system df --------------------------------------------------------------------------------------

def bytes_below(path):
    seen, total = set(), 0
    for folder, _, names in os.walk(path):
        for name in names:
            st = os.lstat(f"{folder}/{name}")
            if stat.S_ISREG(st.st_mode) and (st.st_dev, st.st_ino) not in seen:
                seen.add((st.st_dev, st.st_ino))
                total += st.st_size
    return total


@pytest.mark.no_leak_check
def test_system_df_is_what_lies_on_the_disk(own_engine, client_of):
    engine = own_engine(images=("busybox", "debian"))
    client = client_of(engine)
    client("run", "--name", "writer", "-v", "store:/store", "busybox", "sh", "-c",
           "dd if=/dev/urandom of=/mine bs=1000 count=3000 2>/dev/null; dd if=/dev/urandom of=/store/x bs=1000 count=2000 2>/dev/null; ln /mine /again; seq 50000")
    client("commit", "writer", "derived:1")
    client("run", "-d", "--name", "runs", "derived:1", "sleep", "99")
    df = engine.api.get("/system/df").json
    by_name = {c["Names"][0]: c for c in df["Containers"]}
    assert by_name["/writer"]["SizeRw"] - 3000000 in range(0, 1000)
    volume, = df["Volumes"]
    assert volume["UsageData"] == {"Size": 2000000, "RefCount": 1}
    # Unique and shared parts of the images make up the whole.
    shared = [i["SharedSize"] for i in df["Images"] if i["SharedSize"]]
    assert sum(i["Size"] - i["SharedSize"] for i in df["Images"]) + max(shared) == df["LayersSize"]
    assert {tuple(i["RepoTags"]): i["Containers"] for i in df["Images"]} == {("busybox:latest",): 1, ("debian:latest",): 0, ("derived:1",): 1}
    root = engine.data_root
    assert df["LayersSize"] == bytes_below(root + "/layers") + bytes_below(root + "/images/blobs")
    told = df["LayersSize"] + df["LogsSize"] + sum(c["SizeRw"] for c in df["Containers"]) + sum(v["UsageData"]["Size"] for v in df["Volumes"])
    assert abs(bytes_below(root) - told) < 0.05 * told
    for kind, field in (("image", "Images"), ("container", "Containers"), ("volume", "Volumes")):
        part = engine.api.get(f"/system/df?type={kind}").json
        assert part[field] and not any(part[other] for other in ("Images", "Containers", "Volumes") if other != field)
    assert engine.api.get("/system/df?type=what").status == 400
    rows = client.out("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}").splitlines()
    assert rows[:4] == ["Images 3 2", "Containers 2 1", "Local Volumes 1 1", "Build Cache 0 0"]
    assert "store" in client.out("system", "df", "-v")


# --- the commands -----------------------------------------------------------------------------------

def test_volume_commands(cli, api):
    assert cli.out("volume", "create", "--label", "a=b", "box-1") == "box-1"
    anonymous = cli.out("volume", "create")
    assert cli.out("volume", "ls", "-q", "--filter", "name=box").splitlines() == ["box-1"]
    assert cli("volume", "ls", "--filter", "name=box").out == "DRIVER    VOLUME NAME\nlocal     box-1\n"
    assert cli.out("volume", "ls", "--filter", "label=a", "--format", '{{.Name}} {{.Label "a"}} {{.Labels}}') == "box-1 b a=b"
    assert cli.out("volume", "inspect", "-f", "{{.Mountpoint}}", "box-1").endswith("/volumes/box-1/_data")
    assert cli("volume", "inspect", "nothing", rc=1).out.strip() == "[]"
    assert cli.out("volume", "rm", "box-1") == "box-1"
    assert "no such volume" in cli("volume", "rm", "box-1", rc=1).err
    assert cli.out("volume", "rm", "-f", "box-1") == "box-1"
    assert anonymous in cli.out("volume", "prune", "-f")
    wait_for(lambda: api.get(f"/volumes/{anonymous}").status == 404, "it is gone")
