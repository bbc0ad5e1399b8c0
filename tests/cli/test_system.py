# SPDX-License-Identifier: Apache-2.0
"""version, info."""
import os


def test_version(cli):
    out = cli.out("version")
    assert "Client:" in out and "Server:" in out and "API version" in out and "linux/" in out


def test_info(cli):
    cli("run", "-d", "busybox", "sleep", "99")
    out = cli.out("info")
    assert "Containers: 1" in out and "Running: 1" in out and "Images: 3" in out
    assert "Storage Driver: overlay" in out and "Cgroup Version: " + ("2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "1") in out
    assert "seccomp" in out
