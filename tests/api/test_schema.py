# SPDX-License-Identifier: Apache-2.0
"""The check of every answer against the swagger file: that it is on, and that it can fail."""
import json
import threading

import pytest

from harness import schema

JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def rules():
    if schema.available():
        pytest.skip(schema.available())
    return schema.engine_api()


def wrong(method, path, status, body, headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return schema.engine_api().check(method, path, status, JSON if headers is None else headers, data)


def test_answers_are_checked(api, monkeypatch):
    monkeypatch.setattr(schema, "check", lambda method, path, status, headers, body: seen.append((method, path, status)))
    seen = []
    api.get("/version")
    api.raw(b"GET /v1.40/_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
    assert seen == [("GET", "/version", 200), ("GET", "/v1.40/_ping", 200)]


def test_right_answers_pass():
    assert not wrong("GET", "/containers/x/stats", 404, {"message": "No such container: x"})
    assert not wrong("GET", "/v1.51/containers/json?all=1", 200, [])
    assert not wrong("POST", "/containers/x/kill", 409, {"message": "container x is not running"})
    assert not wrong("POST", "/containers/create", 201, {"Id": "a" * 64, "Warnings": []})
    assert not wrong("HEAD", "/_ping", 200, b"", {"Content-Type": "text/plain; charset=utf-8"})
    assert not wrong("POST", "/containers/x/start", 204, b"", {})


@pytest.mark.parametrize("method, path, status, body, headers, words", [
    ("GET", "/containers/json", 200, {}, None, "body: array expected"),
    ("GET", "/containers/json", 200, [{"Created": "yesterday"}], None, "ContainerSummary.Created: integer expected"),
    ("GET", "/containers/json", 200, [{"Id": None}], None, "ContainerSummary.Id: null is not allowed"),
    ("GET", "/containers/json", 200, [{"Colour": 1}], None, "ContainerSummary.Colour: not a member"),
    ("GET", "/containers/json", 200, [{"Ports": [{"PrivatePort": 80, "Type": "carrier"}]}], None, "Port.Type: 'carrier' is not one of"),
    ("GET", "/containers/json", 200, [{"Ports": [{"PrivatePort": 80}]}], None, "Port.Type: required and missing"),
    ("GET", "/containers/json", 200, [{"Ports": [{"PrivatePort": 80000, "Type": "tcp"}]}], None, "outside 0..65535"),
    ("GET", "/containers/x/json", 200, {"Created": "today"}, None, "no time of RFC 3339"),
    ("GET", "/containers/x/json", 200, {"Id": "abc"}, None, "ContainerInspectResponse.Id"),
    ("GET", "/containers/x/json", 200, {"State": {"Running": 1}}, None, "ContainerState.Running: boolean expected"),
    ("GET", "/containers/x/json", 200, {"HostConfig": {"Memory": True}}, None, "HostConfig.Memory: integer expected"),
    ("GET", "/containers/x/json", 200, {"HostConfig": {"Sysctls": {"a": 1}}}, None, "string expected"),
    ("GET", "/containers/json", 200, b"[", None, "not JSON"),
    ("GET", "/containers/json", 200, b"[][]", None, "2 JSON values"),
    ("GET", "/containers/json", 200, b'["\xff"]', None, "not UTF-8"),
    ("GET", "/containers/json", 200, [], {"Content-Type": "text/html"}, "content type 'text/html'"),
    ("GET", "/containers/json", 202, [], None, "status 202 is not one of"),
    ("POST", "/containers/create", 418, {"message": "a pot"}, None, "status 418 is not one of"),
    ("GET", "/containers/x/json", 404, b"not here", {"Content-Type": "text/plain"}, "an error of content type"),
    ("GET", "/containers/x/json", 404, {"error": "not here"}, None, "required and missing"),
    ("GET", "/containers/x/json", 404, {"message": ""}, None, "not one sentence"),
    ("GET", "/containers/x/json", 404, {"message": "one\ntwo"}, None, "not one sentence"),
    ("POST", "/containers/x/start", 204, b"{}", None, "a body where there may be none"),
    ("GET", "/nowhere", 200, {}, None, "an endpoint that the API does not name"),
    ("GET", "/events", 200, b'{"Type":"container"}\n{"Type":"comet"}\n', None, "EventMessage.Type"),
    ("GET", "/v1.51/info", 200, {"ExecutionDriver": ""}, None, "SystemInfo.ExecutionDriver"),
])
def test_wrong_answers_are_found(method, path, status, body, headers, words):
    found = wrong(method, path, status, body, headers)
    assert any(words in line for line in found), found


def test_members_of_older_versions():
    assert not wrong("GET", "/v1.24/info", 200, {"ExecutionDriver": ""})
    assert wrong("GET", "/v1.25/info", 200, {"ExecutionDriver": ""})


def test_a_violation_fails_the_test_that_got_it():
    with pytest.raises(AssertionError, match="array expected"):
        schema.check("GET", "/containers/json", 200, JSON, b"{}")
    thread = threading.Thread(target=lambda: pytest.raises(AssertionError, schema.check, "GET", "/containers/json", 200, JSON, b"{}"))
    thread.start()
    thread.join()
    assert len(schema.violations) == 1
    schema.violations.clear()
