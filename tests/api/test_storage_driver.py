# SPDX-License-Identifier: Apache-2.0
"""overlay2 and vfs: what is chosen, what is refused, and that containers, cp, diff and commit are the same with both."""
import json
import os
import subprocess

import pytest

from harness import store
from harness.shell import run

pytestmark = pytest.mark.no_leak_check


def driver(engine):
    return engine.api.ok("GET", "/info")["Driver"]


def work_with(engine, client):
    """Layers with whiteouts, writing, diff, commit, and the image of it."""
    client("run", "--name", "first", "busybox", "sh", "-c", "rm /bin/ls; mkdir /new; echo one > /new/file; ln /new/file /new/link; chmod 600 /etc/passwd; rm -r /home; ln -s /new /sym")
    lines = client.out("diff", "first").splitlines()
    assert {"D /bin/ls", "A /new", "A /new/file", "A /new/link", "A /sym", "C /etc", "C /bin", "D /home", "C /etc/passwd"} <= set(lines), lines
    assert not [line for line in lines if line.split()[1].startswith(("/usr", "/lib", "/dev"))]
    client("commit", "first", "made:1")
    out = client.out("run", "--rm", "made:1", "sh", "-c", "cat /new/link /sym/file; stat -c '%a' /etc/passwd; ls /home 2>&1; test -e /bin/ls || echo gone; stat -c %h /new/file")
    assert out.splitlines()[:3] == ["one", "one", "600"] and out.splitlines()[-2:] == ["gone", "2"]
    client("run", "--name", "second", "made:1", "sh", "-c", "rm -r /new; mkdir /new; echo two > /new/other")
    client("commit", "second", "made:2")
    assert client.out("run", "--rm", "made:2", "sh", "-c", "echo /new/*") == "/new/other"
    client("start", "-a", "first", rc=None)
    assert client("cp", "second:/new/other", "-").raw.count(b"two\n") == 1
    client("rm", "first", "second")
    client("rmi", "made:2", "made:1")


def test_vfs(own_engine, client_of):
    engine = own_engine(extra=["--storage-driver", "vfs"])
    client = client_of(engine)
    assert driver(engine) == "vfs"
    work_with(engine, client)
    long = client.out("run", "-d", "busybox", "sh", "-c", "echo kept > /kept; sleep 999")
    client("exec", long, "sh", "-c", "while [ ! -e /kept ]; do sleep 0.1; done")
    assert not [line for line in client.out("exec", long, "cat", "/proc/mounts").splitlines() if line.split()[1] == "/" and "overlay" in line]
    engine.kill9()
    engine.start()
    assert client.out("exec", long, "cat", "/kept") == "kept"
    client("restart", "-t", "0", long)
    assert client.out("exec", long, "cat", "/kept") == "kept"
    client("rm", "-f", long)
    client("rmi", "busybox")
    assert os.listdir(engine.data_root + "/vfs") == [] if os.path.exists(engine.data_root + "/vfs") else True
    assert store.orphans(engine) == []


def test_overlay2(own_engine, client_of):
    engine = own_engine(extra=["--storage-driver", "overlay2"])
    assert driver(engine) == "overlay2"
    work_with(engine, client_of(engine))


@pytest.mark.parametrize("ladder", ["list", "page"])
def test_older_ways_to_mount(own_engine, client_of, monkeypatch, ladder):
    """Without lowerdir+, and by mount(2) as before Linux 6.5."""
    monkeypatch.setenv("CAISSON_OVERLAY_MOUNT", ladder)
    engine = own_engine()
    assert driver(engine) == "overlay2"
    work_with(engine, client_of(engine))


@pytest.mark.parametrize("way", ["", "page", "vfs"])
def test_many_layers(own_engine, client_of, monkeypatch, way):
    """150 of them, each with a file of its own and one that all write."""
    if way == "page":
        monkeypatch.setenv("CAISSON_OVERLAY_MOUNT", way)
    engine = own_engine(extra=["--storage-driver", "vfs"] if way == "vfs" else [])
    layers = [store.layer({f"n{number}": b"", "last": str(number).encode()}) for number in range(150)]
    body = store.archive("deep:1", [store.busybox_layer(), *layers])
    assert engine.api.post("/images/load", body, headers={"Content-Type": "application/x-tar"}).status == 200
    client = client_of(engine)
    assert client.out("run", "--rm", "deep:1", "sh", "-c", "cat /last; echo; ls -d /n* | wc -l") == "149\n150"
    client("run", "--name", "top", "deep:1", "rm", "/n7")
    assert "D /n7" in client.out("diff", "top").splitlines()
    client("rm", "top")


