# SPDX-License-Identifier: Apache-2.0
"""`mounts` and linux.rootfsPropagation: every option, seen in the container's own mountinfo."""
import contextlib
import os
import re
import subprocess

import pytest

from harness.oci import cgroup_mounts, namespaces, with_user_namespace

ATIME = pytest.mark.reference_lacks("both ask the kernel for a change of access times that it refuses with EINVAL")


def tmpfs(target, *options):
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def bind(source, target, *options, recursive=False):
    return {"destination": target, "type": "bind", "source": source, "options": ["rbind" if recursive else "bind", *options]}


class Seen:
    """One row of mountinfo."""

    def __init__(self, line):
        left, _, right = line.partition(" - ")
        words = left.split()
        self.root, self.target, self.options, self.shared = words[3], words[4], set(words[5].split(",")), words[6:]
        self.type, self.source, self.super = right.split(" ", 2)[0], right.split(" ", 2)[1], set(right.split(" ", 2)[2].split(","))


def table(oci, mounts, edits=None, **options):
    """{mount point: Seen} as the container sees it."""
    rows = [Seen(line) for line in oci.run("cat /proc/self/mountinfo", edits, mounts=mounts, **options).out.splitlines()]
    return {row.target: row for row in rows}


@contextlib.contextmanager
def host_tree(oci):
    """A directory of the host with a mount of its own inside: source/file, source/sub (tmpfs) and source/sub/file."""
    top = oci.dir + "/source"
    os.makedirs(top + "/sub")
    subprocess.run(["mount", "-t", "tmpfs", "tree", top + "/sub"], check=True)
    try:
        for name in ("file", "sub/file"):
            with open(f"{top}/{name}", "w", encoding="ascii") as file:
                file.write(name)
        yield top
    finally:
        oci.delete_all()
        subprocess.run(["umount", "-l", top + "/sub"], check=True)


# --- each option on a new file system ---

@pytest.mark.parametrize("options, has, lacks", [
    (["ro"], {"ro"}, {"rw"}), (["rw"], {"rw"}, {"ro"}), (["ro", "rw"], {"rw"}, {"ro"}), (["rw", "ro"], {"ro"}, {"rw"}),
    (["nosuid"], {"nosuid"}, set()), (["nosuid", "suid"], set(), {"nosuid"}), (["nodev"], {"nodev"}, set()), (["nodev", "dev"], set(), {"nodev"}),
    (["noexec"], {"noexec"}, set()), (["noexec", "exec"], set(), {"noexec"}), (["noatime"], {"noatime"}, {"relatime"}), (["noatime", "atime"], set(), {"noatime"}),
    (["nodiratime"], {"nodiratime"}, set()), (["nodiratime", "diratime"], set(), {"nodiratime"}), (["relatime"], {"relatime"}, set()),
    (["strictatime"], set(), {"relatime", "noatime"}), (["defaults"], {"rw"}, set()), ([], {"rw"}, {"nosuid", "nodev", "noexec"}),
    (["nosuid", "nodev", "noexec", "ro", "noatime"], {"nosuid", "nodev", "noexec", "ro", "noatime"}, set()),
    (["silent", "loud"], {"rw"}, set()), (["acl"], {"rw"}, set()), (["norelatime"], {"rw"}, set()), (["nostrictatime"], {"rw"}, set())])
def test_option(oci, options, has, lacks):
    row = table(oci, [tmpfs("/mnt", *options)])["/mnt"]
    assert has <= row.options and not lacks & row.options, row.options


@pytest.mark.parametrize("options, has, lacks", [(["nosymfollow"], {"nosymfollow"}, set()), (["nosymfollow", "symfollow"], set(), {"nosymfollow"})])
@pytest.mark.reference_lacks("nosymfollow is of runtime-spec 1.1, later than these releases")
def test_option_nosymfollow(oci, options, has, lacks):
    row = table(oci, [tmpfs("/mnt", *options)])["/mnt"]
    assert has <= row.options and not lacks & row.options, row.options


@pytest.mark.parametrize("options, has, lacks", [(["sync"], {"sync"}, set()), (["sync", "async"], set(), {"sync"}), (["dirsync"], {"dirsync"}, set()),
                                                 (["mand"], set(), set()), (["nomand"], set(), set()), (["lazytime"], {"lazytime"}, set()),
                                                 (["lazytime", "nolazytime"], set(), {"lazytime"}), (["iversion"], set(), set()), (["noiversion"], set(), set())])
