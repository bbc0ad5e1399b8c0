// SPDX-License-Identifier: Apache-2.0
#include "engine/record.h"

#include "engine/port_ranges.h"

namespace caisson::engine {

CAISSON_JSON(StoredEndpoint, CAISSON_FIELD("network", network), CAISSON_FIELD("network_id", network_id),
             CAISSON_FIELD("driver", driver), CAISSON_FIELD("inside", inside), CAISSON_FIELD("is_gateway", is_gateway),
             CAISSON_FIELD("interface", interface), CAISSON_FIELD("mac", mac), CAISSON_FIELD("address", address),
             CAISSON_FIELD("gateway", gateway), CAISSON_FIELD("endpoint_id", endpoint_id),
             CAISSON_FIELD("prefix", prefix), CAISSON_FIELD("ports", ports), CAISSON_FIELD_OMIT("address6", address6),
             CAISSON_FIELD_OMIT("gateway6", gateway6), CAISSON_FIELD_OMIT("prefix6", prefix6),
             CAISSON_FIELD_OMIT("is_gateway6", is_gateway6), CAISSON_FIELD_OMIT("name_servers", name_servers),
             CAISSON_FIELD_OMIT("dns_search", dns_search))
CAISSON_JSON(StoredLink, CAISSON_FIELD("target_id", target_id), CAISSON_FIELD("target_name", target_name),
             CAISSON_FIELD("alias", alias))
CAISSON_JSON(ContainerRecord, CAISSON_FIELD("id", id), CAISSON_FIELD("name", name),
             CAISSON_FIELD("created_ns", created_ns), CAISSON_FIELD("image_id", image_id),
             CAISSON_FIELD("image_name", image_name), CAISSON_FIELD("path", path), CAISSON_FIELD("args", args),
             CAISSON_FIELD("config", config), CAISSON_FIELD("host_config", host_config),
             CAISSON_FIELD("networking", networking), CAISSON_FIELD("mounts", mounts),
             CAISSON_FIELD("anonymous_volumes", anonymous_volumes), CAISSON_FIELD("inherited_mounts", inherited_mounts),
             CAISSON_FIELD("status", status_text), CAISSON_FIELD("pid", pid), CAISSON_FIELD("monitor_pid", monitor_pid),
             CAISSON_FIELD("pid_start_time", pid_start_time), CAISSON_FIELD("exit_code", exit_code),
             CAISSON_FIELD("oom_killed", oom_killed),
             CAISSON_FIELD("has_been_manually_stopped", has_been_manually_stopped), CAISSON_FIELD("error", error),
             CAISSON_FIELD("started_ns", started_ns), CAISSON_FIELD("finished_ns", finished_ns),
             CAISSON_FIELD("restart_count", restart_count), CAISSON_FIELD_OMIT("endpoints", endpoints),
             CAISSON_FIELD("cgroup_path", cgroup_path), CAISSON_FIELD_OMIT("health", health),
             CAISSON_FIELD_OMIT("links", links), CAISSON_FIELD_OMIT("launching", launching))

static constexpr struct {
  Status status;
  const char* name;
} kStatusNames[] = {
    {Status::kCreated, "created"}, {Status::kRunning, "running"},
    {Status::kPaused, "paused"},   {Status::kRestarting, "restarting"},
    {Status::kExited, "exited"},   {Status::kRemoving, "removing"},
    {Status::kDead, "dead"},
};

const char* status_name(Status status) {
  for (const auto& entry : kStatusNames)
    if (entry.status == status) return entry.name;
  return "dead";
}

Status ContainerRecord::status() const {
  for (const auto& entry : kStatusNames)
    if (status_text == entry.name) return entry.status;
  return Status::kDead;
}

const StoredEndpoint* ContainerRecord::endpoint_in(std::string_view network) const {
  for (const auto& endpoint : endpoints)
    if (endpoint.network == network || endpoint.network_id == network) return &endpoint;
  return nullptr;
}

const StoredEndpoint& ContainerRecord::main_endpoint() const {
  static const StoredEndpoint kNone;
  for (const auto& endpoint : endpoints)
    if (endpoint.is_gateway) return endpoint;
  for (const auto& endpoint : endpoints)
    if (endpoint.is_gateway6) return endpoint;
  return endpoints.empty() ? kNone : endpoints.front();
}

bool transition_allowed(Status from, Status to) {
  // Rows: from; columns: created, running, paused, restarting, exited, removing, dead.
  static constexpr bool table[7][7] = {
      {false, true, false, false, true, true, true},     // created: start, failed start, remove
      {false, false, true, true, true, false, true},     // running: pause, end of a run, exit
      {false, true, false, true, true, false, true},     // paused: unpause, killed
      {false, true, false, false, true, false, true},    // restarting: started by the policy, stopped
      {false, true, false, false, true, true, true},     // exited: start, failed start, remove
      {false, false, false, false, false, false, true},  // removing: gone, or dead when it failed
      {false, false, false, false, false, true, false},  // dead: remove again
  };
  return table[static_cast<int>(from)][static_cast<int>(to)];
}

StoredEndpoint store_endpoint(const network::Endpoint& endpoint) {
  StoredEndpoint stored;
  stored.network_id = endpoint.network_id;
  stored.interface = endpoint.interface;
  stored.inside = endpoint.inside;
  stored.mac = endpoint.mac;
  stored.address = endpoint.address;
  stored.gateway = endpoint.gateway;
  stored.prefix = endpoint.prefix;
  stored.address6 = endpoint.address6;
  stored.gateway6 = endpoint.gateway6;
  stored.prefix6 = endpoint.prefix6;
  for (const auto& port : endpoint.ports) stored.ports.push_back(port_text(port));
  return stored;
}

network::Endpoint load_endpoint(const std::string& container_id, const StoredEndpoint& stored) {
  network::Endpoint endpoint;
  endpoint.container_id = container_id;
  endpoint.network_id = stored.network == network::kDefaultNetwork ? network::kDefaultNetwork : stored.network_id;
  endpoint.interface = stored.interface;
  endpoint.inside = stored.inside;
  endpoint.mac = stored.mac;
  endpoint.address = stored.address;
  endpoint.gateway = stored.gateway;
  endpoint.prefix = static_cast<int>(stored.prefix);
  endpoint.address6 = stored.address6;
  endpoint.gateway6 = stored.gateway6;
  endpoint.prefix6 = static_cast<int>(stored.prefix6);
  for (const auto& text : stored.ports)
    if (auto port = parse_port_text(text)) endpoint.ports.push_back(std::move(*port));
  return endpoint;
}

std::string encode_record(const ContainerRecord& record) { return json::encode(record); }
Result<ContainerRecord> decode_record(std::string_view text) { return json::decode<ContainerRecord>(text); }

}  // namespace caisson::engine
