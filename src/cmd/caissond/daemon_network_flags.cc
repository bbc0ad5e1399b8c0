// SPDX-License-Identifier: Apache-2.0
// Flags about bridges, addresses and rules.
#include "base/ip_address.h"
#include "base/text.h"
#include "cmd/caissond/daemon_flags.h"

namespace caisson {

namespace {

constexpr size_t kMaxPools = 64;

const char* family_name(bool v6) { return v6 ? "IPv6" : "IPv4"; }

Result<> set_address(std::string& target, const std::string& value, bool v6) {
  auto address = parse_ip(value);
  if (!address || address->v6 != v6)
    return fail(ErrorKind::kInvalid, "expected an %s address, got %s", family_name(v6), quoted(value).c_str());
  target = address->text();
  return {};
}

// With the host's bits for the address of a bridge, without them for a range.
Result<> set_subnet(std::string& target, const std::string& value, bool v6, bool is_range) {
  auto subnet = parse_ip_subnet(value);
  if (!subnet || subnet->v6() != v6)
    return fail(ErrorKind::kInvalid, "expected an %s address with prefix length, got %s", family_name(v6),
                quoted(value).c_str());
  if (is_range && subnet->address != subnet->network())
    return fail(ErrorKind::kInvalid, "%s should be %s", quoted(value).c_str(), subnet->text().c_str());
  target = value;
  return {};
}

Result<> set_bool(bool& target, const std::string& value) {
  target = TRY(parse_bool(value));
  return {};
}

// "base=10.200.0.0/16,size=26"
Result<> add_pool(DaemonOptions& options, const std::string& value) {
  engine::NetworkOptions::Block block;
  for (const auto& field : split(value, ',')) {
    auto pair = split_once(field, '=');
    if (!pair)
      return fail(ErrorKind::kInvalid, "expected base=ADDRESS/PREFIX,size=PREFIX, got %s", quoted(value).c_str());
    std::string key(trim(pair->first)), text(trim(pair->second));
    if (key == "base") {
      block.base = text;
    } else if (key == "size") {
      block.size = static_cast<int>(parse_uint(text).value_or(0));
    } else {
      return fail(ErrorKind::kInvalid, "unexpected key %s in %s", quoted(key).c_str(), quoted(value).c_str());
    }
  }
  auto base = parse_ip_subnet(block.base);
  if (!base) return fail(ErrorKind::kInvalid, "invalid base pool %s", quoted(block.base).c_str());
  if (base->address != base->network())
    return fail(ErrorKind::kInvalid, "invalid base pool %s: it should be %s", quoted(block.base).c_str(),
                base->text().c_str());
  if (block.size < base->prefix || block.size > (base->v6() ? 126 : 30))
    return fail(ErrorKind::kInvalid, "invalid pool size %d for base %s: a subnet has a prefix of %d to %d", block.size,
                block.base.c_str(), base->prefix, base->v6() ? 126 : 30);
  if (options.engine.network.blocks.size() >= kMaxPools)
    return fail(ErrorKind::kInvalid, "more than %zu address pools", kMaxPools);
  options.engine.network.blocks.push_back(std::move(block));
  return {};
}

// "bridge=com.docker.network.driver.mtu=1234"
Result<> add_network_option(DaemonOptions& options, const std::string& value) {
  auto driver = split_once(value, '=');
  auto option = driver ? split_once(driver->second, '=') : std::nullopt;
  if (!option || driver->first.empty() || option->first.empty())
    return fail(ErrorKind::kInvalid, "expected DRIVER=OPTION=VALUE, got %s", quoted(value).c_str());
  options.engine.network.default_options[driver->first][option->first] = option->second;
  return {};
}

Result<> add_host_gateway(DaemonOptions& options, const std::string& value) {
  auto& list = options.engine.network.host_gateway;
  for (const auto& text : split(value, ',')) {
    auto address = parse_ip(trim(text));
    if (!address) return fail(ErrorKind::kInvalid, "expected an IP address, got %s", quoted(text).c_str());
    for (const auto& other : list)
      if (parse_ip(other)->v6 == address->v6)
        return fail(ErrorKind::kInvalid, "there is one %s address for host-gateway, got %s and %s",
                    family_name(address->v6), other.c_str(), text.c_str());
    list.push_back(address->text());
  }
  return {};
}

constexpr Flag kFlags[] = {
    {.name = "allow-direct-routing",
     .key = "allow-direct-routing",
     .argument = nullptr,
     .help = "Other hosts reach published ports at the containers' own addresses, if they route there (default false)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return set_bool(o.engine.network.direct_routing, v);
     }},
    {.name = "bip",
     .key = "bip",
     .argument = "CIDR",
     .help = "IPv4 address of the bridge, as 172.17.0.1/16",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return set_subnet(o.engine.bridge_address, v, false, false);
     }},
    {.name = "bip6",
     .key = "bip6",
     .argument = "CIDR",
     .help = "IPv6 address of the bridge, as fd00:1::1/64; with --ipv6",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return set_subnet(o.engine.network.bridge_address6, v, true, false);
     }},
    {.name = "bridge",
     .key = "bridge",
     .argument = "NAME",
     .help = "Name of the bridge interface (default caisson0)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (v.empty() || v.size() > 15)
         return fail(ErrorKind::kInvalid, "an interface name has 1 to 15 characters, got %s", quoted(v).c_str());
       o.engine.bridge = v;
       return {};
     }},
    {.name = "bridge-accept-fwmark",
     .key = "bridge-accept-fwmark",
     .argument = "MARK",
     .help = "Refused: use a rule in the administrator's chain",
     .apply = [](DaemonOptions&, const std::string& v) -> Result<> {
       return fail(ErrorKind::kUnsupported,
                   "packets cannot be let through by the mark %s: put a rule into the administrator's chain",
                   quoted(v).c_str());
     }},
    {.name = "default-address-pool",
     .key = "default-address-pools",
     .argument = "base=CIDR,size=PREFIX",
     .help = "Subnets of networks that name none are cut from there; may be repeated, for both families",
     .apply = add_pool,
     .form = FlagForm::kList},
    {.name = "default-gateway",
     .key = "default-gateway",
     .argument = "ADDRESS",
     .help = "IPv4 gateway of containers on the default network, instead of the bridge",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return set_address(o.engine.network.default_gateway, v, false);
     }},
    {.name = "default-gateway-v6",
     .key = "default-gateway-v6",
     .argument = "ADDRESS",
     .help = "The same for IPv6",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return set_address(o.engine.network.default_gateway6, v, true);
     }},
    {.name = "default-network-opt",
     .key = "default-network-opts",
     .argument = "DRIVER=OPTION=VALUE",
     .help = "Option of new networks that do not name it; may be repeated",
     .apply = add_network_option,
     .form = FlagForm::kMap},
    {.name = "firewall",
     .key = "firewall",
     .argument = "own|honor",
     .help =
         "honor: the host's INPUT rules hold for published ports as for ports of the host's own programs (default own)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (v != "own" && v != "honor")
         return fail(ErrorKind::kInvalid, "expected own or honor, got %s", quoted(v).c_str());
       o.engine.network.honor_firewall = v == "honor";
       return {};
     }},
    {.name = "firewall-backend",
     .key = "firewall-backend",
     .argument = "NAME",
     .help = "nftables, which is the default and the only one",
     .apply = [](DaemonOptions&, const std::string& v) -> Result<> {
       if (v == "nftables" || v.empty()) return {};
       if (v == "iptables")
         return fail(ErrorKind::kUnsupported, "there is no iptables backend: rules are nftables of the engine's own");
       return fail(ErrorKind::kInvalid, "invalid firewall backend %s", quoted(v).c_str());
     }},
    {.name = "fixed-cidr",
     .key = "fixed-cidr",
     .argument = "CIDR",
     .help = "IPv4 addresses of containers on the default network are chosen from there",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return set_subnet(o.engine.network.fixed_cidr, v, false, true);
     }},
    {.name = "fixed-cidr-v6",
     .key = "fixed-cidr-v6",
     .argument = "CIDR",
     .help = "The same for IPv6",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return set_subnet(o.engine.network.fixed_cidr6, v, true, true);
     }},
    {.name = "host-gateway-ip",
     .key = "host-gateway-ips",
     .argument = "ADDRESS",
     .help = "What host-gateway means for --add-host, one address of each family; may be repeated (default: the "
             "gateway of the container's network)",
     .apply = add_host_gateway,
     .form = FlagForm::kList},
    {.name = "icc",
     .key = "icc",
     .argument = nullptr,
     .help = "Containers on the default network reach each other (default true)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> { return set_bool(o.engine.network.icc, v); }},
    {.name = "ip",
     .key = "ip",
     .argument = "ADDRESS",
     .help = "Where ports are published that name no address (default: everywhere)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto address = parse_ip(v);
       if (!address) return fail(ErrorKind::kInvalid, "expected an IP address, got %s", quoted(v).c_str());
       o.engine.network.host_ip = address->is_any() && !address->v6 ? "" : address->text();
       return {};
     }},
    {.name = "ip-forward",
     .key = "ip-forward",
     .argument = nullptr,
     .help = "Turn on forwarding on the host when a network needs it (default true)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> { return set_bool(o.engine.network.forward, v); }},
    {.name = "ip-forward-no-drop",
     .key = "ip-forward-no-drop",
     .argument = nullptr,
     .help = "Always so: the host's own policy of forwarding is never changed",
     .apply = [](DaemonOptions&, const std::string& v) -> Result<> {
       TRY(parse_bool(v));
       return {};
     }},
    {.name = "ip-masq",
     .key = "ip-masq",
     .argument = nullptr,
     .help = "Let containers reach other networks with the host's address (default true)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> { return set_bool(o.engine.ip_masq, v); }},
    {.name = "ip6tables",
     .key = "ip6tables",
     .argument = nullptr,
     .help = "Make rules for IPv6 (default true)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> { return set_bool(o.engine.network.rules6, v); }},
    {.name = "iptables",
     .key = "iptables",
     .argument = nullptr,
     .help = "Make rules at all (default true); they are nftables",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> { return set_bool(o.engine.network.rules, v); }},
    {.name = "ipv6",
     .key = "ipv6",
     .argument = nullptr,
     .help = "The default network has IPv6 too",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> { return set_bool(o.engine.network.ipv6, v); }},
    {.name = "mtu",
     .key = "mtu",
     .argument = "BYTES",
     .help = "MTU of the bridge (default 1500)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto value = parse_uint(v);
       if (!value || *value < 68 || *value > 65535)
         return fail(ErrorKind::kInvalid, "expected 68 to 65535, got %s", quoted(v).c_str());
       o.engine.mtu = static_cast<int>(*value);
       return {};
     }},
    {.name = "userland-proxy",
     .key = "userland-proxy",
     .argument = nullptr,
     .help = "Accepted, does nothing: there is no proxy process for a port",
     .apply = [](DaemonOptions&, const std::string& v) -> Result<> {
       TRY(parse_bool(v));
       return {};
     }},
    {.name = "userland-proxy-path",
     .key = "userland-proxy-path",
     .argument = "FILE",
     .help = "Accepted, does nothing",
     .apply = [](DaemonOptions& o, const std::string&) -> Result<> {
       o.notices.push_back("--userland-proxy-path is accepted and does nothing: there is no proxy process");
       return {};
     }},
};

}  // namespace

std::span<const Flag> network_flags() { return kFlags; }

}  // namespace caisson
