// SPDX-License-Identifier: Apache-2.0
// caisson-gate: sends on what the host's firewall let pass to published ports, one per engine, which it outlives. Not
// for people: the engine starts it with a connection at descriptor 3, later engines find its socket; see
// wire/gate_control.h.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "base/text.h"
#include "cmd/caisson-gate/confine.h"
#include "gate/service.h"
#include "sys/nft.h"
#include "sys/unix_socket.h"
#include "wire/gate_control.h"

namespace caisson::gate {
namespace {

struct Arguments {
  const char* socket = nullptr;
  const char* table = nullptr;    // the engine's; its maps below say what is published
  uint16_t first = 0, count = 1;  // queues to try
};

constexpr const char* kMaps[] = {"published_at", "published", "ranges"};

bool parse(int argc, char** argv, Arguments& out) {
  if (argc != 9) return false;
  for (int i = 1; i < argc; i += 2) {
    std::string_view name = argv[i];
    auto number = parse_uint(argv[i + 1]);
    if (name == "--socket")
      out.socket = argv[i + 1];
    else if (name == "--table")
      out.table = argv[i + 1];
    else if (name == "--queue" && number && *number <= UINT16_MAX)
      out.first = static_cast<uint16_t>(*number);
    else if (name == "--tries" && number && *number && *number <= UINT16_MAX)
      out.count = static_cast<uint16_t>(*number);
    else
      return false;
  }
  return out.socket && out.table;
}

Result<sys::PacketQueue> open_queue(const Arguments& arguments, uint16_t& number) {
  for (uint16_t i = 0;; ++i) {
    number = static_cast<uint16_t>(arguments.first + i);
    auto queue = sys::PacketQueue::open(number);
    if (queue || queue.error().kind != ErrorKind::kConflict || i + 1 >= arguments.count) return queue;
  }
}

// Errors count as a yes: a program too many does no harm.
bool has_published(sys::NetlinkSocket& socket, const std::string& table) {
  for (auto family : {sys::NftFamily::kIpv4, sys::NftFamily::kIpv6})
    for (const char* map : kMaps) {
      bool found = false;
      auto listed = sys::list_nft_elements(
          socket, table, map, [&](const sys::NftElement&) { found = true; }, family);
      if (!listed || found) return true;
    }
  return false;
}

Result<> run(const Arguments& arguments, UniqueFd& connection) {
  uid_t owner = geteuid();
  uint16_t number = 0;
  auto queue = TRY(open_queue(arguments, number));
  auto sender = TRY(sys::PacketSender::open());
  auto rules = TRY(sys::open_nft_socket());
  auto listener = TRY(sys::listen_unix(arguments.socket, SOCK_SEQPACKET, 0600, 8));
  auto loop = TRY(sys::EventLoop::create());
  TRY(confine());
  auto is_needed = [&rules, table = std::string(arguments.table)] { return has_published(rules, table); };
  Service service(*loop, {std::move(listener), owner, number, std::move(queue), std::move(sender), is_needed});
  TRY(service.start(std::move(connection)));
  loop->run();
  return {};
}

}  // namespace
}  // namespace caisson::gate

int main(int argc, char** argv) {
  using namespace caisson;
  gate::Arguments arguments;
  if (!gate::parse(argc, argv, arguments)) {
    fprintf(stderr, "caisson-gate: started by caissond for the published ports of its containers, not by hand\n");
    return 2;
  }
  // Started through a descriptor the program would be called after its number in ps.
  prctl(PR_SET_NAME, "caisson-gate");
  signal(SIGPIPE, SIG_IGN);
  UniqueFd connection = sys::inherited_connection(gate::kControlFd);  // where the engine has started us
  auto done = gate::run(arguments, connection);
  // Confined, with nothing left to do: what runs at exit is no help any more.
  if (done) _exit(0);
  log_error("caisson-gate: %s", done.error().message.c_str());
  if (connection) {
    gate::ControlAnswer answer{.error = done.error().message};
    (void)sys::send_message(connection.get(), json::encode(answer)).has_value();
  }
  return 1;
}
