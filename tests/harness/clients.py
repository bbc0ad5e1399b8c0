# SPDX-License-Identifier: Apache-2.0
"""The two command-line clients, called alike: Docker's own and caisson."""
import glob
import os
import re
import shutil
import subprocess

import pytest

from harness.shell import BIN, TREE, pasteable, run
from harness.terminal import Terminal


class Client:
    def __init__(self, name, program, host, config_dir):
        self.name, self.program, self.host = name, program, host
        self.env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith(("DOCKER_", "CAISSON_"))}
        self.env.update({"DOCKER_CONFIG": str(config_dir), "HOME": str(config_dir)})
        self.env["DOCKER_HOST" if name == "docker" else "CAISSON_HOST"] = host

    def __repr__(self):
        return self.name

    def __call__(self, *args, rc=0, stdin=None, timeout=40):
        return run([self.program, *map(str, args)], self.env, rc=rc, stdin=stdin, timeout=timeout)

    def out(self, *args, **options):
        """Stripped standard output of a command that must succeed."""
        return self(*args, **options).out.strip()

    def start(self, *args, **options):
        """A command left running, with pipes."""
        return subprocess.Popen([self.program, *map(str, args)], env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def terminal(self, *args, rows=24, columns=80):
        return Terminal([self.program, *map(str, args)], {**self.env, "TERM": "xterm"}, rows, columns)

    def line(self, *args):
        return pasteable([self.program, *map(str, args)], self.env)


def docker_version(path):
    try:
        out = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except OSError:
        return 0
    match = re.search(r"version (\d+)\.", out)
    return int(match[1]) if match else 0


def find_docker():
    """Docker's client: from PATH where it is 23 or newer, else Debian's, which ./dev test unpacked."""
    unpacked = glob.glob(TREE + "/build/cache/debs/docker*/usr/bin/docker")
    on_path = shutil.which("docker")
    found = [p for p in [on_path, *unpacked] if p]
    good = [p for p in found if docker_version(p) >= 23]
    return (good or [p for p in unpacked if docker_version(p)] or [None])[0]


def docker_py():
    """Debian's python3-docker; the test files that need it are skipped where it is missing."""
    return pytest.importorskip("docker", reason="Debian's python3-docker is not installed")


class Compose(Client):
    """Debian's docker-compose (version 1) with one project of its own below `directory`."""

    def __init__(self, host, directory, docker):
        super().__init__("docker", shutil.which("docker-compose"), host, directory / "config")
        self.directory = directory / "project"
        self.directory.mkdir(parents=True)
        self.env["PATH"] = os.path.dirname(docker) + ":" + os.environ["PATH"]  # run and exec go through Docker's client
        self.env["COMPOSE_PROJECT_NAME"] = "proj"

    def write(self, text):
        (self.directory / "docker-compose.yml").write_text(text)
        return self

    def __call__(self, *args, rc=0, stdin=None, timeout=60):
        return run(self.argv(*args), self.env, rc=rc, stdin=stdin, timeout=timeout)

    def argv(self, *args):
        return [self.program, "--project-directory", str(self.directory), "-f", f"{self.directory}/docker-compose.yml", "--no-ansi", *map(str, args)]


def caisson_program():
    return BIN + "/caisson"


def make_client_by_name(name, host, directory):
    program = find_docker() if name == "docker" else caisson_program()
    if program is None:
        pytest.skip("no docker client: none on PATH and none unpacked from Debian")
    os.makedirs(directory, exist_ok=True)
    return Client(name, program, host, directory)
