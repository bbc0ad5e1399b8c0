// SPDX-License-Identifier: Apache-2.0
#include "sys/netlink_sockets.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/files.h"
#include "sys/netlink.h"

namespace caisson::sys {

Result<> list_bound_sockets(uint8_t protocol, bool v6, const std::function<void(const BoundSocket&)>& visit) {
  auto socket = TRY(NetlinkSocket::open(NETLINK_SOCK_DIAG));
  inet_diag_req_v2 asked{};
  asked.sdiag_family = v6 ? AF_INET6 : AF_INET;
  asked.sdiag_protocol = protocol;
  asked.idiag_states = protocol == IPPROTO_TCP ? 1u << TCP_LISTEN : ~0u;
  NetlinkBuilder out;
  out.begin(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
  out.header(asked);
  auto done = socket.transact(out, "list bound sockets", [&](const NetlinkMessage& message) {
    auto found = message.header<inet_diag_msg>();
    if (!found || message.type != SOCK_DIAG_BY_FAMILY || found->idiag_family != asked.sdiag_family) return;
    auto address = ip_of_bytes({reinterpret_cast<const char*>(found->id.idiag_src), v6 ? size_t{16} : size_t{4}});
    if (address) visit({*address, ntohs(found->id.idiag_sport), found->idiag_inode});
  });
  if (!done && done.error().err == ENOENT) return fail(ErrorKind::kUnsupported, "the kernel does not list its sockets");
  return done;
}

std::string program_with_socket(uint32_t inode) {
  const std::string wanted = format("socket:[%u]", inode);
  auto processes = list_dir("/proc");
  if (!processes) return "";
  for (const auto& pid : *processes) {
    if (!parse_uint(pid)) continue;
    const std::string directory = "/proc/" + pid;
    auto open = list_dir(directory + "/fd");
    if (!open) continue;  // it has ended, or is not ours to see
    for (const auto& fd : *open) {
      char target[64];
      ssize_t size = readlink((directory + "/fd/" + fd).c_str(), target, sizeof target);
      if (size < 0 || std::string_view(target, static_cast<size_t>(size)) != wanted) continue;
      auto name = read_file(directory + "/comm", 64);
      return format("%s (pid %s)", name ? std::string(trim(*name)).c_str() : "a process", pid.c_str());
    }
  }
  return "";
}

}  // namespace caisson::sys
