# SPDX-License-Identifier: Apache-2.0
"""The smaller fields of `linux`: sysctl, maskedPaths, readonlyPaths, personality, memoryPolicy, intelRdt; and `vm`."""
import os

import pytest

from harness.oci import namespaces
from harness.shell import wait_for

SYSFS = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}


# --- sysctl ---

@pytest.mark.parametrize("name, value", [("net.ipv4.ip_forward", "1"), ("net.ipv4.ping_group_range", "0\t1000"), ("kernel.shmmax", "12345678"), ("kernel.msgmax", "4096"),
                                         ("fs.mqueue.msg_max", "20"), ("kernel.sem", "300\t32000\t100\t200"), ("net.core.somaxconn", "77")])
def test_sysctl(oci, name, value):
    out = oci.out(f"cat /proc/sys/{name.replace('.', '/')}", {"linux.sysctl": {name: value.replace(chr(9), " ")}})
    assert out == value


def test_sysctl_with_slashes(oci):
    assert oci.out("cat /proc/sys/net/ipv4/conf/lo/forwarding", {"linux.sysctl": {"net/ipv4/conf/lo/forwarding": "1"}}) == "1"


def test_sysctl_domainname(oci):
    """Names of the uts namespace may be set where it is new."""
    done = oci.run("cat /proc/sys/kernel/domainname", {"linux.sysctl": {"kernel.domainname": "sea"}}, rc=None)
    assert done.out == "sea\n" or oci.refused(done, "kernel.domainname")


@pytest.mark.parametrize("field", ["hostname", pytest.param("domainname", marks=pytest.mark.reference_lacks("the field is later than runc's release"))])
def test_sysctl_that_contradicts_a_field(oci, field):
    oci.refused(oci.run("true", {field: "one", "linux.sysctl": {f"kernel.{field}": "other"}}, rc=None), f"kernel.{field}", "conflicts")


@pytest.mark.parametrize("name", ["kernel.core_pattern", "vm.overcommit_memory", "fs.file-max", "kernel.panic"])
def test_sysctl_of_the_whole_machine_is_refused(oci, name):
    path = f"/proc/sys/{name.replace('.', '/')}"
    with open(path, encoding="ascii") as file:
        before = file.read()
    oci.refused(oci.run("true", {"linux.sysctl": {name: before.strip() or "0"}}, rc=None), name)
    with open(path, encoding="ascii") as file:
        assert file.read() == before


@pytest.mark.parametrize("name, without", [("net.ipv4.ip_forward", "network"), ("kernel.shmmax", "ipc"), ("fs.mqueue.msg_max", "ipc")])
def test_sysctl_without_its_namespace_is_refused(oci, name, without):
    with open(f"/proc/sys/{name.replace('.', '/')}", encoding="ascii") as file:
        before = file.read().strip()
    config = namespaces(oci.config({"linux.sysctl": {name: before}}, "true"), without=[without])
    oci.refused(oci.run(config=config, rc=None), name)


@pytest.mark.parametrize("name", ["net.ipv4.no_such", "net/../kernel/core_pattern", "net.ipv4.ip_forward/../../../kernel/panic"])
def test_sysctl_bad_name(oci, name):
    oci.refused(oci.run("true", {"linux.sysctl": {name: "1"}}, rc=None), "sysctl|" + name.split("/..", maxsplit=1)[0])


def test_sysctl_bad_value(oci):
    oci.refused(oci.run("true", {"linux.sysctl": {"net.ipv4.ip_forward": "x"}}, rc=None), "ip_forward", "invalid argument")


# --- maskedPaths, readonlyPaths ---

def test_masked_file(oci):
    out = oci.out("cat /proc/kcore /etc/passwd | wc -c; echo x > /etc/passwd; cat /etc/passwd", {"linux.maskedPaths": ["/proc/kcore", "/etc/passwd"]}, rc=None)
    assert out == "0"


def test_masked_directory(oci):
    out = oci.run("ls -A /etc | wc -l; probe try-write /etc/x; ls -A /proc/sys | wc -l", {"linux.maskedPaths": ["/etc", "/proc/sys"]}).out
    assert out.split() == ["0", "EROFS", "0"]


