# SPDX-License-Identifier: Apache-2.0
"""The registry server, endpoint by endpoint as the distribution specification 1.1 numbers them."""
import json
import os
import socket
import threading

import pytest

from harness import store
from harness.distribution import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Distribution
from harness.sinks import in_netns
from harness.store import sha256

PORT = 5901
MISSING = "sha256:" + "0" * 64


@pytest.fixture
def served(engine, netns):
    engine.api.ok("POST", "/caisson/registry", {"Listen": f"127.0.0.1:{PORT}"})
    client = Distribution(netns, PORT)
    yield client
    for name in engine.api.ok("GET", "/caisson/registry")["Repositories"]:
        for tag in client("GET", f"/v2/{name}/tags/list").json["tags"]:
            client("DELETE", f"/v2/{name}/manifests/{tag}")
    engine.api.ok("DELETE", "/caisson/registry")
    engine.api.ok("POST", "/caisson/registry/prune")


def blobs_of(engine):
    return set(os.listdir(engine.data_root + "/images/blobs/sha256"))


def test_base_end_1(served):
    answer = served("GET", "/v2/")
    assert answer.status == 200 and answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert served("GET", "/v2").status == 200
    assert served("GET", "/v1/").status == 404
    assert served("POST", "/v2/").status == 405 and served("POST", "/v2/").code == "UNSUPPORTED"


def test_blobs_end_2(served):
    data = os.urandom(100_000)
    digest = served.push_blob("blobs", data)
    answer = served("GET", f"/v2/blobs/blobs/{digest}")
    assert answer.status == 200 and answer.body == data and answer.headers["Docker-Content-Digest"] == digest
    head = served("HEAD", f"/v2/blobs/blobs/{digest}")
    assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == str(len(data))
    for name, reference in (("blobs", MISSING), ("other", digest)):
        assert served("GET", f"/v2/{name}/blobs/{reference}").code == "BLOB_UNKNOWN"
        assert served("HEAD", f"/v2/{name}/blobs/{reference}").status == 404
    assert served("GET", "/v2/blobs/blobs/sha256:x").code == "DIGEST_INVALID"
    assert served("GET", f"/v2/blobs/blobs/{digest}", If_None_Match=f'"{digest}"').status == 304


def test_parts_of_blobs(served):
    data = os.urandom(10_000)
    path = f"/v2/parts/blobs/{served.push_blob('parts', data)}"
    for text, part in (("bytes=0-0", data[:1]), ("bytes=100-199", data[100:200]), ("bytes=9000-", data[9000:]), ("bytes=-10", data[-10:]),
                       ("bytes=9990-20000", data[9990:])):
        answer = served("GET", path, Range=text)
        assert answer.status == 206 and answer.body == part, text
        first = data.index(part)
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(part) - 1}/{len(data)}"
    answer = served("GET", path, Range="bytes=10000-")
    assert answer.status == 416 and answer.headers["Content-Range"] == "bytes */10000"
    assert served("GET", path, Range="bytes=1-2,4-5").body == data


def test_upload_in_one_request_end_4b(served):
    data = b"all at once"
    answer = served("POST", f"/v2/once/blobs/uploads/?digest={sha256(data)}", data, Content_Type="application/octet-stream")
    assert answer.status == 201 and answer.headers["Location"] == f"/v2/once/blobs/{sha256(data)}", answer
    assert served("GET", answer.headers["Location"]).body == data
    wrong = served("POST", f"/v2/once/blobs/uploads/?digest={MISSING}", data)
    assert wrong.status == 400 and wrong.code == "DIGEST_INVALID"
    assert served("POST", "/v2/once/blobs/uploads/?digest=md5:00", data).code == "DIGEST_INVALID"


