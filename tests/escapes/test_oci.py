# SPDX-License-Identifier: Apache-2.0
"""Known escapes of OCI runtimes, tried on the runtime alone. Each test names the case it comes from. They need no engine."""
import hashlib
import os
import subprocess
import time

import pytest

from harness.oci import namespaces

TERMINAL = {"process.terminal": True}


@pytest.fixture(autouse=True, scope="session")
def programs_exist():
    pass


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture
def program(oci):
    """The runtime's file, whose bytes must be the same afterwards."""
    before = digest(oci.machine.program)
    yield oci.machine.program
    assert digest(oci.machine.program) == before


def refused_or(done, harmless, oci, *words):
    """The hostile thing failed with an error, or what came of it is harmless."""
    if done.rc:
        oci.refused(done, *words)
    else:
        assert harmless, done


@pytest.fixture
def outside(oci):
    """A directory of the host that no container has a business in."""
    path = oci.dir + "/outside"
    os.makedirs(path)
    with open(path + "/secret", "w", encoding="ascii") as file:
        file.write("secret")
    yield path
    assert os.listdir(path) == ["secret"]
    with open(path + "/secret", encoding="ascii") as file:
        assert file.read() == "secret"


# --- the runtime's own file ---

def test_entrypoint_proc_self_exe(oci, program):
    """CVE-2019-5736."""
    done = oci.run(["/proc/self/exe", "--version"], rc=None, timeout=10)
    assert done.rc != 0 or "version" in done.out


def test_entrypoint_link_to_proc_self_exe(oci, program):
    def setup(bundle):
        os.symlink("/proc/self/exe", bundle + "/rootfs/bin/entry")
        with open(bundle + "/rootfs/bin/script", "w", encoding="ascii") as file:
            file.write("#!/proc/self/exe\n")
        os.chmod(bundle + "/rootfs/bin/script", 0o755)
    oci.run(["entry", "--version"], rc=None, setup=setup, timeout=10)
    oci.run(["script"], rc=None, setup=setup, timeout=10)


OVERWRITE = """
while :; do for p in /proc/[0-9]*; do
  case $(readlink $p/exe) in /bin/busybox|"") ;; *) (echo broken > $p/exe) 2>/dev/null && echo WROTE $p ;; esac
done; done"""


def test_overwriting_the_runtime_during_exec(oci, program):
    """CVE-2019-5736: the container opens the exe of whoever enters it for writing."""
    box = oci.start(OVERWRITE)
    for _ in range(30):
        box.exec("true", rc=None)
    assert "WROTE" not in box.output()


def test_overwriting_the_runtime_of_a_created_container(oci, program):
    """Before start the first process is still the runtime's: another container in its pid namespace sees it."""
    box = oci.create()
    before = digest(program)
    box.exec("(echo broken > /proc/1/exe) 2>/dev/null && echo WROTE; dd if=/dev/zero of=/proc/1/exe bs=1 count=4 conv=notrunc 2>/dev/null; true", rc=None)
    assert digest(program) == before
    box.start()
    assert box.status == "running"


# --- descriptors ---

@pytest.mark.parametrize("number", range(3, 21))
def test_cwd_in_proc_self_fd(oci, number):
    """CVE-2024-21626: no leaked directory to start in."""
    done = oci.run("cat ../../../etc/hostname ../../../../etc/hostname; ls ..", {"process.cwd": f"/proc/self/fd/{number}"}, rc=None)
    assert done.rc != 0 and done.out == "", done


def test_exec_cwd_in_proc_self_fd(oci):
    box = oci.start()
    for number in range(3, 21):
        done = oci("exec", "--cwd", f"/proc/self/fd/{number}", box.id, "pwd", rc=None)
        assert done.rc != 0, done


def test_exec_cwd_through_a_link_to_proc_self_fd(oci):
    box = oci.start("for i in 3 4 5 6 7 8 9 10 11; do ln -s /proc/self/fd/$i /tmp/l$i; done; echo ready; sleep 99")
    box.output("ready")
    for number in range(3, 12):
        done = oci("exec", "--cwd", f"/tmp/l{number}", box.id, "pwd", rc=None)
        assert done.rc != 0, done


