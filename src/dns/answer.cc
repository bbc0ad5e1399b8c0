// SPDX-License-Identifier: Apache-2.0
#include "dns/answer.h"

#include <utility>

namespace caisson::dns {
namespace {
constexpr uint16_t kTypeIxfr = 251, kTypeAxfr = 252;

bool wanted(const Address& address, uint16_t type) {
  return type == kTypeAny || type == (address.size == 4 ? kTypeA : kTypeAaaa);
}
}  // namespace

void Shuffler::shuffle(std::vector<Address>& addresses) {
  for (size_t i = addresses.size(); i > 1; --i) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    std::swap(addresses[i - 1], addresses[(state_ >> 16) % i]);
  }
}

std::string reply_with_code(const Query& query, Code code, bool recursion_available) {
  return ReplyBuilder(query, kPlainUdpSize).finish(code, recursion_available);
}

std::optional<std::string> answer_locally(const Zones& zones, const View& view, const Query& query,
                                          const AnswerRules& rules, size_t limit, Shuffler& shuffler) {
  auto with_code = [&](Code code) { return reply_with_code(query, code, rules.recursion_available); };
  if (query.edns && query.edns_version != 0) return with_code(Code::kBadVersion);
  if (query.record_class != kClassIn || query.type == kTypeAxfr || query.type == kTypeIxfr)
    return with_code(Code::kRefused);
  if (query.type == kTypePtr) {
    if (auto address = address_of_reverse_name(query.name)) {
      auto name = zones.find_reverse(view, *address);
      if (!name) return std::nullopt;
      ReplyBuilder reply(query, limit);
      reply.add_pointer(*name, kLocalTtl);
      return reply.finish(Code::kNoError, true);
    }
  }
  if (auto addresses = zones.find(view, query.name)) {
    // A name of ours is never asked for elsewhere, whatever the type: NODATA also where only the other family has
    // an address.
    shuffler.shuffle(*addresses);
    ReplyBuilder reply(query, limit);
    for (const auto& address : *addresses)
      if (wanted(address, query.type)) reply.add_address(address, kLocalTtl);
    return reply.finish(Code::kNoError, true);
  }
  if (rules.ndots_set && (query.type == kTypeA || query.type == kTypeAaaa) && !query.name.contains('.'))
    return with_code(Code::kNoError);
  return std::nullopt;
}

}  // namespace caisson::dns
