# SPDX-License-Identifier: Apache-2.0
"""Networks under stress: many of them, connects and disconnects under traffic, several clients at once, rules that
somebody flushes, engines that die. CAISSON_NETWORKS: how many networks (300 is the goal's number)."""
import os
import threading
import time

from harness import leaks
from harness.shell import run, wait_for
from fault.test_random_kills import wait_for_nothing

import pytest

pytestmark = pytest.mark.no_leak_check
NETWORKS = int(os.environ.get("CAISSON_NETWORKS") or 40)
PAGE = "mkdir /w; echo page > /w/index.html; exec httpd -f -p 80 -h /w"


def create(api, command, network, **host):
    body = {"Image": "busybox", "Cmd": command, "HostConfig": {"NetworkMode": network, **host}}
    return api.ok("POST", "/containers/create", body)["Id"]


def start(api, command, network, **host):
    ident = create(api, command, network, **host)
    api.ok("POST", f"/containers/{ident}/start")
    return ident


def make_network(api, name, subnet=None):
    body = {"Name": name}
    if subnet:
        body["IPAM"] = {"Config": [{"Subnet": subnet}]}
    return api.ok("POST", "/networks/create", body)["Id"]


def addresses(api, ident):
    return {n["IPAddress"] for n in api.ok("GET", f"/containers/{ident}/json")["NetworkSettings"]["Networks"].values()}


def in_parallel(count, work):
    problems = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # told by the test's own thread
            problems.append(error)
    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def prepared(own_engine):
    engine = own_engine()
    network = make_network(engine.api, "first")
    ident = start(engine.api, ["sleep", "99"], "first")
    engine.api.ok("DELETE", f"/containers/{ident}?force=1")
    engine.api.ok("DELETE", f"/networks/{network}")
    engine.run_once()
    return engine


def nothing_left(engine, before):
    left = wait_for_nothing(engine, before)
    assert not left, "left behind:\n  " + "\n  ".join(left) + "\n" + engine.log()[-2000:]


def test_many_networks_come_and_go(own_engine):
    engine = prepared(own_engine)
    before = leaks.Snapshot(engine)
    api = engine.api

    def work(number):
        for i in range(number, NETWORKS, 4):
            # 172.16.0.0/12 has room for 15 chosen ones and 192.168.0.0/16 for 16.
            network = make_network(api, f"n{i}", f"10.{100 + i // 250}.{i % 250}.0/24")
            pair = [start(api, ["sleep", "999"], f"n{i}") for _ in range(2)]
            assert addresses(api, pair[0]) != addresses(api, pair[1])
            for ident in pair:
                api.ok("DELETE", f"/containers/{ident}?force=1")
            api.ok("DELETE", f"/networks/{network}")
    in_parallel(4, work)
    nothing_left(engine, before)


def test_no_address_twice_under_parallel_clients(own_engine):
    engine = prepared(own_engine)
    api = engine.api
    before = leaks.Snapshot(engine)
    make_network(api, "tight", "10.110.0.0/26")
    seen, lock = {}, threading.Lock()

    def work(number):
        for _ in range(6):
            ident = start(api, ["sleep", "999"], "tight")
            mine = addresses(api, ident)
            with lock:
                assert not any(mine & other for other in seen.values()), "an address was given twice"
                seen[ident] = mine
            if number % 2:
                with lock:
                    del seen[ident]
                api.ok("DELETE", f"/containers/{ident}?force=1")
    in_parallel(8, work)
    for ident in seen:
        api.ok("DELETE", f"/containers/{ident}?force=1")
    api.ok("DELETE", "/networks/tight")
    nothing_left(engine, before)


