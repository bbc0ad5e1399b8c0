// SPDX-License-Identifier: Apache-2.0
// The real thing in a throwaway namespace: links, addresses, published ports, conflicts, recovery.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/clock.h"
#include "base/text.h"
#include "network/kernel_testbed.h"
#include "network/network_manager.h"
#include "network/ports.h"
#include "sys/files.h"
#include "sys/netns.h"
#include "sys/rtnetlink.h"

using namespace caisson;
using namespace caisson::network;
using namespace caisson::network::testbed;

namespace {
constexpr const char* kTable = "caisson_test";

NetworkConfig test_config(int pool = 2) {
  NetworkConfig config;
  config.table = kTable;
  config.namespace_pool = pool;
  return config;
}

std::unique_ptr<NetworkManager> make_manager(NetworkConfig config = test_config()) {
  auto manager = NetworkManager::create(std::move(config));
  REQUIRE(manager);
  return std::move(*manager);
}

NetworkManager::Attached attach(NetworkManager& manager, const char* id, std::vector<PortMapping> ports = {}) {
  auto attached = manager.attach_bridge(id, ports, "", "");
  if (!attached) FAIL(attached.error().message);
  return std::move(*attached);
}

UniqueFd own_netns() {
  auto fd = sys::open_own_netns();
  REQUIRE(fd);
  return std::move(*fd);
}

bool link_exists(const std::string& name) {
  auto route = sys::RouteSocket::open();
  REQUIRE(route);
  auto link = route->find_link(name);
  REQUIRE(link);
  return link->has_value();
}

// Namespaces die asynchronously; a batch takes some 40 ms.
bool eventually(const std::function<bool()>& check) {
  for (int i = 0; i < 500; ++i) {
    if (check()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}
}  // namespace

TEST_CASE("network kernel: nothing is touched before the first use") {
  in_fresh_netns([] {
    auto manager = make_manager();
    CHECK(!link_exists("caisson0"));
    CHECK(manager->bridge_info().subnet == "172.17.0.0/16");
    manager->detach("nobody");
    CHECK(!link_exists("caisson0"));
    auto space = manager->create_sandbox();
    REQUIRE(space);
    inside(space->netns.get(), [] {
      auto route = sys::RouteSocket::open();
      REQUIRE(route);
      auto lo = route->find_link("lo");
      REQUIRE(lo);
      CHECK((*lo)->up);
      CHECK(route->list_links()->size() == 1);
    });
    CHECK(!link_exists("caisson0"));
    CHECK(manager->remove_all());
  });
}

TEST_CASE("network kernel: two containers talk, addresses and interface are as told") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto one = attach(*manager, "one"), two = attach(*manager, "two");
    CHECK(one.endpoint.address == "172.17.0.2");
    CHECK(one.endpoint.mac == "02:42:ac:11:00:02");
    CHECK(one.endpoint.gateway == "172.17.0.1");
    CHECK(one.endpoint.prefix == 16);
    CHECK(two.endpoint.address == "172.17.0.3");
    auto server = listen_tcp(one.netns.get(), 80);
    CHECK(fetch(two.netns.get(), "172.17.0.2", 80, server.get()) == "172.17.0.3");
    CHECK(fetch(own_netns().get(), "172.17.0.2", 80, server.get()) == "172.17.0.1");
    inside(one.netns.get(), [] {
      auto route = sys::RouteSocket::open();
      REQUIRE(route);
      auto eth0 = route->find_link("eth0");
      REQUIRE(eth0);
      REQUIRE(eth0->has_value());
      CHECK((*eth0)->mtu == 1500);
      CHECK((*eth0)->ready);
    });
    auto again = manager->attach_bridge("one", {}, "", "");
    REQUIRE(!again);
    CHECK(again.error().kind == ErrorKind::kConflict);
    auto fixed = manager->attach_bridge("fixed", {}, "02:42:00:00:00:77", "172.17.3.4");
    REQUIRE(fixed);
    CHECK(fixed->endpoint.address == "172.17.3.4");
    CHECK(fixed->endpoint.mac == "02:42:00:00:00:77");
    CHECK(fetch(fixed->netns.get(), "172.17.0.2", 80, server.get()) == "172.17.3.4");
    CHECK(manager->remove_all());
    CHECK(!link_exists("caisson0"));
  });
}

