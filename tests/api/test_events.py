# SPDX-License-Identifier: Apache-2.0
"""Every action of `docker events` that this release has an operation for: once, in order, with Docker's attributes; and
the filters. The actions of operations that do not exist yet are named in docs/compatibility.md."""
import io
import json
import tarfile
import signal
import time
from urllib.parse import quote

import pytest

from harness.container import wait_for_trap
from harness.shell import wait_for

DEVICE = {"driver": "local"}


class Watch:
    """What has happened since it was made."""
    def __init__(self, api):
        self.api, self.since = api, time.time_ns()

    def __call__(self, **filters):
        text = f"/events?since={self.since // 10**9}.{self.since % 10**9:09d}&until={time.time():.9f}"
        if filters:
            text += "&filters=" + quote(json.dumps(filters))
        lines = self.api.get(text).body.decode().splitlines()
        return [json.loads(line) for line in lines]

    def actions(self, **filters):
        return [(e["Type"], e["Action"]) for e in self(**filters)]

    def wait(self, kind, action, **filters):
        """All events up to now, once there is such a one."""
        wait_for(lambda: (kind, action) in self.actions(**filters), f"an event {kind} {action}: {self.actions(**filters)}", 20)
        return self(**filters)


@pytest.fixture
def watch(api):
    return Watch(api)


@pytest.fixture
def make(api):
    def make(name, command="sleep 1000", start=True, **config):
        ident = api.ok("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": ["sh", "-c", command], "Labels": {"colour": "red"}, **config})["Id"]
        if start:
            api.ok("POST", f"/containers/{ident}/start")
        return ident
    return make


def attributes(events, action):
    found = [e["Actor"]["Attributes"] for e in events if e["Action"] == action]
    assert len(found) == 1, (action, [e["Action"] for e in events])
    return found[0]


def of(events, kind):
    return [e["Action"] for e in events if e["Type"] == kind]


# --- shape and order -----------------------------------------------------------------------------------------

def test_shape(api, watch, make):
    ident = make("shaped", start=False)
    event = watch.wait("container", "create", container=[ident])[0]
    assert event["Actor"] == {"ID": ident, "Attributes": {"colour": "red", "image": "busybox", "name": "shaped"}}
    assert (event["Type"], event["scope"]) == ("container", "local")
    assert (event["status"], event["id"], event["from"]) == ("create", ident, "busybox")
    assert event["time"] == event["timeNano"] // 10**9 and watch.since < event["timeNano"] < time.time_ns()


def test_life_of_a_container(api, watch, make):
    ident = make("life")
    api.ok("POST", f"/containers/{ident}/pause")
    api.ok("POST", f"/containers/{ident}/unpause")
    api.ok("POST", f"/containers/{ident}/update", {"CpuShares": 100})
    api.ok("POST", f"/containers/{ident}/rename?name=lived")
    api.ok("GET", f"/containers/{ident}/top")
    api.get(f"/containers/{ident}/export")
    api.ok("POST", f"/containers/{ident}/stop?t=0")
    api.ok("DELETE", f"/containers/{ident}")
    events = watch.wait("container", "destroy", container=[ident])
    assert of(events, "container") == ["create", "start", "pause", "unpause", "update", "rename", "top", "export", "kill", "kill", "die", "stop", "destroy"]
    assert attributes(events, "rename") == {"colour": "red", "image": "busybox", "name": "lived", "oldName": "/life"}
    die = attributes(events, "die")
    assert die["exitCode"] == "137" and int(die["execDuration"]) >= 0 and die["name"] == "lived"
    assert [e["Actor"]["Attributes"]["signal"] for e in events if e["Action"] == "kill"] == ["15", "9"]
    times = [e["timeNano"] for e in events]
    assert times == sorted(set(times))


