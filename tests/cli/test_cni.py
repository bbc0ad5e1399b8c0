# SPDX-License-Identifier: Apache-2.0
"""Networks that CNI plugins make: Debian's plugins in a network namespace of the engine's own, and small ones that fail."""
import glob
import json
import os
import re
import signal
import stat

import pytest

from harness.cni import PLUGINS
from harness.container import inspect, pid_of
from harness.shell import run, wait_for

pytestmark = pytest.mark.skipif(not os.path.exists(PLUGINS + "/bridge"), reason="Debian's containernetworking-plugins is not installed")


def test_networks_of_files_are_seen(cni):
    cni.bridge()
    cni.write("lone", {"type": "loopback"}, file="20-lone.conf")
    with open(cni.conf + "/30-broken.conflist", "w", encoding="utf-8") as out:
        out.write('{"name": "broken"')
    cni.write("old", {"type": "loopback"}, version="0.2.0")
    cni.start()
    assert cni.cli.out("network", "ls", "--filter", "driver=cni", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").splitlines() == [
        "blue cni local", "lone cni local"]
    network = json.loads(cni.cli.out("network", "inspect", "blue"))[0]
    assert re.fullmatch("[0-9a-f]{64}", network["Id"]) and network["Driver"] == "cni"
    assert network["IPAM"]["Config"] == [{"Subnet": "10.211.0.0/24"}]
    assert network["Options"]["cni.plugins"] == "bridge" and network["Options"]["cni.file"].endswith("10-blue.conflist")
    log = cni.engine.log()
    assert "30-broken.conflist" in log and "is not supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are" in log
    # Files that come later are seen, as they are: nothing is kept in the engine.
    cni.write("green", {"type": "loopback"})
    assert "green" in cni.cli.out("network", "ls")
    err = cni.cli("network", "rm", "green", rc=1).err
    assert "network green is a CNI configuration: it goes with its file" in err
    assert "made by files in the CNI configuration directory" in cni.cli("network", "create", "-d", "cni", "mine", rc=1).err
    cni.cli("network", "prune", "-f")
    os.unlink(cni.conf + "/10-green.conflist")
    assert "green" not in cni.cli.out("network", "ls")
    assert "network green not found" in cni.cli("run", "--network", "green", "busybox", "true", rc=125).err


def test_engine_without_the_option_has_none(own_engine, client_of):
    cli = client_of(own_engine())
    assert cli.out("network", "ls", "-q", "--filter", "driver=cni") == ""


def test_addresses_names_and_the_end(cni):
    cni.bridge()
    cni.start()
    cni.sleeper("one")
    cni.sleeper("two", "--network-alias", "db")
    first, second = cni.address("one"), cni.address("two")
    assert first != second and {first, second} <= set(cni.leases()) and first.startswith("10.211.0.")
    inside = cni.cli.out("exec", "one", "ip", "-o", "-4", "addr", "show", "eth0")
    assert f"inet {first}/24" in inside
    assert "default via 10.211.0.1 dev eth0" in cni.cli.out("exec", "one", "ip", "route")
    shown = inspect(cni.cli, "one")["NetworkSettings"]["Networks"]["blue"]
    assert shown["Gateway"] == "10.211.0.1" and shown["IPPrefixLen"] == 24
    assert shown["MacAddress"] in cni.cli.out("exec", "one", "cat", "/sys/class/net/eth0/address")
    for target in (second, "two", "db", "10.211.0.1"):
        assert cni.pings("one", target), target
    members = json.loads(cni.cli.out("network", "inspect", "blue"))[0]["Containers"]
    assert sorted(m["IPv4Address"] for m in members.values()) == sorted([first + "/24", second + "/24"])
    # A second run of the same container is attached anew.
    cni.cli("restart", "-t", "0", "two")
    assert cni.pings("one", cni.address("two")) and len(cni.leases()) == 2
    cni.cli("kill", "two")
    wait_for(lambda: cni.leases() == [first], "its address is free again")
    cni.cli("rm", "-f", "one", "two")
    cni.nothing_is_left()
    cni.cli("run", "--rm", "--network", "blue", "busybox", "true")
    cni.nothing_is_left()


