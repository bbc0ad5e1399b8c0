# SPDX-License-Identifier: Apache-2.0
"""Wrong input gives one clear sentence and the right code, leaves nothing, and the engine goes on serving."""
import pytest

from harness.shell import run


@pytest.fixture(autouse=True)
def nothing_made(cli, engine):
    yield
    assert engine.containers() == [] or all(c["Names"] == ["/holder"] for c in engine.containers())
    assert cli("run", "--rm", "busybox", "echo", "still serving").out == "still serving\n"


def test_unknown_image(cli):
    done = cli("run", "--rm", "--pull", "never", "nothing-like-this", "true", rc=125)
    assert "No such image: nothing-like-this:latest" in done.err


def test_unknown_image_and_no_registry(cli):
    done = cli("run", "--rm", "127.0.0.1:5999/nothing", "true", rc=125)
    assert "127.0.0.1:5999" in done.err


@pytest.mark.parametrize("flags", [["-m", "lots"], ["--cpus", "many"], ["--pids-limit", "x"], ["--memory-swap", "1z"], ["--shm-size", "-5x"],
                                   ["--no-such-flag"], ["--ulimit", "nofile"], ["--restart", "sometimes"], ["--cap-add", "FLY"],
                                   ["-v", "relative/path:/x:bad-option"], ["--mount", "type=nonsense,dst=/x"], ["-m", "1k"]])
def test_bad_flag_value(cli, flags):
    done = cli("run", "--rm", *flags, "busybox", "true", rc=125)
    assert done.err.strip() and done.out == ""


def test_name_clash(cli):
    ident = cli.out("run", "-d", "--name", "holder", "busybox", "sleep", "99")
    done = cli("run", "--name", "holder", "busybox", "true", rc=125)
    assert 'The container name "/holder" is already in use by container' in done.err and ident in done.err


def test_name_of_one_letter(cli):
    assert "Invalid container name (x)" in cli("run", "--name", "x", "busybox", "true", rc=125).err


def test_missing_command(cli):
    assert "not found" in cli("run", "--rm", "busybox", "nope", rc=127).err


def test_command_that_is_not_executable(cli):
    assert "permission denied" in cli("run", "--rm", "busybox", "/etc/group", rc=126).err.lower()


def test_failed_start_leaves_a_created_container(cli, engine):
    cli("run", "--name", "holder", "busybox", "nope", rc=127)
    state = engine.api.ok("GET", "/containers/holder/json")["State"]
    assert state["Status"] == "created" and state["ExitCode"] == 127 and "nope" in state["Error"]


def test_empty_command_of_an_image_without_one(cli, engine, tmp_path):
    import archive  # tools/images
    layer = archive.LayerWriter()
    layer.directory("empty")
    archive.write_archive(str(tmp_path / "bare.tar"), ["bare:latest"], [layer.finish()], {}, ["nothing"])
    cli("load", "-i", tmp_path / "bare.tar")
    assert "no command specified" in cli("run", "--rm", "bare", rc=125).err.lower()


@pytest.mark.parametrize("argv", [["stop"], ["run"], ["exec", "x"], ["no-such-command"], ["logs"]])
def test_missing_arguments(cli, argv):
    done = cli(*argv, rc=None)
    assert done.rc in (1, 125) and done.err.strip()


def test_unknown_container(cli):
    for argv in (["logs", "nobody"], ["exec", "nobody", "true"], ["stop", "nobody"], ["kill", "nobody"], ["wait", "nobody"], ["top", "nobody"], ["attach", "nobody"], ["start", "nobody"]):
        done = cli(*argv, rc=1)
        assert "No such container: nobody" in done.err, done


def test_no_engine(cli, tmp_path):
    env = {**cli.env, "DOCKER_HOST" if cli.name == "docker" else "CAISSON_HOST": f"unix://{tmp_path}/nothing.sock"}
    done = run([cli.program, "ps"], env, rc=1)
    assert "annot connect" in done.err and "nothing.sock" in done.err