def test_networks_and_volumes_of_a_run(api, watch, make):
    ident = make("attached", HostConfig={"Mounts": [{"Type": "volume", "Target": "/data"}]})
    volume = api.ok("GET", f"/containers/{ident}/json")["Mounts"][0]["Name"]
    network = api.ok("GET", "/networks/bridge")["Id"]
    api.ok("POST", f"/containers/{ident}/kill")
    events = watch.wait("volume", "unmount")
    mine = [e for e in events if e["Actor"]["ID"] in (ident, volume, network)]
    order = [(e["Type"], e["Action"]) for e in mine if e["Action"] not in ("kill", "create")]
    assert order == [("network", "connect"), ("volume", "mount"), ("container", "start"), ("container", "die"), ("network", "disconnect"), ("volume", "unmount")]
    assert attributes(mine, "connect") == {"container": ident, "name": "bridge", "type": "bridge"} == attributes(mine, "disconnect")
    assert attributes(mine, "mount") == {"container": ident, "destination": "/data", "driver": "local", "propagation": "", "read/write": "true"}
    assert attributes(mine, "unmount") == {"container": ident, "driver": "local"}
    api.ok("DELETE", f"/containers/{ident}?v=1")


@pytest.mark.parametrize("mode, driver", [("none", "null"), ("host", "host")])
def test_other_networks(api, watch, make, mode, driver):
    ident = make("other", HostConfig={"NetworkMode": mode})
    events = watch.wait("network", "connect")
    assert attributes([e for e in events if e["Type"] == "network"], "connect") == {"container": ident, "name": mode, "type": driver}


def test_restart(api, watch, make):
    ident = make("again")
    api.ok("POST", f"/containers/{ident}/restart?t=0")
    assert of(watch.wait("container", "restart", container=[ident]), "container") == ["create", "start", "kill", "kill", "die", "stop", "start", "restart"]


def test_exit_code_and_auto_removal(api, watch, make):
    ident = make("short", "exit 3", HostConfig={"AutoRemove": True})
    events = watch.wait("container", "destroy", container=[ident])
    assert of(events, "container") == ["create", "start", "die", "destroy"] and attributes(events, "die")["exitCode"] == "3"


def test_removal_by_force(api, watch, make):
    ident = make("forced")
    api.ok("DELETE", f"/containers/{ident}?force=1")
    assert of(watch.wait("container", "destroy", container=[ident]), "container") == ["create", "start", "kill", "die", "destroy"]


def test_signals(api, watch, make):
    ident = make("signalled", "trap '' USR1; while :; do sleep 0.1; done")
    wait_for_trap(api.ok("GET", f"/containers/{ident}/json")["State"]["Pid"], signal.SIGUSR1)
    api.ok("POST", f"/containers/{ident}/kill?signal=USR1")
    assert attributes(watch.wait("container", "kill", container=[ident]), "kill")["signal"] == "10"


def test_exec(api, watch, make):
    ident = make("executing")
    instance = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["sh", "-c", "exit 3"]})["Id"]
    api.ok("POST", f"/exec/{instance}/start", {"Detach": True})
    events = [e for e in watch.wait("container", "exec_die", container=[ident]) if e["Action"].startswith("exec")]
    assert [e["Action"] for e in events] == ["exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die"]
    assert {e["Actor"]["Attributes"]["execID"] for e in events} == {instance}
    assert attributes(events, "exec_die")["exitCode"] == "3"


def test_exec_of_a_container_that_ends(api, watch, make):
    ident = make("ending")
    instance = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["sleep", "1000"]})["Id"]
    api.ok("POST", f"/exec/{instance}/start", {"Detach": True})
    api.ok("POST", f"/containers/{ident}/kill")
    events = watch.wait("container", "die", container=[ident])
    assert attributes(events, "exec_die") == {"colour": "red", "execID": instance, "exitCode": "137", "image": "busybox", "name": "ending"}
    assert of(events, "container").index("exec_die") < of(events, "container").index("die")


