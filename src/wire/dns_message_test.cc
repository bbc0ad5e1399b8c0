// SPDX-License-Identifier: Apache-2.0
#include "wire/dns_message.h"

#include <doctest/doctest.h>

#include <string>

using namespace caisson::dns;

namespace {

std::string bytes16(std::initializer_list<unsigned> values) {
  std::string out;
  for (unsigned value : values) {
    out.push_back(static_cast<char>(value >> 8));
    out.push_back(static_cast<char>(value));
  }
  return out;
}

std::string wire_name(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t dot = std::min(text.find('.'), text.size());
    out.push_back(static_cast<char>(dot));
    out += text.substr(0, dot);
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  out.push_back(0);
  return out;
}

std::string opt_record(unsigned size, unsigned version = 0) {
  return std::string(1, '\0') + bytes16({41, size, version, 0x8000, 0});
}

std::string query_for(std::string_view name, unsigned type, std::string_view extra = {}, unsigned flags = 0x0100) {
  return bytes16({0x1234, flags, 1, 0, 0, extra.empty() ? 0U : 1U}) + wire_name(name) + bytes16({type, 1}) +
         std::string(extra);
}

Query parsed(std::string_view message) {
  Query query;
  REQUIRE(parse_query(message, query) == Verdict::kQuery);
  return query;
}

unsigned flags_of(std::string_view reply) {
  return static_cast<unsigned>(static_cast<uint8_t>(reply[2]) << 8 | static_cast<uint8_t>(reply[3]));
}
unsigned answers_in(std::string_view reply) {
  return static_cast<unsigned>(static_cast<uint8_t>(reply[6]) << 8 | static_cast<uint8_t>(reply[7]));
}

std::string record(std::string_view name, unsigned type, unsigned ttl, std::string_view data) {
  return std::string(name) + bytes16({type, 1, ttl >> 16, ttl & 0xffff, static_cast<unsigned>(data.size())}) +
         std::string(data);
}
constexpr std::string_view kToQuestion("\xc0\x0c", 2);

std::string reply_to(const Query& query, unsigned flags, unsigned answers, unsigned authority, std::string_view rest) {
  return bytes16({query.id, flags, 1, answers, authority, 0}) + query.question + std::string(rest);
}

}  // namespace

TEST_CASE("dns: a query is read: name in lower case, type, flags, EDNS0") {
  Query query = parsed(query_for("WeB.Front", kTypeAaaa, opt_record(1400)));
  CHECK(query.id == 0x1234);
  CHECK(query.name == "web.front");
  CHECK(query.question.substr(1, 3) == "WeB");
  CHECK(query.type == kTypeAaaa);
  CHECK(query.recursion_desired);
  CHECK(query.edns);
  CHECK(query.dnssec_ok);
  CHECK(query.reply_limit(false) == 1400);
  CHECK(query.reply_limit(true) == kMaxTcpSize);
  CHECK(parsed(query_for("a", kTypeA)).reply_limit(false) == 512);
  CHECK(parsed(query_for("a", kTypeA, opt_record(100))).reply_limit(false) == 512);
  CHECK(parsed(query_for("a", kTypeA, opt_record(65535))).reply_limit(false) == kMaxUdpSize);
  CHECK(parsed(query_for("", kTypeA)).name.empty());
}

TEST_CASE("dns: a dot or a strange byte within a label cannot look like another name") {
  std::string message = bytes16({1, 0, 1, 0, 0, 0}) +
                        std::string(
                            "\x05"
                            "a.b\\\x01\x00",
                            7) +
                        bytes16({1, 1});
  CHECK(parsed(message).name == "a\\046b\\092\\001");
}

