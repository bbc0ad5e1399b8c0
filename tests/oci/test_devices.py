# SPDX-License-Identifier: Apache-2.0
"""linux.devices, linux.resources.devices and linux.netDevices."""
import os
import stat
import subprocess

import pytest

from harness.oci import cgroup_mounts, namespaces, with_user_namespace

MKNOD = {"process.capabilities." + k: ["CAP_MKNOD", "CAP_DAC_OVERRIDE"] for k in ("bounding", "permitted", "effective")}
DENY = {"allow": False, "access": "rwm"}


def node(path, kind="c", major=1, minor=3, **more):
    out = {"path": path, "type": kind, **more}
    if kind != "p":
        out.update(major=major, minor=minor)
    return out


# --- nodes ---

@pytest.mark.parametrize("kind, major, minor, want", [("c", 1, 3, "character special file 1:3"), ("b", 7, 0, "block special file 7:0"), ("u", 1, 5, "character special file 1:5"),
                                                      ("p", None, None, "fifo 0:0")])
def test_node(oci, kind, major, minor, want):
    device = node("/dev/thing", kind, major, minor)
    assert oci.out("stat -c '%F %t:%T' /dev/thing", {"linux.devices": [device]}) == want


def test_node_mode_and_owner(oci):
    device = node("/dev/thing", fileMode=0o640, uid=11, gid=22)
    assert oci.out("stat -c '%a %u:%g' /dev/thing", {"linux.devices": [device]}) == "640 11:22"


def test_node_mode_is_not_masked(oci):
    device = node("/dev/thing", fileMode=0o666)
    assert oci.out("stat -c %a /dev/thing", {"linux.devices": [device], "process.user.umask": 0o77}) == "666"


def test_node_default_mode(oci):
    """Without fileMode nobody but the owner, or as the runtime sees fit; in any case it is there and root's."""
    assert oci.out("stat -c %u:%g /dev/thing", {"linux.devices": [node("/dev/thing")]}) == "0:0"


def test_node_in_a_new_directory(oci):
    assert oci.out("test -c /dev/net/deep/thing && echo ok", {"linux.devices": [node("/dev/net/deep/thing")]}) == "ok"


def test_node_outside_dev(oci):
    assert oci.out("test -c /opt/thing && echo ok", {"linux.devices": [node("/opt/thing")]}) == "ok"


