// SPDX-License-Identifier: Apache-2.0
#include "dns/cache.h"

#include <algorithm>

#include "base/text.h"

namespace caisson::dns {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr size_t kMaxKept = 4096;

// All that may change the reply: also what the client asked the server to leave out or to check.
std::string key_of(uint64_t space, const Query& query) {
  char flags = static_cast<char>((query.edns ? 1 : 0) | (query.dnssec_ok ? 2 : 0) | (query.checking_disabled ? 4 : 0) |
                                 (query.authentic_data ? 8 : 0) | (query.recursion_desired ? 16 : 0));
  return format("%llx/%c/", static_cast<unsigned long long>(space), 'A' + flags) + query.name +
         query.question.substr(query.question.size() - 4);
}

}  // namespace

void Cache::drop(Entries::iterator entry) {
  bytes_ -= entry->key.size() + entry->reply.size();
  index_.erase(entry->key);
  entries_.erase(entry);
}

std::optional<std::string> Cache::find(uint64_t space, const Query& query) {
  auto found = index_.find(key_of(space, query));
  if (found == index_.end()) return std::nullopt;
  auto entry = found->second;
  int64_t now = clock_.monotonic_ns();
  if (now >= entry->expires_ns) {
    drop(entry);
    return std::nullopt;
  }
  std::string reply = entry->reply;
  adapt_reply(reply, query, static_cast<uint32_t>((now - entry->stored_ns) / kSecond));
  return reply;
}

void Cache::keep(uint64_t space, const Query& query, std::string_view reply, const ReplyFacts& facts) {
  if (facts.ttl == 0 || facts.truncated || reply.size() > kMaxKept) return;
  std::string key = key_of(space, query);
  if (auto found = index_.find(key); found != index_.end()) drop(found->second);
  uint32_t seconds = std::min(facts.ttl, facts.negative ? kNegativeSeconds : kCacheSeconds);
  int64_t now = clock_.monotonic_ns();
  bytes_ += key.size() + reply.size();
  entries_.push_back({key, std::string(reply), now, now + seconds * kSecond});
  index_[std::move(key)] = std::prev(entries_.end());
  while (entries_.size() > kCacheEntries || bytes_ > kCacheBytes) drop(entries_.begin());
}

}  // namespace caisson::dns
