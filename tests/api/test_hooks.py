# SPDX-License-Identifier: Apache-2.0
"""Hooks of the host's administrator: --hooks-dir."""
import json
import os

import pytest

from harness.shell import wait_for

pytestmark = pytest.mark.no_leak_check
STAGES = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


@pytest.fixture
def hooks(own_engine, tmp_path):
    """An engine, and a function that writes hooks which note their stage and state; read() gives what they noted."""
    folder = tmp_path / "hooks.d"
    folder.mkdir()
    engine = own_engine(extra=["--hooks-dir", str(tmp_path / "none"), "--hooks-dir", str(folder)])
    notes = tmp_path / "notes"

    class Hooks:
        def write(self, name, stages, when, script=None, timeout=None):
            program = tmp_path / (name + ".sh")
            program.write_text(script or f"#!/bin/sh\necho $1 $(cat) >> {notes}\n")
            program.chmod(0o755)
            for stage in stages:
                hook = {"path": str(program), "args": ["hook", stage], **({"timeout": timeout} if timeout else {})}
                (folder / f"{name}-{STAGES.index(stage)}.json").write_text(json.dumps({"version": "1.0.0", "hook": hook, "when": when, "stages": [stage]}))

        def read(self):
            lines = [line.split(" ", 1) for line in notes.read_text().splitlines()] if notes.exists() else []
            return [(stage, json.loads(state)) for stage, state in lines]
    made = Hooks()
    made.engine, made.folder = engine, folder
    return made


def test_hooks_of_all_stages(hooks, client_of):
    # createContainer and startContainer run in the container's own namespaces, where this program is not.
    outside = ["prestart", "createRuntime", "poststart", "poststop"]
    hooks.write("note", outside, {"annotations": {"^noted$": "yes"}})
    client = client_of(hooks.engine)
    client("run", "--name", "plain", "busybox", "true")
    assert hooks.read() == []
    ident = client.out("run", "-d", "--annotation", "noted=yes", "busybox", "sh", "-c", "while [ ! -e /end ]; do sleep 0.05; done")
    assert [stage for stage, _ in hooks.read()] == outside[:3]
    client("exec", ident, "touch", "/end")
    client("wait", ident)
    wait_for(lambda: len(hooks.read()) == 4, "poststop has run")
    by_stage = dict(hooks.read())
    assert {s["id"] for s in by_stage.values()} == {ident} and by_stage["poststart"]["status"] == "running" and by_stage["poststop"]["status"] == "stopped"
    assert by_stage["prestart"]["pid"] > 0 and by_stage["prestart"]["annotations"] == {"noted": "yes"}


def test_hook_that_fails_stops_the_start(hooks, client_of):
    hooks.write("bad", ["createRuntime"], {"always": True}, script="#!/bin/sh\necho no luck >&2; exit 3\n")
    client = client_of(hooks.engine)
    answer = client("run", "--name", "never", "busybox", "true", rc=None)
    assert answer.rc == 125 or answer.rc == 128 or answer.rc == 126 or answer.rc == 127
    assert "error running createRuntime hook #0" in answer.err and "no luck" in answer.err
    assert client.out("inspect", "-f", "{{.State.Running}}", "never") == "false"


def test_hook_that_hangs_is_ended(hooks, client_of):
    hooks.write("slow", ["poststop"], {"always": True}, script="#!/bin/sh\nsleep 600\n", timeout=1)
    client = client_of(hooks.engine)
    client("run", "--name", "ends", "busybox", "sh", "-c", "exit 7", rc=7)
    assert client.out("inspect", "-f", "{{.State.ExitCode}} {{.State.Error}}", "ends").startswith("7 error running poststop hook #0")


def test_hook_file_that_is_wrong(hooks, client_of):
    (hooks.folder / "wrong.json").write_text("{")
    client = client_of(hooks.engine)
    answer = client("run", "--rm", "busybox", "true", rc=None)
    assert answer.rc != 0 and "wrong.json" in answer.err
    os.unlink(hooks.folder / "wrong.json")
    client("run", "--rm", "busybox", "true")