def test_masked_leaves_the_original(oci):
    box = oci.start(edits={"linux.maskedPaths": ["/etc/passwd"]})
    assert os.path.getsize(box.rootfs + "/etc/passwd") > 0


def test_masked_path_that_is_missing(oci):
    assert oci.out("echo ok", {"linux.maskedPaths": ["/proc/no-such", "/nowhere/at/all"]}) == "ok"


def test_masked_below_a_mount(oci):
    out = oci.out("cat /mnt/passwd | wc -c", {"linux.maskedPaths": ["/mnt/passwd"]}, mounts=[{"destination": "/mnt", "type": "bind", "source": oci.machine.template + "/etc", "options": ["bind"]}])
    assert out == "0"


def test_masked_at_exec(oci):
    box = oci.start(edits={"linux.maskedPaths": ["/etc/passwd", "/proc/sys"]})
    assert box.exec("cat /etc/passwd | wc -c; ls /proc/sys | wc -l").out.split() == ["0", "0"]


def test_readonly_paths(oci):
    out = oci.run("probe try-write /etc/x; probe try-write /etc/passwd; probe try-write /proc/sys/kernel/panic; probe try-write /tmp/x",
                  {"linux.readonlyPaths": ["/etc", "/proc/sys"]}).out
    assert out.split() == ["EROFS", "EROFS", "EROFS", "ok"]


def test_readonly_file(oci):
    assert oci.out("probe try-write /etc/passwd; probe try-write /etc/group", {"linux.readonlyPaths": ["/etc/passwd"]}).split() == ["EROFS", "ok"]


def test_readonly_keeps_the_content(oci):
    assert "root" in oci.out("cat /etc/passwd", {"linux.readonlyPaths": ["/etc"]})


def test_readonly_path_that_is_missing(oci):
    assert oci.out("echo ok", {"linux.readonlyPaths": ["/nowhere/at/all"]}) == "ok"


def test_readonly_keeps_other_flags(oci):
    """A path below a nosuid mount stays nosuid."""
    out = oci.out("grep ' /proc/sys ' /proc/self/mountinfo", {"linux.readonlyPaths": ["/proc/sys"]}).split()[5].split(",")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(out)


@pytest.mark.parametrize("key", ["linux.maskedPaths", "linux.readonlyPaths"])
def test_paths_must_be_absolute(oci, key):
    """The specification: absolute paths in the container; refused, or taken as below its root, never as the host's."""
    done = oci.run("echo ok", {key: ["etc/passwd"]}, rc=None)
    assert done.out == "ok\n" or oci.refused(done, "etc/passwd")


# --- personality ---

@pytest.mark.parametrize("domain, machine, number", [("LINUX", os.uname().machine, 0), ("LINUX32", "i686", 8)])
def test_personality(oci, domain, machine, number):
    if os.uname().machine != "x86_64":
        pytest.skip("names of x86")
    out = oci.out("probe machine; cat /proc/self/personality", {"linux.personality": {"domain": domain}}).split()
    assert out == [machine, f"{number:08x}"]


def test_personality_bad(oci):
    oci.refused(oci.run("true", {"linux.personality": {"domain": "SOLARIS"}}, rc=None), "personality|SOLARIS")


def test_personality_flags(oci):
    """The specification has no flags so far: an unknown one is refused, or ignored."""
    done = oci.run("echo ok", {"linux.personality": {"domain": "LINUX", "flags": []}}, rc=None)
    assert done.out == "ok\n"


def test_personality_at_exec(oci):
    box = oci.start(edits={"linux.personality": {"domain": "LINUX32"}})
    out = box.exec("probe", "machine").out.strip()
    if not oci.ours and out != "i686":
        pytest.xfail("not of this release")
    assert out == "i686"


# --- memoryPolicy ---

MEMORY_POLICY = pytest.mark.reference_lacks("memoryPolicy is of runtime-spec 1.3, later than these releases")


