# SPDX-License-Identifier: Apache-2.0
"""dockerode and testcontainers from npm, in the versions of node/package-lock.json: each scenario is a process of its own.
Networks and compose of testcontainers wait for networks of users; its reaper is off, as its image cannot be pulled here."""
import json

import pytest

from harness.node import FOLDER, Node, node_modules, node_version


@pytest.fixture(scope="session")
def modules():
    return node_modules()


@pytest.fixture
def node(modules, engine, netns, tmp_path):
    return Node(engine, netns, tmp_path, modules)


@pytest.mark.parametrize("scenario", ["system", "life", "run", "run_with_a_terminal", "attach_half_close", "attach_with_a_terminal", "attach_by_websocket",
                                      "exec", "logs", "stats_and_top", "events", "archives", "lists_and_prune", "images", "many_at_once"])
def test_dockerode(node, scenario):
    node("dockerode_scenarios.js", scenario)


def test_dockerode_pull_and_push(node, registry):
    node("dockerode_scenarios.js", "pull_and_push", TEST_REGISTRY=registry.address)


@pytest.mark.parametrize("scenario", ["wait_for_log", "wait_for_port_and_http", "wait_for_health_and_command", "exec", "files", "logs", "restart_and_commit",
                                      "failed_start"])
def test_testcontainers(node, scenario):
    if node_version() < (20, 19):
        pytest.skip("testcontainers needs node 20.19 or newer")
    node("testcontainers_scenarios.js", scenario)


def test_lock_file_names_versions_and_no_host():
    with open(FOLDER + "/package-lock.json", encoding="ascii") as file:
        text = file.read()
    packages = json.loads(text)["packages"]
    assert '"resolved"' not in text and "registry" not in text
    assert all(p["version"] and p["integrity"].startswith("sha512-") for name, p in packages.items() if name)
    with open(FOLDER + "/package.json", encoding="ascii") as file:
        wanted = json.load(file)["dependencies"]
    assert packages[""]["dependencies"] == wanted and all(v[0].isdigit() for v in wanted.values())