def test_node_works(oci):
    rules = [DENY, {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"}]
    assert oci.out("head -c 4 /dev/thing | wc -c", {"linux.devices": [node("/dev/thing", minor=5, fileMode=0o666)], "linux.resources.devices": rules}) == "4"


def test_node_of_the_default_set_may_be_listed(oci):
    """Engines list /dev/null and others themselves."""
    assert oci.out("stat -c %t:%T /dev/null", {"linux.devices": [node("/dev/null", fileMode=0o666)]}) == "1:3"


def test_nothing_is_made_in_a_bound_dev(oci):
    """With /dev bound from elsewhere it is the caller's, and stays as it is."""
    os.makedirs(oci.dir + "/dev")
    os.mknod(oci.dir + "/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    config = oci.config(args="ls /dev")
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    config["mounts"].append({"destination": "/dev", "type": "bind", "source": oci.dir + "/dev", "options": ["rbind"]})
    assert oci.out(config=config) == "null"
    assert os.listdir(oci.dir + "/dev") == ["null"]


def test_node_in_a_user_namespace_is_bound(oci):
    config = with_user_namespace(oci, "stat -c %t:%T /dev/thing", {"linux.devices": [{"path": "/dev/thing", "type": "c", "major": 1, "minor": 5}]})
    done = oci.run(config=config, rc=None)
    if done.rc == 0:
        assert done.out == "1:5\n"
    else:
        oci.refused(done, "/dev/thing")


@pytest.mark.parametrize("device", [{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}, {"path": "/dev/x", "type": "", "major": 1, "minor": 3},
                                    {"path": "/etc/passwd/x", "type": "c", "major": 1, "minor": 3}])
def test_node_bad(oci, device):
    oci.refused(oci.run("true", {"linux.devices": [device]}, rc=None), device["path"].split("/x")[0])


@pytest.mark.reference_lacks("both make a node for the numbers that are left when the kernel cuts them")
@pytest.mark.parametrize("major, minor", [(-1, 3), (1 << 20, 1), (1, 1 << 33)])
def test_node_numbers_that_cannot_be(oci, major, minor):
    oci.refused(oci.run("true", {"linux.devices": [node("/dev/x", major=major, minor=minor)]}, rc=None), "/dev/x|major|minor")


# --- rules ---

def can(oci, rules, make, access):
    """Whether a device made inside can be opened."""
    line = {"r": f"{make}; head -c 0 /tmp/d > /dev/null && (: < /tmp/d) && echo yes", "w": f"{make}; (: > /tmp/d) && echo yes", "m": f"{make} && echo yes"}[access]
    return oci.run(line, {**MKNOD, "linux.resources.devices": rules}, rc=None).out == "yes\n"


def harmless():
    """Minor number of a misc device in nobody's default set, which may be opened without effect."""
    with open("/proc/misc", encoding="ascii") as file:
        known = {line.split()[1]: int(line.split()[0]) for line in file}
    return next((known[n] for n in ("loop-control", "fuse", "cpu_dma_latency", "rfkill") if n in known), None)


MINOR = harmless()
MISC = {"type": "c", "major": 10, "minor": MINOR}


@pytest.mark.parametrize("rules, access, want", [
    ([DENY], "r", False), ([DENY, {"allow": True, **MISC, "access": "rwm"}], "r", True),
    ([DENY, {"allow": True, **MISC, "access": "rm"}], "r", True),
    ([DENY, {"allow": True, **MISC, "access": "rm"}], "w", False),
    ([DENY, {"allow": True, **MISC, "access": "wm"}], "w", True),
    ([DENY, {"allow": True, "type": "c", "major": 10, "access": "rwm"}], "r", True),
    ([DENY, {"allow": True, "type": "c", "access": "rwm"}], "r", True),
    ([DENY, {"allow": True, "type": "b", "access": "rwm"}], "r", False),
    ([{"allow": True, **MISC, "access": "rwm"}, DENY], "r", False),
    ([{"allow": True, "access": "rwm"}], "r", True), ([{"allow": True, "type": "a", "access": "rwm"}], "r", True),
    ([DENY, {"allow": True, "type": "a", "access": "rwm"}, {"allow": False, **MISC, "access": "rwm"}], "r", False),
    ([DENY, {"allow": True, **MISC, "access": "r"}], "m", True)])
def test_rule(oci, rules, access, want):
    if MINOR is None:
        pytest.skip("no device that may be opened without effect")
    assert can(oci, rules, f"mknod /tmp/d c 10 {MINOR}", access) == want


def test_rule_of_making_nodes(oci):
    assert not can(oci, [DENY, {"allow": False, "access": "m"}], "mknod /tmp/d b 8 0", "r")


def test_rules_are_those_of_the_kernel(oci):
    """Version 1: devices.list shows them."""
    if "devices" not in cgroup_mounts():
        pytest.skip("no version 1 hierarchy of devices")
    box = oci.start(edits={"linux.resources.devices": [DENY, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]})
    listed = box.value("devices.list").splitlines()
    assert "c 10:229 rw" in listed and "c 1:3 rwm" in listed and "a *:* rwm" not in listed


@pytest.mark.parametrize("rule", [{"allow": True, "type": "z", "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 1, "access": "xyz"}])
def test_rule_bad(oci, rule):
    oci.refused(oci.run("true", {"linux.resources.devices": [DENY, rule]}, rc=None), "device")


# --- network devices ---

NET = pytest.mark.reference_lacks("netDevices are of runtime-spec 1.3, later than these releases")


class Pair:
    """A veth pair in a network namespace of its own, in which the runtime is run too."""

    def __init__(self, oci):
        self.oci, self.name = oci, f"oci{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link", "add", "va", "type", "veth", "peer", "name", "vb")
        self.program = oci.machine.program

    def ip(self, *args):
        return subprocess.run(["nsenter", f"--net=/run/netns/{self.name}", "ip", *args], check=False, capture_output=True, text=True)

    def __enter__(self):
        probe = self.ip("link", "show", "va")
        if probe.returncode:
            self.__exit__()
            pytest.skip("the kernel makes no veth devices here")
        argv = self.oci.argv
        self.oci.argv = lambda *args: ["nsenter", f"--net=/run/netns/{self.name}", *argv(*args)]
        return self

    def __exit__(self, *unused):
        self.oci.delete_all()
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


@NET
@pytest.mark.parametrize("name", [None, "eth7"])
def test_net_device(oci, name):
    with Pair(oci) as pair:
        pair.ip("addr", "add", "10.99.0.1/24", "dev", "va")
        pair.ip("link", "set", "va", "mtu", "1400", "up")
        out = oci.out(f"ip addr show {name or 'va'}", {"linux.netDevices": {"va": {"name": name} if name else {}}})
        assert "10.99.0.1/24" in out and "mtu 1400" in out and "UP" in out


@NET
def test_net_device_has_left_the_host(oci):
    with Pair(oci) as pair:
        oci.start(edits={"linux.netDevices": {"va": {}}})
        assert pair.ip("link", "show", "va").returncode != 0 and pair.ip("link", "show", "vb").returncode == 0


@NET
def test_net_device_comes_back(oci):
    """When the container ends, a device that is no virtual one returns; a veth goes with its namespace, and the peer too."""
    with Pair(oci) as pair:
        oci.run("true", {"linux.netDevices": {"va": {}}})
        assert oci.out("echo still works") == "still works"
        assert pair.ip("link", "show", "lo").returncode == 0


@NET
def test_net_device_missing(oci):
    oci.refused(oci.run("true", {"linux.netDevices": {"nosuch0": {}}}, rc=None), "nosuch0")


@NET
@pytest.mark.parametrize("name", ["x" * 16, "a/b", "..", "a b", "a:b"])
def test_net_device_bad_name(oci, name):
    with Pair(oci) as pair:
        oci.refused(oci.run("true", {"linux.netDevices": {"va": {"name": name}}}, rc=None), "va|name")
        assert pair.ip("link", "show", "va").returncode == 0


@NET
def test_net_device_name_taken(oci):
    with Pair(oci) as pair:
        oci.refused(oci.run("true", {"linux.netDevices": {"va": {"name": "lo"}}}, rc=None), "va|lo")
        assert pair.ip("link", "show", "va").returncode == 0


@NET
def test_net_device_without_a_network_namespace(oci):
    with Pair(oci) as pair:
        config = namespaces(oci.config({"linux.netDevices": {"va": {}}}, "true"), without=["network"])
        oci.refused(oci.run(config=config, rc=None), "network namespace|netDevices")
        assert pair.ip("link", "show", "va").returncode == 0
