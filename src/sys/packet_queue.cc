// SPDX-License-Identifier: Apache-2.0
#include "sys/packet_queue.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace caisson::sys {

namespace {
constexpr size_t kLongestPacket = 65535;
constexpr size_t kPacketBufferSize = kLongestPacket + 4096;  // attributes beside the packet
constexpr int kReceiveBuffer = 4 << 20;

uint16_t type_of(uint16_t message) { return static_cast<uint16_t>(NFNL_SUBSYS_QUEUE << 8 | message); }

void begin(NetlinkBuilder& out, uint16_t message, uint16_t flags, uint16_t number) {
  out.begin(type_of(message), flags);
  out.header(nfgenmsg{AF_UNSPEC, NFNETLINK_V0, htons(number)});
}
}  // namespace

std::optional<QueuedPacket> parse_queued_packet(const NetlinkMessage& message) {
  if (message.type != type_of(NFQNL_MSG_PACKET)) return std::nullopt;
  auto all = message.attributes(sizeof(nfgenmsg));
  auto head = all.find(NFQA_PACKET_HDR);
  nfqnl_msg_packet_hdr header{};
  if (!head || head->payload.size() < sizeof header) return std::nullopt;
  memcpy(&header, head->payload.data(), sizeof header);
  QueuedPacket packet;
  packet.id = ntohl(header.packet_id);
  auto number = [&](uint16_t type) -> uint32_t {
    auto attribute = all.find(type);
    return attribute ? attribute->be32().value_or(0) : 0;
  };
  packet.mark = number(NFQA_MARK);
  packet.input = number(NFQA_IFINDEX_INDEV);
  if (auto bytes = all.find(NFQA_PAYLOAD)) packet.bytes = bytes->payload;
  packet.cut = number(NFQA_CAP_LEN) > packet.bytes.size();
  return packet;
}

PacketQueue::PacketQueue(UniqueFd fd, uint16_t number)
    : fd_(std::move(fd)), number_(number), buffer_(kPacketBufferSize) {}

Result<PacketQueue> PacketQueue::open(uint16_t number) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!fd) return fail_errno("socket AF_NETLINK");
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&self), sizeof self) < 0) return fail_errno("bind AF_NETLINK");
  if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) < 0)
    (void)setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  PacketQueue queue(std::move(fd), number);
  TRY(queue.configure());
  return queue;
}

Result<> PacketQueue::configure() {
  // Both in one message, so that no packet comes without its bytes. Without NFQA_CFG_F_GSO the kernel cuts packets to
  // size and completes their checksums first.
  NetlinkBuilder out;
  begin(out, NFQNL_MSG_CONFIG, NLM_F_ACK, number_);
  nfqnl_msg_config_cmd command{.command = NFQNL_CFG_CMD_BIND, ._pad = 0, .pf = 0};
  out.attribute(NFQA_CFG_CMD, &command, sizeof command);
  nfqnl_msg_config_params params{};
  params.copy_range = htonl(kLongestPacket);
  params.copy_mode = NFQNL_COPY_PACKET;
  out.attribute(NFQA_CFG_PARAMS, &params, sizeof params);
  auto bound = send(out, true, "bind");
  if (bound) return bound;
  // What the kernel says of a queue of another socket (nfqnl_recv_config), and where it has none (nfnetlink_rcv_msg).
  int err = bound.error().err;
  if (err == EPERM || err == EBUSY) bound.error().kind = ErrorKind::kConflict;
  if (err == EINVAL || err == EOPNOTSUPP) bound.error().kind = ErrorKind::kUnsupported;
  return bound;
}

