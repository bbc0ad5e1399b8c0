// SPDX-License-Identifier: Apache-2.0
// caisson-relay: carries bytes from IPv6 clients to published ports of containers, one per engine, which it outlives.
// Not for people: the engine tells it over descriptor 3, later over its socket, what to serve; see
// wire/relay_control.h.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "cmd/caisson-relay/confine.h"
#include "relay/control.h"
#include "sys/unix_socket.h"

namespace caisson::relay {
namespace {

// Two descriptors a connection and one a UDP client must fit beside what is there anyway: where they do not, fewer
// are served.
ServiceOptions options_of_descriptor_limit() {
  ServiceOptions options;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return options;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  size_t eighth = static_cast<size_t>(std::min<rlim_t>(limit.rlim_cur, 1 << 20)) / 8;
  options.tcp.connections = std::min(options.tcp.connections, 2 * eighth);
  options.udp.flows = std::min(options.udp.flows, eighth);
  return options;
}

Result<> run(const char* path, UniqueFd& connection) {
  uid_t owner = geteuid();
  ServiceOptions options = options_of_descriptor_limit();
  auto listener = TRY(sys::listen_unix(path, SOCK_SEQPACKET, 0600, 8));
  auto loop = TRY(sys::EventLoop::create());
  TRY(confine());
  Clock clock;
  Service service(*loop, clock, std::move(options));
  Control control(*loop, service, std::move(listener), owner);
  TRY(control.start(std::move(connection)));
  loop->run();
  return {};
}

}  // namespace
}  // namespace caisson::relay

int main(int argc, char** argv) {
  using namespace caisson;
  if (argc != 3 || strcmp(argv[1], "--socket") != 0) {
    fprintf(stderr, "caisson-relay: started by caissond for the published ports of its containers, not by hand\n");
    return 2;
  }
  // Started through a descriptor the program would be called after its number in ps.
  prctl(PR_SET_NAME, "caisson-relay");
  signal(SIGPIPE, SIG_IGN);
  UniqueFd connection = sys::inherited_connection(relay::kControlFd);  // where the engine has started us
  auto done = relay::run(argv[2], connection);
  // Confined, with nothing left to do: what runs at exit is no help any more.
  if (done) _exit(0);
  log_error("caisson-relay: %s", done.error().message.c_str());
  if (connection) {
    relay::ControlAnswer answer{.error = done.error().message};
    (void)sys::send_message(connection.get(), json::encode(answer)).has_value();
  }
  return 1;
}
