// SPDX-License-Identifier: Apache-2.0
// Networks of drivers macvlan and ipvlan: what their options say, and the links. Containers sit directly on a link of
// the host, the parent; there is no bridge, no address of the host and no rule.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "sys/rtnetlink_lan.h"

namespace caisson::network {

struct LanPlan {
  sys::UpperKind kind = sys::UpperKind::kMacvlan;
  std::string parent;     // the link that containers sit on
  std::string vlan_base;  // parent is VLAN `vlan` of this one, should it have to be made
  uint16_t vlan = 0;
  bool dummy_parent = false;  // nothing is reached by it but the network's own containers
  uint32_t mode = 0;
  uint16_t flags = 0;
  bool routed = false;  // ipvlan l3 and l3s: no neighbours, so the default route names the interface alone

  bool has_mac() const { return kind == sys::UpperKind::kMacvlan; }
  bool takes_mac() const;  // one of its own is given where none is asked for
};

bool is_lan_driver(const std::string& driver);

// Docker's options: parent, macvlan_mode, ipvlan_mode, ipvlan_flag. kInvalid for others' values.
Result<LanPlan> plan_lan(const std::string& driver, const std::map<std::string, std::string>& options,
                         const std::string& network_id, bool internal);

// kUnsupported when this kernel has no such links; kInvalid for a parent that cannot be one. Makes nothing.
Result<> check_lan_kernel(const LanPlan& plan);
// The parent's index. Makes a VLAN or a dummy that is missing, named ours by `alias`, and sets it up.
Result<int> ensure_lan_parent(const LanPlan& plan, const std::string& alias);
// Takes away a VLAN or a dummy that has this alias; absent is success.
Result<> remove_lan_parent(const LanPlan& plan, const std::string& alias);

// Inside the namespace, down and without addresses.
Result<> create_lan_link(const LanPlan& plan, int parent, int netns, const std::string& inside,
                         const std::optional<sys::MacAddress>& mac, int mtu);

}  // namespace caisson::network
