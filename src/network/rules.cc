// SPDX-License-Identifier: Apache-2.0
// The table in nft's language; docs/decisions/0006 and 0020 have the reasons. B: set bridges, of all our bridges.
//
//   map published_at { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service }
//   map published    { type inet_proto . inet_service : ipv4_addr . inet_service }
//   set bridges, internal { type ifname }     set same { type ifname . ifname }, each bridge with itself
//   set subnets, outbound { type ipv4_addr; flags interval }, outbound: those that get the host's address outside
//   chain guard       { type filter hook prerouting priority raw }    iifname != lo: 127/8 as either end: drop
//   chain prerouting  { type nat hook prerouting priority dstnat }    fib daddr type local jump publish
//   chain output      { type nat hook output priority dstnat }        fib daddr type local jump publish
//   chain publish     dnat to proto . daddr . port map @published_at; dnat to proto . port map @published
//   chain postrouting { type nat hook postrouting priority srcnat }   masquerade, see below
//   chain forward     { type filter hook forward priority filter }    to our bridges: known or published only
//   chain admin       never written by the engine; what passes our bridges goes through it first
#include "network/rules.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/log.h"
#include "sys/netlink_conntrack.h"
#include "sys/nft.h"

namespace caisson::network {

namespace {
constexpr std::string_view kAtMap = "published_at", kAnyMap = "published";
constexpr std::string_view kBridges = "bridges", kInternal = "internal", kSame = "same", kSubnets = "subnets",
                           kOutbound = "outbound", kAdmin = "admin";
constexpr uint32_t kSourceOffset = 12, kDestinationOffset = 16, kDestinationPort = 2;  // RFC 791, 9293, 768
// linux/netfilter/nf_conntrack_common.h: IPS_DST_NAT, and NF_CT_STATE_BIT of established and related.
constexpr uint32_t kStatusDstNat = 1 << 5, kStateKnown = 1 << 1 | 1 << 2;

std::string number(uint32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }
std::string address_bytes(uint32_t address) { return number(htonl(address)); }
// Port and protocol fill a 4-byte register each, from its first byte.
std::string port_bytes(uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 255), '\0', '\0'};
}

std::string key_of(const PublishedPort& port) {
  std::string key{static_cast<char>(port.protocol), '\0', '\0', '\0'};
  if (port.host_address != INADDR_ANY) key += address_bytes(port.host_address);
  return key + port_bytes(port.host_port);
}
std::string data_of(const PublishedPort& port) {
  return address_bytes(port.container_address) + port_bytes(port.container_port);
}
std::string_view map_of(const PublishedPort& port) { return port.host_address == INADDR_ANY ? kAnyMap : kAtMap; }

std::string interface_bytes(std::string_view name) {
  std::string padded(16, '\0');
  name.copy(padded.data(), padded.size() - 1);
  return padded;
}

// Conditions, in the words of the table above. Register 0 is scratch (interface names take 0-3 and 4-7).
struct Conditions {
  sys::NftBatch& batch;

  void not_loopback() {
    batch.load_meta(NFT_META_IIFNAME, 0);
    batch.compare(0, false, interface_bytes("lo"));
  }
  void interface(uint32_t key, std::string_view set, bool is_in) {
    batch.load_meta(key, 0);
    batch.member(set, 0, is_in);
  }
  void same_bridge(bool is_so) {
    batch.load_meta(NFT_META_IIFNAME, 0);
    batch.load_meta(NFT_META_OIFNAME, 4);
    batch.member(kSame, 0, is_so);
  }
  void source(std::string_view set) {
    batch.load_network(kSourceOffset, 4, 0);
    batch.member(set, 0, true);
  }
  void address(uint32_t offset, const Subnet& subnet) {
    batch.load_network(offset, 4, 0);
    batch.mask(0, address_bytes(subnet.mask()));
    batch.compare(0, true, address_bytes(subnet.network()));
  }
  void ct_bits(uint32_t key, uint32_t bits) {
    batch.load_ct(key, 0);
    batch.mask(0, number(bits));
    batch.compare(0, false, number(0));
  }
  void to_local() {
    batch.load_address_type(0);
    batch.compare(0, true, number(RTN_LOCAL));
  }
};

