// SPDX-License-Identifier: Apache-2.0
// The container's side of the embedded DNS: sockets at 127.0.0.11 in its network namespace, and a small
// table there that leads port 53 of that address to them. Programs in the container stay free to use port 53.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/netlink.h"

namespace caisson::network {

struct InnerSockets {
  UniqueFd udp, tcp;
  uint16_t udp_port = 0, tcp_port = 0;
  std::optional<sys::NetlinkSocket> nft;  // acts inside; none: the kernel has no rules, the ports are 53
  std::vector<UniqueFd> query;            // unbound, to ask further: two of UDP, one of TCP, of each family asked for
};

// In the calling thread's namespace.
Result<InnerSockets> open_inner_sockets(bool ask_v4, bool ask_v6);

// Writes the table by the socket inside. Safe to repeat: a table there is replaced.
Result<> redirect_names(InnerSockets& sockets);

}  // namespace caisson::network
