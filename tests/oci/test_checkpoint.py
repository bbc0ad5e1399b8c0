# SPDX-License-Identifier: Apache-2.0
"""checkpoint and restore through CRIU. Where CRIU or the kernel cannot, the cases are skipped and a clear error is asked for."""
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from harness.shell import wait_for

COUNTER = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"


def criu_works():
    return shutil.which("criu") and subprocess.run(["criu", "check"], check=False, capture_output=True).returncode == 0


WORKS = criu_works()
needs_criu = pytest.mark.skipif(not WORKS, reason="criu is not installed, or the kernel cannot do what it needs")


@pytest.fixture(autouse=True)
def not_crun(oci):
    if oci.machine.name == "crun":
        pytest.skip("Debian's crun is built without CRIU")


def counting(oci):
    """A container that counts, and whose terminal and mounts CRIU can keep."""
    box = oci.start(COUNTER)
    box.output("5\n")
    return box


def dump(box, *flags, rc=None):
    """A checkpoint; a refusal by CRIU or the kernel is a skip, for it is not the runtime's."""
    image = box.oci.dir + "/image"
    done = box.oci("checkpoint", "--image-path", image, "--work-path", box.oci.dir + "/work", *flags, box.id, rc=rc, timeout=60)
    if done.rc != 0:
        log = box.oci.dir + "/work/dump.log"
        text = open(log, encoding="utf-8", errors="replace").read() if os.path.exists(log) else ""
        box.oci.refused(done, "criu")
        pytest.skip("CRIU cannot dump here: " + next((line for line in text.splitlines() if "Error" in line), done.err.strip())[-150:])
    return image


def restore(box, image, *flags):
    log = box.bundle + "/log2"
    done = box.oci("restore", "-d", "--image-path", image, "--work-path", box.oci.dir + "/work", "--bundle", box.bundle, *flags, box.id, output=log, rc=None, timeout=60)
    if done.rc != 0:
        path = box.oci.dir + "/work/restore.log"
        text = open(path, encoding="utf-8", errors="replace").read() if os.path.exists(path) else ""
        box.oci.refused(done, "criu")
        pytest.skip("CRIU cannot restore here: " + next((line for line in text.splitlines() if "Error" in line), done.err.strip())[-150:])
    return log


def numbers(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return [int(n) for n in re.findall(r"^(\d+)$", file.read(), re.M)]


@needs_criu
def test_checkpoint_ends_the_container(oci):
    box = counting(oci)
    image = dump(box)
    assert os.path.exists(image + "/inventory.img") or any(name.endswith(".img") for name in os.listdir(image))
    done = oci("state", box.id, rc=None)
    assert done.rc != 0 or json.loads(done.out)["status"] == "stopped"


@needs_criu
def test_checkpoint_leave_running(oci):
    box = counting(oci)
    dump(box, "--leave-running")
    assert box.status == "running"
    last = max(numbers(box.log))
    wait_for(lambda: max(numbers(box.log)) > last, "it counts on")


@needs_criu
def test_restore_goes_on_where_it_was(oci):
    box = counting(oci)
    image = dump(box)
    last = max(numbers(box.log))
    oci("delete", "--force", box.id)
    restore(box, image)
    assert box.status == "running"
    wait_for(lambda: max(numbers(box.log) + numbers(box.bundle + "/log2")) > last, "it counts on")
    got = numbers(box.log) + numbers(box.bundle + "/log2")
    assert got[got.index(last):][:2] == [last, last + 1] or last + 1 in got
    assert box.exec("echo inside").out == "inside\n"


@needs_criu
def test_restore_pid_file(oci):
    box = counting(oci)
    image = dump(box)
    oci("delete", "--force", box.id)
    restore(box, image, "--pid-file", oci.dir + "/pid")
    with open(oci.dir + "/pid", encoding="ascii") as file:
        assert int(file.read()) == box.pid


def test_restore_without_an_image_is_a_clear_error(oci):
    bundle = oci.bundle(oci.config(args="sleep 99"))
    os.makedirs(oci.dir + "/empty")
    done = oci("restore", "-d", "--image-path", oci.dir + "/empty", "--bundle", bundle, oci.known(bundle), rc=None, output=bundle + "/log")
    oci.refused(done, "criu|image|inventory")
    assert oci("list", "-q").out == ""


def test_checkpoint_of_a_stopped_one_is_a_clear_error(oci):
    box = oci.start("true")
    box.wait_status("stopped")
    oci.refused(oci("checkpoint", "--image-path", oci.dir + "/image", box.id, rc=None), "stopped|not running|criu")


def test_failed_checkpoint_leaves_the_container_running(oci):
    """An image path that cannot be written."""
    box = counting(oci)
    oci.refused(oci("checkpoint", "--image-path", "/proc/no/image", box.id, rc=None, timeout=60), "/proc/no|criu")
    time.sleep(0.05)
    assert box.status == "running"
