# SPDX-License-Identifier: Apache-2.0
"""Config files that are broken, hostile or impossible: a clear error, exit code 1, and nothing is left behind."""
import json
import os

import pytest

from harness.oci import default_config, edited


def bad(oci, content, *words, timeout=10):
    bundle = oci.bundle(content if isinstance(content, (str, bytes)) else json.dumps(content))
    done = oci("run", "--bundle", bundle, oci.known(bundle), rc=None, timeout=timeout)
    oci.refused(done, *words)
    if oci.ours:
        assert done.rc == 1 and len(done.err) < 4000
    assert not os.path.exists(f"{oci.root}/{oci.ids[0]}")
    return done


MALFORMED = ["", " ", "{", "[]", "null", "1", '"x"', "{}", "{}}", '{"a":1,}', "{'a':1}", '{"ociVersion":"1.0.2"', "\x00", "{\"ociVersion\": \"1.0.2\"}\x00", "\ufeff{}", "// c\n{}",
             '{"process":{"args":["sh"', '{"ociVersion":"1.0.2","ociVersion":"1.0.2"}', '{"ociVersion":NaN}', "{" * 10000, '{"a":' * 10000, "[" * 100000]


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed(oci, content):
    bad(oci, content, "config|json|ociVersion|process|root")


def test_bytes_that_are_no_text(oci):
    bad(oci, bytes(range(256)) * 10, "config|json")


def test_invalid_utf8_in_a_string(oci):
    config = json.dumps(oci.config(args="echo ok")).encode().replace(b'"box"', b'"b\xff\xfex"')
    bundle = oci.bundle(config)
    done = oci("run", "--bundle", bundle, oci.known(bundle), rc=None)
    assert done.rc == 0 or done.err


TYPES = [("process", []), ("process", "x"), ("process.args", "sh"), ("process.args", [1]), ("process.args", {}), ("process.env", "A=1"), ("process.env", [None, 3]), ("process.cwd", 5),
         ("process.user", []), ("process.user.uid", "0"), ("process.user.uid", -1), ("process.user.uid", 4294967296), ("process.user.uid", 1.5), ("process.user.gid", 1e30),
         ("process.user.additionalGids", [-1]), ("process.user.umask", "022"), ("process.terminal", "yes"), ("process.terminal", 1), ("process.rlimits", {}), ("process.rlimits", [5]),
         ("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": -1, "hard": 5}]), ("process.capabilities", ["CAP_KILL"]), ("process.capabilities.bounding", "CAP_KILL"),
         ("process.oomScoreAdj", "x"), ("process.oomScoreAdj", 2**40), ("process.noNewPrivileges", "true"), ("process.consoleSize", 5), ("root", "rootfs"), ("root.path", 5), ("root.readonly", "yes"), ("hostname", 5),
         ("hostname", ["x"]), ("mounts", {}), ("mounts", ["/proc"]), ("mounts", [{"destination": 5}]), ("mounts", [{"destination": "/mnt", "type": "tmpfs", "options": "ro"}]),
         ("hooks", []), ("hooks.prestart", {}), ("hooks.prestart", ["x"]), ("hooks.createRuntime", [{"path": 5}]), ("annotations", []), ("annotations", {"a": 5}), ("linux", []),
         ("linux.namespaces", {}), ("linux.namespaces", ["pid"]), ("linux.namespaces", [{"type": 5}]), ("linux.uidMappings", {}), ("linux.uidMappings", [{"containerID": "0"}]),
         ("linux.devices", {}), ("linux.devices", [{"path": "/dev/x", "type": "c", "major": "1", "minor": 3}]), ("linux.resources", []), ("linux.resources.memory", 5),
         ("linux.resources.memory.limit", "64M"), ("linux.resources.cpu.shares", "x"), ("linux.resources.pids", 5), ("linux.resources.pids.limit", "max"), ("linux.resources.devices", {}),
         ("linux.resources.devices", [{"allow": "yes"}]), ("linux.resources.blockIO", []), ("linux.resources.hugepageLimits", {}), ("linux.resources.unified", ["x"]), ("linux.cgroupsPath", 5),
         ("linux.seccomp", []), ("linux.seccomp.defaultAction", 5), ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}), ("linux.sysctl", []), ("linux.sysctl", {"a": 5}),
         ("linux.maskedPaths", "x"), ("linux.readonlyPaths", [5]), ("linux.rootfsPropagation", 5), ("linux.personality", "LINUX32"), ("linux.intelRdt", []), ("ociVersion", 1.0), ("ociVersion", None)]


@pytest.mark.parametrize("path, value", TYPES, ids=[f"{p}={json.dumps(v)}"[:60] for p, v in TYPES])
def test_wrong_type(oci, path, value):
    config = default_config()
    config["process"]["args"] = ["true"]
    parents = path.split(".")
    if value is None:
        config[parents[0]] = None
    else:
        edited(config, {path: value})
    bundle = oci.bundle(json.dumps(config))
    done = oci("run", "--bundle", bundle, oci.known(bundle), rc=None)
    if oci.machine.name == "crun" and done.rc == 0:
        pytest.skip("crun's parser is content with it")
    oci.refused(done, parents[-1] + "|" + parents[0])
    if oci.ours:
        assert done.rc == 1


