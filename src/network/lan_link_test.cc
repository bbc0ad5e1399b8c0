// SPDX-License-Identifier: Apache-2.0
#include "network/lan_link.h"

#include <doctest/doctest.h>
#include <linux/if_link.h>

namespace caisson::network {

static const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static LanPlan plan(const char* driver, const std::map<std::string, std::string>& options, bool internal = false) {
  auto made = plan_lan(driver, options, kId, internal);
  REQUIRE_MESSAGE(made, made.error().message);
  return *made;
}
static std::string why(const char* driver, const std::map<std::string, std::string>& options) {
  auto made = plan_lan(driver, options, kId, false);
  return made ? "no error" : made.error().message;
}

TEST_CASE("lan: modes") {
  CHECK(plan("macvlan", {{"parent", "eth0"}}).mode == MACVLAN_MODE_BRIDGE);
  CHECK(plan("macvlan", {{"parent", "eth0"}, {"macvlan_mode", "vepa"}}).mode == MACVLAN_MODE_VEPA);
  CHECK(plan("macvlan", {{"parent", "eth0"}, {"macvlan_mode", "private"}}).mode == MACVLAN_MODE_PRIVATE);
  CHECK(plan("macvlan", {{"parent", "eth0"}, {"macvlan_mode", "passthru"}}).mode == MACVLAN_MODE_PASSTHRU);
  auto l2 = plan("ipvlan", {{"parent", "eth0"}});
  CHECK(l2.mode == IPVLAN_MODE_L2);
  CHECK_FALSE(l2.routed);
  CHECK_FALSE(l2.has_mac());
  auto l3s = plan("ipvlan", {{"parent", "eth0"}, {"ipvlan_mode", "l3s"}, {"ipvlan_flag", "vepa"}});
  CHECK(l3s.mode == IPVLAN_MODE_L3S);
  CHECK(l3s.flags == IPVLAN_F_VEPA);
  CHECK(l3s.routed);
  CHECK(why("macvlan", {{"macvlan_mode", "l2"}}) == "requested macvlan_mode 'l2' is not valid");
  CHECK(why("ipvlan", {{"ipvlan_mode", "bridge"}}) == "requested ipvlan_mode 'bridge' is not valid");
  CHECK(why("ipvlan", {{"ipvlan_flag", "l2"}}) == "requested ipvlan_flag 'l2' is not valid");
}

TEST_CASE("lan: parents") {
  auto vlan = plan("macvlan", {{"parent", "eth0.10"}});
  CHECK(vlan.parent == "eth0.10");
  CHECK(vlan.vlan_base == "eth0");
  CHECK(vlan.vlan == 10);
  // No VLANs, but names all the same.
  CHECK(plan("macvlan", {{"parent", "eth0.0"}}).vlan == 0);
  CHECK(plan("macvlan", {{"parent", "eth0.4095"}}).vlan == 0);
  CHECK(plan("macvlan", {{"parent", "br.x"}}).vlan == 0);
  auto none = plan("ipvlan", {});
  CHECK(none.dummy_parent);
  CHECK(none.parent == "dm-0123456789ab");
  auto internal = plan("macvlan", {{"parent", "eth0"}}, true);
  CHECK(internal.dummy_parent);
  CHECK(internal.parent == "dm-0123456789ab");
  CHECK(why("macvlan", {{"parent", "lo"}}) == "loopback interface is not a valid macvlan parent link");
  CHECK(why("macvlan", {{"parent", "a/b"}}) == "'a/b' is not a name for a network interface");
  CHECK(why("macvlan", {{"parent", "longer-than-names-are"}}).ends_with("' is not a name for a network interface"));
}

}  // namespace caisson::network