TEST_CASE("dns: what is no query is dropped or refused") {
  Query query;
  CHECK(parse_query("", query) == Verdict::kDrop);
  CHECK(parse_query(std::string(11, '\0'), query) == Verdict::kDrop);
  CHECK(parse_query(query_for("a", 1, {}, 0x8000), query) == Verdict::kDrop);
  CHECK(parse_query(query_for("a", 6, {}, 0x2800), query) == Verdict::kNotImplemented);
  CHECK(parse_query(bytes16({1, 0, 0, 0, 0, 0}), query) == Verdict::kFormatError);
  CHECK(parse_query(bytes16({1, 0, 2, 0, 0, 0}) + wire_name("a") + bytes16({1, 1}), query) == Verdict::kFormatError);
  CHECK(parse_query(bytes16({1, 0, 1, 0, 0, 0}) + wire_name("a") + bytes16({1}), query) == Verdict::kFormatError);
  // A pointer to itself, a pointer at all, a label of 64 bytes, a name of 256.
  CHECK(parse_query(bytes16({1, 0, 1, 0, 0, 0, 0xc00c, 1, 1}), query) == Verdict::kFormatError);
  CHECK(parse_query(bytes16({1, 0, 1, 0, 0, 0}) + "\x40" + std::string(64, 'a') + std::string(5, '\0'), query) ==
        Verdict::kFormatError);
  std::string label = "\x3f" + std::string(63, 'a');
  CHECK(parse_query(bytes16({1, 0, 1, 0, 0, 0}) + label + label + label + label + std::string(5, '\0'), query) ==
        Verdict::kFormatError);
  // Two OPT records, and one that has been cut.
  std::string two = query_for("a", 1, opt_record(512) + opt_record(512));
  two[11] = 2;
  Query fresh;
  CHECK(parse_query(two, fresh) == Verdict::kFormatError);
  CHECK(parse_query(query_for("a", 1, opt_record(512).substr(0, 9)), fresh) == Verdict::kFormatError);
  std::string bare = bare_reply(query_for("a", 1), Code::kFormatError);
  CHECK(bare == bytes16({0x1234, 0x8101, 0, 0, 0, 0}));
}

TEST_CASE("dns: a reply repeats the question and holds what fits") {
  Query query = parsed(query_for("Web", kTypeA));
  ReplyBuilder builder(query, 512);
  builder.add_address(*parse_address("172.18.0.2"), 600);
  std::string reply = builder.finish(Code::kNoError, true);
  CHECK(reply == bytes16({0x1234, 0x8180, 1, 1, 0, 0}) + query.question +
                     record(kToQuestion, kTypeA, 600, std::string("\xac\x12\0\x02", 4)));
  ReplyBuilder full(query, 512);
  for (int i = 0; i < 100; ++i) full.add_address(*parse_address("172.18.0.2"), 600);
  std::string cut = full.finish(Code::kNoError, true);
  CHECK(cut.size() <= 512);
  CHECK(cut.size() > 480);
  CHECK((flags_of(cut) & 0x0200));
  CHECK(answers_in(cut) == (512 - 12 - query.question.size()) / 16);
}

TEST_CASE("dns: EDNS0 is answered with EDNS0, its upper code bits included") {
  Query query = parsed(query_for("web", kTypeA, opt_record(1232, 0x0001)));
  CHECK(query.edns_version == 1);
  std::string reply = ReplyBuilder(query, 512).finish(Code::kBadVersion, true);
  CHECK((flags_of(reply) & 15) == 0);
  CHECK(reply.substr(reply.size() - 11) == std::string(1, '\0') + bytes16({41, kMaxUdpSize, 0x0100, 0x8000, 0}));
}

TEST_CASE("dns: reverse names") {
  CHECK(address_of_reverse_name("4.3.2.1.in-addr.arpa") == parse_address("1.2.3.4"));
  CHECK_FALSE(address_of_reverse_name("4.3.2.in-addr.arpa"));
  CHECK_FALSE(address_of_reverse_name("4.3.2.256.in-addr.arpa"));
  CHECK_FALSE(address_of_reverse_name("4.3.2.1.in-addr.arpa.x"));
  std::string v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.0.0.d.f.d.f.ip6.arpa";
  CHECK_FALSE(address_of_reverse_name("1." + v6));
  CHECK_FALSE(address_of_reverse_name(v6.substr(2)));
  auto address = address_of_reverse_name("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa");
  CHECK(address == parse_address("fd00::2"));
  CHECK(format_address(*address) == "fd00::2");
  CHECK_FALSE(parse_address("1.2.3.4 "));
  CHECK_FALSE(parse_address("host"));
}

