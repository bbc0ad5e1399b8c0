# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests. One engine serves a whole run; tests that end engines make their own."""
import json
import os
import subprocess
import tempfile

import pytest

from harness import leaks, schema
from harness.clients import docker_version, make_client_by_name
from harness.cni import Cni
from harness.engine import Engine
from harness.netns import NetworkNamespace
from harness.registry import Registry, find_program
from harness.shell import BIN, TREE

pytest_plugins = ["harness.oci_fixtures"]

BASE_IMAGES = ["busybox", "debian", "nginx"]
BASE_TAGS = {name + ":latest" for name in BASE_IMAGES}


# --- results for tools/run_tests.py -----------------------------------------------------------------

def pytest_sessionstart(session):
    session.config.outcomes = {}


def node_name(nodeid):
    return nodeid if nodeid.startswith("tests/") else "tests/" + nodeid


def pytest_runtest_logreport(report):
    path = os.environ.get("CAISSON_TEST_RESULTS")
    if not path:
        return
    name = node_name(report.nodeid)
    state, detail = None, ""
    if report.failed:
        state, detail = "failed", ("" if report.when == "call" else f"in {report.when}: ") + (str(report.longrepr).splitlines() or [""])[-1]
    elif report.skipped:
        state, detail = "skipped", str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    elif report.when == "teardown":
        state = "passed"
    if state and REPORTED.setdefault(name, state) == state and (name, state) not in WRITTEN:
        WRITTEN.add((name, state))
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "state": state, "detail": detail.removeprefix("Skipped: "),
                                   "again": f"./dev test '{name}'" if state == "failed" else ""}) + "\n")


REPORTED, WRITTEN = {}, set()


def remove_tree(path):
    """By rm: a hostile tree may be too deep for Python's own."""
    subprocess.run(["rm", "-rf", path], check=False)


# --- the machine ------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def scratch():
    """A directory on the tree's own disk (overlay needs a real file system), removed at the end."""
    os.makedirs(TREE + "/build/tests", exist_ok=True)
    path = tempfile.mkdtemp(prefix="run-", dir=TREE + "/build/tests")
    yield path
    if not os.environ.get("CAISSON_TEST_KEEP"):
        remove_tree(path)


@pytest.fixture
def cni(scratch):
    setup = Cni(f"{scratch}/cni-{os.urandom(4).hex()}")
    yield setup
    setup.remove()


@pytest.fixture(scope="session")
def netns(scratch):
    space = NetworkNamespace("ct" + os.path.basename(scratch)[4:])
    yield space
    space.remove()


def engine_class():
    if os.environ.get("CAISSON_TEST_REFERENCE") == "dockerd":
        from harness.reference import ReferenceEngine
        return ReferenceEngine
    return Engine


@pytest.fixture(scope="session")
def shared_engine(scratch, netns):
    engine = engine_class()(scratch + "/shared", netns, bridge="ctest0")
    os.makedirs(engine.root)
    engine.start()
    try:
        engine.load(*BASE_IMAGES)
        engine.run_once()  # so that the bridge and the rules are there
        yield engine
    finally:
        engine.destroy()


@pytest.fixture
def engine(shared_engine):
    """The shared engine, with busybox, debian and nginx loaded; what the test leaves behind fails it."""
    engine = shared_engine
    if engine.process is None or engine.process.poll() is not None:
        engine.process = None
        engine.start()  # an earlier test broke it and said so
    before = leaks.Snapshot(engine)
    last_log = os.path.getsize(engine.log_path)
    yield engine
    assert engine.process.poll() is None, "the engine ended during the test:\n" + engine.log()[-3000:]
    engine.remove_containers(keep=before.containers)
    engine.remove_networks()
    engine.remove_images(BASE_TAGS)
    left = [] if os.environ.get("CAISSON_TEST_REFERENCE") else leaks.settled_differences(engine, before)
    with open(engine.log_path, encoding="utf-8", errors="replace") as file:
        file.seek(last_log)
        log = file.read()
    assert not left, "left behind:\n  " + "\n  ".join(left) + "\nengine's log:\n" + log[-2000:]


@pytest.fixture
def own_engine(scratch, netns, request):
    """Makes engines that belong to the test: own_engine() or own_engine(images=("busybox",), extra=[...])."""
    made = []

    def make(images=("busybox",), extra=(), bridge=None, start=True, bip=None):
        root = tempfile.mkdtemp(prefix="own-", dir=scratch)
        # A bridge of its own, with a subnet that no engine before it has used.
        engine = Engine(root, netns, bridge or f"ct{len(made)}x{os.path.basename(root)[4:8]}"[:15], extra, bip)
        made.append(engine)
        if start:
            engine.start()
            engine.load(*images)
        return engine
    yield make
    problems = []
    for engine in made:
        engine.destroy()
        problems += [f"process {pid}: {line}" for pid, line in engine.processes().items()]
        problems += [f"mount: {m}" for m in leaks.host_mounts(engine.root)]
        remove_tree(engine.root)
    assert not problems, "left behind by an engine of the test:\n  " + "\n  ".join(problems)


@pytest.fixture(scope="session")
def registry(scratch, netns):
    if not find_program():
        pytest.skip("Debian's docker-registry could not be unpacked")
    registry = Registry(scratch + "/registry", netns)
    yield registry
    registry.stop()


# --- clients ----------------------------------------------------------------------------------------

def make_client(name, engine, directory):
    return make_client_by_name(name, engine.host, directory)


@pytest.fixture(params=["docker", "caisson"])
def cli(request, engine, tmp_path):
    """The same test with both clients, against the shared engine."""
    return make_client(request.param, engine, tmp_path / "config")


@pytest.fixture(params=["docker", "caisson"])
def client_of(request, tmp_path):
    """For tests with engines of their own: client_of(engine)."""
    return lambda engine: make_client(request.param, engine, tmp_path / "config")


@pytest.fixture
def docker(engine, tmp_path):
    client = make_client("docker", engine, tmp_path / "config")
    client.version = docker_version(client.program)
    return client


@pytest.fixture
def caisson(engine, tmp_path):
    return make_client("caisson", engine, tmp_path / "config")


@pytest.fixture
def api(engine):
    return engine.api


@pytest.fixture(autouse=True)
def answers_follow_the_api():
    """What a test's other threads were answered counts as well; its own requests fail at once."""
    schema.violations.clear()
    yield
    assert not schema.violations, "\n".join(schema.violations)


@pytest.fixture(autouse=True, scope="session")
def programs_exist():
    if os.environ.get("CAISSON_TEST_REFERENCE"):
        return
    for name in ("caissond", "caisson", "caisson-monitor"):
        if not os.path.exists(f"{BIN}/{name}"):
            pytest.exit(f"{BIN}/{name} is missing: ./dev build", returncode=3)