def test_no_descriptor_of_the_host_is_seen_from_inside(oci):
    """CVE-2016-9962, CVE-2024-21626: with ptrace the container looks into every process that enters it."""
    caps = {k: ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"] for k in ("bounding", "effective", "permitted")}
    here = os.path.dirname(os.path.dirname(oci.dir))
    script = f"""while :; do for p in /proc/[0-9]*; do ls -l $p/fd $p/cwd $p/root 2>/dev/null; done | grep -E ' -> ({here}|/sys/fs/cgroup|/run|/var|/usr/s?bin)' && echo HOST && sleep 99; done"""
    box = oci.start(script, {"process.capabilities": caps})
    for _ in range(30):
        box.exec("true")
    lines = [line for line in box.output().splitlines() if " -> " in line and not line.endswith("/log")][:5]
    assert not lines, lines


def test_descriptors_of_the_caller_are_closed(oci):
    wrap = ["sh", "-c", 'exec "$@" 3</ 4</etc/shadow 5</proc 8</sys/fs/cgroup 9</', "sh"]
    assert len(oci.run(["probe", "descriptors"], wrap=wrap).out.splitlines()) == 3
    box = oci.start()
    assert len(oci("exec", box.id, "probe", "descriptors", wrap=wrap).out.splitlines()) == 3


# --- procfs and sysfs that are none ---

@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["/tmp/fake", "../../../../../../tmp/fake", "fake"])
def test_image_with_a_link_at(oci, name, target, outside):
    """CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: masks must not land on a fake."""
    def setup(bundle):
        os.rmdir(f"{bundle}/rootfs/{name}")
        os.symlink(target, f"{bundle}/rootfs/{name}")
        os.makedirs(bundle + "/rootfs/tmp/fake")
        os.makedirs(bundle + "/rootfs/fake")
    mounts = [{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}] if name == "sys" else []
    probe = "cat /proc/version" if name == "proc" else "ls -d /sys/class && echo Linux version"
    done = oci.run(probe, {"linux.maskedPaths": ["/proc/kcore"]}, mounts=mounts, setup=setup, rc=None)
    refused_or(done, "Linux version" in done.out, oci, name, "link|not a directory|too many")


@pytest.mark.parametrize("path", ["/proc", "/proc/", "/proc/self", "/proc/sys", "/proc/1/attr", "/proc/../proc", "/proc/sys/kernel"])
def test_volume_over(oci, path, tmp_path):
    """CVE-2019-16884, CVE-2025-52881: a volume at /proc is refused."""
    (tmp_path / "fake").write_text("x")
    done = oci.run(f"ls {path}", mounts=[{"destination": path, "type": "bind", "source": str(tmp_path), "options": ["bind"]}], rc=None)
    oci.refused(done, "/proc")


