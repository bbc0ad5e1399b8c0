// SPDX-License-Identifier: Apache-2.0
#include "network/firewalld_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::network {

namespace {

constexpr const char* kBusSocket = "/run/dbus/system_bus_socket";
constexpr const char* kBusVariable = "DBUS_SYSTEM_BUS_ADDRESS";
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kLookNs = 60 * kSecond;                           // for a bus where there is none
constexpr int64_t kFirstPause = kSecond, kMaxPause = 64 * kSecond;  // before another program is started
constexpr int kEndMs = 1'000;

bool in_the_hosts_network() {
  struct stat own {
  }, first{};
  return stat("/proc/self/ns/net", &own) == 0 && stat("/proc/1/ns/net", &first) == 0 && own.st_ino == first.st_ino &&
         own.st_dev == first.st_dev;
}

// Without one of these the bus lets nobody have firewalld's name: no program waits for it in vain.
constexpr const char* kBusPolicies[] = {"/usr/share/dbus-1/system.d/FirewallD.conf",
                                        "/etc/dbus-1/system.d/FirewallD.conf"};

// The host's firewalld knows nothing of links in other namespaces; who names a bus knows which one that is.
bool has_bus() {
  if (const char* named = getenv(kBusVariable); named && *named) return true;
  bool installed = std::any_of(std::begin(kBusPolicies), std::end(kBusPolicies), sys::path_exists);
  return installed && sys::path_exists(kBusSocket) && in_the_hosts_network();
}

class Keeper final : public FirewalldClient {
 public:
  explicit Keeper(std::string program) : program_(std::move(program)) {}
  ~Keeper() override;
  Result<> begin();
  void add(const std::string& bridge) override { change(bridge, true); }
  void remove(const std::string& bridge) override { change(bridge, false); }

 private:
  void change(const std::string& bridge, bool add);
  void work();
  Result<> start();
  void end(int patience_ms);
  bool tell();  // false: the program does not read

  const std::string program_;
  UniqueFd wake_;

  // The worker's alone, once it runs.
  sys::Child child_;
  UniqueFd to_;

  std::mutex mutex_;
  std::set<std::string> bridges_;
  std::map<std::string, bool> changes_;  // not told yet; true: added
  bool stop_ = false;
  std::thread worker_;
};

Result<> Keeper::begin() {
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return fail_errno("eventfd");
  return {};
}

Keeper::~Keeper() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
  if (worker_.joinable()) worker_.join();
}

void Keeper::change(const std::string& bridge, bool add) {
  std::lock_guard lock(mutex_);
  if (add && !bridges_.insert(bridge).second) return;
  if (!add) bridges_.erase(bridge);
  changes_[bridge] = add;
  if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
  uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

Result<> Keeper::start() {
  auto ends = TRY(sys::socket_pair(SOCK_STREAM));
  to_ = std::move(ends.first);
  sys::SpawnRequest spawn;
  spawn.program = program_;
  spawn.args = {"caisson-firewalld"};
  if (const char* named = getenv(kBusVariable)) spawn.env = {std::string(kBusVariable) + "=" + named};
  spawn.fds = {{ends.second.get(), 0}, {2, 2}};
  spawn.new_session = true;
  auto child = sys::spawn(spawn);
  if (!child) {
    to_.reset();
    return std::unexpected(child.error());
  }
  child_ = std::move(*child);
  std::lock_guard lock(mutex_);
  for (const auto& bridge : bridges_) changes_[bridge] = true;
  return {};
}

void Keeper::end(int patience_ms) {
  to_.reset();
  if (!child_.pidfd) return;
  if (!sys::wait_readable(child_.pidfd.get(), patience_ms)) {
    log_warn("firewalld: caisson-firewalld, pid %d, does not end, killing it", child_.pid);
    (void)sys::signal_pidfd(child_.pidfd.get(), SIGKILL).has_value();
  }
  (void)sys::wait_child(child_).has_value();
  child_ = {};
}

bool Keeper::tell() {
  std::map<std::string, bool> changes;
  {
    std::lock_guard lock(mutex_);
    changes.swap(changes_);
  }
  while (!changes.empty()) {
    auto next = changes.begin();
    std::string line = (next->second ? "+" : "-") + next->first + "\n";
    ssize_t sent = send(to_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == static_cast<ssize_t>(line.size())) {
      changes.erase(next);
      continue;
    }
    bool ended = sent < 0 && errno == EPIPE;  // as the loop will see
    std::lock_guard lock(mutex_);
    changes_.merge(changes);
    return ended;
  }
  return true;
}

void Keeper::work() {
  int64_t next = 0, pause = kFirstPause;
  for (;;) {
    int64_t now = monotonic_ns();
    bool wanted = false, stop = false;
    {
      std::lock_guard lock(mutex_);
      wanted = !changes_.empty() || !bridges_.empty();
      stop = stop_;
    }
    if (!child_.pidfd && wanted && now >= next && (!stop || next == 0)) {
      if (!has_bus() || !sys::path_exists(program_)) {
        next = now + kLookNs;
      } else if (auto started = start(); started) {
        next = now + pause;
        pause = std::min(pause * 2, kMaxPause);
      } else {
        log_warn("firewalld: %s", started.error().message.c_str());
        next = now + kLookNs;
      }
    }
    if (child_.pidfd && !tell()) {
      log_warn("firewalld: caisson-firewalld, pid %d, does not listen, starting another", child_.pid);
      end(0);
      continue;
    }
    if (stop) return end(kEndMs);
    int timeout = -1;
    if (!child_.pidfd && wanted)
      timeout = static_cast<int>(std::max<int64_t>(next - monotonic_ns(), 0) / 1'000'000 + 1);
    pollfd entries[] = {{wake_.get(), POLLIN, 0}, {child_.pidfd ? child_.pidfd.get() : -1, POLLIN, 0}};
    (void)poll(entries, 2, timeout);
    uint64_t count = 0;
    (void)!read(wake_.get(), &count, sizeof count);
    if (child_.pidfd && entries[1].revents) {
      log_warn("firewalld: caisson-firewalld, pid %d, has ended, starting another", child_.pid);
      // The pause grows only for one that ends soon.
      if (monotonic_ns() > next + kMaxPause) pause = kFirstPause;
      end(0);
    }
  }
}

}  // namespace

Result<std::unique_ptr<FirewalldClient>> FirewalldClient::create(std::string program) {
  auto keeper = std::make_unique<Keeper>(std::move(program));
  TRY(keeper->begin());
  return keeper;
}

}  // namespace caisson::network
