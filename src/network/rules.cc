// SPDX-License-Identifier: Apache-2.0
#include "network/rules.h"

#include <netinet/in.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "base/log.h"
#include "network/rule_chains.h"
#include "sys/netlink_conntrack.h"
#include "sys/nft.h"

namespace caisson::network {

namespace {
// UDP flows are forgotten port by port; of a longer range they end by themselves, half a minute after the last packet.
constexpr uint16_t kMaxForgotten = 64;

// A UDP flow keeps the path it had with its first packet for as long as packets come: past a container that
// has just been published, or to one that is gone. TCP ends by itself.
void forget_flows(sys::NetlinkSocket& socket, const std::vector<PublishedPort>& ports) {
  for (const auto& port : ports) {
    if (port.protocol != IPPROTO_UDP || port.routed || port.count > kMaxForgotten) continue;
    for (uint16_t i = 0; i < port.count; ++i) {
      auto done = sys::forget_udp_flows(socket, port.host_address, static_cast<uint16_t>(port.host_port + i));
      if (!done && done.error().err != ENOENT) log_debug("%s, ignoring", done.error().message.c_str());
    }
  }
}
}  // namespace

// Closing a nfnetlink socket waits until the kernel has destroyed what recent batches deleted, 10 ms and
// more (nft_rcv_nl_event flushes that work), so sockets are kept: as many as were in use at once.
struct Rules::Sockets {
  std::mutex mutex;
  std::vector<sys::NetlinkSocket> idle;
};

struct Rules::Element {
  bool v6 = false;
  std::string_view map;
  std::string key, last, data;
  auto operator<=>(const Element&) const = default;

  void add_to(sys::NftBatch& batch) const {
    batch.use(family_of(v6));
    batch.add_element(map, key, last, data);
  }
  void remove_from(sys::NftBatch& batch) const {
    batch.use(family_of(v6));
    batch.delete_element(map, key, last);
  }
};

Rules::Rules(std::string table, bool ipv6)
    : table_(std::move(table)), ipv6_(ipv6), sockets_(std::make_unique<Sockets>()) {}
Rules::~Rules() = default;

std::vector<bool> Rules::families() const { return ipv6_ ? std::vector{false, true} : std::vector{false}; }

std::vector<Rules::Element> Rules::elements_of(const std::vector<PublishedPort>& ports) const {
  std::vector<Element> all;
  uint16_t relay = relay_port_;
  auto relayed = [&](const PublishedPort& port, const IpAddress& first, const IpAddress& last) {
    if (!relay || port.protocol != IPPROTO_TCP) return;
    all.push_back({true, kRelayed, key_bytes(port.protocol, first, port.host_port),
                   key_bytes(port.protocol, last, port.last_host_port()), port_bytes(relay).substr(0, 2)});
  };
  auto highest = [](bool v6) { return IpSubnet{any_ip(v6), 0}.last(); };
  for (const auto& port : ports) {
    const IpAddress &host = port.host_address, &own = port.container_address;
    if ((host.v6 || own.v6) && !ipv6_) continue;
    auto last_own = static_cast<uint16_t>(port.container_port + port.count - 1);
    if (port.routed || port.direct)
      all.push_back({own.v6, kDirect, key_bytes(port.protocol, own, port.container_port),
                     key_bytes(port.protocol, own, last_own), ""});
    if (port.routed) continue;
    if (port.relayed()) {
      relayed(port, host, host.is_any() ? highest(true) : host);
      continue;
    }
    const IpAddress loopback6{true, 1};
    if (host.v6 && (host.is_any() || host == loopback6)) relayed(port, loopback6, loopback6);
    if (port.count > 1 && port.host_port == port.container_port) {
      all.push_back({host.v6, kRanges, key_bytes(port.protocol, host, port.host_port),
                     key_bytes(port.protocol, host.is_any() ? highest(host.v6) : host, port.last_host_port()),
                     own.bytes()});
      continue;
    }
    for (uint16_t i = 0; i < port.count; ++i) {
      auto host_port = static_cast<uint16_t>(port.host_port + i);
      std::string data = own.bytes() + port_bytes(static_cast<uint16_t>(port.container_port + i));
      if (host.is_any())
        all.push_back({host.v6, kAnyMap, protocol_bytes(port.protocol) + port_bytes(host_port), "", std::move(data)});
      else
        all.push_back({host.v6, kAtMap, key_bytes(port.protocol, host, host_port), "", std::move(data)});
    }
  }
  return all;
}

Result<> Rules::with_socket(const std::function<Result<>(sys::NetlinkSocket&)>& use) const {
  std::optional<sys::NetlinkSocket> socket;
  {
    std::lock_guard lock(sockets_->mutex);
    if (!sockets_->idle.empty()) {
      socket = std::move(sockets_->idle.back());
      sockets_->idle.pop_back();
    }
  }
  if (!socket) socket = TRY(sys::open_nft_socket());
  auto done = use(*socket);
  // An unexpected failure may have left answers unread; a new socket is the cheap way to be sure.
  if (!done && done.error().kind == ErrorKind::kTimeout) return done;
  std::lock_guard lock(sockets_->mutex);
  sockets_->idle.push_back(std::move(*socket));
  return done;
}

Result<bool> Rules::exists() const {
  bool found = true;
  TRY(with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    for (bool v6 : families()) found = found && TRY(sys::nft_table_exists(socket, table_, family_of(v6)));
    return {};
  }));
  return found;
}

