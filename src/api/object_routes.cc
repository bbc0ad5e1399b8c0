// SPDX-License-Identifier: Apache-2.0
// Networks and volumes as far as containers need them: the three networks every engine has, and the
// volumes that containers made.
#include <algorithm>

#include "api/router.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/inspect.h"
#include "spec/docker_system.h"

namespace caisson::api {

namespace {

spec::NetworkInspect describe(Context& context, const std::string& name) {
  spec::NetworkInspect out;
  out.name = name;
  out.id = engine::network_id_of(name);
  out.created = std::string(kZeroTime);
  out.driver = name == "none" ? "null" : name;
  if (name == "bridge") {
    auto bridge = context.engine.network().bridge_info();
    if (!bridge.subnet.empty()) out.ipam.config.push_back({bridge.subnet, bridge.gateway});
    out.options = {{"com.docker.network.bridge.default_bridge", "true"},
                   {"com.docker.network.bridge.name", bridge.name},
                   {"com.docker.network.driver.mtu", std::to_string(bridge.mtu)}};
  }
  for (const auto& container : context.engine.containers().list()) {
    auto record = container->snapshot();
    if (!record->running() || record->host_config.network_mode != name) continue;
    spec::NetworkContainer entry;
    entry.name = record->name;
    entry.endpoint_id = record->endpoint.endpoint_id;
    entry.mac_address = record->endpoint.mac;
    if (!record->endpoint.address.empty())
      entry.ipv4_address = record->endpoint.address + "/" + std::to_string(record->endpoint.prefix);
    out.containers[record->id] = std::move(entry);
  }
  return out;
}

void list_networks(Context& context, Call& call) {
  if (!call.query().get("filters").empty() && call.query().get("filters") != "{}")
    return call.reply_error(501, "filters of networks are not supported by this release");
  std::vector<spec::NetworkInspect> out;
  for (const char* name : {"bridge", "host", "none"}) {
    out.push_back(describe(context, name));
    out.back().containers.clear();
  }
  call.reply_with(200, out);
}

void inspect_network(Context& context, Call& call) {
  for (const char* name : {"bridge", "host", "none"}) {
    std::string id = engine::network_id_of(name);
    if (call.argument() == name || (call.argument().size() >= 4 && id.starts_with(call.argument())))
      return call.reply_with(200, describe(context, name));
  }
  call.reply_error(404, "network " + call.argument().substr(0, 128) + " not found");
}

struct VolumeEntry {
  std::string name, driver = "local", mountpoint, scope = "local";
  spec::StringMap labels, options;
};
CAISSON_JSON(VolumeEntry, CAISSON_FIELD("Driver", driver), CAISSON_FIELD_NULL("Labels", labels),
             CAISSON_FIELD("Mountpoint", mountpoint), CAISSON_FIELD("Name", name),
             CAISSON_FIELD_NULL("Options", options), CAISSON_FIELD("Scope", scope))
struct VolumeList {
  std::vector<VolumeEntry> volumes;
  std::vector<std::string> warnings;
};
CAISSON_JSON(VolumeList, CAISSON_FIELD("Volumes", volumes), CAISSON_FIELD_NULL("Warnings", warnings))

void list_volumes(Context& context, Call& call) {
  auto names = context.engine.volumes().list();
  if (!names) return call.reply_error(names.error());
  VolumeList out;
  for (const auto& name : *names) {
    VolumeEntry entry;
    entry.name = name;
    entry.mountpoint = context.engine.volumes().path_of(name);
    out.volumes.push_back(std::move(entry));
  }
  call.reply_with(200, out);
}

void inspect_volume(Context& context, Call& call) {
  auto names = context.engine.volumes().list();
  if (!names) return call.reply_error(names.error());
  if (std::find(names->begin(), names->end(), call.argument()) == names->end())
    return call.reply_error(404, "get " + call.argument().substr(0, 128) + ": no such volume");
  VolumeEntry entry;
  entry.name = call.argument();
  entry.mountpoint = context.engine.volumes().path_of(entry.name);
  call.reply_with(200, entry);
}

constexpr Route kRoutes[] = {
    {"GET", "/networks", list_networks},
    {"GET", "/networks/{}", inspect_network},
    {"GET", "/volumes", list_volumes},
    {"GET", "/volumes/{}", inspect_volume},
};

}  // namespace

std::span<const Route> object_routes() { return kRoutes; }

}  // namespace caisson::api
