// SPDX-License-Identifier: Apache-2.0
// What of a stranger's packet is sent again as it is, what is changed, what is not sent. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/ip_address.h"

namespace caisson::gate {

struct Packet {
  std::string bytes;  // as long as its header says
  IpAddress to;
};

// nullopt: no whole packet of TCP, UDP or SCTP, one with IP options or extension headers, or a fragment. All but TCP
// may be cut into fragments on its way (the kernel has put fragments together by then, and forgotten how long they
// were).
std::optional<Packet> packet_to_send(std::string_view bytes);

}  // namespace caisson::gate