Result<> Rules::install(const std::vector<BridgeRules>& bridges) {
  std::string what = "install nftables table '" + table_ + "'";
  auto install = [&](sys::NetlinkSocket& socket, bool v6, bool anew) -> Result<> {
    sys::NftBatch batch(table_, family_of(v6));
    if (anew) batch.delete_table();
    // Of an engine that had --firewall=honor.
    if (!anew && !gate_ && TRY(sys::nft_chain_exists(socket, table_, std::string(kGate), family_of(v6)))) {
      batch.flush_chain(kGate);
      batch.delete_chain(kGate);
    }
    add_chains(batch, v6, anew, gate_, direct_routing_);
    for (const auto& bridge : bridges) change_bridge(batch, v6, bridge, true);
    return batch.commit(socket, what);
  };
  auto install_family = [&](sys::NetlinkSocket& socket, bool v6) -> Result<> {
    auto done = install(socket, v6, false);
    if (done || !TRY(sys::nft_table_exists(socket, table_, family_of(v6)))) return done;
    // A table of that name with other chains or maps, of another release: its elements cannot be kept.
    log_info("%s, replacing the table", done.error().message.c_str());
    return install(socket, v6, true);
  };
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    TRY(install_family(socket, false));
    if (!ipv6_) return {};
    auto done = install_family(socket, true);
    bool needed = std::any_of(bridges.begin(), bridges.end(), [](const BridgeRules& bridge) {
      return std::any_of(bridge.subnets.begin(), bridge.subnets.end(),
                         [](const SubnetRules& own) { return own.subnet.v6(); });
    });
    if (done || needed) return done;
    // A kernel without address translation for IPv6 still has IPv4 networks.
    log_warn("%s, going on without IPv6", done.error().message.c_str());
    ipv6_ = false;
    return {};
  });
}

Result<> Rules::add_bridge(const BridgeRules& bridge) const {
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    for (bool v6 : families()) {
      batch.use(family_of(v6));
      change_bridge(batch, v6, bridge, true);
    }
    return batch.commit(socket, "add bridge '" + bridge.bridge + "' to the rules");
  });
}

Result<> Rules::remove_bridge(const BridgeRules& bridge) const {
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    for (bool v6 : families()) {
      batch.use(family_of(v6));
      change_bridge(batch, v6, bridge, false);
    }
    return batch.commit(socket, "take bridge '" + bridge.bridge + "' out of the rules");
  });
}

// Absent ones are passed over.
Result<> Rules::remove_each(sys::NetlinkSocket& socket, const std::vector<Element>& elements) const {
  for (const auto& element : elements) {
    sys::NftBatch batch(table_);
    element.remove_from(batch);
    auto done = batch.commit(socket, "remove a published port");
    if (!done && done.error().err != ENOENT) return done;
  }
  return {};
}

Result<> Rules::publish(const std::vector<PublishedPort>& ports, bool anew) const {
  auto elements = elements_of(ports);
  if (elements.empty()) return {};
  auto add = [&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    for (const auto& element : elements) element.add_to(batch);
    return batch.commit(socket, "publish ports");
  };
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    auto done = add(socket);
    if (!done && (done.error().err == EEXIST || done.error().err == EBUSY || done.error().err == ENOTEMPTY)) {
      // Elements an engine before us left behind point elsewhere; the port table says they are nobody's.
      TRY(remove_each(socket, elements));
      done = add(socket);
    }
    if (done && anew) forget_flows(socket, ports);
    return done;
  });
}

void Rules::unpublish(const std::vector<PublishedPort>& ports) const {
  auto elements = elements_of(ports);
  if (elements.empty()) return;
  auto done = with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    for (const auto& element : elements) element.remove_from(batch);
    // One that is gone already fails the batch: the others still have to go.
    if (!batch.commit(socket, "unpublish ports")) TRY(remove_each(socket, elements));
    forget_flows(socket, ports);
    return {};
  });
  if (!done) log_error("%s, ignoring", done.error().message.c_str());
}

Result<> Rules::retain(const std::vector<PublishedPort>& wanted) const {
  std::vector<Element> keep = elements_of(wanted), stale;
  std::sort(keep.begin(), keep.end());
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    for (bool v6 : families())
      for (auto map : {kAtMap, kAnyMap, kRanges, kRelayed, kDirect}) {
        auto visit = [&](const sys::NftElement& found) {
          Element element{v6, map, std::string(found.key), std::string(found.last), std::string(found.data)};
          if (!std::binary_search(keep.begin(), keep.end(), element)) stale.push_back(std::move(element));
        };
        TRY(sys::list_nft_elements(socket, table_, std::string(map), visit, family_of(v6)));
      }
    TRY(remove_each(socket, stale));
    if (!stale.empty()) log_info("removed %zu published ports that no container has", stale.size());
    return {};
  });
}

Result<> Rules::remove() const {
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    for (bool v6 : {false, true}) {
      sys::NftBatch batch(table_, family_of(v6));
      batch.delete_table();
      auto done = batch.commit(socket, "delete nftables table '" + table_ + "'");
      if (!done && done.error().err != ENOENT) return done;
    }
    return {};
  });
}

}  // namespace caisson::network
