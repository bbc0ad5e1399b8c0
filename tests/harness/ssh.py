# SPDX-License-Identifier: Apache-2.0
"""An sshd inside a network namespace that lets root in by a key of its own, and an ssh that reaches it."""
import glob
import os
import shutil
import subprocess

from harness.clients import caisson_program
from harness.shell import TREE, run, wait_for

START = """
mount --bind {d}/passwd /etc/passwd && mount --bind {d}/shadow /etc/shadow && mkdir -p /run/sshd && mount -t tmpfs none /run/sshd && chmod 755 /run/sshd &&
exec {program} -D -e -f {d}/sshd_config
"""


def find_sshd():
    """The program, or None. It is unpacked, not installed: installing it would start it."""
    found = glob.glob(TREE + "/build/cache/debs/openssh-server/usr/sbin/sshd")
    return found[0] if found and shutil.which("ssh") and shutil.which("ssh-keygen") else None


class SshServer:
    """`wrapper` is a directory with an `ssh` that knows the key; who is let in finds `names` (docker, caisson) in PATH."""

    def __init__(self, directory, netns, port, engine_host, names=("caisson",)):
        self.directory, self.port = str(directory), port
        self.wrapper, self.programs = self.directory + "/wrapper", self.directory + "/programs"
        for path in (self.directory, self.wrapper, self.programs):
            os.makedirs(path)
        os.chmod(self.directory, 0o755)
        for name in names:
            os.symlink(caisson_program(), f"{self.programs}/{name}")
        for key in ("host", "user"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.directory}/{key}"])
        self.write("passwd", "root:x:0:0:root:/root:/bin/sh\nsshd:x:33333:33333::/run/sshd:/bin/false\n")
        self.write("shadow", "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n")
        self.write("sshd_config", f"""
ListenAddress 127.0.0.1:{port}
HostKey {self.directory}/host
AuthorizedKeysFile {self.directory}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
SetEnv PATH={self.programs}:/usr/bin:/bin DOCKER_HOST={engine_host}
""")
        self.write("ssh_config", f"""
Host *
  IdentityFile {self.directory}/user
  IdentitiesOnly yes
  UserKnownHostsFile {self.directory}/known
  StrictHostKeyChecking accept-new
  LogLevel ERROR
""")
        argv = netns.enter(["/usr/bin/ssh", "-F", self.directory + "/ssh_config"])
        self.write("wrapper/ssh", f"#!/bin/sh\nexec {' '.join(argv)} \"$@\"\n")
        os.chmod(self.wrapper + "/ssh", 0o755)
        script = START.format(d=self.directory, program=find_sshd())
        with open(self.directory + "/log", "wb") as log:
            self.process = subprocess.Popen(netns.enter(["unshare", "--mount", "--propagation", "private", "sh", "-c", script]),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(lambda: "Server listening" in self.log(), f"sshd listens: {self.log()}")
        except AssertionError:
            self.stop()
            raise

    def write(self, name, text):
        with open(f"{self.directory}/{name}", "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(f"{self.directory}/{name}", 0o644)

    def log(self):
        if self.process.poll() is not None:
            raise AssertionError("sshd ended: " + open(self.directory + "/log", encoding="utf-8").read()[-2000:])
        with open(self.directory + "/log", encoding="utf-8") as file:
            return file.read()

    def stop(self):
        self.process.terminate()
        self.process.wait()
