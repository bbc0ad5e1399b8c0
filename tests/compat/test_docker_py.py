# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-docker (docker-py 5.0.3): running and steering containers, what it reads of them, its error classes."""
import os
import time

import pytest

from harness import clients
from harness.shell import wait_for

docker = clients.docker_py()


@pytest.fixture
def client(engine):
    made = docker.DockerClient(base_url=engine.host, version="auto", timeout=30)
    yield made
    made.close()


def sleeper(client, **options):
    """A container that runs until told otherwise, and ends at once when asked to."""
    return client.containers.run("busybox", ["sleep", "999"], detach=True, init=True, **options)


def status(container):
    container.reload()
    return container.status


# --- run --------------------------------------------------------------------------------------------

def test_default_version_of_the_sdk(engine):
    old = docker.DockerClient(base_url=engine.host)
    assert old.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
    old.close()


def test_run_gives_the_output(client):
    assert client.containers.run("busybox", ["echo", "one two"]) == b"one two\n"
    left, = client.containers.list(all=True)
    assert left.status == "exited" and left.attrs["Config"]["Cmd"] == ["echo", "one two"]


def test_run_with_remove(client):
    assert client.containers.run("busybox", "echo gone", remove=True) == b"gone\n"
    wait_for(lambda: not client.containers.list(all=True), "the container is removed")


def test_run_of_both_streams(client):
    script = ["sh", "-c", "echo out; echo err >&2"]
    assert client.containers.run("busybox", script, remove=True) == b"out\n"
    assert client.containers.run("busybox", script, remove=True, stdout=False, stderr=True) == b"err\n"
    both = client.containers.run("busybox", script, remove=True, stderr=True)
    assert sorted(both.splitlines()) == [b"err", b"out"]


def test_run_streams_line_by_line(client):
    pieces = client.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; done"], stream=True, remove=True)
    assert b"".join(pieces) == b"1\n2\n3\n"


def test_run_that_fails_is_a_container_error(client):
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert caught.value.exit_status == 3 and caught.value.stderr == b"bad\n"


def test_run_detached_with_options(client, tmp_path):
    tmp_path.chmod(0o755)
    container = client.containers.run(
        "busybox", ["sh", "-c", "id -u; pwd; hostname; echo $A $B; cat /proc/sys/net/ipv4/ip_forward; ulimit -n; touch /x 2>&1; ls /bound; grep added /etc/hosts"],
        detach=True, user="1000:1000", working_dir="/tmp", hostname="hh", environment={"A": "1", "B": "2"}, name="named",
        sysctls={"net.ipv4.ip_forward": "0"}, ulimits=[docker.types.Ulimit(name="nofile", soft=300, hard=400)], read_only=True,
        volumes={str(tmp_path): {"bind": "/bound", "mode": "ro"}}, extra_hosts={"added": "10.9.8.7"}, labels={"k": "v"}, mem_limit="64m",
        pids_limit=50, cap_drop=["ALL"], tmpfs={"/run": "size=1m"}, shm_size="8m", dns=["192.0.2.1"], oom_score_adj=100)
    assert container.wait()["StatusCode"] in (0, 1)
    lines = container.logs().decode().splitlines()
    assert lines[:6] == ["1000", "/tmp", "hh", "1 2", "0", "300"], lines
    assert "Read-only file system" in lines[6] and lines[-1].split() == ["10.9.8.7", "added"]
    container.reload()
    host = container.attrs["HostConfig"]
    assert (container.name, container.labels, host["Memory"], host["PidsLimit"]) == ("named", {"k": "v"}, 64 << 20, 50)
    assert host["Binds"] == [f"{tmp_path}:/bound:ro"] and host["ShmSize"] == 8 << 20 and host["Dns"] == ["192.0.2.1"]
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 300, "Hard": 400}] and host["OomScoreAdj"] == 100


