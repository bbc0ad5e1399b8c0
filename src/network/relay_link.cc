// SPDX-License-Identifier: Apache-2.0
#include "network/relay_link.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::network {
namespace {

constexpr int kRelayAnswerMs = 2000;  // an answer takes microseconds; a machine that swaps may take longer
constexpr int kRelayEndMs = 2000;

// Parts of an entry that fit into one request: descriptors of a message are few.
std::vector<RelayEntry> parts_of(const RelayEntry& entry) {
  std::vector<RelayEntry> out;
  size_t largest = entry.protocol == IPPROTO_UDP ? relay::kMaxUdpPortsPerRequest : entry.count;
  for (size_t done = 0; done < entry.count;) {
    RelayEntry part = entry;
    part.first_port = static_cast<uint16_t>(entry.first_port + done);
    part.container_port = static_cast<uint16_t>(entry.container_port + done);
    part.count = static_cast<uint16_t>(std::min(largest, entry.count - done));
    done += part.count;
    out.push_back(part);
  }
  return out;
}

relay::ControlRequest relay_request(const char* type, const RelayEntry& entry) {
  relay::ControlRequest request{.type = type};
  request.protocol = entry.protocol == IPPROTO_UDP ? "udp" : "tcp";
  request.host = entry.host_address.text();
  request.port = entry.first_port;
  request.count = entry.count;
  return request;
}

}  // namespace

Result<std::unique_ptr<RelayLink>> RelayLink::find(const std::string& path) {
  auto socket = sys::connect_unix(path, SOCK_SEQPACKET);
  if (!socket) return fail(ErrorKind::kUnavailable, "no caisson-relay at '%s'", path.c_str());
  auto link = std::make_unique<RelayLink>();
  link->socket_ = std::move(*socket);
  link->pid_ = TRY(sys::peer_credentials(link->socket_.get())).pid;
  link->pidfd_ = TRY(sys::open_pidfd(link->pid_));
  if (auto met = link->hello(-1); !met) {
    log_warn("relay: %s", met.error().message.c_str());
    link->end();
    return fail(ErrorKind::kUnavailable, "no caisson-relay that answers at '%s'", path.c_str());
  }
  return link;
}

Result<std::unique_ptr<RelayLink>> RelayLink::start(const RelayOptions& options, int listener) {
  auto sockets = TRY(sys::socket_pair(SOCK_SEQPACKET));
  sys::SpawnRequest spawn;
  spawn.program = options.program;
  spawn.args = {"caisson-relay", "--socket", options.socket_path};
  spawn.fds = {{sockets.second.get(), relay::kControlFd}};
  spawn.new_session = true;
  auto child = TRY(sys::spawn(spawn));
  sockets.second.reset();
  auto link = std::make_unique<RelayLink>();
  link->socket_ = std::move(sockets.first);
  link->pidfd_ = std::move(child.pidfd);
  link->pid_ = child.pid;
  auto met = link->hello(listener);
  if (met && !link->same_release()) met = fail(ErrorKind::kUnsupported, "protocol %d", link->version_);
  if (met) return link;
  link->end();
  return with_context(std::move(met).error(), "starting caisson-relay");
}

Result<relay::ControlAnswer> RelayLink::ask(const relay::ControlRequest& request, const std::vector<int>& fds,
                                            std::vector<UniqueFd>* answer_fds) {
  TRY(sys::send_message(socket_.get(), json::encode(request), fds));
  TRY(sys::wait_readable(socket_.get(), kRelayAnswerMs));
  auto message = TRY(sys::receive_message(socket_.get(), relay::kMaxControlMessage));
  if (message.data.empty()) return fail(ErrorKind::kUnavailable, "caisson-relay has closed the connection");
  auto answer = json::decode<relay::ControlAnswer>(message.data);
  if (!answer) return fail(ErrorKind::kUnavailable, "%s", answer.error().message.c_str());
  if (answer_fds) *answer_fds = std::move(message.fds);
  return answer;
}

Result<> RelayLink::order(const relay::ControlRequest& request, const std::vector<int>& fds) {
  auto answer = ask(request, fds);
  // Whatever failed on the way, to the client it is one thing; kInvalid is the program's word.
  if (!answer) return fail(ErrorKind::kUnavailable, "%s", answer.error().message.c_str());
  if (!answer->ok) return fail(ErrorKind::kInvalid, "%s", answer->error.c_str());
  return {};
}

Result<> RelayLink::hello(int listener) {
  std::vector<int> fds;
  if (listener >= 0) fds.push_back(listener);
  std::vector<UniqueFd> answer_fds;
  auto answer = TRY(ask({.type = "hello"}, fds, &answer_fds));
  if (!answer.ok) return fail(ErrorKind::kUnavailable, "%s", answer.error.c_str());
  version_ = answer.version;
  udp_count_ = answer.sockets;
  if (!answer_fds.empty()) listener_ = std::move(answer_fds[0]);
  return {};
}

Result<std::vector<UniqueFd>> RelayLink::udp_sockets() {
  std::vector<UniqueFd> out;
  while (out.size() < udp_count_) {
    std::vector<UniqueFd> fds;
    relay::ControlRequest request{.type = "sockets"};
    request.from = static_cast<uint32_t>(out.size());
    auto answer = TRY(ask(request, {}, &fds));
    if (!answer.ok || fds.empty()) break;
    for (auto& fd : fds) out.push_back(std::move(fd));
  }
  return out;
}

Result<> RelayLink::add(const RelayEntry& entry, const std::vector<UniqueFd>* sockets) {
  size_t next = 0;
  for (const RelayEntry& part : parts_of(entry)) {
    relay::ControlRequest request = relay_request("add", part);
    request.container = (part.container_address.v6 ? "" : "::ffff:") + part.container_address.text();
    request.container_port = part.container_port;
    std::vector<int> fds;
    for (size_t i = 0; sockets && i < part.count && next < sockets->size(); ++i)
      fds.push_back((*sockets)[next++].get());
    TRY(order(request, fds));
  }
  return {};
}

Result<> RelayLink::remove(const RelayEntry& entry) {
  for (const RelayEntry& part : parts_of(entry)) TRY(order(relay_request("remove", part)));
  return {};
}

Result<> RelayLink::sync() { return order({.type = "sync"}); }

void RelayLink::end() {
  socket_.reset();
  if (!pidfd_) return;
  (void)sys::signal_pidfd(pidfd_.get(), SIGKILL).has_value();
  if (auto ended = sys::wait_readable(pidfd_.get(), kRelayEndMs); !ended)
    log_warn("relay: caisson-relay does not end: %s", ended.error().message.c_str());
  (void)sys::reap_child(pidfd_.get()).has_value();
  pidfd_.reset();
}

}  // namespace caisson::network