def test_attach_detach_resize(api, watch, make):
    ident = make("terminal", "while read line; do :; done", Tty=True, OpenStdin=True)
    peer, _, _ = api.hijack(f"/containers/{ident}/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a")
    with peer:
        api.ok("POST", f"/containers/{ident}/resize?h=33&w=77")
        peer.sendall(b"\x01")
        while peer.recv(4096):
            pass
    events = watch.wait("container", "detach", container=[ident])
    assert of(events, "container") == ["create", "start", "attach", "resize", "detach"]
    resize = attributes(events, "resize")
    assert (resize["height"], resize["width"]) == ("33", "77")


def test_exec_detach(api, watch, make):
    ident = make("executing")
    instance = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["cat"], "Tty": True, "AttachStdin": True, "AttachStdout": True, "DetachKeys": "ctrl-a"})["Id"]
    peer, _, _ = api.hijack(f"/exec/{instance}/start", {"Tty": True})
    with peer:
        peer.sendall(b"\x01")
        while peer.recv(4096):
            pass
    assert attributes(watch.wait("container", "exec_detach", container=[ident]), "exec_detach")["execID"] == instance


def test_copies(api, watch, make):
    ident = make("copied", start=False)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    assert api.request("PUT", f"/containers/{ident}/archive?path=/tmp", data.getvalue()).status == 200
    api.get(f"/containers/{ident}/archive?path=/tmp/empty")
    assert of(watch.wait("container", "archive-path", container=[ident]), "container") == ["create", "extract-to-dir", "archive-path"]


