// SPDX-License-Identifier: Apache-2.0
// caisson-tls: the TLS of the engine's TCP listeners and of the client's connections, in a process that can do
// nothing else. Not for people: see wire/tls_setup.h for its descriptors.
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "base/log.h"
#include "cmd/caisson-tls/confine.h"
#include "cmd/caisson-tls/server.h"
#include "sys/files.h"
#include "sys/unix_socket.h"
#include "wire/tls_relay.h"

namespace caisson::tls {
namespace {

constexpr int64_t kClientHandshakeMs = 20000;

void tell(const std::string& error) {
  http::TlsMessage message{.address = "", .common_name = "", .error = error};
  if (auto sent = sys::send_message(http::kTlsControlFd, json::encode(message)); !sent)
    log_debug("%s, ignoring", sent.error().message.c_str());
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

Result<> serve(sys::EventLoop& loop, const http::TlsSetup& setup, SSL_CTX* context) {
  Server server(loop, setup, context, http::kTlsControlFd);
  TRY(server.start());
  tell("");
  loop.run();
  return {};
}

Result<> connect(sys::EventLoop& loop, const http::TlsSetup& setup, SSL_CTX* context) {
  UniqueFd socket(http::kTlsSocketFd), plain(http::kTlsPlainFd);
  auto session = TRY(http::make_tls_session(context, setup, socket.get()));
  http::TlsRelay::Callbacks callbacks{
      .secured =
          [&](const std::string&) {
            tell("");
            return std::move(plain);
          },
      .ended =
          [&](http::TlsRelay&, const std::string& reason) {
            if (!reason.empty()) tell(reason);
            loop.stop();
          },
  };
  auto relay = std::make_shared<http::TlsRelay>(loop, std::move(session), std::move(socket), std::move(callbacks));
  TRY(relay->start(kClientHandshakeMs));
  loop.run();
  return {};
}

Result<> run() {
  UniqueFd file(http::kTlsSetupFd);
  auto text = TRY(sys::read_fd(file.get(), http::kMaxTlsSetup));
  auto setup = TRY(json::decode<http::TlsSetup>(text));
  file.reset();
  if (setup.debug) set_log_level(LogLevel::kDebug);
  raise_descriptor_limit();
  auto context = TRY(http::make_tls_context(setup));
  auto loop = TRY(sys::EventLoop::create());
  TRY(confine());
  return setup.server ? serve(*loop, setup, context.get()) : connect(*loop, setup, context.get());
}

}  // namespace
}  // namespace caisson::tls

int main() {
  using namespace caisson;
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(http::kTlsControlFd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET) {
    fprintf(stderr, "caisson-tls: started by caissond and caisson for their TLS, not by hand\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  if (auto done = tls::run(); !done) {
    tls::tell(done.error().message);
    return 1;
  }
  return 0;
}
