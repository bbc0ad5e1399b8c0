# SPDX-License-Identifier: Apache-2.0
"""Images that go by themselves, and what a prune would take."""
import json
import time
from urllib.parse import quote

import pytest

from harness import store
from harness.clients import caisson_program
from harness.shell import run, wait_for

pytestmark = pytest.mark.no_leak_check
SIZE = 400_000


def load(engine, name, seed, **config):
    answer = engine.api.post("/images/load", store.checked_image(name, [seed], SIZE, **config), headers={"Content-Type": "application/x-tar"})
    assert answer.status == 200 and b"error" not in answer.body, answer


def tags(engine):
    return {tag for image in engine.images() for tag in image["RepoTags"] or []}


def caisson(engine, *args, **options):
    return run([caisson_program(), "--host", engine.host, *args], **options)


def test_more_than_the_limit(own_engine):
    """The longest unused go, those of containers and with the label stay."""
    engine = own_engine(images=(), extra=["--image-gc-max-size", "1000", "--image-gc-keep-label", "keep=yes"], start=False)
    engine.start()
    load(engine, "pinned:1", "p", Labels={"keep": "yes"})
    wait_for(lambda: tags(engine) == {"pinned:1"}, "it is there")
    load(engine, "loose:1", "l")
    wait_for(lambda: "image garbage: removed 'loose:1': unused for" in engine.log(), "what is too much has gone")
    assert tags(engine) == {"pinned:1"} and "may take 1.0kB" in engine.log()
    events = engine.api.get(f"/events?since=0&until={int(time.time()) + 1}&filters=" + quote(json.dumps({"type": ["image"]})), timeout=10).body.decode()
    assert '"Action":"untag"' in events and '"Action":"delete"' in events
    assert store.orphans(engine) == []


def test_images_of_containers_stay(own_engine):
    engine = own_engine(images=(), start=False, extra=["--image-gc-keep-used", "1ms", "--image-gc-keep-label", "keep"])
    engine.start()
    # Between the load and the container it may go: the label holds it that long.
    load(engine, "used:1", "u", Labels={"keep": ""})
    ident = engine.api.ok("POST", "/containers/create", {"Image": "used:1", "Cmd": ["true"]})["Id"]
    load(engine, "unused:1", "x")
    wait_for(lambda: "unused:1" not in tags(engine), "the unused one has gone")
    assert "used:1" in tags(engine)
    engine.api.ok("POST", f"/containers/{ident}/start")
    assert engine.api.ok("POST", f"/containers/{ident}/wait")["StatusCode"] == 0


def test_plan_tells_and_changes_nothing(own_engine):
    engine = own_engine(extra=["--image-gc-keep-used", "1000h"])
    assert engine.api.ok("GET", "/caisson/image-gc") == []
    assert engine.api.ok("POST", "/caisson/image-gc") == []
    assert tags(engine) == {"busybox:latest"}


def test_last_use_counts_and_outlives_a_restart(own_engine):
    """Of two that are too much the one goes that was longer unused, though it came later."""
    engine = own_engine(images=())
    load(engine, "first:1", "f")
    load(engine, "second:1", "s")
    ident = engine.api.ok("POST", "/containers/create", {"Image": "first:1", "Cmd": ["true"]})["Id"]
    engine.api.ok("DELETE", f"/containers/{ident}")
    size = engine.api.ok("GET", "/system/df")["LayersSize"]
    engine.stop()
    engine.argv += ["--image-gc-max-size", str(size - 1)]
    engine.start()
    wait_for(lambda: "image garbage: removed" in engine.log(), "one goes")
    assert tags(engine) == {"first:1"}
    assert engine.api.ok("GET", "/caisson/image-gc") == []


def test_bad_policies(own_engine, tmp_path):
    for flag, value in (("--image-gc-keep-used", "soon"), ("--image-gc-keep-used", "-1h"), ("--image-gc-max-size", "lots"), ("--image-gc-keep-label", "")):
        engine = own_engine(extra=[flag, value], start=False)
        with pytest.raises(AssertionError, match=flag):
            engine.start()
    (tmp_path / "daemon.json").write_text(json.dumps({"image-gc-max-size": "10GB", "image-gc-keep-used": "720h", "image-gc-keep-labels": ["a", "b=c"]}))
    engine = own_engine(extra=["--config-file", str(tmp_path / "daemon.json")], start=False)
    engine.start()


def test_dry_run_of_image_prune(own_engine):
    engine = own_engine()
    load(engine, "one:1", "shared")
    load(engine, "two:1", "shared", Labels={"two": "2"})  # another config, the same layers
    used = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})["Id"]
    before = engine.images()
    assert caisson(engine, "image", "prune", "--dry-run").out == "Would reclaim: 0B\n"
    out = caisson(engine, "image", "prune", "-a", "--dry-run").out
    assert "image one:1: no container uses it, " in out and "image two:1: " in out and "busybox" not in out
    assert engine.images() == before
    planned = engine.api.ok("GET", '/caisson/prunable?filters={"dangling":["false"]}')
    assert {name for entry in planned["Images"] for name in entry["Names"]} == {"one:1", "two:1"}
    done = engine.api.ok("POST", '/images/prune?filters={"dangling":["false"]}')
    assert done["SpaceReclaimed"] == planned["SpaceReclaimable"] > SIZE
    assert tags(engine) == {"busybox:latest"}
    engine.api.ok("DELETE", f"/containers/{used}")


def test_dry_run_of_system_prune(own_engine):
    engine = own_engine()
    engine.api.ok("POST", "/containers/create?name=stopped", {"Image": "busybox", "Cmd": ["true"], "Volumes": {"/data": {}}})
    runs = engine.api.ok("POST", "/containers/create?name=running", {"Image": "busybox", "Cmd": ["sleep", "999"]})["Id"]
    engine.api.ok("POST", f"/containers/{runs}/start")
    out = caisson(engine, "system", "prune", "--dry-run", "--volumes", "-a").out
    assert "container stopped: it does not run" in out and "volume " in out and "it has no name" in out
    assert "running" not in out and "image busybox" not in out
    assert len(engine.containers()) == 2
    engine.api.ok("DELETE", f"/containers/{runs}?force=1")
    out = caisson(engine, "system", "prune", "--dry-run", "-a").out
    assert "image busybox:latest: no container uses it" in out  # its containers would go, too
    assert "volume" not in out