Result<> PacketQueue::send(NetlinkBuilder& message, bool with_answer, const char* what) {
  auto bytes = TRY(message.finish());
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent;
  do {
    sent = sendto(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&kernel),
                  sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail_errno("%s packet queue %u: sendto netlink", what, number_);
  // The kernel answers within sendto().
  while (with_answer) {
    ssize_t got = recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("%s packet queue %u: recv netlink", what, number_);
    NetlinkMessages answers({buffer_.data(), static_cast<size_t>(got)});
    while (auto answer = answers.next()) {
      // Packets may come before the answer; their senders repeat them.
      if (auto packet = parse_queued_packet(*answer)) TRY(drop(packet->id));
      auto status = parse_netlink_status(*answer);
      if (!status) continue;
      if (status->err) return fail_errno_of(status->err, "%s packet queue %u", what, number_);
      with_answer = false;
    }
  }
  return {};
}

Result<> PacketQueue::receive(const std::function<void(const QueuedPacket&)>& visit) {
  sockaddr_nl from{};
  iovec part{buffer_.data(), buffer_.size()};
  msghdr head{};
  head.msg_name = &from;
  head.msg_namelen = sizeof from;
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  ssize_t got = recvmsg(fd_.get(), &head, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return fail(ErrorKind::kTimeout, "no packet");
  if (got < 0 && errno == ENOBUFS) return fail(ErrorKind::kExhausted, "packets of queue %u were lost", number_);
  if (got < 0) return fail_errno("recvmsg of packet queue %u", number_);
  if (from.nl_pid != 0 || (head.msg_flags & MSG_TRUNC)) return {};  // any process may write to our port
  NetlinkMessages messages({buffer_.data(), static_cast<size_t>(got)});
  while (auto message = messages.next())
    if (auto packet = parse_queued_packet(*message)) visit(*packet);
  return {};
}

Result<> PacketQueue::drop(uint32_t id) {
  NetlinkBuilder out;
  begin(out, NFQNL_MSG_VERDICT, 0, number_);
  nfqnl_msg_verdict_hdr verdict{};
  verdict.verdict = htonl(0);  // NF_DROP
  verdict.id = htonl(id);
  out.attribute(NFQA_VERDICT_HDR, &verdict, sizeof verdict);
  return send(out, false, "answer");
}

Result<PacketSender> PacketSender::open() {
  PacketSender sender;
  // Both of these protocols mean: the packet has its header, and nothing is ever received.
  sender.v4_.reset(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
  if (!sender.v4_) return fail_errno("socket of raw packets");
  sender.v6_.reset(socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
  if (!sender.v6_ && errno != EAFNOSUPPORT) return fail_errno("socket of raw IPv6 packets");
  return sender;
}

Result<> PacketSender::send(std::span<const char> packet, const IpAddress& to, uint32_t mark, uint32_t interface) {
  const UniqueFd& fd = to.v6 ? v6_ : v4_;
  if (!fd) return fail(ErrorKind::kUnsupported, "no IPv6");
  sockaddr_storage at{};
  socklen_t size;
  auto bytes = to.bytes();
  if (to.v6) {
    auto& at6 = reinterpret_cast<sockaddr_in6&>(at);
    at6.sin6_family = AF_INET6;
    memcpy(&at6.sin6_addr, bytes.data(), sizeof at6.sin6_addr);
    if (IN6_IS_ADDR_LINKLOCAL(&at6.sin6_addr)) at6.sin6_scope_id = interface;
    size = sizeof at6;
  } else {
    auto& at4 = reinterpret_cast<sockaddr_in&>(at);
    at4.sin_family = AF_INET;
    memcpy(&at4.sin_addr, bytes.data(), sizeof at4.sin_addr);
    size = sizeof at4;
  }
  iovec part{const_cast<char*>(packet.data()), packet.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof mark)] = {};
  msghdr head{};
  head.msg_name = &at;
  head.msg_namelen = size;
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  if (mark) {
    head.msg_control = control;
    head.msg_controllen = sizeof control;
    cmsghdr* entry = CMSG_FIRSTHDR(&head);
    entry->cmsg_level = SOL_SOCKET;
    entry->cmsg_type = SO_MARK;
    entry->cmsg_len = CMSG_LEN(sizeof mark);
    memcpy(CMSG_DATA(entry), &mark, sizeof mark);
  }
  if (sendmsg(fd.get(), &head, MSG_NOSIGNAL) < 0) return fail_errno("send a packet to '%s'", to.text().c_str());
  return {};
}

}  // namespace caisson::sys
