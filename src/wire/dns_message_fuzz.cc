// SPDX-License-Identifier: Apache-2.0
// The bytes as a container's query and as an upstream server's reply; what is made of them must be sound.
#include <cstdint>
#include <string_view>

#include "wire/dns_message.h"

using namespace caisson::dns;

namespace {

void check(bool good) {
  if (!good) __builtin_trap();
}

void as_query(std::string_view bytes) {
  Query query;
  Verdict verdict = parse_query(bytes, query);
  if (verdict == Verdict::kFormatError || verdict == Verdict::kNotImplemented)
    check(bare_reply(bytes, Code::kFormatError).size() == kHeaderSize);
  if (verdict != Verdict::kQuery) return;
  check(query.name.size() <= 4 * 255);
  (void)address_of_reverse_name(query.name);
  size_t limit = query.reply_limit(false);
  ReplyBuilder builder(query, limit);
  for (uint8_t i = 0; i < 64; ++i)
    builder.add_address({.size = static_cast<uint8_t>(i % 2 ? 4 : 16), .bytes = {i}}, 600);
  builder.add_pointer("some.name", 600);
  std::string reply = builder.finish(Code::kNoError, true);
  check(reply.size() <= limit && inspect_reply(reply, query, query.id));
  std::string forwarded = make_query(query, 77, limit);
  Query again;
  check(parse_query(forwarded, again) == Verdict::kQuery && again.name == query.name && again.edns == query.edns);
}

void as_reply(std::string_view bytes) {
  Query query;
  constexpr std::string_view kAsked(
      "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07"
      "example\x03"
      "com\x00\x00\x01\x00\x01",
      33);
  check(parse_query(kAsked, query) == Verdict::kQuery);
  auto facts = inspect_reply(bytes, query, 0x1234);
  if (!facts || !facts->whole) return;
  std::string reply(bytes);
  adapt_reply(reply, query, 5);
  auto after = inspect_reply(reply, query, query.id);
  check(after && after->ttl <= facts->ttl);
  cut_reply(reply, query, reply.size() / 2);
  check(inspect_reply(reply, query, query.id).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  as_query(bytes);
  as_reply(bytes);
  return 0;
}
