// SPDX-License-Identifier: Apache-2.0
#include "wire/dns_message.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace caisson::dns {
namespace {

constexpr uint16_t kFlagReply = 0x8000, kFlagTruncated = 0x0200, kFlagRecursionDesired = 0x0100;
constexpr uint16_t kFlagRecursionAvailable = 0x0080, kFlagAuthenticData = 0x0020, kFlagCheckingDisabled = 0x0010;
constexpr uint16_t kOpcodeMask = 0x7800;
constexpr uint16_t kPointerToQuestion = 0xc000 | kHeaderSize;
constexpr size_t kOptSize = 11, kRecordHeader = 10;
constexpr uint32_t kEdnsDnssecOk = 0x8000;
constexpr size_t kMaxLabel = 63, kMaxName = 255;
constexpr uint32_t kMaxTtl = 0x7fffffff;

uint8_t byte_at(std::string_view data, size_t at) { return static_cast<uint8_t>(data[at]); }
uint16_t get16(std::string_view data, size_t at) {
  return static_cast<uint16_t>(byte_at(data, at) << 8 | byte_at(data, at + 1));
}
uint32_t get32(std::string_view data, size_t at) {
  return static_cast<uint32_t>(get16(data, at)) << 16 | get16(data, at + 2);
}
void put16(std::string& out, uint16_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value));
}
void put32(std::string& out, uint32_t value) {
  put16(out, static_cast<uint16_t>(value >> 16));
  put16(out, static_cast<uint16_t>(value));
}
void set16(std::string& out, size_t at, uint16_t value) {
  out[at] = static_cast<char>(value >> 8);
  out[at + 1] = static_cast<char>(value);
}
void set32(std::string& out, size_t at, uint32_t value) {
  set16(out, at, static_cast<uint16_t>(value >> 16));
  set16(out, at + 2, static_cast<uint16_t>(value));
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

void append_label(std::string& text, std::string_view label) {
  if (!text.empty()) text.push_back('.');
  for (char c : label) {
    // Names that a server of host names could know need no escape; all others only have to stay apart from them.
    if (c > 0x20 && c < 0x7f && c != '.' && c != '\\')
      text.push_back(lower(c));
    else
      text += format("\\%03u", static_cast<unsigned>(static_cast<uint8_t>(c)));
  }
}

// Reads a name at `at` and moves `at` behind it. Pointers only lead backwards, each further than the one before,
// so there is no loop. `text` may be null.
bool read_name(std::string_view message, size_t& at, bool compressed, std::string* text) {
  size_t cursor = at, end = 0, barrier = at, length = 0;
  for (;;) {
    if (cursor >= message.size()) return false;
    uint8_t size = byte_at(message, cursor);
    if ((size & 0xc0) == 0xc0) {
      if (!compressed || cursor + 2 > message.size()) return false;
      size_t target = get16(message, cursor) & 0x3fff;
      if (target >= barrier || target < kHeaderSize) return false;
      if (!end) end = cursor + 2;
      cursor = barrier = target;
      continue;
    }
    if (size > kMaxLabel) return false;
    length += size + 1U;
    if (length > kMaxName || cursor + 1 + size > message.size()) return false;
    if (size == 0) break;
    if (text) append_label(*text, message.substr(cursor + 1, size));
    cursor += 1U + size;
  }
  at = end ? end : cursor + 1;
  return true;
}

struct Record {
  size_t start = 0;  // of its name
  bool root = false;
  uint16_t type = 0, record_class = 0;
  uint32_t ttl = 0;
  size_t ttl_at = 0, data_at = 0, data_size = 0;
};

bool read_record(std::string_view message, size_t& at, Record& record) {
  record.start = at;
  record.root = at < message.size() && message[at] == 0;
  if (!read_name(message, at, true, nullptr)) return false;
  if (at + kRecordHeader > message.size()) return false;
  record.type = get16(message, at);
  record.record_class = get16(message, at + 2);
  record.ttl = get32(message, at + 4);
  record.ttl_at = at + 4;
  record.data_size = get16(message, at + 8);
  record.data_at = at + kRecordHeader;
  at = record.data_at + record.data_size;
  return at <= message.size();
}

bool append_wire_name(std::string& out, std::string_view text) {
  size_t start = out.size();
  while (!text.empty()) {
    size_t dot = text.find('.');
    std::string_view label = text.substr(0, dot);
    if (label.empty() || label.size() > kMaxLabel) return false;
    out.push_back(static_cast<char>(label.size()));
    out += label;
    text = dot == std::string_view::npos ? std::string_view() : text.substr(dot + 1);
  }
  out.push_back(0);
  return out.size() - start <= kMaxName;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

// What an empty answer may be kept for: RFC 2308, the smaller of the SOA's TTL and its last field.
uint32_t negative_ttl(std::string_view message, const Record& soa) {
  if (soa.data_size < 22) return 0;
  uint32_t minimum = get32(message, soa.data_at + soa.data_size - 4);
  return std::min(soa.ttl, minimum > kMaxTtl ? 0 : minimum);
}

}  // namespace

std::optional<Address> parse_address(std::string_view text) {
  Address address;
  std::string copy(text.substr(0, 64));
  if (inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1)
    address.size = 4;
  else if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1)
    address.size = 16;
  else
    return std::nullopt;
  return copy.size() == text.size() && !copy.contains('\0') ? std::optional(address) : std::nullopt;
}