TEST_CASE("network kernel: containers reach the outside under the host's address, not the other way round") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto second = make_second_host();
    if (!second) FAIL(second.error().message);
    auto one = attach(*manager, "one");
    auto outside = listen_tcp(second->netns.get(), 9000);
    CHECK(fetch(one.netns.get(), "10.9.0.2", 9000, outside.get()) == "10.9.0.1");
    auto server = listen_tcp(one.netns.get(), 80);
    CHECK(fetch(second->netns.get(), "172.17.0.2", 80, server.get(), 200) == "error: Connection timed out");
  });
}

TEST_CASE("network kernel: a published port answers from everywhere") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto second = make_second_host();
    if (!second) FAIL(second.error().message);
    auto self = own_netns();
    auto one = attach(*manager, "one",
                      {{"tcp", 80, "0.0.0.0", 8080}, {"tcp", 81, "10.9.0.1", 8081}, {"tcp", 82, "127.0.0.1", 8082}});
    auto two = attach(*manager, "two");
    auto server = listen_tcp(one.netns.get(), 80), at_host = listen_tcp(one.netns.get(), 81),
         at_loopback = listen_tcp(one.netns.get(), 82);

    CHECK(fetch(self.get(), "127.0.0.1", 8080, server.get()) == "172.17.0.1");
    CHECK(fetch(self.get(), "127.0.0.9", 8080, server.get()) == "172.17.0.1");
    CHECK(fetch(self.get(), "10.9.0.1", 8080, server.get()).starts_with("10.9.0.1"));
    CHECK(fetch(self.get(), "172.17.0.1", 8080, server.get()) == "172.17.0.1");
    CHECK(fetch(second->netns.get(), "10.9.0.1", 8080, server.get()) == "10.9.0.2");
    CHECK(fetch(two.netns.get(), "172.17.0.1", 8080, server.get()) == "172.17.0.1");
    CHECK(fetch(two.netns.get(), "10.9.0.1", 8080, server.get()) == "172.17.0.1");
    // To itself, with br_netfilter at work (per namespace since Linux 5.3) and without.
    for (const char* value : {"1", "0"}) {
      if (!sys::write_file("/proc/sys/net/bridge/bridge-nf-call-iptables", value)) MESSAGE("no br_netfilter here");
      CHECK(fetch(one.netns.get(), "172.17.0.1", 8080, server.get()) == "172.17.0.1");
      CHECK(fetch(one.netns.get(), "10.9.0.1", 8080, server.get()) == "172.17.0.1");
      CHECK(fetch(two.netns.get(), "10.9.0.1", 8080, server.get()) == "172.17.0.1");
    }

    CHECK(fetch(second->netns.get(), "10.9.0.1", 8081, at_host.get()) == "10.9.0.2");
    CHECK(fetch(self.get(), "127.0.0.1", 8081, at_host.get()) == "error: Connection refused");
    CHECK(fetch(self.get(), "127.0.0.1", 8082, at_loopback.get()) == "172.17.0.1");
    CHECK(fetch(second->netns.get(), "10.9.0.1", 8082, at_loopback.get()) == "error: Connection refused");
    // Published or not, nobody outside may address the container itself.
    CHECK(fetch(second->netns.get(), "172.17.0.2", 80, server.get(), 200) == "error: Connection timed out");
  });
}

