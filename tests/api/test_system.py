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
