# SPDX-License-Identifier: Apache-2.0
"""Ping, version, versions in the path, info."""
import pytest

HEADERS = {"Api-Version": "1.51", "Ostype": "linux", "Docker-Experimental": "false"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping(api, method):
    answer = api.request(method, "/_ping")
    assert answer.status == 200 and answer.body == (b"OK" if method == "GET" else b"")
    for name, value in HEADERS.items():
        assert answer.headers[name] == value, name
    assert answer.headers["Server"] and "no-cache" in answer.headers["Cache-Control"]
    assert "Builder-Version" in answer.headers and "Swarm" in answer.headers


@pytest.mark.parametrize("version", [f"1.{n}" for n in range(24, 52)])
def test_version_in_the_path(api, version):
    for path in ("/_ping", "/version", "/containers/json", "/images/json"):
        assert api.get(f"/v{version}{path}").status == 200, (version, path)


def test_version_without_a_prefix(api):
    shown = api.ok("GET", "/version")
    assert (shown["ApiVersion"], shown["MinAPIVersion"], shown["Os"]) == ("1.51", "1.24", "linux")
    assert shown["Version"] and shown["KernelVersion"] and shown["Arch"] and shown["Components"][0]["Name"]


@pytest.mark.parametrize("version, words", [("1.23", "too old"), ("1.0", "too old"), ("1.99", "too new"), ("9.9", "too new")])
def test_version_outside_the_range(api, version, words):
    answer = api.get(f"/v{version}/info")
    assert answer.status == 400 and f"client version {version} is {words}" in answer.message


def test_info(api):
    info = api.ok("GET", "/info")
    assert info["OSType"] == "linux" and info["NCPU"] > 0 and info["MemTotal"] > 1 << 20
    assert info["Images"] >= 3 and info["ServerVersion"] and info["ID"] and info["Driver"].startswith("overlay")
    assert "runc" in info["Runtimes"] or info["DefaultRuntime"] in info["Runtimes"]
    assert any("seccomp" in option for option in info["SecurityOptions"])


def test_unversioned_and_versioned_answers_agree(api):
    assert api.ok("GET", "/images/json") == api.ok("GET", "/v1.51/images/json")


def test_df(api):
    ident = api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Mounts": [{"Type": "volume", "Target": "/data"}]}})["Id"]
    usage = api.ok("GET", "/system/df")
    assert ident in [c["Id"] for c in usage["Containers"]] and usage["LayersSize"] > 0 and usage["BuildCache"] == []
    image = next(i for i in usage["Images"] if "busybox:latest" in i["RepoTags"])
    assert image["Containers"] == 1 and 0 <= image["SharedSize"] <= image["Size"]
    volume = api.ok("GET", f"/containers/{ident}/json")["Mounts"][0]["Name"]
    assert next(v for v in usage["Volumes"] if v["Name"] == volume)["UsageData"] == {"RefCount": 1, "Size": 0}
    some = api.ok("GET", "/system/df?type=container&type=volume")
    assert some["Containers"] and some["Volumes"] and not some["Images"] and some["LayersSize"] == 0
    assert not api.ok("GET", "/system/df?type=build-cache")["Containers"]
    assert api.get("/system/df?type=odd").status == 400
    api.delete(f"/containers/{ident}?v=1")


def test_events_statuses(api):
    assert api.get("/events?since=1&until=2").body == b""
    for query in ("since=x", "until=x", "since=5&until=4", "filters=x"):
        assert api.get(f"/events?{query}").status == 400, query


def test_auth(api, registry):
    answer = api.post("/auth", {"username": "hello", "password": "there", "serveraddress": registry.address})
    assert answer.status == 200 and answer.json["Status"] == "Login Succeeded"
    assert api.post("/auth", {"serveraddress": "127.0.0.1:1"}, timeout=60).status == 500
    assert api.post("/auth", b"{", headers={"Content-Type": "application/json"}).status == 400
