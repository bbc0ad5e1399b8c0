// SPDX-License-Identifier: Apache-2.0
// The network part of the floor program: one veth pair by raw netlink.
#pragma once

#include <string>

namespace floor_net {

// Creates the pair with the peer "eth0" already in the namespace of `netns`, the host end on `bridge` and up.
// Returns a socket that hears about link changes.
int create_veth(const std::string& host_end, int bridge_index, int netns);
// Blocks until the host end carries traffic.
void wait_until_up(int socket, const std::string& host_end);
// Inside the namespace: lo and eth0 up, address, default route.
void configure_inside(const std::string& address, int prefix, const std::string& gateway);
// Inside the namespace: lo only.
void configure_loopback();

}  // namespace floor_net

// Ends the program with the failed call's name and reason.
[[noreturn]] void die(const char* what);
