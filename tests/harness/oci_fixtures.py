# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of OCI runtimes. `--runtime runc|crun` runs the same tests against a reference."""
import os
import shutil
import warnings

import pytest

from harness.oci import Machine, Oci

RUNTIMES = ["caisson-oci", "crun", "runc"]


def pytest_addoption(parser):
    parser.addoption("--runtime", choices=RUNTIMES, default=os.environ.get("CAISSON_TEST_RUNTIME", "caisson-oci"), help="the OCI runtime under test")


def pytest_configure(config):
    config.addinivalue_line("markers", "reference_lacks(why, *names): the references (or those named) fail this case, for this reason")
    config.addinivalue_line("markers", "slow: takes more than a second")


def pytest_collection_modifyitems(config, items):
    name = config.getoption("--runtime")
    for item in items:
        for marker in item.iter_markers("reference_lacks"):
            why, *names = marker.args
            if name != "caisson-oci" and name in (names or RUNTIMES):
                item.add_marker(pytest.mark.xfail(reason=why, strict=False))


@pytest.fixture(scope="session")
def oci_machine(request, tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    machine = Machine(request.config.getoption("--runtime"), tmp_path_factory.mktemp("oci"))
    if not machine.program or not os.path.exists(machine.program):
        pytest.exit(f"there is no program {machine.program or machine.name}", returncode=3)
    yield machine
    machine.remove_parent()
    shutil.rmtree(machine.scratch, ignore_errors=True)


@pytest.fixture
def oci(oci_machine, tmp_path_factory):
    """One test's containers; what is left after their deletion fails the test."""
    directory = tmp_path_factory.mktemp("t")
    oci = Oci(oci_machine, directory)
    yield oci
    try:
        oci.delete_all()
        left = oci.settled_leaks()
    finally:
        oci.clear()
        shutil.rmtree(directory, ignore_errors=True)
    if left and not oci.ours:
        warnings.warn(f"{oci.machine.name} leaves behind: {left}")
        return
    assert not left, "left behind:\n  " + "\n  ".join(left)