def test_marks_of_overlay_in_images_are_dropped(own_engine, client_of):
    """Nobody's layer steers overlay: redirect, metacopy and opaque come from whiteout files alone, and the engine's own
    upper directories hold whole files."""
    engine = own_engine()
    client = client_of(engine)
    client("run", "--name", "owner", "busybox", "sh", "-c", "chown 7 /bin/busybox; mv /home /moved")
    upper = engine.api.ok("GET", "/containers/owner/json")["GraphDriver"]["Data"]["UpperDir"]
    assert os.path.getsize(upper + "/bin/busybox") > 100_000  # no metadata alone
    for folder, dirs, files in os.walk(upper):
        for name in dirs + files:
            marks = os.listxattr(os.path.join(folder, name), follow_symlinks=False)
            assert not [mark for mark in marks if mark.endswith(("overlay.metacopy", "overlay.redirect"))], (name, marks)
    client("rm", "owner")


@pytest.fixture
def on_overlay(own_engine):
    """An engine, not started, whose data root lies on an overlay."""
    engine = own_engine(images=(), start=False)
    for name in ("lower", "upper", "work", "data"):
        os.makedirs(f"{engine.root}/{name}", exist_ok=True)
    root = engine.root
    run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={root}/lower,upperdir={root}/upper,workdir={root}/work", engine.data_root])
    yield engine
    engine.destroy()
    subprocess.run(["umount", "-l", engine.data_root], check=True)


def test_overlay_on_overlay_copies(on_overlay, client_of):
    on_overlay.start()
    on_overlay.load("busybox")
    assert driver(on_overlay) == "vfs"
    assert "lies on an overlay itself" in on_overlay.log()
    client = client_of(on_overlay)
    assert client.out("run", "--rm", "busybox", "echo", "inside") == "inside"


def test_overlay_on_overlay_is_refused_where_it_was_asked_for(on_overlay):
    on_overlay.argv += ["--storage-driver", "overlay2"]
    with pytest.raises(AssertionError, match="lies on an overlay itself, which cannot carry another one"):
        on_overlay.start()


def test_data_root_of_the_other_driver(own_engine):
    engine = own_engine()
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})["Id"]
    engine.stop()
    engine.argv += ["--storage-driver", "vfs"]
    with pytest.raises(AssertionError, match="has containers of the storage driver overlay2"):
        engine.start()
    engine.argv[-2:] = []
    engine.start()
    engine.api.ok("DELETE", f"/containers/{ident}")
    engine.stop()
    engine.argv += ["--storage-driver", "vfs"]
    engine.start()
    assert driver(engine) == "vfs"


@pytest.mark.parametrize("name", ["aufs", "devicemapper", "btrfs", "zfs", "fuse-overlayfs", "nonsense"])
def test_other_drivers_are_refused(own_engine, name):
    engine = own_engine(extra=["--storage-driver", name], start=False)
    with pytest.raises(AssertionError, match="not supported"):
        engine.start()


def test_size_without_quotas(own_engine, tmp_path):
    """One clear error where the file system cannot limit."""
    engine = own_engine()
    answer = engine.api.post("/containers/create", {"Image": "busybox", "HostConfig": {"StorageOpt": {"size": "1G"}}})
    if answer.status == 201:
        pytest.skip("the file system of the tests has project quotas")
    assert answer.status == 500 and "--storage-opt is supported only for" in answer.message and "mount it with prjquota" in answer.message
    for bad in ("", "0", "-1", "1x", "many", "99999999999999999999"):
        answer = engine.api.post("/containers/create", {"Image": "busybox", "HostConfig": {"StorageOpt": {"size": bad}}})
        assert answer.status == 400 and "invalid size" in answer.message, bad
    (tmp_path / "daemon.json").write_text(json.dumps({"storage-opts": ["overlay2.size=1G"]}))
    limited = own_engine(extra=["--config-file", str(tmp_path / "daemon.json")], start=False)
    with pytest.raises(AssertionError, match="storage option size: .*no project quotas"):
        limited.start()
    wrong = own_engine(extra=["--storage-opt", "colour=red"], start=False)
    with pytest.raises(AssertionError, match="unknown storage option 'colour'"):
        wrong.start()


def test_file_system_that_overlay_can_use(own_engine):
    engine = own_engine()
    status = dict(engine.api.ok("GET", "/info")["DriverStatus"])
    assert status["Backing Filesystem"] in ("extfs", "ext4", "xfs", "btrfs", "tmpfs", "f2fs"), status
    with open(engine.data_root + "/storage-driver", encoding="ascii") as file:
        assert file.read() == "overlay2\n"
