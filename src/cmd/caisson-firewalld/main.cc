// SPDX-License-Identifier: Apache-2.0
// caisson-firewalld: keeps the bridges of one engine in a zone of firewalld's, on behalf of an engine that must not
// wait for a bus. On stdin come lines: "+BRIDGE" and "-BRIDGE". Ends at their end, when all is done, or with the bus.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <string>
#include <string_view>

#include "base/log.h"
#include "firewalld.h"
#include "sys/raw_calls.h"
#include "sys/rtnetlink.h"

namespace caisson::firewalld {

namespace {

constexpr size_t kMaxLine = 64;
constexpr size_t kMaxBridges = 8192;

class Worker {
 public:
  explicit Worker(Firewalld bus) : bus_(std::move(bus)) {}
  // False at the end of the input.
  bool read_input();
  Result<> work();  // tells firewalld what it does not know
  int fd() const { return bus_.fd(); }

 private:
  bool take_line(std::string_view line);
  Result<> tell(const std::set<std::string>& names, bool add);

  Firewalld bus_;
  std::string rest_;
  std::set<std::string> bridges_;          // all there are
  std::set<std::string> added_, removed_;  // since firewalld was told
};

bool Worker::take_line(std::string_view line) {
  if (line.size() < 2 || (line[0] != '+' && line[0] != '-') || !sys::is_interface_name(line.substr(1))) return false;
  std::string name(line.substr(1));
  added_.erase(name);
  removed_.erase(name);
  if (line[0] == '+') {
    if (bridges_.size() >= kMaxBridges) return false;
    bridges_.insert(name);
    added_.insert(name);
  } else {
    bridges_.erase(name);
    removed_.insert(name);
  }
  return true;
}

bool Worker::read_input() {
  char buffer[4096];
  for (;;) {
    ssize_t got = read(0, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    rest_.append(buffer, static_cast<size_t>(got));
    for (size_t end; (end = rest_.find('\n')) != std::string::npos; rest_.erase(0, end + 1))
      if (!take_line(std::string_view(rest_).substr(0, end))) log_warn("firewalld: a line that is no order, ignoring");
    if (rest_.size() > kMaxLine) return false;
  }
}

Result<> Worker::tell(const std::set<std::string>& names, bool add) {
  for (const auto& name : names) {
    auto done = add ? bus_.add(name) : bus_.remove(name);
    if (done) continue;
    if (done.error().kind == ErrorKind::kUnavailable) return done;
    log_warn("bridge '%s': %s", name.c_str(), done.error().message.c_str());
  }
  return {};
}

Result<> Worker::work() {
  for (;;) {
    if (TRY(bus_.take_news())) added_ = bridges_;
    if (added_.empty() && removed_.empty()) return {};
    auto added = std::exchange(added_, {}), removed = std::exchange(removed_, {});
    // Without it: its appearing is news, and it knows nothing of what was removed before.
    if (!TRY(bus_.is_running())) continue;
    auto told = tell(removed, false);
    if (told && !added.empty()) told = bus_.ensure_zone();
    if (told) told = tell(added, true);
    if (!told) log_warn("%s", told.error().message.c_str());
  }
}

int run() {
  signal(SIGPIPE, SIG_IGN);
  // The bus knows who we are by our user; nothing else needs privilege.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sys::raw::set_capabilities(0, 0, 0) < 0) {
    fprintf(stderr, "caisson-firewalld: giving up privileges failed\n");
    return 1;
  }
  if (int flags = fcntl(0, F_GETFL); flags < 0 || fcntl(0, F_SETFL, flags | O_NONBLOCK) < 0) return 1;
  auto bus = Firewalld::connect();
  if (!bus) {
    log_warn("%s", bus.error().message.c_str());
    return 1;
  }
  Worker worker(std::move(*bus));
  for (;;) {
    bool more = worker.read_input();
    if (auto done = worker.work(); !done) {
      log_warn("%s", done.error().message.c_str());
      return 1;
    }
    if (!more) return 0;
    pollfd entries[] = {{0, POLLIN, 0}, {worker.fd(), POLLIN, 0}};
    (void)poll(entries, 2, -1);
  }
}

}  // namespace

}  // namespace caisson::firewalld

int main() { return caisson::firewalld::run(); }