TEST_CASE("dns: a query sent on has our id, the client's question and flags, and no strange records") {
  Query query = parsed(query_for("Web.Example", kTypeA, opt_record(4000), 0x0130));
  Query again = parsed(make_query(query, 0x4321, 1232));
  CHECK(again.id == 0x4321);
  CHECK(again.question == query.question);
  CHECK(again.recursion_desired);
  CHECK(again.authentic_data);
  CHECK(again.checking_disabled);
  CHECK(again.udp_size == 1232);
  CHECK(again.dnssec_ok);
}

TEST_CASE("dns: a reply counts only for its own query") {
  Query query = parsed(query_for("www.example.com", kTypeA));
  std::string good = reply_to(query, 0x8180, 1, 0, record(kToQuestion, kTypeA, 30, "abcd"));
  REQUIRE(inspect_reply(good, query, query.id));
  CHECK(inspect_reply(good, query, query.id)->ttl == 30);
  CHECK_FALSE(inspect_reply(good, query, 1));
  CHECK_FALSE(inspect_reply(good.substr(0, good.size() - 1), query, query.id));
  CHECK_FALSE(inspect_reply(reply_to(query, 0x0180, 1, 0, record(kToQuestion, kTypeA, 30, "abcd")), query, query.id));
  CHECK_FALSE(inspect_reply(good, parsed(query_for("www.example.org", kTypeA)), query.id));
  // Types differ by the bit that makes letters differ by case.
  CHECK_FALSE(inspect_reply(good, parsed(query_for("www.example.com", kTypeA + 32)), query.id));
  std::string upper = good;
  upper[13] = 'W';
  CHECK(inspect_reply(upper, query, query.id));
  // An owner name that points at itself.
  CHECK_FALSE(inspect_reply(reply_to(query, 0x8180, 1, 0, record("\xc0\x21", kTypeA, 30, "abcd")), query, query.id));
}

TEST_CASE("dns: how long a reply may be kept") {
  Query query = parsed(query_for("www.example.com", kTypeA));
  auto facts = [&](unsigned flags, unsigned answers, unsigned authority, const std::string& rest) {
    auto found = inspect_reply(reply_to(query, flags, answers, authority, rest), query, query.id);
    REQUIRE(found);
    return *found;
  };
  std::string soa = record("\x01x" + std::string(1, '\0'), kTypeSoa, 3600, std::string(20, '\0') + bytes16({0, 60}));
  CHECK(facts(0x8183, 0, 1, soa).ttl == 60);
  CHECK(facts(0x8183, 0, 1, soa).negative);
  CHECK(facts(0x8180, 0, 1, soa).ttl == 60);
  CHECK(facts(0x8183, 0, 0, "").ttl == 0);
  CHECK(facts(0x8182, 0, 1, soa).ttl == 0);
  std::string two = record(kToQuestion, kTypeCname, 5, kToQuestion) + record(kToQuestion, kTypeA, 30, "abcd");
  CHECK(facts(0x8180, 2, 0, two).ttl == 5);
  CHECK_FALSE(facts(0x8180, 2, 0, two).negative);
  CHECK(facts(0x8380, 1, 0, record(kToQuestion, kTypeA, 30, "abcd")).ttl == 0);
  CHECK(facts(0x8180, 1, 0, record(kToQuestion, kTypeA, 0x80000001, "abcd")).ttl == 0);
  // Truncated within a record: good for the bit alone.
  CHECK_FALSE(facts(0x8380, 2, 0, record(kToQuestion, kTypeA, 30, "abcd") + "\xc0").whole);
}

TEST_CASE("dns: a kept reply gets the new client's id and letters, and its age") {
  Query query = parsed(query_for("www.example.com", kTypeA));
  std::string reply =
      reply_to(query, 0x8180, 2, 0, record(kToQuestion, kTypeA, 30, "abcd") + record(kToQuestion, kTypeA, 3, "abcd"));
  Query other = parsed(query_for("WWW.example.com", kTypeA));
  other.id = 7;
  adapt_reply(reply, other, 10);
  CHECK(reply == reply_to(other, 0x8180, 2, 0,
                          record(kToQuestion, kTypeA, 20, "abcd") + record(kToQuestion, kTypeA, 0, "abcd")));
  cut_reply(reply, other, 40);
  CHECK(reply == bytes16({7, 0x8380, 1, 0, 0, 0}) + other.question);
}
