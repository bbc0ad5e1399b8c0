// SPDX-License-Identifier: Apache-2.0
// See floor_net.h. No library: the messages are built by hand, several per sendmsg.
#include "floor_net.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace floor_net {
namespace {

constexpr int kOperUp = 6;  // IF_OPER_UP, linux/if.h (clashes with net/if.h)

class Batch {
 public:
  void begin(uint16_t type, uint16_t flags, const void* body, size_t size) {
    finish();
    start_ = used_;
    auto* header = reinterpret_cast<nlmsghdr*>(data_ + used_);
    header->nlmsg_type = type;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    header->nlmsg_seq = ++count_;
    used_ += NLMSG_HDRLEN;
    put(body, size);
    open_ = true;
  }
  void attribute(uint16_t type, const void* value, size_t size) {
    rtattr head{static_cast<uint16_t>(RTA_LENGTH(size)), type};
    put(&head, sizeof head);
    put(value, size);
  }
  void attribute(uint16_t type, uint32_t value) { attribute(type, &value, sizeof value); }
  void attribute(uint16_t type, const std::string& value) { attribute(type, value.c_str(), value.size() + 1); }
  size_t nest(uint16_t type, const void* body = nullptr, size_t size = 0) {
    size_t at = used_;
    attribute(type, body, size);
    return at;
  }
  void close(size_t at) { reinterpret_cast<rtattr*>(data_ + at)->rta_len = used_ - at; }
  // All messages in one call, then their acknowledgements.
  void send(int socket) {
    finish();
    sockaddr_nl kernel{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
    if (sendto(socket, data_, used_, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0) die("sendto netlink");
    char buffer[8192];
    for (uint32_t acknowledged = 0; acknowledged < count_;) {
      ssize_t size = recv(socket, buffer, sizeof buffer, 0);
      if (size < 0) die("recv netlink");
      for (auto* m = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
        if (m->nlmsg_type != NLMSG_ERROR) continue;
        ++acknowledged;
        int error = static_cast<nlmsgerr*>(NLMSG_DATA(m))->error;
        if (error) {
          errno = -error;
          die("netlink request");
        }
      }
    }
  }

 private:
  void put(const void* bytes, size_t size) {
    if (size) memcpy(data_ + used_, bytes, size);
    used_ = NLMSG_ALIGN(used_ + size);
  }
  void finish() {
    if (open_) reinterpret_cast<nlmsghdr*>(data_ + start_)->nlmsg_len = used_ - start_;
    open_ = false;
  }
  alignas(8) char data_[4096] = {};
  size_t used_ = 0, start_ = 0;
  uint32_t count_ = 0;
  bool open_ = false;
};

int open_socket(unsigned groups) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) die("socket netlink");
  sockaddr_nl own{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = groups};
  if (bind(fd, reinterpret_cast<sockaddr*>(&own), sizeof own)) die("bind netlink");
  return fd;
}

void add_link_up(Batch& batch, int index) {
  ifinfomsg up{.ifi_family = AF_UNSPEC,
               .__ifi_pad = 0,
               .ifi_type = 0,
               .ifi_index = index,
               .ifi_flags = IFF_UP,
               .ifi_change = IFF_UP};
  batch.begin(RTM_NEWLINK, 0, &up, sizeof up);
}

}  // namespace

int create_veth(const std::string& host_end, int bridge_index, int netns) {
  int events = open_socket(RTMGRP_LINK);
  int socket = open_socket(0);
  Batch batch;
  ifinfomsg host{.ifi_family = AF_UNSPEC,
                 .__ifi_pad = 0,
                 .ifi_type = 0,
                 .ifi_index = 0,
                 .ifi_flags = IFF_UP,
                 .ifi_change = IFF_UP};
  batch.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &host, sizeof host);
  batch.attribute(IFLA_IFNAME, host_end);
  batch.attribute(IFLA_MASTER, static_cast<uint32_t>(bridge_index));
  batch.attribute(IFLA_NUM_TX_QUEUES, 1u);
  batch.attribute(IFLA_NUM_RX_QUEUES, 1u);
  size_t info = batch.nest(IFLA_LINKINFO);
  batch.attribute(IFLA_INFO_KIND, std::string("veth"));
  size_t data = batch.nest(IFLA_INFO_DATA);
  ifinfomsg peer_info{};
  size_t peer = batch.nest(VETH_INFO_PEER, &peer_info, sizeof peer_info);
  batch.attribute(IFLA_IFNAME, std::string("eth0"));
  batch.attribute(IFLA_NET_NS_FD, static_cast<uint32_t>(netns));
  batch.attribute(IFLA_NUM_TX_QUEUES, 1u);
  batch.attribute(IFLA_NUM_RX_QUEUES, 1u);
  batch.close(peer);
  batch.close(data);
  batch.close(info);
  batch.send(socket);
  close(socket);
  return events;
}

void wait_until_up(int socket, const std::string& host_end) {
  char buffer[16384];
  for (;;) {
    ssize_t size = recv(socket, buffer, sizeof buffer, 0);
    if (size < 0) die("recv link events");
    for (auto* m = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
      if (m->nlmsg_type != RTM_NEWLINK) continue;
      auto* link = static_cast<ifinfomsg*>(NLMSG_DATA(m));
      int left = IFLA_PAYLOAD(m);
      bool ours = false, up = false;
      for (auto* a = IFLA_RTA(link); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == IFLA_IFNAME) ours = host_end == static_cast<char*>(RTA_DATA(a));
        if (a->rta_type == IFLA_OPERSTATE) up = *static_cast<uint8_t*>(RTA_DATA(a)) == kOperUp;
      }
      if (ours && up) {
        close(socket);
        return;
      }
    }
  }
}

void configure_inside(const std::string& address, int prefix, const std::string& gateway) {
  int socket = open_socket(0);
  int index = static_cast<int>(if_nametoindex("eth0"));
  Batch batch;
  add_link_up(batch, 1);
  ifaddrmsg message{.ifa_family = AF_INET,
                    .ifa_prefixlen = static_cast<uint8_t>(prefix),
                    .ifa_flags = 0,
                    .ifa_scope = 0,
                    .ifa_index = static_cast<uint32_t>(index)};
  in_addr ip, via;
  inet_pton(AF_INET, address.c_str(), &ip);
  inet_pton(AF_INET, gateway.c_str(), &via);
  batch.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message, sizeof message);
  batch.attribute(IFA_LOCAL, &ip, sizeof ip);
  batch.attribute(IFA_ADDRESS, &ip, sizeof ip);
  add_link_up(batch, index);
  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_protocol = RTPROT_BOOT;
  route.rtm_scope = RT_SCOPE_UNIVERSE;
  route.rtm_type = RTN_UNICAST;
  batch.begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route, sizeof route);
  batch.attribute(RTA_GATEWAY, &via, sizeof via);
  batch.attribute(RTA_OIF, static_cast<uint32_t>(index));
  batch.send(socket);
  close(socket);
}

void configure_loopback() {
  int socket = open_socket(0);
  Batch batch;
  add_link_up(batch, 1);
  batch.send(socket);
  close(socket);
}

}  // namespace floor_net
