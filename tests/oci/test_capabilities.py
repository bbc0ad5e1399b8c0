# SPDX-License-Identifier: Apache-2.0
"""process.capabilities: the five sets, for root and for others, at exec and where a set names what cannot be had."""
import os
import shutil

import pytest

BITS = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12,
        "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27, "CAP_AUDIT_WRITE": 29}
USER = {"uid": 1000, "gid": 1000}


def mask(*names):
    return sum(1 << BITS[n] for n in names)


def sets(oci, caps, user=None):
    edits = {"process.capabilities": caps}
    if user:
        edits["process.user"] = user
    lines = oci.out("grep ^Cap /proc/self/status", edits).splitlines()
    return {line.split(":")[0]: int(line.split()[1], 16) for line in lines}


ALL = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"]


def test_bounding_effective_permitted(oci):
    """A program started by root has what the bounding set allows."""
    got = sets(oci, {"bounding": ALL, "effective": ALL, "permitted": ALL})
    assert got == {"CapBnd": mask(*ALL), "CapEff": mask(*ALL), "CapPrm": mask(*ALL), "CapInh": 0, "CapAmb": 0}


def test_bounding_alone(oci):
    """Root takes up the bounding set when it starts a program, whatever was permitted before."""
    got = sets(oci, {"bounding": ["CAP_KILL"]})
    assert got["CapBnd"] == mask("CAP_KILL") and got["CapInh"] == 0 and got["CapAmb"] == 0


@pytest.mark.parametrize("caps", [{}, {"bounding": [], "effective": [], "permitted": []}])
def test_no_capabilities(oci, caps):
    assert set(sets(oci, caps).values()) == {0}


def test_missing_object_gives_none(oci):
    """Without the object nothing is kept."""
    got = [int(line.split()[1], 16) for line in oci.out("grep -E '^Cap(Bnd|Inh|Amb)' /proc/self/status", {"process.capabilities": None}).splitlines()]
    if not oci.ours:
        pytest.skip("the references keep all of them; the specification is silent")
    assert got == [0, 0, 0]


def test_inheritable(oci):
    caps = ["CAP_KILL"]
    got = sets(oci, {"bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps})
    assert got["CapInh"] == mask("CAP_KILL") and got["CapAmb"] == 0


def test_ambient_for_another_user(oci):
    """The ambient set is what a program without privileges keeps."""
    caps = ["CAP_NET_BIND_SERVICE", "CAP_KILL"]
    got = sets(oci, {"bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps, "ambient": ["CAP_NET_BIND_SERVICE"]}, USER)
    one = mask("CAP_NET_BIND_SERVICE")
    assert (got["CapAmb"], got["CapEff"], got["CapPrm"], got["CapInh"], got["CapBnd"]) == (one, one, one, mask(*caps), mask(*caps))


def test_another_user_has_none_without_ambient(oci):
    got = sets(oci, {"bounding": ALL, "effective": ALL, "permitted": ALL}, USER)
    assert (got["CapEff"], got["CapPrm"], got["CapAmb"], got["CapBnd"]) == (0, 0, 0, mask(*ALL))


def test_effective_is_felt(oci):
    """CAP_CHOWN taken away, root cannot give a file away."""
    have = [c for c in BITS if c != "CAP_CHOWN"]
    line = "touch /tmp/x; chown 5:5 /tmp/x 2>/dev/null && echo given || echo kept"
    assert oci.out(line, {"process.capabilities": {k: have for k in ("bounding", "effective", "permitted")}}) == "kept"
    have = list(BITS)
    assert oci.out(line, {"process.capabilities": {k: have for k in ("bounding", "effective", "permitted")}}) == "given"


def test_unknown_name_is_ignored_with_a_warning(oci):
    """The specification: a value that cannot be mapped to the kernel's interface is logged as a warning and not an error."""
    caps = ["CAP_KILL", "CAP_NOT_YET_INVENTED"]
    done = oci.run("grep CapEff /proc/self/status", {"process.capabilities": {k: caps for k in ("bounding", "effective", "permitted")}}, rc=None)
    assert done.rc == 0 and int(done.out.split()[1], 16) == mask("CAP_KILL"), done
    assert "CAP_NOT_YET_INVENTED" in done.err


def test_capability_that_the_caller_lacks(oci):
    """What the runtime itself does not have cannot be given: refused or left out, never something else instead."""
    with open("/proc/self/status", encoding="ascii") as file:
        mine = int(next(line for line in file if line.startswith("CapBnd")).split()[1], 16)
    if mine >> 24 & 1:
        pytest.skip("the caller has CAP_SYS_RESOURCE")
    caps = ["CAP_KILL", "CAP_SYS_RESOURCE"]
    done = oci.run("grep CapEff /proc/self/status", {"process.capabilities": {k: caps for k in ("bounding", "effective", "permitted")}}, rc=None)
    if done.rc == 0:
        assert int(done.out.split()[1], 16) == mask("CAP_KILL")
    else:
        assert done.err


@pytest.mark.parametrize("closed, uid", [(True, "1000"), (False, "0")])
def test_set_uid_program(oci, closed, uid):
    """noNewPrivileges keeps a set-user-ID program from gaining anything."""
    def setup(bundle):
        shutil.copy(bundle + "/rootfs/bin/probe", bundle + "/rootfs/bin/suid")
        os.chmod(bundle + "/rootfs/bin/suid", 0o4755)
    assert oci.out(["suid", "uid"], {"process.user": USER, "process.noNewPrivileges": closed}, setup=setup) == uid
