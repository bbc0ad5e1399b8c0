# SPDX-License-Identifier: Apache-2.0
"""diff, cp in both directions, export."""
import io
import os
import stat
import tarfile

import pytest

from harness.container import LOOP, inspect


@pytest.fixture
def sleeper(cli):
    return cli.out("run", "-d", "--name", "sleeper", "busybox", "sleep", "99")


def tar_of(*members):
    """[(name, bytes or None for a directory)] as an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if data is None else 0o644
            if data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def names_in(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {m.name: m for m in archive.getmembers()}


# --- diff -------------------------------------------------------------------------------------------

def test_diff_of_a_fresh_container_is_empty(cli, sleeper):
    assert cli.out("diff", sleeper) == ""


@pytest.mark.parametrize("running", [True, False])
def test_diff_tells_added_changed_deleted(cli, running):
    script = "mkdir /new; echo x > /new/file; echo y >> /etc/passwd; rm /etc/group; rm -r /var/spool; mkdir /var/spool; echo z > /var/spool/n"
    cli("run", "-d", "--name", "changer", "busybox", "sh", "-c", f"{script}; touch /done; {'sleep 99' if running else 'true'}")
    if running:
        while cli("exec", "changer", "test", "-e", "/done", rc=None).rc != 0:
            pass
    else:
        cli("wait", "changer")
    lines = cli.out("diff", "changer").splitlines()
    for line in ("A /new", "A /new/file", "C /etc", "C /etc/passwd", "D /etc/group", "C /var", "A /done"):
        assert line in lines, (line, lines)
    assert "D /var/spool" not in lines and [line[2:] for line in lines] == sorted(line[2:] for line in lines)


def test_diff_of_an_unknown_container(cli):
    assert "No such container: nobody" in cli("diff", "nobody", rc=1).err


# --- cp ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("state", ["created", "running", "exited"])
def test_cp_a_file_both_ways(cli, tmp_path, state):
    cli("create", "--name", "box", "busybox", *(["sleep", "99"] if state == "running" else ["true"]))
    if state != "created":
        cli("start", "box")
    if state == "exited":
        cli("wait", "box")
    (tmp_path / "in").write_text("content\n")
    os.chmod(tmp_path / "in", 0o741)
    cli("cp", tmp_path / "in", "box:/tmp/renamed")
    cli("cp", tmp_path / "in", "box:/tmp")
    cli("cp", "box:/tmp/renamed", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "content\n" and stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o741
    cli("cp", "box:/tmp/in", tmp_path)
    assert (tmp_path / "in").read_text() == "content\n"
    if state == "running":
        assert cli.out("exec", "box", "cat", "/tmp/renamed") == "content"
    elif state == "created":
        cli("start", "box")


def test_cp_directories(cli, sleeper, tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text("deep")
    (tmp_path / "d" / "link").symlink_to("e/f")
    cli("cp", tmp_path / "d", "sleeper:/tmp")
    cli("cp", f"{tmp_path}/d", "sleeper:/tmp/other")
    cli("cp", f"{tmp_path}/d/.", "sleeper:/home")
    listed = cli.out("exec", "sleeper", "cat", "/tmp/d/e/f", "/tmp/other/e/f", "/home/e/f", "/home/link")
    assert listed == "deep" * 4
    cli("cp", "sleeper:/tmp/d", tmp_path / "back")
    assert (tmp_path / "back" / "e" / "f").read_text() == "deep" and os.readlink(tmp_path / "back" / "link") == "e/f"
    (tmp_path / "into").mkdir()
    cli("cp", "sleeper:/tmp/d/.", tmp_path / "into")
    assert (tmp_path / "into" / "e" / "f").read_text() == "deep"


def test_cp_through_standard_streams(cli, sleeper):
    cli("cp", "-", "sleeper:/tmp", stdin=tar_of(("dir", None), ("dir/file", b"from a tar")))
    assert cli.out("exec", sleeper, "cat", "/tmp/dir/file") == "from a tar"
    members = names_in(cli("cp", "sleeper:/tmp/dir", "-").raw)
    assert set(members) == {"dir", "dir/file"} and members["dir/file"].size == 10


def test_cp_errors(cli, sleeper, tmp_path):
    assert "Could not find the file /nowhere in container sleeper" in cli("cp", "sleeper:/nowhere", tmp_path / "x", rc=1).err
    assert "No such container: nobody" in cli("cp", "nobody:/etc/passwd", tmp_path / "x", rc=1).err
    assert "copying between containers is not supported" in cli("cp", "a:/x", "b:/y", rc=1).err
    assert "must specify at least one container source" in cli("cp", "/x", "/y", rc=1).err
    assert "no such file or directory" in cli("cp", tmp_path / "missing", "sleeper:/tmp", rc=1).err
    assert "no such directory" in cli("cp", "/etc/hostname", "sleeper:/tmp/none/", rc=1).err
    assert "cannot copy directory" in cli("cp", tmp_path, "sleeper:/etc/passwd", rc=1).err
    assert "does not exist" in cli("cp", "sleeper:/etc/passwd", tmp_path / "a" / "b", rc=1).err
    assert "must be a directory" in cli("cp", "-", "sleeper:/etc/passwd", rc=1, stdin=tar_of(("f", b""))).err


def test_cp_of_links(cli, sleeper, tmp_path):
    cli("exec", "sleeper", "sh", "-c", "echo real > /tmp/real; ln -s /tmp/real /tmp/link; ln -s /etc /tmp/dirlink")
    cli("cp", "sleeper:/tmp/link", tmp_path / "as-link")
    assert os.readlink(tmp_path / "as-link") == "/tmp/real"
    cli("cp", "-L", "sleeper:/tmp/link", tmp_path / "followed")
    assert (tmp_path / "followed").read_text() == "real\n" and not (tmp_path / "followed").is_symlink()
    # A link as destination is followed, inside the container.
    (tmp_path / "f").write_text("x")
    cli("cp", tmp_path / "f", "sleeper:/tmp/dirlink")
    assert cli.out("exec", "sleeper", "cat", "/etc/f") == "x"
    (tmp_path / "local").symlink_to(tmp_path / "f")
    cli("cp", "-L", tmp_path / "local", "sleeper:/tmp/copied")
    assert cli.out("exec", "sleeper", "stat", "-c", "%F", "/tmp/copied") == "regular file"


def test_cp_archive_mode_gives_files_to_the_user(cli, tmp_path):
    cli("run", "-d", "--name", "box", "-u", "1234:77", "busybox", "sleep", "99")
    (tmp_path / "f").write_text("x")
    os.chown(tmp_path / "f", 55, 66)
    cli("cp", "-a", tmp_path / "f", "box:/tmp/owned")
    cli("cp", tmp_path / "f", "box:/tmp/kept")
    assert cli.out("exec", "box", "stat", "-c", "%u:%g", "/tmp/owned", "/tmp/kept").split() == ["1234:77", "55:66"]


@pytest.mark.parametrize("running", [True, False])
def test_cp_sees_volumes_and_binds(cli, tmp_path, running):
    (tmp_path / "bind").mkdir()
    (tmp_path / "f").write_text("moved")
    cli("create", "--name", "box", "-v", "/vol", "-v", f"{tmp_path}/bind:/bind", "busybox", "sleep", "99")
    if running:
        cli("start", "box")
    cli("cp", tmp_path / "f", "box:/bind/f")
    assert (tmp_path / "bind" / "f").read_text() == "moved"
    cli("cp", tmp_path / "f", "box:/vol/f")
    volume = next(m for m in inspect(cli, "box")["Mounts"] if m["Destination"] == "/vol")
    with open(volume["Source"] + "/f", encoding="ascii") as file:
        assert file.read() == "moved"
    cli("cp", "box:/vol/f", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "moved"


@pytest.mark.parametrize("running", [True, False])
def test_cp_into_what_is_read_only(cli, tmp_path, running):
    (tmp_path / "f").write_text("x")
    cli("create", "--name", "box", "--read-only", "-v", f"{tmp_path}:/ro:ro", "-v", f"{tmp_path}:/rw", "busybox", "sleep", "99")
    if running:
        cli("start", "box")
    assert "container rootfs is marked read-only" in cli("cp", tmp_path / "f", "box:/tmp", rc=1).err
    assert "mounted volume is marked read-only" in cli("cp", tmp_path / "f", "box:/ro", rc=1).err
    cli("cp", tmp_path / "f", "box:/rw/g")
    assert (tmp_path / "g").read_text() == "x"


def test_cp_says_what_it_copied(cli, sleeper, tmp_path):
    quiet = cli("cp", "sleeper:/etc/passwd", tmp_path / "p")
    assert quiet.out == quiet.err == ""
    loud = cli("cp", "-q=false", "sleeper:/etc/passwd", tmp_path / "p")
    assert f"Successfully copied 2.05kB to {tmp_path}/p" in loud.out + loud.err


def test_cp_a_large_file(cli, sleeper, tmp_path):
    data = os.urandom(1 << 20) * 40
    (tmp_path / "large").write_bytes(data)
    cli("cp", tmp_path / "large", "sleeper:/tmp/large")
    cli("cp", "sleeper:/tmp/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


def test_cp_while_the_container_starts(cli, tmp_path):
    cli("create", "--name", "box", "busybox", "sh", "-c", f"{LOOP}")
    reader = cli.start("cp", "box:/bin", "-")
    assert reader.stdout.read(512)
    cli("start", "box")
    cli("exec", "box", "sh", "-c", "echo now > /tmp/now")
    assert len(reader.stdout.read()) > 100000
    assert reader.wait(20) == 0
    cli("cp", "box:/tmp/now", tmp_path / "now")
    assert (tmp_path / "now").read_text() == "now\n" and inspect(cli, "box")["State"]["Running"]


# --- export -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("running", [True, False])
def test_export(cli, tmp_path, running):
    cli("run", "-d", "--name", "box", "-v", "/volume", "busybox", "sh", "-c",
        f"echo x > /added; echo y > /volume/hidden; rm /etc/group; {'sleep 99' if running else 'true'}")
    if not running:
        cli("wait", "box")
    else:
        while cli("exec", "box", "test", "-e", "/etc/group", rc=None).rc == 0:
            pass
    cli("export", "-o", tmp_path / "out.tar", "box")
    with open(tmp_path / "out.tar", "rb") as file:
        members = names_in(file.read())
    assert {"bin", "bin/busybox", "etc/passwd", "added"} <= set(members)
    assert "etc/group" not in members and "volume/hidden" not in members and not any(name.startswith("proc/") for name in members)
    assert set(names_in(cli("export", "box").raw)) == set(members)


def test_export_errors(cli, tmp_path):
    assert "No such container: nobody" in cli("export", "nobody", rc=1).err
    assert "invalid output path" in cli("export", "-o", tmp_path / "a" / "b", "nobody", rc=1).err
