# SPDX-License-Identifier: Apache-2.0
"""Each change of the public API version history that a client of an older version can see: the last version before it
and the first one with it."""
import json
import signal
import threading
from urllib.parse import quote

import pytest

from harness.api import frames
from harness.container import wait_for_trap

CONFIG = {"Image": "busybox", "Cmd": ["sleep", "1000"]}


@pytest.fixture
def make(api):
    def make(version, body=None, start=False, name=""):
        ident = api.ok("POST", f"/v1.{version}/containers/create?name={name}", {**CONFIG, **(body or {})})["Id"]
        if start:
            api.ok("POST", f"/v1.{version}/containers/{ident}/start")
        return ident
    return make


def inspect(api, ident, version=51):
    return api.ok("GET", f"/v1.{version}/containers/{ident}/json")


# --- which versions there are ------------------------------------------------------------------------------

@pytest.mark.parametrize("version, words", [
    ("1.23", "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"),
    ("0.9", "client version 0.9 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"),
    ("1.52", "client version 1.52 is too new. Maximum supported API version is 1.51"),
    ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.51")])
def test_refused_versions(api, version, words):
    for path in ("/info", "/containers/json", "/_ping"):
        answer = api.get(f"/v{version}{path}")
        assert answer.status == 400 and answer.message == words


def test_no_version_is_the_last_one(api, make):
    ident = make(51)
    for path in ("/images/json", "/images/busybox/json", f"/containers/{ident}/json", "/containers/json?all=1"):
        assert api.ok("GET", path) == api.ok("GET", "/v1.51" + path)


# --- info, version, df ---------------------------------------------------------------------------------------

def test_info_1_25_security_options_are_pairs(api):
    old, new = api.ok("GET", "/v1.24/info"), api.ok("GET", "/v1.25/info")
    assert "seccomp" in old["SecurityOptions"] and old["ExecutionDriver"] == "<not supported>"
    assert any(o.startswith("name=seccomp,") for o in new["SecurityOptions"]) and "ExecutionDriver" not in new


def test_info_1_49_without_expected_commits(api):
    old, new = api.ok("GET", "/v1.48/info"), api.ok("GET", "/v1.49/info")
    for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
        assert old[name]["Expected"] == old[name]["ID"] and "Expected" not in new[name]
    for name in ("AllowNondistributableArtifactsCIDRs", "AllowNondistributableArtifactsHostnames"):
        assert old["RegistryConfig"][name] is None and name not in new["RegistryConfig"]
    assert "FirewallBackend" not in old


def test_info_1_50_without_bridge_netfilter(api):
    old, new = api.ok("GET", "/v1.49/info"), api.ok("GET", "/v1.50/info")
    for name in ("BridgeNfIptables", "BridgeNfIp6tables"):
        assert old[name] is False and name not in new


def test_df_1_42_builder_size_and_types(api):
    old, new = api.ok("GET", "/v1.41/system/df?type=container"), api.ok("GET", "/v1.42/system/df?type=container")
    assert old["BuilderSize"] == 0 and "BuilderSize" not in new
    assert old["Images"] and not new["Images"]
    assert api.get("/v1.41/system/df?type=odd").status == 200 and api.get("/v1.42/system/df?type=odd").status == 400


def test_df_1_44_without_virtual_size(api):
    old, new = api.ok("GET", "/v1.43/system/df")["Images"], api.ok("GET", "/v1.44/system/df")["Images"]
    assert all(i["VirtualSize"] == i["Size"] for i in old) and not any("VirtualSize" in i for i in new)


# --- images ----------------------------------------------------------------------------------------------------

def test_images_1_41_filter_parameter(api):
    assert len(api.ok("GET", "/v1.40/images/json?filter=busybox")) == 1 < len(api.ok("GET", "/v1.41/images/json?filter=busybox"))


def test_images_1_42_shared_size(api):
    assert {i["SharedSize"] for i in api.ok("GET", "/v1.41/images/json?shared-size=1")} == {-1}
    assert min(i["SharedSize"] for i in api.ok("GET", "/v1.42/images/json?shared-size=1")) >= 0


def test_images_1_43_without_names(api, make):
    nameless = api.ok("POST", f"/commit?container={make(51)}", {})["Id"]
    def names(version):
        return {i["Id"]: (i["RepoTags"], i["RepoDigests"]) for i in api.ok("GET", f"/v1.{version}/images/json")}
    assert names(42)[nameless] == (["<none>:<none>"], ["<none>@<none>"]) and names(43)[nameless] == ([], [])
    assert [entry for ident, entry in names(42).items() if ident != nameless] == [entry for ident, entry in names(43).items() if ident != nameless]


def test_images_1_44_without_virtual_size(api):
    old, new = api.ok("GET", "/v1.43/images/json"), api.ok("GET", "/v1.44/images/json")
    assert all(i["VirtualSize"] == i["Size"] for i in old) and not any("VirtualSize" in i for i in new)


def test_images_1_51_count_containers(api, make):
    ident = make(51)
    image = inspect(api, ident)["Image"]
    assert {i["Id"]: i["Containers"] for i in api.ok("GET", "/v1.50/images/json")}[image] == -1
    assert {i["Id"]: i["Containers"] for i in api.ok("GET", "/v1.51/images/json")}[image] == 1


def test_image_inspect_1_44_1_45(api):
    for version, virtual, container in ((43, True, True), (44, False, True), (45, False, False)):
        shown = api.ok("GET", f"/v1.{version}/images/busybox/json")
        assert ("VirtualSize" in shown, "Container" in shown, "ContainerConfig" in shown) == (virtual, container, container)
    assert shown["Size"] > 0


def test_image_inspect_1_50_config(api):
    old, new = api.ok("GET", "/v1.49/images/busybox/json")["Config"], api.ok("GET", "/v1.50/images/busybox/json")["Config"]
    gone = {"Hostname": "", "Domainname": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Image": ""}
    assert {k: old[k] for k in gone} == gone and not set(gone) & set(new)
    for name in ("User", "Env", "Cmd", "Volumes", "WorkingDir", "Entrypoint", "OnBuild", "Labels"):
        assert name in old and name in new, name


# --- creating containers -----------------------------------------------------------------------------------------

def test_create_1_25_auto_remove(api, make):
    assert inspect(api, make(24, {"HostConfig": {"AutoRemove": True}}))["HostConfig"]["AutoRemove"] is False
    assert inspect(api, make(25, {"HostConfig": {"AutoRemove": True}}))["HostConfig"]["AutoRemove"] is True


def test_create_1_40_ipc_mode(api, make):
    assert inspect(api, make(39))["HostConfig"]["IpcMode"] == "shareable"
    assert inspect(api, make(40))["HostConfig"]["IpcMode"] == "private"
    assert inspect(api, make(39, {"HostConfig": {"IpcMode": "private"}}))["HostConfig"]["IpcMode"] == "private"


def test_create_1_41_cgroup_namespace(api, make):
    first = "host" if api.ok("GET", "/info")["CgroupVersion"] == "1" else "private"
    assert inspect(api, make(40))["HostConfig"]["CgroupnsMode"] == first
    assert inspect(api, make(41))["HostConfig"]["CgroupnsMode"] == "private"


def test_create_1_41_platform(api):
    assert api.post("/v1.40/containers/create?platform=plan9%2Fmips", CONFIG).status == 201
    assert api.post("/v1.41/containers/create?platform=plan9%2Fmips", CONFIG).status in (400, 404)


def test_create_1_42_options_of_other_mounts(api):
    body = {**CONFIG, "HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/x", "VolumeOptions": {"NoCopy": True}}]}}
    assert api.post("/v1.41/containers/create", body).status == 201
    answer = api.post("/v1.42/containers/create", body)
    assert answer.status == 400 and answer.message == 'VolumeOptions must not be specified on mount type "tmpfs"'


