# SPDX-License-Identifier: Apache-2.0
"""Hostile and broken requests to every endpoint of the families Container, Exec and System: the right status, one
sentence, and an engine that goes on with nothing left behind. What a message looks like is checked with every answer."""
import json
import os
import socket
from urllib.parse import quote

import pytest

from harness import schema
from harness.shell import wait_for

JSON = {"Content-Type": "application/json"}
# Every endpoint of the three families; {} is a container, <> an exec instance.
ENDPOINTS = """
GET /containers/json        POST /containers/create       GET /containers/{}/json      GET /containers/{}/top        GET /containers/{}/logs
GET /containers/{}/changes  GET /containers/{}/export     GET /containers/{}/stats     POST /containers/{}/resize    POST /containers/{}/start
POST /containers/{}/stop    POST /containers/{}/restart   POST /containers/{}/kill     POST /containers/{}/update    POST /containers/{}/rename
POST /containers/{}/pause   POST /containers/{}/unpause   POST /containers/{}/attach   GET /containers/{}/attach/ws  POST /containers/{}/wait
DELETE /containers/{}       HEAD /containers/{}/archive   GET /containers/{}/archive   PUT /containers/{}/archive    POST /containers/prune
POST /containers/{}/exec    POST /exec/<>/start           POST /exec/<>/resize         GET /exec/<>/json             POST /auth
GET /info                   GET /version                  GET /_ping                   GET /events                   GET /system/df
""".split()
ENDPOINTS = list(zip(ENDPOINTS[::2], ENDPOINTS[1::2]))
WITH_NAME = [(m, p) for m, p in ENDPOINTS if "{}" in p or "<>" in p]
# Queries that these need before they look at the name.
QUERIES = {"/logs": "?stdout=1", "/resize": "?h=1&w=1", "/attach": "?stream=1&stdout=1", "/archive": "?path=/", "/rename": "?name=other"}
BODIES = ["/containers/create", "/containers/{}/update", "/containers/{}/exec", "/exec/<>/start", "/auth"]


def fds(engine):
    return len(os.listdir(f"/proc/{engine.pid}/fd"))


@pytest.fixture(autouse=True)
def nothing_is_left(engine, api):
    """Descriptors come back to what they were, and there are no containers that the test did not ask for."""
    assert api.get("/_ping").body == b"OK"
    before, containers = fds(engine), {c["Id"] for c in engine.containers()}
    yield
    assert api.get("/_ping").body == b"OK"
    for ident in {c["Id"] for c in engine.containers()} - containers:
        api.delete(f"/containers/{ident}?force=1&v=1")
    # What threads of the engine's own make when they are first needed stays.
    wait_for(lambda: fds(engine) <= before + 8, f"the engine's descriptors are {before} again", 15)


@pytest.fixture
def sleeper(api):
    ident = api.ok("POST", "/containers/create?name=sleeper", {"Image": "busybox", "Cmd": ["sleep", "1000"]})["Id"]
    api.ok("POST", f"/containers/{ident}/start")
    return ident


@pytest.fixture
def instance(api, sleeper):
    return api.ok("POST", f"/containers/{sleeper}/exec", {"Cmd": ["true"]})["Id"]


def head(method, path, *headers):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: d", *headers, "", ""]).encode()


class Problems(list):
    """What did not come as it should; all of it is told at once."""
    def expect(self, answer, statuses, what, words=""):
        good = answer.status in statuses and (answer.status < 400 or not answer.body or words.lower() in answer.message.lower())
        if not good:
            self.append(f"{what}: {answer.status} {answer.body[:200]!r}, expected {statuses} {words!r}")

    def __exit__(self, kind, *_):
        assert kind or not self, "\n".join(self[:40])

    def __enter__(self):
        return self


# --- JSON ---------------------------------------------------------------------------------------------

MALFORMED = [b"{", b"}", b"{]", b"nope", b"{} {}", b'{"a"}', b'{"a":}', b"[]", b"5", b'"text"', b"\xff\xfe", b"{" * 500, b"[" * 100000, b'{"a":' * 50000,
             b'{"a": 1e}', b'{"a": 01}', b"{'a': 1}", b'{"a": "\x01"}', b'{"a": "\\u12"}']