void add_address_rules(sys::NftBatch& batch) {
  const Subnet loopback{127u << 24, 8};
  Conditions when{batch};
  auto rule = [&](const char* chain, auto&& body) {
    batch.begin_rule(chain);
    body();
    batch.end_rule();
  };

  // route_localnet is on for our bridges so that 127.0.0.1:PORT of the host reaches a container; without
  // these rules neighbours and containers could reach the host's own loopback services with it, or a port
  // published on 127.0.0.1 only.
  for (uint32_t offset : {kSourceOffset, kDestinationOffset})
    rule("guard", [&] {
      when.not_loopback();
      when.address(offset, loopback);
      batch.verdict(NF_DROP);
    });

  for (const char* chain : {"prerouting", "output"})
    rule(chain, [&] {
      when.to_local();
      batch.verdict(NFT_JUMP, "publish");
    });
  rule("publish", [&] {
    batch.load_meta(NFT_META_L4PROTO, 0);
    batch.load_network(kDestinationOffset, 4, 1);
    batch.load_transport(kDestinationPort, 2, 2);
    batch.lookup(kAtMap, 0, 0);
    batch.dnat(0, 1);
  });
  rule("publish", [&] {
    batch.load_meta(NFT_META_L4PROTO, 0);
    batch.load_transport(kDestinationPort, 2, 1);
    batch.lookup(kAnyMap, 0, 0);
    batch.dnat(0, 1);
  });

  rule("postrouting", [&] {
    when.interface(NFT_META_OIFNAME, kBridges, false);
    when.source(kOutbound);
    batch.masquerade();
  });
  // From one of our networks to another by a published port: the answer comes back through the host by itself,
  // so the client keeps its address. Frames that br_netfilter shows have no iifname here.
  rule("postrouting", [&] {
    when.interface(NFT_META_IIFNAME, kBridges, true);
    when.interface(NFT_META_OIFNAME, kBridges, true);
    when.same_bridge(false);
    batch.verdict(NF_ACCEPT);
  });
  // A container that comes in by a published port, its own or a neighbour's: the answer would otherwise
  // go straight over the bridge, from an address the client never spoke to. Likewise 127.0.0.1 as source.
  rule("postrouting", [&] {
    when.interface(NFT_META_OIFNAME, kBridges, true);
    when.source(kSubnets);
    when.ct_bits(NFT_CT_STATUS, kStatusDstNat);
    batch.masquerade();
  });
  rule("postrouting", [&] {
    when.interface(NFT_META_OIFNAME, kBridges, true);
    when.address(kSourceOffset, loopback);
    when.ct_bits(NFT_CT_STATUS, kStatusDstNat);
    batch.masquerade();
  });
}

void add_forward_rules(sys::NftBatch& batch) {
  Conditions when{batch};
  auto rule = [&](auto&& body) {
    batch.begin_rule("forward");
    body();
    batch.end_rule();
  };
  rule([&] {
    when.interface(NFT_META_IIFNAME, kBridges, false);
    when.interface(NFT_META_OIFNAME, kBridges, false);
    batch.verdict(NF_ACCEPT);
  });
  rule([&] { batch.verdict(NFT_JUMP, kAdmin); });
  rule([&] {
    when.ct_bits(NFT_CT_STATE, kStateKnown);
    batch.verdict(NF_ACCEPT);
  });
  rule([&] {
    when.same_bridge(true);
    batch.verdict(NF_ACCEPT);
  });
  for (uint32_t side : {NFT_META_IIFNAME, NFT_META_OIFNAME})
    rule([&] {
      when.interface(side, kInternal, true);
      batch.verdict(NF_DROP);
    });
  rule([&] {
    when.ct_bits(NFT_CT_STATUS, kStatusDstNat);
    batch.verdict(NF_ACCEPT);
  });
  rule([&] {
    when.interface(NFT_META_OIFNAME, kBridges, true);
    batch.verdict(NF_DROP);
  });
}

