# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-compose 1.29.2 on the default bridge: files in its old version-1 format, and later ones with network_mode
or networks of their own."""
import json
import re
import select
import shutil
import subprocess

import pytest

from harness.clients import Compose, find_docker
from harness.shell import wait_for
from harness.terminal import Terminal

TWO = """
web:
  image: busybox
  command: sh -c 'echo web is up; exec httpd -f -p 80 -h /www'
  init: true
  ports: ["80"]
  volumes: ["./www:/www:ro"]
  environment: {A: one, B: two}
  labels: {mark: web}
worker:
  image: busybox
  command: sh -c 'echo worker is up; exec sleep 999'
  init: true
  mem_limit: 64m
"""


def two(text=TWO):
    return text.replace("  init: true\n", "  stop_signal: SIGKILL\n")  # version 1 has no init


@pytest.fixture(scope="session")
def version_1():
    program = shutil.which("docker-compose")
    if not program:
        pytest.skip("Debian's docker-compose is not installed")
    shown = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False, timeout=60).stdout.strip()
    if not shown.startswith("1."):
        pytest.skip(f"docker-compose is not version 1 here but {shown or 'something else'}")


@pytest.fixture
def compose(version_1, engine, tmp_path):
    if not find_docker():
        pytest.skip("no docker client for docker-compose to run")
    tmp_path.chmod(0o755)
    made = Compose(engine.host, tmp_path, find_docker())
    yield made
    if (made.directory / "docker-compose.yml").exists():
        made("kill", rc=None)


def rows(api):
    """{name: row} of the project's containers."""
    found = api.ok("GET", '/containers/json?all=1&filters={"label":["com.docker.compose.project=proj"]}')
    return {c["Names"][0].lstrip("/"): c for c in found}


def states(api):
    return {name: row["State"] for name, row in rows(api).items()}


def logs(compose, *args):
    return compose.out("logs", "--no-color", *args)


# --- the version-1 format ---------------------------------------------------------------------------

def test_up_ps_logs_port_down(compose, api, netns):
    compose.write(two())
    (compose.directory / "www").mkdir()
    (compose.directory / "www/index.html").write_text("composed\n")
    compose("up", "-d")
    assert states(api) == {"proj_web_1": "running", "proj_worker_1": "running"}
    labels = rows(api)["proj_web_1"]["Labels"]
    assert labels["mark"] == "web" and labels["com.docker.compose.service"] == "web" and labels["com.docker.compose.container-number"] == "1"
    shown = compose.out("ps")
    assert re.search(r"proj_web_1 .* Up .*->80/tcp", shown) and re.search(r"proj_worker_1 .* Up", shown)
    assert sorted(compose.out("ps", "-q").split()) == sorted(c["Id"] for c in rows(api).values())
    wait_for(lambda: "worker_1  | worker is up" in logs(compose), "both have said so", 20)
    assert "web is up" in logs(compose, "--tail", "1", "web") and "worker" not in logs(compose, "web")
    port = compose.out("port", "web", "80").rsplit(":", 1)[1]
    wait_for(lambda: netns.fetch(f"http://127.0.0.1:{port}/", rc=None) == "composed\n", "the page is served", 20)
    assert api.ok("GET", "/containers/proj_worker_1/json")["HostConfig"]["Memory"] == 64 << 20
    before = {name: row["Id"] for name, row in rows(api).items()}
    assert "up-to-date" in compose("up", "-d").err
    compose.write(two().replace("64m", "32m"))
    assert "Recreating" in compose("up", "-d").err
    after = {name: row["Id"] for name, row in rows(api).items()}
    assert after["proj_web_1"] == before["proj_web_1"] and after["proj_worker_1"] != before["proj_worker_1"]
    compose("down")
    assert rows(api) == {}


def test_stop_start_restart_kill_rm(compose, api):
    compose.write(two())
    compose("create")
    assert set(states(api).values()) == {"created"}
    compose("start")
    assert set(states(api).values()) == {"running"}
    compose("stop", "-t", "1", "web")
    assert states(api) == {"proj_web_1": "exited", "proj_worker_1": "running"}
    started = api.ok("GET", "/containers/proj_worker_1/json")["State"]["StartedAt"]
    compose("restart", "-t", "1")
    assert set(states(api).values()) == {"running"}
    assert api.ok("GET", "/containers/proj_worker_1/json")["State"]["StartedAt"] > started
    compose("kill", "-s", "SIGKILL")
    assert set(states(api).values()) == {"exited"} and "Exit 137" in compose.out("ps")
    compose("rm", "-f")
    assert rows(api) == {}


