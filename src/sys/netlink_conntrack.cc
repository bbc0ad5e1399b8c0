// SPDX-License-Identifier: Apache-2.0
#include "sys/netlink_conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

namespace caisson::sys {

namespace {
// Bits of CTA_FILTER_ORIG_FLAGS; they are in the kernel's net/netfilter/nf_internals.h only.
constexpr uint32_t kMatchDestination = 1 << 1, kMatchProtocol = 1 << 3, kMatchDestinationPort = 1 << 5;
}  // namespace

Result<> forget_udp_flows(NetlinkSocket& nfnetlink, const IpAddress& address, uint16_t port) {
  NetlinkBuilder out;
  out.begin(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
  out.header(nfgenmsg{static_cast<uint8_t>(address.v6 ? AF_INET6 : AF_INET), NFNETLINK_V0, 0});
  out.nest(CTA_TUPLE_ORIG);
  if (!address.is_any()) {
    out.nest(CTA_TUPLE_IP);
    std::string bytes = address.bytes();
    out.attribute(address.v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, bytes.data(), bytes.size());
    out.end_nest();
  }
  out.nest(CTA_TUPLE_PROTO);
  out.put_u8(CTA_PROTO_NUM, IPPROTO_UDP);
  uint16_t network_port = htons(port);
  out.attribute(CTA_PROTO_DST_PORT, &network_port, sizeof network_port);
  out.end_nest();
  out.end_nest();
  out.nest(CTA_FILTER);
  out.put_u32(CTA_FILTER_ORIG_FLAGS,
              kMatchProtocol | kMatchDestinationPort | (address.is_any() ? 0 : kMatchDestination));
  out.put_u32(CTA_FILTER_REPLY_FLAGS, 0);
  out.end_nest();
  return nfnetlink.transact(out, "forget udp flows");
}

}  // namespace caisson::sys
