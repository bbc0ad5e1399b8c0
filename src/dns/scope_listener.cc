// SPDX-License-Identifier: Apache-2.0
#include "dns/scope_listener.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <utility>

#include "base/log.h"

namespace caisson::dns {
namespace {
constexpr size_t kMaxUnsent = 128 << 10;
constexpr int64_t kPauseMs = 1000;

void append_framed(std::string& out, std::string_view message) {
  out.push_back(static_cast<char>(message.size() >> 8));
  out.push_back(static_cast<char>(message.size()));
  out += message;
}

size_t frame_size(std::string_view data) {
  return static_cast<size_t>(static_cast<uint8_t>(data[0])) << 8 | static_cast<uint8_t>(data[1]);
}
}  // namespace

ListenerShared::ListenerShared() : datagrams(new char[kBatch * kMaxUdpSize]), stream(new char[kMaxTcpSize]) {}

ScopeListener::ScopeListener(sys::EventLoop& loop, ListenerShared& shared, QueryHandler& handler, uint64_t scope,
                             int udp, int tcp)
    : loop_(loop), shared_(shared), handler_(handler), scope_(scope), udp_(udp), tcp_(tcp) {}

ScopeListener::~ScopeListener() {
  loop_.remove(udp_);
  loop_.remove(tcp_);
  loop_.cancel(pause_);
  while (!clients_.empty()) close_client(clients_.begin()->first);
}

Result<> ScopeListener::start() {
  TRY(loop_.add(udp_, EPOLLIN, [this](uint32_t) { on_datagrams(); }));
  return loop_.add(tcp_, EPOLLIN, [this](uint32_t) { on_accept(); });
}

ScopeListener::Met ScopeListener::meet(std::string_view message, bool tcp, std::string& reply,
                                       QueryHandler::Done later) {
  Query query;
  switch (parse_query(message, query)) {
    case Verdict::kDrop: return Met::kNothing;
    case Verdict::kFormatError: reply = bare_reply(message, Code::kFormatError); return Met::kReply;
    case Verdict::kNotImplemented: reply = bare_reply(message, Code::kNotImplemented); return Met::kReply;
    case Verdict::kQuery: break;
  }
  if (auto answer = handler_.answer(scope_, query, query.reply_limit(tcp))) {
    reply = std::move(*answer);
    return Met::kReply;
  }
  handler_.forward(scope_, std::move(query), tcp, std::move(later));
  return Met::kLater;
}

void ScopeListener::on_datagrams() {
  constexpr size_t kBatch = ListenerShared::kBatch;
  mmsghdr in[kBatch] = {}, out[kBatch] = {};
  iovec parts[kBatch], reply_parts[kBatch];
  sockaddr_storage peers[kBatch];
  std::string replies[kBatch];
  for (size_t i = 0; i < kBatch; ++i) {
    parts[i] = {shared_.datagrams.get() + i * kMaxUdpSize, kMaxUdpSize};
    in[i].msg_hdr.msg_name = &peers[i];
    in[i].msg_hdr.msg_namelen = sizeof peers[i];
    in[i].msg_hdr.msg_iov = &parts[i];
    in[i].msg_hdr.msg_iovlen = 1;
  }
  // One batch: what is left is found again after the other sockets had their turn.
  int got = recvmmsg(udp_, in, kBatch, MSG_DONTWAIT, nullptr);
  unsigned count = 0;
  for (int i = 0; i < got; ++i) {
    if (in[i].msg_hdr.msg_flags & MSG_TRUNC) continue;
    std::string_view message(static_cast<char*>(parts[i].iov_base), in[i].msg_len);
    sockaddr_storage peer = peers[i];
    socklen_t peer_size = in[i].msg_hdr.msg_namelen;
    auto later = [this, peer, peer_size](std::string reply) {
      // A full socket buffer is a lost datagram; the client asks again.
      if (sendto(udp_, reply.data(), reply.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&peer), peer_size) < 0)
        log_debug("dns: sendto: errno %d, ignoring", errno);
    };
    if (meet(message, false, replies[count], std::move(later)) != Met::kReply) continue;
    reply_parts[count] = {replies[count].data(), replies[count].size()};
    out[count].msg_hdr.msg_name = &peers[i];
    out[count].msg_hdr.msg_namelen = peer_size;
    out[count].msg_hdr.msg_iov = &reply_parts[count];
    out[count].msg_hdr.msg_iovlen = 1;
    ++count;
  }
  for (unsigned sent = 0; sent < count;) {
    int done = sendmmsg(udp_, out + sent, count - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    sent += done > 0 ? static_cast<unsigned>(done) : 1;  // the one that failed is left out
  }
}

void ScopeListener::on_accept() {
  UniqueFd fd(accept4(tcp_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) pause_accepting();
    return;
  }
  // Beyond the limit the oldest goes: an honest client is through in a moment.
  if (clients_.size() >= kMaxTcpPerScope) close_client(clients_.begin()->first);
  if (shared_.tcp_clients >= ListenerShared::kMaxTcpClients) return;
  uint64_t number = next_client_++;
  int raw = fd.get();
  if (auto added = loop_.add(raw, EPOLLIN, [this, number](uint32_t events) { on_client(number, events); }); !added)
    return log_debug("dns: %s, ignoring", added.error().message.c_str());
  Client& client = clients_[number];
  client.fd = std::move(fd);
  client.events = EPOLLIN;
  ++shared_.tcp_clients;
  restart_timer(number, client);
}

// The client stays in the queue, and would be told of again at once.
void ScopeListener::pause_accepting() {
  loop_.remove(tcp_);
  pause_ = loop_.after_ms(kPauseMs, [this] {
    if (auto added = loop_.add(tcp_, EPOLLIN, [this](uint32_t) { on_accept(); }); !added) pause_accepting();
  });
}

void ScopeListener::restart_timer(uint64_t number, Client& client) {
  loop_.cancel(client.timer);
  client.timer = loop_.after_ms(kTcpIdleMs, [this, number] { close_client(number); });
}

void ScopeListener::close_client(uint64_t number) {
  auto found = clients_.find(number);
  if (found == clients_.end()) return;
  loop_.remove(found->second.fd.get());
  loop_.cancel(found->second.timer);
  clients_.erase(found);
  --shared_.tcp_clients;
}

bool ScopeListener::read_from(Client& client) {
  ssize_t got = recv(client.fd.get(), shared_.stream.get(), kMaxTcpSize, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) client.ended = true;
  client.in.append(shared_.stream.get(), static_cast<size_t>(got));
  return true;
}

void ScopeListener::on_client(uint64_t number, uint32_t events) {
  auto found = clients_.find(number);
  if (found == clients_.end()) return;
  Client& client = found->second;
  bool wants_input = client.events & EPOLLIN;
  if ((events & EPOLLERR) || ((events & EPOLLHUP) && !wants_input)) return close_client(number);
  if (!flush(client) || (wants_input && !read_from(client))) return close_client(number);
  serve(number);
}

// Takes as many queries out of what was read as may be under way at once.
void ScopeListener::serve(uint64_t number) {
  size_t at = 0;
  for (;;) {
    auto found = clients_.find(number);
    if (found == clients_.end()) return;
    Client& client = found->second;
    client.serving = true;
    std::string_view rest = std::string_view(client.in).substr(at);
    bool full = client.outstanding >= kMaxPipelined || client.out.size() > kMaxUnsent;
    if (full || rest.size() < 2 || rest.size() < 2 + frame_size(rest)) {
      client.in.erase(0, at);
      client.serving = false;
      return update_events(number);
    }
    std::string message(rest.substr(2, frame_size(rest)));
    at += 2 + message.size();
    restart_timer(number, client);
    ++client.outstanding;
    std::string reply;
    auto later = [this, number](std::string text) { reply_to(number, std::move(text)); };
    Met met = meet(message, true, reply, std::move(later));
    if (met == Met::kNothing) return close_client(number);
    if (met == Met::kReply) reply_to(number, std::move(reply));
  }
}

void ScopeListener::reply_to(uint64_t number, std::string reply) {
  auto found = clients_.find(number);
  if (found == clients_.end()) return;
  Client& client = found->second;
  --client.outstanding;
  append_framed(client.out, reply);
  if (!flush(client)) return close_client(number);
  if (!client.serving) serve(number);  // there may be queries that had to wait
}

bool ScopeListener::flush(Client& client) {
  if (client.out.empty()) return true;
  ssize_t sent = send(client.fd.get(), client.out.data(), client.out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  client.out.erase(0, static_cast<size_t>(sent));
  return true;
}

void ScopeListener::update_events(uint64_t number) {
  auto found = clients_.find(number);
  if (found == clients_.end()) return;
  Client& client = found->second;
  if (client.ended && client.outstanding == 0 && client.out.empty()) return close_client(number);
  bool room = client.outstanding < kMaxPipelined && client.out.size() <= kMaxUnsent;
  uint32_t events = (!client.ended && room ? EPOLLIN : 0U) | (client.out.empty() ? 0U : EPOLLOUT);
  if (events == client.events) return;
  client.events = events;
  (void)loop_.modify(client.fd.get(), events).has_value();
}

}  // namespace caisson::dns
