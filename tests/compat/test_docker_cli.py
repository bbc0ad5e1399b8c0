# SPDX-License-Identifier: Apache-2.0
"""What only Docker's own client does: templates, version negotiation, contexts, its exact texts."""
import json
import re
import time

import pytest

from harness.api import Api
from harness.shell import wait_for


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
    assert shown.startswith("cc busybox running 0.0.0.0:18300->80/tcp, [::]:18300->80/tcp")


def test_ps_size(docker):
    docker("run", "-d", "--name", "cc", "busybox", "sh", "-c", "head -c 100000 /dev/zero > /f; sleep 99")
    wait_for(lambda: re.search(r"1\d\d(\.\d+)?kB \(virtual \d+(\.\d+)?MB\)", docker.out("ps", "-s", "--format", "{{.Size}}")), "the size is shown", 20)


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


# --- streams ----------------------------------------------------------------------------------------

def test_attach_both_streams_and_code(docker):
    docker("create", "-i", "--name", "cc", "busybox", "sh", "-c", "read line; echo got $line; echo err >&2; exit 7")
    done = docker("start", "-a", "-i", "cc", stdin="typed\n", rc=7)
    assert (done.out, done.err) == ("got typed\n", "err\n")


def test_attach_without_stdin_gives_the_code(docker):
    since = str(int(time.time()) - 1)
    docker("run", "-d", "-i", "--name", "cc", "busybox", "sh", "-c", "read line; exit 5")
    attached = docker.start("attach", "--no-stdin", "cc")
    wait_for(lambda: "attach" in docker.out("events", "--since", since, "--until", "0s", "--filter", "event=attach"), "it is attached")
    feeding = docker.start("attach", "cc")
    feeding.communicate(b"go\n", timeout=30)
    attached.communicate(timeout=30)
    assert (feeding.returncode, attached.returncode) == (5, 5)


def test_attach_of_a_stopped_container_is_refused(docker):
    docker("create", "--name", "cc", "busybox")
    assert "cannot attach to a stopped container, start it first" in docker("attach", "cc", rc=1).err.lower()


def test_exec_on_a_terminal(docker):
    docker("run", "-d", "--init", "--name", "cc", "busybox", "sleep", "999")
    with docker.terminal("exec", "-it", "-e", "V=w", "cc", "sh", rows=30, columns=90) as terminal:
        terminal.expect("#", 30)
        terminal.type("stty size; echo v$V\n")
        terminal.expect("30 90", 30)
        terminal.expect("vw", 30)
        terminal.resize(41, 111)
        terminal.type("while ! stty size | grep '41 111'; do sleep 0.05; done\n")
        terminal.expect("\n41 111", 30)
        terminal.type("exit 9\n")
        assert terminal.wait(30) == 9


def test_exec_reads_stdin_to_its_end(docker):
    docker("run", "-d", "--init", "--name", "cc", "busybox", "sleep", "999")
    assert docker("exec", "-i", "cc", "wc", "-c", stdin=b"x" * 2_000_000).out.strip() == "2000000"


def test_logs_flags(docker):
    docker("run", "--name", "cc", "busybox", "sh", "-c", "echo out; echo err >&2")
    done = docker("logs", "cc")
    assert (done.out, done.err) == ("out\n", "err\n")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z out\n", docker("logs", "-t", "cc").out)
    assert docker("logs", "-n", "0", "cc").out == "" and docker("logs", "--since", "1h", "cc").out == "out\n"
    assert docker("logs", "--until", "1h", "cc").out == "" and docker("logs", "-f", "--details", "cc").out.strip() == "out"


