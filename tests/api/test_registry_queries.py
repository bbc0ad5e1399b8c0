# SPDX-License-Identifier: Apache-2.0
"""/auth, /distribution/{name}/json and /images/search: against Debian's docker-registry and a small index of our own."""
import base64
import json
import urllib.parse

import pytest

from harness.lying_registry import LyingRegistry


@pytest.fixture(scope="module")
def index(scratch, netns):
    registry = LyingRegistry(scratch + "/index", netns, 5067)
    yield registry
    registry.stop()


def auth_header(**fields):
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()}


def search(api, term, **query):
    filters = query.pop("filters", None)
    if filters is not None:
        query["filters"] = json.dumps(filters)
    return api.get("/images/search?" + urllib.parse.urlencode({"term": term, **query}))


# --- search ---

def test_search(api, index):
    found = search(api, index.address + "/busybox").json
    assert len(found) == 25
    assert found[0] == {"name": "busybox", "description": "Number 0", "star_count": 100, "is_official": True, "is_automated": False}
    asked = index.requests("/v1/search")[-1]
    assert urllib.parse.parse_qs(asked["path"].split("?")[1]) == {"q": ["busybox"], "n": ["25"]}


def test_search_limit(api, index):
    assert len(search(api, index.address + "/busybox", limit=3).json) == 3
    for limit in ("101", "-1"):
        refused = search(api, index.address + "/busybox", limit=limit)
        assert refused.status == 400


def test_search_filters(api, index):
    def names(**filters):
        return [item["name"] for item in search(api, index.address + "/word", limit=10, filters=filters).json]
    assert names(**{"is-official": ["true"]}) == ["word"]
    assert names(**{"is-official": {"false": True}})[0] == "word1"
    assert names(**{"stars": ["97"]}) == ["word", "word1", "word2", "word3"]
    assert names(**{"is-automated": ["true"]}) == []
    assert search(api, index.address + "/word", filters={"color": ["red"]}).message == "invalid filter 'color'"
    assert search(api, index.address + "/word", filters={"stars": ["many"]}).status == 400
    assert search(api, index.address + "/word", filters={"is-official": ["perhaps"]}).status == 400


def test_search_of_an_index_that_is_none(api, index):
    broken = search(api, index.address + "/broken")
    assert broken.status == 500 and "Unexpected status code 500" in broken.message
    nonsense = search(api, index.address + "/nonsense")
    assert nonsense.status == 500 and "error decoding registry search results" in nonsense.message
    endless = search(api, index.address + "/endless")
    assert endless.status == 500 and "larger than" in endless.message


def test_search_where_nobody_answers(api):
    """The hub has no address in the tests' namespace."""
    for term, text in (("busybox", "index.docker.io"), ("127.0.0.1:5998/busybox", "connection refused")):
        answer = search(api, term)
        assert answer.status == 500 and text in answer.message, answer


def test_search_of_an_address(api):
    assert search(api, "https://index.docker.io/busybox").status == 400


# --- distribution ---

def test_distribution_of_one_platform(api, caisson, registry):
    name = f"{registry.address}/query/busybox:1"
    caisson("tag", "busybox", name)
    caisson("push", name)
    shown = api.ok("GET", f"/distribution/{name}/json")
    assert shown["Descriptor"]["digest"] in caisson.out("image", "inspect", "-f", "{{.RepoDigests}}", name)
    assert shown["Descriptor"]["mediaType"].endswith(("manifest.v2+json", "manifest.v1+json"))
    assert [(p["os"], p["architecture"]) for p in shown["Platforms"]] == [("linux", "amd64")]
    again = api.ok("GET", f"/distribution/{registry.address}/query/busybox@{shown['Descriptor']['digest']}/json")
    assert again == shown
    document = api.get(f"/distribution/{name}/manifest")
    assert len(document.body) == shown["Descriptor"]["size"] and document.json["schemaVersion"] == 2


