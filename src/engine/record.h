// SPDX-License-Identifier: Apache-2.0
// Everything the engine knows of one container, as it is kept in the state database: plain data with a
// JSON table. Immutable once published; changes are made on a copy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "network/network_manager.h"
#include "spec/docker_config.h"
#include "spec/docker_container.h"

namespace caisson::engine {

enum class Status : unsigned char { kCreated, kRunning, kPaused, kRestarting, kExited, kRemoving, kDead };
const char* status_name(Status status);

// May a container go from one status to the other? The one place that knows the life cycle.
bool transition_allowed(Status from, Status to);

// A container's place in one network during a run.
struct StoredEndpoint {
  std::string network, network_id, driver;      // name, id, "bridge"
  std::string interface, inside, mac, address;  // interface: the host's end; inside: "eth0"
  std::string gateway, endpoint_id;
  int64_t prefix = 0;
  std::string address6, gateway6;
  int64_t prefix6 = 0;
  // The default routes and published ports go by them, each family's by one.
  bool is_gateway = false, is_gateway6 = false;
  std::vector<std::string> ports;                     // "tcp/80/0.0.0.0/32768", ranges with "/COUNT" behind
  std::vector<std::string> name_servers, dns_search;  // told by a CNI plugin
};

// One of HostConfig.Links: who, and under which name.
struct StoredLink {
  std::string target_id, target_name, alias;
};

struct ContainerRecord {
  std::string id, name;  // name without the slash
  int64_t created_ns = 0;
  std::string image_id, image_name;  // image_name: as the client wrote it
  std::string path;                  // resolved program and arguments
  std::vector<std::string> args;
  spec::ContainerConfig config;  // merged with the image's
  spec::HostConfig host_config;
  spec::NetworkingConfig networking;
  std::vector<spec::MountPoint> mounts;
  std::vector<std::string> anonymous_volumes;
  std::vector<spec::MountPoint> inherited_mounts;  // --volumes-from, as they were at the creation
  std::vector<StoredLink> links;                   // what HostConfig.Links has become

  std::string status_text = "created";
  bool launching = false;  // a monitor is being started: what the next engine must look for
  int64_t pid = 0, monitor_pid = 0;
  int64_t pid_start_time = 0;
  int64_t exit_code = 0;
  bool oom_killed = false;
  bool has_been_manually_stopped = false;
  std::string error;
  int64_t started_ns = 0, finished_ns = 0;
  int64_t restart_count = 0;
  std::vector<StoredEndpoint> endpoints;  // while it runs
  std::optional<spec::Health> health;     // of the present or last run, when there is a check
  std::string cgroup_path;                // below every hierarchy, "/caisson/<id>"

  const StoredEndpoint* endpoint_in(std::string_view network) const;  // by name or id; null
  const StoredEndpoint& main_endpoint() const;                        // that of the default route; empty without one

  Status status() const;
  void set_status(Status status) { status_text = status_name(status); }
  // Docker counts one that waits for its next start by the policy as running; its pid is 0.
  bool running() const {
    auto now = status();
    return now == Status::kRunning || now == Status::kPaused || now == Status::kRestarting;
  }
};

StoredEndpoint store_endpoint(const network::Endpoint& endpoint);
network::Endpoint load_endpoint(const std::string& container_id, const StoredEndpoint& stored);

std::string encode_record(const ContainerRecord& record);
Result<ContainerRecord> decode_record(std::string_view text);

}  // namespace caisson::engine
