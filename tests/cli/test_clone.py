# SPDX-License-Identifier: Apache-2.0
"""container clone, which Docker's client does not have; rename of a running container."""
import pytest

from harness.container import inspect


def test_clone_is_made_as_the_original(caisson, tmp_path):
    caisson("run", "-d", "--name", "first", "-e", "A=1", "-l", "x=y", "-m", "64m", "--cap-drop", "ALL", "-v", f"{tmp_path}:/data", "--restart", "on-failure:2",
            "busybox", "sleep", "99")
    made = caisson.out("container", "clone", "first")
    copy, original = inspect(caisson, made), inspect(caisson, "first")
    assert copy["Name"] == "/first-clone" and copy["State"]["Status"] == "created" and copy["Config"]["Hostname"] == made[:12]
    for part in ("Config", "HostConfig"):
        for side in (copy, original):
            side[part].pop("Hostname", None)
        assert copy[part] == original[part]
    caisson("start", made)
    assert inspect(caisson, made)["State"]["Running"]


def test_clone_name_image_run_destroy(caisson):
    caisson("create", "--name", "first", "busybox", "cat", "/etc/os-release")
    made = caisson.out("container", "clone", "--run", "first", "second", "debian")
    assert caisson.out("wait", made) == "0" and "Debian" in caisson.out("logs", "second")
    caisson("container", "clone", "--destroy", "--name", "third", "first")
    assert "No such container" in caisson("inspect", "--type", "container", "first", rc=1).err
    caisson("rename", "second", "first")
    caisson("run", "-d", "--name", "runs", "busybox", "sleep", "99")
    assert "only with --force" in caisson("container", "clone", "--destroy", "runs", rc=1).err
    assert caisson("container", "clone", "runs-clone", rc=1).err.count("No such container") == 1
    caisson("container", "clone", "--destroy", "--force", "runs", "after")
    assert caisson.out("ps", "-a", "--filter", "name=^runs$", "-q") == ""


@pytest.mark.parametrize("arguments, words", [
    (["--force", "first"], "cannot set --force without --destroy"),
    (["--name", "aa", "first", "bb"], "given twice"),
    (["nobody"], "No such container"),
])
def test_clone_refuses(caisson, arguments, words):
    caisson("create", "--name", "first", "busybox")
    assert words in caisson("container", "clone", *arguments, rc=1).err


def test_rename_of_a_running_container(cli):
    ident = cli.out("run", "-d", "--name", "before", "busybox", "sleep", "99")
    cli("rename", "before", "after")
    shown = inspect(cli, "after")
    assert shown["Id"] == ident and shown["State"]["Running"] and shown["Name"] == "/after"
    assert cli.out("exec", "after", "hostname") == ident[:12]
    cli("inspect", "before", rc=1)
    assert cli.out("run", "-d", "--name", "before", "busybox", "sleep", "99") != ident
    assert "already in use" in cli("rename", "before", "after", rc=1).err
