# SPDX-License-Identifier: Apache-2.0
"""An ordinary user runs containers: with one id mapped by the kernel's leave, with ranges through newuidmap."""
import os
import shutil

import pytest

from harness.oci import Oci, namespaces
from harness.shell import run

USER = 54321
ONE = [{"containerID": 0, "hostID": USER, "size": 1}]
RANGES = [*ONE, {"containerID": 1, "hostID": 700000, "size": 65536}]


class Rootless(Oci):
    """The same commands, run by a user without any rights."""
    ranges = None

    def argv(self, *args):
        drop = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", *super().argv(*args)]
        if not self.ranges:
            return drop
        # What the machine's administrator would give the user, in a mount namespace that goes with the command.
        script = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, self.ranges, *drop]

    def bundle(self, config, name=None):
        path = super().bundle(config, name)
        for folder, _, files in os.walk(path):
            for entry in [folder, *(os.path.join(folder, f) for f in files)]:
                if not os.path.islink(entry) and os.stat(entry).st_nlink < 2 or os.path.isdir(entry):
                    os.chown(entry, USER, USER)
        return path


def rootless_config(oci, args, edits=None, ids=None, **changes):
    ids = ids or ONE
    config = namespaces(oci.config({"linux.uidMappings": ids, "linux.gidMappings": ids, "linux.resources": None, "linux.cgroupsPath": None, **(edits or {})}, args),
                        user=True, **changes)
    if ids is ONE:
        for mount in config["mounts"]:
            mount["options"] = [o for o in mount["options"] if not o.startswith("gid=")]
    return config


class NoCgroup(dict):
    """A `linux` section that says nothing of cgroups, whatever the harness asks."""

    def __contains__(self, key):
        return key == "cgroupsPath" or super().__contains__(key)


@pytest.fixture
def user(oci_machine, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("rootless"))
    oci = Rootless(oci_machine, directory)
    path = directory
    while path != "/":
        os.chmod(path, os.stat(path).st_mode | 0o011)
        path = os.path.dirname(path)
    os.chown(directory, USER, USER)
    yield oci
    try:
        oci.delete_all()
        left = oci.settled_leaks()
    finally:
        oci.clear()
        shutil.rmtree(directory, ignore_errors=True)
    assert not left or not oci.ours, "left behind:\n  " + "\n  ".join(left)


@pytest.fixture
def config(user):
    def make(args, edits=None, ids=None, **changes):
        made = rootless_config(user, args, edits, ids, **changes)
        made["linux"] = NoCgroup(made["linux"])
        return made
    return make


def test_root_inside_is_the_user_outside(user, config):
    out = user.lines(config=config("id -u; cat /proc/self/uid_map /proc/self/gid_map; hostname; echo $$; touch /made"))
    assert [line.split() for line in out] == [["0"], ["0", str(USER), "1"], ["0", str(USER), "1"], ["box"], ["1"]]
    made = f"{user.dir}/{user.ids[-1]}/rootfs/made"
    assert os.stat(made).st_uid == USER


def test_mounts_and_devices(user, config):
    out = user.out(config=config("grep -c . /proc/mounts >/dev/null && echo x > /dev/null && head -c 3 /dev/zero | wc -c; touch /dev/shm/x && echo shm; ls /sys 2>&1 | wc -l"))
    assert out.split()[:2] == ["3", "shm"]


def test_bind_mounts(user, config):
    source = user.dir + "/source"
    os.makedirs(source)
    with open(source + "/file", "w", encoding="ascii") as file:
        file.write("content\n")
    spec = config("cat /mnt/file; touch /mnt/x 2>&1; echo $?")
    spec["mounts"].append({"destination": "/mnt", "type": "bind", "source": source, "options": ["rbind", "ro"]})
    out = user.lines(config=spec)
    assert out[0] == "content"
    assert "Read-only" in out[1] and out[2] == "1"


def test_files_of_others_stay_closed(user, config):
    spec = config("cat /mnt; echo rc=$?")
    spec["mounts"].append({"destination": "/mnt", "type": "bind", "source": "/etc/shadow", "options": ["bind"]})
    done = user.run(config=spec, rc=None)
    assert "root:" not in done.out


def test_create_start_exec_kill_delete(user, config):
    box = user.create(config=config("echo up; sleep 99"))
    assert box.status == "created"
    box.start()
    box.output("up")
    assert box.exec("id -u; cat /proc/self/uid_map").out.split() == ["0", "0", str(USER), "1"]
    assert box.exec("readlink /proc/self/ns/user").out.strip() == os.readlink(f"/proc/{box.pid}/ns/user")
    assert os.stat(f"/proc/{box.pid}").st_uid == USER
    box("kill", rc=None)
    user("kill", box.id, "KILL", rc=None)
    box.wait_status("stopped")
    user("delete", box.id)


def test_exec_where_the_hosts_network_is_shared(user, config):
    box = user.start(config=config("sleep 99", without=("network",)))
    assert box.exec("readlink /proc/self/ns/net").out.strip() == os.readlink("/proc/self/ns/net")


def test_time_namespace(user, config):
    out = user.out(config=config("cat /proc/uptime", {"linux.timeOffsets": {"boottime": {"secs": 1000000000}}}, time=True))
    assert float(out.split()[0]) > 1000000000


def test_additional_groups_are_refused(user, config):
    done = user.run(config=config("id -G", {"process.user": {"uid": 0, "gid": 0, "additionalGids": [5]}}), rc=None)
    user.refused(done, "gid 5 is not mapped")


def test_limits_that_cannot_be_set_are_refused(user, config):
    spec = config("true", {"linux.resources": {"pids": {"limit": 10}}})
    user.refused(user.run(config=spec, rc=None), "cgroup")


def test_a_cgroup_that_was_asked_for_is_needed(user, config):
    spec = config("true")
    spec["linux"]["cgroupsPath"] = f"{user.machine.parent}/rootless"
    user.refused(user.run(config=spec, rc=None), "cgroup")


def test_another_id_is_refused(user, config):
    ids = [{"containerID": 0, "hostID": 0, "size": 1}]
    done = user.run(config=config("id", ids=ids), rc=None)
    user.refused(done, "map")
    assert "uid=0" not in done.out


@pytest.fixture
def subids(user):
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap (package uidmap) is not installed")
    user.ranges = user.dir + "/subids"
    with open(user.ranges, "w", encoding="ascii") as file:
        file.write(f"{USER}:700000:65536\n")
    # It asks for the user's name.
    if run(["getent", "passwd", str(USER)], rc=None).rc != 0:
        passwd = user.dir + "/passwd"
        shutil.copy("/etc/passwd", passwd)
        with open(passwd, "a", encoding="ascii") as file:
            file.write(f"rootless-test:x:{USER}:{USER}::/nonexistent:/bin/sh\n")
        plain = user.argv
        user.argv = lambda *args: ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', passwd, *plain(*args)]
    return user


def test_ranges_of_subuid(subids, config):
    out = subids.lines(config=config("cat /proc/self/uid_map; id -u; id -G", {"process.user": {"uid": 33, "gid": 44, "additionalGids": [55]}}, RANGES))
    assert [line.split() for line in out] == [["0", str(USER), "1"], ["1", "700000", "65536"], ["33"], ["44", "55"]]


def test_ranges_outside_of_subuid_are_refused(subids, config):
    ids = [*ONE, {"containerID": 1, "hostID": 900000, "size": 10}]
    subids.refused(subids.run(config=config("true", ids=ids), rc=None), "newuidmap", "not allowed|subuid|refused")