def test_create_1_42_console_size_and_kernel_memory(api, make):
    old, new = (inspect(api, make(v, {"HostConfig": {"ConsoleSize": [40, 100]}}), v)["HostConfig"] for v in (41, 42))
    assert (old["ConsoleSize"], new["ConsoleSize"]) == ([0, 0], [40, 100])
    assert (old["KernelMemory"], old["KernelMemoryTCP"]) == (0, 0) and "KernelMemory" not in new and "KernelMemoryTCP" not in new


def test_create_1_43_annotations(api, make):
    body = {"HostConfig": {"Annotations": {"a": "b"}}}
    assert not inspect(api, make(42, body))["HostConfig"].get("Annotations")
    assert inspect(api, make(43, body))["HostConfig"]["Annotations"] == {"a": "b"}


def test_create_1_44_start_interval(api, make):
    body = {"Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 10**9}}
    assert "StartInterval" not in inspect(api, make(43, body))["Config"]["Healthcheck"]
    assert inspect(api, make(44, body))["Config"]["Healthcheck"]["StartInterval"] == 10**9


def test_create_1_44_mac_address(api, make):
    mac = "02:42:ac:11:00:99"
    answer = api.ok("POST", "/v1.43/containers/create", {**CONFIG, "MacAddress": mac})
    assert not any("MacAddress" in w for w in answer["Warnings"])
    answer = api.ok("POST", "/v1.44/containers/create", {**CONFIG, "MacAddress": mac})
    assert [w for w in answer["Warnings"] if "MacAddress" in w] == ["The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."]
    api.ok("POST", f"/containers/{answer['Id']}/start")
    assert inspect(api, answer["Id"])["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == mac
    other = {**CONFIG, "MacAddress": mac, "NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:ac:11:00:98"}}}}
    refused = api.post("/v1.44/containers/create", other)
    assert refused.status == 400 and "must match the endpoint-specific MAC address" in refused.message
    refused = api.post("/v1.43/containers/create", {**CONFIG, "MacAddress": mac, "HostConfig": {"NetworkMode": "none"}})
    assert refused.status == 400 and refused.message == "conflicting options: mac-address and the network mode"


