# SPDX-License-Identifier: Apache-2.0
"""What an exec is refused for, as each client shows it."""
import pytest


@pytest.fixture
def sleeper(cli):
    cli("run", "-d", "--name", "refuser", "busybox", "sleep", "600")
    yield "refuser"
    cli("rm", "-f", "refuser")


@pytest.mark.parametrize("args, words, code", [
    (["-u", "nosuch"], "unable to find user nosuch: no matching entries in passwd file", 126),
    (["-u", "0:nosuch"], "unable to find group nosuch: no matching entries in group file", 126),
    (["-w", "/nosuch"], "/nosuch", 126)])
def test_what_cannot_be_is_told_in_the_stream(cli, sleeper, args, words, code):
    """After the request was granted, as Docker does: its client shows nothing of an answer with another status."""
    done = cli("exec", *args, sleeper, "true", rc=code)
    assert words in done.out + done.err
    with cli.terminal("exec", "-it", *args, sleeper, "true") as terminal:
        terminal.expect(words.split(":")[0])
        assert terminal.wait() == code


def test_unknown_user_detached(cli, sleeper):
    assert "unable to find user nosuch" in cli("exec", "-d", "-u", "nosuch", sleeper, "true", rc=None).err
