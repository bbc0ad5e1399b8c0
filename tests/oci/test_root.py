# SPDX-License-Identifier: Apache-2.0
"""`root`, `hostname`, `domainname`, and the fields around them."""
import os

import pytest

from harness.oci import namespaces


def test_path_relative_to_the_bundle(oci):
    def setup(bundle):
        os.rename(bundle + "/rootfs", bundle + "/other")
    assert oci.out("cat /etc/passwd", {"root.path": "other"}, setup=setup).startswith("root:")


def test_path_relative_through_parents(oci):
    name = []

    def setup(bundle):
        name.append(os.path.basename(bundle))
        os.rename(bundle + "/rootfs", os.path.dirname(bundle) + "/elsewhere")
    assert oci.out("echo ok", {"root.path": "../elsewhere"}, setup=setup) == "ok"


def test_path_absolute(oci):
    path = oci.dir + "/absolute"
    oci.machine.make_rootfs(path)
    assert oci.out("echo ok", {"root.path": path}) == "ok"


def test_path_that_is_a_link(oci):
    def setup(bundle):
        os.rename(bundle + "/rootfs", bundle + "/real")
        os.symlink("real", bundle + "/rootfs")
    done = oci.run("echo ok", setup=setup, rc=None)
    assert done.out == "ok\n" or oci.refused(done, "rootfs")


def test_path_missing(oci):
    oci.refused(oci.run("true", {"root.path": "nowhere"}, rc=None), "nowhere", "no such file")


def test_path_that_is_a_file(oci):
    oci.refused(oci.run("true", {"root.path": "config.json"}, rc=None), "config.json|root", "not a directory")


def test_root_missing(oci):
    oci.refused(oci.run("true", {"root": None}, rc=None), "root")


def test_readonly(oci):
    out = oci.out("probe try-write /x; probe try-write /dev/shm/x", {"root.readonly": True})
    assert out.split() == ["EROFS", "ok"]


def test_not_readonly(oci):
    assert oci.out("probe try-write /x", {"root.readonly": False}) == "ok"


def test_readonly_leaves_the_host_writable(oci):
    box = oci.start(edits={"root.readonly": True})
    with open(box.rootfs + "/from-host", "w", encoding="ascii") as file:
        file.write("x")
    assert box.exec("cat /from-host").out == "x"


def test_old_root_is_out_of_reach(oci):
    """Nothing of the host's tree is mounted or can be reached by going up."""
    out = oci.run("cat /proc/self/mountinfo; ls -a /../../..; ls /proc/1/root/").out
    assert oci.dir + "/state" not in out and "config.json" not in out


def test_root_mount_is_the_first(oci):
    first = oci.lines("awk '{print $5}' /proc/self/mountinfo")
    assert first.count("/") == 1


def test_hostname(oci):
    assert oci.out(["hostname"], {"hostname": "harbour"}) == "harbour"


def test_hostname_of_64_characters(oci):
    assert oci.out(["hostname"], {"hostname": "h" * 64}) == "h" * 64


def test_hostname_too_long(oci):
    oci.refused(oci.run("true", {"hostname": "h" * 65}, rc=None), "hostname")


def test_hostname_missing_keeps_that_of_the_caller(oci):
    assert oci.out(["hostname"], {"hostname": None}) == os.uname().nodename


def test_hostname_without_a_uts_namespace_is_refused(oci):
    before = os.uname().nodename
    config = namespaces(oci.config({"hostname": "intruder"}, ["hostname"]), without=["uts"])
    oci.refused(oci.run(config=config, rc=None), "hostname", "uts")
    assert os.uname().nodename == before


def domain():
    with open("/proc/sys/kernel/domainname", encoding="ascii") as file:
        return file.read().strip()


@pytest.mark.reference_lacks("domainname is of runtime-spec 1.1, later than these releases")
def test_domainname(oci):
    assert oci.out("cat /proc/sys/kernel/domainname", {"domainname": "sea.example"}) == "sea.example"


@pytest.mark.reference_lacks("domainname is of runtime-spec 1.1, later than these releases")
def test_domainname_without_a_uts_namespace_is_refused(oci):
    before = domain()
    config = namespaces(oci.config({"hostname": None, "domainname": "intruder"}, "true"), without=["uts"])
    oci.refused(oci.run(config=config, rc=None), "domainname", "uts")
    assert domain() == before


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0"])
def test_oci_version(oci, version):
    done = oci.run("echo ok", {"ociVersion": version}, rc=None)
    if not oci.ours and done.rc != 0:
        pytest.skip("later than this release")
    assert done.out == "ok\n"


@pytest.mark.parametrize("version", ["2.0.0", "x", ""])
@pytest.mark.reference_lacks("do not look at the version")
def test_oci_version_unknown(oci, version):
    """A later major version may mean anything."""
    oci.refused(oci.run("true", {"ociVersion": version}, rc=None), "ociVersion")


def test_annotations_are_in_the_state(oci):
    notes = {"org.example.a": "1", "b c": "ü\n", "empty": ""}
    box = oci.create(edits={"annotations": notes})
    got = box.state()["annotations"]
    assert {k: v for k, v in got.items() if k in notes} == notes


def test_unknown_fields_are_kept(oci):
    """The specification: unknown properties must be ignored."""
    edits = {"future": {"a": [1, 2]}, "process.future": 1, "linux.future": "x", "root.future": None, "linux.resources.future": {}, "solaris": {}, "windows": {"layerFolders": []},
             "vm": {"kernel": {"path": "/x"}}, "zos": {}, "freebsd": {}}
    assert oci.out("echo ok", edits) == "ok"


def test_no_cgroup_or_resources_given(oci):
    config = oci.config({"linux.resources": None}, "echo ok")
    assert oci.out(config=config) == "ok"
