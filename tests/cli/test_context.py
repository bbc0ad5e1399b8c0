# SPDX-License-Identifier: Apache-2.0
"""Contexts: each command with both clients on one folder, so that each reads what the other wrote."""
import io
import json
import os
import stat
import tarfile

import pytest

from harness.certs import Authority, server_flags
from harness.clients import caisson_program, find_docker
from harness.shell import run

OTHER = {"docker": "caisson", "caisson": "docker"}


@pytest.fixture
def clients(tmp_path):
    """clients("docker", "context", "ls"): neither knows of an engine but by contexts."""
    programs = {"docker": find_docker(), "caisson": caisson_program()}
    if programs["docker"] is None:
        pytest.skip("no docker client: none on PATH and none unpacked from Debian")

    def call(name, *args, rc=0, stdin=None, env=None, enter=lambda argv: argv):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "CAISSON_")) and not k.lower().endswith("_proxy")}
        clean.update({"DOCKER_CONFIG": str(tmp_path / "config"), "HOME": str(tmp_path), **(env or {})})
        return run(enter([programs[name], *map(str, args)]), clean, rc=rc, stdin=stdin)
    call.config = tmp_path / "config"
    return call


@pytest.fixture(params=["docker", "caisson"])
def pair(request, clients):
    """(one, other): the same function bound to the two clients, both ways round."""
    return (lambda *args, **options: clients(request.param, *args, **options)), (lambda *args, **options: clients(OTHER[request.param], *args, **options))


def test_context_create_and_inspect(pair):
    one, other = pair
    done = one("context", "create", "box", "--description", "a box", "--docker", "host=tcp://127.0.0.1:1")
    assert done.out == "box\n" and done.err == 'Successfully created context "box"\n'
    seen = json.loads(other("context", "inspect", "box").out)
    assert seen == json.loads(one("context", "inspect", "box").out)
    assert seen[0]["Name"] == "box" and seen[0]["Metadata"] == {"Description": "a box"}
    assert seen[0]["Endpoints"]["docker"] == {"Host": "tcp://127.0.0.1:1", "SkipTLSVerify": False}
    assert other("context", "inspect", "--format", "{{.Endpoints.docker.Host}}", "box").out == "tcp://127.0.0.1:1\n"


@pytest.mark.parametrize("args, words", [
    (["create", "box", "--docker", "host=tcp://1.2.3.4:5"], 'context "box" already exists'), (["create", "default"], '"default" is a reserved context name'),
    (["create", "odd/name"], 'context name "odd/name" is invalid'), (["create", "new", "--docker", "odd=1"], "unrecognized config key: odd"),
    (["use", "nobody"], 'context "nobody": context not found'), (["rm", "nobody"], 'context "nobody" does not exist'), (["rm", "default"], "cannot be removed"),
    (["inspect", "nobody"], 'context "nobody": context not found'), (["update", "nobody", "--description", "x"], 'context "nobody": context not found'),
    (["export", "nobody", "-"], 'context "nobody": context not found'), (["import", "box", "/dev/null"], 'context "box" already exists')])
def test_context_errors(pair, args, words):
    one, other = pair
    other("context", "create", "box", "--docker", "host=tcp://127.0.0.1:1")
    assert words in one("context", *args, rc=1).err


def test_context_ls(pair):
    one, other = pair
    one("context", "create", "bb", "--docker", "host=tcp://127.0.0.1:2")
    other("context", "create", "aa", "--description", "first", "--docker", "host=unix:///x.sock")
    other("context", "use", "aa")
    lines = [line.split() for line in one("context", "ls").out.splitlines()]
    assert lines[0] == ["NAME", "DESCRIPTION", "DOCKER", "ENDPOINT", "ERROR"]
    assert lines[1][0] == "aa" and lines[1][1:] == ["*", "first", "unix:///x.sock"] or lines[2][1:] == ["*", "first", "unix:///x.sock"]
    assert sorted(one("context", "ls", "-q").out.split()) == ["aa", "bb", "default"]
    assert one("context", "ls", "--format", "{{.Name}} {{.Current}}").out.splitlines() == other("context", "ls", "--format", "{{.Name}} {{.Current}}").out.splitlines()


