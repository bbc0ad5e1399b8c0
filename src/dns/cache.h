// SPDX-License-Identifier: Apache-2.0
// Replies of upstream servers kept for a while: bounded in number, bytes and time. Every container has a space of
// its own: what one has asked is not to be seen, timed or spoilt by another.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "dns/zones.h"
#include "wire/dns_message.h"

namespace caisson::dns {

class Cache {
 public:
  explicit Cache(Clock& clock) : clock_(clock) {}

  // Fit for the query as it is: id, question and TTLs are set.
  std::optional<std::string> find(uint64_t space, const Query& query);
  void keep(uint64_t space, const Query& query, std::string_view reply, const ReplyFacts& facts);

  size_t entries() const { return index_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::string key, reply;
    int64_t stored_ns = 0, expires_ns = 0;
  };
  using Entries = std::list<Entry>;
  void drop(Entries::iterator entry);

  Clock& clock_;
  Entries entries_;  // oldest first
  TextMap<Entries::iterator> index_;
  size_t bytes_ = 0;
};

inline constexpr size_t kCacheEntries = 512;
inline constexpr size_t kCacheBytes = 256 << 10;
inline constexpr uint32_t kCacheSeconds = 300, kNegativeSeconds = 30;

}  // namespace caisson::dns
