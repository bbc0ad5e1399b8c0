// SPDX-License-Identifier: Apache-2.0
#include "engine/network_plan.h"

#include <algorithm>

#include "base/ip_address.h"
#include "base/text.h"
#include "engine/cni_networks.h"

namespace caisson::engine {

namespace {

constexpr const char* kEnableIpv4 = "com.docker.network.enable_ipv4";
constexpr const char* kEnableIpv6 = "com.docker.network.enable_ipv6";
constexpr const char* kPrefix = "com.docker.network.container_iface_prefix";
constexpr const char* kInterfaceName = "com.docker.network.endpoint.ifname";
constexpr const char* kSysctls = "com.docker.network.endpoint.sysctls";
constexpr const char* kLimitIn = "com.caisson.network.limit.ingress";
constexpr const char* kLimitOut = "com.caisson.network.limit.egress";
constexpr uint64_t kMinRate = 8'000, kMaxRate = 1'000'000'000'000;  // bits a second
constexpr size_t kMaxTrusted = 64;                                  // interfaces of the host that one network trusts
constexpr size_t kMaxInterfaceName = 15;                            // IFNAMSIZ - 1
constexpr size_t kMaxInterfacePrefix = 13;                          // with room for two digits

using Options = spec::StringMap;

std::string shown(const std::string& value) { return value.substr(0, 64); }

std::unexpected<Error> bad_value(const std::string& key, const std::string& value, const char* why) {
  return fail(ErrorKind::kInvalid, "failed to parse %s value: '%s' %s", key.c_str(), shown(value).c_str(), why);
}

const std::string* find(const Options& options, const char* key) {
  auto found = options.find(key);
  return found == options.end() ? nullptr : &found->second;
}

Result<bool> truth(const Options& options, const char* key, bool otherwise) {
  const auto* value = find(options, key);
  if (!value) return otherwise;
  std::string text = to_lower(*value);
  if (text == "true" || text == "1" || text == "t") return true;
  if (text == "false" || text == "0" || text == "f") return false;
  return bad_value(key, *value, "is neither true nor false");
}

bool is_interface_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxInterfaceName || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c <= ' ' || c >= 127 || c == '/' || c == ':'; });
}

Result<network::GatewayMode> gateway_mode(const Options& options, const char* key, bool internal) {
  using network::GatewayMode;
  const auto* value = find(options, key);
  if (!value || value->empty() || *value == "nat") return GatewayMode::kNat;
  if (*value == "nat-unprotected") return GatewayMode::kNatUnprotected;
  if (*value == "routed") return GatewayMode::kRouted;
  if (*value != "isolated") return bad_value(key, *value, "is none of nat, nat-unprotected, routed and isolated");
  if (!internal) return fail(ErrorKind::kInvalid, "gateway mode 'isolated' can only be used for an internal network");
  return GatewayMode::kIsolated;
}

// Empty without the option, and for the address that means "every one".
Result<std::string> address(const Options& options, const char* key, std::optional<bool> v6) {
  const auto* value = find(options, key);
  if (!value || value->empty()) return std::string();
  auto parsed = parse_ip(*value);
  if (!parsed) return bad_value(key, *value, "is not an IP address");
  if (v6 && parsed->v6 != *v6) return bad_value(key, *value, *v6 ? "is not an IPv6 address" : "is not an IPv4 address");
  return parsed->is_any() ? std::string() : parsed->text();
}

Result<> read_bridge_options(const NetworkRecord& record, network::NetworkSpec& spec) {
  const auto& options = record.options;
  spec.bridge = "br-" + record.id.substr(0, 12);
  constexpr const char* kName = "com.docker.network.bridge.name";
  if (const auto* name = find(options, kName); name && !name->empty()) {
    if (!is_interface_name(*name)) return bad_value(kName, *name, "is not a bridge name: one has 1 to 15 characters");
    spec.bridge = *name;
  }
  spec.icc = TRY(truth(options, "com.docker.network.bridge.enable_icc", true));
  spec.masquerade = TRY(truth(options, "com.docker.network.bridge.enable_ip_masquerade", true));
  spec.bridge_without_address = TRY(truth(options, "com.docker.network.bridge.inhibit_ipv4", false));
  spec.v4.mode = TRY(gateway_mode(options, "com.docker.network.bridge.gateway_mode_ipv4", record.internal));
  spec.v6.mode = TRY(gateway_mode(options, "com.docker.network.bridge.gateway_mode_ipv6", record.internal));
  spec.host_ip = TRY(address(options, "com.docker.network.bridge.host_binding_ipv4", std::nullopt));
  spec.v4.source = TRY(address(options, "com.docker.network.host_ipv4", false));
  spec.v6.source = TRY(address(options, "com.docker.network.host_ipv6", true));
  constexpr const char* kMtu = "com.docker.network.driver.mtu";
  if (const auto* mtu = find(options, kMtu); mtu && !mtu->empty()) {
    auto value = parse_uint(*mtu);
    if (!value || *value > 65535) return bad_value(kMtu, *mtu, "is not a number of bytes");
    spec.mtu = static_cast<int>(*value);
  }
  constexpr const char* kTrusted = "com.docker.network.bridge.trusted_host_interfaces";
  if (const auto* names = find(options, kTrusted); names && !names->empty()) {
    // A colon, as in Docker: commas separate options for some clients.
    for (const auto& name : split(*names, ':')) {
      if (!is_interface_name(name)) return bad_value(kTrusted, *names, "has a word that is no name of an interface");
      spec.trusted_interfaces.push_back(name);
    }
    if (spec.trusted_interfaces.size() > kMaxTrusted) return bad_value(kTrusted, *names, "names too many interfaces");
  }
  if (const auto* prefix = find(options, kPrefix); prefix && !prefix->empty())
    if (!is_interface_name(*prefix) || prefix->size() > kMaxInterfacePrefix)
      return bad_value(kPrefix, *prefix, "cannot begin a name of an interface");
  return {};
}

