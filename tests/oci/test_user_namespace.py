# SPDX-License-Identifier: Apache-2.0
"""linux.uidMappings and gidMappings: user namespaces made by root."""
import json
import os

import pytest

from harness.oci import namespaces, with_user_namespace

def test_mapping(oci):
    out = oci.lines(config=with_user_namespace(oci, "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g"))
    assert [line.split() for line in out] == [["0", "100000", "65536"], ["0", "100000", "65536"], ["0"], ["0"]]


def test_mapping_seen_from_the_host(oci):
    box = oci.start(config=with_user_namespace(oci))
    assert os.stat(f"/proc/{box.pid}").st_uid == 100000


def test_mapping_of_several_ranges(oci):
    ids = [{"containerID": 0, "hostID": 100000, "size": 1000}, {"containerID": 1000, "hostID": 5000, "size": 1}, {"containerID": 1001, "hostID": 200000, "size": 5000}]
    out = oci.lines(config=with_user_namespace(oci, "cat /proc/self/uid_map; id -u", {"process.user": {"uid": 1000, "gid": 1000}}, ids))
    assert [line.split() for line in out] == [["0", "100000", "1000"], ["1000", "5000", "1"], ["1001", "200000", "5000"], ["1000"]]


def test_mapping_of_another_user(oci):
    box = oci.start(config=with_user_namespace(oci, edits={"process.user": {"uid": 33, "gid": 44, "additionalGids": [55]}}))
    info = os.stat(f"/proc/{box.pid}")
    assert (info.st_uid, info.st_gid) == (100033, 100044)
    assert box.exec("id -G").out.split() in (["44", "55"], ["44"])


def test_exec(oci):
    box = oci.start(config=with_user_namespace(oci))
    assert box.exec("id -u; cat /proc/self/uid_map").out.split() == ["0", "0", "100000", "65536"]
    assert box.exec("id -u", flags=["--user", "7:8"]).out.strip() == "7"
    assert box.exec("readlink /proc/self/ns/user").out.strip() == os.readlink(f"/proc/{box.pid}/ns/user")


def test_other_namespaces_belong_to_it(oci):
    """CAP_SYS_ADMIN inside is enough for the container's own namespaces."""
    caps = {k: ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"] for k in ("bounding", "effective", "permitted")}
    out = oci.run(config=with_user_namespace(oci, "hostname inner && hostname; mount -t tmpfs x /mnt && echo mounted; ip link set lo down && echo network",
                                             {"process.capabilities": caps})).out
    assert out.split() == ["inner", "mounted", "network"]


def test_host_files_are_nobodys(oci):
    def setup(bundle):
        with open(bundle + "/rootfs/file", "w", encoding="ascii"):
            pass
    assert oci.out(config=with_user_namespace(oci, "stat -c %u:%g /file"), setup=setup) == "65534:65534"


def test_devices_are_the_hosts(oci):
    """Nodes cannot be made there: they are bound."""
    assert oci.out(config=with_user_namespace(oci, "echo x > /dev/null && head -c 2 /dev/zero | wc -c; test -c /dev/tty && echo tty")).split() == ["2", "tty"]


def test_mounts(oci):
    config = with_user_namespace(oci, "grep -c . /proc/mounts; ls -d /proc/1 /sys/class /dev/pts/ptmx; probe try-write /mnt/x",
                                 mounts=[{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
                                         {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}])
    assert oci.out(config=config).split()[1:] == ["/dev/pts/ptmx", "/proc/1", "/sys/class", "ok"]


def test_bind_of_a_file(oci):
    with open(oci.dir + "/file", "w", encoding="ascii") as file:
        file.write("words")
    os.chmod(oci.dir + "/file", 0o644)
    config = with_user_namespace(oci, "cat /mnt/file", mounts=[{"destination": "/mnt/file", "type": "bind", "source": oci.dir + "/file", "options": ["bind", "ro"]}])

    def setup(bundle):
        os.chown(bundle + "/rootfs/mnt", 100000, 100000)
    assert oci.out(config=config, setup=setup) == "words"


def test_joined_by_path(oci):
    first = oci.start(config=with_user_namespace(oci))
    want = os.readlink(f"/proc/{first.pid}/ns/user")
    config = with_user_namespace(oci, "readlink /proc/self/ns/user; id -u")
    del config["linux"]["uidMappings"], config["linux"]["gidMappings"]
    namespaces(config, user=f"/proc/{first.pid}/ns/user")
    done = oci.run(config=config, rc=None)
    if not oci.ours and done.rc:
        pytest.skip("not with this release")
    assert done.out.split() == [want, "0"]


def test_sysctl_of_its_own_namespaces(oci):
    config = with_user_namespace(oci, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", {"linux.sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"}})
    assert oci.out(config=config) == "0"


def test_uid_without_a_mapping(oci):
    config = with_user_namespace(oci, "true", {"process.user": {"uid": 70000, "gid": 0}})
    oci.refused(oci.run(config=config, rc=None), "70000|uid")


def test_gid_without_a_mapping(oci):
    config = with_user_namespace(oci, "true", {"process.user": {"uid": 0, "gid": 70000}})
    oci.refused(oci.run(config=config, rc=None), "70000|gid")


def test_mapping_missing(oci):
    config = namespaces(oci.config(args="true"), user=True)
    oci.refused(oci.run(config=config, rc=None), "mapping|uidMappings")


@pytest.mark.parametrize("ids", [[{"containerID": 0, "hostID": 100000, "size": 0}], [{"containerID": 0, "hostID": 1, "size": 10}, {"containerID": 5, "hostID": 100, "size": 10}]])
def test_mapping_bad(oci, ids):
    config = with_user_namespace(oci, "true", ids=ids)
    oci.refused(oci.run(config=config, rc=None), "map")


def test_hooks_run_as_the_caller(oci):
    """Hooks of the runtime are in the runtime's user namespace."""
    with open(oci.dir + "/hook", "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\ncat > {oci.dir}/told\nid -u > {oci.dir}/uid\n")
    os.chmod(oci.dir + "/hook", 0o755)
    oci.run(config=with_user_namespace(oci, "true", {"hooks": {"createRuntime": [{"path": oci.dir + "/hook"}]}}))
    with open(oci.dir + "/uid", encoding="ascii") as file:
        assert file.read() == "0\n"
    with open(oci.dir + "/told", encoding="utf-8") as file:
        assert json.load(file)["pid"] > 0
