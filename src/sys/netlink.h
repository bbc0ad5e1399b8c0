// SPDX-License-Identifier: Apache-2.0
// Netlink in bytes: building messages, walking answers, one socket. Knows no family's attributes
// (rtnetlink.h and nft.h do). Answers come from the kernel but are parsed as if they were hostile.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

// Several messages in a row, sent as one datagram. Mistakes (nesting too deep, an attribute above
// 64 KiB, too much altogether) are remembered and reported once, by finish().
class NetlinkBuilder {
 public:
  static constexpr size_t kMaxSize = 256 << 10;
  static constexpr size_t kMaxDepth = 8;

  // Starts the next message; NLM_F_REQUEST is always set.
  void begin(uint16_t type, uint16_t flags);
  // The family's fixed header, directly after begin(), or inside a nest that has one (veth's peer).
  template <class T>
  void header(const T& value) {
    append(&value, sizeof value);
  }

  void attribute(uint16_t type, const void* data, size_t size);
  void put_u8(uint16_t type, uint8_t value) { attribute(type, &value, sizeof value); }
  void put_u32(uint16_t type, uint32_t value) { attribute(type, &value, sizeof value); }
  void put_be32(uint16_t type, uint32_t value) { put_u32(type, __builtin_bswap32(value)); }
  void put_string(uint16_t type, std::string_view value);  // with its NUL

  void nest(uint16_t type);
  void end_nest();

  // The last message begun gets `flags` in addition.
  void add_flags(uint16_t flags);
  size_t message_count() const { return messages_; }

  // Closes the last message. kInternal if anything went wrong while building.
  Result<std::span<char>> finish();

 private:
  void append(const void* data, size_t size);
  void close_message();
  void set_length(size_t at, size_t length, bool is_message);

  std::string bytes_;
  size_t message_ = 0;  // offset of the message being built
  size_t messages_ = 0;
  size_t nests_[kMaxDepth] = {};
  size_t depth_ = 0;
  const char* mistake_ = nullptr;
};

struct NetlinkAttribute {
  uint16_t type = 0;  // without the NESTED and BYTEORDER bits
  std::string_view payload;

  std::optional<uint32_t> u32() const;
  std::optional<uint32_t> be32() const;
  std::optional<uint8_t> u8() const;
  std::string_view text() const;  // up to the first NUL
};

// Attributes in `bytes`, one after the other; ends at the first malformed one.
class NetlinkAttributes {
 public:
  explicit NetlinkAttributes(std::string_view bytes) : rest_(bytes) {}
  std::optional<NetlinkAttribute> next();
  // The first attribute of that type in what is left, without consuming anything.
  std::optional<NetlinkAttribute> find(uint16_t type) const;

 private:
  std::string_view rest_;
};

struct NetlinkMessage {
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t sequence = 0;
  std::string_view payload;

  // The fixed header copied out, and the attributes after it; nullopt when the message is too short.
  template <class T>
  std::optional<T> header() const {
    if (payload.size() < sizeof(T)) return std::nullopt;
    T value;
    __builtin_memcpy(&value, payload.data(), sizeof value);
    return value;
  }
  NetlinkAttributes attributes(size_t header_size) const;
};

class NetlinkMessages {
 public:
  explicit NetlinkMessages(std::string_view bytes) : rest_(bytes) {}
  std::optional<NetlinkMessage> next();

 private:
  std::string_view rest_;
};

// An NLMSG_ERROR or NLMSG_DONE message taken apart; err 0 is an acknowledgement.
struct NetlinkStatus {
  int err = 0;       // positive errno
  std::string text;  // the kernel's extended acknowledgement, may be empty
};
std::optional<NetlinkStatus> parse_netlink_status(const NetlinkMessage& message);

// Acts in the network namespace its creating thread was in, for good. One thread at a time.
class NetlinkSocket {
 public:
  using Visitor = std::function<void(const NetlinkMessage&)>;

  // `protocol` is NETLINK_ROUTE or NETLINK_NETFILTER; `groups` a bit mask of multicast groups.
  static Result<NetlinkSocket> open(int protocol, uint32_t groups = 0);

  // Sends all messages and waits for the answer to the last one that carries NLM_F_ACK or NLM_F_DUMP. The
  // first error any of them met is returned as `what: reason: kernel's text`; messages after a failed
  // one are carried out all the same (rtnetlink) or not at all (a nftables batch).
  Result<> transact(NetlinkBuilder& messages, std::string_view what, const Visitor& visit = {});

  // One datagram of multicast notifications. kTimeout; kExhausted when some were lost since the last call.
  Result<> receive_events(int timeout_ms, const Visitor& visit);

  int fd() const { return fd_.get(); }

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  // What one datagram brought; empty when nothing is there and `wait` is off.
  Result<std::string_view> receive(std::span<char> buffer, bool wait, int timeout_ms);

  UniqueFd fd_;
  uint32_t sequence_ = 0;
  bool lost_events_ = false;
};

}  // namespace caisson::sys