@pytest.mark.parametrize("path", BODIES)
def test_malformed_json(api, sleeper, instance, path):
    with Problems() as problems:
        for body in MALFORMED:
            answer = api.post(path.replace("{}", sleeper).replace("<>", instance), body, headers=JSON)
            problems.expect(answer, [400], body[:30])


@pytest.mark.parametrize("path", BODIES[:-1])
def test_other_content_types(api, sleeper, instance, path):
    with Problems() as problems:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "", "json", "application/jsonl"):
            answer = api.post(path.replace("{}", sleeper).replace("<>", instance), b'{"Image": "busybox", "Cmd": ["true"]}', headers={"Content-Type": kind})
            problems.expect(answer, [400], kind, "application/json")


def test_empty_bodies(api, sleeper, instance):
    with Problems() as problems:
        problems.expect(api.post("/containers/create", b"", headers=JSON), [400], "create", "EOF")
        problems.expect(api.post("/containers/create", b"null", headers=JSON), [400], "create of null", "Config cannot be empty")
        problems.expect(api.post(f"/containers/{sleeper}/exec", b"", headers=JSON), [400], "exec", "No exec command specified")
        problems.expect(api.post(f"/containers/{sleeper}/update", b"", headers=JSON), [200], "update")
        problems.expect(api.post(f"/containers/{sleeper}/update", b"null", headers=JSON), [200], "update of null")
        problems.expect(api.post(f"/containers/{sleeper}/start", b'{"Binds": ["/a:/b"]}', headers=JSON), [400], "start", "removed in v1.24")


def properties(definition):
    """[(member, kind)] of what the API says about an object in a request."""
    rules = schema.engine_api()
    return [(name, rules.resolve(part)[0].get("type", "object")) for name, part in rules.resolve({"$ref": "#/definitions/" + definition})[0]["properties"].items()]


# Members that only Windows knows, or that were never heeded on Linux.
FOREIGN = {"CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth", "CredentialSpec", "ConsoleSize", "KernelMemoryTCP"}
WRONG = {"object": ["text", 5, [], True], "array": [5, True, {"a": 1}], "string": [5, True, ["a"], {"a": "b"}], "boolean": ["true", 1, {}], "integer": ["5", True, {}, [1]]}
# One string where a list belongs is the form of old clients.
AS_LIST = {"Cmd", "Entrypoint", "Shell"}


@pytest.mark.parametrize("place", ["ContainerConfig", "HostConfig", "update", "exec"])
def test_wrong_types(api, sleeper, place):
    if schema.available():
        pytest.skip(schema.available())
    members = {"update": "Resources", "exec": None}.get(place, place)
    members = properties(members) if members else [("Cmd", "array"), ("Env", "array"), ("Tty", "boolean"), ("User", "string"), ("Privileged", "boolean"),
                                                   ("WorkingDir", "string"), ("DetachKeys", "string"), ("AttachStdin", "boolean"), ("ConsoleSize", "array")]
    with Problems() as problems:
        for name, kind in members:
            for value in WRONG[kind] if name not in FOREIGN else []:
                if place == "HostConfig":
                    answer = api.post("/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": {name: value}})
                elif place == "ContainerConfig":
                    answer = api.post("/containers/create", {"Image": "busybox", "Cmd": ["true"], name: value})
                else:
                    answer = api.post(f"/containers/{sleeper}/{place}", {"Cmd": ["true"], name: value} if place == "exec" else {name: value})
                problems.expect(answer, [400], f"{name}: {value!r}", name)


def test_unknown_members_are_ignored(api, sleeper, instance):
    odd = {"Colour": "red", "Nested": {"a": [1, {"b": None}]}, "": 1, "\u00e9": 2}
    assert api.post("/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": odd, **odd}).status == 201
    assert api.post(f"/containers/{sleeper}/update", odd).status == 200
    assert api.post(f"/containers/{sleeper}/exec", {"Cmd": ["true"], **odd}).status == 201
    assert api.post(f"/exec/{instance}/start", {"Detach": True, **odd}).status == 200


# --- numbers and words ----------------------------------------------------------------------------------

