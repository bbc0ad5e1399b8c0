// SPDX-License-Identifier: Apache-2.0
#include "network/bridge.h"

#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "sys/files.h"

namespace caisson::network {

namespace {
constexpr const char* kForward = "/proc/sys/net/ipv4/ip_forward";

std::optional<Subnet> usable_address(const std::vector<sys::LinkAddress>& addresses, int index) {
  for (const auto& entry : addresses) {
    Subnet subnet{entry.address, entry.prefix};
    if (entry.index == index && entry.prefix >= 8 && entry.prefix <= 30 && entry.address != subnet.network())
      return subnet;
  }
  return std::nullopt;
}

// No IPv6 address is ever given to containers, so the bridge speaks none: a container cannot advertise
// itself to the host as a router (CVE-2020-13401), nor reach the host by link-local addresses.
Result<> silence_ipv6(const std::string& bridge) {
  for (auto [key, value] : {std::pair{"accept_ra", "0"}, std::pair{"disable_ipv6", "1"}}) {
    auto done = sys::write_file("/proc/sys/net/ipv6/conf/" + bridge + "/" + key, value);
    if (!done && done.error().err != ENOENT) return with_context(done.error(), "turn off IPv6 of the bridge");
  }
  return {};
}

Result<> enable_forwarding() {
  auto now = TRY(sys::read_file(kForward, 16));
  if (trim(now) != "0") return {};
  TRY(sys::write_file(kForward, "1"));
  log_info("turned on net.ipv4.ip_forward, which container networking needs");
  return {};
}
}  // namespace

Result<Subnet> plan_bridge_subnet(const std::string& name, const std::optional<Subnet>& wanted,
                                  const std::vector<SubnetBlock>& blocks, const std::optional<Subnet>& hint) {
  if (wanted) return *wanted;
  auto route = TRY(sys::RouteSocket::open());
  auto addresses = TRY(route.list_addresses());
  if (auto link = TRY(route.find_link(name)))
    if (auto subnet = usable_address(addresses, link->index)) return *subnet;
  if (hint) return *hint;
  std::vector<Subnet> used;
  for (const auto& entry : addresses) used.push_back({entry.address, entry.prefix});
  for (const auto& entry : TRY(route.list_routes())) used.push_back({entry.destination, entry.prefix});
  return choose_subnet(used, blocks);
}

Result<int> ensure_bridge(const BridgeSpec& spec, const Subnet& subnet) {
  auto route = TRY(sys::RouteSocket::open());
  auto link = TRY(route.find_link(spec.name));
  Rollback undo;
  if (!link) {
    TRY(route.create_bridge(spec.name, mac_of(subnet.address), spec.mtu, spec.owner));
    undo.add([&route, &spec] {
      auto deleted = route.delete_link(spec.name);
      if (!deleted) log_debug("%s, ignoring", deleted.error().message.c_str());
    });
    link = TRY(route.find_link(spec.name));
    if (!link) return fail(ErrorKind::kUnavailable, "bridge '%s' vanished while it was made", spec.name.c_str());
  }
  if (link->kind != "bridge")
    return fail(ErrorKind::kConflict, "link '%s' is there and is no bridge", spec.name.c_str());
  TRY(silence_ipv6(spec.name));
  bool present = false;
  for (const auto& entry : TRY(route.list_addresses())) {
    if (entry.index != link->index) continue;
    if (entry.address == subnet.address && entry.prefix == subnet.prefix) {
      present = true;
    } else if (link->alias == spec.owner) {
      // Left from before the configuration changed; containers of then keep no way out, as with Docker.
      auto removed = route.remove_address(entry.index, entry.address, entry.prefix);
      if (!removed) log_debug("%s, ignoring", removed.error().message.c_str());
    }
  }
  if (!present) TRY_CTX(route.add_address(link->index, subnet.address, subnet.prefix), "bridge '" + spec.name + "'");
  TRY(route.set_up(spec.name));
  TRY(enable_forwarding());
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
