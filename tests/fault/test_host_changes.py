# SPDX-License-Identifier: Apache-2.0
"""What the engine's networks do when somebody on the host changes links behind its back, or asks for contrary things at once."""
import json
import threading

import pytest

from harness.container import inspect, pid_of
from harness.shell import run, wait_for

pytestmark = [pytest.mark.no_leak_check, pytest.mark.parametrize("client_of", ["caisson"], indirect=True)]
BRIDGE = "chost0"
WEB = ("sh", "-c", "mkdir /w; echo page > /w/index.html; exec httpd -f -p 80 -h /w")


@pytest.fixture
def pair(own_engine, client_of):
    """An engine with 'one' (a published port) and 'two' on the network 'own', whose bridge is BRIDGE."""
    engine = own_engine()
    client = client_of(engine)
    client("network", "create", "own", "--subnet", "10.95.0.0/24", "-o", f"com.docker.network.bridge.name={BRIDGE}")
    client("run", "-d", "--name", "one", "--network", "own", "-p", "18730:80", "busybox", *WEB)
    client("run", "-d", "--name", "two", "--network", "own", "busybox", "sleep", "999")
    works(engine, client)
    yield engine, client
    engine.remove_containers()
    engine.remove_networks()


def link(engine, *args, rc=0):
    return run(engine.netns.enter(["ip", "-j", "-d", *args]), rc=rc).out


def fetches(client, name, url):
    return client("exec", name, "timeout", "3", "wget", "-qO-", url, rc=None).out == "page\n"


def works(engine, client):
    """Between containers by name, by the published port from the host, from both containers by the host's address."""
    for url in ("http://one/", "http://10.95.0.1:18730/"):
        for name in ("one", "two"):
            wait_for(lambda n=name, u=url: fetches(client, n, u), f"{name} reaches {url}", 40)
    for url in ("http://127.0.0.1:18730/", "http://10.95.0.1:18730/"):
        wait_for(lambda u=url: engine.netns.fetch(u, timeout=2, rc=None) == "page\n", f"the host reaches {url}", 40)


def host_end(engine, client, name, interface="eth0"):
    inside = json.loads(run(["nsenter", f"--net=/proc/{pid_of(client, name)}/ns/net", "ip", "-j", "link", "show", "dev", interface]).out)[0]
    return next(entry["ifname"] for entry in json.loads(link(engine, "link")) if entry["ifindex"] == inside["link_index"])


def test_a_deleted_bridge_comes_again(pair):
    engine, client = pair
    for _ in range(2):
        before = json.loads(link(engine, "link", "show", "dev", BRIDGE))[0]["ifindex"]
        link(engine, "link", "delete", BRIDGE)
        wait_for(lambda: link(engine, "link", "show", "dev", BRIDGE, rc=None), "the bridge is there again")
        assert json.loads(link(engine, "link", "show", "dev", BRIDGE))[0]["ifindex"] != before
        works(engine, client)
    client("run", "--rm", "--network", "own", "busybox", "wget", "-qO-", "http://one/")
    client("rm", "-f", "one", "two")
    client("network", "rm", "own")
    assert BRIDGE not in engine.netns.links()


def test_a_bridge_deleted_without_an_engine(pair):
    engine, client = pair
    engine.kill9()
    link(engine, "link", "delete", BRIDGE)
    engine.start()
    works(engine, client)


def test_a_removed_address_comes_again(pair):
    engine, client = pair
    link(engine, "addr", "delete", "10.95.0.1/24", "dev", BRIDGE)
    wait_for(lambda: "10.95.0.1" in link(engine, "addr", "show", "dev", BRIDGE), "the address is there again")
    works(engine, client)


def test_isolation_comes_again_with_the_bridge(own_engine, client_of):
    engine = own_engine()
    client = client_of(engine)
    client("network", "create", "apart", "-o", f"com.docker.network.bridge.name={BRIDGE}", "-o", "com.docker.network.bridge.enable_icc=false")
    for name in ("one", "two"):
        client("run", "-d", "--name", name, "--network", "apart", "busybox", "sleep", "999")
    ends = [host_end(engine, client, name) for name in ("one", "two")]

    def isolated():
        ports = [json.loads(link(engine, "link", "show", "dev", end))[0] for end in ends]
        return all(port.get("master") == BRIDGE and port["linkinfo"]["info_slave_data"]["isolated"] for port in ports)
    assert isolated()
    link(engine, "link", "delete", BRIDGE)
    wait_for(isolated, "both are on the new bridge, apart")
    engine.kill9()
    link(engine, "link", "delete", BRIDGE)
    engine.start()
    wait_for(isolated, "both are on the next engine's bridge, apart")
    client("rm", "-f", "one", "two")
    client("network", "rm", "apart")