def test_connects_and_disconnects_under_traffic(own_engine):
    engine = prepared(own_engine)
    api = engine.api
    before = leaks.Snapshot(engine)
    for name, subnet in (("base", "10.111.0.0/24"), ("side", "10.112.0.0/24")):
        make_network(api, name, subnet)
    web = start(api, ["sh", "-c", PAGE], "base", PortBindings={"80/tcp": [{"HostPort": "18501"}]})
    asks = start(api, ["sleep", "999"], "side")
    wait_for(lambda: engine.netns.fetch("http://127.0.0.1:18501/", rc=None) == "page\n", "the page")
    failures, done = [], threading.Event()

    def traffic():
        while not done.is_set():
            if engine.netns.fetch("http://127.0.0.1:18501/", rc=None) != "page\n":
                failures.append(time.monotonic())
    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        for _ in range(100):
            api.ok("POST", "/networks/side/connect", {"Container": web, "EndpointConfig": {"Aliases": ["web"]}})
            api.ok("POST", "/networks/side/disconnect", {"Container": web})
    finally:
        done.set()
        thread.join()
    assert not failures, f"{len(failures)} requests by the other network were lost"
    for ident in (web, asks):
        api.ok("DELETE", f"/containers/{ident}?force=1")
    for name in ("base", "side"):
        api.ok("DELETE", f"/networks/{name}")
    nothing_left(engine, before)


def test_rules_that_are_flushed_come_back(own_engine):
    engine = prepared(own_engine)
    api = engine.api
    make_network(api, "own", "10.113.0.0/24")
    start(api, ["sh", "-c", PAGE], "own", PortBindings={"80/tcp": [{"HostPort": "18502"}]})
    start(api, ["sh", "-c", PAGE], "bridge", PortBindings={"80/tcp": [{"HostPort": "18503"}]})
    for port in (18502, 18503):
        wait_for(lambda p=port: engine.netns.fetch(f"http://127.0.0.1:{p}/", rc=None) == "page\n", "the page")
    for _ in range(5):
        run(engine.netns.enter(["nft", "flush", "ruleset"]))
        flushed = time.monotonic()
        for port in (18502, 18503):
            wait_for(lambda p=port: engine.netns.fetch(f"http://127.0.0.1:{p}/", rc=None) == "page\n", "the page is there again", step=0.001)
        print(f"back after {(time.monotonic() - flushed) * 1000:.1f} ms, two fetches included")
    engine.remove_containers()
    api.ok("DELETE", "/networks/own")


def test_networks_after_a_crash(own_engine):
    engine = prepared(own_engine)
    api = engine.api
    network = make_network(api, "own", "10.114.0.0/24")
    one, two = (start(api, ["sleep", "999"], "own", PortBindings={"80/tcp": [{"HostPort": str(port)}]}) for port in (18504, 18505))
    name = api.ok("GET", f"/containers/{one}/json")["Name"][1:]
    held = [addresses(api, ident) for ident in (one, two)]

    def resolves():
        made = api.ok("POST", f"/containers/{two}/exec", {"Cmd": ["ping", "-c1", "-W3", name], "AttachStdout": True})["Id"]
        api.ok("POST", f"/exec/{made}/start", {"Detach": False})
        return api.ok("GET", f"/exec/{made}/json")["ExitCode"] == 0
    assert resolves()
    engine.kill9()
    engine.start()
    assert [addresses(api, ident) for ident in (one, two)] == held and resolves()
    assert api.ok("GET", "/networks/own")["Id"] == network
    assert set(api.ok("GET", "/networks/own")["Containers"]) == {one, two}
    third = start(api, ["sleep", "999"], "own")
    assert not addresses(api, third) & (held[0] | held[1])
    # Names, too, when their program died with it.
    engine.kill9()
    for pid, line in engine.processes().items():
        if "caisson-dns" in line:
            os.kill(pid, 9)
    engine.start()
    assert resolves()
    # And when it dies alone: the next change finds it out.
    for pid, line in engine.processes().items():
        if "caisson-dns" in line:
            os.kill(pid, 9)
    wait_for(resolves, "names are answered again")
    engine.remove_containers()
    api.ok("DELETE", "/networks/own")