void add_skeleton(sys::NftBatch& batch) {
  using sys::NftHook;
  batch.add_table();
  batch.add_base_chain("guard", "filter", NftHook::kPrerouting, -300);
  batch.add_base_chain("prerouting", "nat", NftHook::kPrerouting, -100);
  batch.add_base_chain("output", "nat", NftHook::kOutput, -100);
  batch.add_base_chain("postrouting", "nat", NftHook::kPostrouting, 100);
  batch.add_base_chain("forward", "filter", NftHook::kForward, 0);
  batch.add_chain("publish");
  batch.add_chain(kAdmin);
  uint32_t target = sys::nft_concat(sys::kNftIpv4, sys::kNftService);
  batch.add_map({kAtMap, sys::nft_concat(sys::kNftProtocol, sys::kNftIpv4, sys::kNftService), 12, target, 8});
  batch.add_map({kAnyMap, sys::nft_concat(sys::kNftProtocol, sys::kNftService), 8, target, 8});
  batch.add_set(kBridges, sys::kNftInterfaceName, 16);
  batch.add_set(kInternal, sys::kNftInterfaceName, 16);
  batch.add_set(kSame, sys::nft_concat(sys::kNftInterfaceName, sys::kNftInterfaceName), 32);
  batch.add_set(kSubnets, sys::kNftIpv4, 4, true);
  batch.add_set(kOutbound, sys::kNftIpv4, 4, true);
}

constexpr std::string_view kRuleChains[] = {"guard", "prerouting", "output", "publish", "postrouting", "forward"};

void add_bridge_elements(sys::NftBatch& batch, const BridgeRules& rules) {
  std::string name = interface_bytes(rules.bridge);
  batch.add_key(kBridges, name);
  batch.add_key(kSame, name + name);
  if (rules.internal) batch.add_key(kInternal, name);
  std::string first = address_bytes(rules.subnet.network()), after = address_bytes(rules.subnet.broadcast() + 1);
  batch.add_range(kSubnets, first, after);
  if (rules.masquerade && !rules.internal) batch.add_range(kOutbound, first, after);
}

void delete_bridge_elements(sys::NftBatch& batch, const BridgeRules& rules) {
  std::string name = interface_bytes(rules.bridge);
  batch.delete_key(kBridges, name);
  batch.delete_key(kSame, name + name);
  if (rules.internal) batch.delete_key(kInternal, name);
  std::string first = address_bytes(rules.subnet.network()), after = address_bytes(rules.subnet.broadcast() + 1);
  batch.delete_range(kSubnets, first, after);
  if (rules.masquerade && !rules.internal) batch.delete_range(kOutbound, first, after);
}

// Absent is success.
Result<> remove_one(sys::NetlinkSocket& socket, const std::string& table, std::string_view map, std::string_view key) {
  sys::NftBatch batch(table);
  batch.delete_element(map, key);
  auto done = batch.commit(socket, "remove a published port");
  if (!done && done.error().err == ENOENT) return {};
  return done;
}

Result<> remove_each(sys::NetlinkSocket& socket, const std::string& table, const std::vector<PublishedPort>& ports) {
  for (const auto& port : ports) TRY(remove_one(socket, table, map_of(port), key_of(port)));
  return {};
}

// A UDP flow keeps the path it had with its first packet for as long as packets come: past a container that
// has just been published, or to one that is gone. TCP ends by itself.
void forget_flows(sys::NetlinkSocket& socket, const std::vector<PublishedPort>& ports) {
  for (const auto& port : ports) {
    if (port.protocol != IPPROTO_UDP) continue;
    auto done = sys::forget_udp_flows(socket, port.host_address, port.host_port);
    if (!done && done.error().err != ENOENT) log_debug("%s, ignoring", done.error().message.c_str());
  }
}
}  // namespace

// Closing a nfnetlink socket waits until the kernel has destroyed what recent batches deleted, 10 ms and
// more (nft_rcv_nl_event flushes that work), so sockets are kept: as many as were in use at once.
struct Rules::Sockets {
  std::mutex mutex;
  std::vector<sys::NetlinkSocket> idle;
};

