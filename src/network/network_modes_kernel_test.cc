// SPDX-License-Identifier: Apache-2.0
// The real thing in a throwaway namespace: IPv6, gateway modes, ranges of ports.
#include <doctest/doctest.h>

#include <string>

#include "base/clock.h"
#include "network/kernel_testbed.h"
#include "network/network_manager.h"
#include "sys/files.h"
#include "sys/netns.h"
#include "sys/rtnetlink.h"

using namespace caisson;
using namespace caisson::network;
using namespace caisson::network::testbed;

namespace {
constexpr const char* kTable = "caisson_modes";

std::unique_ptr<NetworkManager> make_manager(NetworkConfig config = {}) {
  config.table = kTable;
  config.namespace_pool = 2;
  auto manager = NetworkManager::create(std::move(config));
  REQUIRE(manager);
  return std::move(*manager);
}

// Networks of both families whose subnets and bridge have the number in them.
NetworkSpec both_families(int number) {
  NetworkSpec spec;
  std::string text = std::to_string(number);
  spec.id = spec.name = "net" + text;
  spec.bridge = "br-net" + text;
  spec.v4.subnet = "10.50." + text + ".0/24";
  spec.v6.enabled = true;
  spec.v6.subnet = "fd50:" + text + "::/64";
  return spec;
}

struct Container {
  Sandbox sandbox;
  Endpoint endpoint;
  int netns() const { return sandbox.netns.get(); }
};

Container attach(NetworkManager& manager, const std::string& network, const char* id,
                 std::vector<PortMapping> ports = {}) {
  auto sandbox = manager.create_sandbox();
  REQUIRE(sandbox);
  AttachRequest request;
  request.container_id = id;
  request.network_id = network;
  request.ports = std::move(ports);
  auto endpoint = manager.attach(*sandbox, request);
  if (!endpoint) FAIL(endpoint.error().message);
  return {std::move(*sandbox), std::move(*endpoint)};
}

void add(NetworkManager& manager, NetworkSpec spec) {
  auto added = manager.add_network(spec, true);
  if (!added) FAIL(added.error().message);
}

UniqueFd own_netns() {
  auto fd = sys::open_own_netns();
  REQUIRE(fd);
  return std::move(*fd);
}
}  // namespace

TEST_CASE("network kernel: containers with both families") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto host = make_second_host();
    REQUIRE(host);
    add(*manager, both_families(1));
    auto one = attach(*manager, "net1", "one", {{"tcp", 80, "", 8080}});
    auto two = attach(*manager, "net1", "two");
    CHECK(one.endpoint.address == "10.50.1.2");
    CHECK(one.endpoint.address6 == "fd50:1::2");
    CHECK(one.endpoint.prefix6 == 64);
    CHECK(one.endpoint.gateway6 == "fd50:1::1");
    REQUIRE(one.endpoint.ports.size() == 2);
    CHECK(one.endpoint.ports[0] == PortMapping{"tcp", 80, "0.0.0.0", 8080});
    CHECK(one.endpoint.ports[1] == PortMapping{"tcp", 80, "::", 8080});
    auto self = own_netns();
    auto server = listen_tcp(one.netns(), 80, "::");
    auto four = listen_tcp(host->netns.get(), 90, "0.0.0.0"), six = listen_tcp(host->netns.get(), 91, "::");
    CHECK(fetch(two.netns(), "fd50:1::2", 80, server.get()) == "fd50:1::3");
    CHECK(fetch(self.get(), "fd50:1::2", 80, server.get()) == "fd50:1::1");
    // From outside by the published port only, and the client is seen.
    CHECK(fetch(host->netns.get(), "fd09::1", 8080, server.get()) == "fd09::2");
    CHECK(fetch(host->netns.get(), "10.9.0.1", 8080, server.get()) == "::ffff:10.9.0.2");
    CHECK(fetch(host->netns.get(), "fd50:1::2", 80, server.get(), 200).starts_with("error"));
    // By every address of the host, from itself, a neighbour and the container.
    CHECK(fetch(self.get(), "fd09::1", 8080, server.get()) == "fd09::1");
    CHECK(fetch(two.netns(), "fd09::1", 8080, server.get()) == "fd50:1::1");
    CHECK(fetch(one.netns(), "fd50:1::1", 8080, server.get()) == "fd50:1::1");
    // Outwards with the host's address.
    CHECK(fetch(two.netns(), "fd09::2", 91, six.get()) == "fd09::1");
    CHECK(fetch(two.netns(), "10.9.0.2", 90, four.get()) == "10.9.0.1");
    // The guard keeps host processes off the port, of both families.
    CHECK_FALSE(listen_tcp(self.get(), 8080, "::"));
    CHECK_FALSE(listen_tcp(self.get(), 8080, "0.0.0.0"));
    manager->detach("one");
    CHECK(listen_tcp(self.get(), 8080, "::"));
    CHECK(manager->remove_all());
    CHECK(count_leftovers(kTable).elements == 0);
  });
}

