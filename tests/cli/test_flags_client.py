# SPDX-License-Identifier: Apache-2.0
"""Flags of run that the client acts on or passes through: streams, labels, platform, stopping, devices by request."""
import hashlib
import io
import json
import os
import signal
import tarfile

import pytest

from harness.container import LOOP, inspect
from harness.shell import IMAGES, wait_for


def test_annotation(cli):
    ident = cli.out("create", "--annotation", "org.example.a=b", "--annotation", "empty=", "busybox")
    assert inspect(cli, ident)["HostConfig"]["Annotations"] == {"org.example.a": "b", "empty": ""}


def test_annotation_without_a_name(api, engine):
    answer = api.post("/containers/create", {"Image": "busybox", "HostConfig": {"Annotations": {"": "x"}}})
    assert answer.status == 400 and "the empty string is not permitted as an annotation key" in answer.message


def test_attach(cli):
    script = ("busybox", "sh", "-c", "echo out; echo err >&2")
    done = cli("run", "--rm", "-a", "stdout", *script)
    assert (done.out, done.err) == ("out\n", "")
    done = cli("run", "--rm", "-a", "STDERR", *script)
    assert (done.out, done.err) == ("", "err\n")
    done = cli("run", "--rm", "-a", "stdout", "-a", "stderr", *script)
    assert (done.out, done.err) == ("out\n", "err\n")
    assert cli("run", "--rm", "-i", "-a", "stdin", "-a", "stdout", "busybox", "cat", stdin="given\n").out == "given\n"
    assert "valid streams are STDIN, STDOUT and STDERR" in cli("run", "-a", "both", "busybox", "true", rc=125).err
    assert cli("run", "-d", "-a", "stdout", "busybox", "true", rc=None).rc in (1, 125)


def test_detach_keys(cli):
    with cli.terminal("run", "-it", "--detach-keys", "ctrl-a,a", "--name", "kept", "busybox", "sh") as tty:
        tty.expect("# ")
        tty.type("\x10\x11echo st''ill\n")  # the default keys are text now
        tty.expect("still")
        tty.type("\x01a")
        tty.wait()
    assert inspect(cli, "kept")["State"]["Running"] is True
    assert cli("run", "--rm", "-it", "--detach-keys", "ctrl-", "busybox", "true", rc=None).rc != 0


def test_disable_content_trust(cli):
    for flag in ("--disable-content-trust", "--disable-content-trust=true"):
        assert cli.out("run", "--rm", flag, "busybox", "echo", "ran") == "ran"


def test_label_file(cli, tmp_path):
    path = tmp_path / "labels"
    path.write_text("# no label\n\nfirst=1\nsecond=a = b\n", encoding="utf-8")
    ident = cli.out("create", "--label-file", path, "--label", "first=own", "busybox")
    assert inspect(cli, ident)["Config"]["Labels"] == {"first": "own", "second": "a = b"}
    assert cli.out("ps", "-aq", "--no-trunc", "--filter", "label=second=a = b") == ident
    assert "no such file or directory" in cli("create", "--label-file", tmp_path / "none", "busybox", rc=None).err


def test_quiet(cli, registry):
    name = f"{registry.address}/quiet-{cli.name}/busybox:1"
    cli("tag", "busybox", name)
    cli("push", name)
    cli("rmi", name)
    done = cli("run", "--rm", "--quiet", name, "echo", "ran")
    assert (done.out, done.err) == ("ran\n", "")
    cli("rmi", name)
    assert "Unable to find image" in cli("run", "--rm", name, "true").err