@pytest.mark.parametrize("place", ["create", "update"])
def test_huge_numbers(api, sleeper, place):
    if schema.available():
        pytest.skip(schema.available())
    with Problems() as problems:
        for name, kind in properties("HostConfig" if place == "create" else "Resources"):
            for number in ("1e30", "9223372036854775808", "-9223372036854775809", "1.5", "1" * 400) if kind == "integer" and name not in FOREIGN else ():
                inner = f'{{"{name}": {number}}}'
                body = f'{{"Image": "busybox", "Cmd": ["true"], "HostConfig": {inner}}}' if place == "create" else inner
                answer = api.post("/containers/create" if place == "create" else f"/containers/{sleeper}/update", body.encode(), headers=JSON)
                problems.expect(answer, [400], body[:80], name)


BIGGEST, SMALLEST = 2**63 - 1, -2**63
NEGATIVE = [{"Memory": -5}, {"Memory": 1000}, {"MemoryReservation": -1}, {"NanoCpus": -1}, {"NanoCpus": BIGGEST}, {"CpuShares": -1}, {"CpuPeriod": -1}, {"CpuPeriod": BIGGEST},
            {"CpuQuota": 5}, {"ShmSize": -1}, {"OomScoreAdj": 5000}, {"OomScoreAdj": SMALLEST}, {"BlkioWeight": 5}, {"BlkioWeight": -5}, {"BlkioWeight": 5000},
            {"MemorySwappiness": 101}, {"MemorySwappiness": -2}, {"Memory": 64 << 20, "MemorySwap": 32 << 20}, {"MemorySwap": 64 << 20},
            {"Memory": 64 << 20, "MemoryReservation": 128 << 20}, {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -3}},
            {"Memory": 64 << 20, "MemorySwap": 1}]
