// SPDX-License-Identifier: Apache-2.0
#include "engine/host_resolver.h"

#include <sys/epoll.h>

#include "base/log.h"
#include "sys/files.h"

namespace caisson::engine {

namespace {
constexpr const char* kPath = "/etc/resolv.conf";
constexpr size_t kMaxFile = 64 << 10;
}  // namespace

HostResolver::HostResolver(network::DnsClient& names, sys::EventLoop& loop, Executor& executor)
    : names_(names), loop_(loop), executor_(executor) {}

void HostResolver::start() {
  auto begin = [this]() -> Result<> {
    watch_ = TRY(sys::FileWatch::open(kPath));
    return loop_.add(watch_->fd(), EPOLLIN, [this](uint32_t) {
      if (watch_->changed()) executor_.post([this] { tell(); });
    });
  };
  if (auto begun = begin(); !begun) {
    log_warn("changes of '%s' are not followed: %s", kPath, begun.error().message.c_str());
    watch_.reset();
  }
  // After the watch began, so that no change is missed.
  tell();
}

void HostResolver::tell() {
  auto text = sys::read_file(kPath, kMaxFile);
  if (!text) log_debug("%s, ignoring", text.error().message.c_str());
  if (auto told = names_.set_upstreams(network::upstreams_of(text.value_or(""))); !told)
    log_warn("name servers of the host: %s", told.error().message.c_str());
}

}  // namespace caisson::engine
