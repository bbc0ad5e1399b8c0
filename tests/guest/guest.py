#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Containers on a kernel with cgroup v2 alone: a User-Mode Linux guest runs checks and powers off.
Prints the guest's lines (`ok NAME`, `not ok NAME: detail`), or one `skipped NAME: reason`.

    guest.py [--systemd] [--console] [SCRIPT]

--systemd: the guest is a Debian that systemd runs, for the systemd cgroup driver. --console: all that the
guest wrote instead. SCRIPT: that one instead of checks.sh or systemd_checks.sh.
"""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import root as guest_root
import systemd_root

TREE = guest_root.TREE
PROGRAMS = os.environ.get("CAISSON_BIN") or os.path.join(TREE, "build/release/bin")
IMAGES = os.path.join(TREE, "build/images")
PLACE = os.path.join(TREE, "build/guest")
MODULES = "/usr/lib/uml/modules"
KERNEL = "linux.uml"
TIMEOUT = 900.0
MEMORY_MIB = 768


def cannot_run():
    if not shutil.which(KERNEL):
        return "Debian's user-mode-linux is not installed and could not be"
    if not glob.glob(MODULES + "/*"):
        return f"the guest kernel has no modules below '{MODULES}'"
    return None


def memory_directory(scratch):
    """Where the kernel's memory lies: a sparse file that is executed from, better in memory than on a disk."""
    info = os.statvfs("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    fits = info and info.f_bavail * info.f_frsize >= MEMORY_MIB << 20 and not info.f_flag & os.ST_NOEXEC
    return "/dev/shm" if fits else scratch


def command(root, scratch, options):
    """The guest in namespaces of its own: whatever becomes of it, its threads end with the first process."""
    # nohz=off: with the tick stopped when idle, starting a container stalls for 2 s at times, on this kernel only.
    kernel = [KERNEL, f"mem={MEMORY_MIB}M", "rootfstype=hostfs", "rootflags=" + root, "root=/dev/root", "ro", "con0=null,fd:1",
              "con=null", "ssl=null", "quiet", "loglevel=1", "nohz=off", "uml_dir=" + scratch, *options]
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net", *kernel]


def boot(root, timeout, options=("init=/init",)):
    """All that the guest wrote, and whether it ended in time."""
    with tempfile.TemporaryDirectory(prefix="caisson-guest-") as scratch:
        environment = dict(os.environ, HOME=scratch, TMPDIR=memory_directory(scratch))
        guest = subprocess.Popen(command(root, scratch, options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 env=environment, start_new_session=True, cwd=scratch)
        try:
            out, _ = guest.communicate(timeout=timeout)
            return out.decode(errors="replace"), True
        except subprocess.TimeoutExpired:
            os.killpg(guest.pid, signal.SIGKILL)
            out, _ = guest.communicate()
            return out.decode(errors="replace"), False
        finally:
            if guest.poll() is None:
                os.killpg(guest.pid, signal.SIGKILL)
                guest.wait()


def results(console, ended, seconds):
    """(state, name, detail) of every check; a guest that came up and did not finish is a failure of its own."""
    found = []
    for line in console.splitlines():
        match = re.search(r"(not ok|ok) ([\w.-]+)(?:: (.*))?$", line.rstrip())
        if match and line.lstrip().startswith(("ok ", "not ok ")):
            found.append(("passed" if match[1] == "ok" else "failed", match[2], match[3] or ""))
    if "guest ready" not in console:
        return [("skipped", "all", f"the guest does not boot here: {last_words(console)}")]
    if "guest done" not in console and not any(state == "failed" and name == "engine-starts" for state, name, _ in found):
        after = found[-1][1] if found else "its start"
        why = "stopped" if ended else f"was ended after {seconds:.0f} s"
        found.append(("failed", "finish", f"the guest {why} after '{after}': {last_words(console)}"))
    return found


def last_words(console):
    lines = [line.strip() for line in console.splitlines() if line.strip()]
    return (" / ".join(lines[-3:]) or "it wrote nothing")[-400:]


def boot_plain(script):
    root = tempfile.mkdtemp(prefix="root-", dir=PLACE)
    try:
        guest_root.build(root, PROGRAMS, IMAGES, MODULES)
        if script:
            shutil.copy(script, root + "/checks.sh")
        return boot(root, TIMEOUT)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def boot_systemd(root, script):
    tools = tempfile.mkdtemp(prefix="tools-", dir=PLACE)
    try:
        systemd_root.tools(tools + "/caisson", PROGRAMS, script)
        return boot(root, TIMEOUT, ["init=/lib/systemd/systemd", "systemd.unit=checks.service", "systemd.show_status=0", "systemd.log_target=null",
                                    f"caisson_tools={tools}/caisson"])
    finally:
        shutil.rmtree(tools, ignore_errors=True)


def run_guest(systemd=False, script=None):
    """(results, console)"""
    reason = cannot_run()
    if reason:
        return [("skipped", "systemd-all" if systemd else "all", reason)], ""
    os.makedirs(PLACE, exist_ok=True)
    if systemd:
        try:
            root = systemd_root.build(PLACE)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            return [("skipped", "systemd-all", "no Debian root with systemd could be made: " + " ".join(str(error).split())[-300:])], ""
    start = time.monotonic()
    console, ended = boot_systemd(root, script) if systemd else boot_plain(script)
    with open(os.path.join(PLACE, "console-systemd.log" if systemd else "console.log"), "w", encoding="utf-8") as file:
        file.write(console)
    return results(console, ended, time.monotonic() - start), console


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the guest has a session of its own: end it on the way out
    scripts = [a for a in sys.argv[1:] if not a.startswith("--")]
    systemd = "--systemd" in sys.argv
    outcomes, console = run_guest(systemd, *scripts[:1])
    if "--console" in sys.argv:
        print(console)
        return 0
    for state, name, detail in outcomes:
        name = "systemd-" + name if systemd and not name.startswith("systemd-") else name
        print(f"{ {'passed': 'ok', 'failed': 'not ok', 'skipped': 'skipped'}[state]} {name}" + (f": {detail}" if detail else ""))
    return 1 if any(state == "failed" for state, _, _ in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