WORDS = [{"IpcMode": "odd"}, {"PidMode": "odd"}, {"UTSMode": "odd"}, {"UsernsMode": "odd"}, {"CgroupnsMode": "odd"}, {"Isolation": "odd"}, {"NetworkMode": "odd"},
         {"RestartPolicy": {"Name": "odd"}}, {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}, {"LogConfig": {"Type": "odd"}}, {"Runtime": "odd"},
         {"Mounts": [{"Type": "odd", "Target": "/x"}]}, {"Mounts": [{"Type": "bind", "Source": "relative", "Target": "/x"}]},
         {"Mounts": [{"Type": "volume", "Source": "aa", "Target": "../x"}]}, {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/x", "BindOptions": {"Propagation": "odd"}}]},
         {"Mounts": [{"Type": "tmpfs", "Target": "/x", "VolumeOptions": {}}]}, {"CapAdd": ["ODD"]}, {"CapDrop": ["ODD"]}, {"SecurityOpt": ["odd"]}, {"ExtraHosts": ["odd"]},
         {"PortBindings": {"odd": []}}, {"PortBindings": {"80/odd": []}}, {"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}, {"PortBindings": {"0/tcp": []}},
         {"Binds": ["odd"]}, {"Binds": ["a:b:c:d"]}, {"Binds": ["/a:/../.."]}, {"Tmpfs": {"relative": ""}}, {"VolumeDriver": "odd"}, {"VolumesFrom": ["odd"]}]


@pytest.mark.parametrize("table", ["sizes", "words"])
def test_values_out_of_range(api, table):
    with Problems() as problems:
        for host in NEGATIVE if table == "sizes" else WORDS:
            answer = api.post("/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": host})
            problems.expect(answer, [400, 404] if "VolumeDriver" in host else [400], host)


@pytest.mark.parametrize("config", [{"Hostname": "a" * 100}, {"Env": ["=x"]}, {"Env": [""]}, {"WorkingDir": "relative"}, {"ExposedPorts": {"odd": {}}}, {"StopSignal": "odd"},
                                    {"Healthcheck": {"Test": ["odd"]}}, {"Healthcheck": {"Interval": 5}}, {"Healthcheck": {"Retries": -5}},
                                    {"Healthcheck": {"Interval": -1}}, {"Healthcheck": {"Timeout": -BIGGEST}}, {"Healthcheck": {"OnFailure": "odd"}}], ids=lambda c: json.dumps(c)[:40])
def test_bad_config(api, config):
    answer = api.post("/containers/create", {"Image": "busybox", "Cmd": ["true"], **config})
    assert answer.status == 400 and answer.message, answer


@pytest.mark.parametrize("change", [{"Memory": -5}, {"NanoCpus": -1}, {"CpuPeriod": 5}, {"CpuShares": -1}, {"RestartPolicy": {"Name": "odd"}},
                                    {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}, {"Memory": 64 << 20, "MemorySwap": 8 << 20}], ids=lambda c: json.dumps(c)[:40])
def test_bad_update(api, sleeper, change):
    before = api.ok("GET", f"/containers/{sleeper}/json")["HostConfig"]
    answer = api.post(f"/containers/{sleeper}/update", change)
    assert answer.status == 400 and answer.message, answer
    assert api.ok("GET", f"/containers/{sleeper}/json")["HostConfig"] == before


def test_bad_exec(api, sleeper, instance):
    with Problems() as problems:
        for config, words in (({"Cmd": []}, "No exec command"), ({}, "No exec command"), ({"Cmd": ["x"], "DetachKeys": "odd"}, "detach keys"),
                              ({"Cmd": ["x"], "WorkingDir": "relative"}, "absolute"), ({"Cmd": ["x"], "ConsoleSize": [-1, 2]}, "")):
            problems.expect(api.post(f"/containers/{sleeper}/exec", config), [400], config, words)
        for query in ("h=x&w=1", "h=1", "", "h=-1&w=1", "h=70000&w=1", "h=" + "9" * 30 + "&w=1"):
            problems.expect(api.post(f"/exec/{instance}/resize?{query}"), [400], query)


QUERIES_OUT_OF_RANGE = [
    ("GET", "/containers/json?limit=x"), ("GET", "/containers/json?limit=" + "9" * 40), ("GET", "/containers/json?filters=x"), ("GET", "/containers/json?filters=[]"),
    ("GET", "/containers/json?filters=%7B%22status%22%3A%5B%22odd%22%5D%7D"), ("GET", "/containers/json?filters=%7B%22odd%22%3A%5B%22odd%22%5D%7D"),
    ("GET", "/containers/json?filters=%7B%22name%22%3A5%7D"), ("GET", "/containers/{}/logs"), ("GET", "/containers/{}/logs?stdout=1&since=x"), ("GET", "/containers/{}/logs?stdout=1&until=x"),
    ("POST", "/containers/{}/stop?t=x"), ("POST", "/containers/{}/stop?signal=odd"), ("POST", "/containers/{}/restart?t=x"), ("POST", "/containers/{}/kill?signal=odd"),
    ("POST", "/containers/{}/kill?signal=-1"), ("POST", "/containers/{}/kill?signal=65"), ("POST", "/containers/{}/resize"), ("POST", "/containers/{}/resize?h=x&w=1"),
    ("POST", "/containers/{}/resize?h=-1&w=1"), ("POST", "/containers/{}/resize?h=99999999999&w=1"), ("POST", "/containers/{}/wait?condition=odd"),
    ("POST", "/containers/{}/attach?detachKeys=odd&stream=1&stdout=1"), ("GET", "/containers/{}/archive"), ("GET", "/containers/{}/archive?path="), ("PUT", "/containers/{}/archive"),
    ("GET", "/containers/{}/archive?path=" + "a/" * 3000), ("POST", "/containers/{}/rename"), ("POST", "/containers/{}/rename?name="), ("POST", "/containers/{}/rename?name=bad%2Fname"),
    ("POST", "/containers/{}/rename?name=sleeper"), ("POST", "/containers/create?name=bad%2Fname"), ("POST", "/containers/create?name=.."), ("POST", "/containers/create?name=%00"),
    ("GET", "/containers/{}/stats?stream=1&one-shot=1"), ("POST", "/containers/prune?filters=x"), ("POST", "/containers/prune?filters=%7B%22odd%22%3A%5B%22x%22%5D%7D"),
    ("POST", "/containers/prune?filters=%7B%22until%22%3A%5B%22odd%22%5D%7D"), ("GET", "/events?since=x"), ("GET", "/events?until=x"), ("GET", "/events?since=5&until=4"),
    ("GET", "/events?filters=x"), ("GET", "/events?until=5&filters=%7B%22type%22%3A5%7D"), ("GET", "/system/df?type=odd"), ("GET", "/containers/{}/attach/ws"),
]


def test_bad_queries(api, sleeper):
    with Problems() as problems:
        for method, path in QUERIES_OUT_OF_RANGE:
            body = {"Image": "busybox", "Cmd": ["true"]} if "create" in path else None
            problems.expect(api.request(method, path.replace("{}", sleeper), body), [400], f"{method} {path[:80]}")
    assert api.ok("GET", f"/containers/{sleeper}/json")["State"]["Running"]


# --- names and paths ------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["a" * 1000, "%2e%2e%2f%2e%2e%2fetc", "a%2Fb", "%00", "%ff%fe", "a%20b", "*", "0" * 64, "-", "%25", "..%2f..%2f..%2fproc%2fself"],
                         ids=lambda name: name[:20])