def test_create_1_44_one_network(api):
    body = {**CONFIG, "NetworkingConfig": {"EndpointsConfig": {"aa": {}, "bb": {}}}}
    answer = api.post("/v1.43/containers/create", body)
    assert answer.status == 400 and answer.message == "Container cannot be created with multiple network endpoints: aa, bb"


def test_create_1_44_recursive_read_only(api):
    body = {**CONFIG, "HostConfig": {"Mounts": [{"Type": "bind", "Source": "/usr", "Target": "/x", "ReadOnly": True,
                                                 "BindOptions": {"ReadOnlyForceRecursive": True, "Propagation": "rprivate"}}]}}
    answer = api.post("/v1.43/containers/create", body)
    assert answer.status == 400 and answer.message == "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"
    assert api.post("/v1.44/containers/create", body).status == 201


def test_create_1_45_subpath_1_48_image_mount(api):
    body = {**CONFIG, "HostConfig": {"Mounts": [{"Type": "volume", "Source": "aa", "Target": "/x", "VolumeOptions": {"Subpath": "y"}}]}}
    answer = api.post("/v1.44/containers/create", body)
    assert answer.status == 400 and answer.message == "VolumeOptions.Subpath needs API v1.45 or newer"
    answer = api.post("/v1.47/containers/create", {**CONFIG, "HostConfig": {"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/x"}]}})
    assert answer.status == 400 and answer.message == 'Mount type "Image" needs API v1.48 or newer'


def test_create_1_48_sysctls_of_an_interface(api):
    body = {**CONFIG, "HostConfig": {"Sysctls": {"net.ipv4.conf.eth0.forwarding": "1"}}}
    assert api.post("/v1.47/containers/create", body).status == 201
    answer = api.post("/v1.48/containers/create", body)
    assert answer.status == 400 and "must be supplied using driver option 'com.docker.network.endpoint.sysctls'" in answer.message


@pytest.mark.parametrize("limit, kept", [(0, None), (-1, None), (-5, None), (50, 50)])
def test_create_pids_limit_without_a_limit(api, make, limit, kept):
    assert inspect(api, make(51, {"HostConfig": {"PidsLimit": limit}}))["HostConfig"]["PidsLimit"] == kept


# --- what is done with them ---------------------------------------------------------------------------------------

def test_update_1_40_pids_limit(api, make):
    ident = make(51, {"HostConfig": {"PidsLimit": 50}})
    api.ok("POST", f"/v1.39/containers/{ident}/update", {"PidsLimit": 60})
    assert inspect(api, ident)["HostConfig"]["PidsLimit"] == 50
    api.ok("POST", f"/v1.40/containers/{ident}/update", {"PidsLimit": 60})
    assert inspect(api, ident)["HostConfig"]["PidsLimit"] == 60