TEST_CASE("network kernel: a chosen port is the same for both families") {
  in_fresh_netns([] {
    auto manager = make_manager();
    add(*manager, both_families(1));
    auto self = own_netns();
    auto first = attach(*manager, "net1", "one", {{"tcp", 80, "", 0}});
    REQUIRE(first.endpoint.ports.size() == 2);
    CHECK(first.endpoint.ports[0].host_port == first.endpoint.ports[1].host_port);
    // The next one is taken by a host process in one family.
    auto next = static_cast<uint16_t>(first.endpoint.ports[0].host_port + 1);
    auto blocker = listen_tcp(self.get(), next, "::1");
    REQUIRE(blocker);
    auto second = attach(*manager, "net1", "two", {{"tcp", 80, "", 0}});
    CHECK(second.endpoint.ports[0].host_port == next + 1);
    CHECK(second.endpoint.ports[1].host_port == next + 1);
    CHECK(manager->remove_all());
  });
}

TEST_CASE("network kernel: containers with IPv6 alone") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto host = make_second_host();
    REQUIRE(host);
    NetworkSpec spec = both_families(1);
    spec.v4 = {.enabled = false};
    add(*manager, spec);
    auto one = attach(*manager, "net1", "one", {{"tcp", 80, "", 8080}});
    CHECK(one.endpoint.address.empty());
    CHECK(one.endpoint.address6 == "fd50:1::2");
    auto server = listen_tcp(one.netns(), 80, "::");
    CHECK(fetch(host->netns.get(), "fd09::1", 8080, server.get()) == "fd09::2");
    auto sandbox = manager->create_sandbox();
    REQUIRE(sandbox);
    AttachRequest wrong;
    wrong.container_id = "two";
    wrong.network_id = "net1";
    wrong.address = "10.50.1.9";
    CHECK(manager->attach(*sandbox, wrong).error().message == "network net1 has no IPv4 addresses");
    wrong.address.clear();
    wrong.ports = {{"tcp", 80, "127.0.0.1", 9000}};
    CHECK(manager->attach(*sandbox, wrong).error().message ==
          "cannot publish on 127.0.0.1: the container has no IPv4 address");
    wrong.ports.clear();
    wrong.address6 = "fd50:1::77";
    auto fixed = manager->attach(*sandbox, wrong);
    REQUIRE(fixed);
    CHECK(fixed->address6 == "fd50:1::77");
    CHECK(manager->remove_all());
  });
}

TEST_CASE("network kernel: the default network with IPv6, after an engine restart too") {
  in_fresh_netns([] {
    NetworkConfig config;
    config.ipv6 = true;
    config.fixed_cidr6 = "fd77::/80";
    auto manager = make_manager(config);
    CHECK(manager->bridge_info().subnet6 == "fd77::/80");
    auto one = attach(*manager, kDefaultNetwork, "one", {{"tcp", 80, "", 8080}});
    CHECK(one.endpoint.address6 == "fd77::2");
    auto server = listen_tcp(one.netns(), 80, "::");
    auto before = count_leftovers(kTable);
    manager = make_manager(config);
    REQUIRE(manager->restore(one.endpoint));
    REQUIRE(manager->finish_restore());
    auto now = count_leftovers(kTable);
    CHECK(now.elements == before.elements);
    CHECK(now.links == before.links);
    auto two = attach(*manager, kDefaultNetwork, "two");
    CHECK(two.endpoint.address6 == "fd77::3");
    CHECK(fetch(two.netns(), "fd77::1", 8080, server.get()) == "fd77::1");
    // Somebody flushed the ruleset.
    auto again = NetworkManager::create([] {
      NetworkConfig other;
      other.table = kTable;
      return other;
    }());
    REQUIRE(again);
    CHECK((*again)->remove_all());
    CHECK(manager->repair_rules());
    CHECK(count_leftovers(kTable).elements > 0);
    CHECK(manager->remove_all());
  });
}

