// SPDX-License-Identifier: Apache-2.0
#include "engine/container_path.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <deque>

#include "base/clock.h"
#include "base/text.h"
#include "runtime/users.h"
#include "sys/files.h"

namespace caisson::engine {

namespace {

constexpr int kMaxLinks = 255;

std::vector<std::string> clean_parts(std::string_view path) {
  std::vector<std::string> parts;
  for (auto& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..")
      parts.push_back(std::move(part));
    else if (!parts.empty())
      parts.pop_back();
  }
  return parts;
}

}  // namespace

std::string absolute_path(std::string_view path) {
  std::string out = "/" + join(clean_parts(path), "/");
  if (path == "." || path.ends_with("/.")) return out == "/" ? "/." : out + "/.";
  if (path.ends_with('/') && out != "/") return out + "/";
  return out;
}

std::string base_name(std::string_view absolute) {
  while (absolute.size() > 1 && absolute.ends_with('/')) absolute.remove_suffix(1);
  if (absolute == "/") return "/";
  return std::string(absolute.substr(absolute.rfind('/') + 1));
}

uint32_t go_file_mode(uint32_t mode) {
  uint32_t out = mode & 0777;
  if (S_ISDIR(mode)) out |= 1u << 31;
  if (S_ISLNK(mode)) out |= 1u << 27;
  if (S_ISBLK(mode)) out |= 1u << 26;
  if (S_ISCHR(mode)) out |= 1u << 26 | 1u << 21;
  if (S_ISFIFO(mode)) out |= 1u << 25;
  if (S_ISSOCK(mode)) out |= 1u << 24;
  if (mode & S_ISUID) out |= 1u << 23;
  if (mode & S_ISGID) out |= 1u << 22;
  if (mode & S_ISVTX) out |= 1u << 20;
  return out;
}

Result<std::string> follow_links(int root, const std::string& absolute) {
  auto parts = clean_parts(absolute);
  std::deque<std::string> rest(parts.begin(), parts.end());
  std::vector<std::string> done;
  int links = 0;
  while (!rest.empty()) {
    std::string part = std::move(rest.front());
    rest.pop_front();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!done.empty()) done.pop_back();
      continue;
    }
    auto parent = sys::open_in_root(root, "/" + join(done, "/"), O_PATH | O_DIRECTORY);
    auto st = parent ? sys::stat_at(parent->get(), part) : std::nullopt;
    done.push_back(part);
    if (!st || !*st || !S_ISLNK((*st)->st_mode)) continue;
    if (++links > kMaxLinks) return fail_errno_of(ELOOP, "following links of %s", quoted(absolute).c_str());
    std::string target = TRY(sys::read_link_at(parent->get(), part));
    done.pop_back();
    if (target.starts_with('/')) done.clear();
    auto more = split(target, '/');
    rest.insert(rest.begin(), more.begin(), more.end());
  }
  return "/" + join(done, "/");
}

Result<PathStat> path_stat(int root, const std::string& absolute) {
  auto st = TRY(sys::stat_in_root(root, absolute));
  PathStat out;
  out.name = base_name(absolute);
  out.size = st.st_size;
  out.mode = go_file_mode(st.st_mode);
  out.mtime = format_rfc3339(st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec);
  if (S_ISLNK(st.st_mode)) out.link_target = TRY(follow_links(root, absolute));
  return out;
}

static uint64_t mount_of(int fd) {
  struct statx st {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0) return 0;
  return st.stx_mnt_id;
}

Result<std::string> find_extraction_point(int root, const std::string& absolute) {
  std::string resolved = TRY(follow_links(root, absolute));
  auto destination = TRY(sys::open_in_root(root, resolved, O_PATH));
  sys::FileStat st{};
  if (fstat(destination.get(), &st) < 0) return fail_errno("stat %s", quoted(resolved).c_str());
  if (!S_ISDIR(st.st_mode)) return fail(ErrorKind::kInvalid, "extraction point is not a directory");
  struct statvfs fs {};
  if (fstatvfs(destination.get(), &fs) == 0 && (fs.f_flag & ST_RDONLY))
    return fail(ErrorKind::kDenied, "%s is marked read-only",
                mount_of(destination.get()) == mount_of(root) ? "container rootfs" : "mounted volume");
  return resolved;
}

Result<std::pair<uint32_t, uint32_t>> ids_of_user(int root, const std::string& user) {
  auto resolved = TRY(runtime::resolve_user(root, user));
  return std::pair(resolved.uid, resolved.gid);
}

}  // namespace caisson::engine
