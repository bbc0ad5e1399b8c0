// SPDX-License-Identifier: Apache-2.0
// The Network family of the API.
#include <algorithm>
#include <map>

#include "api/router.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/container_filter.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "engine/lifecycle.h"
#include "engine/networks.h"
#include "engine/prune.h"

namespace caisson::api {

namespace {

using engine::NetworkRecord;
using engine::NetworkRecordPtr;

spec::NetworkInspect describe(Context& context, const NetworkRecord& record) {
  spec::NetworkInspect out;
  out.name = record.name;
  out.id = record.id;
  out.created = record.created_ns ? format_rfc3339(record.created_ns) : std::string(kZeroTime);
  out.driver = record.driver;
  out.enable_ipv4 = record.enable_ipv4;
  out.enable_ipv6 = record.enable_ipv6;
  out.ipam = record.ipam;
  out.internal = record.internal;
  out.attachable = record.attachable;
  out.config_from.network = record.config_from;
  out.config_only = record.config_only;
  out.options = record.options;
  out.labels = record.labels;
  if (record.name == "bridge") {
    auto bridge = context.engine.network().bridge_info();
    const auto& options = context.engine.options();
    const auto& own = options.network;
    if (!bridge.subnet.empty()) out.ipam.config.push_back({bridge.subnet, own.fixed_cidr, bridge.gateway, {}});
    if (!bridge.subnet6.empty()) out.ipam.config.push_back({bridge.subnet6, own.fixed_cidr6, bridge.gateway6, {}});
    out.options = {{"com.docker.network.bridge.default_bridge", "true"},
                   {"com.docker.network.bridge.enable_icc", own.icc ? "true" : "false"},
                   {"com.docker.network.bridge.enable_ip_masquerade", options.ip_masq ? "true" : "false"},
                   {"com.docker.network.bridge.host_binding_ipv4", own.host_ip.empty() ? "0.0.0.0" : own.host_ip},
                   {"com.docker.network.bridge.name", bridge.name},
                   {"com.docker.network.driver.mtu", std::to_string(bridge.mtu)}};
  }
  return out;
}

// Running containers by network id; of all networks in one look at the containers.
using Members = std::map<std::string, std::map<std::string, spec::NetworkContainer>>;
Members members(Context& context) {
  Members out;
  for (const auto& container : context.engine.containers().list()) {
    auto record = container->snapshot();
    if (!record->running()) continue;
    const auto& mode = record->host_config.network_mode;
    if (mode == "host" || mode == "none") out[engine::network_id_of(mode)][record->id].name = record->name;
    for (const auto& endpoint : record->endpoints) {
      auto& entry = out[endpoint.network_id][record->id];
      entry = {record->name, endpoint.endpoint_id, endpoint.mac, "", ""};
      if (!endpoint.address.empty()) entry.ipv4_address = endpoint.address + "/" + std::to_string(endpoint.prefix);
      if (!endpoint.address6.empty()) entry.ipv6_address = endpoint.address6 + "/" + std::to_string(endpoint.prefix6);
    }
  }
  return out;
}

// Networks that a container, running or not, is meant to be on.
std::set<std::string> wanted_networks(Context& context) {
  std::set<std::string> names;
  for (const auto& container : context.engine.containers().list()) {
    auto record = container->snapshot();
    names.insert(record->host_config.network_mode);
    for (const auto& [name, settings] : record->networking.endpoints) names.insert(name);
  }
  return names;
}

Result<std::optional<bool>> flag_of(const engine::FilterValues& filters, const char* key) {
  auto found = filters.find(key);
  if (found == filters.end()) return std::optional<bool>();
  std::optional<bool> out;
  for (const auto& text : found->second) {
    bool yes = text == "true" || text == "1", no = text == "false" || text == "0";
    if ((!yes && !no) || (out && *out != yes))
      return fail(ErrorKind::kInvalid, "invalid filter '%s=%s'", key, text.substr(0, 64).c_str());
    out = yes;
  }
  return out;
}

Result<> check_filters(const engine::FilterValues& filters) {
  auto check = [&](const char* key, std::initializer_list<std::string_view> known) -> Result<> {
    auto found = filters.find(key);
    if (found == filters.end()) return {};
    for (const auto& text : found->second)
      if (std::find(known.begin(), known.end(), text) == known.end())
        return fail(ErrorKind::kInvalid, "invalid filter '%s=%s'", key, text.substr(0, 64).c_str());
    return {};
  };
  TRY(check("type", {"custom", "builtin"}));
  return check("scope", {"local", "swarm", "global"});
}

bool has_labels(const engine::FilterValues& filters, const spec::StringMap& labels) {
  auto matches = [&](const std::string& wanted) { return engine::label_matches(labels, wanted); };
  auto wanted = filters.find("label"), unwanted = filters.find("label!");
  return (wanted == filters.end() || std::all_of(wanted->second.begin(), wanted->second.end(), matches)) &&
         (unwanted == filters.end() || std::none_of(unwanted->second.begin(), unwanted->second.end(), matches));
}

bool passes(const engine::FilterValues& filters, const NetworkRecord& record) {
  auto any_of = [&](const char* key, auto&& matches) {
    auto found = filters.find(key);
    return found == filters.end() || found->second.empty() ||
           std::any_of(found->second.begin(), found->second.end(), matches);
  };
  return any_of("driver", [&](const std::string& text) { return record.driver == text; }) &&
         any_of("id", [&](const std::string& text) { return record.id.find(text) != std::string::npos; }) &&
         any_of("name", [&](const std::string& text) { return record.name.find(text) != std::string::npos; }) &&
         any_of("scope", [](const std::string& text) { return text == "local"; }) &&
         any_of("type", [&](const std::string& text) { return (text == "builtin") == record.predefined(); }) &&
         has_labels(filters, record.labels);
}

void list_networks(Context& context, Call& call) {
  static constexpr std::string_view known[] = {"dangling", "driver", "id", "label", "name", "scope", "type"};
  auto filters = engine::parse_filters(call.query().get("filters"), known);
  if (!filters) return call.reply_error(filters.error());
  if (auto good = check_filters(*filters); !good) return call.reply_error(good.error());
  auto dangling = flag_of(*filters, "dangling");
  if (!dangling) return call.reply_error(dangling.error());
  auto inside = members(context);
  std::vector<spec::NetworkInspect> out;
  for (const auto& record : context.engine.networks().list()) {
    if (!passes(*filters, *record)) continue;
    auto found = inside.find(record->id);
    bool unused = !record->predefined() && found == inside.end();
    if (*dangling && **dangling != unused) continue;
    out.push_back(describe(context, *record));
    if (call.version < 28 && found != inside.end()) out.back().containers = found->second;
  }
  call.reply_with(200, out);
}

void inspect_network(Context& context, Call& call) {
  if (auto scope = call.query().get("scope"); !scope.empty() && scope != "local")
    return call.reply_error(404, "network " + call.argument().substr(0, 128) + " not found");
  auto record = context.engine.networks().find(call.argument());
  if (!record) return call.reply_error(record.error());
  auto out = describe(context, **record);
  out.containers = std::move(members(context)[out.id]);
  call.reply_with(200, out);
}

void create_network(Context& context, Call& call) {
  auto request = call.body<spec::NetworkCreate>();
  if (!request) return;
  spec::NetworkCreated out;
  auto made = context.engine.networks().create(std::move(*request), out.warning);
  if (!made) return call.reply_error(made.error());
  out.id = (*made)->id;
  context.engine.events().publish(
      {"network", "create", out.id, {{"name", (*made)->name}, {"type", (*made)->driver}}, 0});
  call.reply_with(201, out);
}

Result<> remove_and_tell(Context& context, const NetworkRecord& record) {
  TRY(context.engine.networks().remove(record));
  context.engine.events().publish(
      {"network", "destroy", record.id, {{"name", record.name}, {"type", record.driver}}, 0});
  return {};
}

void remove_network(Context& context, Call& call) {
  auto record = context.engine.networks().find(call.argument());
  if (!record) return call.reply_error(record.error());
  if (auto done = remove_and_tell(context, **record); !done) return call.reply_error(done.error());
  call.reply_empty(204);
}

void connect_network(Context& context, Call& call) {
  auto request = call.body<spec::NetworkConnect>();
  if (!request) return;
  auto network = context.engine.networks().find(call.argument());
  if (!network) return call.reply_error(network.error());
  auto container = context.engine.containers().find(request->container);
  if (!container) return call.reply_error(container.error());
  auto done =
      context.engine.lifecycle().connect(*container, **network, request->endpoint.value_or(spec::EndpointSettings{}));
  if (!done) return call.reply_error(done.error());
  call.reply_empty(200);
}

void disconnect_network(Context& context, Call& call) {
  auto request = call.body<spec::NetworkDisconnect>();
  if (!request) return;
  auto network = context.engine.networks().find(call.argument());
  if (!network) return call.reply_error(network.error());
  auto container = context.engine.containers().find(request->container);
  if (!container) return call.reply_error(container.error());
  if (auto done = context.engine.lifecycle().disconnect(*container, **network); !done)
    return call.reply_error(done.error());
  call.reply_empty(200);
}

struct PrunedNetworks {
  std::vector<std::string> deleted;
};
CAISSON_JSON(PrunedNetworks, CAISSON_FIELD_NULL("NetworksDeleted", deleted))

// Networks that a stopped container is meant to be on stay, or it could not be started again.
void prune_networks(Context& context, Call& call) {
  static constexpr std::string_view known[] = {"until", "label", "label!"};
  auto filters = engine::parse_filters(call.query().get("filters"), known);
  if (!filters) return call.reply_error(filters.error());
  int64_t until_ns = INT64_MAX;
  if (auto found = filters->find("until"); found != filters->end()) {
    if (found->second.size() != 1) return call.reply_error(400, "more than one until filter specified");
    auto parsed = engine::parse_until(*found->second.begin(), now_ns());
    if (!parsed) return call.reply_error(parsed.error());
    until_ns = *parsed;
  }
  auto wanted = wanted_networks(context);
  PrunedNetworks out;
  for (const auto& record : context.engine.networks().list()) {
    if (record->predefined() || record->created_ns >= until_ns || wanted.contains(record->name)) continue;
    if (!has_labels(*filters, record->labels)) continue;
    if (auto done = remove_and_tell(context, *record); done)
      out.deleted.push_back(record->name);
    else  // used by somebody since it was listed
      log_info("pruning network %s: %s", record->name.c_str(), done.error().message.c_str());
  }
  context.engine.events().publish({"network", "prune", "", {{"reclaimed", "0"}}, 0});
  call.reply_with(200, out);
}

constexpr Route kRoutes[] = {
    {"GET", "/networks", list_networks},
    {"GET", "/networks/{}", inspect_network},
    {"POST", "/networks/create", create_network},
    {"DELETE", "/networks/{}", remove_network},
    {"POST", "/networks/{}/connect", connect_network},
    {"POST", "/networks/{}/disconnect", disconnect_network},
    {"POST", "/networks/prune", prune_networks},
};

}  // namespace

std::span<const Route> network_routes() { return kRoutes; }

}  // namespace caisson::api