def test_oom(api, watch, make):
    ident = make("greedy", "a=x; while :; do a=$a$a; done", HostConfig={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    actions = of(watch.wait("container", "die", container=[ident]), "container")
    assert actions == ["create", "start", "oom", "die"]


def test_health_status(api, watch, make):
    ident = make("healthy", Healthcheck={"Test": ["CMD", "true"], "Interval": 10**8, "Retries": 1})
    wait_for(lambda: "health_status: healthy" in [a for _, a in watch.actions(container=[ident])], "it is healthy", 20)
    events = watch(container=[ident], event=["health_status"])
    assert events and {e["Action"] for e in events} == {"health_status: healthy"}


def test_prune(api, watch, make):
    ident = make("pruned", start=False)
    api.ok("POST", "/containers/prune?filters=" + quote(json.dumps({"label": ["colour=red"]})))
    events = watch.wait("container", "prune")
    assert ident in [e["Actor"]["ID"] for e in events if e["Action"] == "destroy"]
    assert events[-1]["Actor"] == {"ID": "", "Attributes": {"reclaimed": events[-1]["Actor"]["Attributes"]["reclaimed"]}}
    assert int(events[-1]["Actor"]["Attributes"]["reclaimed"]) >= 0


def test_prune_of_everything_else(api, watch):
    for path, kind in (("/volumes/prune", "volume"), ("/networks/prune", "network"), ("/images/prune", "image"), ("/build/prune", "builder")):
        api.ok("POST", path)
        assert watch.wait(kind, "prune", type=[kind])[-1]["Actor"]["Attributes"]["reclaimed"] == "0"


def test_volumes(api, watch, make):
    api.ok("POST", "/volumes/create", {"Name": "events"})
    api.ok("DELETE", "/volumes/events")
    ident = make("anonymous", start=False, HostConfig={"Mounts": [{"Type": "volume", "Target": "/data"}]})
    volume = api.ok("GET", f"/containers/{ident}/json")["Mounts"][0]["Name"]
    api.ok("DELETE", f"/containers/{ident}?v=1")
    wait_for(lambda: volume in [e["Actor"]["ID"] for e in watch(event=["destroy"])], "the volume's end is told", 10)
    events = [(e["Action"], e["Actor"]["ID"], e["Actor"]["Attributes"]) for e in watch(type=["volume"])]
    assert events == [("create", "events", DEVICE), ("destroy", "events", DEVICE), ("create", volume, DEVICE), ("destroy", volume, DEVICE)]


def test_commit(api, watch, make):
    ident = make("committed", start=False)
    image = api.ok("POST", f"/commit?container={ident}&repo=example&tag=2", {})["Id"]
    events = watch.wait("container", "commit")
    assert attributes([e for e in events if e["Type"] == "container"], "commit")["imageID"] == image
    api.ok("DELETE", "/images/example:2")


def test_images(api, watch):
    image = api.ok("GET", "/images/busybox/json")["Id"]
    saved = api.get("/images/busybox/get").body
    assert api.post("/images/load?quiet=1", saved, headers={"Content-Type": "application/x-tar"}, timeout=60).status == 200
    api.ok("POST", "/images/busybox/tag?repo=example&tag=1")
    api.ok("DELETE", "/images/example:1")
    events = [e for e in watch.wait("image", "untag") if e["Type"] == "image"]
    assert [(e["Action"], e["Actor"]["ID"], e["Actor"]["Attributes"]["name"]) for e in events] == [
        ("save", image, image), ("load", image, image), ("tag", image, "example:1"), ("untag", image, image)]
    assert (events[2]["status"], events[2]["id"]) == ("tag", image) and "from" not in events[2]


# --- filters -----------------------------------------------------------------------------------------------------

def test_filters(api, watch, make):
    one, two = make("first"), make("second", start=False, Labels={"colour": "blue", "size": "5"})
    api.ok("POST", "/images/busybox/tag?repo=example&tag=1")
    watch.wait("image", "tag")
    both = {one, two}

    def ids(**filters):
        return {e["Actor"]["ID"] for e in watch(**filters)} & both

    assert ids() == both == ids(type=["container"]) == ids(image=["busybox"]) == ids(scope=["local"]) == ids(label=["colour"])
    assert ids(container=["first"]) == {one} == ids(container=[one[:12]]) == ids(label=["colour=red"]) == ids(event=["start"])
    assert ids(container=["first", "second"]) == both == ids(event=["create", "start"])
    assert ids(label=["colour=blue", "size=5"]) == {two} and not ids(label=["colour=red", "size=5"])
    assert not ids(type=["image"]) and not ids(image=["debian"]) and not ids(scope=["swarm"]) and not ids(container=["nobody"])
    assert ids(container=["first"], event=["create"]) == {one} and not ids(container=["second"], event=["start"])
    assert {e["Type"] for e in watch(type=["network", "image"])} == {"network", "image"}
    assert {e["Action"] for e in watch(network=["bridge"])} == {"connect"}
    assert {e["Action"] for e in watch(image=["example"], type=["image"])} == {"tag"}
    # Objects that this engine does not have are asked for in vain; keys that nobody knows are let pass.
    for kind in ("plugin", "service", "node", "secret", "config", "volume"):
        assert not watch(**{kind: ["x"]})
    assert ids(nonsense=["x"]) == both
    # The older form of filters.
    assert ids(container={"first": True, "second": False}) == {one}
    api.ok("DELETE", "/images/example:1")


def test_since_and_until(api, watch, make):
    one = make("before", start=False)
    middle = watch.wait("container", "create", container=[one])[0]["timeNano"]
    two = make("after", start=False)
    watch.wait("container", "create", container=[two])

    def stamp(ns):
        return f"{ns // 10**9}.{ns % 10**9:09d}"

    def created(since, until):
        lines = api.get(f"/events?since={stamp(since)}&until={stamp(until)}").body.decode().splitlines()
        return [e["Actor"]["ID"] for e in map(json.loads, lines) if e["Action"] == "create" and e["Type"] == "container"]

    now = time.time_ns()
    assert created(watch.since, now) == [one, two] and created(watch.since, middle) == [one] and created(middle + 1, now) == [two]
