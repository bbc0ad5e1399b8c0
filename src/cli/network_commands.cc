// SPDX-License-Identifier: Apache-2.0
// network create, ls, rm, connect, disconnect. network inspect and prune stand with their likes.
#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "cli/client_config.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/containers.h"
#include "cli/json_value.h"
#include "cli/listing.h"

namespace caisson::cli {

namespace {

struct Prefix {
  int family = 0;
  unsigned char bytes[16] = {};
  unsigned length = 0;

  bool contains(const Prefix& other) const {
    if (family != other.family || other.length < length) return false;
    for (unsigned bit = 0; bit < length; ++bit)
      if ((bytes[bit / 8] ^ other.bytes[bit / 8]) & (0x80 >> bit % 8)) return false;
    return true;
  }
};

// "10.0.0.0/8"; an address alone is a prefix of full length.
std::optional<Prefix> parse_prefix(const std::string& text) {
  Prefix out;
  auto parts = split_once(text, '/');
  std::string address = parts ? parts->first : text;
  out.family = address.find(':') == std::string::npos ? AF_INET : AF_INET6;
  unsigned full = out.family == AF_INET ? 32 : 128;
  if (inet_pton(out.family, address.c_str(), out.bytes) != 1) return std::nullopt;
  out.length = full;
  if (!parts) return out;
  auto length = parse_uint(parts->second);
  if (!length || *length > full) return std::nullopt;
  out.length = static_cast<unsigned>(*length);
  return out;
}

struct Pool {
  Prefix prefix;
  JsonValue config = JsonValue::object(), auxiliary = JsonValue::object();
};

// Each gateway, range and auxiliary address belongs to the subnet that has it.
Result<std::vector<Pool>> match_pools(const ParsedFlags& flags) {
  std::vector<Pool> pools;
  for (const std::string& text : flags.list("subnet")) {
    auto prefix = parse_prefix(text);
    if (!prefix || text.find('/') == std::string::npos)
      return fail(ErrorKind::kInvalid, "invalid CIDR address: %s", text.c_str());
    for (const Pool& other : pools)
      if (other.prefix.contains(*prefix) || prefix->contains(other.prefix))
        return fail(ErrorKind::kInvalid, "multiple overlapping subnet configuration is not supported");
    Pool pool;
    pool.prefix = *prefix;
    pool.config.set("Subnet", text);
    pools.push_back(std::move(pool));
  }
  auto pool_of = [&](const std::string& text) -> Pool* {
    auto prefix = parse_prefix(text);
    auto found = std::find_if(pools.begin(), pools.end(),
                              [&](const Pool& pool) { return prefix && pool.prefix.contains(*prefix); });
    return found == pools.end() ? nullptr : &*found;
  };
  auto place = [&](const char* what, const char* member, const std::vector<std::string>& values) -> Result<> {
    for (const std::string& text : values) {
      Pool* pool = pool_of(text);
      if (!pool) return fail(ErrorKind::kInvalid, "no matching subnet for %s %s", what, text.c_str());
      if (pool->config.find(member))
        return fail(ErrorKind::kInvalid, "cannot configure multiple %ss (%s, %s) on the same subnet (%s)", what,
                    text.c_str(), pool->config.at(member).text().c_str(), pool->config.at("Subnet").text().c_str());
      pool->config.set(member, text);
    }
    return {};
  };
  TRY(place("range", "IPRange", flags.list("ip-range")));
  TRY(place("gateway", "Gateway", flags.list("gateway")));
  for (const std::string& text : flags.list("aux-address")) {
    auto pair = split_once(text, '=');
    Pool* pool = pair ? pool_of(pair->second) : nullptr;
    if (!pool) return fail(ErrorKind::kInvalid, "no matching subnet for aux-address %s", text.c_str());
    pool->auxiliary.set(pair->first, pair->second);
  }
  return pools;
}

Result<int> create(App& app, const Invocation& call) {
  const auto& flags = call.flags;
  auto pools = TRY(match_pools(flags));
  JsonValue body = JsonValue::object(), ipam = JsonValue::object(), config = JsonValue::array();
  for (Pool& pool : pools) {
    if (!pool.auxiliary.members().empty()) pool.config.set("AuxiliaryAddresses", pool.auxiliary);
    config.push(pool.config);
  }
  ipam.set("Driver", std::string(flags.text("ipam-driver")));
  ipam.set("Options", string_map(flags.list("ipam-opt")));
  ipam.set("Config", config);
  body.set("Name", call.args[0]);
  body.set("Driver", std::string(flags.text("driver")));
  body.set("IPAM", ipam);
  body.set("Options", string_map(flags.list("opt")));
  body.set("Labels", string_map(flags.list("label")));
  static constexpr struct {
    const char *flag, *member;
  } kSwitches[] = {
      {"attachable", "Attachable"}, {"config-only", "ConfigOnly"}, {"ingress", "Ingress"}, {"internal", "Internal"}};
  for (const auto& entry : kSwitches) body.set(entry.member, flags.on(entry.flag));
  if (flags.changed("ipv4")) body.set("EnableIPv4", flags.on("ipv4"));
  if (flags.changed("ipv6")) body.set("EnableIPv6", flags.on("ipv6"));
  if (std::string_view scope = flags.text("scope"); !scope.empty()) body.set("Scope", std::string(scope));
  if (std::string_view from = flags.text("config-from"); !from.empty()) {
    JsonValue source = JsonValue::object();
    source.set("Network", std::string(from));
    body.set("ConfigFrom", source);
  }
  auto response = TRY(app.engine().post("/networks/create", {}, body.dump(false)));
  JsonValue answer = TRY(JsonValue::parse(response.body));
  if (std::string warning = answer.at("Warning").text(); !warning.empty()) app.complain("WARNING: " + warning);
  app.out.line(answer.at("Id").text());
  return 0;
}

Result<int> list(App& app, const Invocation& call) {
  static constexpr Column kColumns[] = {{"ID", "NETWORK ID"},     {"Name", "NAME"},     {"Driver", "DRIVER"},
                                        {"Scope", "SCOPE"},       {"IPv4", "IPV4"},     {"IPv6", "IPV6"},
                                        {"Internal", "INTERNAL"}, {"Labels", "LABELS"}, {"CreatedAt", "CREATED AT"}};
  std::string format = list_format(app, call.flags, "networksFormat");
  if (call.flags.on("quiet") && (format.empty() || format == "table")) format = "{{.ID}}";
  Listing listing =
      TRY(Listing::make(format, "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", kColumns, "*formatter.networkContext"));
  http::Query query;
  if (std::string text = filters_json(call.flags.list("filter")); !text.empty()) query.add("filters", text);
  auto response = TRY(app.engine().get("/networks", query));
  JsonValue networks = TRY(JsonValue::parse(response.body));
  std::vector<JsonValue> sorted(networks.items().begin(), networks.items().end());
  std::sort(sorted.begin(), sorted.end(),
            [](const JsonValue& a, const JsonValue& b) { return a.at("Name").text() < b.at("Name").text(); });
  for (const JsonValue& network : sorted) {
    JsonValue row = JsonValue::object();
    std::vector<std::string> labels;
    for (const auto& [key, value] : network.at("Labels").members()) labels.push_back(key + "=" + value.text());
    std::string id = network.at("Id").text();
    row.set("ID", call.flags.on("no-trunc") ? id : short_id(id));
    for (const char* own : {"Name", "Driver", "Scope"}) row.set(own, network.at(own).text());
    row.set("CreatedAt", network.at("Created").text());
    row.set("IPv4", network.at("EnableIPv4").as_bool() ? "true" : "false");
    row.set("IPv6", network.at("EnableIPv6").as_bool() ? "true" : "false");
    row.set("Internal", network.at("Internal").as_bool() ? "true" : "false");
    row.set("Labels", join(labels, ","));
    row.sort_members();
    TRY(listing.add(row, network.at("Labels")));
  }
  listing.print(app.out);
  return 0;
}

Result<int> remove(App& app, const Invocation& call) {
  std::string errors;
  bool failed = false;
  for (const std::string& name : call.args) {
    auto gone = app.engine().call("DELETE", "/networks/" + name_path(name), {});
    if (gone) {
      app.out.line(name);
      continue;
    }
    if (call.flags.on("force") && gone.error().kind == ErrorKind::kNotFound) continue;
    errors += (errors.empty() ? "" : "\n") + gone.error().message;
    failed = true;
  }
  if (!errors.empty()) app.complain(errors);
  return failed ? 1 : 0;
}

Result<int> connect(App& app, const Invocation& call) {
  const auto& flags = call.flags;
  JsonValue endpoint = JsonValue::object(), ipam = JsonValue::object(), body = JsonValue::object();
  if (std::string_view address = flags.text("ip"); !address.empty()) ipam.set("IPv4Address", std::string(address));
  if (std::string_view address = flags.text("ip6"); !address.empty()) ipam.set("IPv6Address", std::string(address));
  if (auto local = flags.list("link-local-ip"); !local.empty()) ipam.set("LinkLocalIPs", local);
  if (!ipam.members().empty()) endpoint.set("IPAMConfig", ipam);
  if (auto aliases = flags.list("alias"); !aliases.empty()) endpoint.set("Aliases", aliases);
  if (auto links = flags.list("link"); !links.empty()) endpoint.set("Links", links);
  if (auto options = flags.list("driver-opt"); !options.empty()) endpoint.set("DriverOpts", string_map(options));
  if (int64_t priority = flags.integer("gw-priority")) endpoint.set("GwPriority", priority);
  body.set("Container", call.args[1]);
  body.set("EndpointConfig", endpoint);
  TRY(app.engine().post("/networks/" + name_path(call.args[0]) + "/connect", {}, body.dump(false)));
  return 0;
}

Result<int> disconnect(App& app, const Invocation& call) {
  JsonValue body = JsonValue::object();
  body.set("Container", call.args[1]);
  body.set("Force", call.flags.on("force"));
  TRY(app.engine().post("/networks/" + name_path(call.args[0]) + "/disconnect", {}, body.dump(false)));
  return 0;
}

constexpr FlagSpec text_flag(const char* name, const char* usage, const char* initial = "") {
  return {.name = name, .kind = FlagKind::kString, .type_name = "string", .usage = usage, .initial = initial};
}
constexpr FlagSpec list_flag(const char* name, const char* type, const char* usage) {
  return {.name = name, .kind = FlagKind::kList, .type_name = type, .usage = usage};
}

constexpr FlagSpec kCreateFlags[] = {
    {.name = "attachable", .usage = "Enable manual container attachment"},
    list_flag("aux-address", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
    text_flag("config-from", "The network from which to copy the configuration"),
    {.name = "config-only", .usage = "Create a configuration only network"},
    {.name = "driver",
     .shorthand = 'd',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Driver to manage the Network",
     .initial = "bridge"},
    list_flag("gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
    {.name = "ingress", .usage = "Create swarm routing-mesh network"},
    {.name = "internal", .usage = "Restrict external access to the network"},
    list_flag("ip-range", "strings", "Allocate container ip from a sub-range"),
    text_flag("ipam-driver", "IP Address Management Driver", "default"),
    list_flag("ipam-opt", "map", "Set IPAM driver specific options"),
    {.name = "ipv4", .usage = "Enable or disable IPv4 address assignment", .initial = "true"},
    {.name = "ipv6", .usage = "Enable or disable IPv6 address assignment"},
    {.name = "label",
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Set metadata on a network",
     .check = check_label},
    {.name = "opt",
     .shorthand = 'o',
     .kind = FlagKind::kList,
     .type_name = "map",
     .usage = "Set driver specific options"},
    text_flag("scope", "Control the network's scope"),
    list_flag("subnet", "strings", "Subnet in CIDR format that represents a network segment"),
};
constexpr FlagSpec kListFlags[] = {
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .type_name = "filter",
     .usage = "Provide filter values (e.g. \"driver=bridge\")",
     .check = check_filter},
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "no-trunc", .usage = "Do not truncate the output"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only display network IDs"},
};
constexpr FlagSpec kRemoveFlags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Do not error if the network does not exist"},
};
constexpr FlagSpec kConnectFlags[] = {
    list_flag("alias", "strings", "Add network-scoped alias for the container"),
    list_flag("driver-opt", "strings", "driver options for the network"),
    {.name = "gw-priority",
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "Highest gw-priority provides the default gateway. Accepts positive and negative values"},
    text_flag("ip", "IPv4 address (e.g., \"172.30.100.104\")"),
    text_flag("ip6", "IPv6 address (e.g., \"2001:db8::33\")"),
    list_flag("link", "list", "Add link to another container"),
    list_flag("link-local-ip", "strings", "Add a link-local address for the container"),
};
constexpr FlagSpec kDisconnectFlags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Force the container to disconnect from a network"},
};

}  // namespace

std::span<const Command> network_commands() {
  static constexpr Command kCommands[] = {
      {.names = "network create",
       .usage = "[OPTIONS] NETWORK",
       .summary = "Create a network",
       .flags = kCreateFlags,
       .min_args = 1,
       .max_args = 1,
       .function = create},
      {.names = "network ls;network list",
       .usage = "[OPTIONS]",
       .summary = "List networks",
       .flags = kListFlags,
       .function = list},
      {.names = "network rm;network remove",
       .usage = "NETWORK [NETWORK...]",
       .summary = "Remove one or more networks",
       .flags = kRemoveFlags,
       .min_args = 1,
       .max_args = -1,
       .function = remove},
      {.names = "network connect",
       .usage = "[OPTIONS] NETWORK CONTAINER",
       .summary = "Connect a container to a network",
       .flags = kConnectFlags,
       .min_args = 2,
       .max_args = 2,
       .function = connect},
      {.names = "network disconnect",
       .usage = "[OPTIONS] NETWORK CONTAINER",
       .summary = "Disconnect a container from a network",
       .flags = kDisconnectFlags,
       .min_args = 2,
       .max_args = 2,
       .function = disconnect},
  };
  return kCommands;
}

}  // namespace caisson::cli