std::string format_address(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(address.size == 4 ? AF_INET : AF_INET6, address.bytes.data(), text, sizeof text);
  return text;
}

std::optional<Address> address_of_reverse_name(std::string_view name) {
  constexpr std::string_view kV4 = ".in-addr.arpa", kV6 = ".ip6.arpa";
  Address address;
  if (name.ends_with(kV4)) {
    auto parts = split(name.substr(0, name.size() - kV4.size()), '.');
    if (parts.size() != 4) return std::nullopt;
    address.size = 4;
    for (size_t i = 0; i < 4; ++i) {
      auto number = parse_uint(parts[3 - i]);
      if (!number || *number > 255 || parts[3 - i].size() > 3) return std::nullopt;
      address.bytes[i] = static_cast<uint8_t>(*number);
    }
    return address;
  }
  if (!name.ends_with(kV6)) return std::nullopt;
  name.remove_suffix(kV6.size());
  if (name.size() != 63) return std::nullopt;
  address.size = 16;
  for (size_t i = 0; i < 32; ++i) {
    char c = name[62 - 2 * i];
    if (i && name[62 - 2 * i + 1] != '.') return std::nullopt;
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    address.bytes[i / 2] = static_cast<uint8_t>(address.bytes[i / 2] << 4 | digit);
  }
  return address;
}

size_t Query::reply_limit(bool tcp) const {
  if (tcp) return kMaxTcpSize;
  return edns ? std::clamp<size_t>(udp_size, kPlainUdpSize, kMaxUdpSize) : kPlainUdpSize;
}

Verdict parse_query(std::string_view message, Query& query) {
  // Nothing is said to what may itself be a reply: two servers could keep each other busy for ever.
  if (message.size() < kHeaderSize) return Verdict::kDrop;
  uint16_t flags = get16(message, 2);
  if (flags & kFlagReply) return Verdict::kDrop;
  query.id = get16(message, 0);
  if (flags & kOpcodeMask) return Verdict::kNotImplemented;
  query.recursion_desired = flags & kFlagRecursionDesired;
  query.authentic_data = flags & kFlagAuthenticData;
  query.checking_disabled = flags & kFlagCheckingDisabled;
  if (get16(message, 4) != 1 || get16(message, 6) || get16(message, 8)) return Verdict::kFormatError;
  size_t at = kHeaderSize;
  if (!read_name(message, at, false, &query.name) || at + 4 > message.size()) return Verdict::kFormatError;
  query.type = get16(message, at);
  query.record_class = get16(message, at + 2);
  at += 4;
  query.question = message.substr(kHeaderSize, at - kHeaderSize);
  for (unsigned left = get16(message, 10); left; --left) {
    Record record;
    if (!read_record(message, at, record)) return Verdict::kFormatError;
    if (record.type != kTypeOpt) continue;
    if (query.edns || !record.root) return Verdict::kFormatError;
    query.edns = true;
    query.udp_size = record.record_class;
    query.edns_version = static_cast<uint8_t>(record.ttl >> 16);
    query.dnssec_ok = record.ttl & kEdnsDnssecOk;
  }
  return Verdict::kQuery;
}

std::string bare_reply(std::string_view message, Code code) {
  std::string out(message.substr(0, 2));
  uint16_t kept = get16(message, 2) & (kOpcodeMask | kFlagRecursionDesired);
  put16(out, static_cast<uint16_t>(kFlagReply | kept | static_cast<uint16_t>(code)));
  out.append(8, '\0');
  return out;
}

ReplyBuilder::ReplyBuilder(const Query& query, size_t limit) : query_(query), limit_(limit) {
  put16(out_, query.id);
  out_.append(kHeaderSize - 2, '\0');
  out_ += query.question;
}

bool ReplyBuilder::begin_record(uint16_t type, uint32_t ttl, size_t data_size) {
  if (truncated_ || out_.size() + 2 + kRecordHeader + data_size + (query_.edns ? kOptSize : 0) > limit_) {
    truncated_ = true;
    return false;
  }
  put16(out_, kPointerToQuestion);
  put16(out_, type);
  put16(out_, kClassIn);
  put32(out_, ttl);
  put16(out_, static_cast<uint16_t>(data_size));
  ++answers_;
  return true;
}

void ReplyBuilder::add_address(const Address& address, uint32_t ttl) {
  if (begin_record(address.size == 4 ? kTypeA : kTypeAaaa, ttl, address.size))
    out_.append(reinterpret_cast<const char*>(address.bytes.data()), address.size);
}

