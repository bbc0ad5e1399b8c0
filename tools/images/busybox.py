# SPDX-License-Identifier: Apache-2.0
"""The starter image: Debian's busybox-static with its applet links."""
import subprocess

import archive

BUSYBOX = "/usr/bin/busybox"
PASSWD = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\n" \
         "user:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
GROUP = "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:user\nuser:x:1000:\nnogroup:x:65534:\n"


def layer():
    with open(BUSYBOX, "rb") as file:
        program = file.read()
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, check=True, text=True).stdout.split()
    out = archive.LayerWriter()
    for name in ("bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/www"):
        out.directory(name)
    out.directory("home/user")
    out.directory("root", 0o700)
    out.directory("tmp", 0o1777)
    out.regular("bin/busybox", program, 0o755)
    for applet in sorted(set(applets) - {"busybox"}):
        out.hardlink("bin/" + applet, "bin/busybox")
    out.symlink("usr/bin/env", "../../bin/env")
    out.regular("etc/passwd", PASSWD)
    out.regular("etc/group", GROUP)
    out.regular("etc/shadow", "root:*:::::::\n", 0o640)
    out.regular("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    out.regular("etc/motd", "busybox\n")
    return out.finish()


def build(path):
    settings = {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    return archive.write_archive(path, ["busybox:latest"], [layer()], settings,
                                 ["ADD busybox-static and its links", 'CMD ["sh"]'])
