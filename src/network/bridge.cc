// SPDX-License-Identifier: Apache-2.0
#include "network/bridge.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "sys/files.h"

namespace caisson::network {

namespace {
const std::string kIpv6Conf = "/proc/sys/net/ipv6/conf/";

bool is_link_local(const IpAddress& address) { return address.v6 && address.value >> 118 == 0xfe80 >> 6; }

std::optional<IpSubnet> usable_address(const std::vector<sys::LinkAddress>& addresses, int index, bool v6) {
  for (const auto& entry : addresses) {
    if (entry.index != index || entry.address.v6() != v6 || is_link_local(entry.address.address)) continue;
    if (auto subnet = parse_gateway(entry.address.address.text() + format("/%d", entry.address.prefix))) return *subnet;
  }
  return std::nullopt;
}

Result<> set_ipv6(const std::string& bridge, const char* key, const char* value) {
  auto done = sys::write_file(kIpv6Conf + bridge + "/" + key, value);
  if (!done && done.error().err != ENOENT) return with_context(done.error(), "set up IPv6 of the bridge");
  return {};
}

// Without IPv6 addresses of containers the bridge speaks none: a container cannot advertise itself to the
// host as a router (CVE-2020-13401), nor reach the host by link-local addresses. With them, the first still holds.
Result<> prepare_ipv6(const std::string& bridge, bool used) {
  TRY(set_ipv6(bridge, "accept_ra", "0"));
  // Until the check for duplicates of the link-local address ends, seconds later, no neighbour is asked for. Its MAC
  // address is the engine's own choice.
  if (used) TRY(set_ipv6(bridge, "accept_dad", "0"));
  return set_ipv6(bridge, "disable_ipv6", used ? "0" : "1");
}

Result<> turn_on(const std::string& path) {
  auto now = TRY(sys::read_file(path, 16));
  if (trim(now) != "0") return {};
  TRY(sys::write_file(path, "1"));
  std::string name = path.substr(strlen("/proc/sys/"));
  std::replace(name.begin(), name.end(), '/', '.');
  log_info("turned on %s, which container networking needs", name.c_str());
  return {};
}

// A host that forwards ignores router advertisements, unless accept_ra is 2: interfaces that listened go on doing so.
Result<> turn_on_ipv6() {
  const std::string path = kIpv6Conf + "all/forwarding";
  if (trim(TRY(sys::read_file(path, 16))) != "0") return {};
  for (const auto& entry : TRY(sys::list_dir(kIpv6Conf))) {
    std::string accept = kIpv6Conf + entry + "/accept_ra";
    auto now = sys::read_file(accept, 16);
    if (entry == "all" || !now || trim(*now) != "1") continue;
    if (auto done = sys::write_file(accept, "2"); !done) log_debug("%s, ignoring", done.error().message.c_str());
  }
  return turn_on(path);
}
}  // namespace

Result<IpSubnet> plan_bridge_subnet(const std::string& name, bool v6, const std::optional<IpSubnet>& wanted,
                                    const std::vector<SubnetBlock>& blocks, const std::optional<IpSubnet>& hint) {
  if (wanted) return *wanted;
  auto route = TRY(sys::RouteSocket::open());
  auto addresses = TRY(route.list_addresses());
  if (auto link = TRY(route.find_link(name)))
    if (auto subnet = usable_address(addresses, link->index, v6)) return *subnet;
  if (hint) return *hint;
  std::vector<IpSubnet> used;
  for (const auto& entry : addresses) used.push_back(entry.address);
  for (const auto& entry : TRY(route.list_routes())) used.push_back(entry.destination);
  return choose_subnet(v6, used, blocks);
}

Result<int> ensure_bridge(const BridgeSpec& spec) {
  auto route = TRY(sys::RouteSocket::open());
  auto link = TRY(route.find_link(spec.name));
  Rollback undo;
  if (!link) {
    TRY(route.create_bridge(spec.name, spec.mac, spec.mtu, spec.owner));
    undo.add([&route, &spec] {
      auto deleted = route.delete_link(spec.name);
      if (!deleted) log_debug("%s, ignoring", deleted.error().message.c_str());
    });
    link = TRY(route.find_link(spec.name));
    if (!link) return fail(ErrorKind::kUnavailable, "bridge '%s' vanished while it was made", spec.name.c_str());
  }
  if (link->kind != "bridge")
    return fail(ErrorKind::kConflict, "link '%s' is there and is no bridge", spec.name.c_str());
  auto has = [&](bool v6) {
    return std::any_of(spec.addresses.begin(), spec.addresses.end(),
                       [&](const IpSubnet& address) { return address.v6() == v6; });
  };
  TRY(prepare_ipv6(spec.name, has(true)));
  std::vector<IpSubnet> missing = spec.addresses;
  for (const auto& entry : TRY(route.list_addresses())) {
    if (entry.index != link->index || is_link_local(entry.address.address)) continue;
    if (std::erase(missing, entry.address)) continue;
    if (link->alias != spec.owner || (spec.foreign_ipv4 && !entry.address.v6())) continue;
    // Left from before the configuration changed; containers of then keep no way out, as with Docker.
    auto removed = route.remove_address(entry.index, entry.address);
    if (!removed) log_debug("%s, ignoring", removed.error().message.c_str());
  }
  for (const auto& address : missing) TRY_CTX(route.add_address(link->index, address), "bridge '" + spec.name + "'");
  TRY(route.set_up(spec.name));
  if (spec.forward && (has(false) || spec.foreign_ipv4)) TRY(turn_on("/proc/sys/net/ipv4/ip_forward"));
  if (spec.forward && has(true)) TRY(turn_on_ipv6());
  undo.commit();
  return link->index;
}

Result<> allow_loopback_publishing(const std::string& bridge) {
  return sys::write_file("/proc/sys/net/ipv4/conf/" + bridge + "/route_localnet", "1");
}

Result<> remove_bridge(const BridgeSpec& spec) {
  auto route = TRY(sys::RouteSocket::open());
  auto link = TRY(route.find_link(spec.name));
  if (!link || link->kind != "bridge" || link->alias != spec.owner) return {};
  return route.delete_link(spec.name);
}

}  // namespace caisson::network
