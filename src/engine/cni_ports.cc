// SPDX-License-Identifier: Apache-2.0
#include "engine/cni_ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "base/text.h"
#include "wire/json.h"

namespace caisson::engine {

namespace {

constexpr size_t kMaxPorts = 4096;  // a plugin makes a rule of each

Result<socklen_t> address_of(const network::PortMapping& port, sockaddr_storage& out) {
  std::memset(&out, 0, sizeof out);
  if (auto* six = reinterpret_cast<sockaddr_in6*>(&out);
      inet_pton(AF_INET6, port.host_ip.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port.host_port);
    return socklen_t{sizeof *six};
  }
  auto* four = reinterpret_cast<sockaddr_in*>(&out);
  if (inet_pton(AF_INET, port.host_ip.empty() ? "0.0.0.0" : port.host_ip.c_str(), &four->sin_addr) != 1)
    return fail(ErrorKind::kInvalid, "invalid IP address: '%s'", port.host_ip.substr(0, 64).c_str());
  four->sin_family = AF_INET;
  four->sin_port = htons(port.host_port);
  return socklen_t{sizeof *four};
}

Result<UniqueFd> hold(network::PortMapping& port) {
  sockaddr_storage address;
  socklen_t size = TRY(address_of(port, address));
  bool tcp = port.protocol == "tcp", sctp = port.protocol == "sctp";
  UniqueFd fd(socket(address.ss_family, (tcp || sctp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                     sctp ? IPPROTO_SCTP : 0));
  if (!fd && sctp && port.host_port) return fd;  // without the module nobody here could bind it either
  if (!fd) return fail_errno("socket");
  int on = 1;
  if (address.ss_family == AF_INET6 && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
    return fail_errno("IPV6_V6ONLY");
  // With SO_REUSEADDR, connections of an earlier owner in TIME_WAIT do not count as taken; listen() finds out about
  // others that have it too, and shutdown() leaves the port bound without anybody being accepted.
  if (tcp && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) return fail_errno("SO_REUSEADDR");
  bool bound = bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0 &&
               (!tcp || (listen(fd.get(), 0) == 0 && shutdown(fd.get(), SHUT_RD) == 0));
  if (!bound && errno == EADDRINUSE)
    return fail(ErrorKind::kConflict, "Bind for %s:%u failed: port is already allocated",
                port.host_ip.empty() ? "0.0.0.0" : port.host_ip.c_str(), port.host_port);
  if (!bound) return fail_errno("bind to %s:%u", port.host_ip.c_str(), port.host_port);
  int off = 0;
  if (tcp && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &off, sizeof off) < 0) return fail_errno("SO_REUSEADDR");
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) return fail_errno("getsockname");
  port.host_port = ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                                       : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
  return fd;
}

}  // namespace

Result<std::vector<UniqueFd>> hold_cni_ports(std::vector<network::PortMapping>& ports) {
  std::vector<network::PortMapping> single;
  for (const auto& range : ports)
    for (unsigned i = 0; i < range.count; ++i) {
      if (single.size() >= kMaxPorts)
        return fail(ErrorKind::kInvalid, "more than %zu published ports on a CNI network", kMaxPorts);
      auto port = range;
      port.count = 1;
      port.container_port = static_cast<uint16_t>(range.container_port + i);
      if (range.host_port) port.host_port = static_cast<uint16_t>(range.host_port + i);
      single.push_back(std::move(port));
    }
  std::vector<UniqueFd> sockets;
  for (auto& port : single) sockets.push_back(TRY(hold(port)));
  ports = std::move(single);
  return sockets;
}

std::string cni_port_mappings(const std::vector<network::PortMapping>& ports) {
  std::string out;
  json::Writer writer(out);
  writer.begin_array();
  for (const auto& port : ports) {
    writer.begin_object();
    writer.key("hostPort");
    writer.int_number(port.host_port);
    writer.key("containerPort");
    writer.int_number(port.container_port);
    writer.key("protocol");
    writer.string(port.protocol);
    if (!port.host_ip.empty()) {
      writer.key("hostIP");
      writer.string(port.host_ip);
    }
    writer.end_object();
  }
  writer.end_array();
  return out;
}

}  // namespace caisson::engine
