# SPDX-License-Identifier: Apache-2.0
"""The runtime as an ordinary user: a user namespace with a single mapping, or with newuidmap where that may be used."""
import json
import os
import shutil
import time

import pytest

from harness.oci import namespaces

UID = 4242


@pytest.fixture
def user(oci):
    """An Oci whose commands are those of an ordinary user, who owns the bundles and the state."""
    path = oci.dir
    while path != "/":
        os.chmod(path, os.stat(path).st_mode | 0o111)
        path = os.path.dirname(path)
    os.makedirs(oci.dir + "/run")
    for folder in (oci.dir, oci.dir + "/run"):
        os.chown(folder, UID, UID)
    argv = oci.argv
    oci.argv = lambda *args: ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all", *argv(*args)]
    oci.extra_env = {"XDG_RUNTIME_DIR": oci.dir + "/run", "HOME": oci.dir}
    return oci


def rootless(oci, args="sleep 99", edits=None, ids=None, mounts=()):
    """What `spec --rootless` makes of the default config."""
    ids = ids or [{"containerID": 0, "hostID": UID, "size": 1}]
    config = namespaces(oci.config({"linux.uidMappings": ids, "linux.gidMappings": ids, "linux.resources": None, "linux.cgroupsPath": "", **(edits or {})}, args, mounts), user=True)
    for mount in config["mounts"]:
        mount["options"] = [o for o in mount["options"] if not o.startswith("gid=")]
    return config


def own(bundle):
    for folder, dirs, files in os.walk(bundle):
        for name in ["."] + dirs + files:
            os.chown(f"{folder}/{name}", UID, UID, follow_symlinks=False)


def test_run(user):
    out = user.lines(config=rootless(user, "id -u; id -g; cat /proc/self/uid_map /proc/self/setgroups"), setup=own)
    assert [line.split() for line in out] == [["0"], ["0"], ["0", str(UID), "1"], ["deny"]]


def test_detached_with_exec_state_and_delete(user):
    box = user.start(config=rootless(user), setup=own)
    assert box.status == "running" and os.stat(f"/proc/{box.pid}").st_uid == UID
    assert box.exec("id -u; hostname").out.split() == ["0", "box"]
    assert [c["id"] for c in json.loads(user("list", "--format", "json").out)] == [box.id]
    user("kill", box.id, "KILL")
    box.wait_status("stopped")
    box("delete")


def test_create_and_start(user):
    box = user.create("echo ran; sleep 99", config=rootless(user, "echo ran; sleep 99"), setup=own).start()
    box.output("ran")


def test_files_belong_to_the_user(user):
    box = user.start(config=rootless(user, "touch /made; sleep 99"), setup=own)
    for _ in range(200):
        if os.path.exists(box.rootfs + "/made"):
            break
        time.sleep(0.01)
    assert os.stat(box.rootfs + "/made").st_uid == UID


def test_capabilities_are_those_of_the_namespace(user):
    caps = {k: ["CAP_SYS_ADMIN", "CAP_CHOWN"] for k in ("bounding", "effective", "permitted")}
    out = user.out(config=rootless(user, "mount -t tmpfs x /mnt && echo mounted; hostname new && hostname", {"process.capabilities": caps}), setup=own)
    assert out.split() == ["mounted", "new"]


def test_devices(user):
    assert user.out(config=rootless(user, "echo x > /dev/null && head -c 3 /dev/zero | wc -c"), setup=own) == "3"


def test_network_of_its_own(user):
    assert "lo" in user.out(config=rootless(user, "tail -n +3 /proc/net/dev"), setup=own)


def test_network_of_the_caller(user):
    config = namespaces(rootless(user, "readlink /proc/self/ns/net"), without=["network"])
    assert user.out(config=config, setup=own) == os.readlink("/proc/self/ns/net")


def test_sys_without_a_network_namespace(user):
    """sysfs cannot be mounted there; the usual config binds the host's."""
    config = namespaces(rootless(user, "ls -d /sys/class", mounts=[{"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}]), without=["network"])
    assert user.out(config=config, setup=own) == "/sys/class"


def test_cgroups_are_not_writable(user):
    """CVE-2023-25809."""
    mounts = [{"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}]
    out = user.run(config=rootless(user, "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/caisson-x 2>/dev/null && echo MADE $d; done; echo end", mounts=mounts), setup=own).out
    assert out == "end\n"


def test_masked_and_readonly_paths(user):
    out = user.out(config=rootless(user, "cat /etc/passwd | wc -c; probe try-write /etc/group", {"linux.maskedPaths": ["/etc/passwd", "/proc/kcore"], "linux.readonlyPaths": ["/etc", "/proc/sys"]}),
                   setup=own)
    assert out.split() == ["0", "EROFS"]


def test_seccomp(user):
    edits = {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}}
    assert user.out(config=rootless(user, ["probe", "call", "135", "0"], edits), setup=own) == "ENOSYS"


def test_another_user_has_no_mapping(user):
    user.refused(user.run(config=rootless(user, "true", {"process.user": {"uid": 5, "gid": 5}}), setup=own, rc=None), "5|uid|gid")


def test_limits_that_cannot_be_set_are_refused(user):
    done = user.run(config=rootless(user, "true", {"linux.resources": {"memory": {"limit": 50000000}}}), setup=own, rc=None)
    if user.machine.name == "crun" and done.rc == 0:
        pytest.skip("crun ignores limits there")
    user.refused(done, "cgroup|memory|denied")


def test_mapping_of_several_without_newuidmap_is_refused(user):
    """More than oneself needs newuidmap and an entry of /etc/subuid."""
    ids = [{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": 7000000, "size": 1000}]
    user.refused(user.run(config=rootless(user, "true", ids=ids), setup=own, rc=None), "map")


def test_mapping_by_newuidmap(user):
    """With an entry of /etc/subuid, made for the time of the test in a mount namespace of its own."""
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap is not installed")
    if not os.path.exists("/etc/subuid"):
        pytest.skip("there is no /etc/subuid to mount over")
    for name in ("subuid", "subgid"):
        with open(f"{user.dir}/{name}", "w", encoding="ascii") as file:
            file.write(f"{UID}:7000000:65536\n")
    shutil.copy("/etc/passwd", user.dir + "/passwd")
    with open(user.dir + "/passwd", "a", encoding="ascii") as file:
        file.write(f"caisson-test:x:{UID}:{UID}::/:/bin/sh\n")
    ids = [{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": 7000000, "size": 1000}]
    line = " && ".join(f"mount --bind {user.dir}/{name} /etc/{name}" for name in ("subuid", "subgid", "passwd")) + ' && exec "$@"'
    done = user.run(config=rootless(user, "cat /proc/self/uid_map; id -u", {"process.user": {"uid": 7, "gid": 7}}, ids), setup=own,
                    wrap=["unshare", "--mount", "--propagation", "private", "sh", "-c", line, "sh"])
    assert [row.split() for row in done.out.splitlines()] == [["0", str(UID), "1"], ["1", "7000000", "1000"], ["7"]]


def test_root_by_default_is_the_users(user):
    """Without --root the state is below XDG_RUNTIME_DIR."""
    user.flags = []
    bundle = user.bundle(rootless(user, "sleep 99"))
    own(bundle)
    ident = user.known(bundle)
    user("run", "-d", "--bundle", bundle, ident, output=bundle + "/log")
    try:
        found = [folder for folder, dirs, files in os.walk(user.dir + "/run") if ident in dirs + files]
        assert found
    finally:
        user("delete", "--force", ident)
