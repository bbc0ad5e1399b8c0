# SPDX-License-Identifier: Apache-2.0
"""--mount with all its types and options, and what stands beside it: --volume-driver, --storage-opt."""
import os
import subprocess

import pytest

from harness.container import inspect


@pytest.fixture
def volume(cli, request):
    """A name; what it stands for is gone afterwards."""
    name = f"vol-{os.getpid()}-{cli.name}"
    yield name
    for container in cli.out("ps", "-aq").split():
        cli("rm", "-fv", container)
    request.getfixturevalue("shared_engine").api.delete(f"/volumes/{name}")
    request.getfixturevalue("engine")
    path = f"{request.getfixturevalue('shared_engine').data_root}/volumes/{name}"
    subprocess.run(["rm", "-rf", path], check=False)


def mounted(cli, spec, script, *flags, rc=0):
    return cli("run", "--rm", *flags, "--mount", spec, "busybox", "sh", "-c", script, rc=rc)


def options_of(cli, spec, target, *flags):
    line = next(line for line in cli.out("run", "--rm", *flags, "--mount", spec, "busybox", "cat", "/proc/self/mountinfo").splitlines() if line.split()[4] == target)
    return line.split()[5].split(","), line


def test_mount_bind(cli, tmp_path):
    (tmp_path / "file").write_text("here\n", encoding="ascii")
    assert mounted(cli, f"type=bind,src={tmp_path},dst=/mnt/in", "cat /mnt/in/file; touch /mnt/in/new").out == "here\n"
    assert (tmp_path / "new").exists()
    assert "Read-only" in mounted(cli, f"type=bind,source={tmp_path},target=/in,readonly", "touch /in/x", rc=1).err
    assert "bind source path does not exist: /nowhere" in mounted(cli, "type=bind,src=/nowhere,dst=/in", "true", rc=125).err
    fresh = tmp_path / "made"
    mounted(cli, f"type=bind,src={fresh},dst=/in,bind-create-src=true" if cli.name == "caisson" else f"type=bind,src={tmp_path},dst=/in", "true")
    assert fresh.is_dir() or cli.name == "docker"


@pytest.mark.parametrize("kind, word", [("rprivate", None), ("private", None), ("rslave", "master:"), ("slave", "master:"), ("rshared", "shared:"), ("shared", "shared:")])
def test_mount_bind_propagation(cli, tmp_path, kind, word):
    subprocess.run(["mount", "--bind", tmp_path, tmp_path], check=True)
    try:
        subprocess.run(["mount", "--make-shared", tmp_path], check=True)
        _, line = options_of(cli, f"type=bind,src={tmp_path},dst=/in,bind-propagation={kind}", "/in")
        assert word in line if word else "shared:" not in line and "master:" not in line
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert "invalid propagation mode: sometimes" in mounted(cli, f"type=bind,src={tmp_path},dst=/in,bind-propagation=sometimes", "true", rc=125).err


@pytest.fixture
def tree(tmp_path):
    """A directory with a mount below it."""
    (tmp_path / "tree" / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "inner", tmp_path / "tree" / "below"], check=True)
    (tmp_path / "tree" / "below" / "file").touch()
    yield tmp_path / "tree"
    subprocess.run(["umount", tmp_path / "tree" / "below"], check=True)


def test_mount_bind_recursive(cli, tree):
    spec = f"type=bind,src={tree},dst=/in"
    assert mounted(cli, spec, "ls /in/below").out == "file\n"
    assert mounted(cli, spec + ",bind-recursive=disabled", "ls /in/below").out == ""
    assert "Read-only" in mounted(cli, spec + ",readonly", "touch /in/below/x", rc=1).err
    assert "Read-only" in mounted(cli, spec + ",readonly,bind-propagation=rprivate,bind-recursive=readonly", "touch /in/below/x", rc=1).err
    mounted(cli, spec + ",readonly,bind-recursive=writable", "touch /in/below/written && ! touch /in/x")
    assert (tree / "below" / "written").exists()
    assert "Read-only" in cli("run", "--rm", "-v", f"{tree}:/in:ro", "busybox", "touch", "/in/below/x", rc=1).err
    assert "requires 'readonly'" in mounted(cli, spec + ",bind-recursive=writable", "true", rc=125).err


def test_mount_volume(cli, volume):
    mounted(cli, f"type=volume,src={volume},dst=/data", "echo kept > /data/file")
    assert mounted(cli, f"src={volume},dst=/data,readonly", "cat /data/file; ! touch /data/x 2>/dev/null").out == "kept\n"
    ident = cli.out("create", "--mount", "type=volume,dst=/data", "busybox")
    point = inspect(cli, ident)["Mounts"][0]
    assert point["Type"] == "volume" and len(point["Name"]) == 64 and point["Destination"] == "/data"


def test_mount_volume_nocopy(cli, volume):
    """What the image has at the place comes along, or not."""
    look = ("nginx", "ls", "/etc/nginx")
    assert cli.out("run", "--rm", "--entrypoint", "", "--mount", f"type=volume,src={volume},dst=/etc/nginx,volume-nocopy", *look) == ""
    assert "nginx.conf" in cli.out("run", "--rm", "--entrypoint", "", "--mount", f"type=volume,src={volume},dst=/etc/nginx", *look).split()