def test_published_port(cni):
    cni.bridge("blue", "10.211.0.0/24", {"type": "portmap", "capabilities": {"portMappings": True}})
    cni.bridge("plain", "10.212.0.0/24", bridge="cnib1")
    cni.start()
    page = "mkdir /www; echo hello > /www/index.html; httpd -f -p 80 -h /www"
    cni.cli.out("run", "-d", "--name", "web", "--network", "blue", "-p", "8080:80", "-p", "81", "busybox", "sh", "-c", page)
    target = cni.address("web")
    wait_for(lambda: cni.cli("exec", "web", "wget", "-qO-", f"http://{target}/", rc=None).rc == 0, "the server listens")
    assert cni.space.fetch("http://10.211.0.1:8080/") == "hello\n"
    assert cni.cli.out("port", "web", "80") == "0.0.0.0:8080"
    chosen = cni.cli.out("port", "web", "81")
    assert re.fullmatch(r"0\.0\.0\.0:\d+", chosen) and not chosen.endswith(":0")
    err = cni.cli("run", "--network", "blue", "-p", "8080:80", "busybox", "true", rc=125).err
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in err
    err = cni.cli("run", "--network", "plain", "-p", "8081:80", "busybox", "true", rc=125).err
    assert "network plain cannot publish ports: none of its CNI plugins has the capability portMappings" in err
    err = cni.cli("update", "--publish", "8082:80", "web", rc=1).err
    assert "ports of a running container on a CNI network cannot be changed" in err
    # Also by an engine that did not start it.
    cni.engine.kill9()
    cni.engine.start()
    assert cni.space.fetch("http://10.211.0.1:8080/") == "hello\n"
    err = cni.cli("run", "--network", "blue", "-p", "8080:80", "busybox", "true", rc=125).err
    assert "port is already allocated" in err
    rules = run(cni.space.enter(["iptables-save", "-t", "nat"])).out
    assert "8080" in rules
    cni.cli("rm", "-f", "web")
    cni.nothing_is_left()
    assert "8080" not in run(cni.space.enter(["iptables-save", "-t", "nat"])).out
    cni.cli("run", "--rm", "--network", "blue", "-p", "8080:80", "busybox", "true")


def test_chain_of_debians_plugins(cni):
    cni.bridge("blue", "10.211.0.0/24", {"type": "tuning", "sysctl": {"net.ipv4.conf.all.log_martians": "1"}, "mtu": 1400}, {"type": "loopback"})
    cni.write("fixed", {"type": "bridge", "bridge": "cnib2", "ipam": {"type": "static", "addresses": [{"address": "10.213.0.5/24", "gateway": "10.213.0.1"}]},
                        "dns": {"nameservers": ["10.213.0.9"], "search": ["inner.test"]}})
    cni.start()
    got = cni.cli.out("run", "--rm", "--network", "blue", "busybox", "sh", "-c", "cat /proc/sys/net/ipv4/conf/all/log_martians /sys/class/net/eth0/mtu")
    assert got.split() == ["1", "1400"]
    # No default route: nothing is forwarded, and the domain is searched.
    got = cni.cli.out("run", "--rm", "--network", "fixed", "busybox", "sh", "-c", "ip -o -4 addr show eth0; ip route; cat /etc/resolv.conf")
    assert "10.213.0.5/24" in got and "default" not in got
    assert "search inner.test" in got and "nameserver 127.0.0.11" in got
    cni.nothing_is_left()


def test_both_families(cni):
    cni.write("both", {"type": "bridge", "bridge": "cnib3", "isDefaultGateway": True,
                       "ipam": {"type": "host-local", "dataDir": cni.state, "ranges": [[{"subnet": "10.214.0.0/24"}], [{"subnet": "fd14::/64"}]]}})
    cni.start()
    cni.sleeper("one", network="both")
    cni.sleeper("two", network="both")
    shown = inspect(cni.cli, "two")["NetworkSettings"]["Networks"]["both"]
    assert shown["IPAddress"].startswith("10.214.0.") and shown["GlobalIPv6Address"].startswith("fd14::")
    assert shown["GlobalIPv6PrefixLen"] == 64 and shown["IPv6Gateway"] == "fd14::1"
    assert cni.cli("exec", "one", "ping", "-6", "-c1", "-W5", shown["GlobalIPv6Address"], rc=None).rc == 0
    assert cni.pings("one", shown["IPAddress"])
    cni.cli("rm", "-f", "one", "two")
    cni.nothing_is_left()


