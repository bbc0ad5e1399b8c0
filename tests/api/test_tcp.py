# SPDX-License-Identifier: Apache-2.0
"""The API over TCP beside the unix socket."""
import json

from harness.shell import run


def curl(netns, *args):
    return run(netns.enter(["curl", "-sS", "--noproxy", "*", "--max-time", "10", *args]))


def test_tcp_and_unix_at_once(own_engine, netns):
    engine = own_engine(images=(), extra=["--host", "tcp://127.0.0.1:23755"])
    assert curl(netns, "http://127.0.0.1:23755/_ping").out == "OK"
    assert json.loads(curl(netns, "http://127.0.0.1:23755/v1.41/version").out) == engine.api.ok("GET", "/v1.41/version")


def test_tcp_client(own_engine, netns, client_of):
    engine = own_engine(extra=["--host", "tcp://127.0.0.1:23756"])
    client = client_of(engine)
    env = {k: v for k, v in client.env.items() if k not in ("DOCKER_HOST", "CAISSON_HOST")}
    env["DOCKER_HOST" if client.name == "docker" else "CAISSON_HOST"] = "tcp://127.0.0.1:23756"
    assert run(netns.enter([client.program, "run", "--rm", "busybox", "echo", "over tcp"]), env).out == "over tcp\n"
