// SPDX-License-Identifier: Apache-2.0
#include "runtime/users.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::runtime {

namespace {

constexpr size_t kMaxFileBytes = 4 << 20;
constexpr uint32_t kMaxId = 0x7fffffff;  // what other engines accept; also keeps (uid_t)-1 out
constexpr size_t kMaxGroups = 1024;

struct PasswdEntry {
  std::string name, home;
  uint32_t uid = 0, gid = 0;
};

struct GroupEntry {
  std::string name;
  uint32_t gid = 0;
  std::string members;
};

std::optional<uint32_t> parse_id(std::string_view text) {
  auto value = parse_uint(text);
  if (!value || *value > kMaxId) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

template <class Match>
std::optional<PasswdEntry> find_user(std::string_view passwd, Match match) {
  for (auto& line : split(passwd, '\n')) {
    auto fields = split(trim(line), ':');
    if (fields.size() < 4 || fields[0].empty()) continue;
    auto uid = parse_id(fields[2]), gid = parse_id(fields[3]);
    if (!uid || !gid) continue;
    PasswdEntry entry{fields[0], fields.size() > 5 ? fields[5] : "", *uid, *gid};
    if (match(entry)) return entry;
  }
  return std::nullopt;
}

std::vector<GroupEntry> parse_groups(std::string_view group) {
  std::vector<GroupEntry> out;
  for (auto& line : split(group, '\n')) {
    auto fields = split(trim(line), ':');
    if (fields.size() < 3 || fields[0].empty()) continue;
    if (auto gid = parse_id(fields[2])) out.push_back({fields[0], *gid, fields.size() > 3 ? fields[3] : ""});
  }
  return out;
}

bool is_member(const GroupEntry& entry, std::string_view user) {
  for (auto& member : split(entry.members, ','))
    if (member == user) return true;
  return false;
}

Result<uint32_t> group_id(const std::vector<GroupEntry>& groups, const std::string& name) {
  for (const auto& entry : groups)
    if (entry.name == name) return entry.gid;
  // A name wins over a number, but digits without an entry are a number.
  if (all_digits(name)) {
    if (auto gid = parse_id(name)) return *gid;
    return fail(ErrorKind::kInvalid, "uids and gids must be in range 0-%u", kMaxId);
  }
  return fail(ErrorKind::kInvalid, "unable to find group %s: no matching entries in group file", name.c_str());
}

Result<std::string> read_account_file(int rootfs, const char* path) {
  // O_NONBLOCK: a FIFO in its place must not hold us up.
  auto fd = sys::open_in_root(rootfs, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    if (fd.error().err == ENOENT || fd.error().err == ENOTDIR) return std::string();
    return std::unexpected(std::move(fd).error());
  }
  struct stat info {};
  if (fstat(fd->get(), &info) < 0) return fail_errno("stat '%s'", path);
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::kInvalid, "'%s' of the image is not a regular file", path);
  return sys::read_fd(fd->get(), kMaxFileBytes);
}

}  // namespace

Result<ResolvedUser> resolve_user_in(std::string_view passwd, std::string_view group, std::string_view user,
                                     const std::vector<std::string>& extra_groups) {
  ResolvedUser out;
  std::string name(user), group_name;
  if (auto pair = split_once(user, ':')) {
    name = pair->first;
    group_name = pair->second;
  }
  auto entry = find_user(passwd, [&](const PasswdEntry& e) { return name.empty() ? e.uid == 0 : e.name == name; });
  if (!entry && all_digits(name)) {
    auto uid = parse_id(name);
    if (!uid) return fail(ErrorKind::kInvalid, "uids and gids must be in range 0-%u", kMaxId);
    out.uid = *uid;
    entry = find_user(passwd, [&](const PasswdEntry& e) { return e.uid == *uid; });
  } else if (!entry && !name.empty()) {
    return fail(ErrorKind::kInvalid, "unable to find user %s: no matching entries in passwd file", name.c_str());
  }
  if (entry) {
    out.uid = entry->uid;
    out.gid = entry->gid;
    out.name = entry->name;
    if (!entry->home.empty() && entry->home[0] == '/') out.home = entry->home;
  }
  auto groups = parse_groups(group);
  if (!group_name.empty()) out.gid = TRY(group_id(groups, group_name));
  // The primary group is listed too: files it owns with a "negative" group permission must stay closed.
  out.additional_gids.push_back(out.gid);
  if (group_name.empty() && entry) {
    for (const auto& g : groups)
      if (is_member(g, entry->name) && g.gid != out.gid && out.additional_gids.size() < kMaxGroups)
        out.additional_gids.push_back(g.gid);
  }
  for (const auto& extra : extra_groups) {
    uint32_t gid = TRY(group_id(groups, extra));
    if (std::find(out.additional_gids.begin(), out.additional_gids.end(), gid) == out.additional_gids.end())
      out.additional_gids.push_back(gid);
  }
  return out;
}

Result<ResolvedUser> resolve_user(int rootfs, std::string_view user, const std::vector<std::string>& extra_groups) {
  auto passwd = TRY(read_account_file(rootfs, "etc/passwd"));
  auto group = TRY(read_account_file(rootfs, "etc/group"));
  return resolve_user_in(passwd, group, user, extra_groups);
}

}  // namespace caisson::runtime
