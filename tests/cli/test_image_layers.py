# SPDX-License-Identifier: Apache-2.0
"""image untag, diff, tree: names taken from an image without deleting it, and what it is made of."""
import json

import pytest


@pytest.fixture
def changed(caisson):
    """An image with one layer more than busybox."""
    caisson("run", "--name", "changer", "busybox", "sh", "-c", "mkdir /new && echo x > /new/file && rm /bin/vi && echo y >> /etc/passwd")
    caisson("commit", "changer", "changed:1")
    caisson("rm", "changer")
    yield "changed:1"
    caisson("rmi", "-f", "changed:1", rc=None)


def ids(caisson, *args):
    return caisson.out("images", "-q", "--no-trunc", *args).splitlines()


def test_untag_keeps_the_image(caisson, engine):
    ident = caisson.out("image", "inspect", "-f", "{{.Id}}", "busybox")
    caisson("tag", "busybox", "second:1")
    caisson("tag", "busybox", "second:2")
    caisson("image", "untag", "second:1", "second:2")
    assert ids(caisson, "second") == [ident] and not caisson.out("images", "-q", "second:2")
    assert "is not called" in caisson("image", "untag", "busybox", "debian", rc=1).err
    # All of them: the image is there without a name.
    caisson("image", "untag", ident)
    assert not ids(caisson, "busybox") and caisson("image", "exists", ident)
    assert ident in ids(caisson, "-f", "dangling=true")
    caisson("tag", ident, "busybox:latest")
    assert engine.api.post("/images/" + ident + "/untag").status == 400


def test_diff_of_the_last_layer(caisson, changed):
    lines = caisson.out("image", "diff", changed).splitlines()
    assert {"A /new", "A /new/file", "D /bin/vi", "C /etc/passwd", "C /etc", "C /bin"} <= set(lines), lines
    assert "A /bin/sh" not in lines


def test_diff_of_two_images(caisson, changed):
    shown = json.loads(caisson.out("image", "diff", "--format", "json", changed, "busybox"))
    assert {"Path": "/new/file", "Kind": 1} in shown and {"Path": "/bin/vi", "Kind": 2} in shown
    back = caisson.out("image", "diff", "busybox", changed).splitlines()
    assert {"D /new", "A /bin/vi"} <= set(back) and "A /new" not in back, back
    assert caisson.out("image", "diff", "busybox", "busybox") == ""
    assert "No such image" in caisson("image", "diff", "busybox", "none:1", rc=1).err


def test_diff_of_a_single_layer_is_all_of_it(caisson):
    lines = caisson.out("image", "diff", "busybox").splitlines()
    assert "A /bin/sh" in lines and all(line.startswith("A ") for line in lines)


def test_tree(caisson, changed):
    lines = caisson.out("image", "tree", changed).splitlines()
    ident = caisson.out("image", "inspect", "-f", "{{.Id}}", changed).split(":")[1][:12]
    assert lines[:2] == ["Image ID: " + ident, f"Tags:     [{changed}]"] and lines[3] == "Image Layers"
    base, top = lines[4:]
    assert base.startswith("├── ID: ") and base.endswith("Top Layer of: [busybox:latest]")
    assert top.startswith("└── ID: ") and top.endswith(f"Top Layer of: [{changed}]")
    above = caisson.out("image", "tree", "--whatrequires", "busybox").splitlines()
    assert above[3] == "Images that stand on it" and above[4:] == [f"└── ID: {ident} [{changed}]"]