TEST_CASE("network kernel: loopback services and loopback ports stay out of the neighbours' reach") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto second = make_second_host();
    if (!second) FAIL(second.error().message);
    auto one = attach(*manager, "one", {{"tcp", 80, "127.0.0.1", 8080}});
    auto server = listen_tcp(one.netns.get(), 80);
    auto secret = listen_tcp(own_netns().get(), 7000, "127.0.0.1");
    // CVE-2020-8558: 127/8 sent to the host over the wire.
    for (int from : {second->netns.get(), one.netns.get()}) {
      inside(from, [] {
        REQUIRE(sys::write_file("/proc/sys/net/ipv4/conf/all/route_localnet", "1"));
        REQUIRE(sys::write_file("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1"));
        auto route = sys::RouteSocket::open();
        REQUIRE(route);
        REQUIRE(route->remove_address(1, {IpAddress::ipv4(127u << 24 | 1), 8}));
      });
      CHECK(fetch(from, "127.0.0.1", 7000, secret.get(), 200) == "error: Connection timed out");
      CHECK(fetch(from, "127.0.0.1", 8080, server.get(), 200) == "error: Connection timed out");
    }
  });
}

TEST_CASE("network kernel: udp is published too, and a client that keeps sending follows the container") {
  in_fresh_netns([] {
    auto manager = make_manager();
    attach(*manager, "table");  // so that connections are tracked before the port is published
    auto client = bind_udp(own_netns().get(), 0);
    auto reaches = [&](const UniqueFd& server) {
      sockaddr_in at{};
      at.sin_family = AF_INET;
      at.sin_port = htons(5353);
      at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      auto sent = [&] { return sendto(client.get(), "q", 1, 0, reinterpret_cast<sockaddr*>(&at), sizeof at); };
      if (sent() != 1) sent();  // the first call may report that nobody listened before
      char byte = 0;
      for (int i = 0; i < 50; ++i) {
        if (recv(server.get(), &byte, 1, MSG_DONTWAIT) == 1) return byte == 'q';
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      return false;
    };
    CHECK(!reaches(client));
    auto one = attach(*manager, "one", {{"udp", 53, "0.0.0.0", 5353}, {"tcp", 53, "0.0.0.0", 5353}});
    auto server = bind_udp(one.netns.get(), 53);
    CHECK(reaches(server));
    manager->detach("one");
    CHECK(!reaches(server));
    auto two = attach(*manager, "two", {{"udp", 53, "127.0.0.1", 5353}});
    auto other = bind_udp(two.netns.get(), 53);
    CHECK(reaches(other));
  });
}

TEST_CASE("network kernel: conflicts name the port, and leave nothing behind") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto self = own_netns();
    auto one = attach(*manager, "one", {{"tcp", 80, "0.0.0.0", 8080}});
    auto before = count_leftovers(kTable);
    auto taken = manager->attach_bridge("two", {{"tcp", 81, "0.0.0.0", 9090}, {"tcp", 80, "0.0.0.0", 8080}}, "", "");
    REQUIRE(!taken);
    CHECK(taken.error().kind == ErrorKind::kConflict);
    CHECK(taken.error().message == "Bind for 0.0.0.0:8080 failed: port is already allocated");
    auto overlap = manager->attach_bridge("two", {{"tcp", 80, "127.0.0.1", 8080}}, "", "");
    REQUIRE(!overlap);
    CHECK(overlap.error().message == "Bind for 127.0.0.1:8080 failed: port is already allocated");
    {
      auto host_process = listen_tcp(self.get(), 7777);
      REQUIRE(host_process);
      auto held = manager->attach_bridge("two", {{"tcp", 80, "0.0.0.0", 7777}}, "", "");
      REQUIRE(!held);
      CHECK(held.error().kind == ErrorKind::kConflict);
      CHECK(held.error().message.starts_with("failed to bind host port for 0.0.0.0:7777:172.17.0."));
      CHECK(
          held.error().message.ends_with(format(":80/tcp: address already in use by network_test (pid %d)", getpid())));
    }
    CHECK(manager->attach_bridge("two", {{"tcp", 80, "10.1.2.3", 7777}}, "", "")
              .error()
              .message.ends_with(":80/tcp: cannot assign requested address"));
    CHECK(manager->attach_bridge("two", {}, "", "172.18.0.5").error().kind == ErrorKind::kInvalid);
    CHECK(manager->attach_bridge("two", {}, "", "172.17.0.1").error().kind == ErrorKind::kConflict);
    CHECK(manager->attach_bridge("two", {}, "", "172.17.0.2").error().kind == ErrorKind::kConflict);
    CHECK(manager->attach_bridge("two", {}, "01:00:00:00:00:01", "").error().kind == ErrorKind::kInvalid);
    UniqueFd sctp(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP));
    if (!sctp) {
      auto refused = manager->attach_bridge("two", {{"sctp", 80, "", 0}}, "", "");
      REQUIRE(!refused);
      CHECK(refused.error().kind == ErrorKind::kUnsupported);
      CHECK(refused.error().message.ends_with(":80/sctp: the host's kernel has no sctp"));
    }
    auto now = count_leftovers(kTable);
    CHECK(now.elements == before.elements);
    CHECK(now.links == before.links);
    // The guard keeps host processes out, those with SO_REUSEADDR included, and refuses what misses the rule.
    CHECK(!listen_tcp(self.get(), 8080));
    CHECK(!listen_tcp(self.get(), 8080, "127.0.0.1"));
    CHECK(manager->attach_bridge("two", {{"tcp", 80, "0.0.0.0", 7777}}, "", ""));
  });
}

