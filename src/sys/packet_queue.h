// SPDX-License-Identifier: Apache-2.0
// A queue of packets that rules hand to a program (nfnetlink_queue), and sending such packets again. What comes is
// parsed as if it were hostile: its payload is a stranger's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/netlink.h"

namespace caisson::sys {

struct QueuedPacket {
  uint32_t id = 0;  // for its verdict
  uint32_t mark = 0;
  uint32_t input = 0;      // index of the interface where it came in
  bool cut = false;        // there was more than fits
  std::string_view bytes;  // from the IP header on
};

// nullopt for messages that are no packets.
std::optional<QueuedPacket> parse_queued_packet(const NetlinkMessage& message);

class PacketQueue {
 public:
  // Binds the queue of that number in the caller's network namespace. kConflict: another socket has it; kUnsupported:
  // the kernel has no such queues.
  static Result<PacketQueue> open(uint16_t number);

  // All packets of one datagram; does not block: kTimeout when there is none. kExhausted: some were lost.
  Result<> receive(const std::function<void(const QueuedPacket&)>& visit);
  Result<> drop(uint32_t id);
  int fd() const { return fd_.get(); }

 private:
  PacketQueue(UniqueFd fd, uint16_t number);
  Result<> configure();
  Result<> send(NetlinkBuilder& message, bool with_answer, const char* what);

  UniqueFd fd_;
  uint16_t number_;
  std::vector<char> buffer_;
};

// Sends whole IP packets, of whatever source address, as if this host had made them.
class PacketSender {
 public:
  static Result<PacketSender> open();
  // `to`: the packet's destination. `interface` counts for link-local ones only.
  Result<> send(std::span<const char> packet, const IpAddress& to, uint32_t mark, uint32_t interface);

 private:
  UniqueFd v4_, v6_;  // no v6_: a kernel without IPv6
};

}  // namespace caisson::sys
