// SPDX-License-Identifier: Apache-2.0
#include "network/link_watch.h"

#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstddef>

namespace caisson::network {

namespace {
constexpr int kEventsAtOnce = 64;

constexpr uint16_t swapped(uint16_t value) { return static_cast<uint16_t>(value << 8 | value >> 8); }

// Each container that starts says a dozen things about its links: nobody is woken for those. The kernel loads in
// network byte order, and netlink is in the host's.
Result<> keep_losses_only(int fd) {
  constexpr bool kLittle = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
  constexpr uint16_t kLink = kLittle ? swapped(RTM_DELLINK) : uint16_t{RTM_DELLINK};
  constexpr uint16_t kAddress = kLittle ? swapped(RTM_DELADDR) : uint16_t{RTM_DELADDR};
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(nlmsghdr, nlmsg_type)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLink, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kAddress, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
  };
  sock_fprog program{sizeof code / sizeof *code, code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) return fail_errno("SO_ATTACH_FILTER");
  return {};
}

}  // namespace

Result<LinkWatch> LinkWatch::open() {
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR));
  TRY(keep_losses_only(socket.fd()));
  return LinkWatch(std::move(socket));
}

std::optional<std::set<int>> LinkWatch::read() {
  std::set<int> links;
  for (int i = 0; i < kEventsAtOnce; ++i) {
    auto got = socket_.receive_events(0, [&](const sys::NetlinkMessage& message) {
      if (message.type == RTM_DELLINK) {
        // A port that leaves its bridge is told in the same words, by another family.
        if (auto header = message.header<ifinfomsg>(); header && header->ifi_family == AF_UNSPEC)
          links.insert(header->ifi_index);
      } else if (message.type == RTM_DELADDR) {
        if (auto header = message.header<ifaddrmsg>()) links.insert(static_cast<int>(header->ifa_index));
      }
    });
    if (got) continue;
    if (got.error().kind == ErrorKind::kTimeout) break;
    return std::nullopt;
  }
  return links;
}

}  // namespace caisson::network