def test_a_deleted_interface_is_mended_by_hand(pair):
    """The container goes on without it; what takes it off the network and puts it there again still works."""
    engine, client = pair
    link(engine, "link", "delete", host_end(engine, client, "two"))
    client("network", "disconnect", "own", "two")
    client("network", "connect", "own", "two")
    works(engine, client)
    link(engine, "link", "delete", host_end(engine, client, "one"))
    client("restart", "-t", "0", "one")
    works(engine, client)
    link(engine, "link", "delete", host_end(engine, client, "two"))
    engine.kill9()
    engine.start()
    client("restart", "-t", "0", "two")
    works(engine, client)


def test_a_network_is_removed_while_containers_start_on_it(own_engine, client_of):
    """Whoever is first: either the network stays and the container runs, or it goes with its bridge and the start fails."""
    engine = own_engine()
    api = engine.api
    links = set(engine.netns.links())
    seen = set()
    for number in range(12):
        network = api.ok("POST", "/networks/create", {"Name": f"race{number}"})["Id"]
        idents = [api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "999"], "HostConfig": {"NetworkMode": f"race{number}"}})["Id"]
                  for _ in range(2)]
        barrier = threading.Barrier(3)
        answers = {}

        def ask(name, method, path):
            barrier.wait()
            answers[name] = engine.api.request(method, path).status
        threads = [threading.Thread(target=ask, args=(ident, "POST", f"/containers/{ident}/start")) for ident in idents]
        threads.append(threading.Thread(target=ask, args=("rm", "DELETE", f"/networks/{network}")))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        started = [ident for ident in idents if answers[ident] == 204]
        gone = api.get(f"/networks/{network}").status == 404
        assert gone == (answers["rm"] == 204), answers
        assert not (gone and started), f"containers {started} run on a network that is gone: {answers}"
        seen.add(gone)
        for ident in idents:
            api.ok("DELETE", f"/containers/{ident}?force=1")
        if not gone:
            api.ok("DELETE", f"/networks/{network}")
        bridge = "br-" + network[:12]
        assert bridge not in engine.netns.links(), "no bridge is left of a network that is gone"
        assert bridge not in json.dumps(engine.netns.rules())
    wait_for(lambda: not {entry for entry in engine.netns.links() if entry.startswith("br-")} - links, "no bridge is left")


def test_connects_disconnects_and_ends_at_once(own_engine, client_of):
    """A container that is connected, disconnected and killed by several at once leaves no address and no link behind."""
    engine = own_engine()
    api = engine.api
    networks = [api.ok("POST", "/networks/create", {"Name": f"net{n}", "IPAM": {"Config": [{"Subnet": f"10.95.{n + 1}.0/29"}]}})["Id"] for n in range(3)]
    for _ in range(4):
        ident = api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "999"], "HostConfig": {"NetworkMode": "net0"}})["Id"]
        api.ok("POST", f"/containers/{ident}/start")
        work = [("POST", f"/networks/{network}/{verb}", {"Container": ident}) for network in networks[1:] for verb in ("connect", "disconnect", "connect")]
        work += [("POST", f"/containers/{ident}/kill", None), ("POST", f"/containers/{ident}/start", None), ("POST", f"/containers/{ident}/stop?t=0", None)]
        barrier = threading.Barrier(len(work))

        def ask(entry):
            barrier.wait()
            try:
                engine.api.request(*entry)
            except AssertionError:
                pass  # any answer will do, also those that the API does not list
        threads = [threading.Thread(target=ask, args=(entry,)) for entry in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if api.get(f"/containers/{ident}/json").status == 200:
            api.ok("DELETE", f"/containers/{ident}?force=1")
    # Each of the subnets has room for five: an address that was lost would be missed.
    idents = []
    for number in range(5):
        ident = api.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "999"], "HostConfig": {"NetworkMode": "net0"}})["Id"]
        idents.append(ident)
        api.ok("POST", f"/containers/{ident}/start")
        for network in networks[1:]:
            api.ok("POST", f"/networks/{network}/connect", {"Container": ident})
    for ident in idents:
        api.ok("DELETE", f"/containers/{ident}?force=1")
    for network in networks:
        api.ok("DELETE", f"/networks/{network}")
    wait_for(lambda: not [name for name in engine.netns.links() if name.startswith("veth")], "no link is left")