def test_option_of_the_file_system(oci, options, has, lacks):
    if not oci.ours and {"lazytime", "iversion"} & {o.removeprefix("no") for o in options}:
        pytest.skip("not with these releases")
    row = table(oci, [tmpfs("/mnt", *options)])["/mnt"]
    assert has <= row.super and not lacks & row.super, row.super


@pytest.mark.parametrize("option, where", [("size=1m", "size=1024k"), ("size=65536k", "size=65536k"), ("nr_inodes=100", "nr_inodes=100"), ("mode=700", "mode=700"),
                                           ("mode=1777", None), ("uid=1000", "uid=1000"), ("gid=7", "gid=7")])
def test_tmpfs_option(oci, option, where):
    row = table(oci, [tmpfs("/mnt", option)])["/mnt"]
    assert row.type == "tmpfs" and (where is None or where in row.super), row.super


def test_tmpfs_size_is_a_limit(oci):
    assert oci.out("head -c 2000000 /dev/zero > /mnt/x; stat -c %s /mnt/x", mounts=[tmpfs("/mnt", "size=1m")]) == "1048576"


def test_tmpfs_mode(oci):
    assert oci.out("stat -c %a:%u:%g /mnt", mounts=[tmpfs("/mnt", "mode=750", "uid=5", "gid=6")]) == "750:5:6"


def test_unknown_option_goes_to_the_file_system(oci):
    oci.refused(oci.run("true", mounts=[tmpfs("/mnt", "no_such_option")], rc=None), "/mnt", "no_such_option|invalid argument|unknown parameter")


def test_options_are_really_felt(oci):
    out = oci.out("cp /bin/busybox /mnt/b; /mnt/b true; echo $?; mknod /mnt/null c 1 3; echo x > /mnt/null; echo $?",
                  {"process.capabilities.bounding": ["CAP_MKNOD", "CAP_DAC_OVERRIDE"], "process.capabilities.permitted": ["CAP_MKNOD", "CAP_DAC_OVERRIDE"],
                   "process.capabilities.effective": ["CAP_MKNOD", "CAP_DAC_OVERRIDE"]}, mounts=[tmpfs("/mnt", "noexec", "nodev")]).split()
    assert out == ["126", "1"]


# --- binds ---

@pytest.mark.parametrize("options, has", [(["ro"], {"ro"}), (["nosuid"], {"nosuid"}), (["nodev"], {"nodev"}), (["noexec"], {"noexec"}), (["noatime"], {"noatime"}),
                                          (["ro", "nosuid", "nodev", "noexec"], {"ro", "nosuid", "nodev", "noexec"}), ([], {"rw"})])
@pytest.mark.parametrize("recursive", [False, True])
def test_bind_option(oci, options, has, recursive):
    os.makedirs(oci.dir + "/source")
    row = table(oci, [bind(oci.dir + "/source", "/mnt", *options, recursive=recursive)])["/mnt"]
    assert has <= row.options, row.options


def test_bind_readonly_leaves_the_source_writable(oci):
    os.makedirs(oci.dir + "/source")
    assert oci.out("probe try-write /mnt/x", mounts=[bind(oci.dir + "/source", "/mnt", "ro")]) == "EROFS"
    with open(oci.dir + "/source/x", "w", encoding="ascii"):
        pass


def test_bind_of_a_file(oci):
    with open(oci.dir + "/file", "w", encoding="ascii") as file:
        file.write("from the host")
    assert oci.out("cat /etc/new/file", mounts=[bind(oci.dir + "/file", "/etc/new/file", "ro")]) == "from the host"
    assert oci.out("cat /etc/passwd", mounts=[bind(oci.dir + "/file", "/etc/passwd", "ro")]) == "from the host"


def test_bind_of_a_socket_and_a_fifo(oci):
    os.mkfifo(oci.dir + "/fifo")
    assert oci.out("test -p /fifo && echo ok", mounts=[bind(oci.dir + "/fifo", "/fifo")]) == "ok"


def test_bind_of_a_device(oci):
    assert oci.out("test -c /dev/other && head -c 3 /dev/other | wc -c", mounts=[bind("/dev/zero", "/dev/other")]) == "3"


def test_bind_type_may_be_left_out(oci):
    """bind or rbind among the options is what counts."""
    os.makedirs(oci.dir + "/source/x")
    assert oci.out("ls /mnt", mounts=[{"destination": "/mnt", "source": oci.dir + "/source", "options": ["rbind"]}]) == "x"
    assert oci.out("ls /mnt", mounts=[{"destination": "/mnt", "type": "none", "source": oci.dir + "/source", "options": ["bind"]}]) == "x"