def test_names_that_are_none(api, name):
    with Problems() as problems:
        for method, path in WITH_NAME:
            query = next((q for end, q in QUERIES.items() if path.endswith(end)), "")
            body = {"Cmd": ["true"]} if path.endswith(("exec", "start")) and not path.endswith("}/start") else {} if path.endswith("update") else None
            answer = api.request(method, path.replace("{}", name).replace("<>", name) + query, body)
            # A byte that no path may have is refused before the name is looked at.
            problems.expect(answer, [404, 400] if "%00" in name or "%ff" in name else [404], f"{method} {path}")


def test_long_names_for_new_containers(api):
    answer = api.post("/containers/create?name=" + "a" * 1000, {"Image": "busybox", "Cmd": ["true"]})
    assert answer.status in (201, 400), answer
    if answer.status == 201:
        assert api.ok("GET", "/containers/" + "a" * 1000 + "/json")["Name"] == "/" + "a" * 1000
    assert api.post("/containers/create?name=" + "a" * 100000, {"Image": "busybox", "Cmd": ["true"]}).status in (400, 414, 431)


@pytest.mark.parametrize("path", ["/containers/../info", "/containers/x/../../info", "//info", "/./info", "/containers/json/", "/v1.51", "/v1.51/", "/v1.51//info", "/%2e%2e/info",
                                  "/containers/%2e%2e/json", "/info/..", "/" + "a/" * 2000])
def test_paths_that_are_none(api, path):
    answer = api.get(path)
    assert answer.status in (301, 400, 404), answer


def test_archive_paths_stay_inside(api, sleeper):
    with Problems() as problems:
        for path in ("../../../../etc/passwd", "/../../../../etc/passwd", "/etc/../../../../etc/passwd", "/proc/1/root/../../etc/passwd"):
            answer = api.get(f"/containers/{sleeper}/archive?path={quote(path)}")
            problems.expect(answer, [200, 404], path)
            if answer.status == 200 and b"root:x:0:0:root:/root:/bin/bash" in answer.body:
                problems.append(f"{path} is the host's")
        problems.expect(api.get(f"/containers/{sleeper}/archive?path=/nothing/here"), [404], "nothing")
        problems.expect(api.request("PUT", f"/containers/{sleeper}/archive?path=/nothing/here", b"x"), [404], "nothing")
        problems.expect(api.request("PUT", f"/containers/{sleeper}/archive?path=/tmp", b"this is no archive"), [400, 500], "no archive")


# --- below the level of requests --------------------------------------------------------------------------

def filled(path, sleeper, instance):
    query = next((q for end, q in QUERIES.items() if path.endswith(end)), "")
    return path.replace("{}", sleeper).replace("<>", instance) + query


def test_ten_thousand_headers(api, sleeper, instance):
    many = [f"X-{i}: {i}" for i in range(10000)]
    with Problems() as problems:
        for method, path in ENDPOINTS:
            answer = api.raw(head(method, filled(path, sleeper, instance), *many, "Connection: close"), timeout=5)
            if not answer.startswith(b"HTTP/1.1 431"):
                problems.append(f"{method} {path}: {answer[:100]!r}")
    assert api.ok("GET", f"/containers/{sleeper}/json")["State"]["Running"]


