// SPDX-License-Identifier: Apache-2.0
#include "engine/host_resolver.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cstring>

#include "base/log.h"
#include "sys/files.h"

namespace caisson::engine {

namespace {
constexpr const char *kDirectory = "/etc", *kName = "resolv.conf", *kPath = "/etc/resolv.conf";
constexpr size_t kMaxFile = 64 << 10;
}  // namespace

HostResolver::HostResolver(network::DnsClient& names, sys::EventLoop& loop, Executor& executor)
    : names_(names), loop_(loop), executor_(executor) {}

void HostResolver::start() {
  tell();
  inotify_ = UniqueFd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  // The directory, as the file is replaced more often than written; and what a link leads to may change alone.
  bool good = inotify_ && inotify_add_watch(inotify_.get(), kDirectory, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE) >= 0;
  if (good && inotify_add_watch(inotify_.get(), kPath, IN_CLOSE_WRITE) < 0) log_debug("no '%s' to watch", kPath);
  auto added = good ? loop_.add(inotify_.get(), EPOLLIN, [this](uint32_t) { on_change(); })
                    : Result<>(fail_errno("inotify '%s'", kDirectory));
  if (added) return;
  log_warn("changes of '%s' are not followed: %s", kPath, added.error().message.c_str());
  inotify_.reset();
}

void HostResolver::on_change() {
  alignas(inotify_event) char buffer[4096];
  bool is_ours = false;
  ssize_t got;
  while ((got = read(inotify_.get(), buffer, sizeof buffer)) > 0)
    for (ssize_t at = 0; at < got;) {
      auto* event = reinterpret_cast<inotify_event*>(buffer + at);
      is_ours = is_ours || event->len == 0 || strcmp(event->name, kName) == 0;
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  if (is_ours) executor_.post([this] { tell(); });
}

void HostResolver::tell() {
  auto text = sys::read_file(kPath, kMaxFile);
  if (!text) log_debug("%s, ignoring", text.error().message.c_str());
  if (auto told = names_.set_upstreams(network::upstreams_of(text.value_or(""))); !told)
    log_warn("name servers of the host: %s", told.error().message.c_str());
}

}  // namespace caisson::engine
