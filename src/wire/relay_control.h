// SPDX-License-Identifier: Apache-2.0
// What the engine and caisson-relay say to each other over a SEQPACKET socket: one request, one answer, each a JSON
// document, descriptors beside it. With another release "hello" and "sockets" must go on to work: the engine takes
// the sockets over before it ends such a program.
//
//   hello    first of all; descriptor (from the engine that starts the program): the TCP listener. Answers `version`,
//            `sockets` and the listener's descriptor. What follows is repeated state until "sync"
//   sockets  from: answers with descriptors, up to 16, of the UDP sockets from this index on
//   add      protocol, host, port, count, container, container_port; descriptors for UDP: one socket a port
//   remove   protocol, host, port, count
//   sync     forgets what was not repeated since "hello"
#pragma once

#include <cstdint>
#include <string>

#include "wire/json.h"

namespace caisson::relay {

inline constexpr int kControlVersion = 1;
inline constexpr int kControlFd = 3;  // the engine's connection in a program it has just started
inline constexpr size_t kMaxControlMessage = 4096;

inline constexpr size_t kMaxEntries = 16384;
inline constexpr size_t kMaxUdpSockets = 1024;        // in all entries
inline constexpr size_t kMaxUdpPortsPerRequest = 16;  // descriptors of one message

struct ControlRequest {
  std::string type;
  std::string protocol;         // "tcp", "udp"
  std::string host, container;  // IPv6; IPv4 as ::ffff:172.17.0.2
  uint16_t port = 0, count = 1, container_port = 0;
  uint32_t from = 0;
};
CAISSON_JSON(ControlRequest, CAISSON_FIELD("type", type), CAISSON_FIELD_OMIT("protocol", protocol),
             CAISSON_FIELD_OMIT("host", host), CAISSON_FIELD_OMIT("container", container),
             CAISSON_FIELD_OMIT("port", port), CAISSON_FIELD("count", count),
             CAISSON_FIELD_OMIT("container_port", container_port), CAISSON_FIELD_OMIT("from", from))

struct ControlAnswer {
  bool ok = false;
  std::string error;  // a sentence
  int version = 0;
  uint32_t sockets = 0;
};
CAISSON_JSON(ControlAnswer, CAISSON_FIELD("ok", ok), CAISSON_FIELD_OMIT("error", error),
             CAISSON_FIELD_OMIT("version", version), CAISSON_FIELD_OMIT("sockets", sockets))

}  // namespace caisson::relay