def test_context_use_and_show(pair, clients):
    one, other = pair
    clients.config.mkdir(exist_ok=True)
    (clients.config / "config.json").write_text('{"detachKeys": "ctrl-x", "currentContext": ""}')
    one("context", "create", "box", "--docker", "host=tcp://127.0.0.1:1")
    done = one("context", "use", "box")
    assert done.out == "box\n" and done.err == 'Current context is now "box"\n'
    assert other("context", "show").out == "box\n"
    assert json.loads((clients.config / "config.json").read_text()) | {"auths": {}} == {"detachKeys": "ctrl-x", "currentContext": "box", "auths": {}}
    # The environment wins, and the client says so.
    assert other("context", "show", env={"DOCKER_HOST": "unix:///x"}).out == "default\n"
    assert "DOCKER_HOST environment variable overrides the active context" in one("context", "use", "box", env={"DOCKER_HOST": "unix:///x"}).err
    assert one("context", "show", env={"DOCKER_CONTEXT": "default"}).out == "default\n"
    other("context", "use", "default")
    assert one("context", "show").out == "default\n"
    assert not json.loads((clients.config / "config.json").read_text()).get("currentContext")


def test_context_rm(pair, clients):
    one, other = pair
    one("context", "create", "box", "--docker", "host=tcp://127.0.0.1:1")
    other("context", "use", "box")
    assert "is in use, set -f flag to force remove" in one("context", "rm", "box", rc=1).err
    assert one("context", "rm", "-f", "box").out == "box\n"
    assert one("context", "ls", "-q").out.split() == ["default"] and other("context", "show").out == "default\n"
    assert not any(files for _, _, files in os.walk(clients.config / "contexts"))


def test_context_update(pair):
    one, other = pair
    other("context", "create", "box", "--description", "old", "--docker", "host=tcp://127.0.0.1:1")
    done = one("context", "update", "box", "--description", "new", "--docker", "host=tcp://127.0.0.1:2")
    assert done.out == "box\n" and done.err == 'Successfully updated context "box"\n'
    seen = json.loads(other("context", "inspect", "box").out)[0]
    assert seen["Metadata"]["Description"] == "new" and seen["Endpoints"]["docker"]["Host"] == "tcp://127.0.0.1:2"


def test_context_create_from_another(pair, tmp_path):
    one, other = pair
    other("context", "create", "box", "--docker", f"host=tcp://127.0.0.1:1,ca={Authority(tmp_path / 'certs', 'ours').pem}")
    one("context", "create", "copy", "--from", "box", "--description", "copied")
    seen = json.loads(other("context", "inspect", "copy").out)[0]
    assert seen["Endpoints"]["docker"]["Host"] == "tcp://127.0.0.1:1" and seen["TLSMaterial"] == {"docker": ["ca.pem"]}


def test_context_export_and_import(pair, clients, tmp_path):
    one, other = pair
    home = Authority(tmp_path / "certs", "ours").issue("alice", "clientAuth")
    one("context", "create", "box", "--docker", f"host=tcp://127.0.0.1:1,ca={home}/ca.pem,cert={home}/cert.pem,key={home}/key.pem,skip-tls-verify=true")
    done = one("context", "export", "box", tmp_path / "box.tar")
    assert "Written file" in done.err and stat.S_IMODE(os.stat(tmp_path / "box.tar").st_mode) == 0o600
    assert "exists" in one("context", "export", "box", tmp_path / "box.tar", rc=1).err
    done = other("context", "import", "moved", tmp_path / "box.tar")
    assert done.out == "moved\n" and done.err == 'Successfully imported context "moved"\n'
    seen = json.loads(one("context", "inspect", "moved").out)[0]
    assert seen["Name"] == "moved" and seen["Endpoints"]["docker"] == {"Host": "tcp://127.0.0.1:1", "SkipTLSVerify": True}
    assert seen["TLSMaterial"] == {"docker": ["ca.pem", "cert.pem", "key.pem"]}
    with open(seen["Storage"]["TLSPath"] + "/docker/key.pem", encoding="ascii") as file, open(home + "/key.pem", encoding="ascii") as key:
        assert file.read() == key.read() and stat.S_IMODE(os.stat(file.name).st_mode) == 0o600
    # Through standard streams, too.
    archive = other("context", "export", "moved", "-").raw
    assert one("context", "import", "again", "-", stdin=archive).out == "again\n"


