# SPDX-License-Identifier: Apache-2.0
"""container auto-update: a container is made anew from the image that its image's name has by now, or stays what it was."""
import pytest


def make(caisson, name, *changes):
    """An image under `name`, with a Cmd that runs on unless `changes` say otherwise."""
    flags = [word for change in ('CMD ["sleep", "1000"]', "STOPSIGNAL SIGKILL", *changes) for word in ("-c", change)]
    ident = caisson.out("create", "busybox")
    caisson("commit", *flags, ident, name)
    caisson("rm", ident)


def told(caisson, rc=0, grace=0):
    done = caisson("container", "auto-update", "--grace", grace, "--format", "{{.Container}} {{.Policy}} {{.Updated}}", rc=rc)
    return done.out.splitlines(), done.err


def running(caisson, name):
    """(container's id, image's id, whether it runs)"""
    return caisson.out("inspect", "-f", "{{.Id}} {{.Image}} {{.State.Running}}", name).split()


@pytest.fixture
def service(caisson):
    """A container of an image that may be replaced under its name."""
    make(caisson, "updated:1", "ENV A=1", "LABEL v=1")
    caisson("run", "-d", "--name", "served", "--label", "io.containers.autoupdate=local", "-e", "MINE=1", "-v", "/data", "--network", "none", "updated:1")
    yield "served"
    caisson("rm", "-f", "-v", "served", rc=None)
    for image in caisson.out("images", "-q", "--filter", "dangling=true").splitlines():
        caisson("rmi", image, rc=None)
    caisson("volume", "prune", "-f")


def test_another_image_under_the_name(caisson, service):
    before = running(caisson, service)
    assert told(caisson) == (["served local false"], "")
    caisson("exec", service, "sh", "-c", "echo kept > /data/file")
    make(caisson, "updated:1", "ENV A=2", "LABEL v=2")
    assert caisson.out("container", "auto-update", "--dry-run", "--format", "{{.Updated}}") == "pending"
    assert running(caisson, service) == before
    assert told(caisson) == (["served local true"], "")
    ident, image, runs = running(caisson, service)
    assert ident != before[0] and image == caisson.out("image", "inspect", "-f", "{{.Id}}", "updated:1") and runs == "true"
    assert caisson.out("exec", service, "sh", "-c", "echo $A $MINE; cat /data/file").split() == ["2", "1", "kept"]
    assert caisson.out("inspect", "-f", '{{index .Config.Labels "v"}}', service) == "2"
    assert caisson.out("ps", "-a", "--format", "{{.Names}}") == service
    assert told(caisson) == (["served local false"], "")


def test_one_that_does_not_come_up_is_rolled_back(caisson, service):
    before = running(caisson, service)
    for change in ('CMD ["false"]', 'CMD ["/no/such/program"]', 'HEALTHCHECK --interval=100ms --retries=1 CMD false'):
        make(caisson, "updated:1", change)
        lines, errors = told(caisson, rc=1, grace=20)
        assert lines == ["served local rolled back"] and errors.startswith("served: "), (change, lines, errors)
        assert running(caisson, service) == before, change
        assert caisson.out("image", "inspect", "-f", "{{.Id}}", "updated:1") == before[1]
        assert caisson.out("ps", "-a", "--format", "{{.Names}}") == service


def test_from_a_registry(caisson, registry):
    name = registry.address + "/auto/x:1"
    make(caisson, name, "ENV A=1")
    caisson("push", name)
    caisson("run", "-d", "--name", "served", "--label", "io.containers.autoupdate=registry", "--network", "none", name)
    before = running(caisson, "served")
    assert told(caisson) == (["served registry false"], "")
    make(caisson, name, "ENV A=2")
    caisson("push", name)
    caisson("tag", before[1], name)  # as if somebody else had pushed it
    assert told(caisson) == (["served registry true"], "")
    assert running(caisson, "served")[1] != before[1] and caisson.out("exec", "served", "sh", "-c", "echo $A") == "2"
    caisson("rm", "-f", "served")
    caisson("rmi", "-f", before[1])


def test_what_cannot_be_updated(caisson):
    caisson("run", "-d", "--rm", "--name", "fleeting", "--label", "io.containers.autoupdate=local", "--network", "none", "busybox", "sleep", "1000")
    caisson("run", "-d", "--name", "mistaken", "--label", "io.containers.autoupdate=sometimes", "--network", "none", "busybox", "sleep", "1000")
    caisson("run", "-d", "--name", "quiet", "--label", "io.containers.autoupdate=disabled", "--network", "none", "busybox", "sleep", "1000")
    lines, errors = told(caisson, rc=1)
    assert lines == ["fleeting local failed", "mistaken sometimes failed"]
    assert "there would be no way back" in errors and "has to be registry, local or disabled" in errors
    caisson("rm", "-f", "fleeting", "mistaken", "quiet")
