// SPDX-License-Identifier: Apache-2.0
// Removing tracked connections, so that a change of DNAT rules holds for flows that never end (UDP).
#pragma once

#include <cstdint>

#include "base/ip_address.h"
#include "base/result.h"
#include "sys/netlink.h"

namespace caisson::sys {

// Forgets UDP flows of the address's family whose first packet went to `port`, and to `address` unless that is any.
// Walks the whole connection table in the kernel. COMPAT(linux<5.8): an error, nothing is removed.
Result<> forget_udp_flows(NetlinkSocket& nfnetlink, const IpAddress& address, uint16_t port);

}  // namespace caisson::sys