def test_asked_addresses(cni):
    cni.bridge("blue", "10.211.0.0/24", capabilities={"ips": True, "mac": True})
    cni.bridge("args", "10.212.0.0/24", bridge="cnib1")
    cni.write("deaf", cni.recorder("deaf"))
    cni.start()
    for network, address in (("blue", "10.211.0.77"), ("args", "10.212.0.78")):
        got = cni.cli.out("run", "--rm", "--network", network, "--ip", address, "--mac-address", "02:11:22:33:44:55", "busybox",
                          "sh", "-c", "ip -o addr show eth0; cat /sys/class/net/eth0/address")
        assert f"inet {address}/24" in got and got.endswith("02:11:22:33:44:55")
    err = cni.cli("run", "--network", "deaf", "--ip", "10.9.9.9", "busybox", "true", rc=125).err
    assert "network deaf: its plugins did not give the address 10.9.9.9" in err
    assert [entry["command"] for entry in cni.asked()] == ["ADD", "DEL"]
    cni.nothing_is_left()


@pytest.mark.parametrize("kind", ["refuses", "talks nonsense", "is missing", "dies"])
def test_a_failing_plugin_leaves_nothing(cni, kind):
    bad = {"refuses": cni.recorder("bad", answers={"ADD": {"code": 42, "msg": "no room", "details": "in the\ninn"}}),
           "talks nonsense": cni.recorder("bad", answers={"ADD": "{"}),
           "is missing": {"type": "not-there"},
           "dies": {"type": "dies"}}[kind]
    with open(cni.bin + "/dies.new", "w", encoding="utf-8") as out:
        out.write('#!/bin/sh\n[ "$CNI_COMMAND" = ADD ] || exit 0\necho "cannot go on" >&2\nexit 3\n')
    os.chmod(cni.bin + "/dies.new", stat.S_IRWXU)
    os.rename(cni.bin + "/dies.new", cni.bin + "/dies")
    cni.bridge("blue", "10.211.0.0/24", bad)
    cni.start()
    err = cni.cli("run", "--name", "one", "--network", "blue", "busybox", "true", rc=125).err
    wanted = {"refuses": "network blue: ADD of CNI plugin 'bad': no room: in the inn (code 42)",
              "talks nonsense": "network blue: the result of CNI plugin 'bad' cannot be used:",
              "is missing": f"network blue: CNI plugin 'not-there': there is no program of that name in {cni.bin}:{PLUGINS}",
              "dies": "network blue: ADD of CNI plugin 'dies': it ended with status 3: cannot go on"}[kind]
    assert wanted in err
    cni.nothing_is_left()
    assert inspect(cni.cli, "one")["State"]["Status"] == "created"
    # What went wrong is mended in the file alone.
    cni.bridge()
    cni.cli("start", "one")
    cni.cli("wait", "one")
    cni.nothing_is_left()


def test_killed_engine_goes_on(cni):
    cni.bridge("blue", "10.211.0.0/24", cni.recorder("extra"))
    cni.start()
    cni.sleeper("one")
    address = cni.address("one")
    cni.engine.kill9()
    cni.engine.start()
    assert cni.address("one") == address and cni.leases() == [address]
    # The plugins were asked whether all is well, and had nothing to say.
    wait_for(lambda: [e["command"] for e in cni.asked()] == ["ADD", "CHECK"], "the plugins are asked to check")
    check = cni.asked("CHECK")[0]
    assert check["conf"]["prevResult"]["ips"][0]["address"] == address + "/24" and check["env"] == cni.asked("ADD")[0]["env"]
    cni.sleeper("two")
    assert cni.pings("one", "two")
    assert "CHECK of CNI plugin" not in cni.engine.log()
    cni.cli("rm", "-f", "one", "two")
    cni.nothing_is_left()


