# SPDX-License-Identifier: Apache-2.0
"""caisson starts the engine when nothing answers on its default local socket. The default paths belong to the
machine, so this runs in a mount namespace where they are private."""
import os

import pytest

from harness.shell import BIN, IMAGES, run, wait_for


def test_engine_is_started_on_demand(scratch, netns, tmp_path):
    data, state = scratch + "/on-demand-data", scratch + "/on-demand-run"
    os.makedirs(data)
    os.makedirs(state)
    script = f"""
set -e
mkdir -p /var/lib/caisson /run/caisson
mount --bind {data} /var/lib/caisson
mount --bind {state} /run/caisson
export HOME={tmp_path}
unset DOCKER_HOST CAISSON_HOST
{BIN}/caisson load -i {IMAGES}/busybox.tar
{BIN}/caisson run --rm --network none busybox echo started
"""
    existed = [os.path.isdir(p) for p in ("/var/lib/caisson", "/run/caisson")]
    try:
        done = run(netns.enter(["unshare", "--mount", "--propagation", "private", "bash", "-c", script]), rc=None, timeout=30)
        assert done.rc == 0 and done.out.endswith("started\n"), done
    finally:
        for pid in engines_below(state):
            os.kill(pid, 15)
        wait_for(lambda: not engines_below(state), "the engine that was started ends")
        for path, there in zip(("/var/lib/caisson", "/run/caisson"), existed):
            if not there and os.path.isdir(path) and not os.listdir(path):
                os.rmdir(path)


def engines_below(state):
    """Engines whose /run/caisson is ours: seen by the root of their mount namespace."""
    found = []
    wanted = os.stat(state)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe") != os.path.realpath(BIN + "/caissond"):
                continue
            there = os.stat(f"/proc/{pid}/root/run/caisson")
        except OSError:
            continue
        if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
            found.append(int(pid))
    return found


def test_no_engine_is_started_for_another_host(tmp_path):
    if not os.path.exists(BIN + "/caisson"):
        pytest.skip("no caisson")
    done = run([BIN + "/caisson", "ps"], env={**os.environ, "HOME": str(tmp_path), "CAISSON_HOST": f"unix://{tmp_path}/none.sock"}, rc=1)
    assert "none.sock" in done.err and not os.path.exists(f"{tmp_path}/none.sock")
