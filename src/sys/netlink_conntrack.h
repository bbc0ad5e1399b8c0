// SPDX-License-Identifier: Apache-2.0
// Removing tracked connections, so that a change of DNAT rules holds for flows that never end (UDP).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "sys/netlink.h"

namespace caisson::sys {

// Forgets IPv4 UDP flows whose first packet went to `port`, and to `address` unless that is 0. Walks the
// whole connection table in the kernel. COMPAT(linux<5.8): an error, nothing is removed.
Result<> forget_udp_flows(NetlinkSocket& nfnetlink, uint32_t address, uint16_t port);

}  // namespace caisson::sys
