// SPDX-License-Identifier: Apache-2.0
// The engine's side of caisson-relay, the program that carries bytes from IPv6 clients to published ports of
// containers the kernel cannot lead them to: what it is told, its sockets, its start and its replacement.
// Thread-safe. Only create() and the removal of UDP ports wait for the program, for one round trip.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::network {

// Published ports first_port to first_port + count - 1, in order those from container_port on.
struct RelayEntry {
  uint8_t protocol = 0;                   // IPPROTO_TCP or IPPROTO_UDP
  IpAddress host_address = any_ip(true);  // IPv6; any: every address of the host
  uint16_t first_port = 0;
  uint16_t count = 1;
  IpAddress container_address;  // of either family
  uint16_t container_port = 0;
  bool operator==(const RelayEntry&) const = default;
};
// Of UDP ports, each of which needs a socket, longer ranges are not carried.
inline constexpr uint16_t kMaxRelayedUdpRange = 64;

struct RelayOptions {
  std::string program;      // path of caisson-relay
  std::string socket_path;  // EXEC_ROOT/relay.sock: of this engine alone
  // The program is started this long after the first add(), or with the first client: never in a start's way.
  int64_t start_delay_ms = 1000;
};

class RelayClient {
 public:
  // Starts nothing. The program of an earlier engine is found again, with the listener, its port and the UDP sockets;
  // it goes on with what it was told until sync().
  static Result<std::unique_ptr<RelayClient>> create(RelayOptions options);
  // The program goes on; with entries and none running one is started.
  virtual ~RelayClient() = default;

  // Where a rule leads TCP connections to, `redirect to :port`; opens the listener ([::], IPv6 only) in the calling
  // thread's namespace at first use. The same for this engine's life, and for the next one's while the program runs.
  virtual Result<uint16_t> port() = 0;

  // Never waits for the program. UDP: `sockets` are bound ones, one a port in order (guards, say: copies of them), or
  // none: those of the program found by create(), or new ones are bound here. Their receive buffers are made usable. An
  // entry at the same host address that overlaps is replaced. kConflict: a UDP port is taken; kInvalid; kUnsupported:
  // another protocol, or a UDP range of more than kMaxRelayedUdpRange ports; kExhausted.
  virtual Result<> add(const RelayEntry& entry, std::vector<UniqueFd> sockets = {}) = 0;
  // Ends its connections. Afterwards UDP ports are free, but for copies of sockets that the caller has. Unknown ones
  // are fine.
  virtual void remove(const RelayEntry& entry) = 0;
  // After all add() of an engine's start: what an earlier engine told the program and this one did not is forgotten.
  virtual void sync() = 0;

  // The program's, 0 while none runs. For tests and the log.
  virtual pid_t program_pid() = 0;
};

}  // namespace caisson::network
