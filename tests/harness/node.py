# SPDX-License-Identifier: Apache-2.0
"""Node.js and the packages of tests/compat/node/package-lock.json, installed by npm below build/cache."""
import fcntl
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from harness.shell import TREE, run

FOLDER = TREE + "/tests/compat/node"


def node_version():
    node = shutil.which("node")
    out = subprocess.run([node, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout if node else ""
    match = re.match(r"v(\d+)\.(\d+)", out)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def node_modules():
    """The folder that holds node_modules for the lock file as it is now. Skips where npm cannot install."""
    if node_version() < (18, 0) or not shutil.which("npm"):
        pytest.skip("no node 18 or newer with npm on this machine")
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        with open(f"{FOLDER}/{name}", "rb") as file:
            digest.update(file.read())
    cache = TREE + "/build/cache"
    os.makedirs(cache, exist_ok=True)
    folder = f"{cache}/node-{digest.hexdigest()[:12]}"
    with open(cache + "/node.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once: the second finds the work done
        if not os.path.exists(folder + "/node_modules"):
            install(folder, cache)
    return folder + "/node_modules"


def install(folder, cache):
    making = folder + ".tmp"
    shutil.rmtree(making, ignore_errors=True)
    os.makedirs(making)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(f"{FOLDER}/{name}", making)
    argv = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--cache", cache + "/npm"]
    try:
        done = subprocess.run(argv, cwd=making, capture_output=True, text=True, timeout=400, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install the packages within 400 s")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        pytest.skip("npm could not install the packages: " + (lines[0] if lines else f"exit code {done.returncode}"))
    os.rename(making, folder)


class Node:
    """Runs scenarios of tests/compat/node inside the engine's network namespace."""

    def __init__(self, engine, netns, home, modules):
        self.netns, self.home = netns, str(home)
        self.env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith(("DOCKER_", "TESTCONTAINERS_", "NODE_"))}
        self.env.update({"DOCKER_HOST": engine.host, "HOME": self.home, "NODE_PATH": modules, "TESTCONTAINERS_RYUK_DISABLED": "true",
                         "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1"})

    def __call__(self, file, scenario, timeout=120, **env):
        return run(self.netns.enter([shutil.which("node"), f"{FOLDER}/scenario.js", file, scenario]), {**self.env, **env}, timeout=timeout)
