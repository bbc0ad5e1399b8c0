// SPDX-License-Identifier: Apache-2.0
#include "api/registry_paths.h"

#include "base/text.h"

namespace caisson::api {

namespace {

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// [a-z0-9]+ with ".", "_", "__" or any number of "-" in between.
bool is_name_part(std::string_view part) {
  if (part.empty() || !is_word(part.front()) || !is_word(part.back())) return false;
  for (size_t at = 0; at < part.size();) {
    if (is_word(part[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < part.size() && !is_word(part[end])) ++end;
    std::string_view separator = part.substr(at, end - at);
    if (separator != "." && separator != "_" && separator != "__" && separator.find_first_not_of('-') != separator.npos)
      return false;
    at = end;
  }
  return true;
}

// Cuts "/WORD" and what is behind the last "/" off.
bool cut_tail(std::string_view& path, std::string_view word, std::string& tail) {
  size_t slash = path.rfind('/');
  if (slash == path.npos) return false;
  std::string_view before = path.substr(0, slash);
  if (!before.ends_with(word) || before.size() <= word.size()) return false;
  tail = path.substr(slash + 1);
  path = before.substr(0, before.size() - word.size());
  return true;
}

}  // namespace

bool is_repository_name(std::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  for (const auto& part : split(name, '/'))
    if (!is_name_part(part)) return false;
  return true;
}

RegistryPath parse_registry_path(std::string_view path) {
  using Kind = RegistryPath::Kind;
  RegistryPath out;
  if (path == "/v2" || path == "/v2/") return {Kind::kBase, "", ""};
  if (path.size() > 1024 || !path.starts_with("/v2/")) return out;
  path.remove_prefix(4);
  if (path == "_catalog") return {Kind::kCatalog, "", ""};
  auto is = [&](Kind kind) {
    out.kind = kind;
    out.name = path;
    return out;
  };
  // The last words decide: "blobs" may be part of a name.
  if (path.ends_with("/tags/list")) {
    path.remove_suffix(10);
    return is(Kind::kTags);
  }
  for (std::string_view uploads : {"/blobs/uploads/", "/blobs/uploads"})
    if (path.ends_with(uploads)) {
      path.remove_suffix(uploads.size());
      return is(Kind::kUploads);
    }
  if (cut_tail(path, "/blobs/uploads", out.reference)) return is(Kind::kUpload);
  if (cut_tail(path, "/manifests", out.reference)) return is(Kind::kManifest);
  if (cut_tail(path, "/blobs", out.reference)) return is(Kind::kBlob);
  if (cut_tail(path, "/referrers", out.reference)) return is(Kind::kReferrers);
  return {};
}

std::optional<ByteRange> parse_byte_range(std::string_view header, int64_t size, bool& is_valid) {
  is_valid = true;
  // Other units and lists of ranges may be passed over (RFC 9110, 14.2).
  if (!header.starts_with("bytes=") || header.find(',') != header.npos) return std::nullopt;
  auto ends = split_once(trim(header.substr(6)), '-');
  if (!ends) return std::nullopt;
  auto first = parse_uint(ends->first), last = parse_uint(ends->second);
  uint64_t total = static_cast<uint64_t>(size);
  if (ends->first.empty() && last) {
    uint64_t length = std::min(*last, total);
    is_valid = length > 0;
    if (!is_valid) return std::nullopt;
    return ByteRange{static_cast<int64_t>(total - length), static_cast<int64_t>(length)};
  }
  if (!first || (!last && !ends->second.empty()) || (last && *last < *first)) return std::nullopt;
  is_valid = *first < total;
  if (!is_valid) return std::nullopt;
  uint64_t end = last ? std::min(*last, total - 1) : total - 1;
  return ByteRange{static_cast<int64_t>(*first), static_cast<int64_t>(end - *first + 1)};
}

std::optional<ByteRange> parse_content_range(std::string_view header) {
  if (header.starts_with("bytes ")) {  // of clients that take it for HTTP's own header
    header.remove_prefix(6);
    header = header.substr(0, header.find('/'));
  }
  auto ends = split_once(trim(header), '-');
  if (!ends) return std::nullopt;
  auto first = parse_uint(ends->first), last = parse_uint(ends->second);
  if (!first || !last || *last < *first || *last > (uint64_t{1} << 60)) return std::nullopt;
  return ByteRange{static_cast<int64_t>(*first), static_cast<int64_t>(*last - *first + 1)};
}

}  // namespace caisson::api