def test_stop_1_42_signal(api, make):
    ident = make(51, {"Cmd": ["sh", "-c", "trap 'exit 5' USR1; trap 'exit 6' TERM; while :; do sleep 0.05; done"]}, start=True)
    wait_for_trap(inspect(api, ident)["State"]["Pid"], signal.SIGTERM)
    api.ok("POST", f"/v1.41/containers/{ident}/stop?signal=USR1&t=20")
    assert inspect(api, ident)["State"]["ExitCode"] == 6
    api.ok("POST", f"/containers/{ident}/start")
    wait_for_trap(inspect(api, ident)["State"]["Pid"], signal.SIGTERM)
    api.ok("POST", f"/v1.42/containers/{ident}/stop?signal=USR1&t=20")
    assert inspect(api, ident)["State"]["ExitCode"] == 5
    assert api.post(f"/v1.41/containers/{ident}/stop?signal=odd").status == 304


def test_wait_1_30_conditions_and_early_head(api, make):
    ident = make(51, start=True)
    assert api.post(f"/v1.30/containers/{ident}/wait?condition=odd").status == 400
    results = []
    waiter = threading.Thread(target=lambda: results.append(api.post(f"/v1.29/containers/{ident}/wait?condition=odd", timeout=60)))
    waiter.start()
    api.ok("POST", f"/containers/{ident}/kill")
    waiter.join(60)
    assert results[0].status == 200 and results[0].json == {"StatusCode": 137}
    # With its whole length: the answer was not begun before the end was known.
    assert results[0].headers["Content-Length"] and "chunked" not in results[0].headers.get("Transfer-Encoding", "")
    later = api.post(f"/v1.30/containers/{ident}/wait")
    assert later.headers["Transfer-Encoding"] == "chunked" and later.json["StatusCode"] == 137


@pytest.mark.parametrize("version, kind", [(41, "raw"), (42, "multiplexed")])
def test_streams_1_42_content_type(api, make, version, kind):
    ident = make(51, {"Cmd": ["sh", "-c", "echo out; sleep 1000"]}, start=True)
    wanted = f"application/vnd.docker.{kind}-stream"
    assert api.get(f"/v1.{version}/containers/{ident}/logs?stdout=1").headers["Content-Type"] == wanted
    peer, head, _ = api.hijack(f"/v1.{version}/containers/{ident}/attach?stream=1&stdout=1")
    peer.close()
    assert f"Content-Type: {wanted}" in head
    instance = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["echo", "hello"], "AttachStdout": True})["Id"]
    peer, head, rest = api.hijack(f"/v1.{version}/exec/{instance}/start", {})
    with peer:
        while piece := peer.recv(4096):
            rest += piece
    assert f"Content-Type: {wanted}" in head and frames(rest) == [(1, b"hello\n")]


def test_exec_1_42_console_size(api, make):
    ident = make(51, start=True)
    for version, heeded in ((41, False), (42, True)):
        instance = api.ok("POST", f"/v1.{version}/containers/{ident}/exec", {"Cmd": ["stty", "size"], "Tty": True, "AttachStdout": True, "ConsoleSize": [33, 77]})["Id"]
        peer, _, rest = api.hijack(f"/v1.{version}/exec/{instance}/start", {"Tty": True})
        with peer:
            while piece := peer.recv(4096):
                rest += piece
        assert (b"33 77" in rest) == heeded, rest


def test_stats_1_41_one_shot(api, make):
    ident = make(51, start=True)
    old = api.ok("GET", f"/v1.40/containers/{ident}/stats?stream=0&one-shot=1")
    new = api.ok("GET", f"/v1.41/containers/{ident}/stats?stream=0&one-shot=1")
    assert old["precpu_stats"]["cpu_usage"]["total_usage"] > 0 == new["precpu_stats"]["cpu_usage"]["total_usage"]


def test_list_1_46_annotations(api, make):
    ident = make(51, {"HostConfig": {"Annotations": {"a": "b"}}})
    def shown(version):
        return api.ok("GET", f"/v1.{version}/containers/json?all=1&filters=" + quote(json.dumps({"id": [ident]})))[0]["HostConfig"]
    assert "Annotations" not in shown(45) and shown(46)["Annotations"] == {"a": "b"}


def test_networks_1_28_without_containers(api, make):
    ident = make(51, start=True)
    def containers(version):
        return next(n for n in api.ok("GET", f"/v1.{version}/networks") if n["Name"] == "bridge")["Containers"]
    assert ident in containers(27) and containers(28) == {}
