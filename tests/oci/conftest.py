# SPDX-License-Identifier: Apache-2.0
"""The runtime's tests need the runtime alone, not the engine."""
import pytest


@pytest.fixture(autouse=True, scope="session")
def programs_exist():
    pass
