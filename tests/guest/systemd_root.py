# SPDX-License-Identifier: Apache-2.0
"""The root directory of the guest that systemd runs: Debian's packages as they are, made once and kept until
the list below changes. The guest does not write to it; what is tested is mounted at /caisson."""
import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, "tools/images"))
import debian  # noqa: E402

PACKAGES = ["busybox-static", "dbus", "dbus-user-session", "libpam-systemd", "systemd", "util-linux"]
# Neither needed nor wanted: it has to be up in seconds.
MASKED = ["systemd-journal-flush.service", "systemd-random-seed.service", "systemd-update-utmp.service", "systemd-modules-load.service",
          "systemd-sysusers.service", "systemd-tmpfiles-setup-dev.service", "systemd-remount-fs.service", "systemd-sysctl.service",
          "systemd-binfmt.service", "systemd-ask-password-console.path", "cryptsetup.target", "integritysetup.target", "veritysetup.target",
          "systemd-journald-audit.socket", "dev-hugepages.mount", "sys-fs-fuse-connections.mount", "sys-kernel-debug.mount",
          "sys-kernel-tracing.mount", "sys-kernel-config.mount", "dev-mqueue.mount", "kmod-static-nodes.service", "getty.target"]
FILES = {
    "etc/fstab": "tmpfs /tmp tmpfs mode=1777 0 0\ntmpfs /var tmpfs mode=755 0 0\n",
    "etc/machine-id": "",
    "etc/hostname": "guest\n",
    # `%s` of a unit would not do: the place of the programs is on the kernel's command line.
    "etc/systemd/system/checks.service": """[Unit]
Description=checks of the programs at /caisson
After=dbus.socket systemd-logind.service
Wants=dbus.socket systemd-logind.service
[Service]
Type=oneshot
Environment=PATH=/caisson/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home
StandardInput=null
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
ExecStart=/bin/sh -c 'mount -t hostfs -o "$$(sed "s/.*caisson_tools=\\\\([^ ]*\\\\).*/\\\\1/" /proc/cmdline)",ro none /caisson && . /caisson/init'
ExecStopPost=/bin/systemctl poweroff -ff
""",
}
USER = {"passwd": "user:x:1000:1000::/run/home:/bin/sh\n", "shadow": "user:*:19000:0:99999:7:::\n", "group": "user:x:1000:\n"}
TRIMMED = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/zoneinfo", "usr/share/i18n", "usr/share/bash-completion",
           "usr/lib/udev/hwdb.d", "usr/lib/x86_64-linux-gnu/gconv", "usr/lib/x86_64-linux-gnu/perl-base", "var/cache/apt", "var/lib/apt/lists",
           "var/lib/dpkg/info", "boot", "dev"]


def key():
    text = repr((PACKAGES, MASKED, FILES, TRIMMED, USER, debian.debian_sources()[0]))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fill(path):
    codename, sources = debian.debian_sources()
    proxy = [f"--aptopt={line}" for line in debian.run(["apt-config", "dump"]).splitlines()
             if line.startswith(("Acquire::http::Proxy", "Acquire::Check"))]
    debian.run(["mmdebstrap", "--variant=minbase", "--format=directory", "--include=" + ",".join(PACKAGES),
                '--aptopt=APT::Install-Recommends "0"', "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*", *proxy, codename, path, *sources],
               env=dict(os.environ, LC_ALL="C.UTF-8"), timeout=900)
    for name in TRIMMED:
        shutil.rmtree(os.path.join(path, name), ignore_errors=True)
    for name in ("boot", "dev", "caisson"):
        os.makedirs(os.path.join(path, name), exist_ok=True)
    for name, text in FILES.items():
        with open(os.path.join(path, name), "w", encoding="ascii") as file:
            file.write(text)
    for name, text in USER.items():
        with open(f"{path}/etc/{name}", "a", encoding="ascii") as file:
            file.write(text)
    for unit in MASKED:
        link = f"{path}/etc/systemd/system/{unit}"
        if not os.path.lexists(link):
            os.symlink("/dev/null", link)


def build(place):
    """The directory's path; made when it is not there. RuntimeError when packages cannot be had."""
    path = os.path.join(place, "systemd-" + key())
    with open(place + "/.systemd-lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path):
            return path
        if not shutil.which("mmdebstrap"):
            raise RuntimeError("mmdebstrap is not installed")
        for old in glob.glob(place + "/systemd-*"):
            shutil.rmtree(old, ignore_errors=True)
        fill(path + ".part")
        os.rename(path + ".part", path)
    return path


def tools(directory, programs, script):
    """What the guest mounts at /caisson: the programs, busybox and the checks."""
    os.makedirs(directory + "/bin")
    for name in ("caisson-oci", "caisson-systemd"):
        source = os.path.join(programs, name)
        if not os.path.exists(source):
            raise RuntimeError(f"'{source}' is missing: ./dev build")
        shutil.copy(source, f"{directory}/bin/{name}")
    for name, source in (("lib.sh", HERE + "/lib.sh"), ("init", HERE + "/systemd_init"), ("checks.sh", script or HERE + "/systemd_checks.sh")):
        shutil.copy(source, f"{directory}/{name}")


if __name__ == "__main__":
    try:
        print(build(os.path.join(TREE, "build/guest")))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(str(error))
