// SPDX-License-Identifier: Apache-2.0
#include "gate/service.h"

#include <sys/epoll.h>

#include <utility>

#include "base/log.h"
#include "gate/packet.h"
#include "sys/unix_socket.h"
#include "wire/gate_control.h"

namespace caisson::gate {

namespace {
constexpr int kPacketsAtOnce = 64;  // then engines are listened to
constexpr int64_t kCheckMs = 2000;
}  // namespace

Service::~Service() {
  for (UniqueFd* fd : {&parts_.listener, &engine_, &candidate_})
    if (*fd) loop_.remove(fd->get());
  loop_.remove(parts_.queue.fd());
  loop_.cancel(check_);
}

Result<> Service::start(UniqueFd first) {
  TRY(loop_.add(parts_.queue.fd(), EPOLLIN, [this](uint32_t) { on_packets(); }));
  TRY(loop_.add(parts_.listener.get(), EPOLLIN, [this](uint32_t) { on_listener(); }));
  if (first) watch(engine_, std::move(first));
  check_need();
  return {};
}

void Service::on_packets() {
  for (int i = 0; i < kPacketsAtOnce; ++i) {
    auto got = parts_.queue.receive([this](const sys::QueuedPacket& packet) { on_packet(packet); });
    if (got) continue;
    if (got.error().kind == ErrorKind::kTimeout) return;
    // Their senders repeat them.
    if (got.error().kind == ErrorKind::kExhausted) return log_debug("%s, ignoring", got.error().message.c_str());
    log_error("%s", got.error().message.c_str());
    return loop_.stop();
  }
}

void Service::on_packet(const sys::QueuedPacket& queued) {
  auto packet = queued.cut ? std::nullopt : packet_to_send(queued.bytes);
  if (packet) {
    // EPERM: the host's rules for what goes out say no.
    auto sent = parts_.sender.send(packet->bytes, packet->to, queued.mark, queued.input);
    if (!sent) log_debug("%s, ignoring", sent.error().message.c_str());
  }
  auto dropped = parts_.queue.drop(queued.id);
  if (!dropped) log_debug("%s, ignoring", dropped.error().message.c_str());
}

void Service::on_listener() {
  auto fd = sys::accept_connection(parts_.listener.get());
  if (!fd) return log_debug("gate: %s, ignoring", fd.error().message.c_str());
  auto peer = sys::peer_credentials(fd->get());
  if (!peer || (peer->uid != 0 && peer->uid != parts_.owner)) return log_warn("gate: a stranger on the control socket");
  watch(candidate_, std::move(*fd));
}

void Service::watch(UniqueFd& place, UniqueFd connection) {
  if (place) loop_.remove(place.get());
  place = std::move(connection);
  auto added = sys::set_nonblocking(place.get(), true);
  if (added) added = loop_.add(place.get(), EPOLLIN, [this, &place](uint32_t) { on_request(place); });
  if (added) return;
  log_warn("gate: %s", added.error().message.c_str());
  place.reset();
}

void Service::on_request(UniqueFd& from) {
  auto message = sys::receive_message(from.get(), kMaxControlMessage);
  if (!message && (message.error().err == EAGAIN || message.error().err == EINTR)) return;
  if (!message || message->data.empty()) return disconnect(from);
  auto request = json::decode<ControlRequest>(message->data, {.max_depth = 4, .max_element_bytes = 1 << 10});
  if (!request || request->type != "hello") return disconnect(from);
  if (&from == &candidate_) {
    loop_.remove(candidate_.get());
    watch(engine_, std::move(candidate_));
    if (!engine_) return;
  }
  ControlAnswer answer{.ok = true, .error = "", .version = kControlVersion, .queue = parts_.number};
  if (auto sent = sys::send_message(engine_.get(), json::encode(answer)); !sent) disconnect(engine_);
}

void Service::disconnect(UniqueFd& from) {
  loop_.remove(from.get());
  from.reset();
  check_need();
}

void Service::check_need() {
  loop_.cancel(check_);
  check_ = 0;
  if (engine_) return;
  if (!parts_.is_needed()) return loop_.stop();
  check_ = loop_.after_ms(kCheckMs, [this] { check_need(); });
}

}  // namespace caisson::gate
