// SPDX-License-Identifier: Apache-2.0
// Which local ports the sockets of a network namespace hold: sock_diag(7). Blocking.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/ip_address.h"
#include "base/result.h"

namespace caisson::sys {

struct BoundSocket {
  IpAddress address;
  uint16_t port = 0;
  uint32_t inode = 0;
};

// TCP sockets that listen, or UDP sockets that are bound, of the calling thread's namespace and of one family.
// kUnsupported where the kernel has no such listing.
Result<> list_bound_sockets(uint8_t protocol, bool v6, const std::function<void(const BoundSocket&)>& visit);

// Who has a socket open, as "nginx (pid 123)"; empty: nobody that can be seen. Looks through all of /proc: for
// messages to people only.
std::string program_with_socket(uint32_t inode);

}  // namespace caisson::sys
