// SPDX-License-Identifier: Apache-2.0
#include "relay/udp_relay.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace caisson::relay {
namespace {
constexpr size_t kBatchSize = 8;
constexpr size_t kMaxDatagram = 65536;
constexpr int64_t kNsPerMs = 1'000'000;

Result<> prepare_udp(int fd) {
  int type = 0, family = 0, on = 1;
  socklen_t size = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) return fail_errno("getsockopt SO_TYPE");
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0) return fail_errno("getsockopt SO_DOMAIN");
  if (type != SOCK_DGRAM || family != AF_INET6) return fail(ErrorKind::kInvalid, "descriptor: not an IPv6 UDP socket");
  if (setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) < 0)
    return fail_errno("setsockopt IPV6_RECVPKTINFO");
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return fail_errno("fcntl O_NONBLOCK");
  return {};
}

bool is_link_local(const Address& address) { return address[0] == 0xfe && (address[1] & 0xc0) == 0x80; }
bool is_multicast(const Address& address) { return address[0] == 0xff; }

Address address_of(const in6_addr& from) {
  Address out;
  memcpy(out.data(), &from, out.size());
  return out;
}

const in6_pktinfo* packet_info(msghdr& header, in6_pktinfo& out) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != IPPROTO_IPV6 || part->cmsg_type != IPV6_PKTINFO) continue;
    memcpy(&out, CMSG_DATA(part), sizeof out);
    return &out;
  }
  return nullptr;
}
}  // namespace

// What one round of reading needs; pages of it are touched only as far as datagrams reach.
struct UdpRelay::Batch {
  std::unique_ptr<char[]> bytes{new char[kBatchSize * kMaxDatagram]};
  mmsghdr headers[kBatchSize];
  iovec parts[kBatchSize];
  sockaddr_in6 peers[kBatchSize];
  alignas(cmsghdr) char control[kBatchSize][CMSG_SPACE(sizeof(in6_pktinfo))];

  int receive(int fd, bool with_names) {
    memset(headers, 0, sizeof headers);
    for (size_t i = 0; i < kBatchSize; ++i) {
      parts[i] = {bytes.get() + i * kMaxDatagram, kMaxDatagram};
      msghdr& header = headers[i].msg_hdr;
      header.msg_iov = &parts[i];
      header.msg_iovlen = 1;
      if (!with_names) continue;
      header.msg_name = &peers[i];
      header.msg_namelen = sizeof peers[i];
      header.msg_control = control[i];
      header.msg_controllen = sizeof control[i];
    }
    return recvmmsg(fd, headers, kBatchSize, MSG_DONTWAIT, nullptr);
  }
};

UdpRelay::UdpRelay(sys::EventLoop& loop, Clock& clock, UdpLimits limits)
    : loop_(loop), clock_(clock), limits_(limits) {}

UdpRelay::~UdpRelay() {
  while (!flows_.empty()) forget(flows_.begin());
  for (auto& [key, port] : ports_) loop_.remove(port.fd.get());
  loop_.cancel(timer_);
}

UdpRelay::Batch& UdpRelay::batch() {
  if (!batch_) batch_ = std::make_unique<Batch>();
  return *batch_;
}

Result<> UdpRelay::add(uint64_t number, const Entry& entry, std::vector<UniqueFd> sockets) {
  if (sockets.size() != entry.count)
    return fail(ErrorKind::kInvalid, "%zu descriptors for %u ports", sockets.size(), entry.count);
  if (ports_.size() + sockets.size() > kMaxUdpSockets)
    return fail(ErrorKind::kExhausted, "more than %zu UDP ports", kMaxUdpSockets);
  for (uint16_t i = 0; i < entry.count; ++i) {
    PortKey key{number, i};
    int fd = sockets[i].get();
    auto added = prepare_udp(fd);
    if (added) added = loop_.add(fd, EPOLLIN, [this, key](uint32_t) { on_port(key); });
    if (!added) {
      drop(number);
      return added;
    }
    Endpoint container{entry.container.address, static_cast<uint16_t>(entry.container.port + i)};
    ports_[key] = {std::move(sockets[i]), socket_address(container)};
  }
  return {};
}

void UdpRelay::drop(uint64_t number) {
  auto first = ports_.lower_bound({number, 0});
  auto last = ports_.upper_bound({number, UINT16_MAX});
  if (first == last) return;
  auto flow = flows_.lower_bound({.port = {number, 0}});
  while (flow != flows_.end() && flow->first.port.entry == number) forget(flow++);
  for (auto at = first; at != last; ++at) loop_.remove(at->second.fd.get());
  ports_.erase(first, last);
}

std::vector<int> UdpRelay::sockets_from(size_t index, size_t limit) const {
  std::vector<int> out;
  if (index >= ports_.size()) return out;
  for (auto at = std::next(ports_.begin(), static_cast<ptrdiff_t>(index)); at != ports_.end() && out.size() < limit;
       ++at)
    out.push_back(at->second.fd.get());
  return out;
}

