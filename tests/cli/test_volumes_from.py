# SPDX-License-Identifier: Apache-2.0
"""--volumes-from, and block I/O limits of single devices."""
import os

import pytest

from harness.container import inspect


@pytest.fixture
def source(cli, tmp_path):
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound" / "file").write_text("host\n", encoding="ascii")
    cli("run", "--name", "source", "-v", "/data", "-v", "/anonymous", "-v", f"{tmp_path}/bound:/bound", "busybox", "sh", "-c",
        "echo kept > /data/file; echo nameless > /anonymous/file")
    return "source"


def test_volumes_and_binds_come_along(cli, source):
    assert cli.out("run", "--rm", "--volumes-from", source, "busybox", "cat", "/data/file", "/anonymous/file", "/bound/file").split() == ["kept", "nameless", "host"]
    cli("run", "--name", "second", "--volumes-from", source, "busybox", "sh", "-c", "echo more > /data/more")
    assert {m["Destination"] for m in inspect(cli, "second")["Mounts"]} == {"/data", "/anonymous", "/bound"}
    assert cli.out("run", "--rm", "--volumes-from", "second", "busybox", "cat", "/data/more") == "more"


def test_read_only(cli, source):
    done = cli("run", "--rm", "--volumes-from", source + ":ro", "busybox", "sh", "-c", "cat /data/file; touch /data/x", rc=1)
    assert done.out == "kept\n" and "Read-only" in done.err


def test_what_the_user_puts_there_wins(cli, source, tmp_path):
    assert cli.out("run", "--rm", "--volumes-from", source, "-v", f"{tmp_path}/bound:/data", "busybox", "ls", "/data") == "file"
    assert cli.out("run", "--rm", "--volumes-from", source, "--tmpfs", "/data", "busybox", "ls", "/data") == ""


def test_anonymous_volumes_belong_to_their_maker(cli, source):
    cli("run", "--rm", "--volumes-from", source, "busybox", "true")
    assert cli.out("run", "--rm", "--volumes-from", source, "busybox", "cat", "/anonymous/file") == "nameless"


def test_bad_sources(cli, source):
    assert "No such container" in cli("run", "--rm", "--volumes-from", "nobody", "busybox", "true", rc=None).err
    assert "invalid mode" in cli("run", "--rm", "--volumes-from", source + ":sometimes", "busybox", "true", rc=None).err


@pytest.fixture
def disk():
    """A real disk: a limit on it hurts nobody but the container."""
    with open("/proc/partitions", encoding="ascii") as file:
        for line in file.read().splitlines()[2:]:
            major, minor, _, name = line.split()
            if os.path.exists(f"/sys/block/{name}") and os.path.exists(f"/dev/{name}"):
                return f"/dev/{name}", f"{major}:{minor}"
    pytest.skip("this machine has no disk with a node in /dev")


def test_block_limits_of_a_device(cli, disk):
    path, number = disk
    if not os.path.isdir("/sys/fs/cgroup/blkio"):
        pytest.skip("no blkio hierarchy")
    shown = cli.out("run", "--rm", "--device-read-bps", f"{path}:1mb", "--device-write-iops", f"{path}:50", "busybox", "sh", "-c",
                    "cd /sys/fs/cgroup/blkio; cat blkio.throttle.read_bps_device blkio.throttle.write_iops_device")
    assert shown.splitlines() == [f"{number} 1048576", f"{number} 50"]


def test_block_limits_of_no_device(cli):
    for path, words in (("/dev/null", "not a block device"), ("/dev/nosuch", "No such file")):
        cli("create", "--name", "box", "--device-read-bps", f"{path}:1mb", "busybox", "true")
        done = cli("start", "box", rc=None)
        assert done.rc != 0 and path in done.err and words in done.err
        cli("rm", "box")