TEST_CASE("network kernel: a port with connections in TIME_WAIT can be published") {
  in_fresh_netns([] {
    auto self = own_netns();
    {
      auto server = listen_tcp(self.get(), 8080);
      UniqueFd client;
      REQUIRE(connect_tcp(self.get(), "127.0.0.1", 8080, client) == 0);
      UniqueFd accepted(accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
      accepted.reset();  // the server closes first: its side lingers
      char byte;
      CHECK(eventually([&] { return recv(client.get(), &byte, 1, MSG_DONTWAIT) == 0; }));
    }
    auto manager = make_manager();
    attach(*manager, "one", {{"tcp", 80, "0.0.0.0", 8080}});
  });
}

TEST_CASE("network kernel: free ports are chosen in order and detach frees them") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto self = own_netns();
    auto busy = listen_tcp(self.get(), 32769);
    auto one = attach(*manager, "one", {{"tcp", 80, "", 0}, {"tcp", 81, "", 0}});
    CHECK(one.endpoint.ports[0].host_port == 32768);
    CHECK(one.endpoint.ports[1].host_port == 32770);
    auto server = listen_tcp(one.netns.get(), 80);
    CHECK(fetch(self.get(), "127.0.0.1", 32768, server.get()) == "172.17.0.1");
    manager->detach("one");
    CHECK(fetch(self.get(), "127.0.0.1", 32768, server.get()) == "error: Connection refused");
    CHECK(count_leftovers(kTable).elements == 0);
    auto host_process = listen_tcp(self.get(), 32768);
    CHECK(host_process);
    auto two = attach(*manager, "two", {{"tcp", 80, "", 32770}});
    CHECK(two.endpoint.address == "172.17.0.3");
    one.netns.reset();
    server.reset();
    CHECK(eventually([&] { return !link_exists(one.endpoint.interface); }));
  });
}

TEST_CASE("network kernel: after a crash running containers keep their ports, the rest is removed") {
  in_fresh_netns([] {
    auto self = own_netns();
    NetworkManager::Attached one, gone;
    UniqueFd server;
    {
      auto manager = make_manager();
      one = attach(*manager, "one", {{"tcp", 80, "0.0.0.0", 8080}});
      gone = attach(*manager, "gone", {{"tcp", 80, "0.0.0.0", 9090}, {"tcp", 80, "127.0.0.1", 9091}});
      server = listen_tcp(one.netns.get(), 80);
    }
    // While the engine is away.
    CHECK(fetch(self.get(), "127.0.0.1", 8080, server.get()) == "172.17.0.1");
    CHECK(count_leftovers(kTable).elements == 3);
    auto manager = make_manager();
    CHECK(manager->bridge_info().gateway == "172.17.0.1");
    REQUIRE(manager->restore(one.endpoint));
    REQUIRE(manager->finish_restore());
    CHECK(count_leftovers(kTable).elements == 1);
    CHECK(fetch(self.get(), "127.0.0.1", 8080, server.get()) == "172.17.0.1");
    CHECK(!listen_tcp(self.get(), 8080));
    CHECK(manager->restore(one.endpoint).error().kind == ErrorKind::kConflict);
    CHECK(manager->attach_bridge("two", {{"tcp", 80, "0.0.0.0", 8080}}, "", "").error().kind == ErrorKind::kConflict);
    CHECK(attach(*manager, "three", {{"tcp", 80, "0.0.0.0", 9090}}).endpoint.address == "172.17.0.4");
    Endpoint lost = gone.endpoint;
    lost.interface = "veth0000000";
    lost.ports.clear();
    CHECK(manager->restore(lost).error().kind == ErrorKind::kNotFound);
    manager->detach("one");
    CHECK(fetch(self.get(), "127.0.0.1", 8080, server.get()) == "error: Connection refused");
  });
}