def test_tmpfs_over_proc(oci):
    done = oci.run("ls /proc", mounts=[{"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}], rc=None)
    oci.refused(done, "/proc")


def test_volume_over_sysctl_is_not_written(oci, tmp_path):
    """CVE-2025-52881: a write to procfs must not go to a file of the container."""
    (tmp_path / "ip_forward").write_text("untouched")
    done = oci.run("cat /proc/sys/net/ipv4/ip_forward", {"linux.sysctl": {"net.ipv4.ip_forward": "1"}},
                   mounts=[{"destination": "/proc/sys/net/ipv4", "type": "bind", "source": str(tmp_path), "options": ["bind"]}], rc=None)
    assert (tmp_path / "ip_forward").read_text() == "untouched"
    oci.refused(done, "/proc")


@pytest.mark.reference_lacks("CVE-2025-31133 is younger than these releases")
def test_masked_file_with_a_link_at_dev_null(oci, outside):
    """CVE-2025-31133: what is bound over a masked file is /dev/null itself."""
    def setup(bundle):
        os.symlink("/proc/sys/kernel/hostname", bundle + "/rootfs/dev/null")
    config = oci.config({"linux.maskedPaths": ["/etc/passwd"]}, "cat /etc/passwd")
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    done = oci.run(config=config, setup=setup, rc=None)
    refused_or(done, done.out == "", oci)


def test_masked_file_with_another_device_at_dev_null(oci):
    """CVE-2025-31133: the image brings a /dev/null of another kind."""
    def setup(bundle):
        with open(bundle + "/rootfs/dev/null", "w", encoding="ascii") as file:
            file.write("not null")
    config = oci.config({"linux.maskedPaths": ["/etc/passwd"]}, "cat /etc/passwd")
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    done = oci.run(config=config, setup=setup, rc=None)
    refused_or(done, done.out == "", oci)


@pytest.mark.reference_lacks("CVE-2025-52565 is younger than these releases")
def test_console_with_a_link_at_dev_console(oci, outside):
    """CVE-2025-52565: the terminal is not bound over what a link names."""
    from harness.terminal import Terminal

    def setup(bundle):
        os.symlink("/etc/passwd", bundle + "/rootfs/dev/console")
    config = oci.config(TERMINAL, "head -n 1 /etc/passwd; echo end")
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev") or m["destination"] == "/dev/pts"]
    bundle = oci.bundle(config)
    setup(bundle)
    with Terminal(oci.argv("run", "--bundle", bundle, oci.known(bundle))) as terminal:
        oci.machine.popens[terminal.process.pid] = terminal.process
        terminal.wait()
        shown = terminal.shown
        assert terminal.process.returncode != 0 or "root:" in shown, shown


# --- links in the image ---

@pytest.mark.reference_lacks("both make the links of /dev where the link leads")
def test_dev_is_a_link_to_outside(oci, outside):
    """Nodes are made in the container's root or not at all."""
    def setup(bundle):
        os.rmdir(bundle + "/rootfs/dev")
        os.symlink(outside, bundle + "/rootfs/dev")
    config = oci.config({"linux.devices": [{"path": "/dev/thing", "type": "c", "major": 1, "minor": 3}]}, "true")
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    oci.run(config=config, setup=setup, rc=None)


def test_mount_targets_below_a_link_to_outside(oci, outside):
    def setup(bundle):
        os.symlink(outside, bundle + "/rootfs/abs")
        os.symlink("../" * 20 + outside.lstrip("/"), bundle + "/rootfs/rel")
    mounts = [{"destination": f"/{name}/{kind}", "type": "tmpfs", "source": "t"} for name in ("abs", "rel") for kind in ("one", "two/three")]
    oci.run("true", mounts=mounts, setup=setup, rc=None)


def test_working_directory_below_a_link_to_outside(oci, outside):
    def setup(bundle):
        os.symlink(outside, bundle + "/rootfs/link")
    oci.run("cat secret", {"process.cwd": "/link/new"}, setup=setup, rc=None)


def test_device_target_is_a_link_to_outside(oci, outside):
    def setup(bundle):
        os.makedirs(bundle + "/rootfs/opt")
        os.symlink(outside + "/node", bundle + "/rootfs/opt/node")
    oci.run("true", {"linux.devices": [{"path": "/opt/node", "type": "c", "major": 1, "minor": 3}]}, setup=setup, rc=None)


@pytest.mark.parametrize("what", ["fifo", "link to outside", "directory", "endless"])
def test_passwd_of_the_image_is_hostile(oci, what, outside):
    """The runtime looks for HOME there: it must neither wait, nor read for ever, nor leave the root."""
    def setup(bundle):
        path = bundle + "/rootfs/etc/passwd"
        os.unlink(path)
        if what == "fifo":
            os.mkfifo(path)
        elif what == "link to outside":
            os.symlink(outside + "/secret", path)
        elif what == "directory":
            os.mkdir(path)
        else:
            os.symlink("/dev/zero", path)
    if not oci.ours and what in ("fifo", "endless"):
        pytest.skip("the references wait, or read for ever")
    done = oci.run("echo home=$HOME", setup=setup, rc=None, timeout=10)
    assert done.rc or "secret" not in done.out


@pytest.mark.slow
def test_mount_target_swapped_while_mounting(oci, outside):
    """CVE-2021-30465: two containers share a volume; one swaps directory and link while the other is set up."""
    shared = oci.dir + "/shared"
    os.makedirs(shared)
    swapper = oci.start(f"cd /s; mkdir d; ln -s {outside} l; echo ready; while :; do mv d t; mv l d; mv d l; mv t d; done",
                        mounts=[{"destination": "/s", "type": "bind", "source": shared, "options": ["bind"]}])
    swapper.output("ready")
    mounts = [{"destination": "/s", "type": "bind", "source": shared, "options": ["bind"]}, {"destination": "/s/d/mnt", "type": "tmpfs", "source": "victim"}]
    good = 0
    end = time.monotonic() + 20
    for _ in range(500 if oci.ours else 60):
        done = oci.run("cat /proc/self/mountinfo", mounts=mounts, rc=None)
        if done.rc == 0:
            good += 1
            targets = [line.split()[4] for line in done.out.splitlines() if "victim" in line]
            # In the volume, wherever the renames have put the directory meanwhile, or where the link leads inside the root.
            assert len(targets) == 1 and (targets[0].startswith("/s/") or targets == [outside + "/mnt"]), targets
        assert os.listdir(outside) == ["secret"]
        if time.monotonic() > end:
            break
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert "victim" not in file.read()
    assert good or not oci.ours


# --- privileges ---

def test_inheritable_capabilities_are_empty(oci):
    """CVE-2022-24769, CVE-2022-29162."""
    box = oci.start("grep CapInh /proc/self/status; sleep 99")
    assert box.output("CapInh").split()[1] == "0" * 16
    for flags in ([], ["--user", "1000"], ["--cap", "CAP_NET_ADMIN"]):
        assert box.exec("grep CapInh /proc/self/status", flags=flags).out.split()[1] == "0" * 16


@pytest.mark.parametrize("own", [True, False])
def test_cgroup_release_agent(oci, own):
    """CVE-2022-0492: nothing of cgroupfs can be mounted or written with the usual capabilities."""
    script = """
mkdir -p /tmp/cg; mount -t cgroup -o rdma none /tmp/cg 2>/dev/null && echo MOUNTED
mount -t cgroup -o memory none /tmp/cg 2>/dev/null && echo MOUNTED
unshare -UrmC sh -c 'mount -t cgroup -o memory none /tmp/cg && (echo /x > /tmp/cg/release_agent) && echo AGENT' 2>/dev/null
for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/notify_on_release; do [ -e $f ] && (echo 1 > $f) 2>/dev/null && echo WROTE $f; done
echo end"""
    mounts = [{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
              {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}]
    config = oci.config(args=script, mounts=mounts)
    if own:
        namespaces(config, cgroup=True)
    assert oci.out(config=config) == "end"


def test_setuid_in_a_bundle_is_off_with_no_new_privileges(oci):
    done = oci.run("grep -E 'NoNewPrivs|CapEff' /proc/self/status", {"process.user": {"uid": 1000, "gid": 1000}})
    words = done.out.split()
    assert int(words[words.index("CapEff:") + 1], 16) == 0 and words[words.index("NoNewPrivs:") + 1] == "1"


def test_state_and_bundle_are_closed_to_others(oci):
    """CVE-2021-41091 and alike: no way for other users into the records."""
    box = oci.start()
    for folder, _, files in os.walk(oci.root):
        mode = os.stat(folder).st_mode & 0o777
        if mode & 0o007 == 0:
            break
    else:
        raise AssertionError(f"{oci.root} is open to others")
    done = subprocess.run(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *oci.argv("state", box.id)], check=False, capture_output=True)
    assert done.returncode != 0


def test_exec_into_a_container_that_replaced_its_programs(oci):
    """Every program of the container may be hostile: exec runs it inside and gets its words, no more."""
    box = oci.start("cp /bin/false /bin/evil; ln -sf evil /bin/cat; ln -sf /proc/self/exe /bin/echo; echo ready; sleep 99")
    box.output("ready")
    for argv in (["cat", "/etc/passwd"], ["echo", "x"]):
        oci("exec", box.id, *argv, rc=None, timeout=10)
    assert box.status == "running"


def test_procfs_of_exec_is_the_containers(oci):
    """A container that mounts over its own /proc does not lead exec astray."""
    caps = {k: ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"] for k in ("bounding", "effective", "permitted")}
    box = oci.start("mount -t tmpfs x /proc && mkdir -p /proc/self/attr /proc/self/fd /proc/thread-self/attr && echo ready; sleep 99", {"process.capabilities": caps})
    box.output("ready")
    done = box.exec("echo inside", rc=None, timeout=10)
    assert done.out == "inside\n" or done.rc != 0
    assert box.status == "running"
