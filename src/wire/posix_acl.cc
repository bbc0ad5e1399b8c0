// SPDX-License-Identifier: Apache-2.0
// Binary form: include/uapi/linux/posix_acl_xattr.h.
#include "wire/posix_acl.h"

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include "base/text.h"

namespace caisson::tar {
namespace {

enum : uint16_t { kUserObject = 1, kUser = 2, kGroupObject = 4, kGroup = 8, kMask = 16, kOther = 32 };
constexpr uint32_t kVersion = 2, kNoId = UINT32_MAX;
constexpr size_t kMaxEntries = 1024;

struct AclEntry {
  uint16_t tag = 0, permissions = 0;
  uint32_t id = kNoId;
};

std::optional<uint16_t> parse_permissions(std::string_view text) {
  uint16_t out = 0;
  for (char c : text) {
    if (c == 'r')
      out |= 4;
    else if (c == 'w')
      out |= 2;
    else if (c == 'x')
      out |= 1;
    else if (c != '-')
      return std::nullopt;
  }
  return text.empty() || text.size() > 3 ? std::nullopt : std::optional(out);
}

std::optional<AclEntry> parse_entry(std::string_view text) {
  auto parts = split(text, ':');
  if (!parts.empty() && (parts[0] == "default" || parts[0] == "d")) parts.erase(parts.begin());
  // "other:r--" leaves the empty qualifier out.
  bool is_user = !parts.empty() && (parts[0] == "user" || parts[0] == "u");
  bool is_group = !parts.empty() && (parts[0] == "group" || parts[0] == "g");
  if (parts.size() == 2 && !is_user && !is_group) parts.insert(parts.begin() + 1, "");
  if (parts.size() < 3 || parts.size() > 4) return std::nullopt;
  AclEntry entry;
  auto permissions = parse_permissions(parts[2]);
  if (!permissions) return std::nullopt;
  entry.permissions = *permissions;
  const std::string& qualifier = parts.size() == 4 ? parts[3] : parts[1];
  if (is_user || is_group) {
    entry.tag = is_user ? kUserObject : kGroupObject;
    if (qualifier.empty() && parts[1].empty()) return entry;
    auto id = parse_uint(qualifier);
    if (!id || *id >= kNoId) return std::nullopt;
    entry.tag = is_user ? kUser : kGroup;
    entry.id = static_cast<uint32_t>(*id);
  } else if (parts[0] == "mask" || parts[0] == "m") {
    entry.tag = kMask;
  } else if (parts[0] == "other" || parts[0] == "o") {
    entry.tag = kOther;
  } else {
    return std::nullopt;
  }
  return entry;
}

void put(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

}  // namespace

std::optional<std::string> acl_to_xattr(std::string_view text) {
  std::vector<AclEntry> entries;
  std::string lines(text);
  std::replace(lines.begin(), lines.end(), '\n', ',');
  for (const std::string& line : split(lines, ',')) {
    // "#effective:r--" and the like are comments.
    std::string_view bare = trim(std::string_view(line).substr(0, line.find('#')));
    if (bare.empty()) continue;
    auto entry = parse_entry(bare);
    if (!entry || entries.size() >= kMaxEntries) return std::nullopt;
    entries.push_back(*entry);
  }
  if (entries.empty()) return std::nullopt;
  // The kernel wants them by kind and id.
  std::sort(entries.begin(), entries.end(),
            [](auto& a, auto& b) { return std::tie(a.tag, a.id) < std::tie(b.tag, b.id); });
  std::string out;
  put(out, kVersion, 4);
  for (const AclEntry& entry : entries) {
    put(out, entry.tag, 2);
    put(out, entry.permissions, 2);
    put(out, entry.id, 4);
  }
  return out;
}

}  // namespace caisson::tar
