// SPDX-License-Identifier: Apache-2.0
// Decides about one query of a container: answered from the zones, refused, or to be forwarded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dns/zones.h"
#include "wire/dns_message.h"

namespace caisson::dns {

inline constexpr uint32_t kLocalTtl = 600;  // as Docker

// Mixes the order of several addresses, so that they get equal shares of the traffic. Not for secrets.
class Shuffler {
 public:
  explicit Shuffler(uint64_t seed) : state_(seed | 1) {}
  void shuffle(std::vector<Address>& addresses);

 private:
  uint64_t state_;
};

struct AnswerRules {
  bool recursion_available = true;
  bool ndots_set = false;  // unknown names of one label stay here, so that the client goes on with its search list
};

// The reply; nullopt: the name is not ours and is to be asked for elsewhere.
std::optional<std::string> answer_locally(const Zones& zones, const View& view, const Query& query,
                                          const AnswerRules& rules, size_t limit, Shuffler& shuffler);

std::string reply_with_code(const Query& query, Code code, bool recursion_available);

}  // namespace caisson::dns