def test_upload_in_pieces_end_5_6_13(served):
    data = os.urandom(300_000)
    begun = served("POST", "/v2/pieces/blobs/uploads/")
    where = begun.headers["Location"]
    first = served("PATCH", where, data[:100_000], Content_Range="0-99999", Content_Type="application/octet-stream")
    assert first.status == 202 and first.headers["Range"] == "0-99999", first
    assert served("GET", where).status == 204 and served("GET", where).headers["Range"] == "0-99999"
    # Out of order: nothing is taken, and the answer tells where it stands.
    for bad in ("0-99999", "150000-199999"):
        answer = served("PATCH", where, data[:50_000], Content_Range=bad)
        assert answer.status == 416 and answer.headers["Range"] == "0-99999", answer
    assert served("PATCH", where, b"x", Content_Range="from here").status == 416
    chunks = iter([data[100_000:150_000], data[150_000:200_000]])
    assert served("PATCH", where, chunks).headers["Range"] == "0-199999"  # chunked, without a range
    done = served("PUT", f"{where}?digest={sha256(data)}", data[200_000:], Content_Range="200000-299999")
    assert done.status == 201, done
    assert served("GET", done.headers["Location"]).body == data
    assert served("GET", where).code == "BLOB_UPLOAD_UNKNOWN"


def test_upload_goes_on_where_it_broke_off(served, netns):
    data = os.urandom(200_000)
    where = served("POST", "/v2/broken/blobs/uploads/").headers["Location"]
    peer = in_netns(netns, lambda: socket.create_connection(("127.0.0.1", PORT), timeout=10))
    peer.sendall(f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:80_000])
    peer.shutdown(socket.SHUT_WR)
    while peer.recv(4096):
        pass
    peer.close()
    state = served("GET", where)
    size = int(state.headers["Range"].split("-")[1]) + 1
    assert state.status == 204 and 0 < size <= 80_000
    assert served("PATCH", where, data[size:], Content_Range=f"{size}-{len(data) - 1}").status == 202
    assert served("PUT", f"{where}?digest={sha256(data)}").status == 201


def test_uploads_that_are_none(served, engine):
    where = served("POST", "/v2/cancel/blobs/uploads/").headers["Location"]
    assert served("PATCH", where, b"abc").status == 202
    assert served("GET", where.replace("/cancel/", "/other/")).status == 404
    assert served("DELETE", where).status == 204
    assert served("DELETE", where).code == "BLOB_UPLOAD_UNKNOWN"
    assert served("PUT", f"{where}?digest={sha256(b'abc')}").code == "BLOB_UPLOAD_UNKNOWN"
    where = served("POST", "/v2/cancel/blobs/uploads/").headers["Location"]
    assert served("PUT", where, b"abc").code == "DIGEST_INVALID"
    assert served("PUT", f"{where}?digest={MISSING}", b"abc").code == "DIGEST_INVALID"
    assert not [name for name in os.listdir(engine.data_root + "/tmp") if name.startswith("image-upload")]


def test_too_many_uploads(served, engine):
    ids = [served("POST", "/v2/many/blobs/uploads/") for _ in range(257)]
    assert ids[255].status == 202 and ids[256].status == 429 and ids[256].code == "TOOMANYREQUESTS"
    for answer in ids[:256]:
        assert served("DELETE", answer.headers["Location"]).status == 204


def test_mount_end_11(served):
    digest = served.push_blob("from/here", b"mounted")
    answer = served("POST", f"/v2/to/there/blobs/uploads/?mount={digest}&from=from/here")
    assert answer.status == 201 and answer.headers["Location"] == f"/v2/to/there/blobs/{digest}"
    assert served("GET", answer.headers["Location"]).body == b"mounted"
    for query in (f"mount={MISSING}&from=from/here", f"mount={digest}&from=nowhere", f"mount={digest}", f"mount={digest}&from=../x"):
        answer = served("POST", f"/v2/else/blobs/uploads/?{query}")
        assert answer.status == 202, query
        served("DELETE", answer.headers["Location"])


