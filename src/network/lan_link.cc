// SPDX-License-Identifier: Apache-2.0
#include "network/lan_link.h"

#include <linux/if_link.h>

#include "base/rollback.h"
#include "base/text.h"

namespace caisson::network {

namespace {

struct Word {
  const char* text;
  uint32_t value;
};
constexpr Word kMacvlanModes[] = {{"bridge", MACVLAN_MODE_BRIDGE},
                                  {"private", MACVLAN_MODE_PRIVATE},
                                  {"vepa", MACVLAN_MODE_VEPA},
                                  {"passthru", MACVLAN_MODE_PASSTHRU}};
constexpr Word kIpvlanModes[] = {{"l2", IPVLAN_MODE_L2}, {"l3", IPVLAN_MODE_L3}, {"l3s", IPVLAN_MODE_L3S}};
constexpr Word kIpvlanFlags[] = {{"bridge", 0}, {"private", IPVLAN_F_PRIVATE}, {"vepa", IPVLAN_F_VEPA}};

// The first word of the table where the option is not given.
template <size_t N>
Result<uint32_t> choose(const std::map<std::string, std::string>& options, const char* key, const Word (&table)[N]) {
  auto found = options.find(key);
  if (found == options.end() || found->second.empty()) return table[0].value;
  for (const auto& word : table)
    if (found->second == word.text) return word.value;
  return fail(ErrorKind::kInvalid, "requested %s %s is not valid", key, quoted(found->second.substr(0, 32)).c_str());
}

}  // namespace

bool LanPlan::takes_mac() const { return has_mac() && mode != MACVLAN_MODE_PASSTHRU; }

bool is_lan_driver(const std::string& driver) { return driver == "macvlan" || driver == "ipvlan"; }

Result<LanPlan> plan_lan(const std::string& driver, const std::map<std::string, std::string>& options,
                         const std::string& network_id, bool internal) {
  LanPlan plan;
  bool macvlan = driver == "macvlan";
  plan.kind = macvlan ? sys::UpperKind::kMacvlan : sys::UpperKind::kIpvlan;
  if (macvlan) {
    plan.mode = TRY(choose(options, "macvlan_mode", kMacvlanModes));
  } else {
    plan.mode = TRY(choose(options, "ipvlan_mode", kIpvlanModes));
    plan.flags = static_cast<uint16_t>(TRY(choose(options, "ipvlan_flag", kIpvlanFlags)));
    plan.routed = plan.mode != IPVLAN_MODE_L2;
  }
  if (auto given = options.find("parent"); given != options.end()) plan.parent = given->second;
  if (plan.parent.empty() || internal) {
    plan.dummy_parent = true;
    plan.parent = "dm-" + network_id.substr(0, 12);
    return plan;
  }
  if (!sys::is_interface_name(plan.parent))
    return fail(ErrorKind::kInvalid, "%s is not a name for a network interface",
                quoted(plan.parent.substr(0, 32)).c_str());
  if (plan.parent == "lo")
    return fail(ErrorKind::kInvalid, "loopback interface is not a valid %s parent link", driver.c_str());
  if (size_t dot = plan.parent.rfind('.'); dot != std::string::npos && dot > 0) {
    auto number = parse_uint(plan.parent.substr(dot + 1));
    if (number && *number >= 1 && *number <= 4094) {
      plan.vlan_base = plan.parent.substr(0, dot);
      plan.vlan = static_cast<uint16_t>(*number);
    }
  }
  return plan;
}

Result<> check_lan_kernel(const LanPlan& plan) {
  auto links = TRY(sys::UpperLinkSocket::open());
  auto need = [&](sys::UpperKind kind, const char* module) -> Result<> {
    if (TRY(links.is_known(kind))) return {};
    return fail(ErrorKind::kUnsupported, "this host's kernel has no %s (module '%s')", sys::kind_name(kind), module);
  };
  TRY(need(plan.kind, sys::kind_name(plan.kind)));
  if (plan.dummy_parent) return need(sys::UpperKind::kDummy, "dummy");
  auto route = TRY(sys::RouteSocket::open());
  if (TRY(route.find_link(plan.parent))) return {};
  if (!plan.vlan) return fail(ErrorKind::kInvalid, "the parent interface '%s' was not found", plan.parent.c_str());
  if (!TRY(route.find_link(plan.vlan_base)))
    return fail(ErrorKind::kInvalid, "the parent interface '%s' of VLAN %u was not found", plan.vlan_base.c_str(),
                plan.vlan);
  return need(sys::UpperKind::kVlan, "8021q");
}

Result<int> ensure_lan_parent(const LanPlan& plan, const std::string& alias) {
  auto route = TRY(sys::RouteSocket::open());
  if (auto link = TRY(route.find_link(plan.parent))) {
    // One of the administrator's is used as it is: he has set it down for a reason, or will set it up.
    if (!link->up && link->alias == alias) TRY(route.set_up(plan.parent));
    return link->index;
  }
  if (!plan.vlan && !plan.dummy_parent)
    return fail(ErrorKind::kInvalid, "the parent interface '%s' was not found", plan.parent.c_str());
  sys::UpperLink made;
  made.name = plan.parent;
  if (!plan.dummy_parent) {
    auto base = TRY(route.find_link(plan.vlan_base));
    if (!base)
      return fail(ErrorKind::kInvalid, "the parent interface '%s' of VLAN %u was not found", plan.vlan_base.c_str(),
                  plan.vlan);
    made.kind = sys::UpperKind::kVlan;
    made.parent = base->index;
    made.mode = plan.vlan;
  }
  auto links = TRY(sys::UpperLinkSocket::open());
  TRY(links.create(made));
  Rollback undo;
  undo.add([&] { (void)route.delete_link(plan.parent); });
  TRY(links.set_alias(plan.parent, alias));
  TRY(route.set_up(plan.parent));
  auto link = TRY(route.find_link(plan.parent));
  if (!link) return fail(ErrorKind::kNotFound, "link '%s' is gone again", plan.parent.c_str());
  undo.commit();
  return link->index;
}

Result<> remove_lan_parent(const LanPlan& plan, const std::string& alias) {
  auto route = TRY(sys::RouteSocket::open());
  auto link = TRY(route.find_link(plan.parent));
  if (!link || link->alias != alias || (link->kind != "vlan" && link->kind != "dummy")) return {};
  return route.delete_link(plan.parent);
}

Result<> create_lan_link(const LanPlan& plan, int parent, int netns, const std::string& inside,
                         const std::optional<sys::MacAddress>& mac, int mtu) {
  sys::UpperLink link;
  link.kind = plan.kind;
  link.name = inside;
  link.parent = parent;
  link.mode = plan.mode;
  link.flags = plan.flags;
  if (plan.has_mac()) link.mac = mac;
  link.mtu = mtu;
  link.netns = netns;
  return TRY(sys::UpperLinkSocket::open()).create(link);
}

}  // namespace caisson::network