def test_distribution_of_several_platforms(api, index):
    shown = api.ok("GET", f"/distribution/{index.address}/platforms/x:1/json")
    assert shown["Descriptor"]["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [p["architecture"] for p in shown["Platforms"]] == ["s390x", "amd64", "arm64"]


@pytest.mark.parametrize("repository, status, text", [
    ("status-401/x", 401, "unauthorized"), ("status-403/x", 403, "denied"), ("status-404/x", 404, "manifest unknown"),
    ("status-429/x", 429, "toomanyrequests"), ("bare-500/x", 500, "500 Internal Server Error"), ("wrong-config/x", 500, "verification failed"),
    ("big-manifest/x", 400, "larger than"),
])
def test_distribution_of_what_cannot_be_had(api, index, repository, status, text):
    answer = api.get(f"/distribution/{index.address}/{repository}:1/json", timeout=60)
    assert answer.status == status and text in answer.message, answer


# --- login ---

def test_auth_gives_an_identity_token(api, index):
    wrong = api.post("/auth", {"username": "alice", "password": "wrong", "serveraddress": index.address})
    assert wrong.status == 200, "this one wants no login at /v2/"


def test_auth_of_a_token_server(api, scratch, netns):
    server = LyingRegistry(scratch + "/tokens", netns, 5068, token_needed=True)
    try:
        good = api.ok("POST", "/auth", {"username": "alice", "password": "secret", "serveraddress": server.address})
        assert good == {"Status": "Login Succeeded", "IdentityToken": "alices-identity"}
        again = api.ok("POST", "/auth", {"username": "alice", "identitytoken": "alices-identity", "serveraddress": server.address})
        assert again["Status"] == "Login Succeeded"
        for fields in ({"username": "alice", "password": "wrong"}, {"identitytoken": "stolen"}):
            bad = api.post("/auth", {**fields, "serveraddress": server.address})
            assert bad.status == 401 and "unauthorized: incorrect" in bad.message, bad
    finally:
        server.stop()


def test_auth_where_nobody_answers(api):
    answer = api.post("/auth", {"username": "a", "password": "b", "serveraddress": "127.0.0.1:5998"})
    assert answer.status == 500 and "connection refused" in answer.message


# --- the forms of credentials ---

def pull(api, index, repository, headers):
    answer = api.post(f"/images/create?fromImage={index.address}/{repository}&tag=1", headers=headers)
    if answer.status == 200:
        api.delete(f"/images/{index.address}/{repository}:1")
    return answer


def test_forms_of_credentials(api, index):
    """auth/* is alice's alone."""
    assert pull(api, index, "auth/x", {}).status == 500
    alice = {"username": "alice", "password": "secret", "serveraddress": index.address}
    token = base64.b64encode(b"alice:secret").decode()
    forms = [auth_header(**alice), auth_header(auth=token), auth_header(identitytoken="alices-identity"),
             {"X-Registry-Auth": base64.b64encode(json.dumps(alice).encode()).decode()},
             {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(alice).encode()).decode().rstrip("=")},
             {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps({"other": {}, index.address: alice}).encode()).decode()}]
    for form in forms:
        answer = pull(api, index, "auth/x", form)
        assert answer.status == 200 and b"errorDetail" not in answer.body, (form, answer)
    assert "incorrect username or password" in pull(api, index, "auth/x", auth_header(username="alice", password="guess")).message


def test_a_registry_token_is_used_as_it_is(api, index):
    assert pull(api, index, "auth/x", auth_header(registrytoken="nobodys")).status == 500
    assert index.requests("/v2/auth/x/")[-1]["headers"]["Authorization"] == "Bearer nobodys"


def test_unreadable_credentials_count_as_none(api, index):
    for text in ("%%%", base64.b64encode(b"not json").decode(), base64.b64encode(b"[1]").decode()):
        assert pull(api, index, "good/x", {"X-Registry-Auth": text}).status == 200