// One problem a line, as Docker tells them.
void check_pool(const spec::NetworkIpamConfig& config, const IpSubnet& subnet, std::vector<std::string>& problems) {
  if (subnet.address != subnet.network())
    problems.push_back("invalid subnet " + config.subnet + ": it should be " + subnet.text());
  const char* block = subnet.v6() ? "parent subnet is an IPv6 block" : "parent subnet is an IPv4 block";
  if (!config.ip_range.empty()) {
    auto range = parse_ip_subnet(config.ip_range);
    std::string prefix = "invalid ip-range " + shown(config.ip_range) + ": ";
    if (!range)
      problems.push_back(prefix + range.error().message);
    else if (range->v6() != subnet.v6())
      problems.push_back(prefix + block);
    else if (range->prefix < subnet.prefix || !subnet.contains(range->address))
      problems.push_back(prefix + "it is not in the subnet " + config.subnet);
    else if (range->address != range->network())
      problems.push_back(prefix + "it should be " + range->text());
  }
  auto check_address = [&](const char* what, const std::string& text) {
    auto parsed = parse_ip(text);
    std::string prefix = std::string("invalid ") + what + " " + shown(text) + ": ";
    if (!parsed)
      problems.push_back(prefix + "invalid address");
    else if (parsed->v6 != subnet.v6())
      problems.push_back(prefix + block);
    else if (!subnet.contains(*parsed))
      problems.push_back(prefix + "parent subnet does not contain this address");
  };
  if (!config.gateway.empty()) check_address("gateway", config.gateway);
  for (const auto& [name, text] : config.auxiliary) check_address("auxiliary address", text);
}

bool is_v6(const spec::NetworkIpamConfig& config) { return config.subnet.find(':') != std::string::npos; }

}  // namespace

Result<NetworkFamilies> families_of(const spec::NetworkCreate& request, const Options& options) {
  NetworkFamilies families;
  families.v4 = request.enable_ipv4 ? *request.enable_ipv4 : TRY(truth(options, kEnableIpv4, true));
  families.v6 = request.enable_ipv6 ? *request.enable_ipv6 : TRY(truth(options, kEnableIpv6, false));
  if (!families.v4 && !families.v6) return fail(ErrorKind::kInvalid, "IPv4 or IPv6 must be enabled");
  return families;
}

Result<> check_ipam(const spec::NetworkIpam& ipam, NetworkFamilies families) {
  if (!ipam.driver.empty() && ipam.driver != "default")
    return fail(ErrorKind::kNotFound, "error looking up IPAM driver \"%s\": there is only the driver 'default'",
                shown(ipam.driver).c_str());
  std::vector<std::string> problems;
  size_t subnets4 = 0, subnets6 = 0;
  for (const auto& config : ipam.config) {
    if (config.subnet.empty()) {
      if (!config.gateway.empty() || !config.ip_range.empty() || !config.auxiliary.empty())
        problems.push_back("a gateway, range or auxiliary address without a subnet");
      continue;
    }
    auto subnet = parse_ip_subnet(config.subnet);
    if (!subnet) {
      problems.push_back("invalid subnet " + shown(config.subnet) + ": " + subnet.error().message);
      continue;
    }
    if (!(subnet->v6() ? families.v6 : families.v4)) continue;
    ++(subnet->v6() ? subnets6 : subnets4);
    check_pool(config, *subnet, problems);
  }
  for (auto [count, name] : {std::pair{subnets4, "IPv4"}, {subnets6, "IPv6"}})
    if (count > 1) problems.push_back(format("bridge networks have one %s subnet, not %zu", name, count));
  if (problems.empty()) return {};
  return fail(ErrorKind::kInvalid, "invalid network config:\n%s", join(problems, "\n").c_str());
}

Result<network::NetworkSpec> network_spec_of(const NetworkRecord& record) {
  network::NetworkSpec spec;
  spec.id = record.id;
  spec.name = record.name;
  spec.internal = record.internal;
  spec.v4.enabled = record.enable_ipv4;
  spec.v6.enabled = record.enable_ipv6;
  TRY(read_bridge_options(record, spec));
  for (const auto& config : record.ipam.config) {
    auto& plan = is_v6(config) ? spec.v6 : spec.v4;
    if (config.subnet.empty() || !plan.enabled) continue;
    plan.subnet = config.subnet;
    plan.gateway = config.gateway;
    plan.range = config.ip_range;
    for (const auto& [name, text] : config.auxiliary) plan.reserved.push_back(text);
  }
  return spec;
}

