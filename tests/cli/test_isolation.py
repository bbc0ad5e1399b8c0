# SPDX-License-Identifier: Apache-2.0
"""What a container can see and do of the host, from the first one on."""
import ctypes
import os
import platform
import subprocess

import pytest

from harness.container import inspect, pid_of, proc_status
from harness.shell import wait_for

DEFAULT_CAPS = "00000000a80425fb"
KEYCTL = 250 if platform.machine() == "x86_64" else 219
TELL = f'print syscall({KEYCTL}, 0, -3, 0), "\\n"'


def shell(cli, script, *flags, rc=0):
    return cli("run", "--rm", *flags, "busybox", "sh", "-c", script, rc=rc)


@pytest.mark.parametrize("kind", ["mnt", "pid", "net", "ipc", "uts", "cgroup"])
def test_isolation_namespace(cli, kind):
    inside = cli.out("run", "--rm", "busybox", "readlink", f"/proc/self/ns/{kind}")
    assert inside.startswith(kind) and inside != os.readlink(f"/proc/self/ns/{kind}")


def test_isolation_pid_namespace(cli):
    assert cli.out("run", "--rm", "busybox", "sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l").split()[0] == "1"


def test_isolation_cgroup_namespace(cli):
    for line in cli.out("run", "--rm", "busybox", "cat", "/proc/self/cgroup").splitlines():
        assert line.endswith(":/"), line


def test_isolation_root_is_the_image(cli):
    listing = cli.out("run", "--rm", "busybox", "ls", "/").split()
    assert listing == ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"]


def test_isolation_a_mount_is_not_seen_on_the_host(cli):
    ident = cli.out("run", "-d", "--tmpfs", "/seen-only-inside", "busybox", "sleep", "99")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        text = file.read()
    assert "seen-only-inside" not in text and ident not in text


def test_isolation_default_capabilities(cli):
    ident = cli.out("run", "-d", "busybox", "sleep", "99")
    status = proc_status(pid_of(cli, ident))
    assert (status["CapEff"], status["CapPrm"], status["CapBnd"]) == (DEFAULT_CAPS,) * 3
    assert status["CapInh"] == status["CapAmb"] == "0" * 16


def test_isolation_seccomp_is_on(cli):
    ident = cli.out("run", "-d", "busybox", "sleep", "99")
    assert proc_status(pid_of(cli, ident))["Seccomp"] == "2"
    assert cli.out("exec", ident, "grep", "Seccomp:", "/proc/self/status").split()[-1] == "2"


def test_isolation_seccomp_unconfined(cli):
    assert shell(cli, "grep Seccomp: /proc/self/status", "--security-opt", "seccomp=unconfined").out.split()[-1] == "0"


def test_isolation_no_new_privileges(cli):
    assert shell(cli, "grep NoNewPrivs /proc/self/status").out.split()[-1] == "0"
    assert shell(cli, "grep NoNewPrivs /proc/self/status", "--security-opt", "no-new-privileges").out.split()[-1] == "1"


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats", "/proc/sched_debug"])
def test_isolation_masked_files(cli, path):
    # A masked file is /dev/null: there, and empty. Not every kernel has each of them.
    assert shell(cli, f"[ ! -e {path} ] || [ $(head -c 1 {path} | wc -c) = 0 ]").rc == 0


@pytest.mark.parametrize("path", ["/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"])
def test_isolation_masked_directories(cli, path):
    assert shell(cli, f"[ ! -e {path} ] || ls {path}").out.strip() == ""