def hostile(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data) if kind == tarfile.REGTYPE else 0
            info.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


META = b'{"Name":"x","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://127.0.0.1:1"}}}'


@pytest.mark.parametrize("members", [
    [("meta.json", META, tarfile.REGTYPE), ("../../escaped", b"x", tarfile.REGTYPE)], [("meta.json", META, tarfile.REGTYPE), ("/tmp/escaped", b"x", tarfile.REGTYPE)],
    [("meta.json", META, tarfile.REGTYPE), ("tls/docker/ca.pem", b"", tarfile.SYMTYPE)], [("meta.json", b"x" * (3 << 20), tarfile.REGTYPE)],
    [("meta.json", META, tarfile.REGTYPE)] * 2, [("tls/docker/ca.pem", b"x", tarfile.REGTYPE)], [("meta.json", b"[]", tarfile.REGTYPE)]])
def test_context_import_of_hostile_archives(clients, tmp_path, members):
    (tmp_path / "archive").write_bytes(hostile(*members))
    assert clients("caisson", "context", "import", "bad", tmp_path / "archive", rc=1).err.strip()
    assert clients("caisson", "context", "ls", "-q").out.split() == ["default"]
    assert not any(files for _, _, files in os.walk(clients.config / "contexts"))
    assert not os.path.exists("/tmp/escaped") and not (tmp_path / "escaped").exists()


def test_context_that_is_gone_can_be_left(clients):
    clients("caisson", "context", "create", "box", "--docker", "host=tcp://127.0.0.1:1")
    clients("caisson", "context", "use", "box")
    clients("docker", "context", "rm", "-f", "box")
    clients.config.joinpath("config.json").write_text('{"currentContext": "box"}')
    assert 'context "box": context not found' in clients("caisson", "ps", rc=1).err
    clients("caisson", "context", "use", "default")
    assert clients("caisson", "context", "show").out == "default\n"


def test_context_reaches_the_engine(pair, own_engine, netns, tmp_path):
    """By unix socket and by TLS, with --context, DOCKER_CONTEXT and the one in use; DOCKER_HOST overrides."""
    one, other = pair
    authority = Authority(tmp_path / "certs", "ours")
    server, mine = authority.issue("engine", "serverAuth"), authority.issue("alice", "clientAuth")
    engine = own_engine(images=(), extra=["--label", "which=this", "--host", "tcp://127.0.0.1:23770", *server_flags(server)])
    other("context", "create", "local", "--docker", f"host={engine.host}")
    other("context", "create", "far", "--docker", f"host=tcp://127.0.0.1:23770,ca={mine}/ca.pem,cert={mine}/cert.pem,key={mine}/key.pem")
    ask = ["info", "--format", "{{.Labels}}"]
    for name in ("local", "far"):
        assert one("--context", name, *ask, enter=netns.enter).out == "[which=this]\n"
        assert one(*ask, env={"DOCKER_CONTEXT": name}, enter=netns.enter).out == "[which=this]\n"
    other("context", "use", "far")
    assert one(*ask, enter=netns.enter).out == "[which=this]\n"
    assert one(*ask, env={"DOCKER_HOST": "unix:///nowhere.sock"}, rc=1, enter=netns.enter).err.strip()