def test_mount_volume_subpath(cli, volume):
    mounted(cli, f"type=volume,src={volume},dst=/data", "mkdir -p /data/a/b; echo inner > /data/a/b/file; ln -s /etc /data/out; ln -s a/b /data/inside")
    spec = f"type=volume,src={volume},dst=/part"
    assert mounted(cli, spec + ",volume-subpath=a/b", "ls /part; cat /part/file").out == "file\ninner\n"
    assert mounted(cli, spec + ",volume-subpath=inside", "cat /part/file").out == "inner\n"
    assert mounted(cli, spec + ",volume-subpath=a/b/file", "cat /part").out == "inner\n"
    # A link that a container made does not lead to the host's files.
    assert mounted(cli, spec + ",volume-subpath=out", "true", rc=125).err
    assert mounted(cli, spec + ",volume-subpath=missing", "true", rc=125).err
    for bad in ("../x", "/a", "a/../../x"):
        assert "subpath must be a relative path" in mounted(cli, spec + ",volume-subpath=" + bad, "true", rc=125).err
    ident = cli.out("create", "--mount", spec + ",volume-subpath=a/b", "busybox")
    assert cli("cp", f"{ident}:/part/file", "-").out.count("inner") == 1


def test_mount_tmpfs(cli):
    options, line = options_of(cli, "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770", "/t")
    assert {"nosuid", "nodev", "noexec", "rw"} <= set(options) and " - tmpfs " in line and "size=1024k" in line
    done = mounted(cli, "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770", "stat -c %a /t; dd if=/dev/zero of=/t/x bs=64k count=32 2>&1; true")
    assert done.out.startswith("1770\n") and "No space left" in done.out
    assert "Read-only" in mounted(cli, "type=tmpfs,dst=/t,readonly", "touch /t/x", rc=1).err
    assert "field Source must not be specified" in mounted(cli, "type=tmpfs,src=x,dst=/t", "true", rc=125).err


def test_mount_tmpfs_options(api, engine):
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"Options": [["exec"]]}}]}}
    assert api.ok("POST", "/containers/create", body)["Id"]
    body["HostConfig"]["Mounts"][0]["TmpfsOptions"] = {"Options": [["suid"]]}
    assert "invalid option: suid" in api.post("/containers/create", body).message


def test_mount_image(cli):
    assert mounted(cli, "type=image,src=debian,dst=/img", "ls /img/bin/bash; cat /img/etc/os-release | grep -c Debian").out.startswith("/img/bin/bash\n")
    assert "Read-only" in mounted(cli, "type=image,src=debian,dst=/img", "touch /img/x", rc=1).err
    assert mounted(cli, "type=image,src=debian,dst=/img,image-subpath=etc/apt", "ls -d /img/sources.list.d").out == "/img/sources.list.d\n"
    assert mounted(cli, "type=image,src=nginx,dst=/img", "ls -d /img/etc/nginx").out == "/img/etc/nginx\n"
    assert mounted(cli, "type=image,src=nginx,dst=/img,image-subpath=etc/nginx", "ls /img/nginx.conf").out == "/img/nginx.conf\n"
    assert "the image has no directory 'nowhere'" in mounted(cli, "type=image,src=debian,dst=/img,image-subpath=nowhere", "true", rc=125).err
    assert "No such image: nobody" in cli("run", "--pull", "never", "--mount", "type=image,src=nobody,dst=/img", "busybox", "true", rc=125).err
    ident = cli.out("create", "--mount", "type=image,src=debian,dst=/img", "busybox")
    assert inspect(cli, ident)["Mounts"][0]["Type"] == "image"


def test_mount_bad(cli):
    assert "swarm" in mounted(cli, "type=cluster,src=x,dst=/in", "true", rc=125).err
    assert "mount type unknown" in mounted(cli, "type=magic,src=x,dst=/in", "true", rc=125).err
    assert "mount path must be absolute" in mounted(cli, "type=volume,src=x,dst=in", "true", rc=125).err
    assert "destination can't be '/'" in mounted(cli, "type=tmpfs,dst=/", "true", rc=125).err
    assert "must not set ReadOnly mode when using anonymous volumes" in mounted(cli, "type=volume,dst=/in,readonly", "true", rc=125).err


def test_volume_driver(cli, volume):
    assert cli.out("run", "--rm", "--volume-driver", "local", "-v", f"{volume}:/d", "busybox", "ls", "-d", "/d") == "/d"
    for flags in (("--volume-driver", "cloud", "-v", "other:/d"), ("--mount", "type=volume,src=other,dst=/d,volume-driver=cloud")):
        failed = cli("run", *flags, "busybox", "true", rc=125)
        assert "error looking up volume plugin cloud: plugin \"cloud\" not found" in failed.err and "Unable to find" not in failed.err


def test_storage_opt(cli):
    failed = cli("run", "--storage-opt", "size=1G", "busybox", "true", rc=125)
    assert "--storage-opt is supported only for overlay over xfs with 'pquota' mount option" in failed.err
    assert "Unknown option colour" in cli("run", "--storage-opt", "colour=red", "busybox", "true", rc=125).err
    assert "invalid storage option" in cli("run", "--storage-opt", "size", "busybox", "true", rc=125).err


@pytest.mark.parametrize("mode", ["ro,rw", "rw,rw", "z,Z", "shared,slave", "nocopy,nocopy", "cached,delegated", "never"])
def test_volume_mode_of_each_sort_once(cli, tmp_path, mode):
    done = cli("run", "--rm", "-v", f"{tmp_path}:/a:{mode}", "busybox", "true", rc=125)
    assert f"invalid mode: {mode}" in done.err


def test_volume_modes_together(cli, tmp_path):
    line = cli.out("run", "--rm", "-v", f"{tmp_path}:/a:ro,z,rslave,delegated", "busybox", "grep", " /a ", "/proc/mounts")
    assert line.split()[3].split(",")[0] == "ro"
