// SPDX-License-Identifier: Apache-2.0
// Networks as far as containers need them: the three that every engine has.
#include <algorithm>

#include "api/router.h"
#include "base/clock.h"
#include "engine/container_filter.h"
#include "engine/engine.h"
#include "engine/events.h"
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

struct PrunedNetworks {
  std::vector<std::string> deleted;
};
CAISSON_JSON(PrunedNetworks, CAISSON_FIELD_NULL("NetworksDeleted", deleted))

void list_networks(Context& context, Call& call) {
  if (!call.query().get("filters").empty() && call.query().get("filters") != "{}")
    return call.reply_error(501, "filters of networks are not supported by this release");
  std::vector<spec::NetworkInspect> out;
  for (const char* name : {"bridge", "host", "none"}) {
    out.push_back(describe(context, name));
    if (call.version >= 28) out.back().containers.clear();
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

// The three that exist cannot be removed.
void prune_networks(Context& context, Call& call) {
  static constexpr std::string_view known[] = {"until", "label", "label!"};
  if (auto filters = engine::parse_filters(call.query().get("filters"), known); !filters)
    return call.reply_error(filters.error());
  context.engine.events().publish({"network", "prune", "", {{"reclaimed", "0"}}, 0});
  call.reply_with(200, PrunedNetworks{});
}

constexpr Route kRoutes[] = {
    {"GET", "/networks", list_networks},
    {"GET", "/networks/{}", inspect_network},
    {"POST", "/networks/prune", prune_networks},
};

}  // namespace

std::span<const Route> object_routes() { return kRoutes; }

}  // namespace caisson::api
