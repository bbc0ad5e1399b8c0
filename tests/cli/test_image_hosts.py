# SPDX-License-Identifier: Apache-2.0
"""What our client does with images beyond Docker's commands: exists, outdated, scp."""
import pytest


def test_exists(caisson):
    assert caisson("image", "exists", "busybox").err == ""
    assert caisson("image", "exists", "nothing:1", rc=1).out == ""


@pytest.fixture
def pushed(caisson, registry):
    name = registry.address + "/outdated/x:1"
    caisson("tag", "busybox", name)
    caisson("push", name)
    yield name


def states(caisson, *names):
    return dict(line.split("=") for line in caisson.out("image", "outdated", "--format", "{{.Image}}={{.State}}", *names).splitlines())


def test_outdated(caisson, registry, pushed):
    assert states(caisson, pushed) == {pushed: "up to date"}
    # Somebody pushes another image under the same name.
    caisson("rmi", pushed)
    caisson("tag", "debian", pushed)
    caisson("push", pushed)
    caisson("rmi", pushed)
    before = registry.address + "/outdated/x:before"
    caisson("tag", "busybox", before)
    caisson("push", before)
    caisson("tag", "busybox", pushed)
    assert states(caisson, pushed, before) == {pushed: "outdated", before: "up to date"}
    assert caisson.out("image", "outdated", "-q", pushed, before) == pushed
    caisson("pull", pushed)
    assert states(caisson, pushed) == {pushed: "up to date"}
    assert caisson("image", "outdated", "nothing:1", rc=1).err


def test_outdated_tells_what_it_cannot_know(caisson, registry):
    name = registry.address + "/never/pushed:1"
    caisson("tag", "busybox", name)
    assert states(caisson, name) == {name: "local only"}


def test_scp(caisson, engine, own_engine):
    other = own_engine(images=())
    caisson("tag", "busybox", "carried:1")
    assert "carried:1" in caisson.out("image", "scp", "carried:1", other.host + "::")
    there = caisson.out("-H", other.host, "inspect", "-f", "{{.Id}}", "carried:1")
    assert there == caisson.out("inspect", "-f", "{{.Id}}", "carried:1")
    caisson("rmi", "carried:1")
    caisson("image", "scp", other.host + "::carried:1")
    assert caisson.out("inspect", "-f", "{{.Id}}", "carried:1") == there
    for args, words in ((["carried:1"], "both places"), (["nothing:1", other.host + "::"], "No such image"),
                        (["carried:1", other.host + "::x"], "keeps its name"), (["carried:1", "unix:///nowhere.sock::"], "nowhere.sock"),
                        (["carried:1", "nocontext::"], "nocontext")):
        failed = caisson("image", "scp", *args, rc=None)
        assert failed.rc and words in failed.err, (args, failed)