TEST_CASE("network kernel: stale elements do not stand in the way of an engine that skips restoring") {
  in_fresh_netns([] {
    auto self = own_netns();
    { attach(*make_manager(), "old", {{"tcp", 99, "0.0.0.0", 8080}}); }
    auto manager = make_manager();
    auto held = attach(*manager, "other");
    auto one = attach(*manager, "one", {{"tcp", 80, "0.0.0.0", 8080}});
    auto server = listen_tcp(one.netns.get(), 80);
    CHECK(fetch(self.get(), "127.0.0.1", 8080, server.get()) == "172.17.0.1");
  });
}

TEST_CASE("network kernel: a flushed ruleset and a deleted bridge are made again") {
  in_fresh_netns([] {
    auto self = own_netns();
    auto manager = make_manager();
    auto one = attach(*manager, "one", {{"tcp", 80, "0.0.0.0", 8080}});
    auto server = listen_tcp(one.netns.get(), 80);
    {
      auto other = make_manager();
      REQUIRE(other->remove_all());  // same table and bridge: takes both away
    }
    CHECK(!link_exists("caisson0"));
    auto two = attach(*manager, "two", {{"tcp", 80, "0.0.0.0", 8081}});
    CHECK(count_leftovers(kTable).elements == 2);
    auto second_server = listen_tcp(two.netns.get(), 80);
    CHECK(fetch(self.get(), "127.0.0.1", 8081, second_server.get()) == "172.17.0.1");
  });
}

TEST_CASE("network kernel: the bridge avoids subnets in use and takes the configured address") {
  in_fresh_netns([] {
    auto route = sys::RouteSocket::open();
    REQUIRE(route);
    REQUIRE(route->add_address(1, {IpAddress::ipv4(172u << 24 | 17 << 16 | 5 << 8 | 1), 24}));
    auto first = make_manager();
    CHECK(attach(*first, "one").endpoint.address == "172.18.0.2");
    NetworkConfig config = test_config();
    config.bridge = "other0";
    config.table = "other";
    config.bridge_address = "10.77.0.1/29";
    config.mtu = 1400;
    auto second = make_manager(config);
    CHECK(second->bridge_info().subnet == "10.77.0.0/29");
    std::vector<NetworkManager::Attached> all;
    for (int i = 0; i < 5; ++i) all.push_back(attach(*second, ("c" + std::to_string(i)).c_str()));
    auto full = second->attach_bridge("full", {}, "", "");
    REQUIRE(!full);
    CHECK(full.error().kind == ErrorKind::kExhausted);
    second->detach("c2");
    CHECK(attach(*second, "again").endpoint.address == "10.77.0.4");
    REQUIRE(second->remove_all());
    CHECK(!link_exists("other0"));
    CHECK(link_exists("caisson0"));
  });
}

TEST_CASE("network kernel: two engines side by side reach each other by published ports only") {
  in_fresh_netns([] {
    NetworkConfig config = test_config();
    config.bridge = "other0";
    config.table = "other";
    auto first = make_manager(), second = make_manager(config);
    auto here = attach(*first, "one"), there = attach(*second, "one", {{"tcp", 80, "", 8080}});
    CHECK(there.endpoint.address == "172.18.0.2");
    auto server = listen_tcp(there.netns.get(), 80);
    CHECK(fetch(here.netns.get(), "172.18.0.2", 80, server.get(), 200) == "error: Connection timed out");
    CHECK(fetch(here.netns.get(), "172.17.0.1", 8080, server.get()) == "172.18.0.1");
    CHECK(first->attach_bridge("two", {{"tcp", 80, "", 8080}}, "", "").error().message ==
          "failed to bind host port for 0.0.0.0:8080:172.17.0.3:80/tcp: address already in use");
  });
}