@pytest.mark.parametrize("path", ["/proc/sys/kernel/printk", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/kernel/profiling"])
def test_isolation_read_only_files(cli, path):
    done = shell(cli, f"[ ! -e {path} ] || (cat {path} > /tmp/v 2>/dev/null; cat /tmp/v > {path}) 2>&1 || echo refused")
    assert "refused" in done.out or done.out == ""
    if os.path.exists(path):
        assert "Read-only file system" in done.out or "ermission denied" in done.out or "nonexistent" in done.out, done


def test_isolation_sys_and_cgroups_are_read_only(cli):
    out = shell(cli, "mkdir /sys/fs/cgroup/x 2>&1; for d in /sys/fs/cgroup/*/; do mkdir $d/x 2>&1; done; true").out
    assert "Read-only file system" in out
    assert "can't create" in out and shell(cli, "find /sys/fs/cgroup -name x").out == ""


def test_isolation_device_set(cli):
    found = set(cli.out("run", "--rm", "busybox", "ls", "/dev").split())
    # core, a link to /proc/kcore, is there where the kernel has one.
    assert found - {"core"} == {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"}
    types = cli.out("run", "--rm", "busybox", "sh", "-c", "stat -c '%n %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty")
    assert types.split() == ["/dev/null", "1:3", "/dev/zero", "1:5", "/dev/full", "1:7", "/dev/random", "1:8", "/dev/urandom", "1:9", "/dev/tty", "5:0"]


def test_isolation_mount_options(cli):
    table = {line.split()[1]: line.split() for line in cli.out("run", "--rm", "busybox", "cat", "/proc/mounts").splitlines()}
    assert table["/"][2] == "overlay"
    assert table["/proc"][2] == "proc" and {"nosuid", "nodev", "noexec"} <= set(table["/proc"][3].split(","))
    assert table["/sys"][2] == "sysfs" and "ro" in table["/sys"][3].split(",")
    assert table["/dev"][2] == "tmpfs" and table["/dev/pts"][2] == "devpts" and table["/dev/mqueue"][2] == "mqueue"
    assert {"nosuid", "nodev", "noexec"} <= set(table["/dev/shm"][3].split(","))


def test_isolation_open_files(cli):
    ident = cli.out("run", "-d", "busybox", "sleep", "99")
    assert sorted(os.listdir(f"/proc/{pid_of(cli, ident)}/fd")) == ["0", "1", "2"]


def test_isolation_privileged(cli):
    out = shell(cli, "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev | wc -l; mount -t tmpfs t /mnt 2>&1 || mkdir /mnt && mount -t tmpfs t /mnt", "--privileged").out.split()
    assert out[1] == proc_status(os.getpid())["CapBnd"] and out[3] == "0" and int(out[4]) > 15


def test_isolation_root_directories_of_the_engine_are_closed(engine):
    for folder in (engine.data_root, engine.exec_root):
        assert os.stat(folder).st_mode & 0o007 in (0, 1), folder


def test_isolation_one_object_owns_all(cli):
    """A container has users, files, processes and an address of its own, and one object of the host tells of all."""
    ident = cli.out("run", "-d", "--name", "jail", "busybox", "sleep", "99")
    assert cli.out("exec", ident, "sh", "-c", "id -u; id -un").split() == ["0", "root"]
    shown = cli.out("exec", ident, "ps", "-o", "pid,args").splitlines()[1:]
    assert len(shown) == 2 and shown[0].split() == ["1", "sleep", "99"]
    assert set(cli.out("exec", ident, "ls", "/sys/class/net").split()) == {"lo", "eth0"}
    told = inspect(cli, ident)
    address = told["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert f" {address}/" in cli.out("exec", ident, "ip", "addr", "show", "eth0")
    assert told["Name"] == "/jail" and told["State"]["Running"] and told["GraphDriver"]["Data"]
    root = os.stat(f"/proc/{told['State']['Pid']}/root")
    assert (root.st_dev, root.st_ino) != (os.stat("/").st_dev, os.stat("/").st_ino)


@pytest.mark.parametrize("kind, arrives", [("rshared", True), ("rslave", True), ("rprivate", False)])
def test_isolation_propagation_of_mounts(cli, tmp_path, kind, arrives):
    """A mount that the host makes later is seen inside, or not."""
    place = tmp_path / "place"
    (place / "below").mkdir(parents=True)
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "--make-shared", place], check=True)
        ident = cli.out("run", "-d", "-v", f"{place}:/m:{kind}", "busybox", "sleep", "99")
        subprocess.run(["mount", "-t", "tmpfs", "later", place / "below"], check=True)
        (place / "below" / "file").touch()
        assert cli.out("exec", ident, "ls", "/m/below") == ("file" if arrives else "")
        cli("rm", "-f", ident)
    finally:
        subprocess.run(["umount", "-R", place], check=True)


def test_isolation_shared_memory_of_system_v(cli):
    def keys(text):
        return {line.split()[0] for line in text.splitlines()[1:]}

    owner = cli.out("run", "-d", "--ipc", "shareable", "--name", "owner", "debian", "sleep", "99")
    assert "Shared memory id" in cli.out("exec", owner, "ipcmk", "-M", "100")
    (made,) = keys(cli.out("exec", owner, "cat", "/proc/sysvipc/shm"))
    with open("/proc/sysvipc/shm", encoding="ascii") as file:
        assert made not in keys(file.read())
    assert keys(cli.out("run", "--rm", "busybox", "cat", "/proc/sysvipc/shm")) == set()
    assert keys(cli.out("run", "--rm", "--ipc", "container:owner", "busybox", "cat", "/proc/sysvipc/shm")) == {made}


def test_isolation_session_keyring(cli):
    """Each container has a session keyring, which commands run in it share, and which is not the host's."""
    def keyring_of(*line):
        return int(cli.out(*line, "perl", "-e", TELL))

    own = ctypes.CDLL(None).syscall(KEYCTL, 0, -3, 0)
    if own < 0:
        pytest.skip("the kernel has no keyrings")
    ident = cli.out("run", "-d", "--security-opt", "seccomp=unconfined", "debian", "sh", "-c", f"perl -e '{TELL}'; exec sleep 99")
    first = int(wait_for(lambda: cli.out("logs", ident), "it has told its keyring"))
    inside, other = keyring_of("exec", ident), keyring_of("run", "--rm", "--security-opt", "seccomp=unconfined", "debian")
    assert first > 0 and other > 0
    assert inside == first and len({first, other, own}) == 3