void UdpRelay::on_port(const PortKey& given) {
  PortKey key = given;
  auto found = ports_.find(key);
  if (found == ports_.end()) return;
  Batch& in = batch();
  // One batch: what is left is found again after the other sockets had their turn.
  int got = in.receive(found->second.fd.get(), true);
  for (int i = 0; i < got; ++i) {
    in6_pktinfo info;
    msghdr& header = in.headers[i].msg_hdr;
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !packet_info(header, info)) continue;
    FlowKey flow_key{.port = key, .local = address_of(info.ipi6_addr)};
    // Nothing could answer from such an address.
    if (is_multicast(flow_key.local)) continue;
    flow_key.client = {address_of(in.peers[i].sin6_addr), ntohs(in.peers[i].sin6_port)};
    if (is_link_local(flow_key.client.address)) flow_key.scope = in.peers[i].sin6_scope_id;
    Flow* flow = flow_of(flow_key, found->second);
    if (!flow) continue;
    touch(*flow, false);
    // A lost datagram is one the client sends again; the first error may be that of an earlier one.
    for (int attempt = 0; attempt < 2; ++attempt)
      if (send(flow->fd.get(), in.parts[i].iov_base, in.headers[i].msg_len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) break;
  }
}

UdpRelay::Flow* UdpRelay::flow_of(const FlowKey& key, const Port& port) {
  if (auto found = flows_.find(key); found != flows_.end()) return &found->second;
  if (!make_room()) return nullptr;
  UniqueFd fd(socket(port.container.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || connect(fd.get(), port.container.get(), port.container.size) < 0) {
    log_debug("relay: UDP socket towards a container: errno %d, ignoring", errno);
    return nullptr;
  }
  if (!loop_.add(fd.get(), EPOLLIN, [this, key](uint32_t) { on_flow(key); })) return nullptr;
  auto [made, fresh] = flows_.try_emplace(key);
  made->second.fd = std::move(fd);
  made->second.place = unanswered_.insert(unanswered_.end(), &made->first);
  return &made->second;
}

bool UdpRelay::make_room() {
  if (flows_.size() < limits_.flows) return true;
  if (unanswered_.empty()) return false;
  forget(flows_.find(*unanswered_.front()));
  return true;
}

void UdpRelay::touch(Flow& flow, bool answer) {
  auto& from = flow.answered ? answered_ : unanswered_;
  flow.answered |= answer;
  auto& to = flow.answered ? answered_ : unanswered_;
  to.splice(to.end(), from, flow.place);
  flow.used_ns = clock_.monotonic_ns();
  if (!timer_) arm_timer();
}

void UdpRelay::on_flow(const FlowKey& given) {
  FlowKey key = given;
  auto found = flows_.find(key);
  if (found == flows_.end()) return;
  Flow& flow = found->second;
  Batch& in = batch();
  // An error is the container's refusal of an earlier datagram: read, and so gone.
  int got = in.receive(flow.fd.get(), false);
  if (got <= 0) return;
  touch(flow, true);
  sockaddr_in6 client{};
  client.sin6_family = AF_INET6;
  client.sin6_port = htons(key.client.port);
  client.sin6_scope_id = key.scope;
  memcpy(&client.sin6_addr, key.client.address.data(), key.client.address.size());
  in6_pktinfo info{};
  memcpy(&info.ipi6_addr, key.local.data(), key.local.size());
  if (is_link_local(key.local)) info.ipi6_ifindex = key.scope;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof info)] = {};
  auto* part = reinterpret_cast<cmsghdr*>(control);
  part->cmsg_level = IPPROTO_IPV6;
  part->cmsg_type = IPV6_PKTINFO;
  part->cmsg_len = CMSG_LEN(sizeof info);
  memcpy(CMSG_DATA(part), &info, sizeof info);
  for (int i = 0; i < got; ++i) {
    in.parts[i].iov_len = in.headers[i].msg_len;
    msghdr& header = in.headers[i].msg_hdr;
    header.msg_name = &client;
    header.msg_namelen = sizeof client;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    header.msg_flags = 0;
  }
  int port = ports_.at(key.port).fd.get();
  for (int sent = 0; sent < got;) {
    int done = sendmmsg(port, in.headers + sent, static_cast<unsigned>(got - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
    sent += done > 0 ? done : 1;  // the one that failed is left out
  }
}

void UdpRelay::forget(Flows::iterator found) {
  Flow& flow = found->second;
  (flow.answered ? answered_ : unanswered_).erase(flow.place);
  loop_.remove(flow.fd.get());
  flows_.erase(found);
}

void UdpRelay::forget_silent() {
  int64_t now = clock_.monotonic_ns();
  auto sweep = [&](std::list<const FlowKey*>& list, int64_t allowed_ms) {
    while (!list.empty()) {
      auto found = flows_.find(*list.front());
      if (found->second.used_ns + allowed_ms * kNsPerMs > now) return;
      forget(found);
    }
  };
  sweep(unanswered_, limits_.unanswered_ms);
  sweep(answered_, limits_.answered_ms);
}

void UdpRelay::arm_timer() {
  timer_ = 0;
  int64_t due = INT64_MAX;
  if (!unanswered_.empty()) due = flows_.find(*unanswered_.front())->second.used_ns + limits_.unanswered_ms * kNsPerMs;
  if (!answered_.empty())
    due = std::min(due, flows_.find(*answered_.front())->second.used_ns + limits_.answered_ms * kNsPerMs);
  if (due == INT64_MAX) return;
  // A client that comes meanwhile may be due before all of these.
  int64_t delay = std::min(std::max<int64_t>(0, due - clock_.monotonic_ns()) / kNsPerMs + 1, limits_.unanswered_ms);
  timer_ = loop_.after_ms(delay, [this] {
    forget_silent();
    arm_timer();
  });
}

}  // namespace caisson::relay