def test_bind_type_without_option(oci):
    """type bind alone is enough."""
    os.makedirs(oci.dir + "/source/x")
    done = oci.run("ls /mnt", mounts=[{"destination": "/mnt", "type": "bind", "source": oci.dir + "/source"}], rc=None)
    if not oci.ours and done.rc:
        pytest.skip("not with this release")
    assert done.out == "x\n"


def test_bind_source_relative_to_the_bundle(oci):
    def setup(bundle):
        os.makedirs(bundle + "/data/x")
    assert oci.out("ls /mnt", mounts=[bind("data", "/mnt")], setup=setup) == "x"


def test_bind_source_missing(oci):
    oci.refused(oci.run("true", mounts=[bind(oci.dir + "/nowhere", "/mnt")], rc=None), "nowhere", "no such file", "/mnt")


def test_bind_takes_submounts_only_when_recursive(oci):
    with host_tree(oci) as top:
        assert oci.run("cat /mnt/sub/file", mounts=[bind(top, "/mnt")], rc=None).rc != 0
        assert oci.out("cat /mnt/sub/file", mounts=[bind(top, "/mnt", recursive=True)]) == "sub/file"


def test_ro_is_not_recursive_and_rro_is(oci):
    with host_tree(oci) as top:
        line = "probe try-write /mnt/x; probe try-write /mnt/sub/x"
        assert oci.out(line, mounts=[bind(top, "/mnt", "ro", recursive=True)]).split() == ["EROFS", "ok"]
        if oci.ours or oci.machine.name == "crun":
            assert oci.out(line, mounts=[bind(top, "/mnt", "rro", recursive=True)]).split() == ["EROFS", "EROFS"]