def test_cp_both_ways_and_through_pipes(docker, tmp_path):
    docker("create", "--name", "cc", "busybox")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("text")
    docker("cp", f"{tmp_path}/dir", "cc:/opt")
    docker("cp", "cc:/opt/file", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "text"
    packed = docker("cp", "cc:/opt", "-").raw
    assert b"opt/file" in packed
    docker("cp", "-", "cc:/tmp", stdin=packed)
    docker("cp", "-q", "cc:/tmp/opt/.", f"{tmp_path}/all")
    assert (tmp_path / "all/file").read_text() == "text"
    assert "Could not find the file /none" in docker("cp", "cc:/none", str(tmp_path), rc=1).err


def test_stats_templates(docker):
    docker("run", "-d", "--init", "--name", "cc", "-m", "64m", "busybox", "sleep", "999")
    shown = docker.out("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}} {{.CPUPerc}} {{.NetIO}} {{.BlockIO}}")
    assert re.fullmatch(r"cc [\d.]+\w+ / 64MiB \d+ [\d.]+% [\d.]+\w+ / [\d.]+\w+ [\d.]+\w+ / [\d.]+\w+", shown)
    row = json.loads(docker.out("stats", "--no-stream", "--no-trunc", "--format", "json", "cc"))
    assert row["Name"] == "cc" and len(row["ID"]) == 64 and row["MemPerc"].endswith("%")


def test_events_templates(docker):
    docker("run", "--rm", "--name", "cc", "--label", "mark=m", "busybox", "true")
    until = docker.out("info", "-f", "{{.SystemTime}}")
    every = docker.out("events", "--since", "5m", "--until", until, "-f", "container=cc", "--format", "{{.Type}}:{{.Action}}:{{.Actor.Attributes.name}}")
    assert every.splitlines() == [f"container:{a}:cc" for a in ("create", "attach", "start", "die", "destroy")] or "container:start:cc" in every
    died = json.loads(docker.out("events", "--since", "5m", "--until", until, "-f", "event=die", "-f", "label=mark=m", "--format", "json").splitlines()[-1])
    assert died["Action"] == "die" and died["Actor"]["Attributes"]["exitCode"] == "0" and died["scope"] == "local"
    assert re.search(r"^\S+ container die [0-9a-f]{64} \(.*name=cc.*\)$", docker.out("events", "--since", "5m", "--until", until, "-f", "event=die", "-f", "container=cc"), re.M)


def test_system_df(docker):
    docker("run", "--name", "cc", "busybox", "sh", "-c", "head -c 3000000 /dev/zero > /f")
    rows = {r["Type"]: r for r in map(json.loads, docker.out("system", "df", "--format", "json").splitlines())}
    assert (rows["Images"]["TotalCount"], rows["Containers"]["TotalCount"], rows["Containers"]["Active"]) == ("3", "1", "0")
    assert rows["Containers"]["Size"].startswith("3") and rows["Containers"]["Reclaimable"].endswith("(100%)")
    assert re.search(r"busybox .* 3(\.\d+)?MB .* cc", docker.out("system", "df", "-v"))


def test_container_prune(docker):
    docker("create", "--name", "gone", "busybox")
    docker("create", "--name", "kept", "--label", "keep", "busybox")
    docker("run", "-d", "--init", "--name", "runs", "busybox", "sleep", "999")
    shown = docker.out("container", "prune", "-f", "--filter", "label!=keep")
    assert "Deleted Containers:" in shown and "Total reclaimed space: 0B" in shown
    assert sorted(docker.out("ps", "-a", "--format", "{{.Names}}").split()) == ["kept", "runs"]


def test_inspect_many_templates(docker, tmp_path):
    docker("run", "-d", "--init", "--name", "cc", "-e", "A=b", "-l", "k=v", "-v", f"{tmp_path}:/in:ro", "-p", "127.0.0.1:18310:80", "--cpus", "0.5",
           "--restart", "on-failure:3", "--cap-add", "NET_ADMIN", "--ulimit", "nofile=100:200", "-w", "/tmp", "-u", "1000", "--entrypoint", "sleep", "busybox", "999")
    for template, wanted in {
        "{{.Path}} {{.Args}}": "sleep [999]",
        '{{index .Config.Env 0}} {{.Config.Labels.k}} {{.Config.WorkingDir}} {{.Config.User}}': "A=b v /tmp 1000",
        "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}}{{end}}": f"bind {tmp_path} /in false",
        '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}': "18310",
        "{{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}": "500000000 on-failure 3",
        "{{json .HostConfig.Ulimits}}": '[{"Name":"nofile","Hard":200,"Soft":100}]',
        "{{.State.Running}} {{.State.Paused}} {{.State.OOMKilled}} {{.State.ExitCode}} {{.RestartCount}}": "true false false 0 0",
        "{{.HostConfig.CapAdd}} {{.HostConfig.NetworkMode}} {{.Driver}} {{.Platform}}": "[CAP_NET_ADMIN] bridge overlay2 linux",
    }.items():
        assert docker.out("inspect", "-f", template, "cc") == wanted, template
    assert re.fullmatch(r"[\d.]+kB|0B", docker.out("ps", "-s", "--format", "{{.Size}}").split(" (")[0])


def test_top_diff_port_wait(docker):
    docker("run", "-d", "--init", "--name", "cc", "-p", "18311:80", "busybox", "sh", "-c", "touch /new; exec sleep 999")
    wait_for(lambda: "A /new" in docker.out("diff", "cc"), "the change is listed", 20)
    assert "sleep 999" in docker.out("top", "cc") and docker.out("top", "cc", "-o", "pid,comm").split()[:2] == ["PID", "COMMAND"]
    assert "80/tcp -> 0.0.0.0:18311" in docker.out("port", "cc")
    waiting = docker.start("wait", "cc")
    docker("kill", "-s", "KILL", "cc")
    assert waiting.communicate(timeout=30)[0] == b"137\n"


def test_pull_and_run(docker, registry):
    name = f"{registry.address}/cli/box:v1"
    docker("tag", "busybox", name)
    assert "digest: sha256:" in docker.out("push", name)
    docker("rmi", name)
    done = docker("run", "--rm", name, "echo", "pulled")
    assert done.out == "pulled\n" and f"Unable to find image '{name}' locally" in done.err