Rules::Rules(std::string table) : table_(std::move(table)), sockets_(std::make_unique<Sockets>()) {}
Rules::~Rules() = default;

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
  bool found = false;
  TRY(with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    found = TRY(sys::nft_table_exists(socket, table_));
    return {};
  }));
  return found;
}

Result<> Rules::install(const std::vector<BridgeRules>& bridges) const {
  std::string what = "install nftables table '" + table_ + "'";
  auto install = [&](sys::NetlinkSocket& socket, bool anew) -> Result<> {
    sys::NftBatch batch(table_);
    if (anew) batch.delete_table();
    add_skeleton(batch);
    if (!anew) {
      for (auto chain : kRuleChains) batch.flush_chain(chain);
      for (auto set : {kBridges, kInternal, kSame, kSubnets, kOutbound}) batch.flush_set(set);
    }
    add_address_rules(batch);
    add_forward_rules(batch);
    for (const auto& bridge : bridges) add_bridge_elements(batch, bridge);
    return batch.commit(socket, what);
  };
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    auto done = install(socket, false);
    if (done || !TRY(sys::nft_table_exists(socket, table_))) return done;
    // A table of that name with other chains or maps, of another release: its elements cannot be kept.
    log_info("%s, replacing the table", done.error().message.c_str());
    return install(socket, true);
  });
}

Result<> Rules::add_bridge(const BridgeRules& bridge) const {
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    add_bridge_elements(batch, bridge);
    return batch.commit(socket, "add bridge '" + bridge.bridge + "' to the rules");
  });
}

Result<> Rules::remove_bridge(const BridgeRules& bridge) const {
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    delete_bridge_elements(batch, bridge);
    return batch.commit(socket, "take bridge '" + bridge.bridge + "' out of the rules");
  });
}

Result<> Rules::publish(const std::vector<PublishedPort>& ports, bool anew) const {
  if (ports.empty()) return {};
  auto add = [&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    for (const auto& port : ports) batch.add_element(map_of(port), key_of(port), data_of(port));
    return batch.commit(socket, "publish ports");
  };
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    auto done = add(socket);
    if (!done && (done.error().err == EEXIST || done.error().err == EBUSY)) {
      // Elements an engine before us left behind point elsewhere; the port table says they are nobody's.
      TRY(remove_each(socket, table_, ports));
      done = add(socket);
    }
    if (done && anew) forget_flows(socket, ports);
    return done;
  });
}

void Rules::unpublish(const std::vector<PublishedPort>& ports) const {
  if (ports.empty()) return;
  auto done = with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    for (const auto& port : ports) batch.delete_element(map_of(port), key_of(port));
    // One that is gone already fails the batch: the others still have to go.
    if (!batch.commit(socket, "unpublish ports")) TRY(remove_each(socket, table_, ports));
    forget_flows(socket, ports);
    return {};
  });
  if (!done) log_error("%s, ignoring", done.error().message.c_str());
}

Result<> Rules::retain(const std::vector<PublishedPort>& wanted) const {
  struct Element {
    std::string_view map;
    std::string key, data;
    auto operator<=>(const Element&) const = default;
  };
  std::vector<Element> keep, stale;
  for (const auto& port : wanted) keep.push_back({map_of(port), key_of(port), data_of(port)});
  std::sort(keep.begin(), keep.end());
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    for (auto map : {kAtMap, kAnyMap})
      TRY(sys::list_nft_elements(socket, table_, std::string(map), [&](std::string_view key, std::string_view data) {
        Element element{map, std::string(key), std::string(data)};
        if (!std::binary_search(keep.begin(), keep.end(), element)) stale.push_back(std::move(element));
      }));
    for (const auto& element : stale) TRY(remove_one(socket, table_, element.map, element.key));
    if (!stale.empty()) log_info("removed %zu published ports that no container has", stale.size());
    return {};
  });
}

Result<> Rules::remove() const {
  return with_socket([&](sys::NetlinkSocket& socket) -> Result<> {
    sys::NftBatch batch(table_);
    batch.delete_table();
    auto done = batch.commit(socket, "delete nftables table '" + table_ + "'");
    if (!done && done.error().err == ENOENT) return {};
    return done;
  });
}

}  // namespace caisson::network
