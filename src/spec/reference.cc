// SPDX-License-Identifier: Apache-2.0
#include "spec/reference.h"

#include "base/text.h"

namespace caisson::spec {
namespace {

constexpr std::string_view kDefaultDomain = "docker.io", kLegacyDomain = "index.docker.io", kOfficial = "library/";
constexpr size_t kMaxPath = 255, kMaxTag = 128;

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z'); }

// alphanumeric runs joined by one of: "." "_" "__" or any number of "-".
bool is_path_component(std::string_view text) {
  size_t i = 0;
  while (true) {
    size_t start = i;
    while (i < text.size() && is_lower_alnum(text[i])) ++i;
    if (i == start) return false;
    if (i == text.size()) return true;
    if (text[i] == '.') {
      ++i;
    } else if (text[i] == '_') {
      i += i + 1 < text.size() && text[i + 1] == '_' ? 2 : 1;
    } else if (text[i] == '-') {
      while (i < text.size() && text[i] == '-') ++i;
    } else {
      return false;
    }
  }
}

bool is_domain(std::string_view text) {
  size_t host_end;
  if (text.starts_with('[')) {
    size_t close = text.find(']');
    if (close == std::string_view::npos || close < 2) return false;
    for (char c : text.substr(1, close - 1))
      if (c != ':' && !is_hex(std::string_view(&c, 1))) return false;
    host_end = close + 1;
  } else {
    host_end = std::min(text.find(':'), text.size());
    for (const std::string& part : split(text.substr(0, host_end), '.')) {
      if (part.empty() || part.front() == '-' || part.back() == '-') return false;
      for (char c : part)
        if (!is_alnum(c) && c != '-') return false;
    }
  }
  if (host_end == text.size()) return true;
  if (text[host_end] != ':' || host_end + 1 == text.size()) return false;
  for (char c : text.substr(host_end + 1))
    if (!is_digit(c)) return false;
  return true;
}

// The grammar's digest, before the algorithm is looked at: components of letters and digits joined by
// one of "-_+.", a colon, at least 32 hex digits.
bool looks_like_digest(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || text.size() - colon - 1 < 32) return false;
  bool at_start = true;
  for (char c : text.substr(0, colon)) {
    bool letter = is_alnum(c) && !is_digit(c);
    if (at_start) {
      if (!letter) return false;
      at_start = false;
    } else if (std::string_view("-_+.").contains(c)) {
      at_start = true;
    } else if (!is_alnum(c)) {
      return false;
    }
  }
  return !at_start && is_hex(to_lower(text.substr(colon + 1)));
}

size_t digest_hex_size(std::string_view algorithm) {
  return algorithm == "sha256" ? 64 : algorithm == "sha384" ? 96 : algorithm == "sha512" ? 128 : 0;
}

Result<> check_digest(std::string_view text) {
  size_t colon = text.find(':');
  size_t wanted = digest_hex_size(text.substr(0, colon));
  if (wanted == 0) return fail(ErrorKind::kInvalid, "unsupported digest algorithm");
  if (text.size() - colon - 1 != wanted) return fail(ErrorKind::kInvalid, "invalid checksum digest length");
  for (char c : text.substr(colon + 1))
    if (!is_digit(c) && !(c >= 'a' && c <= 'f')) return fail(ErrorKind::kInvalid, "invalid checksum digest format");
  return {};
}

std::unexpected<Error> bad_format() { return fail(ErrorKind::kInvalid, "invalid reference format"); }

// What is the host in front and what the path, as Docker decides: the part before the first "/" is a
// host if it is "localhost", has a "." or ":", or an upper-case letter.
std::pair<std::string, std::string> split_domain(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return {std::string(kDefaultDomain), std::string(kOfficial) + std::string(text)};
  std::string_view first = text.substr(0, slash), rest = text.substr(slash + 1);
  std::string domain, path;
  if (first == kLegacyDomain) {
    domain = kDefaultDomain;
    path = rest;
  } else if (first == "localhost" || first.find_first_of(".:") != std::string_view::npos || to_lower(first) != first) {
    domain = first;
    path = rest;
  } else {
    domain = kDefaultDomain;
    path = text;
  }
  if (domain == kDefaultDomain && !path.contains('/')) path = std::string(kOfficial) + path;
  return {domain, path};
}

}  // namespace

bool is_valid_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > kMaxTag) return false;
  if (!is_alnum(tag[0]) && tag[0] != '_') return false;
  for (char c : tag)
    if (!is_alnum(c) && c != '_' && c != '.' && c != '-') return false;
  return true;
}

bool is_valid_digest(std::string_view digest) { return looks_like_digest(digest) && check_digest(digest); }

Result<Reference> parse_reference(std::string_view text) {
  if (text.size() == 64 && check_digest("sha256:" + std::string(text)))
    return fail(ErrorKind::kInvalid, "invalid repository name (%.*s), cannot specify 64-byte hexadecimal strings", 64,
                text.data());
  auto [domain, rest] = split_domain(text);
  std::string remote = rest.substr(0, rest.find(':'));
  if (to_lower(remote) != remote)
    return fail(ErrorKind::kInvalid, "invalid reference format: repository name (%s) must be lowercase",
                remote.c_str());

  Reference out;
  out.domain = domain;
  if (!is_domain(domain)) return bad_format();
  if (size_t at = rest.find('@'); at != std::string::npos) {
    out.digest = rest.substr(at + 1);
    rest.resize(at);
    if (!looks_like_digest(out.digest)) return bad_format();
  }
  if (size_t colon = rest.find(':'); colon != std::string::npos) {
    out.tag = rest.substr(colon + 1);
    rest.resize(colon);
    if (!is_valid_tag(out.tag)) return bad_format();
  }
  for (const std::string& part : split(rest, '/'))
    if (!is_path_component(part)) return bad_format();
  if (rest.size() > kMaxPath) return fail(ErrorKind::kInvalid, "repository name must not be more than 255 characters");
  if (!out.digest.empty()) TRY(check_digest(out.digest));
  out.path = std::move(rest);
  return out;
}

Result<Reference> parse_reference_with_default_tag(std::string_view text) {
  auto reference = TRY(parse_reference(text));
  if (reference.tag.empty() && reference.digest.empty()) reference.tag = "latest";
  return reference;
}

std::string Reference::familiar_name() const {
  if (domain != kDefaultDomain) return name();
  if (path.starts_with(kOfficial) && !path.substr(kOfficial.size()).contains('/')) return path.substr(kOfficial.size());
  return path;
}

static std::string with_suffix(std::string name, const Reference& reference) {
  if (!reference.tag.empty()) name += ":" + reference.tag;
  if (!reference.digest.empty()) name += "@" + reference.digest;
  return name;
}

std::string Reference::familiar() const { return with_suffix(familiar_name(), *this); }
std::string Reference::full() const { return with_suffix(name(), *this); }

}  // namespace caisson::spec