def test_run_with_mount_objects(client, tmp_path):
    (tmp_path / "f").write_text("here")
    mounts = [docker.types.Mount("/m", str(tmp_path), type="bind", read_only=True), docker.types.Mount("/t", None, type="tmpfs", tmpfs_size=1 << 20)]
    assert client.containers.run("busybox", ["sh", "-c", "cat /m/f; touch /m/g 2>/dev/null || echo ro; df -k /t | tail -1"], mounts=mounts, remove=True).split()[:2] == [b"herero", b"tmpfs"]


@pytest.mark.parametrize("mode", ["none", "host", "bridge"])
def test_run_network_modes(client, mode):
    out = client.containers.run("busybox", ["ls", "/sys/class/net"], network_mode=mode, remove=True).split()
    assert b"lo" in out and (b"eth0" in out) == (mode == "bridge") and (b"ctest0" in out) == (mode == "host")


def test_run_published_port(client, netns):
    container = client.containers.run("nginx", detach=True, ports={"80/tcp": ("127.0.0.1", None)})
    container.reload()
    assert set(container.ports) == {"80/tcp"}
    binding, = container.ports["80/tcp"]
    assert binding["HostIp"] == "127.0.0.1"
    wait_for(lambda: "it works" in netns.fetch(f"http://127.0.0.1:{binding['HostPort']}/", rc=None), "the page is there")


def test_run_in_the_network_of_another(client):
    first = sleeper(client)
    ours = client.containers.run("busybox", ["sh", "-c", "hostname; hostname -i"], network_mode=f"container:{first.id}", remove=True)
    first.reload()
    assert ours.decode().split() == [first.id[:12], first.attrs["NetworkSettings"]["IPAddress"]]


# --- the life of a container ------------------------------------------------------------------------

def test_create_start_stop(client):
    container = client.containers.create("busybox", ["sleep", "999"], init=True)
    assert container.status == "created"
    container.start()
    assert status(container) == "running"
    container.stop(timeout=20)
    assert status(container) == "exited" and container.attrs["State"]["ExitCode"] == 143
    container.start()
    container.restart(timeout=20)
    assert status(container) == "running"
    container.remove(force=True)
    with pytest.raises(docker.errors.NotFound):
        container.reload()


def test_stop_escalates(client):
    container = client.containers.run("busybox", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], detach=True)
    wait_for(lambda: b"up" in container.logs(), "the trap is set")
    container.stop(timeout=0)
    assert status(container) == "exited" and container.attrs["State"]["ExitCode"] == 137


def test_kill_with_signals(client):
    container = client.containers.run("busybox", ["sh", "-c", "trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done"], detach=True)
    wait_for(lambda: b"up" in container.logs(), "the trap is set")
    container.kill("SIGUSR1")
    wait_for(lambda: b"usr1" in container.logs(), "the signal arrives")
    container.kill(signal=9)
    assert container.wait()["StatusCode"] == 137
    with pytest.raises(docker.errors.APIError) as caught:
        container.kill()
    assert caught.value.status_code == 409 and "is not running" in caught.value.explanation


def test_pause(client):
    container = sleeper(client)
    container.pause()
    assert status(container) == "paused"
    with pytest.raises(docker.errors.APIError) as caught:
        container.exec_run("true")
    assert caught.value.status_code == 409
    container.unpause()
    assert status(container) == "running" and container.exec_run("true").exit_code == 0


def test_rename(client):
    container = sleeper(client, name="aaa")
    container.rename("bbb")
    assert client.containers.get("bbb").id == container.id
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("aaa")


def test_wait_conditions(client):
    container = client.containers.create("busybox", ["sh", "-c", "exit 5"])
    container.start()
    assert container.wait()["StatusCode"] == 5
    assert container.wait(condition="not-running", timeout=10)["StatusCode"] == 5
    running = sleeper(client)
    with pytest.raises(docker.api.client.requests.exceptions.RequestException):  # urllib3's read timeout
        running.wait(timeout=0.3)