def test_pause_top_scale(compose, api):
    compose.write(two().replace('  ports: ["80"]\n', ""))
    compose("up", "-d", "--scale", "worker=3")
    assert sorted(states(api)) == ["proj_web_1", "proj_worker_1", "proj_worker_2", "proj_worker_3"]
    compose("pause", "worker")
    assert [state for _, state in sorted(states(api).items())] == ["running", "paused", "paused", "paused"]
    compose("unpause", "worker")
    assert set(states(api).values()) == {"running"}
    shown = compose.out("top", "worker")
    assert "proj_worker_2" in shown and "sleep 999" in shown and "PID" in shown
    compose("up", "-d", "--scale", "worker=1")
    assert sorted(states(api)) == ["proj_web_1", "proj_worker_1"]


def test_config(compose):
    compose.write(two())
    assert compose.out("config", "--services").split() == ["web", "worker"]
    assert "image: busybox" in compose.out("config")
    compose("config", "-q")
    compose.write("web:\n  image: busybox\n  nonsense: 1\n")
    assert "Unsupported config option" in compose("config", rc=1).err


def test_exec_by_the_docker_client(compose):
    compose.write(two()).directory.joinpath("www").mkdir()
    compose("up", "-d", "web")
    assert compose.out("exec", "-T", "web", "sh", "-c", "echo $A $B") == "one two"
    assert compose.out("exec", "-T", "-u", "1000", "-w", "/tmp", "-e", "C=3", "web", "sh", "-c", "id -u; pwd; echo $C").split() == ["1000", "/tmp", "3"]
    assert compose("exec", "-T", "web", "sh", "-c", "exit 7", rc=None).rc == 7
    assert compose("exec", "-T", "web", "cat", stdin="piped\n").out == "piped\n"


def test_exec_by_itself(compose):
    """Without Docker's client: hijacked streams by docker-py and dockerpty."""
    compose.env["COMPOSE_INTERACTIVE_NO_CLI"] = "1"
    compose.write(two())
    compose("up", "-d", "worker")
    assert compose.out("exec", "-T", "worker", "echo", "direct") == "direct"
    assert compose("exec", "-T", "worker", "sh", "-c", "exit 4", rc=None).rc == 4
    with Terminal(compose.argv("exec", "worker", "sh"), {**compose.env, "TERM": "xterm"}, rows=31, columns=91) as terminal:
        terminal.expect("#", 30)
        terminal.type("stty size\n")
        terminal.expect("31 91", 30)
        terminal.type("exit 5\n")
        assert terminal.wait(20) == 5


def prompt(terminal):
    """Presses enter until the shell asks: what was shown or typed before the client attached is lost."""
    terminal.expect("... done", 60)
    for _ in range(60):
        terminal.type("\n")
        try:
            return terminal.expect("#", 1)
        except AssertionError:
            assert terminal.process.poll() is None
    raise AssertionError(f"no prompt is shown: {terminal.shown!r}")


@pytest.mark.parametrize("no_client", ["", "1"])
def test_run(compose, api, no_client):
    compose.env["COMPOSE_INTERACTIVE_NO_CLI"] = no_client
    compose.write(two())
    # Without Docker's client it attaches when the container runs already: what comes before is lost.
    script = "for i in $(seq 15); do echo tick; sleep 0.2; done" if no_client else "echo tick"
    assert "tick" in compose("run", "--rm", "-T", "worker", "sh", "-c", script).out
    assert compose("run", "--rm", "-T", "-e", "X=y", "--no-deps", "worker", "sh", "-c", "echo $X; exit 3", rc=None).rc == 3
    assert rows(api) == {}
    ident = compose.out("run", "-d", "--name", "one-off", "worker")
    assert ident.splitlines()[-1] == "one-off" and rows(api)["one-off"]["Labels"]["com.docker.compose.oneoff"] == "True"
    with Terminal(compose.argv("run", "--rm", "worker", "sh"), {**compose.env, "TERM": "xterm"}) as terminal:
        prompt(terminal)
        terminal.type("echo a$((40+2))\n")
        terminal.expect("a42", 30)
        terminal.type("exit 6\n")
        assert terminal.wait(20) == 6