void note_addresses(NetworkRecord& record, const network::NetworkSpec& spec) {
  std::vector<spec::NetworkIpamConfig> configs;
  for (const auto* plan : {&spec.v4, &spec.v6}) {
    if (!plan->enabled || plan->subnet.empty()) continue;
    bool six = plan == &spec.v6;
    auto given = std::find_if(record.ipam.config.begin(), record.ipam.config.end(),
                              [&](const auto& config) { return !config.subnet.empty() && is_v6(config) == six; });
    configs.push_back(given == record.ipam.config.end() ? spec::NetworkIpamConfig{} : *given);
    configs.back().subnet = plan->subnet;
    configs.back().gateway = plan->gateway;
  }
  record.ipam.config = std::move(configs);
}

Result<> check_endpoint_addresses(const NetworkRecord& network, const spec::EndpointSettings& settings) {
  TRY(endpoint_options_of(settings.driver_opts));
  if (!settings.ipam_config) return {};
  if (network.driver == kCniDriver) return {};  // its plugins know
  for (bool six : {false, true}) {
    const auto& wanted = six ? settings.ipam_config->ipv6_address : settings.ipam_config->ipv4_address;
    if (wanted.empty()) continue;
    if (network.predefined())
      return fail(ErrorKind::kInvalid, "user specified IP address is supported on user defined networks only");
    auto address = parse_ip(wanted);
    const char* family = six ? "IPv6" : "IPv4";
    if (!address || address->v6 != six)
      return fail(ErrorKind::kInvalid,
                  "invalid config for network %s: invalid endpoint settings:\ninvalid %s address: %s",
                  network.name.c_str(), family, wanted.substr(0, 64).c_str());
    if (!(six ? network.enable_ipv6 : network.enable_ipv4))
      return fail(ErrorKind::kInvalid, "network %s has no %s addresses", network.name.c_str(), family);
    if (!(six ? network.own_subnet6 : network.own_subnet))
      return fail(
          ErrorKind::kInvalid,
          "user specified IP address is supported only when connecting to networks with user configured subnets");
    bool inside = false;
    for (const auto& config : network.ipam.config)
      if (auto subnet = parse_ip_subnet(config.subnet)) inside = inside || subnet->contains(*address);
    if (!inside)
      return fail(
          ErrorKind::kInvalid,
          "invalid config for network %s: invalid endpoint settings:\nno configured subnet contains IP address %s",
          network.name.c_str(), wanted.substr(0, 64).c_str());
  }
  return {};
}

// "800kbit", "10Mbit", "2.5gbit"; a number alone is bits a second.
static Result<uint64_t> rate_of(const Options& options, const char* key) {
  const auto* value = find(options, key);
  if (!value || value->empty()) return 0;
  std::string text = to_lower(*value);
  size_t end = text.find_first_not_of("0123456789.");
  std::string unit = end == std::string::npos ? "" : text.substr(end);
  std::string number = text.substr(0, end), fraction;
  if (auto parts = split_once(number, '.')) {
    number = parts->first;
    fraction = parts->second;
  }
  uint64_t factor = unit.empty() || unit == "bit" ? 1
                    : unit == "kbit"              ? 1'000
                    : unit == "mbit"              ? 1'000'000
                    : unit == "gbit"              ? 1'000'000'000
                                                  : 0;
  auto whole = parse_uint(number);
  auto parts = fraction.empty() ? std::optional<uint64_t>(0) : parse_uint(fraction);
  if (!factor || !whole || !parts || fraction.size() > 3 || number.size() > 13)
    return bad_value(key, *value, "is not a rate as 500kbit, 10mbit or 1gbit");
  uint64_t thousandths = *parts;
  for (size_t i = fraction.size(); i < 3; ++i) thousandths *= 10;
  if (*whole > kMaxRate / factor) return bad_value(key, *value, "is above 1000gbit");
  uint64_t rate = *whole * factor + thousandths * factor / 1000;
  if (rate < kMinRate || rate > kMaxRate) return bad_value(key, *value, "is not between 8kbit and 1000gbit");
  return rate;
}

Result<EndpointOptions> endpoint_options_of(const spec::StringMap& options) {
  EndpointOptions out;
  if (const auto* name = find(options, kInterfaceName)) out.interface = *name;
  if (const auto* list = find(options, kSysctls))
    for (const auto& text : split(*list, ',')) out.sysctls.push_back(std::string(trim(text)));
  out.limit_in = TRY(rate_of(options, kLimitIn));
  out.limit_out = TRY(rate_of(options, kLimitOut));
  return out;
}

std::string interface_prefix(const NetworkRecord& record) {
  const auto* prefix = find(record.options, kPrefix);
  return prefix && !prefix->empty() ? *prefix : "eth";
}

}  // namespace caisson::engine
