# SPDX-License-Identifier: Apache-2.0
"""Debian's dockerd in the place of caissond, to see whether a test asks for what Docker does:
    CAISSON_TEST_REFERENCE=dockerd ./dev test tests/api -k containers
It needs the packages of section [unpacked-bench], which ./dev bench unpacks. Only tests that use Docker's client or the
plain API make sense, and not those that kill the engine."""
import glob
import os
import signal
import subprocess

from harness.engine import Engine
from harness.shell import TREE

DEBS = TREE + "/build/cache/debs"


class ReferenceEngine(Engine):
    def __init__(self, root, netns, bridge="ctest0", extra=(), bip=None):
        super().__init__(root, netns, bridge, extra, bip)
        self.bridge = "docker0"
        path = ":".join(glob.glob(DEBS + "/*/usr/bin") + glob.glob(DEBS + "/*/usr/sbin") + ["/usr/sbin:/usr/bin:/sbin:/bin"])
        program = (glob.glob(DEBS + "/docker.io/usr/sbin/dockerd") + glob.glob(DEBS + "/docker.io/usr/bin/dockerd"))[0]
        self.argv = netns.enter(["unshare", "--mount", "--propagation", "slave", "env", "PATH=" + path, program, "--data-root", self.data_root,
                                 "--exec-root", self.exec_root, "--pidfile", self.root + "/pid", "-H", self.host, *extra])

    def start(self, timeout=60):
        return super().start(timeout)

    def destroy(self):
        if self.process is not None and self.process.poll() is None:
            self.remove_containers()
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.kill9()
