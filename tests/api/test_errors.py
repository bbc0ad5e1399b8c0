# SPDX-License-Identifier: Apache-2.0
"""What a client gets for requests that are wrong: Docker's JSON error, a fitting status, never an empty body."""
import json
import socket

import pytest

ID = "0123456789ab"


def number(value, _count=[0]):
    """Short ids for parameters that are long or binary: their first word-like bytes and a running number."""
    _count[0] += 1
    text = value.decode("latin-1") if isinstance(value, bytes) else json.dumps(value)
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in text[:24]).strip("-") + f"-{_count[0]}"


@pytest.fixture(autouse=True)
def still_serving(api):
    yield
    assert api.get("/_ping").body == b"OK"


@pytest.mark.parametrize("method, path", [("GET", "/nothing"), ("GET", "/v1.41/nothing/here"), ("POST", "/nothing"), ("DELETE", "/"), ("GET", "/"),
                                          ("GET", "/containers"), ("GET", "/containers//json"), ("PUT", "/containers/json")])
def test_unknown_route(api, method, path):
    answer = api.request(method, path)
    assert answer.status == 404 and answer.message == "page not found"


@pytest.mark.parametrize("method, path", [("GET", "/services"), ("GET", "/tasks"), ("GET", "/nodes"), ("GET", "/swarm"), ("GET", "/configs"),
                                          ("POST", "/swarm/init"), ("POST", "/swarm/join"), ("POST", "/services/create"), ("GET", "/nodes/x"), ("POST", "/configs/create"),
                                          ("DELETE", "/services/x"), ("GET", "/tasks/x/logs"), ("POST", "/plugins/pull")])
def test_swarm_routes_say_it_is_off(api, method, path):
    answer = api.request(method, path)
    assert answer.status == 501 and answer.message.endswith(" is not supported by this release")


@pytest.mark.parametrize("method, path", [
    ("GET", "/containers/{}/json"), ("GET", "/containers/{}/logs?stdout=1"), ("GET", "/containers/{}/top"), ("POST", "/containers/{}/start"),
    ("POST", "/containers/{}/stop"), ("POST", "/containers/{}/kill"), ("POST", "/containers/{}/restart"), ("POST", "/containers/{}/wait"),
    ("POST", "/containers/{}/resize?h=1&w=1"), ("POST", "/containers/{}/attach?stdout=1"), ("DELETE", "/containers/{}")])
def test_unknown_container(api, method, path):
    answer = api.request(method, path.format(ID))
    # Some routes say in front of it what they were about to do.
    assert answer.status == 404 and answer.message.endswith(f"No such container: {ID}")


def test_unknown_exec(api):
    assert api.get("/exec/nothing/json").status == 404
    answer = api.post("/exec/nothing/start", {})
    assert answer.status == 404 and "No such exec" in answer.message


@pytest.mark.parametrize("method, path", [("GET", "/images/none:x/json"), ("GET", "/images/none:x/history"), ("DELETE", "/images/none:x"), ("POST", "/images/none:x/tag?repo=a")])
def test_unknown_image(api, method, path):
    answer = api.request(method, path)
    assert answer.status == 404 and "No such image: none:x" in answer.message


def test_create_from_an_unknown_image(api):
    answer = api.post("/containers/create", {"Image": "none:x", "Cmd": ["true"]})
    assert answer.status == 404 and answer.message == "No such image: none:x"


@pytest.mark.parametrize("body", [b"{", b"[1,2", b"nope", b'{"Image": }', b'{"Image": "busybox"} trailing', b"\xff\xfe", b'{"Cmd": {"a": 1}}', b'{"Image": 5}',
                                  b'{"HostConfig": {"Memory": "x"}}', b"null", b"[]", b"[" * 100000, b'{"a":' * 50000], ids=number)
def test_bad_json(api, body):
    answer = api.post("/containers/create", body, headers={"Content-Type": "application/json"})
    assert answer.status == 400 and answer.message, answer


def test_empty_body(api):
    answer = api.post("/containers/create", b"", headers={"Content-Type": "application/json"})
    assert answer.status == 400 and answer.message