@pytest.mark.parametrize("headers, body", [
    (["Content-Length: 5", "Content-Length: 6"], b"abcdef"), (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"), (["Content-Length: -1"], b""),
    (["Content-Length: 0x5"], b"abcde"), (["Content-Length: 99999999999999999999"], b""), (["Transfer-Encoding: chunked"], b"zz\r\nabc\r\n0\r\n\r\n"),
    (["Transfer-Encoding: chunked"], b"ffffffffffffffffff\r\nx\r\n"), (["Transfer-Encoding: chunked"], b"3\r\nabcdef\r\n0\r\n\r\n"), (["Transfer-Encoding: odd"], b"abc")],
    ids=["two-lengths", "length-and-chunks", "negative", "hexadecimal", "huge", "no-size", "size-overflow", "no-line-end", "unknown-coding"])
def test_framing_that_is_none(api, sleeper, instance, headers, body):
    with Problems() as problems:
        for method, path in ENDPOINTS:
            if method in ("GET", "HEAD") and "chunked" in headers[-1]:
                continue  # has been answered when the body is looked at
            answer = api.raw(head(method, filled(path, sleeper, instance), "Content-Type: application/json", *headers) + body, timeout=3, half_close=True)
            if answer and not answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")):
                problems.append(f"{method} {path}: {answer[:100]!r}")


def test_pipelined_requests(api, sleeper, instance):
    """Sent all at once, answered one by one and in order; the last asks for the end."""
    plain = [(m, p) for m, p in ENDPOINTS if m == "GET" and not p.endswith(("/ws", "/events", "/stats", "/export", "/archive", "/df", "/logs"))]
    data = b"".join(head(m, filled(p, sleeper, instance)) for m, p in plain * 3) + head("GET", "/nothing", "Connection: close")
    answer = api.raw(data, timeout=10)
    assert answer.count(b"HTTP/1.1 200") == 3 * len(plain) and answer.count(b"HTTP/1.1 404") == 1
    assert answer.rindex(b"HTTP/1.1 404") > answer.rindex(b"HTTP/1.1 200")


def test_body_that_stops_halfway(api, engine, sleeper, instance):
    before = len(engine.containers())
    for method, path in ENDPOINTS:
        if method in ("GET", "HEAD"):
            continue
        for half_close in (True, False):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(api.socket_path)
                peer.sendall(head(method, filled(path, sleeper, instance), "Content-Type: application/json", "Content-Length: 1000") + b'{"Image": "busy')
                if half_close:
                    peer.shutdown(socket.SHUT_WR)
                    peer.settimeout(5)
                    answer = peer.recv(65536)
                    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), (method, path, answer[:200])
    assert len(engine.containers()) == before
    # A request is carried out when it is all there, and only then.
    assert api.ok("GET", f"/containers/{sleeper}/json")["State"]["Running"]


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/containers/{}/logs?stdout=1&follow=1", None), ("GET", "/containers/{}/stats", None), ("GET", "/events", None), ("GET", "/events?since=1", None),
    ("GET", "/containers/{}/export", None), ("GET", "/containers/{}/archive?path=/bin", None), ("POST", "/containers/{}/wait", None),
    ("POST", "/containers/{}/wait?condition=removed", None), ("POST", "/v1.29/containers/{}/wait", None), ("POST", "/containers/{}/attach?stream=1&stdout=1&stdin=1&stderr=1", None),
    ("POST", "/containers/{}/attach?stream=1&stdout=1&logs=1", None), ("POST", "/exec/<>/start", {"Detach": False})], ids=lambda value: str(value).split("?")[0][-30:])
def test_client_vanishes(api, sleeper, method, path, body):
    for turn in range(12):
        instance = api.ok("POST", f"/containers/{sleeper}/exec", {"Cmd": ["sh", "-c", "read a; true"], "AttachStdin": True, "AttachStdout": True})["Id"]
        data = json.dumps(body).encode() if body is not None else b""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(api.socket_path)
            peer.sendall(head(method, path.replace("{}", sleeper).replace("<>", instance), "Content-Type: application/json", f"Content-Length: {len(data)}") + data)
            if turn % 2 and "v1.29" not in path:
                assert peer.recv(20).startswith(b"HTTP/1.1 200")
    assert api.ok("GET", f"/containers/{sleeper}/json")["State"]["Running"]
