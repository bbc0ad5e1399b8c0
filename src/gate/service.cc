// SPDX-License-Identifier: Apache-2.0
#include "gate/service.h"

#include <sys/epoll.h>

#include <utility>

#include "base/log.h"
#include "gate/packet.h"
#include "wire/gate_control.h"

namespace caisson::gate {

namespace {
constexpr int kPacketsAtOnce = 64;  // then engines are listened to
constexpr int64_t kCheckMs = 2000;
}  // namespace

Service::Service(sys::EventLoop& loop, Parts parts)
    : loop_(loop),
      parts_(std::move(parts)),
      socket_(loop, *this, {"gate", std::move(parts_.listener), parts_.owner, kMaxControlMessage}) {}

Service::~Service() {
  loop_.remove(parts_.queue.fd());
  loop_.cancel(check_);
}

Result<> Service::start(UniqueFd first) {
  TRY(loop_.add(parts_.queue.fd(), EPOLLIN, [this](uint32_t) { on_packets(); }));
  TRY(socket_.start(std::move(first)));
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

std::string Service::answer(sys::ControlSocket::Request& asked) {
  auto request = json::decode<ControlRequest>(asked.data, {.max_depth = 4, .max_element_bytes = 1 << 10});
  if (!request || request->type != "hello") return {};
  return json::encode(ControlAnswer{.ok = true, .error = "", .version = kControlVersion, .queue = parts_.number});
}

void Service::check_need() {
  loop_.cancel(check_);
  check_ = 0;
  if (socket_.has_engine()) return;
  if (!parts_.is_needed()) return loop_.stop();
  check_ = loop_.after_ms(kCheckMs, [this] { check_need(); });
}

}  // namespace caisson::gate
