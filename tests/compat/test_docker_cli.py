# SPDX-License-Identifier: Apache-2.0
"""What only Docker's own client does: templates, version negotiation, contexts, its exact texts."""
import json
import re

import pytest

from harness.api import Api


def test_version_template(docker):
    assert docker.out("version", "-f", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}") == "1.51 1.24 linux"


def test_info_template(docker):
    assert docker.out("info", "-f", "{{.OSType}} {{.Images}}") == "linux 3"
    assert "WARNING: Error loading config" not in docker("info").err


def docker_needs_events(docker):
    return Api(docker.host.removeprefix("unix://")).get("/events?until=1").status == 501


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.35", "1.40", "1.41", "1.43", "1.44", "1.47", "1.51"])
def test_older_api_versions(docker, version):
    docker.env["DOCKER_API_VERSION"] = version
    if version < "1.30" and docker_needs_events(docker):
        pytest.skip("below 1.30 this client waits by events, which the engine does not have yet")
    done = docker("run", "--rm", "busybox", "echo", "hi", rc=None)
    if "client is newer" in done.err or "too old" in done.err and "client version" not in done.err:
        pytest.skip(f"this docker client does not speak {version}: {done.err.strip()}")
    assert (done.rc, done.out) == (0, "hi\n"), done
    assert docker.out("ps", "-q") == ""


def test_inspect_templates(docker):
    docker("run", "-d", "--name", "cc", "-m", "64m", "busybox", "sleep", "99")
    assert docker.out("inspect", "-f", "{{.HostConfig.Memory}} {{.State.Status}} {{.Config.Image}}", "cc") == "67108864 running busybox"
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", docker.out("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "cc"))


def test_inspect_by_type(docker):
    docker("create", "--name", "busybox", "busybox")
    assert json.loads(docker.out("inspect", "--type", "image", "busybox"))[0]["RepoTags"] == ["busybox:latest"]
    assert json.loads(docker.out("inspect", "busybox"))[0]["Name"] == "/busybox"


def test_ps_format(docker):
    docker("run", "-d", "--name", "cc", "-p", "18300:80", "busybox", "sleep", "99")
    shown = docker.out("ps", "--format", "{{.Names}} {{.Image}} {{.State}} {{.Ports}}")
    assert shown.startswith("cc busybox running 0.0.0.0:18300->80/tcp")


def test_ps_size(docker):
    docker("run", "-d", "--name", "cc", "busybox", "sh", "-c", "head -c 100000 /dev/zero > /f; sleep 99")
    import time
    time.sleep(0.3)
    assert re.search(r"\d+(\.\d+)?kB \(virtual \d+(\.\d+)?MB\)", docker.out("ps", "-s", "--format", "{{.Size}}"))


def test_images_format(docker):
    assert sorted(docker.out("images", "--format", "{{.Repository}}:{{.Tag}}").split()) == ["busybox:latest", "debian:latest", "nginx:latest"]


def test_df_verbose(docker):
    out = docker.out("system", "df", "-v")
    assert "SHARED SIZE" in out and "nginx" in out


def test_context(docker):
    docker("context", "create", "mine", "--docker", "host=" + docker.host)
    del docker.env["DOCKER_HOST"]
    assert docker.out("--context", "mine", "version", "-f", "{{.Server.Os}}") == "linux"


def test_run_with_init_binary(docker):
    assert docker.out("run", "--rm", "--init", "busybox", "sh", "-c", "cat /proc/1/comm") != "sh"


def test_wait_of_many(docker):
    first = docker.out("run", "-d", "busybox", "sh", "-c", "exit 1")
    second = docker.out("run", "-d", "busybox", "sh", "-c", "exit 2")
    assert docker.out("wait", first, second).split() == ["1", "2"]


def test_rename_and_port(docker):
    docker("run", "-d", "--name", "aa", "-p", "18301:80/tcp", "busybox", "sleep", "99")
    docker("rename", "aa", "bb")
    assert "0.0.0.0:18301" in docker.out("port", "bb", "80")


def test_exec_privileged_is_not_default(docker):
    docker("run", "-d", "--name", "cc", "busybox", "sleep", "99")
    line = docker.out("exec", "cc", "grep", "CapEff", "/proc/self/status")
    assert line.endswith("00000000a80425fb")


def test_commands_that_are_not_there_yet_say_so(docker):
    for argv in (["service", "ls"], ["swarm", "init"]):
        done = docker(*argv, rc=1)
        assert done.err.strip() and "EOF" not in done.err and "invalid character" not in done.err, done