def test_container_that_ends_while_there_is_no_engine(cni):
    cni.bridge()
    cni.start()
    cni.sleeper("one")
    cni.sleeper("two", "--rm")
    pids = [pid_of(cni.cli, name) for name in ("one", "two")]
    cni.engine.kill9()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "they are gone")
    assert len(cni.leases()) == 2
    cni.engine.start()
    cni.nothing_is_left()
    cni.cli("start", "one")
    assert len(cni.leases()) == 1


def test_engine_killed_while_a_plugin_works(cni):
    gate = cni.root + "/gate"
    cni.bridge("blue", "10.211.0.0/24", cni.recorder("slow", wait={"ADD": gate}))
    cni.start()
    starting = cni.cli.start("run", "-d", "--name", "one", "--network", "blue", "busybox", "sleep", "999")
    wait_for(lambda: cni.asked("ADD"), "the slow plugin works")
    # Others are served meanwhile.
    assert cni.cli.out("run", "--rm", "busybox", "echo", "hi") == "hi"
    assert "one" in cni.cli.out("ps", "-a", "--format", "{{.Names}}")
    assert len(cni.leases()) == 1
    cni.engine.kill9()
    starting.communicate(timeout=60)
    cni.engine.start()
    cni.nothing_is_left()
    assert [e["command"] for e in cni.asked()] == ["ADD", "DEL"]
    assert cni.asked("DEL")[0]["env"]["CNI_CONTAINERID"] == cni.asked("ADD")[0]["env"]["CNI_CONTAINERID"]
    with open(gate, "w", encoding="ascii"):
        pass
    cni.cli("start", "one")
    assert cni.address("one") in cni.leases()


def test_a_hanging_plugin_does_not_hold_up_the_end(cni):
    """SIGTERM while a plugin works, and a child of it: both are ended, the next engine undoes what they began."""
    cni.bridge("blue", "10.211.0.0/24", {"type": "hangs"})
    with open(cni.bin + "/hangs", "w", encoding="utf-8") as out:
        out.write(f"#!/bin/sh\ncat > /dev/null\necho $CNI_COMMAND >> {cni.root}/hangs.log\n[ $CNI_COMMAND = ADD ] || exit 0\n"
                  f"sleep 1000 & echo $$ $! > {cni.root}/hangs.new; mv {cni.root}/hangs.new {cni.root}/hangs.pids; wait\n")
    os.chmod(cni.bin + "/hangs", stat.S_IRWXU)
    cni.start()
    starting = cni.cli.start("run", "-d", "--name", "one", "--network", "blue", "busybox", "sleep", "999")
    wait_for(lambda: os.path.exists(cni.root + "/hangs.pids"), "the plugin works")
    cni.engine.stop()
    starting.communicate(timeout=60)
    with open(cni.root + "/hangs.pids", encoding="ascii") as file:
        pids = file.read().split()
    assert len(pids) == 2
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "plugin and child are gone")
    assert glob.glob(cni.engine.data_root + "/cni/*"), "it is noted what is to be undone"
    cni.engine.start()
    cni.nothing_is_left()
    with open(cni.root + "/hangs.log", encoding="ascii") as file:
        assert file.read().split()[-1] == "DEL"


def test_what_cannot_be_undone_is_tried_again(cni):
    refusal = {"DEL": {"code": 11, "msg": "try again later"}}
    cni.write("blue", cni.recorder("stuck", answers=refusal))
    cni.start()
    cni.cli("run", "--rm", "--network", "blue", "busybox", "true")
    wait_for(lambda: "DEL of CNI plugin 'stuck': try again later (code 11)" in cni.engine.log(), "it is logged")
    assert glob.glob(cni.engine.data_root + "/cni/*")
    # The configuration of the time of ADD is what counts, so its program mends itself.
    with open(cni.bin + "/stuck.new", "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\nexit 0\n")
    os.chmod(cni.bin + "/stuck.new", stat.S_IRWXU)
    os.rename(cni.bin + "/stuck.new", cni.bin + "/stuck")
    cni.engine.kill9()
    cni.engine.start()
    cni.nothing_is_left()


