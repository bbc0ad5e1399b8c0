#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the test images into build/images, those that are missing: busybox.tar, debian.tar, nginx.tar.

    build.py [--quiet] [NAME...]
"""
import fcntl
import os
import subprocess
import sys
import time

import busybox
import debian

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(TREE, "build/images")
NAMES = ["busybox", "debian", "nginx"]


def build(name):
    path = os.path.join(OUT, name + ".tar")
    root_tar = os.path.join(OUT, "debian-root.layer")
    if name == "busybox":
        return busybox.build(path)
    if name == "debian":
        return debian.build_debian(path, root_tar)
    if not os.path.exists(root_tar):
        debian.build_root(root_tar)
    return debian.build_nginx(path, root_tar, os.path.join(OUT, "scratch"))


def main():
    quiet = "--quiet" in sys.argv
    names = [a for a in sys.argv[1:] if not a.startswith("-")] or NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"dev: there is no image '{unknown.pop()}'; there are: {' '.join(NAMES)}", file=sys.stderr)
        return 1
    os.makedirs(OUT, exist_ok=True)
    os.umask(0o022)
    with open(os.path.join(OUT, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once: the second finds the work done
        todo = [n for n in names if not os.path.exists(os.path.join(OUT, n + ".tar"))]
        if todo and todo != ["busybox"] and "CAISSON_IMAGES_INSIDE" not in os.environ:
            # The chroot's mounts live in a mount namespace of their own.
            done = subprocess.run(["unshare", "--mount", "--propagation", "private", sys.executable, os.path.abspath(__file__), *sys.argv[1:]],
                                  env=dict(os.environ, CAISSON_IMAGES_INSIDE="1"), pass_fds=(lock.fileno(),), check=False)
            return done.returncode
        return build_all(names, quiet)


def build_all(names, quiet):
    for name in names:
        path = os.path.join(OUT, name + ".tar")
        if os.path.exists(path):
            if not quiet:
                print(f"{path}: there already")
            continue
        start = time.monotonic()
        try:
            image = build(name)
        except (RuntimeError, OSError) as error:
            print(f"dev: the image '{name}' could not be built: {error}", file=sys.stderr)
            return 1
        print(f"{path}: {os.path.getsize(path) >> 20} MiB, {image[:19]}, {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    if "CAISSON_IMAGES_INSIDE" in os.environ:
        sys.exit(build_all([a for a in sys.argv[1:] if not a.startswith("-")] or NAMES, "--quiet" in sys.argv))
    sys.exit(main())