@MEMORY_POLICY
@pytest.mark.parametrize("policy, mode, nodes", [({"mode": "MPOL_DEFAULT"}, 0, 0), ({"mode": "MPOL_PREFERRED", "nodes": "0"}, 1, 1), ({"mode": "MPOL_BIND", "nodes": "0"}, 2, 1),
                                                 ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, 3, 1), ({"mode": "MPOL_LOCAL"}, 4, 0),
                                                 ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, 5, 1), ({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}, 6, 1),
                                                 ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, 2 | 1 << 15, 1),
                                                 ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, 2 | 1 << 14, 1),
                                                 ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}, 2 | 1 << 13, 1)])
def test_memory_policy(oci, policy, mode, nodes):
    if not os.path.isdir("/sys/devices/system/node/node0"):
        pytest.skip("the kernel has no NUMA policies")
    assert oci.out(["probe", "memory-policy"], {"linux.memoryPolicy": policy}) == f"mode={mode} nodes={nodes}"


@MEMORY_POLICY
@pytest.mark.parametrize("policy", [{"mode": "MPOL_NONSENSE"}, {"mode": "MPOL_BIND", "nodes": "x"}, {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONSENSE"]},
                                    {"mode": "MPOL_BIND"}, {"mode": "MPOL_BIND", "nodes": "1000"}])
def test_memory_policy_bad(oci, policy):
    oci.refused(oci.run("true", {"linux.memoryPolicy": policy}, rc=None), "memoryPolicy|mempolicy|MPOL|nodes")


@MEMORY_POLICY
def test_memory_policy_at_exec(oci):
    if not os.path.isdir("/sys/devices/system/node/node0"):
        pytest.skip("the kernel has no NUMA policies")
    box = oci.start(edits={"linux.memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "0"}})
    assert box.exec("probe", "memory-policy").out.startswith("mode=3") or not oci.ours


# --- intelRdt ---

@pytest.mark.parametrize("value", [{"closID": "group"}, {"l3CacheSchema": "L3:0=f"}, {"memBwSchema": "MB:0=50"}, {"schemata": ["L3:0=f"]}, {"enableMonitoring": True}])
def test_intel_rdt_where_there_is_none(oci, value):
    """A clear error; the references ignore it, or those parts that are newer than they are."""
    if os.path.isdir("/sys/fs/resctrl/info"):
        pytest.skip("the machine has resctrl mounted")
    if not oci.ours:
        pytest.skip("the references differ")
    oci.refused(oci.run("true", {"linux.intelRdt": value}, rc=None), "intelRdt|resctrl|RDT")


# --- what is not for Linux containers ---

def test_vm_is_ignored(oci):
    """vm belongs to runtimes that start virtual machines."""
    vm = {"hypervisor": {"path": "/h", "parameters": ["a"]}, "kernel": {"path": "/k", "parameters": ["b"], "initrd": "/i"}, "image": {"path": "/x", "format": "raw"},
          "hwConfig": {"vcpus": 1}}
    assert oci.out("echo ok", {"vm": vm}) == "ok"


# --- keyring ---

def test_session_keyring_of_its_own(oci):
    """A container does not see the caller's session keyring; --no-new-keyring leaves it."""
    mine = oci.out(["probe", "keyring"])
    other = oci.out(["probe", "keyring"], flags=["--no-new-keyring"])
    if "ok" not in (mine, other) and int(mine) < 0:
        pytest.skip("the kernel has no keyrings")
    assert int(mine) != int(other)


@pytest.mark.reference_lacks("each of its commands has one of its own", "crun")
def test_session_keyring_of_exec_is_the_containers(oci):
    box = oci.start("probe keyring; sleep 99")
    wait_for(lambda: "\n" in box.output(), "the container has told its keyring")
    mine = int(box.output().splitlines()[0])
    if mine < 0:
        pytest.skip("the kernel has no keyrings")
    assert int(box.exec("probe", "keyring").out) == mine
    assert int(box.exec("probe", "keyring", flags=["--user", "1000"]).out) == mine
    assert int(oci.out(["probe", "keyring"])) != mine