TEST_CASE("network kernel: gateway modes") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto host = make_second_host();
    REQUIRE(host);
    auto routed = both_families(1), open = both_families(2), closed = both_families(3), isolated = both_families(4);
    routed.v4.mode = routed.v6.mode = GatewayMode::kRouted;
    open.v4.mode = open.v6.mode = GatewayMode::kNatUnprotected;
    isolated.v4.mode = isolated.v6.mode = GatewayMode::kIsolated;
    CHECK(manager->add_network(isolated, true).error().message.ends_with("for internal networks only"));
    isolated.internal = true;
    for (const auto& spec : {routed, open, closed, isolated}) add(*manager, spec);

    auto one = attach(*manager, "net1", "one", {{"tcp", 80, "", 8080}});
    auto server = listen_tcp(one.netns(), 80, "::"), other = listen_tcp(one.netns(), 81, "::");
    for (const char* address : {"10.50.1.2", "fd50:1::2"}) {
      CAPTURE(address);
      CHECK(fetch(host->netns.get(), address, 80, server.get()).ends_with(address[0] == 'f' ? "fd09::2" : "10.9.0.2"));
      CHECK(fetch(host->netns.get(), address, 81, other.get(), 200).starts_with("error"));
    }
    UniqueFd refused;
    CHECK(connect_tcp(host->netns.get(), "10.9.0.1", 8080, refused) == ECONNREFUSED);
    // Nobody translates: the second host sees the container, which it has a route to.
    auto outside = listen_tcp(host->netns.get(), 90, "::");
    CHECK(fetch(one.netns(), "fd09::2", 90, outside.get()) == "fd50:1::2");

    auto two = attach(*manager, "net2", "two", {{"tcp", 80, "", 8080}});
    auto server2 = listen_tcp(two.netns(), 80, "::"), other2 = listen_tcp(two.netns(), 81, "::");
    CHECK(fetch(host->netns.get(), "fd50:2::2", 81, other2.get()) == "fd09::2");
    CHECK(fetch(host->netns.get(), "fd09::1", 8080, server2.get()) == "fd09::2");
    CHECK(fetch(two.netns(), "fd09::2", 90, outside.get()) == "fd09::1");

    auto three = attach(*manager, "net3", "three");
    auto server3 = listen_tcp(three.netns(), 80, "::");
    for (const char* address : {"10.50.3.2", "fd50:3::2"})
      CHECK(fetch(host->netns.get(), address, 80, server3.get(), 200).starts_with("error"));

    auto four = attach(*manager, "net4", "four"), five = attach(*manager, "net4", "five");
    CHECK(four.endpoint.gateway.empty());
    CHECK(four.endpoint.gateway6.empty());
    auto server4 = listen_tcp(four.netns(), 80, "::");
    CHECK(fetch(five.netns(), four.endpoint.address6.c_str(), 80, server4.get()) == five.endpoint.address6);
    CHECK(fetch(own_netns().get(), four.endpoint.address.c_str(), 80, server4.get(), 200).starts_with("error"));
    CHECK(manager->remove_all());
    CHECK(count_leftovers(kTable).elements == 0);
  });
}