def test_wrong_content_type(api):
    answer = api.post("/containers/create", b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status in (400, 415) and answer.message


def test_body_over_the_limit(api):
    padding = b'{"Image": "busybox", "Cmd": ["' + b"x" * (40 << 20) + b'"]}'
    answer = b""
    try:
        answer = api.raw(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(padding) + padding, timeout=20)
    except BrokenPipeError:
        pass
    assert answer.startswith(b"HTTP/1.1 413 ") or answer.startswith(b"HTTP/1.1 400 "), answer[:300]
    assert b'"message"' in answer


def test_announced_body_over_the_limit(api):
    answer = api.raw(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n", timeout=3)
    assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 ")), answer[:300]


@pytest.mark.parametrize("value", [["bad/name"], ["-x"], ["x y"], ["\u00e9"]], ids=number)
def test_bad_container_name(api, value):
    from urllib.parse import quote
    answer = api.post(f"/containers/create?name={quote(value[0])}", {"Image": "busybox"})
    assert answer.status == 400 and "Invalid container name" in answer.message


def test_name_clash(api):
    first = api.ok("POST", "/containers/create?name=one", {"Image": "busybox"})["Id"]
    answer = api.post("/containers/create?name=one", {"Image": "busybox"})
    assert answer.status == 409
    assert answer.message == f'Conflict. The container name "/one" is already in use by container "{first}". You have to remove (or rename) that container to be able to reuse that name.'


@pytest.mark.parametrize("config", [{"Memory": 1000}, {"NanoCpus": -5}, {"PidsLimit": -9e30}, {"CapAdd": ["FLY"]}, {"NetworkMode": "container:"}, {"Binds": ["a"]}, {"Binds": ["/a:b"]},
                                    {"PortBindings": {"x/tcp": [{}]}}, {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}, {"SecurityOpt": ["seccomp={"]}, {"SecurityOpt": ["what"]},
                                    {"Runtime": "nowhere"}, {"RestartPolicy": {"Name": "sometimes"}}, {"ShmSize": -1}, {"Tmpfs": {"relative": ""}},
                                    {"LogConfig": {"Type": "nothing"}}, {"IpcMode": "odd"}, {"PidMode": "odd"}], ids=number)
def test_bad_host_config(api, engine, config):
    answer = api.post("/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": config})
    if answer.status == 201:  # some are found at start, as Docker does
        answer = api.post(f"/containers/{answer.json['Id']}/start")
    assert answer.status in (400, 404, 409, 500) and answer.message, answer


@pytest.mark.parametrize("query", ["signal=NOPE", "signal=999", "signal=-1"])
def test_bad_signal(api, query):
    ident = api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "99"]})["Id"]
    api.ok("POST", f"/containers/{ident}/start")
    answer = api.post(f"/containers/{ident}/kill?{query}")
    assert answer.status == 400 and "nvalid signal" in answer.message


@pytest.mark.parametrize("path", ["/containers/json?filters=%7B", "/containers/json?filters=%7B%22odd%22%3A%5B%22x%22%5D%7D", "/images/json?filters=x"], ids=number)
def test_bad_filters(api, path):
    answer = api.get(path)
    assert answer.status == 400 and "filter" in answer.message


# --- below the level of requests ---------------------------------------------------------------------

@pytest.mark.parametrize("data", [b"\r\n\r\n\r\n", b"NONSENSE\r\n\r\n", b"GET\r\n\r\n", b"GET /_ping\r\n\r\n", b"GET /_ping HTTP/9.9\r\n\r\n", b"GET /_ping HTTP/1.1\r\nbad header\r\n\r\n",
                                  b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: x\r\n\r\n", b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n",
                                  b"GET /%zz HTTP/1.1\r\nHost: d\r\n\r\n", b"GET /\x00 HTTP/1.1\r\nHost: d\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                  b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                                  b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], ids=number)
def test_malformed_request(api, data):
    answer = api.raw(data, timeout=3, half_close=True)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 505")), answer[:200]


@pytest.mark.parametrize("chunks", [b"zz\r\nabc\r\n0\r\n\r\n", b"5\r\nabc", b"-1\r\n\r\n", b"ffffffffffffffffff\r\nx\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"], ids=number)
def test_malformed_chunks(api, chunks):
    head = b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = api.raw(head + chunks, timeout=3, half_close=True)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]


def test_chunked_body_is_read(api):
    body = json.dumps({"Image": "none:x"}).encode()
    answer = api.post("/containers/create", iter([body[:5], body[5:]]), headers={"Content-Type": "application/json"})
    assert answer.status == 404 and answer.message == "No such image: none:x"


def test_head_over_the_limit(api):
    answer = api.raw(b"GET /_ping HTTP/1.1\r\nHost: d\r\nX: " + b"x" * (2 << 20) + b"\r\n\r\n", timeout=3)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400", b"HTTP/1.1 413")), answer[:200]


def test_http_1_0_without_host(api):
    answer = api.raw(b"GET /_ping HTTP/1.0\r\n\r\n", timeout=3)
    assert b" 200 " in answer.split(b"\r\n")[0] and answer.endswith(b"OK")


def test_pipelined_requests_are_answered_in_order(api):
    answer = api.raw(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n" * 2 + b"GET /nothing HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", timeout=3)
    assert answer.count(b"HTTP/1.1 200") == 2 and answer.count(b"HTTP/1.1 404") == 1


def test_expect_100_continue(api):
    answer = api.raw(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", timeout=3)
    assert b"HTTP/1.1 4" in answer


def test_keep_alive(api):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(3)
        peer.connect(api.socket_path)
        for _ in range(20):
            peer.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
            got = b""
            while not got.endswith(b"OK"):
                piece = peer.recv(4096)
                assert piece, got
                got += piece


def test_many_idle_connections(api, engine):
    peers = []
    for _ in range(300):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(api.socket_path)
        peers.append(peer)
    assert api.get("/_ping").body == b"OK"
    for peer in peers:
        peer.close()


def test_slow_head_holds_up_nobody(api):
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(api.socket_path)
        slow.sendall(b"GET /_pi")
        assert api.get("/_ping", timeout=2).body == b"OK"