def test_error_names_the_place(oci):
    """Where in a long file the mistake is."""
    config = default_config()
    config["mounts"][2]["destination"] = 7
    done = bad(oci, config, "mounts|destination")
    if oci.ours:
        assert "destination" in done.err


def test_large_file(oci):
    """10 MB of annotations is much, but no reason to fail or to be slow."""
    config = oci.config({"annotations": {f"key{i}": "x" * 1000 for i in range(10000)}}, "echo ok")
    bundle = oci.bundle(config)
    done = oci("run", "--bundle", bundle, oci.known(bundle), rc=None, timeout=20)
    if done.rc:
        oci.refused(done, "config|large|limit")
    else:
        assert done.out == "ok\n"


def test_huge_file(oci):
    """A file without end is refused, not read into memory."""
    bundle = oci.bundle(oci.config(args="true"))
    os.unlink(bundle + "/config.json")
    with open(bundle + "/config.json", "wb") as file:
        file.truncate(3 << 30)
    if not oci.ours:
        pytest.skip("the references read all of it")
    done = oci("run", "--bundle", bundle, oci.known(bundle), rc=None, timeout=20)
    oci.refused(done, "config|large|limit|json")


@pytest.mark.parametrize("make", ["directory", "fifo", "link to nowhere", "missing", "unreadable device"])
def test_config_that_is_no_file(oci, make):
    if make in ("fifo", "unreadable device") and not oci.ours:
        pytest.skip("the references wait for ever, or read for ever")
    bundle = oci.bundle(oci.config(args="true"))
    path = bundle + "/config.json"
    os.unlink(path)
    if make == "directory":
        os.mkdir(path)
    elif make == "fifo":
        os.mkfifo(path)
    elif make == "link to nowhere":
        os.symlink("/nowhere", path)
    elif make == "unreadable device":
        os.symlink("/dev/zero", path)
    oci.refused(oci("run", "--bundle", bundle, oci.known(bundle), rc=None, timeout=10), "config.json")


@pytest.mark.parametrize("bundle", ["/nowhere", "/etc/passwd", ""])
def test_bundle_that_is_none(oci, bundle):
    done = oci("run", "--bundle", bundle, "x", rc=None, cwd=oci.dir)
    oci.refused(done, "config.json|bundle|nowhere|passwd")


@pytest.mark.parametrize("count", [2000])
def test_many_mounts(oci, count):
    """More than anybody needs, and no more than a second or two."""
    mounts = [{"destination": f"/mnt/{i}", "type": "tmpfs", "source": "t", "options": ["size=4k"]} for i in range(count)]
    done = oci.run("grep -c /mnt/ /proc/self/mountinfo", mounts=mounts, rc=None, timeout=60)
    assert done.out == f"{count}\n" or done.err


def test_many_arguments_and_variables(oci):
    out = oci.run(["sh", "-c", "echo $#", "zero", *["a"] * 20000], {"process.env": ["PATH=/bin"] + [f"V{i}=x" for i in range(5000)]}).out
    assert out == "20000\n"


def test_argument_too_long_for_the_kernel(oci):
    oci.refused(oci.run(["echo", "x" * 200000], rc=None), "too long|echo")


@pytest.mark.parametrize("path, value", [("process.args", ["sh\u0000x"]), ("process.cwd", "/tmp\u0000x"), ("process.env", ["A=\u0000"]), ("hostname", "a\u0000b"), ("root.path", "rootfs\u0000")])
def test_zero_bytes_in_strings(oci, path, value):
    done = oci.run(None, {"process.args": ["true"], path: value}, rc=None)
    if not oci.ours:
        pytest.skip("the references differ")
    oci.refused(done, path.split(".")[-1] + "|zero|nul|invalid")


@pytest.mark.parametrize("edits", [{"process.user.uid": 4294967295}, {"process.args": ["/proc/self/mem"]}, {"process.cwd": "/proc/self/fd/99"}, {"root.path": "/proc"}])
def test_impossible_values(oci, edits):
    done = oci.run(edits.get("process.args", ["true"]), edits, rc=None)
    if "process.user.uid" in edits and not oci.ours:
        pytest.skip("the references differ")
    oci.refused(done)


def test_failures_in_a_row_leave_nothing(oci):
    """Thirty containers that cannot start, each at another step."""
    edits = [{"process.args": ["nope"]}, {"process.cwd": "/etc/passwd"}, {"hostname": "x" * 100}, {"linux.sysctl": {"net.nope": "1"}}, {"root.path": "nope"},
             {"linux.devices": [{"path": "/etc/passwd/x", "type": "c", "major": 1, "minor": 3}]}, {"linux.resources.cpu": {"cpus": "500"}},
             {"hooks": {"createRuntime": [{"path": "/bin/false"}]}}, {"linux.seccomp": {"defaultAction": "nope"}}, {"process.rlimits": [{"type": "nope", "soft": 1, "hard": 1}]}]
    for edit in edits * 3:
        assert oci.run(edit.get("process.args", ["true"]), edit, rc=None).rc != 0