def test_update(client):
    container = sleeper(client, mem_limit="64m")
    assert "Warnings" in container.update(mem_limit="96m", memswap_limit="192m", cpu_shares=512, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
    container.reload()
    host = container.attrs["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["CpuShares"]) == (96 << 20, 192 << 20, 512)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}


def test_restart_policy_brings_it_back(client):
    container = client.containers.run("busybox", ["sh", "-c", "exit 1"], detach=True, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
    wait_for(lambda: status(container) == "exited" and container.attrs["RestartCount"] == 2, "it was started twice more", 20)


def test_health(client):
    check = {"test": ["CMD-SHELL", "test -e /ok"], "interval": 100_000_000, "timeout": 5_000_000_000, "retries": 2}
    container = sleeper(client, healthcheck=check)

    def health():
        container.reload()
        return container.attrs["State"]["Health"]["Status"]
    wait_for(lambda: health() == "unhealthy", "the probe fails", 20)
    assert container.exec_run("touch /ok").exit_code == 0
    wait_for(lambda: health() == "healthy", "the probe succeeds", 20)
    assert client.containers.list(filters={"health": "healthy"}) == [container]
    assert container.attrs["State"]["Health"]["Log"][-1]["ExitCode"] == 0


# --- reading ----------------------------------------------------------------------------------------

def test_top(client):
    container = sleeper(client)
    wait_for(lambda: any("sleep 999" in " ".join(p) for p in container.top()["Processes"]), "the program runs below init")
    assert "PID" in container.top()["Titles"]
    assert container.top(ps_args="-o pid,comm")["Titles"] == ["PID", "COMMAND"]


def test_stats(client):
    container = sleeper(client, mem_limit="64m")
    once = container.stats(stream=False)
    assert once["memory_stats"]["limit"] == 64 << 20 and once["pids_stats"]["current"] >= 1 and once["name"] == "/" + container.name
    assert set(once["networks"]) == {"eth0"} and once["cpu_stats"]["system_cpu_usage"] > 0
    stream = container.stats(decode=True)
    first, second = next(stream), next(stream)
    assert second["preread"] == first["read"] and second["cpu_stats"]["cpu_usage"]["total_usage"] >= first["cpu_stats"]["cpu_usage"]["total_usage"]
    stream.close()


def test_diff(client):
    container = client.containers.run("busybox", ["sh", "-c", "echo x > /added; echo y >> /etc/motd; rm /etc/nsswitch.conf; sleep 999"], detach=True, init=True)
    wanted = [{"Path": "/etc", "Kind": 0}, {"Path": "/etc/motd", "Kind": 0}, {"Path": "/etc/nsswitch.conf", "Kind": 2}, {"Path": "/added", "Kind": 1}]
    wait_for(lambda: all(w in (container.diff() or []) for w in wanted), "all changes are listed")


def test_list_filters(client):
    running = sleeper(client, name="run-one", labels={"who": "me", "only": ""})
    ended = client.containers.run("busybox", ["sh", "-c", "exit 4"], detach=True, name="end-one", labels={"who": "you"})
    ended.wait()
    later = client.containers.create("busybox", name="new-one")

    def names(**options):
        return sorted(c.name for c in client.containers.list(**options))
    assert names() == ["run-one"]
    assert names(all=True) == ["end-one", "new-one", "run-one"]
    assert names(filters={"status": "created"}) == ["new-one"]
    assert names(all=True, filters={"exited": 4}) == ["end-one"]
    assert names(all=True, filters={"label": "who=you"}) == ["end-one"]
    assert names(all=True, filters={"label": ["who=me", "only"]}) == ["run-one"]
    assert names(all=True, filters={"name": "one"}) == ["end-one", "new-one", "run-one"]
    assert names(all=True, filters={"id": running.id[:12]}) == ["run-one"]
    assert names(all=True, filters={"ancestor": "busybox"}) == ["end-one", "new-one", "run-one"]
    assert names(all=True, limit=1) == names(limit=1) == ["new-one"]
    assert names(all=True, filters={"since": "end-one"}) == names(all=True, filters={"since": ended.id}) == ["new-one"]
    assert names(filters={"before": "end-one"}) == ["run-one"]
    assert client.containers.list(sparse=True)[0].attrs["Labels"] == {"who": "me", "only": ""}
    assert client.api.containers(all=True, size=True, filters={"name": later.name})[0]["SizeRootFs"] > 0
    assert client.api.containers(quiet=True) == [{"Id": running.id}]


def test_prune(client):
    kept = client.containers.create("busybox", labels={"keep": "1"})
    gone = client.containers.create("busybox")
    running = sleeper(client)
    answer = client.containers.prune(filters={"label!": ["keep=1"]})
    assert answer["ContainersDeleted"] == [gone.id] and answer["SpaceReclaimed"] >= 0
    assert {c.id for c in client.containers.list(all=True)} == {kept.id, running.id}


def test_port_of_a_container(client):
    container = sleeper(client, ports={"80": 18410, "53/udp": None})
    assert client.api.port(container.id, 80) == [
        {"HostIp": "0.0.0.0", "HostPort": "18410"},
        {"HostIp": "::", "HostPort": "18410"},
    ]
    container.reload()
    assert sorted(container.ports) == ["53/udp", "80/tcp"]


def test_commands_of_the_inspect(client):
    container = sleeper(client, cpuset_cpus="0", nano_cpus=500_000_000, cap_add=["NET_ADMIN"], security_opt=["no-new-privileges"], stop_signal="SIGINT")
    shown = client.api.inspect_container(container.id)
    host = shown["HostConfig"]
    assert (host["CpusetCpus"], host["NanoCpus"], host["SecurityOpt"]) == ("0", 500_000_000, ["no-new-privileges"])
    assert [c.removeprefix("CAP_") for c in host["CapAdd"]] == ["NET_ADMIN"] and shown["Config"]["StopSignal"] == "SIGINT"
    assert shown["State"]["Running"] is True and os.path.exists(f"/proc/{shown['State']['Pid']}") and shown["Path"] == "sleep" and shown["Args"] == ["999"]


# --- errors -----------------------------------------------------------------------------------------

def test_error_not_found(client):
    with pytest.raises(docker.errors.NotFound) as caught:
        client.containers.get("nothing")
    assert caught.value.status_code == 404 and caught.value.explanation == "No such container: nothing"
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nothing:here")
    with pytest.raises(docker.errors.ImageNotFound):
        client.containers.create("nothing:here")


def test_error_conflict(client):
    sleeper(client, name="taken")
    with pytest.raises(docker.errors.APIError) as caught:
        client.containers.create("busybox", name="taken")
    assert caught.value.status_code == 409 and 'The container name "/taken" is already in use' in caught.value.explanation
    assert caught.value.is_client_error() and not caught.value.is_server_error()


def test_error_remove_of_a_running_container(client):
    with pytest.raises(docker.errors.APIError) as caught:
        sleeper(client).remove()
    assert caught.value.status_code == 409 and "container is running: stop the container before removing or force remove" in caught.value.explanation


def test_error_command_not_found(client):
    with pytest.raises(docker.errors.APIError) as caught:
        client.containers.run("busybox", "/no/such/program")
    assert caught.value.status_code in (400, 404) and "no such file or directory" in caught.value.explanation


def test_error_bad_values(client):
    for bad in ({"mem_limit": 1000}, {"network_mode": "container:none"}, {"cap_add": ["NOT_A_CAP"]}):
        with pytest.raises(docker.errors.APIError) as caught:
            client.containers.run("busybox", "true", **bad)
        assert caught.value.status_code in (400, 404, 409, 500) and caught.value.explanation, bad


def test_times_are_readable(client):
    container = sleeper(client)
    container.reload()
    started = container.attrs["State"]["StartedAt"]
    assert abs(time.time() - time.mktime(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 600
