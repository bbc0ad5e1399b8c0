// SPDX-License-Identifier: Apache-2.0
// For tests only: runs code in a throwaway network namespace, makes sockets in others, counts leftovers.
// The machine's own namespace is never touched: without root the body is skipped, visibly.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::network::testbed {

// On a thread of its own, in a fresh network namespace with lo up. False (and a message) when not root.
bool in_fresh_netns(const std::function<void()>& body);
// On a short-lived thread inside `netns`.
void inside(int netns, const std::function<void()>& body);

UniqueFd listen_tcp(int netns, uint16_t port, const char* address = "0.0.0.0");
// An errno on failure, 0 on success; tries once, at most `timeout_ms`.
int connect_tcp(int netns, const char* address, uint16_t port, UniqueFd& out, int timeout_ms = 1000);
// Connects from `from` and checks that a byte arrives at `listener`. Returns the address the listener saw
// the connection come from, or "error: reason".
std::string fetch(int from, const char* address, uint16_t port, int listener, int timeout_ms = 1000);

UniqueFd bind_udp(int netns, uint16_t port);

// A namespace joined to the current one: 10.9.0.2 and fd09::2 there, 10.9.0.1 and fd09::1 here, its default routes
// are here.
struct SecondHost {
  UniqueFd netns;
};
Result<SecondHost> make_second_host();

struct Leftovers {
  size_t links = 0;
  size_t elements = 0;
  size_t fds = 0;
};
Leftovers count_leftovers(const std::string& table);
std::string show(const Leftovers& leftovers);

}  // namespace caisson::network::testbed
