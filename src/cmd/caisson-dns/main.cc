// SPDX-License-Identifier: Apache-2.0
// caisson-dns: the server behind 127.0.0.11 in containers, one per engine, which it outlives. Not for people: the
// engine tells it over descriptor 3, later over its socket, what to serve; see wire/dns_control.h.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "cmd/caisson-dns/confine.h"
#include "dns/control.h"
#include "sys/unix_socket.h"

namespace caisson::dns {
namespace {

// Two sockets a container and more: the soft limit of 1024 is soon reached.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

Result<> run(const char* path, UniqueFd& connection) {
  uid_t owner = geteuid();
  raise_descriptor_limit();
  auto listener = TRY(sys::listen_unix(path, SOCK_SEQPACKET, 0600, 8));
  auto loop = TRY(sys::EventLoop::create());
  TRY(confine());
  Clock clock;
  Service service(*loop, clock);
  Control control(*loop, service, std::move(listener), owner);
  TRY(control.start(std::move(connection)));
  loop->run();
  return {};
}

}  // namespace
}  // namespace caisson::dns

int main(int argc, char** argv) {
  using namespace caisson;
  if (argc != 3 || strcmp(argv[1], "--socket") != 0) {
    fprintf(stderr, "caisson-dns: started by caissond for the names of its containers, not by hand\n");
    return 2;
  }
  // Started through a descriptor the program would be called after its number in ps.
  prctl(PR_SET_NAME, "caisson-dns");
  signal(SIGPIPE, SIG_IGN);
  UniqueFd connection = sys::inherited_connection(dns::kControlFd);  // where the engine has started us
  auto done = dns::run(argv[2], connection);
  // Confined, with nothing left to do: what runs at exit is no help any more.
  if (done) _exit(0);
  log_error("caisson-dns: %s", done.error().message.c_str());
  if (connection) {
    dns::ControlAnswer answer{.error = done.error().message};
    (void)sys::send_message(connection.get(), json::encode(answer)).has_value();
  }
  return 1;
}