void ReplyBuilder::add_pointer(std::string_view target, uint32_t ttl) {
  std::string name;
  if (!append_wire_name(name, target)) return;
  if (begin_record(kTypePtr, ttl, name.size())) out_ += name;
}

std::string ReplyBuilder::finish(Code code, bool recursion_available) {
  auto number = static_cast<uint16_t>(code);
  uint16_t flags = kFlagReply | (number & 15);
  if (truncated_) flags |= kFlagTruncated;
  if (query_.recursion_desired) flags |= kFlagRecursionDesired;
  if (recursion_available) flags |= kFlagRecursionAvailable;
  if (query_.checking_disabled) flags |= kFlagCheckingDisabled;
  set16(out_, 2, flags);
  set16(out_, 4, 1);
  set16(out_, 6, answers_);
  if (query_.edns) {
    set16(out_, 10, 1);
    out_.push_back(0);
    put16(out_, kTypeOpt);
    put16(out_, kMaxUdpSize);
    put32(out_, static_cast<uint32_t>(number >> 4) << 24 | (query_.dnssec_ok ? kEdnsDnssecOk : 0));
    put16(out_, 0);
  }
  return std::move(out_);
}

std::string make_query(const Query& query, uint16_t id, size_t udp_size) {
  std::string out;
  put16(out, id);
  put16(out, static_cast<uint16_t>((query.recursion_desired ? kFlagRecursionDesired : 0) |
                                   (query.authentic_data ? kFlagAuthenticData : 0) |
                                   (query.checking_disabled ? kFlagCheckingDisabled : 0)));
  put16(out, 1);
  put32(out, 0);
  put16(out, query.edns ? 1 : 0);
  out += query.question;
  if (query.edns) {
    out.push_back(0);
    put16(out, kTypeOpt);
    put16(out, static_cast<uint16_t>(udp_size));
    put32(out, query.dnssec_ok ? kEdnsDnssecOk : 0);
    put16(out, 0);
  }
  return out;
}

std::optional<ReplyFacts> inspect_reply(std::string_view message, const Query& query, uint16_t id) {
  if (message.size() < kHeaderSize + query.question.size() || message.size() > kMaxTcpSize) return std::nullopt;
  uint16_t flags = get16(message, 2);
  if (get16(message, 0) != id || !(flags & kFlagReply) || (flags & kOpcodeMask)) return std::nullopt;
  if (get16(message, 4) != 1) return std::nullopt;
  std::string_view question = message.substr(kHeaderSize, query.question.size()), asked = query.question;
  size_t name = asked.size() - 4;  // the rest, type and class, are numbers
  if (!equal_ignoring_case(question.substr(0, name), asked.substr(0, name))) return std::nullopt;
  if (question.substr(name) != asked.substr(name)) return std::nullopt;
  ReplyFacts facts;
  facts.code = static_cast<Code>(flags & 15);
  facts.truncated = flags & kFlagTruncated;
  size_t at = kHeaderSize + query.question.size();
  uint32_t least = kMaxTtl;
  std::optional<uint32_t> negative;
  bool answered = false;
  for (size_t section = 0; section < 3; ++section) {
    for (unsigned left = get16(message, 6 + 2 * section); left; --left) {
      Record record;
      if (!read_record(message, at, record)) {
        if (!facts.truncated) return std::nullopt;
        facts.whole = false;
        return facts;
      }
      if (record.type == kTypeOpt) continue;
      if (record.ttl > kMaxTtl) record.ttl = 0;  // RFC 2181
      least = std::min(least, record.ttl);
      if (section == 0 && (record.type == query.type || query.type == kTypeAny)) answered = true;
      if (section == 1 && record.type == kTypeSoa) negative = negative_ttl(message, record);
    }
  }
  if (facts.truncated || query.type == kTypeAny) return facts;
  if (facts.code == Code::kNoError && answered)
    facts.ttl = least;
  else if (facts.code == Code::kNoError || facts.code == Code::kNameError)
    facts = {facts.code, false, true, std::min(least, negative.value_or(0)), true};
  return facts;
}

void adapt_reply(std::string& message, const Query& query, uint32_t age) {
  set16(message, 0, query.id);
  message.replace(kHeaderSize, query.question.size(), query.question);
  if (!age) return;
  size_t at = kHeaderSize + query.question.size();
  for (size_t section = 0; section < 3; ++section) {
    for (unsigned left = get16(message, 6 + 2 * section); left; --left) {
      Record record;
      if (!read_record(message, at, record)) return;
      if (record.type != kTypeOpt) set32(message, record.ttl_at, record.ttl > age ? record.ttl - age : 0);
    }
  }
}

void cut_reply(std::string& message, const Query& query, size_t limit) {
  if (message.size() <= limit) return;
  uint16_t flags = get16(message, 2);
  message.resize(kHeaderSize + query.question.size());
  set16(message, 2, flags | kFlagTruncated);
  set16(message, 6, 0);
  set32(message, 8, 0);
}

}  // namespace caisson::dns