@pytest.mark.parametrize("option, word", [("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnoatime", "noatime"),
                                          ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow")])
def test_recursive_attribute(oci, option, word):
    with host_tree(oci) as top:
        rows = table(oci, [bind(top, "/mnt", option, recursive=True)])
        assert word in rows["/mnt"].options and word in rows["/mnt/sub"].options


@pytest.mark.parametrize("option, word", [("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"), ("rexec", "noexec"), ("rsymfollow", "nosymfollow"), ("rdiratime", "nodiratime"),
                                          ("rstrictatime", "relatime"), ("rrelatime", "noatime"), pytest.param("ratime", "noatime", marks=ATIME)])
def test_recursive_attribute_taken_away(oci, option, word):
    with host_tree(oci) as top:
        rows = table(oci, [bind(top, "/mnt", option, recursive=True)])
        assert word not in rows["/mnt"].options and word not in rows["/mnt/sub"].options


def test_bind_keeps_flags_of_the_source(oci):
    """A bind of something that is nosuid,nodev on the host stays so when it is made read-only."""
    with host_tree(oci) as top:
        subprocess.run(["mount", "-o", "remount,nosuid,nodev", top + "/sub"], check=True)
        rows = table(oci, [bind(top + "/sub", "/mnt", "ro")])
        assert {"ro"} <= rows["/mnt"].options


# --- propagation ---

@pytest.mark.parametrize("option, want", [("private", r"^$"), ("rprivate", r"^$"), ("shared", r"shared:\d+"), ("rshared", r"shared:\d+"), ("slave", r"^(master:\d+)?$"),
                                          ("rslave", r"^(master:\d+)?$"), ("unbindable", r"unbindable"), ("runbindable", r"unbindable")])
def test_propagation(oci, option, want):
    os.makedirs(oci.dir + "/source")
    row = table(oci, [bind(oci.dir + "/source", "/mnt", option)])["/mnt"]
    assert re.search(want, " ".join(row.shared)), row.shared


def test_propagation_default_is_private(oci):
    os.makedirs(oci.dir + "/source")
    assert table(oci, [bind(oci.dir + "/source", "/mnt", recursive=True)])["/mnt"].shared == []


@contextlib.contextmanager
def shared_mount(oci):
    top = oci.dir + "/shared"
    os.makedirs(top)
    subprocess.run(["mount", "-t", "tmpfs", "tree", top], check=True)
    subprocess.run(["mount", "--make-shared", top], check=True)
    os.makedirs(top + "/sub")
    try:
        yield top
    finally:
        oci.delete_all()
        subprocess.run(["umount", "-R", "-l", top], check=True)


@pytest.mark.parametrize("option, arrives", [("rslave", True), ("rshared", True), ("rprivate", False)])
def test_propagation_from_the_host(oci, option, arrives):
    with shared_mount(oci) as top:
        box = oci.start(edits={"linux.rootfsPropagation": "slave"}, mounts=[bind(top, "/mnt", option, recursive=True)])
        subprocess.run(["mount", "-t", "tmpfs", "later", top + "/sub"], check=True)
        assert ("later" in box.exec("cat /proc/self/mountinfo").out) == arrives


@pytest.mark.parametrize("option, arrives", [("rshared", True), ("rslave", False)])
def test_propagation_to_the_host(oci, option, arrives):
    caps = {k: ["CAP_SYS_ADMIN"] for k in ("bounding", "effective", "permitted")}
    with shared_mount(oci) as top:
        oci.run("mount -t tmpfs inner /mnt/sub", {"process.capabilities": caps, "linux.rootfsPropagation": "shared" if arrives else "slave"},
                mounts=[bind(top, "/mnt", option, recursive=True)])
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            assert ("- tmpfs inner" in file.read()) == arrives


@pytest.mark.parametrize("value, want", [("private", r"^$"), ("slave", r"^(master:\d+)?$"), ("shared", r"shared:\d+"), ("rprivate", r"^$"), ("rslave", r"^(master:\d+)?$"),
                                         ("rshared", r"shared:\d+"), ("unbindable", r"unbindable")])
def test_rootfs_propagation(oci, value, want):
    row = table(oci, [], {"linux.rootfsPropagation": value})["/"]
    assert re.search(want, " ".join(row.shared)), row.shared


def test_rootfs_propagation_bad(oci):
    oci.refused(oci.run("true", {"linux.rootfsPropagation": "sideways"}, rc=None), "propagation", "sideways")


# --- targets ---

def test_targets_are_created(oci):
    with open(oci.dir + "/file", "w", encoding="ascii") as file:
        file.write("f")
    os.makedirs(oci.dir + "/source/d")
    out = oci.out("cat /a/b/c/file; ls /x/y/z", mounts=[bind(oci.dir + "/file", "/a/b/c/file"), bind(oci.dir + "/source", "/x/y/z")])
    assert out.split() == ["fd"]


def test_targets_in_order(oci):
    """A mount covers and holds what was mounted before."""
    rows = oci.out("cat /mnt/one/name", mounts=[tmpfs("/mnt"), bind(oci.machine.template + "/etc", "/mnt/one"), bind(oci.machine.template + "/etc/group", "/mnt/one/name")], rc=None)
    assert "alice" in rows


def test_target_over_another(oci):
    out = oci.out("ls /mnt", mounts=[bind(oci.machine.template + "/etc", "/mnt"), tmpfs("/mnt")])
    assert out == ""


def test_target_through_a_link_stays_inside(oci):
    def setup(bundle):
        os.symlink("/tmp/inside", bundle + "/rootfs/link")
        os.symlink("../../../../../../tmp/inside2", bundle + "/rootfs/link2")
    os.makedirs(oci.dir + "/source/x")
    assert oci.out("ls /tmp/inside/a /tmp/inside2", mounts=[bind(oci.dir + "/source", "/link/a"), bind(oci.dir + "/source", "/link2")], setup=setup).count("x") == 2
    assert not os.path.exists("/tmp/inside") and not os.path.exists("/tmp/inside2")


def test_target_with_dots_stays_inside(oci):
    os.makedirs(oci.dir + "/source/x")
    assert oci.out("ls /escape", mounts=[bind(oci.dir + "/source", "/../../../escape")]) == "x"
    assert not os.path.exists("/escape")


def test_target_relative(oci):
    """The specification demands an absolute path; all runtimes take a relative one as below the root."""
    os.makedirs(oci.dir + "/source/x")
    done = oci.run("ls /mnt/rel", mounts=[bind(oci.dir + "/source", "mnt/rel")], rc=None)
    assert done.out == "x\n" or oci.refused(done, "mnt/rel", "absolute")


def test_target_directory_for_a_file(oci):
    oci.refused(oci.run("true", mounts=[bind(oci.machine.template + "/etc/passwd", "/etc")], rc=None), "/etc", "not a directory|is a directory")


def test_target_below_a_file(oci):
    oci.refused(oci.run("true", mounts=[tmpfs("/etc/passwd/x")], rc=None), "/etc/passwd", "not a directory")


def test_readonly_root_and_mounts(oci):
    """The targets are made before the root is made read-only."""
    assert oci.out("probe try-write /fresh/x; probe try-write /x", {"root.readonly": True}, mounts=[tmpfs("/fresh")]).split() == ["ok", "EROFS"]


def test_tmpcopyup(oci):
    out = oci.run("cat /etc/passwd; probe try-write /etc/passwd; stat -c %a /tmp", mounts=[tmpfs("/etc", "tmpcopyup"), tmpfs("/tmp", "tmpcopyup")]).out
    assert out.startswith("root:") and out.split()[-2:] == ["ok", "1777"]


def test_tmpcopyup_leaves_the_original(oci):
    box = oci.start("echo changed > /etc/passwd; sleep 99", mounts=[tmpfs("/etc", "tmpcopyup")])
    with open(box.rootfs + "/etc/passwd", encoding="ascii") as file:
        assert file.read().startswith("root:")


# --- kinds of file systems ---

@pytest.mark.parametrize("kind, target, has", [("proc", "/proc", "proc"), ("mqueue", "/dev/mqueue", "mqueue"), ("sysfs", "/sys", "sysfs"), ("devpts", "/dev/pts", "devpts"),
                                               ("tmpfs", "/run", "tmpfs"), ("ramfs", "/ram", "ramfs")])
def test_type(oci, kind, target, has):
    mounts = [] if target in ("/proc", "/dev/pts") else [{"destination": target, "type": kind, "source": kind, "options": ["nosuid", "noexec", "nodev"]}]
    assert table(oci, mounts)[target].type == has


def test_type_overlay(oci):
    """Options with values are the file system's own."""
    for name in ("lower", "upper", "work"):
        os.makedirs(f"{oci.dir}/{name}")
    with open(oci.dir + "/lower/a", "w", encoding="ascii") as file:
        file.write("low")
    mount = {"destination": "/mnt", "type": "overlay", "source": "overlay", "options": [f"lowerdir={oci.dir}/lower", f"upperdir={oci.dir}/upper", f"workdir={oci.dir}/work"]}
    assert oci.out("cat /mnt/a; echo up > /mnt/b", mounts=[mount]) == "low"
    assert os.listdir(oci.dir + "/upper") == ["b"]


def test_type_unknown(oci):
    oci.refused(oci.run("true", mounts=[{"destination": "/mnt", "type": "no_such_fs", "source": "x"}], rc=None), "/mnt", "no such device|no_such_fs")


def test_type_missing(oci):
    """Neither a type nor a bind."""
    oci.refused(oci.run("true", mounts=[{"destination": "/mnt", "source": "x"}], rc=None), "/mnt")


def test_destination_missing(oci):
    oci.refused(oci.run("true", mounts=[{"type": "tmpfs", "source": "x"}], rc=None), "destination")


def test_remount(oci):
    done = oci.run("grep ' /mnt ' /proc/self/mountinfo", mounts=[tmpfs("/mnt"), tmpfs("/mnt", "remount", "ro")], rc=None)
    if not oci.ours and done.rc:
        pytest.skip("not with this release")
    assert all("ro" in line.split()[5].split(",") for line in done.out.splitlines()) and done.out


# --- cgroups ---

CGROUP = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
SYSFS = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}


@pytest.mark.parametrize("own", [True, False])
def test_cgroup_mount_shows_the_container_at_its_root(oci, own):
    """Version 1: one directory for each hierarchy; with a cgroup namespace or without."""
    if set(cgroup_mounts()) == {""}:
        pytest.skip("version 2 alone: see the guest's tests")
    config = oci.config({"linux.resources.pids": {"limit": 37}}, "cat /sys/fs/cgroup/pids/pids.max; ls /sys/fs/cgroup", mounts=[SYSFS, CGROUP])
    if own:
        namespaces(config, cgroup=True)
    out = oci.out(config=config).split()
    assert out[0] == "37" and {"memory", "cpu", "pids", "devices", "freezer"} <= set(out[1:])


@pytest.mark.parametrize("own", [True, False])
def test_cgroup_mount_is_readonly(oci, own):
    if set(cgroup_mounts()) == {""}:
        pytest.skip("version 2 alone: see the guest's tests")
    config = oci.config({"linux.resources.pids": {"limit": 37}}, "mkdir /sys/fs/cgroup/pids/x; echo 5 > /sys/fs/cgroup/pids/pids.max; cat /sys/fs/cgroup/pids/pids.max", mounts=[SYSFS, CGROUP])
    if own:
        namespaces(config, cgroup=True)
    done = oci.run(config=config)
    assert done.out == "37\n" and done.err.count("ead-only") == 2


def test_cgroup_mount_writable(oci):
    if set(cgroup_mounts()) == {""}:
        pytest.skip("version 2 alone: see the guest's tests")
    mount = dict(CGROUP, options=["nosuid", "noexec", "nodev", "rw"])
    config = namespaces(oci.config(args="mkdir /sys/fs/cgroup/pids/inner && echo ok && rmdir /sys/fs/cgroup/pids/inner", mounts=[SYSFS, mount]), cgroup=True)
    assert oci.out(config=config) == "ok"


# --- idmap ---

IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


@pytest.mark.reference_lacks("uidMappings of mounts are of runtime-spec 1.1, later than these releases")
@pytest.mark.parametrize("recursive", [False, True])
def test_idmap_of_a_mount(oci, recursive):
    """Files of user 0 belong to 100000 as seen through the mount."""
    with host_tree(oci) as top:
        mount = {**bind(top, "/mnt", "ridmap" if recursive else "idmap", recursive=True), "uidMappings": IDS, "gidMappings": IDS}
        out = oci.out("stat -c %u:%g /mnt/file /mnt/sub/file", mounts=[mount]).split()
        assert out == ["100000:100000", "100000:100000" if recursive else "0:0"]


@pytest.mark.reference_lacks("uidMappings of mounts are of runtime-spec 1.1, later than these releases")
def test_idmap_without_the_option(oci):
    """Mappings alone mean idmap."""
    os.makedirs(oci.dir + "/source/x")
    mount = {**bind(oci.dir + "/source", "/mnt"), "uidMappings": IDS, "gidMappings": IDS}
    assert oci.out("stat -c %u:%g /mnt/x", mounts=[mount]) == "100000:100000"


@pytest.mark.reference_lacks("uidMappings of mounts are of runtime-spec 1.1, later than these releases")
def test_idmap_with_the_mapping_of_the_user_namespace(oci):
    """idmap without mappings of its own: files look as they are on disk, inside the user namespace."""
    os.makedirs(oci.dir + "/source/x")
    os.chown(oci.dir + "/source/x", 5, 6)
    os.chmod(oci.dir, 0o755)
    config = with_user_namespace(oci, "stat -c %u:%g /mnt/x", mounts=[bind(oci.dir + "/source", "/mnt", "idmap")])
    assert oci.out(config=config) == "5:6"


@pytest.mark.reference_lacks("uidMappings of mounts are of runtime-spec 1.1, later than these releases")
@pytest.mark.parametrize("change", [{"uidMappings": IDS}, {"gidMappings": IDS}])
def test_idmap_with_one_kind_of_ids(oci, change):
    """The specification: uidMappings and gidMappings come together."""
    os.makedirs(oci.dir + "/source")
    oci.refused(oci.run("true", mounts=[{**bind(oci.dir + "/source", "/mnt"), **change}], rc=None), "gidMappings|uidMappings|mapping", "/mnt")


@pytest.mark.reference_lacks("uidMappings of mounts are of runtime-spec 1.1, later than these releases")
def test_idmap_where_the_file_system_cannot(oci):
    """procfs has no mapped mounts: refused, not mounted without."""
    mount = {**bind("/proc/sys", "/mnt", "idmap"), "uidMappings": IDS, "gidMappings": IDS}
    oci.refused(oci.run("true", mounts=[mount], rc=None), "/mnt|/proc/sys", "invalid argument|idmap|map")


def test_container_mounts_do_not_reach_the_host(oci):
    """What is mounted in a running container is not in the host's table."""
    box = oci.start(mounts=[tmpfs("/mnt", "size=3m")])
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert box.id + "/rootfs/mnt" not in file.read()


def test_dev_has_what_the_specification_names(oci):
    out = oci.lines("for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; for d in null zero full random urandom tty; do stat -c '%t:%T %a' /dev/$d; done")
    assert out[:4] == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"]
    assert out[4] in ("pts/ptmx", "/dev/pts/ptmx")
    assert out[5:] == ["1:3 666", "1:5 666", "1:7 666", "1:8 666", "1:9 666", "5:0 666"]
