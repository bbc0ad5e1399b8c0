// SPDX-License-Identifier: Apache-2.0
// What the Docker Engine API answers about containers and execs. Plain data with JSON tables.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "spec/docker_config.h"

namespace caisson::spec {

struct IdResponse {
  std::string id;
};
struct CreateResponse {
  std::string id;
  std::vector<std::string> warnings;
};
struct WaitError {
  std::string message;
};
struct WaitResponse {
  int64_t status_code = 0;
  std::optional<WaitError> error;
};
struct TopResponse {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> processes;
};

struct HealthResult {
  std::string start, end;
  int64_t exit_code = 0;
  std::string output;
};
CAISSON_JSON(HealthResult, CAISSON_FIELD("Start", start), CAISSON_FIELD("End", end),
             CAISSON_FIELD("ExitCode", exit_code), CAISSON_FIELD("Output", output))

struct Health {
  std::string status;  // starting | healthy | unhealthy
  int64_t failing_streak = 0;
  std::vector<HealthResult> log;  // the last five
};
CAISSON_JSON(Health, CAISSON_FIELD("Status", status), CAISSON_FIELD("FailingStreak", failing_streak),
             CAISSON_FIELD("Log", log))

struct ContainerState {
  std::string status;
  bool running = false, paused = false, restarting = false, oom_killed = false, dead = false;
  int64_t pid = 0, exit_code = 0;
  std::string error, started_at, finished_at;
  std::optional<Health> health;
};

struct MountPoint {
  std::string type, name, source, destination, driver, mode;
  bool rw = true;
  std::string propagation;
};

struct Port {
  std::string ip;
  int64_t private_port = 0, public_port = 0;
  std::string type;
};

struct NetworkSettings {
  std::string bridge, sandbox_id, sandbox_key;
  PortMap ports;
  bool hairpin_mode = false;
  std::string link_local_ipv6_address;
  int64_t link_local_ipv6_prefix_len = 0;
  std::vector<json::Raw> secondary_ip_addresses, secondary_ipv6_addresses;
  std::string endpoint_id, gateway, global_ipv6_address;
  int64_t global_ipv6_prefix_len = 0;
  std::string ip_address;
  int64_t ip_prefix_len = 0;
  std::string ipv6_gateway, mac_address;
  std::map<std::string, EndpointSettings> networks;
};

struct GraphDriver {
  std::string name;
  StringMap data;
};

struct ContainerInspect {
  std::string id, created, path;
  std::vector<std::string> args;
  ContainerState state;
  std::string image, resolv_conf_path, hostname_path, hosts_path, log_path, name;
  int64_t restart_count = 0;
  std::string driver, platform, mount_label, process_label, app_armor_profile;
  std::vector<std::string> exec_ids;
  HostConfig host_config;
  GraphDriver graph_driver;
  std::optional<int64_t> size_rw, size_root_fs;
  std::vector<MountPoint> mounts;
  ContainerConfig config;
  NetworkSettings network_settings;
};

struct SummaryHostConfig {
  std::string network_mode;
  StringMap annotations;
};
struct SummaryNetworks {
  std::map<std::string, EndpointSettings> networks;
};
struct ContainerSummary {
  std::string id;
  std::vector<std::string> names;
  std::string image, image_id, command;
  int64_t created = 0;  // seconds
  std::vector<Port> ports;
  std::optional<int64_t> size_rw, size_root_fs;
  StringMap labels;
  std::string state, status;
  SummaryHostConfig host_config;
  SummaryNetworks network_settings;
  std::vector<MountPoint> mounts;
};

struct ExecProcessConfig {
  bool tty = false;
  std::string entrypoint;
  std::vector<std::string> arguments;
  bool privileged = false;
  std::string user;
};
struct ExecInspect {
  std::string id;
  bool running = false;
  std::optional<int64_t> exit_code;
  ExecProcessConfig process_config;
  bool open_stdin = false, open_stderr = false, open_stdout = false, can_remove = false;
  std::string container_id, detach_keys;
  int64_t pid = 0;
};

CAISSON_JSON(IdResponse, CAISSON_FIELD("Id", id))
CAISSON_JSON(CreateResponse, CAISSON_FIELD("Id", id), CAISSON_FIELD("Warnings", warnings))
CAISSON_JSON(WaitError, CAISSON_FIELD("Message", message))
CAISSON_JSON(WaitResponse, CAISSON_FIELD("StatusCode", status_code), CAISSON_FIELD_OMIT("Error", error))
CAISSON_JSON(TopResponse, CAISSON_FIELD("Titles", titles), CAISSON_FIELD("Processes", processes))
CAISSON_JSON(ContainerState, CAISSON_FIELD("Status", status), CAISSON_FIELD("Running", running),
             CAISSON_FIELD("Paused", paused), CAISSON_FIELD("Restarting", restarting),
             CAISSON_FIELD("OOMKilled", oom_killed), CAISSON_FIELD("Dead", dead), CAISSON_FIELD("Pid", pid),
             CAISSON_FIELD("ExitCode", exit_code), CAISSON_FIELD("Error", error),
             CAISSON_FIELD("StartedAt", started_at), CAISSON_FIELD("FinishedAt", finished_at),
             CAISSON_FIELD_OMIT("Health", health))
CAISSON_JSON(MountPoint, CAISSON_FIELD("Type", type), CAISSON_FIELD_OMIT("Name", name), CAISSON_FIELD("Source", source),
             CAISSON_FIELD("Destination", destination), CAISSON_FIELD_OMIT("Driver", driver),
             CAISSON_FIELD("Mode", mode), CAISSON_FIELD("RW", rw), CAISSON_FIELD("Propagation", propagation))
CAISSON_JSON(Port, CAISSON_FIELD_OMIT("IP", ip), CAISSON_FIELD("PrivatePort", private_port),
             CAISSON_FIELD_OMIT("PublicPort", public_port), CAISSON_FIELD("Type", type))
CAISSON_JSON(NetworkSettings, CAISSON_FIELD("Bridge", bridge), CAISSON_FIELD("SandboxID", sandbox_id),
             CAISSON_FIELD("SandboxKey", sandbox_key), CAISSON_FIELD("Ports", ports),
             CAISSON_FIELD("HairpinMode", hairpin_mode), CAISSON_FIELD("LinkLocalIPv6Address", link_local_ipv6_address),
             CAISSON_FIELD("LinkLocalIPv6PrefixLen", link_local_ipv6_prefix_len),
             CAISSON_FIELD_NULL("SecondaryIPAddresses", secondary_ip_addresses),
             CAISSON_FIELD_NULL("SecondaryIPv6Addresses", secondary_ipv6_addresses),
             CAISSON_FIELD("EndpointID", endpoint_id), CAISSON_FIELD("Gateway", gateway),
             CAISSON_FIELD("GlobalIPv6Address", global_ipv6_address),
             CAISSON_FIELD("GlobalIPv6PrefixLen", global_ipv6_prefix_len), CAISSON_FIELD("IPAddress", ip_address),
             CAISSON_FIELD("IPPrefixLen", ip_prefix_len), CAISSON_FIELD("IPv6Gateway", ipv6_gateway),
             CAISSON_FIELD("MacAddress", mac_address), CAISSON_FIELD("Networks", networks))
CAISSON_JSON(GraphDriver, CAISSON_FIELD_NULL("Data", data), CAISSON_FIELD("Name", name))
CAISSON_JSON(ContainerInspect, CAISSON_FIELD("Id", id), CAISSON_FIELD("Created", created), CAISSON_FIELD("Path", path),
             CAISSON_FIELD("Args", args), CAISSON_FIELD("State", state), CAISSON_FIELD("Image", image),
             CAISSON_FIELD("ResolvConfPath", resolv_conf_path), CAISSON_FIELD("HostnamePath", hostname_path),
             CAISSON_FIELD("HostsPath", hosts_path), CAISSON_FIELD("LogPath", log_path), CAISSON_FIELD("Name", name),
             CAISSON_FIELD("RestartCount", restart_count), CAISSON_FIELD("Driver", driver),
             CAISSON_FIELD("Platform", platform), CAISSON_FIELD("MountLabel", mount_label),
             CAISSON_FIELD("ProcessLabel", process_label), CAISSON_FIELD("AppArmorProfile", app_armor_profile),
             CAISSON_FIELD_NULL("ExecIDs", exec_ids), CAISSON_FIELD("HostConfig", host_config),
             CAISSON_FIELD("GraphDriver", graph_driver), CAISSON_FIELD_OMIT("SizeRw", size_rw),
             CAISSON_FIELD_OMIT("SizeRootFs", size_root_fs), CAISSON_FIELD("Mounts", mounts),
             CAISSON_FIELD("Config", config), CAISSON_FIELD("NetworkSettings", network_settings))
CAISSON_JSON(SummaryHostConfig, CAISSON_FIELD("NetworkMode", network_mode),
             CAISSON_FIELD_OMIT("Annotations", annotations))
CAISSON_JSON(SummaryNetworks, CAISSON_FIELD("Networks", networks))
CAISSON_JSON(ContainerSummary, CAISSON_FIELD("Id", id), CAISSON_FIELD("Names", names), CAISSON_FIELD("Image", image),
             CAISSON_FIELD("ImageID", image_id), CAISSON_FIELD("Command", command), CAISSON_FIELD("Created", created),
             CAISSON_FIELD("Ports", ports), CAISSON_FIELD_OMIT("SizeRw", size_rw),
             CAISSON_FIELD_OMIT("SizeRootFs", size_root_fs), CAISSON_FIELD("Labels", labels),
             CAISSON_FIELD("State", state), CAISSON_FIELD("Status", status), CAISSON_FIELD("HostConfig", host_config),
             CAISSON_FIELD("NetworkSettings", network_settings), CAISSON_FIELD("Mounts", mounts))
CAISSON_JSON(ExecProcessConfig, CAISSON_FIELD("tty", tty), CAISSON_FIELD("entrypoint", entrypoint),
             CAISSON_FIELD("arguments", arguments), CAISSON_FIELD("privileged", privileged),
             CAISSON_FIELD_OMIT("user", user))
CAISSON_JSON(ExecInspect, CAISSON_FIELD("ID", id), CAISSON_FIELD("Running", running),
             CAISSON_FIELD_NULL("ExitCode", exit_code), CAISSON_FIELD("ProcessConfig", process_config),
             CAISSON_FIELD("OpenStdin", open_stdin), CAISSON_FIELD("OpenStderr", open_stderr),
             CAISSON_FIELD("OpenStdout", open_stdout), CAISSON_FIELD("CanRemove", can_remove),
             CAISSON_FIELD("ContainerID", container_id), CAISSON_FIELD("DetachKeys", detach_keys),
             CAISSON_FIELD("Pid", pid))

}  // namespace caisson::spec