def test_links(compose, api):
    compose.write("""
db:
  image: busybox
  command: sh -c 'mkdir /srv; echo from db > /srv/index.html; exec httpd -f -p 8000 -h /srv'
  expose: ["8000"]
  environment: {SECRET: hidden}
  stop_signal: SIGKILL
web:
  image: busybox
  command: sleep 999
  links: ["db:database"]
  stop_signal: SIGKILL
""")
    compose("up", "-d")
    assert set(states(api).values()) == {"running"}
    for name in ("database", "db_1", "proj_db_1"):
        done = wait_for(lambda n=name: compose("exec", "-T", "web", "wget", "-qO-", f"http://{n}:8000/", rc=None).out, f"{name} answers", 20)
        assert done == "from db\n"
    compose("restart", "-t", "0", "db")
    wait_for(lambda: compose("exec", "-T", "web", "wget", "-qO-", "http://database:8000/", rc=None).out == "from db\n", "it answers after a restart", 20)


def test_volumes_from(compose):
    compose.write("""
data:
  image: busybox
  command: sh -c 'echo shared > /data/f'
  volumes: ["/data"]
reader:
  image: busybox
  command: sh -c 'while ! test -e /data/f; do sleep 0.05; done; cat /data/f'
  volumes_from: ["data:ro"]
""")
    compose("up", "-d")
    wait_for(lambda: "shared" in logs(compose, "reader"), "the volume is shared", 20)
    compose("rm", "-f", "-s", "-v")


def test_restart_policy(compose, api):
    compose.write("web:\n  image: busybox\n  command: sh -c 'exit 1'\n  restart: on-failure:2\n")
    compose("up", "-d")

    def counted():
        shown = api.ok("GET", "/containers/proj_web_1/json")
        return shown["RestartCount"] == 2 and shown["State"]["Status"] == "exited"
    wait_for(counted, "it was restarted twice", 20)
    assert api.ok("GET", "/containers/proj_web_1/json")["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}


def test_up_in_the_foreground(compose):
    compose.write("web:\n  image: busybox\n  command: sh -c 'echo first; echo second; exit 9'\n")
    done = compose("up", "--no-color", "--abort-on-container-exit", "--exit-code-from", "web", rc=9)
    assert re.search(r"web_1 +\| first\nweb_1 +\| second\n", done.out) and "exited with code 9" in done.out


def test_events(compose, api):
    compose.write(two())
    compose("up", "-d", "worker")
    watcher = subprocess.Popen(compose.argv("events", "--json"), env=compose.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        def told():
            """Makes events until the watcher, which starts slowly, shows one."""
            api.ok("POST", "/containers/proj_worker_1/pause")
            api.ok("POST", "/containers/proj_worker_1/unpause")
            return select.select([watcher.stdout], [], [], 0.2)[0]
        wait_for(told, "the watcher shows an event", 60)
        api.ok("POST", "/containers/proj_worker_1/kill")
        seen = []
        while "die" not in seen:
            event = json.loads(watcher.stdout.readline())
            assert event["service"] == "worker" and event["type"] == "container"
            seen.append(event["action"])
        assert "unpause" in seen and seen[-2:] == ["kill", "die"]
    finally:
        watcher.kill()
        watcher.communicate()


def test_images_and_pull(compose, registry, engine):
    name = f"{registry.address}/composed/box:v1"
    engine.api.ok("POST", f"/images/busybox/tag?repo={registry.address}/composed/box&tag=v1")
    compose.write(f"web:\n  image: {name}\n  command: sleep 999\n  stop_signal: SIGKILL\n")
    compose("up", "-d")
    assert re.search(rf"proj_web_1 +{registry.address}/composed/box +v1 +[0-9a-f]{{12}}", compose.out("images"))
    compose("rm", "-f", "-s")
    assert engine.api.post(f"/images/{name}/push", headers={"X-Registry-Auth": "e30="}).status == 200
    engine.api.ok("DELETE", f"/images/{name}")
    compose("pull")
    compose("up", "-d")
    assert "Up" in compose.out("ps")


# --- later formats ----------------------------------------------------------------------------------

def test_health_and_depends_on(compose, api):
    compose.write("""
version: "2.4"
services:
  db:
    image: busybox
    command: sh -c 'echo ready > /ready; exec sleep 999'
    network_mode: bridge
    init: true
    healthcheck: {test: ["CMD", "test", "-e", "/ready"], interval: 0.2s, timeout: 5s, retries: 20}
  web:
    image: busybox
    command: sleep 999
    network_mode: none
    init: true
    depends_on: {db: {condition: service_healthy}}
""")
    compose("up", "-d")
    shown = {name: api.ok("GET", f"/containers/{name}/json") for name in rows(api)}
    assert shown["proj_db_1"]["State"]["Health"]["Status"] == "healthy"
    assert shown["proj_web_1"]["State"]["StartedAt"] > shown["proj_db_1"]["State"]["StartedAt"]
    assert "Up (healthy)" in compose.out("ps")
    compose("down", "-t", "20")
    assert rows(api) == {}


def test_network_modes_and_options(compose, api):
    compose.write("""
version: "2.4"
x-common: &common {image: busybox, init: true, stop_grace_period: 20s}
services:
  alone:
    <<: *common
    command: sleep 999
    network_mode: none
  hosted:
    <<: *common
    command: sleep 999
    network_mode: host
  joined:
    <<: *common
    command: sleep 999
    network_mode: "service:alone"
    pid: "service:alone"
    tmpfs: ["/t:size=1m"]
    cap_drop: [ALL]
    read_only: true
    cpus: 0.5
    pids_limit: 40
    shm_size: 8m
    sysctls: {net.ipv4.ip_forward: 1}
    ulimits: {nofile: {soft: 200, hard: 300}}
    working_dir: /tmp
    user: "1000"
    logging: {driver: json-file, options: {max-size: 1m}}
""".replace('    pid: "service:alone"\n', ""))
    compose.write((compose.directory / "docker-compose.yml").read_text().replace("    sysctls: {net.ipv4.ip_forward: 1}\n", ""))
    compose("up", "-d")
    assert set(states(api).values()) == {"running"}
    host = api.ok("GET", "/containers/proj_joined_1/json")["HostConfig"]
    assert host["NetworkMode"].startswith("container:") and host["NanoCpus"] == 500_000_000 and host["PidsLimit"] == 40
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}} and host["ReadonlyRootfs"] is True
    shown = compose.out("exec", "-T", "joined", "sh", "-c", "id -u; pwd; ulimit -n; ls /sys/class/net; df -k /t | tail -1").split()
    assert shown[:4] == ["1000", "/tmp", "200", "lo"] and "1024" in shown
    assert "ctest0" in compose.out("exec", "-T", "hosted", "ls", "/sys/class/net")


