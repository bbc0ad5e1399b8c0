// SPDX-License-Identifier: Apache-2.0
// For tests only: queries made and replies read, by the simplest means.
#pragma once

#include <string>
#include <string_view>

#include "wire/dns_message.h"

namespace caisson::dns::test {

inline std::string number16(unsigned value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }

inline Query query(std::string_view name, unsigned type, bool edns = false) {
  std::string message = number16(0x1234) + number16(0x0100) + number16(1) + std::string(4, '\0') + number16(edns);
  for (std::string_view rest = name; !rest.empty();) {
    std::string_view label = rest.substr(0, rest.find('.'));
    message.push_back(static_cast<char>(label.size()));
    message += label;
    rest.remove_prefix(std::min(rest.size(), label.size() + 1));
  }
  message += std::string(1, '\0') + number16(type) + number16(1);
  if (edns) message += std::string(1, '\0') + number16(41) + number16(1232) + std::string(6, '\0');
  Query parsed;
  (void)parse_query(message, parsed);
  return parsed;
}

inline unsigned read16(std::string_view data, size_t at) {
  return static_cast<unsigned>(static_cast<uint8_t>(data[at]) << 8 | static_cast<uint8_t>(data[at + 1]));
}
inline Code code_of(std::string_view reply) { return static_cast<Code>(reply[3] & 15); }
inline bool truncated(std::string_view reply) { return reply[2] & 2; }
inline unsigned answer_count(std::string_view reply) { return read16(reply, 6); }

inline size_t first_answer(std::string_view reply) {
  size_t at = kHeaderSize;
  while (reply[at]) at += 1 + static_cast<uint8_t>(reply[at]);
  return at + 5;
}

// The addresses of all answers, which have pointers for names.
inline std::string addresses(std::string_view reply) {
  std::string out;
  size_t at = first_answer(reply);
  for (unsigned left = answer_count(reply); left; --left) {
    unsigned size = read16(reply, at + 10);
    Address address{.size = static_cast<uint8_t>(size)};
    reply.copy(reinterpret_cast<char*>(address.bytes.data()), size, at + 12);
    out += (out.empty() ? "" : " ") + format_address(address);
    at += 12 + size;
  }
  return out;
}

inline std::string pointer(std::string_view reply) {
  std::string out;
  for (size_t at = first_answer(reply) + 12; reply[at]; at += 1 + static_cast<uint8_t>(reply[at]))
    out += (out.empty() ? "" : ".") + std::string(reply.substr(at + 1, static_cast<uint8_t>(reply[at])));
  return out;
}

// A server's reply with that many seconds to live: one address, or none with a SOA.
inline std::string server_reply(std::string_view sent, Code code, unsigned ttl, bool answer = true) {
  std::string out(sent);
  out[2] = static_cast<char>(out[2] | 0x80);
  out[3] = static_cast<char>(0x80 | static_cast<int>(code));
  size_t end = first_answer(out);
  out.resize(end);
  out.replace(6, 6, answer ? number16(1) + std::string(4, '\0') : std::string(2, '\0') + number16(1) + number16(0));
  out += answer ? std::string("\xc0\x0c", 2) + number16(1) : std::string(1, '\0') + number16(kTypeSoa);
  out += number16(1) + number16(ttl >> 16) + number16(ttl);
  std::string data =
      answer ? std::string("\xc0\0\x02\x01", 4) : std::string(18, '\0') + number16(ttl >> 16) + number16(ttl);
  return out + number16(static_cast<unsigned>(data.size())) + data;
}

}  // namespace caisson::dns::test
