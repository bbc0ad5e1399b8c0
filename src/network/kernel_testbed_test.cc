// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>
#include <thread>

#include "base/ip_address.h"
#include "base/text.h"
#include "network/kernel_testbed.h"
#include "sys/files.h"
#include "sys/netns.h"
#include "sys/nft.h"

namespace caisson::network::testbed {

namespace {
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress socket_address(const char* address, uint16_t port) {
  SocketAddress at;
  if (strchr(address, ':')) {
    auto& six = reinterpret_cast<sockaddr_in6&>(at.storage);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    inet_pton(AF_INET6, address, &six.sin6_addr);
    at.size = sizeof six;
  } else {
    auto& four = reinterpret_cast<sockaddr_in&>(at.storage);
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    inet_pton(AF_INET, address, &four.sin_addr);
    at.size = sizeof four;
  }
  return at;
}

std::string text_of(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (peer.ss_family == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr, text, sizeof text);
  else
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof text);
  return text;
}

uint64_t netns_inode(const char* path) {
  struct stat st {};
  return stat(path, &st) == 0 ? st.st_ino : 0;
}
}  // namespace

bool in_fresh_netns(const std::function<void()>& body) {
  if (geteuid() != 0) {
    MESSAGE("SKIPPED: needs root to make a network namespace");
    return false;
  }
  bool ran = false;
  std::thread thread([&] {
    if (unshare(CLONE_NEWNET) < 0) {
      MESSAGE("SKIPPED: cannot make a network namespace");
      return;
    }
    if (netns_inode("/proc/thread-self/ns/net") == netns_inode("/proc/1/ns/net")) {
      FAIL_CHECK("still in the machine's own network namespace");
      return;
    }
    ran = true;
    try {
      auto route = sys::RouteSocket::open();
      REQUIRE(route);
      REQUIRE(route->set_up("lo"));
      body();
    } catch (...) {
      // A failed REQUIRE, reported already; it must not leave the thread.
    }
  });
  thread.join();
  return ran;
}

void inside(int netns, const std::function<void()>& body) {
  std::thread thread([&] {
    if (setns(netns, CLONE_NEWNET) < 0) {
      FAIL_CHECK("setns failed");
      return;
    }
    try {
      body();
    } catch (...) {
    }
  });
  thread.join();
}

UniqueFd listen_tcp(int netns, uint16_t port, const char* address) {
  UniqueFd fd;
  inside(netns, [&] {
    auto at = socket_address(address, port);
    UniqueFd made(socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int on = 1;
    setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(made.get(), at.get(), at.size) < 0 || listen(made.get(), 16) < 0) return;
    fd = std::move(made);
  });
  return fd;
}

int connect_tcp(int netns, const char* address, uint16_t port, UniqueFd& out, int timeout_ms) {
  auto at = socket_address(address, port);
  inside(netns, [&] { out.reset(socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); });
  if (connect(out.get(), at.get(), at.size) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd entry{out.get(), POLLOUT, 0};
  if (poll(&entry, 1, timeout_ms) == 0) return ETIMEDOUT;
  int err = 0;
  socklen_t size = sizeof err;
  getsockopt(out.get(), SOL_SOCKET, SO_ERROR, &err, &size);
  return err;
}

std::string fetch(int from, const char* address, uint16_t port, int listener, int timeout_ms) {
  UniqueFd client;
  if (int err = connect_tcp(from, address, port, client, timeout_ms)) return "error: " + errno_text(err);
  pollfd entry{listener, POLLIN, 0};
  if (poll(&entry, 1, timeout_ms) != 1) return "error: connected to somebody else";
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  UniqueFd server(accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
  char byte = 0;
  entry = {client.get(), POLLIN, 0};
  if (send(server.get(), "x", 1, MSG_NOSIGNAL) != 1 || poll(&entry, 1, timeout_ms) != 1 ||
      recv(client.get(), &byte, 1, 0) != 1 || byte != 'x')
    return "error: no byte came through";
  return text_of(peer);
}

UniqueFd bind_udp(int netns, uint16_t port) {
  UniqueFd fd;
  inside(netns, [&] {
    UniqueFd made(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    auto at = socket_address("0.0.0.0", port);
    if (bind(made.get(), at.get(), at.size) == 0) fd = std::move(made);
  });
  return fd;
}

Result<SecondHost> make_second_host() {
  auto home = TRY(sys::open_own_netns());
  bool lost = false;
  auto made = TRY(sys::create_netns_on_this_thread(home.get(), lost));
  auto route = TRY(sys::RouteSocket::open(true));
  sys::VethRequest request;
  request.name = "uplink";
  request.peer_name = "eth0";
  request.peer_mac = {2, 0, 0, 0, 0, 9};
  request.peer_netns = made.netns.get();
  TRY(route.create_veth(request));
  auto link = TRY(route.find_link("uplink"));
  IpSubnet here6 = TRY(parse_ip_subnet("fd09::1/64")), there6 = TRY(parse_ip_subnet("fd09::2/64"));
  inside(made.netns.get(), [] {
    for (const char* key : {"disable_ipv6", "accept_dad"})
      (void)sys::write_file(std::string("/proc/sys/net/ipv6/conf/eth0/") + key, "0");
  });
  TRY(route.add_address(link->index, here6));
  IpSubnet here{IpAddress::ipv4(10u << 24 | 9 << 16 | 1), 24}, there{IpAddress::ipv4(10u << 24 | 9 << 16 | 2), 24};
  TRY(route.add_address(link->index, here));
  TRY(made.route.configure({"eth0", {there, there6}, {here.address, here6.address}}));
  TRY(route.wait_ready({"uplink"}, 2000));
  return SecondHost{std::move(made.netns)};
}

Leftovers count_leftovers(const std::string& table) {
  Leftovers out;
  auto route = sys::RouteSocket::open();
  REQUIRE(route);
  auto links = route->list_links();
  REQUIRE(links);
  out.links = links->size();
  auto socket = sys::open_nft_socket();
  REQUIRE(socket);
  for (auto family : {sys::NftFamily::kIpv4, sys::NftFamily::kIpv6})
    for (const char* map : {"published", "published_at", "ranges", "relayed", "direct", "sources"})
      REQUIRE(sys::list_nft_elements(
          *socket, table, map, [&](const sys::NftElement&) { ++out.elements; }, family));
  auto fds = sys::list_dir("/proc/self/fd");
  REQUIRE(fds);
  out.fds = fds->size();
  return out;
}

std::string show(const Leftovers& leftovers) {
  return format("%zu links, %zu elements, %zu descriptors", leftovers.links, leftovers.elements, leftovers.fds);
}

}  // namespace caisson::network::testbed