@pytest.fixture
def foreign(engine, cli):
    """An image for another architecture, with busybox's files."""
    name = f"foreign-{cli.name}:1"
    with tarfile.open(f"{IMAGES}/busybox.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        config = json.load(archive.extractfile(manifest["Config"]))
        layers = [archive.extractfile(layer).read() for layer in manifest["Layers"]]
    config["architecture"], config["variant"] = "s390x", ""
    text = json.dumps(config).encode()
    members = {hashlib.sha256(text).hexdigest() + ".json": text} | {f"layer{i}.tar": data for i, data in enumerate(layers)}
    members["manifest.json"] = json.dumps([{"Config": next(iter(members)), "RepoTags": [name], "Layers": [f"layer{i}.tar" for i in range(len(layers))]}]).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    answer = engine.api.post("/images/load?quiet=1", out.getvalue(), headers={"Content-Type": "application/x-tar"})
    assert answer.status == 200 and b"errorDetail" not in answer.body, answer
    return name


def test_platform(cli, foreign):
    machine = cli.out("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", "busybox")
    assert cli.out("run", "--rm", "--platform", machine, "busybox", "echo", "ran") == "ran"
    failed = cli("run", "--pull", "never", "--platform", "linux/s390x", "busybox", "true", rc=125)
    assert f"image with reference busybox was found but its platform ({machine}) does not match the specified platform (linux/s390x)" in failed.err
    done = cli("create", foreign)
    assert f"WARNING: The requested image's platform (linux/s390x) does not match the detected host platform ({machine}" in done.err
    assert cli("create", "--platform", "linux/s390x", foreign).err == ""
    assert cli("run", "--pull", "never", "--platform", "a/b/c/d", "busybox", "true", rc=None).rc == 125


def test_stop_signal(cli):
    """What is sent by `stop` is what the program sees."""
    ident = cli.out("run", "-d", "--stop-signal", "SIGUSR1", "busybox", "sh", "-c", "trap 'exit 31' USR1; " + LOOP)
    wait_for(lambda: int(status_of(cli, ident)["SigCgt"], 16) & 1 << signal.SIGUSR1 - 1, "the trap is set")
    cli("stop", ident)
    assert inspect(cli, ident)["State"]["ExitCode"] == 31
    assert "invalid signal: NOPE" in cli("run", "--stop-signal", "NOPE", "busybox", "true", rc=125).err


def status_of(cli, ident):
    from harness.container import pid_of, proc_status
    return proc_status(pid_of(cli, ident))


def test_stop_timeout(cli):
    ident = cli.out("run", "-d", "--stop-timeout", "0", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    assert inspect(cli, ident)["Config"]["StopTimeout"] == 0
    wait_for(lambda: int(status_of(cli, ident)["SigIgn"], 16) & 1 << signal.SIGTERM - 1, "the trap is set")
    cli("stop", ident)
    assert inspect(cli, ident)["State"]["ExitCode"] == 137
    # Without the flag it would be ten seconds before the kill; long enough for a program that takes its time.
    slow = cli.out("run", "-d", "--stop-timeout", "30", "busybox", "sh", "-c", "trap 'sleep 0.5; exit 9' TERM; while :; do sleep 0.05; done")
    wait_for(lambda: int(status_of(cli, slow)["SigCgt"], 16) & 1 << signal.SIGTERM - 1, "the trap is set")
    cli("stop", slow)
    assert inspect(cli, slow)["State"]["ExitCode"] == 9


def test_gpus(cli):
    failed = cli("run", "--gpus", "all", "busybox", "true", rc=125)
    assert 'could not select device driver "" with capabilities: [[gpu]]' in failed.err
    failed = cli("run", "--gpus", "driver=nvidia,count=1,\"capabilities=compute,utility\"", "busybox", "true", rc=125)
    assert 'could not select device driver "nvidia" with capabilities: [[' in failed.err
    assert cli("run", "--gpus", "count=x", "busybox", "true", rc=None).rc == 125


def test_use_api_socket(cli, engine, tmp_path):
    os.makedirs(cli.env["DOCKER_CONFIG"], exist_ok=True)
    with open(cli.env["DOCKER_CONFIG"] + "/config.json", "w", encoding="ascii") as file:
        json.dump({"auths": {"reg.example": {"auth": "dXNlcjpwYXNz"}}, "detachKeys": "ctrl-z"}, file)
    done = cli("run", "--rm", "--use-api-socket", "busybox", "sh", "-c",
               "test -S /var/run/docker.sock && echo $DOCKER_CONFIG; stat -c %a $DOCKER_CONFIG/config.json; cat $DOCKER_CONFIG/config.json")
    assert "/run/secrets/docker\n600\n" in done.out
    seen = json.loads(done.out.split("600\n", 1)[1])
    assert "reg.example" in seen["auths"] and "detachKeys" not in seen
    ident = cli.out("create", "--use-api-socket", "-e", "DOCKER_CONFIG=/mine", "busybox")
    shown = inspect(cli, ident)
    assert "DOCKER_CONFIG=/mine" in shown["Config"]["Env"]
    assert [(m["Source"], m["Destination"]) for m in shown["Mounts"]] == [(engine.socket, "/var/run/docker.sock")]


def test_use_api_socket_needs_a_socket(cli):
    cli.env["DOCKER_HOST" if cli.name == "docker" else "CAISSON_HOST"] = "tcp://127.0.0.1:1"
    assert cli("run", "--use-api-socket", "busybox", "true", rc=None).rc in (1, 125)
