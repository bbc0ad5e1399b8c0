# SPDX-License-Identifier: Apache-2.0
"""Clients that pull, load, tag, save and delete the same image at once: each is told something true, nothing is torn, and
nothing is left over."""
import json
import threading

import pytest

from harness import store

pytestmark = pytest.mark.no_leak_check
ROUNDS = 12
SIZE = 300_000


class Client:
    """One thread of requests; what it cannot explain ends it and fails the test."""

    def __init__(self, engine, work):
        self.api, self.work, self.problem = engine.api, work, None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            for number in range(ROUNDS):
                self.work(self, number)
        except BaseException as error:  # told by the test's own thread
            self.problem = error

    def stream(self, path, body=None, **headers):
        answer = self.api.request("POST", path, body, headers=headers, timeout=120)
        assert answer.status == 200, f"{path}: {answer}"
        lines = [json.loads(line) for line in answer.body.splitlines() if line.strip()]
        assert not any("error" in line for line in lines), f"{path}: {lines[-1]}"

    def ask(self, method, path, allowed, body=None):
        answer = self.api.request(method, path, body, timeout=120)
        assert answer.status in allowed, f"{method} {path}: {answer}"
        return answer


def together(engine, *works):
    clients = [Client(engine, work) for work in works]
    for client in clients:
        client.thread.start()
    for client in clients:
        client.thread.join(300)
        assert not client.thread.is_alive(), "a client hangs:\n" + engine.log()[-3000:]
    for client in clients:
        if client.problem:
            raise client.problem


def runs(engine, name):
    ident = engine.api.ok("POST", "/containers/create", {"Image": name, "Cmd": ["sha256sum", "-c", "-s", "/sums"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    assert engine.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0, name
    engine.api.ok("DELETE", f"/containers/{ident}")


def settled(engine):
    report = engine.api.ok("POST", "/caisson/check?deep=1", timeout=120)
    assert report["Problems"] == [], report
    assert store.orphans(engine) == []


def test_one_image_many_clients(own_engine, registry):
    engine = own_engine()
    body = store.checked_image("raced:1", ["raced-a", "raced-b"], SIZE)
    name = registry.address + "/raced/x"
    first = Client(engine, None)
    first.stream("/images/load", body, **{"Content-Type": "application/x-tar"})
    engine.api.ok("POST", f"/images/raced:1/tag?repo={name}&tag=1")
    first.stream(f"/images/{name}/push?tag=1", **{"X-Registry-Auth": "e30="})
    engine.api.ok("DELETE", f"/images/{name}:1")
    engine.api.ok("DELETE", "/images/raced:1")

    def pull(client, _):
        client.stream(f"/images/create?fromImage={name}&tag=1")

    def load(client, _):
        client.stream("/images/load", body, **{"Content-Type": "application/x-tar"})

    def delete(client, number):
        client.ask("DELETE", f"/images/{name}:1?force=1" if number % 2 else "/images/raced:1?force=1", (200, 404, 409))

    def tag(client, number):
        client.ask("POST", f"/images/raced:1/tag?repo=other{number}&tag=1", (201, 404))
        client.ask("DELETE", f"/images/other{number}:1", (200, 404, 409))

    def save(client, _):
        answer = client.ask("GET", "/images/raced:1/get", (200, 404))
        if answer.status == 200:
            client.stream("/images/load", answer.body, **{"Content-Type": "application/x-tar"})

    def push(client, _):
        answer = client.api.request("POST", f"/images/{name}/push?tag=1", headers={"X-Registry-Auth": "e30="}, timeout=120)
        assert answer.status in (200, 404), answer

    def look(client, _):
        client.ask("GET", "/images/json?all=1&shared-size=1&manifests=1", (200,))
        client.ask("GET", "/images/raced:1/json", (200, 404))
        client.ask("GET", "/images/raced:1/history", (200, 404))
        client.ask("GET", "/system/df", (200,))

    def run(client, _):
        answer = client.ask("POST", "/containers/create", (201, 404), {"Image": "raced:1", "Cmd": ["sha256sum", "-c", "-s", "/sums"], "HostConfig": {"NetworkMode": "none"}})
        if answer.status == 404:
            return
        ident = answer.json["Id"]
        client.ask("POST", f"/containers/{ident}/start", (204,))
        assert client.ask("POST", f"/containers/{ident}/wait", (200,)).json["StatusCode"] == 0
        client.ask("DELETE", f"/containers/{ident}", (204,))

    def prune(client, number):
        client.ask("POST", "/images/prune" if number % 2 else '/images/prune?filters={"dangling":["false"]}', (200, 409))

    together(engine, pull, pull, load, load, delete, delete, tag, save, push, look, run, prune)
    settled(engine)
    # All that was said holds: it can be had, it runs, and it goes without a rest.
    first.stream(f"/images/create?fromImage={name}&tag=1")
    runs(engine, name + ":1")
    for image in engine.images():
        engine.api.ok("DELETE", f"/images/{image['Id']}?force=1")
    engine.api.ok("POST", "/images/prune")
    settled(engine)
    assert engine.images() == []