def test_cleanup_of_the_kernel(own_engine):
    engine = prepared(own_engine)
    api = engine.api
    ident = make_network(api, "own", "10.115.0.0/24")
    start(api, ["sleep", "1"], "own", PortBindings={"80/tcp": [{"HostPort": "18506"}]})
    argv = [*engine.argv, "--cleanup-network"]
    refused = run(argv, rc=1)
    assert "another engine uses" in refused.err
    assert {engine.bridge, f"br-{ident[:12]}"} <= set(engine.netns.links())
    engine.remove_containers()
    engine.stop()
    run(argv)
    assert not {engine.bridge, f"br-{ident[:12]}"} & set(engine.netns.links())
    assert not any(engine.own_name in rule for rule in engine.netns.rules())
    run(argv)  # nothing there is fine
    engine.start()
    second = start(api, ["sleep", "99"], "own")
    assert addresses(api, second)
    engine.remove_containers()
    api.ok("DELETE", "/networks/own")


BRIDGE_PORTS = 1023  # of one bridge: BR_MAX_PORTS of the kernel's br_private.h, less the number 0


def fill_bridge(engine, bridge, count):
    """Makes `count` ports of something else, ends of pairs that are down."""
    lines = []
    for i in range((count + 1) // 2):
        lines.append(f"link add name fill{i}a group 77 type veth peer name fill{i}b group 77")
        lines += [f"link set fill{i}{side} master {bridge}" for side in ("a", "b")[:min(2, count - 2 * i)]]
    run(engine.netns.enter(["ip", "-batch", "-"]), stdin="\n".join(lines) + "\n", timeout=120)


def test_a_bridge_that_is_full(own_engine):
    """With CAISSON_NETWORKS=300 by as many containers as a bridge takes, else by two and other ports."""
    engine = prepared(own_engine)
    api = engine.api
    before = leaks.Snapshot(engine)
    bridge = "br-" + make_network(api, "full", "10.116.0.0/16")[:12]
    room = BRIDGE_PORTS if NETWORKS >= 300 else 2
    try:
        fill_bridge(engine, bridge, BRIDGE_PORTS - room)
        there = [start(api, ["sleep", "9999"], "full") for _ in range(room)]
        links, rules = engine.netns.links(), engine.netns.rules()
        late = create(api, ["sleep", "9999"], "full", PortBindings={"80/tcp": [{"HostPort": "18507"}]})
        for _ in range(3):
            failed = api.post(f"/containers/{late}/start")
            assert failed.status >= 400 and f"bridge '{bridge}' is full: it has {BRIDGE_PORTS} ports, the most that the kernel allows" in failed.message, failed
        wait_for(lambda: engine.netns.links() == links and engine.netns.rules() == rules, "nothing is left of the failed starts")
        assert set(api.ok("GET", "/networks/full")["Containers"]) == set(there)
        assert not addresses(api, late) - {""}
        # Others go on, the port was given back, and one that leaves makes room.
        assert addresses(api, start(api, ["sleep", "9999"], "bridge", PortBindings={"80/tcp": [{"HostPort": "18507"}]}))
        api.ok("POST", "/networks/bridge/connect", {"Container": there[0]})
        assert api.post("/networks/full/connect", {"Container": start(api, ["sleep", "9999"], "bridge")}).status >= 400
        api.ok("DELETE", f"/containers/{there[-1]}?force=1")
        api.ok("POST", "/containers/create?name=next", {"Image": "busybox", "Cmd": ["sleep", "9999"], "HostConfig": {"NetworkMode": "full"}})
        wait_for(lambda: api.post("/containers/next/start").status == 204, "there is room for one again")
    finally:
        run(engine.netns.enter(["ip", "link", "delete", "group", "77"]), rc=None)
    engine.remove_containers()
    api.ok("DELETE", "/networks/full")
    nothing_left(engine, before)