NETWORKS = """
version: "3.8"
services:
  db: {image: busybox, command: sleep 999, init: true}
  web: {image: busybox, command: sleep 999, init: true, depends_on: [db]}
"""


def test_project_with_its_own_network(compose, api):
    compose.write(NETWORKS)
    compose("up", "-d")
    assert compose("exec", "-T", "web", "ping", "-c", "1", "-W", "5", "db").rc == 0
    compose("down", "-t", "20")
    assert rows(api) == {}


def test_network_of_both_families(compose, api):
    compose.write("""
version: "2.4"
services:
  web:
    image: busybox
    command: sleep 999
    stop_signal: SIGKILL
    networks:
      own: {ipv4_address: 10.93.0.7, ipv6_address: "fd00:c0::7", aliases: [front]}
  asks:
    image: busybox
    command: sleep 999
    stop_signal: SIGKILL
    networks: [own]
networks:
  own:
    enable_ipv6: true
    ipam: {config: [{subnet: 10.93.0.0/24, gateway: 10.93.0.1}, {subnet: "fd00:c0::/64", gateway: "fd00:c0::1"}]}
""")
    compose("up", "-d")
    network = api.ok("GET", "/networks/proj_own")
    assert network["EnableIPv6"] is True and [c["Subnet"] for c in network["IPAM"]["Config"]] == ["10.93.0.0/24", "fd00:c0::/64"]
    mine = api.ok("GET", "/containers/proj_web_1/json")["NetworkSettings"]["Networks"]["proj_own"]
    assert mine["IPAddress"] == "10.93.0.7" and mine["GlobalIPv6Address"] == "fd00:c0::7"
    for name in ("web", "front"):
        assert "1 packets received" in compose.out("exec", "-T", "asks", "ping", "-6", "-c1", "-W3", name)
    compose("down")
    assert api.get("/networks/proj_own").status == 404


def test_project_with_a_named_volume(compose, api):
    if api.post("/volumes/create", {"Name": "probe"}).status == 501:
        pytest.skip("volumes by name are not there yet: POST /volumes/create")
    api.delete("/volumes/probe")
    compose.write("""
version: "2.4"
volumes: {kept: {}}
services:
  writer: {image: busybox, network_mode: none, command: "sh -c 'echo v > /v/f'", volumes: ["kept:/v"]}
""")
    compose("up", "-d")
    wait_for(lambda: states(api) == {"proj_writer_1": "exited"}, "it has written", 20)
    assert api.ok("GET", "/volumes/proj_kept")["Labels"]["com.docker.compose.volume"] == "kept"
    compose("down", "-v")
    assert api.get("/volumes/proj_kept").status == 404