def test_what_plugins_are_told(cni):
    result = {"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:09", "sandbox": "/x", "mtu": 1500}],
              "ips": [{"address": "10.9.0.9/24", "gateway": "10.9.0.1", "interface": 0}], "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}],
              "dns": {"nameservers": ["10.9.0.53"]}}
    cni.write("new", cni.recorder("first", result=result, capabilities={"ips": True}),
              cni.recorder("second", capabilities={"portMappings": True}), version="1.1.0")
    cni.start()
    ident = cni.sleeper("one", "--ip", "10.9.0.9", "-p", "127.0.0.1:8085:80/tcp", network="new")
    assert [(e["type"], e["command"]) for e in cni.asked("STATUS", "ADD")] == [
        ("first", "STATUS"), ("second", "STATUS"), ("first", "ADD"), ("second", "ADD")]
    first, second = cni.asked("ADD")
    assert first["env"]["CNI_CONTAINERID"] == ident and first["env"]["CNI_IFNAME"] == "eth0" and first["env"]["CNI_PATH"] == f"{cni.bin}:{PLUGINS}"
    assert first["conf"]["runtimeConfig"] == {"ips": ["10.9.0.9"]} and "prevResult" not in first["conf"]
    assert second["conf"]["runtimeConfig"] == {"portMappings": [{"hostPort": 8085, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"}]}
    assert second["conf"]["prevResult"] == result and second["conf"]["name"] == "new" and second["conf"]["cniVersion"] == "1.1.0"
    # The path leads to the container's namespace.
    assert os.stat(first["env"]["CNI_NETNS"]).st_ino == os.stat(f"/proc/{pid_of(cni.cli, 'one')}/ns/net").st_ino
    shown = inspect(cni.cli, "one")["NetworkSettings"]["Networks"]["new"]
    assert (shown["IPAddress"], shown["Gateway"], shown["MacAddress"]) == ("10.9.0.9", "10.9.0.1", "02:00:00:00:00:09")
    # An engine that starts tells what there is; everything else is garbage to the plugins.
    cni.engine.kill9()
    cni.engine.start()

    def collected():
        return [e for e in cni.asked("GC") if e["conf"]["cni.dev/valid-attachments"]]
    wait_for(lambda: len(collected()) == 2, "garbage is collected")
    garbage = collected()
    assert [e["type"] for e in garbage] == ["first", "second"]
    assert garbage[0]["conf"]["cni.dev/valid-attachments"] == [{"containerID": ident, "ifname": "eth0"}]
    assert garbage[0]["env"]["CNI_NETNS"] is None
    cni.cli("rm", "-f", "one")
    cni.nothing_is_left()
    deleted = cni.asked("DEL")
    assert [e["type"] for e in deleted] == ["second", "first"]
    assert all(e["conf"]["prevResult"] == result for e in deleted) and deleted[0]["env"]["CNI_NETNS"] == first["env"]["CNI_NETNS"]
    # A plugin that is not ready says so.
    cni.write("new", cni.recorder("first", answers={"STATUS": {"code": 50, "msg": "not today"}}), version="1.1.0")
    err = cni.cli("run", "--network", "new", "busybox", "true", rc=125).err
    assert "network new: STATUS of CNI plugin 'first': not today (code 50)" in err
    cni.nothing_is_left()


def test_connect_and_disconnect(cni):
    cni.bridge()
    cni.start()
    cni.cli("network", "create", "--subnet", "10.214.0.0/24", "own")
    cni.sleeper("one", network="own")
    cni.sleeper("two")
    cni.cli("network", "connect", "blue", "one")
    routes = cni.cli.out("exec", "one", "ip", "route")
    assert "default via 10.214.0.1" in routes and routes.count("default") == 1
    assert cni.pings("one", cni.address("two")) and cni.pings("one", "two")
    cni.cli("network", "disconnect", "blue", "one")
    assert len(cni.leases()) == 1 and "eth1" not in cni.cli.out("exec", "one", "ip", "link")
    # Both from the start: the first one named has the default route.
    cni.cli("run", "-d", "--name", "both", "--network", "own", "--network", "blue", "busybox", "sleep", "999")
    routes = cni.cli.out("exec", "both", "ip", "route")
    assert routes.count("default") == 1
    assert cni.pings("both", "two") and cni.pings("both", "one")
    cni.cli("rm", "-f", "one", "two", "both")
    cni.nothing_is_left()
