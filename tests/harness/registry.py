# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on a loopback port of a network namespace."""
import glob
import os
import shutil
import subprocess

from harness.shell import TREE, wait_for

CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {root}/blobs}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}}}
log: {{level: warn}}
"""


def find_program():
    unpacked = glob.glob(TREE + "/build/cache/debs/docker-registry/usr/bin/docker-registry")
    return unpacked[0] if unpacked else shutil.which("docker-registry")


class Registry:
    def __init__(self, root, netns, port=5000, more=""):
        self.root, self.netns, self.port = str(root), netns, port
        self.address = f"127.0.0.1:{port}"
        os.makedirs(self.root, exist_ok=True)
        with open(self.root + "/config.yml", "w", encoding="ascii") as file:
            file.write(CONFIG.format(root=self.root, port=port) + more)
        self.log = open(self.root + "/registry.log", "ab")
        self.process = subprocess.Popen(netns.enter([find_program(), "serve", self.root + "/config.yml"]), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True,
                                        env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")})
        wait_for(self.answers, "the registry answers", 15, 0.05)

    def answers(self):
        assert self.process.poll() is None, "the registry ended: " + open(self.root + "/registry.log", encoding="utf-8").read()[-1000:]
        return subprocess.run(self.netns.enter(["curl", "-s", "--noproxy", "*", f"http://{self.address}/v2/"]), capture_output=True, check=False).returncode == 0

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
