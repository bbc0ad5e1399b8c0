# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the engine in the middle of a commit: no half image, and the container goes on."""
import threading

import pytest

from harness.container import inspect
from harness.shell import wait_for

pytestmark = pytest.mark.no_leak_check


def test_commit_cut_short(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    client("run", "-d", "--name", "large", "busybox", "sh", "-c", "dd if=/dev/urandom of=/data bs=1M count=150 2>/dev/null; touch /ready; sleep 999")
    wait_for(lambda: client("exec", "large", "test", "-e", "/ready", rc=None).rc == 0, "it has written its data", timeout=60)
    before = client.out("images", "-aq")

    def commit():
        client("commit", "large", "half:1", rc=None)
    thread = threading.Thread(target=commit)
    thread.start()
    wait_for(lambda: inspect(client, "large")["State"]["Status"] == "paused", "the commit pauses it")
    engine.kill9()
    thread.join()
    engine.start()
    wait_for(lambda: inspect(client, "large")["State"]["Status"] == "running", "it goes on")
    assert client.out("exec", "large", "echo", "alive") == "alive"
    assert client.out("images", "-aq") == before
    client("commit", "large", "whole:1")
    assert client.out("run", "--rm", "whole:1", "stat", "-c", "%s", "/data") == str(150 << 20)