def test_manifests_end_3_7(served):
    digest, document = served.artifact("things/a", "v1")
    body = json.dumps(document).encode()
    for reference in ("v1", digest):
        answer = served("GET", f"/v2/things/a/manifests/{reference}", Accept=f"{OCI_INDEX}, {OCI_MANIFEST};q=0.5")
        assert answer.status == 200 and answer.body == body and answer.headers["Content-Type"] == OCI_MANIFEST
        assert answer.headers["Docker-Content-Digest"] == digest
        head = served("HEAD", f"/v2/things/a/manifests/{reference}")
        assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == str(len(body))
    assert served("GET", "/v2/things/a/manifests/v1", Accept=OCI_INDEX).code == "MANIFEST_UNKNOWN"
    for path in ("things/a/manifests/v2", "things/b/manifests/v1", f"things/a/manifests/{MISSING}", "things/a/manifests/.bad"):
        assert served("GET", "/v2/" + path).code == "MANIFEST_UNKNOWN"


def test_manifests_that_are_refused(served):
    served.push_blob("refused", b"{}")
    config = {"mediaType": OCI_EMPTY, "digest": sha256(b"{}"), "size": 2}
    good = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}

    def put(document, reference="t", media_type=OCI_MANIFEST):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return served("PUT", f"/v2/refused/manifests/{reference}", body, Content_Type=media_type)
    assert put({**good, "layers": [{"mediaType": "a/b", "digest": MISSING, "size": 1}]}).code == "MANIFEST_BLOB_UNKNOWN"
    assert put({**good, "layers": [{"mediaType": "a/b", "digest": "sha256:../../etc/passwd", "size": 1}]}).code == "MANIFEST_INVALID"
    assert put({**good, "schemaVersion": 1}).code == "MANIFEST_INVALID"
    assert put(good, media_type=OCI_INDEX).code == "MANIFEST_INVALID"
    assert put(good, media_type="text/plain").code == "MANIFEST_INVALID"
    assert put({"schemaVersion": 2}).code == "MANIFEST_INVALID"
    assert put(b"no json").code == "MANIFEST_INVALID"
    assert put(b"").code == "MANIFEST_INVALID"
    assert put(good, reference=MISSING).code == "DIGEST_INVALID"
    assert put(good, reference=".t").status == 400
    assert put(b" " * (5 << 20)).status == 413
    assert served("GET", "/v2/refused/tags/list").json["tags"] == []


def test_tags_end_8(served):
    assert served("GET", "/v2/nowhere/tags/list").code == "NAME_UNKNOWN"
    for tag in ("c", "a", "b", "sha256-abc"):
        served.artifact("tagged", tag)
    assert served("GET", "/v2/tagged/tags/list").json == {"name": "tagged", "tags": ["a", "b", "c", "sha256-abc"]}
    page = served("GET", "/v2/tagged/tags/list?n=2")
    assert page.json["tags"] == ["a", "b"]
    assert page.headers["Link"] == '</v2/tagged/tags/list?n=2&last=b>; rel="next"'
    page = served("GET", "/v2/tagged/tags/list?n=2&last=b")
    assert page.json["tags"] == ["c", "sha256-abc"] and page.headers["Link"] is None
    assert served("GET", "/v2/tagged/tags/list?n=0").json["tags"] == []
    assert served("GET", "/v2/tagged/tags/list?last=b").json["tags"] == ["c", "sha256-abc"]
    assert served("GET", "/v2/tagged/tags/list?n=x").status == 400
    assert "tagged" in served("GET", "/v2/_catalog").json["repositories"]


def test_delete_end_9_10(served, engine):
    before = blobs_of(engine)
    digest, _ = served.artifact("gone", "one", b"only of this one")
    served("PUT", "/v2/gone/manifests/two", served("GET", "/v2/gone/manifests/one").body, Content_Type=OCI_MANIFEST)
    assert served("DELETE", f"/v2/gone/blobs/{sha256(b'only of this one')}").code == "DENIED"  # the manifest needs it
    assert served("DELETE", "/v2/gone/manifests/one").status == 202
    assert served("GET", "/v2/gone/manifests/one").status == 404
    assert served("GET", "/v2/gone/manifests/two").status == 200
    assert served("DELETE", f"/v2/gone/manifests/{digest}").status == 202
    for reference in ("two", digest):
        assert served("GET", f"/v2/gone/manifests/{reference}").status == 404
        assert served("DELETE", f"/v2/gone/manifests/{reference}").code == "MANIFEST_UNKNOWN"
    assert blobs_of(engine) == before
    blob = served.push_blob("gone", b"never in a manifest")
    assert served("DELETE", f"/v2/gone/blobs/{blob}").status == 202
    assert served("DELETE", f"/v2/gone/blobs/{blob}").code == "BLOB_UNKNOWN"
    assert blobs_of(engine) == before


