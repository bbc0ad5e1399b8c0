# SPDX-License-Identifier: Apache-2.0
"""Secrets of the host, without a swarm: the API, the commands, and containers that get them."""
import base64
import json

import pytest

from harness.container import inspect
from harness.shell import wait_for


@pytest.fixture
def secret(api):
    made = []

    def make(name, data=b"hidden", **fields):
        answer = api.post("/secrets/create", {"Name": name, "Data": base64.b64encode(data).decode(), **fields})
        assert answer.status == 201, answer.body
        made.append(answer.json["ID"])
        return answer.json["ID"]
    yield make
    for user in api.get("/containers/json?all=1").json:
        api.delete(f"/containers/{user['Id']}?force=1")
    for ident in made:
        assert api.delete(f"/secrets/{ident}").status in (204, 404)


def test_secret_create_inspect_update_remove(api, secret):
    ident = secret("key-1", Labels={"a": "b"})
    shown = api.get("/secrets/key-1").json
    assert shown["ID"] == ident and shown["Spec"] == {"Name": "key-1", "Labels": {"a": "b"}} and shown["Version"] == {"Index": 1}
    assert api.get(f"/secrets/{ident[:10]}").json == shown
    assert api.post(f"/secrets/{ident}/update?version=1", {"Name": "key-1", "Labels": {"c": "d"}}).status == 200
    assert api.get("/secrets/key-1").json["Spec"]["Labels"] == {"c": "d"}
    assert api.post(f"/secrets/{ident}/update?version=1", {"Labels": {}}).status == 500
    assert api.post(f"/secrets/{ident}/update?version=2", {"Name": "other"}).status == 400
    assert api.post(f"/secrets/{ident}/update", {}).status == 400
    assert [s["ID"] for s in api.get('/secrets?filters={"label":["c"],"name":["key"]}').json] == [ident]
    assert api.get('/secrets?filters={"names":["key"]}').json == []
    assert api.get('/secrets?filters={"what":["key"]}').status == 400
    assert api.delete("/secrets/key-1").status == 204
    assert api.get("/secrets/key-1").status == 404 and api.delete("/secrets/key-1").status == 404


@pytest.mark.parametrize("body", [
    {"Name": "", "Data": "eA=="}, {"Name": "a/b", "Data": "eA=="}, {"Name": "-a", "Data": "eA=="}, {"Name": "n" * 65, "Data": "eA=="},
    {"Name": "ok"}, {"Name": "ok", "Data": "%%%"}, {"Name": "ok", "Data": 5}, {"Name": "ok", "Data": base64.b64encode(b"x" * (500 * 1024 + 1)).decode()},
])
def test_secret_create_refuses(api, body):
    answer = api.post("/secrets/create", body)
    assert answer.status == 400 and answer.json["message"]
    assert api.get("/secrets/ok").status == 404


def test_secret_name_is_taken(api, secret):
    secret("key-1")
    assert api.post("/secrets/create", {"Name": "key-1", "Data": "eA=="}).status == 409


def test_secret_in_a_container(caisson, api, secret, engine):
    secret("key-1", b"first\x00bytes")
    secret("word", b"open sesame")
    ident = caisson.out("run", "-d", "--name", "holder", "--secret", "key-1", "--secret", "word,target=/etc/word,uid=12,gid=34,mode=0440",
                        "--secret", "word,type=env,target=WORD", "busybox", "sh", "-c", "echo $WORD; sleep 99")
    assert caisson("exec", ident, "cat", "/run/secrets/key-1").raw == b"first\x00bytes"
    assert caisson.out("exec", ident, "stat", "-c", "%u:%g %a", "/etc/word", "/run/secrets/key-1") == "12:34 440\n0:0 444"
    assert caisson("exec", ident, "sh", "-c", "echo x > /etc/word", rc=None).rc != 0
    wait_for(lambda: caisson.out("logs", ident) == "open sesame", "the variable is there")
    # Told nowhere: not by inspect, not by diff, not by commit.
    assert "sesame" not in json.dumps(inspect(caisson, ident)) and "sesame" not in api.get("/containers/json").body.decode()
    caisson("commit", ident, "made:1")
    assert caisson.out("run", "--rm", "made:1", "sh", "-c", "echo $WORD; cat /etc/word").strip() == ""
    answer = api.delete("/secrets/word")
    assert answer.status == 400 and "is in use" in answer.json["message"]
    caisson("kill", ident)
    run_dir = f"{engine.exec_root}/c/{ident}/secrets"
    wait_for(lambda: not __import__("os").path.exists(run_dir), "its copies are gone")
    caisson("start", ident)
    assert caisson.out("exec", ident, "cat", "/etc/word") == "open sesame"


@pytest.mark.parametrize("text, words", [
    ("nothing", "secret nothing not found"),
    ("key-1,mode=999", "mode is an octal number"),
    ("key-1,what=1", "known fields are"),
    ("target=/x", "the source is missing"),
    ("key-1,target=../../etc/passwd", "invalid target"),
    ("key-1,type=env,target=A=B", "invalid target"),
])
def test_secret_refused_at_run(caisson, secret, text, words):
    secret("key-1")
    answer = caisson("run", "--rm", "--secret", text, "busybox", "true", rc=None)
    assert answer.rc == 125 and words in answer.err


def test_secret_commands(cli, tmp_path):
    (tmp_path / "file").write_bytes(b"from a file")
    one = cli.out("secret", "create", "--label", "a=b", "one", str(tmp_path / "file"))
    two = cli.out("secret", "create", "two", "-", stdin="from a pipe")
    try:
        assert cli.out("secret", "ls", "-q").splitlines() == [one, two]
        assert cli.out("secret", "ls", "--format", "{{.Name}} {{.Labels}}", "--filter", "name=one") == "one a=b"
        assert cli("secret", "ls").out.splitlines()[0].split() == ["ID", "NAME", "DRIVER", "CREATED", "UPDATED"]
        assert cli.out("secret", "inspect", "-f", "{{.Spec.Name}}", two) == "two"
    finally:
        assert cli.out("secret", "rm", "one", two).splitlines() == ["one", two]
    assert "not found" in cli("secret", "rm", "one", rc=1).err


@pytest.mark.no_leak_check
def test_secret_outlives_the_engine(own_engine, client_of):
    engine = own_engine()
    engine.api.ok("POST", "/secrets/create", {"Name": "kept", "Data": "eA=="})
    engine.kill9()
    engine.start()
    assert engine.api.get("/secrets/kept").status == 200
