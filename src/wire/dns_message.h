// SPDX-License-Identifier: Apache-2.0
// DNS messages (RFC 1035, EDNS0 of RFC 6891) as far as a server of local names and a forwarder need them:
// queries read and made, replies made, checked, aged and cut. No sockets, no zones.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace caisson::dns {

inline constexpr size_t kHeaderSize = 12;
inline constexpr size_t kPlainUdpSize = 512;  // without EDNS0
inline constexpr size_t kMaxUdpSize = 4096;   // whatever a client says
inline constexpr size_t kMaxTcpSize = 65535;
inline constexpr size_t kMaxNameText = 253;  // dotted

enum RecordType : uint16_t {
  kTypeA = 1,
  kTypeCname = 5,
  kTypeSoa = 6,
  kTypePtr = 12,
  kTypeAaaa = 28,
  kTypeOpt = 41,
  kTypeAny = 255,
};
inline constexpr uint16_t kClassIn = 1;

enum class Code : uint8_t {
  kNoError = 0,
  kFormatError = 1,
  kServerFailure = 2,
  kNameError = 3,
  kNotImplemented = 4,
  kRefused = 5,
  kBadVersion = 16,  // of EDNS; its upper bits live in the OPT record
};

struct Address {
  uint8_t size = 0;  // 4 or 16
  std::array<uint8_t, 16> bytes{};
  bool operator==(const Address&) const = default;
  auto operator<=>(const Address&) const = default;
};
std::optional<Address> parse_address(std::string_view text);
std::string format_address(const Address& address);
// "4.3.2.1.in-addr.arpa", 32 nibbles and "ip6.arpa"; nullopt for every other name.
std::optional<Address> address_of_reverse_name(std::string_view name);

struct Query {
  uint16_t id = 0;
  bool recursion_desired = false, authentic_data = false, checking_disabled = false;
  // Lower case, dots between labels, none at the end; bytes that are no part of a host name as \DDD.
  std::string name;
  std::string question;  // name, type and class as they were sent
  uint16_t type = 0, record_class = 0;
  bool edns = false, dnssec_ok = false;
  uint8_t edns_version = 0;
  uint16_t udp_size = 0;  // what the client takes, with EDNS0

  size_t reply_limit(bool tcp) const;
};

// How a received message is to be met.
enum class Verdict : uint8_t { kQuery, kDrop, kFormatError, kNotImplemented };
Verdict parse_query(std::string_view message, Query& query);
// A reply without a question, to one that could not be read; `message` has a whole header.
std::string bare_reply(std::string_view message, Code code);

// One reply to a query. Records that no longer fit are left out, and the TC bit says so.
class ReplyBuilder {
 public:
  ReplyBuilder(const Query& query, size_t limit);
  void add_address(const Address& address, uint32_t ttl);   // A or AAAA
  void add_pointer(std::string_view target, uint32_t ttl);  // PTR; a name that is none is left out
  std::string finish(Code code, bool recursion_available);

 private:
  bool begin_record(uint16_t type, uint32_t ttl, size_t data_size);
  const Query& query_;
  size_t limit_;
  uint16_t answers_ = 0;
  bool truncated_ = false;
  std::string out_;
};

// The query as we send it on: its question, its flags, an OPT record of our own where it had one.
std::string make_query(const Query& query, uint16_t id, size_t udp_size);

struct ReplyFacts {
  Code code = Code::kNoError;
  bool truncated = false;
  bool whole = true;  // false: truncated within a record; cut_reply() makes it readable
  // How long it may be kept; 0: not at all. The SOA's minimum counts for names or types that are not there.
  uint32_t ttl = 0;
  bool negative = false;  // no such name, or none of this type
};
// A whole and well-formed reply to just that query, or nullopt. All records are walked.
std::optional<ReplyFacts> inspect_reply(std::string_view message, const Query& query, uint16_t id);
// For a message that inspect_reply() has passed: id and question as the client sent them, TTLs less `age`.
void adapt_reply(std::string& message, const Query& query, uint32_t age);
// The same without its records where it is longer than `limit`, with TC set.
void cut_reply(std::string& message, const Query& query, size_t limit);

}  // namespace caisson::dns