TEST_CASE("network kernel: a link that is no bridge is refused, a bridge of somebody else survives") {
  in_fresh_netns([] {
    NetworkConfig config = test_config();
    config.bridge = "lo";
    auto wrong = make_manager(config)->attach_bridge("one", {}, "", "");
    REQUIRE(!wrong);
    CHECK(wrong.error().message == "set up bridge 'lo': link 'lo' is there and is no bridge");
    auto route = sys::RouteSocket::open();
    REQUIRE(route->create_bridge("foreign0", {2, 0, 0, 0, 0, 1}, 1500, "mine"));
    auto link = route->find_link("foreign0");
    REQUIRE(link);
    REQUIRE(route->add_address((*link)->index, {IpAddress::ipv4(192u << 24 | 168 << 16 | 7 << 8 | 1), 24}));
    config.bridge = "foreign0";
    auto manager = make_manager(config);
    CHECK(attach(*manager, "one").endpoint.address == "192.168.7.2");
    REQUIRE(manager->remove_all());
    CHECK(link_exists("foreign0"));
  });
}

TEST_CASE("network kernel: 100 containers come and go and leave nothing, from four threads") {
  in_fresh_netns([] {
    auto manager = make_manager();
    attach(*manager, "first");  // bridge, table and pool thread are there now
    manager->detach("first");
    auto settled = [&] { return count_leftovers(kTable).links == 2; };
    REQUIRE(eventually(settled));
    // The pool's namespaces hold two descriptors each; they come back to the same number.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    auto before = count_leftovers(kTable);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 25; ++i) {
          std::string id = format("c%d-%d", t, i);
          auto attached = manager->attach_bridge(id, {{"tcp", 80, "", 0}, {"udp", 53, "", 0}}, "", "");
          if (!attached) FAIL_CHECK(attached.error().message);
          manager->detach(id);
        }
      });
    for (auto& thread : threads) thread.join();
    // The rules keep one idle socket for each call that ran at the same time.
    before.fds += threads.size() - 1;
    auto clean = [&] {
      auto now = count_leftovers(kTable);
      return now.links == before.links && now.elements == before.elements && now.fds <= before.fds;
    };
    CHECK_MESSAGE(eventually(clean), show(before), " before, now ", show(count_leftovers(kTable)));
  });
}

// Not part of a test run: network_test -ns -tc='*timing*'
TEST_CASE("network kernel: timing" * doctest::skip()) {
  in_fresh_netns([] {
    for (int pool : {4, 0}) {
      auto manager = make_manager(test_config(pool));
      struct Row {
        std::vector<int64_t> attach, detach;
      } plain, published;
      auto first = caisson::monotonic_ns();
      attach(*manager, "first");
      auto first_us = (caisson::monotonic_ns() - first) / 1000;
      for (int i = 0; i < 200; ++i) {
        Row& row = i % 2 ? published : plain;
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        std::vector<PortMapping> ports;
        if (i % 2) ports.push_back({"tcp", 80, "", 0});
        auto start = caisson::monotonic_ns();
        auto attached = attach(*manager, "c", ports);
        auto middle = caisson::monotonic_ns();
        manager->detach("c");
        row.attach.push_back(middle - start);
        row.detach.push_back(caisson::monotonic_ns() - middle);
      }
      auto median = [](std::vector<int64_t>& values) {
        std::sort(values.begin(), values.end());
        return static_cast<double>(values[values.size() / 2]) / 1000;
      };
      MESSAGE(format("pool %d: first %ld us; attach %.0f us, with a port %.0f us; detach %.1f us, with a port %.1f us",
                     pool, static_cast<long>(first_us), median(plain.attach), median(published.attach),
                     median(plain.detach), median(published.detach)));
      manager.reset();
    }
  });
}
