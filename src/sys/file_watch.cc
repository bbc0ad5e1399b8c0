// SPDX-License-Identifier: Apache-2.0
#include "sys/file_watch.h"

#include <limits.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"

namespace caisson::sys {

namespace {
constexpr int kMaxLinks = 16;
constexpr uint32_t kOfDirectory = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ONLYDIR;

struct Place {
  std::string directory, name;
};
Place place_of(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// Empty when it is no link.
std::string target_of(const std::string& path, const std::string& directory) {
  char target[PATH_MAX];
  ssize_t size = readlink(path.c_str(), target, sizeof target);
  if (size <= 0 || size == sizeof target) return "";
  std::string text(target, static_cast<size_t>(size));
  return text[0] == '/' ? text : directory + "/" + text;
}
}  // namespace

Result<FileWatch> FileWatch::open(std::string path) {
  UniqueFd inotify(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) return fail_errno("inotify_init1");
  FileWatch watch(std::move(path), std::move(inotify));
  TRY(watch.look());
  return watch;
}

Result<> FileWatch::look() {
  std::map<int, std::set<std::string>> now;
  Result<> first;
  std::string path = path_;
  for (int link = 0; link < kMaxLinks && !path.empty(); ++link) {
    auto [directory, name] = place_of(path);
    int watch = inotify_add_watch(inotify_.get(), directory.c_str(), kOfDirectory);
    if (watch >= 0) now[watch].insert(name);
    if (watch < 0 && link == 0) first = fail_errno("watch '%s'", directory.c_str());
    if (watch < 0) break;
    path = target_of(path, directory);
  }
  // A file that is mounted there is written without its directory hearing of it.
  if (int watch = inotify_add_watch(inotify_.get(), path_.c_str(), IN_CLOSE_WRITE); watch >= 0) now[watch].insert("");
  for (const auto& [watch, names] : watched_)
    if (!now.contains(watch) && inotify_rm_watch(inotify_.get(), watch) < 0)
      log_debug("inotify_rm_watch: errno %d, ignoring", errno);  // it went with its directory
  watched_ = std::move(now);
  return first;
}

bool FileWatch::changed() {
  alignas(inotify_event) char buffer[4096];
  bool is_ours = false;
  ssize_t got;
  while ((got = read(inotify_.get(), buffer, sizeof buffer)) > 0)
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      auto watched = watched_.find(event->wd);
      bool lost = (event->mask & (IN_Q_OVERFLOW | IN_IGNORED)) != 0;
      is_ours = is_ours || (event->mask & IN_Q_OVERFLOW) != 0 ||
                (watched != watched_.end() && (lost || watched->second.contains(event->len ? event->name : "")));
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  if (!is_ours) return false;
  // Links may lead elsewhere now.
  if (auto seen = look(); !seen) log_warn("%s", seen.error().message.c_str());
  return true;
}

}  // namespace caisson::sys