def test_referrers_end_12(served):
    assert served("GET", f"/v2/refer/referrers/{MISSING}").json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    subject, document = served.artifact("refer", "image")
    pointer = {"mediaType": OCI_MANIFEST, "digest": subject, "size": len(json.dumps(document))}
    made = {}
    for kind in ("application/sig", "application/sbom"):
        config = {"mediaType": OCI_EMPTY, "digest": sha256(b"{}"), "size": 2}
        made[kind], answer = served.push_manifest("refer", None, {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": config,
                                                                  "layers": [config], "subject": pointer, "annotations": {"kind": kind}})
        assert answer.headers["OCI-Subject"] == subject
    answer = served("GET", f"/v2/refer/referrers/{subject}")
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert {m["digest"]: (m["artifactType"], m["annotations"]) for m in answer.json["manifests"]} == {d: (k, {"kind": k}) for k, d in made.items()}
    answer = served("GET", f"/v2/refer/referrers/{subject}?artifactType=application/sig")
    assert [m["digest"] for m in answer.json["manifests"]] == [made["application/sig"]]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert served("GET", "/v2/refer/referrers/nonsense").code == "DIGEST_INVALID"
    # Of clients that do not know the list: an index under a tag.
    other, _ = served.artifact("refer", None, b"by tag")
    served.push_manifest("refer", "sha256-" + MISSING[7:], {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": other, "size": 9, "artifactType": "application/vnd.test"}]}, OCI_INDEX)
    assert [m["digest"] for m in served("GET", f"/v2/refer/referrers/{MISSING}").json["manifests"]] == [other]


def test_an_index_is_kept_with_what_it_lists(served, engine):
    child, document = served.artifact("multi", None, b"for another machine")
    entry = {"mediaType": OCI_MANIFEST, "digest": child, "size": len(json.dumps(document)), "platform": {"os": "linux", "architecture": "riscv64"}}
    digest, _ = served.push_manifest("multi", "all", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}, OCI_INDEX)
    lost, _ = served.artifact("multi", None, b"without a tag")
    assert engine.api.ok("POST", "/caisson/registry/prune")["ManifestsDeleted"] == 1
    assert served("GET", f"/v2/multi/manifests/{lost}").status == 404
    for reference in ("all", digest, child):
        assert served("GET", f"/v2/multi/manifests/{reference}").status == 200
    engine.restart()
    engine.api.ok("POST", "/caisson/registry", {"Listen": f"127.0.0.1:{PORT}"})
    assert served("GET", "/v2/multi/manifests/all").status == 200
    assert served("GET", f"/v2/multi/blobs/{sha256(b'for another machine')}").status == 200


def test_names_that_are_none(served, netns):
    for name in ("UPPER", "a..b", ".a", "-a", "a//b", "a/../b", "%2e%2e/x", "a%2fb%2f..", "a%00b", "x" * 256):
        answer = served("GET", f"/v2/{name}/tags/list")
        assert answer.status in (400, 404), name
        assert answer.status != 404 or answer.code in ("UNSUPPORTED", "NAME_UNKNOWN"), name
        assert served("POST", f"/v2/{name}/blobs/uploads/").status in (400, 404, 405), name


def test_bytes_from_strangers(served, netns, engine):
    def send(data):
        peer = in_netns(netns, lambda: socket.create_connection(("127.0.0.1", PORT), timeout=10))
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        out = b""
        try:
            while piece := peer.recv(4096):
                out += piece
        except ConnectionResetError:
            pass
        peer.close()
        return out
    for data in (b"\0\1\2", b"GET\r\n\r\n", b"PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                 b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", b"GET /v2/" + b"a/" * 40000 + b" HTTP/1.1\r\n\r\n"):
        out = send(data)
        assert out == b"" or out.startswith(b"HTTP/1.1 4"), out
    assert served("GET", "/v2/").status == 200


def test_at_the_same_time(served):
    """The same blob from several at once, and a manifest right after."""
    data = os.urandom(400_000)
    problems = []

    def push(number):
        try:
            served.artifact(f"crowd/{number % 2}", f"t{number}", data)
        except AssertionError as error:
            problems.append(error)
    threads = [threading.Thread(target=push, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert served("GET", f"/v2/crowd/0/blobs/{sha256(data)}").body == data


def test_passwords(engine, netns, tmp_path):
    crypt = pytest.importorskip("crypt")
    (tmp_path / "users").write_text("anna:" + crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)) + "\n")
    engine.api.ok("POST", "/caisson/registry", {"Listen": f"127.0.0.1:{PORT}", "Htpasswd": str(tmp_path / "users")})
    try:
        refused = Distribution(netns, PORT)("GET", "/v2/")
        assert refused.status == 401 and refused.headers["WWW-Authenticate"].startswith("Basic realm=") and refused.code == "UNAUTHORIZED"
        for user in (("anna", "wrong"), ("bert", "secret"), ("", "")):
            assert Distribution(netns, PORT, user)("POST", "/v2/a/blobs/uploads/").status == 401
        assert Distribution(netns, PORT, ("anna", "secret"))("GET", "/v2/").status == 200
    finally:
        engine.api.ok("DELETE", "/caisson/registry")


def test_for_reading_only(engine, netns):
    engine.api.ok("POST", "/caisson/registry", {"Listen": f"127.0.0.1:{PORT}", "ReadOnly": True})
    client = Distribution(netns, PORT)
    engine.api.ok("POST", f"/images/busybox/tag?repo=localhost:{PORT}/shown&tag=1")
    try:
        assert client("POST", "/v2/shown/blobs/uploads/").code == "DENIED"
        assert client("DELETE", "/v2/shown/manifests/1").code == "DENIED"
        manifest = client("GET", "/v2/shown/manifests/1")
        assert manifest.status == 200 and client("GET", "/v2/shown/tags/list").json["tags"] == ["1"]
        for entry in [manifest.json["config"], *manifest.json["layers"]]:
            answer = client("GET", f"/v2/shown/blobs/{entry['digest']}")
            assert sha256(answer.body) == entry["digest"]
    finally:
        engine.api.ok("DELETE", f"/images/localhost:{PORT}/shown:1")
        engine.api.ok("DELETE", "/caisson/registry")


def test_starting_and_stopping(engine, netns):
    api = engine.api
    assert api.ok("GET", "/caisson/registry")["Serving"] is False
    assert api.delete("/caisson/registry").status == 404
    settings = {"Listen": f"127.0.0.1:{PORT}"}
    for _ in range(2):
        assert api.ok("POST", "/caisson/registry", settings)["Serving"] is True  # again is no error
    assert api.post("/caisson/registry", {"Listen": "127.0.0.1:5902"}).status == 409
    assert Distribution(netns, PORT)("GET", "/v2/").status == 200
    api.ok("DELETE", "/caisson/registry")
    with pytest.raises(OSError):
        Distribution(netns, PORT)("GET", "/v2/")
    for bad in ({"Listen": "nonsense:x"}, {**settings, "TLSCert": "/x"}, {**settings, "Htpasswd": "/does/not/exist"}):
        assert api.post("/caisson/registry", bad).status >= 400
    assert api.ok("GET", "/caisson/registry")["Serving"] is False


def test_images_by_config_of_another_machine(served, engine):
    """Stored and served, but no image of this engine."""
    data = store.layer({"a": b"b"})
    config = json.dumps({"architecture": "amd64", "os": "windows", "rootfs": {"type": "layers", "diff_ids": [sha256(data)]}, "config": {}}).encode()
    served.push_blob("foreign", data)
    served.push_blob("foreign", config)
    served.push_manifest("foreign", "1", {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                                          "config": {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": len(config)},
                                          "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(data), "size": len(data)}]})
    assert served("GET", "/v2/foreign/manifests/1").status == 200
    assert engine.api.get(f"/images/localhost:{PORT}/foreign:1/json").status == 404
