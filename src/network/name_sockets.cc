// SPDX-License-Identifier: Apache-2.0
#include "network/name_sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "sys/nft.h"

namespace caisson::network {

namespace {
constexpr uint32_t kNameServer = 127u << 24 | 11;
constexpr uint16_t kDomain = 53;
constexpr int kBacklog = 64;
constexpr const char* kTable = "caisson_names";

Result<UniqueFd> open_bound(int type, uint16_t& port) {
  UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(kNameServer);
  at.sin_port = htons(port);
  socklen_t size = sizeof at;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) < 0) return fail_errno("bind 127.0.0.11");
  if (type == SOCK_STREAM && listen(fd.get(), kBacklog) < 0) return fail_errno("listen 127.0.0.11");
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size) < 0) return fail_errno("getsockname");
  port = ntohs(at.sin_port);
  return fd;
}

std::string address_bytes() {
  uint32_t address = htonl(kNameServer);
  return {reinterpret_cast<const char*>(&address), sizeof address};
}
std::string port_bytes(uint16_t port) { return {static_cast<char>(port >> 8), static_cast<char>(port & 255)}; }

void add_rule(sys::NftBatch& batch, uint8_t protocol, uint16_t port) {
  batch.begin_rule("output");
  batch.load_network(16, 4, 0);
  batch.compare(0, true, address_bytes());
  batch.load_meta(NFT_META_L4PROTO, 0);
  batch.compare(0, true, std::string(1, static_cast<char>(protocol)));
  batch.load_transport(2, 2, 0);
  batch.compare(0, true, port_bytes(kDomain));
  batch.load_value(0, address_bytes());
  batch.load_value(1, port_bytes(port));
  batch.dnat(0, 1);
  batch.end_rule();
}
}  // namespace

Result<InnerSockets> open_inner_sockets(bool ask_v4, bool ask_v6) {
  InnerSockets opened;
  auto nft = sys::open_nft_socket();
  if (nft)
    opened.nft.emplace(std::move(*nft));
  else if (nft.error().err == EPROTONOSUPPORT)
    // A kernel without nf_tables: queries reach us all the same, at the price that port 53 of that address is taken.
    opened.udp_port = opened.tcp_port = kDomain;
  else
    return std::unexpected(nft.error());
  opened.udp = TRY(open_bound(SOCK_DGRAM, opened.udp_port));
  opened.tcp = TRY(open_bound(SOCK_STREAM, opened.tcp_port));
  for (int family : {AF_INET, AF_INET6}) {
    if (!(family == AF_INET ? ask_v4 : ask_v6)) continue;
    for (int type : {SOCK_DGRAM, SOCK_DGRAM, SOCK_STREAM}) {
      opened.query.emplace_back(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!opened.query.back()) return fail_errno("socket");
    }
  }
  return opened;
}

Result<> redirect_names(InnerSockets& sockets) {
  if (!sockets.nft) return {};
  sys::NftBatch batch(kTable);
  batch.add_table();
  batch.add_base_chain("output", "nat", sys::NftHook::kOutput, -100);
  batch.flush_chain("output");
  add_rule(batch, IPPROTO_UDP, sockets.udp_port);
  add_rule(batch, IPPROTO_TCP, sockets.tcp_port);
  return batch.commit(*sockets.nft, "lead name queries to the engine");
}

}  // namespace caisson::network