TEST_CASE("network kernel: trusted interfaces, addresses outside, places to publish at") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto host = make_second_host();
    REQUIRE(host);
    auto spec = both_families(1);
    spec.trusted_interfaces = {"uplink"};
    spec.v6.source = "fd09::1";
    spec.v4.source = "10.9.0.1";
    spec.host_ip = "10.9.0.1";
    add(*manager, spec);
    auto one = attach(*manager, "net1", "one", {{"tcp", 80, "", 8080}});
    REQUIRE(one.endpoint.ports.size() == 1);
    CHECK(one.endpoint.ports[0].host_ip == "10.9.0.1");
    auto server = listen_tcp(one.netns(), 80, "::"), other = listen_tcp(one.netns(), 81, "::");
    CHECK(fetch(host->netns.get(), "10.50.1.2", 80, server.get()) == "::ffff:10.9.0.2");
    CHECK(fetch(host->netns.get(), "10.50.1.2", 81, other.get(), 200).starts_with("error"));
    auto outside = listen_tcp(host->netns.get(), 90, "::");
    CHECK(fetch(one.netns(), "fd09::2", 90, outside.get()) == "fd09::1");
    CHECK(fetch(one.netns(), "10.9.0.2", 90, outside.get()) == "::ffff:10.9.0.1");
    // Another of the host's addresses is not the one that was asked for.
    UniqueFd refused;
    CHECK(connect_tcp(own_netns().get(), "10.50.1.1", 8080, refused) == ECONNREFUSED);
    manager->detach("one");
    CHECK(manager->remove_network("net1"));
    CHECK(count_leftovers(kTable).elements == 0);
    CHECK(manager->remove_all());
  });
}

TEST_CASE("network kernel: ranges of ports") {
  in_fresh_netns([] {
    auto manager = make_manager();
    auto host = make_second_host();
    REQUIRE(host);
    auto self = own_netns();
    add(*manager, both_families(1));
    auto before = count_leftovers(kTable);
    auto one = attach(*manager, "net1", "one", {{"tcp", 10000, "", 10000, 10000}, {"udp", 100, "10.9.0.1", 200, 3}});
    REQUIRE(one.endpoint.ports.size() == 3);
    CHECK(one.endpoint.ports[1] == PortMapping{"tcp", 10000, "::", 10000, 10000});
    auto now = count_leftovers(kTable);
    CHECK(now.elements == before.elements + 2 + 3);
    CHECK(now.fds < before.fds + 20);
    auto server = listen_tcp(one.netns(), 15123, "::");
    CHECK(fetch(host->netns.get(), "10.9.0.1", 15123, server.get()) == "::ffff:10.9.0.2");
    CHECK(fetch(host->netns.get(), "fd09::1", 15123, server.get()) == "fd09::2");
    CHECK(fetch(self.get(), "127.0.0.1", 15123, server.get()) == "::ffff:10.50.1.1");
    // One that begins below, within, and above.
    auto taken = [&](PortMapping port) {
      auto sandbox = manager->create_sandbox();
      REQUIRE(sandbox);
      AttachRequest request;
      request.container_id = "two";
      request.network_id = "net1";
      request.ports = {port};
      auto got = manager->attach(*sandbox, request);
      manager->detach("two");
      return got ? std::string("free") : got.error().message;
    };
    CHECK(taken({"tcp", 80, "", 19999}) == "Bind for 0.0.0.0:19999 failed: port is already allocated");
    CHECK(taken({"tcp", 9990, "127.0.0.1", 9990, 20}) == "Bind for 127.0.0.1:9990 failed: port is already allocated");
    CHECK(taken({"tcp", 80, "", 20000}) == "free");
    CHECK(taken({"udp", 80, "", 10000}) == "free");
    CHECK(taken({"udp", 80, "10.50.1.1", 202}) == "free");
    CHECK(taken({"udp", 80, "", 202}) == "Bind for 0.0.0.0:202 failed: port is already allocated");
    // A process of the host in the middle of a range.
    auto process = listen_tcp(self.get(), 30500);
    CHECK(taken({"tcp", 30000, "", 30000, 1000}).starts_with("failed to bind host port for 0.0.0.0:30500:10.50.1."));
    CHECK(taken({"tcp", 30000, "::", 30000, 1000}) == "free");
    // Shifted ones are elements of their own.
    auto shifted = attach(*manager, "net1", "three", {{"tcp", 80, "0.0.0.0", 40080, 2000}});
    auto inner = listen_tcp(shifted.netns(), 1080, "::");
    CHECK(fetch(host->netns.get(), "10.9.0.1", 41080, inner.get()) == "::ffff:10.9.0.2");
    manager->detach("one");
    manager->detach("three");
    CHECK(count_leftovers(kTable).elements == before.elements);
    CHECK(manager->remove_all());
  });
}
