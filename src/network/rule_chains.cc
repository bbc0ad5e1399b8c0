// SPDX-License-Identifier: Apache-2.0
// The tables in nft's language, shown for IPv4; docs/decisions/0006 and 0020 have the reasons.
//
//   map published_at { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service }
//   map published    { type inet_proto . inet_service : ipv4_addr . inet_service }
//   map ranges       { type inet_proto . ipv4_addr . inet_service : ipv4_addr; flags interval }, the port stays
//   map relayed      { type inet_proto . ipv4_addr . inet_service : inet_service; flags interval }, IPv6 only
//   set direct       { type inet_proto . ipv4_addr . inet_service; flags interval }, ports of containers
//   set bridges, internal, open, routed { type ifname }   open: every port is; routed: those of `direct` are
//   set same, trusted { type ifname . ifname }   same: each bridge with itself; trusted: from where `direct` is open
//   set subnets, outbound { type ipv4_addr; flags interval }, outbound: those that get the host's address outside
//   map sources      { type ifname : ipv4_addr }, bridges whose containers get that address outside
//   chain guard       { type filter hook prerouting priority raw }    iifname != lo: 127/8 as either end: drop
//   chain prerouting  { type nat hook prerouting priority dstnat }    fib daddr type local jump publish
//   chain output      { type nat hook output priority dstnat }        fib daddr type local jump publish
//   chain publish     redirect by @relayed; dnat by @published_at, @published, @ranges
//   chain postrouting { type nat hook postrouting priority srcnat }   masquerade, see below
//   chain forward     { type filter hook forward priority filter }    to our bridges: known or published only
//   chain admin       never written by the engine; what passes our bridges goes through it first
// With --firewall=honor (docs/decisions/0024) chain prerouting is empty, and there is
//   chain gate        { type filter hook input priority 90 }          new, to us, published: queue to caisson-gate
#include "network/rule_chains.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <vector>

namespace caisson::network {

namespace {
constexpr std::string_view kSources = "sources", kBridges = "bridges", kInternal = "internal", kSame = "same",
                           kSubnets = "subnets", kOutbound = "outbound", kOpen = "open", kRouted = "routed",
                           kTrusted = "trusted", kAdmin = "admin";
constexpr uint32_t kDestinationPort = 2;  // RFC 9293, 768, 9260
// linux/netfilter/nf_conntrack_common.h: IPS_DST_NAT, and NF_CT_STATE_BIT of established and related.
constexpr uint32_t kStatusDstNat = 1 << 5, kStateKnown = 1 << 1 | 1 << 2, kStateNew = 1 << 3;
// After every filter (0, or 10 of firewalld), before source addresses are translated (100): the packet is as it came.
constexpr int kGatePriority = 90;
// What differs between the families. Registers are of 4 bytes.
struct Layout {
  bool v6;
  uint32_t size() const { return v6 ? 16 : 4; }
  uint8_t registers() const { return v6 ? 4 : 1; }
  uint32_t source() const { return v6 ? 8 : 12; }  // offsets, RFC 8200 and 791
  uint32_t destination() const { return v6 ? 24 : 16; }
  uint32_t type() const { return v6 ? sys::kNftIpv6 : sys::kNftIpv4; }
  uint32_t key_type() const { return sys::nft_concat(sys::kNftProtocol, type(), sys::kNftService); }
  uint32_t key_size() const { return 4 + size() + 4; }
  std::vector<uint32_t> key_parts() const { return {1, size(), 2}; }
  uint8_t icmp() const { return v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP; }
};

std::string number(uint32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }
std::string interface_bytes(std::string_view name) {
  std::string padded(16, '\0');
  name.copy(padded.data(), padded.size() - 1);
  return padded;
}

const IpSubnet& loopback4() {
  static const IpSubnet subnet{IpAddress::ipv4(127u << 24), 8};
  return subnet;
}

// Conditions, in the words of the table above. Register 0 is scratch (interface names take 0-3 and 4-7).
struct Conditions {
  sys::NftBatch& batch;
  Layout layout;

  void not_loopback() {
    batch.load_meta(NFT_META_IIFNAME, 0);
    batch.compare(0, false, interface_bytes("lo"));
  }
  void not_to_loopback() {
    batch.load_meta(NFT_META_OIFNAME, 0);
    batch.compare(0, false, interface_bytes("lo"));
  }
  void interface(uint32_t key, std::string_view set, bool is_in) {
    batch.load_meta(key, 0);
    batch.member(set, 0, is_in);
  }
  void both_interfaces(std::string_view set, bool is_in) {
    batch.load_meta(NFT_META_IIFNAME, 0);
    batch.load_meta(NFT_META_OIFNAME, 4);
    batch.member(set, 0, is_in);
  }
  void source(std::string_view set) {
    batch.load_network(layout.source(), layout.size(), 0);
    batch.member(set, 0, true);
  }
  void address(uint32_t offset, const IpSubnet& subnet) {
    batch.load_network(offset, layout.size(), 0);
    batch.mask(0, IpAddress{subnet.v6(), ~subnet.host_mask()}.bytes());
    batch.compare(0, true, subnet.network().bytes());
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
  void protocol(uint8_t value) {
    batch.load_meta(NFT_META_L4PROTO, 0);
    batch.compare(0, true, std::string(1, static_cast<char>(value)));
  }
  // Protocol, destination and port, from register 0 on.
  void load_key() {
    batch.load_meta(NFT_META_L4PROTO, 0);
    batch.load_network(layout.destination(), layout.size(), 1);
    batch.load_transport(kDestinationPort, 2, static_cast<uint8_t>(1 + layout.registers()));
  }
};

// Where a looked-up target begins: behind the longest key.
constexpr uint8_t kTarget = 8;

void add_publish_rules(sys::NftBatch& batch, Conditions& when) {
  auto rule = [&](auto&& body) {
    batch.begin_rule("publish");
    body();
    batch.end_rule();
  };
  auto port_of_target = static_cast<uint8_t>(kTarget + when.layout.registers());
  if (when.layout.v6) {
    rule([&] {
      when.load_key();
      batch.lookup(kRelayed, 0, kTarget);
      batch.redirect(kTarget);
    });
    // Nothing that comes from ::1 leaves the host, however it is translated.
    rule([&] {
      batch.load_network(when.layout.destination(), 16, 0);
      batch.compare(0, true, IpAddress{true, 1}.bytes());
      batch.verdict(NFT_RETURN);
    });
  }
  rule([&] {
    when.load_key();
    batch.lookup(kAtMap, 0, kTarget);
    batch.dnat(kTarget, port_of_target);
  });
  rule([&] {
    batch.load_meta(NFT_META_L4PROTO, 0);
    batch.load_transport(kDestinationPort, 2, 1);
    batch.lookup(kAnyMap, 0, kTarget);
    batch.dnat(kTarget, port_of_target);
  });
  rule([&] {
    when.load_key();
    batch.lookup(kRanges, 0, kTarget);
    batch.dnat(kTarget);
  });
}

// What the host's own filter let pass, by the same maps as chain publish. Nothing is looked up in `relayed`: the relay
// is for the host itself then. Packets from lo are what the program sent and no map knows any more, or the host's own.
void add_gate_rules(sys::NftBatch& batch, Conditions& when, const GateRule& gate) {
  auto rule = [&](auto&& load, std::string_view map) {
    batch.begin_rule(kGate);
    when.not_loopback();
    when.ct_bits(NFT_CT_STATE, kStateNew);
    when.to_local();
    load();
    batch.lookup(map, 0, kTarget);
    batch.queue(gate.queue, gate.native);
    batch.end_rule();
  };
  rule([&] { when.load_key(); }, kAtMap);
  rule(
      [&] {
        batch.load_meta(NFT_META_L4PROTO, 0);
        batch.load_transport(kDestinationPort, 2, 1);
      },
      kAnyMap);
  rule([&] { when.load_key(); }, kRanges);
}

void add_address_rules(sys::NftBatch& batch, const Layout& layout, const std::optional<GateRule>& gate) {
  Conditions when{batch, layout};
  auto rule = [&](const char* chain, auto&& body) {
    batch.begin_rule(chain);
    body();
    batch.end_rule();
  };

  // route_localnet is on for our bridges so that 127.0.0.1:PORT of the host reaches a container; without
  // these rules neighbours and containers could reach the host's own loopback services with it, or a port
  // published on 127.0.0.1 only. IPv6 has nothing of the kind.
  if (!layout.v6)
    for (uint32_t offset : {layout.source(), layout.destination()})
      rule("guard", [&] {
        when.not_loopback();
        when.address(offset, loopback4());
        batch.verdict(NF_DROP);
      });

  for (const char* chain : {"prerouting", "output"}) {
    if (gate && chain == std::string_view("prerouting")) continue;
    rule(chain, [&] {
      when.to_local();
      batch.verdict(NFT_JUMP, "publish");
    });
  }
  if (gate) add_gate_rules(batch, when, *gate);
  add_publish_rules(batch, when);

  rule("postrouting", [&] {
    when.interface(NFT_META_OIFNAME, kBridges, false);
    batch.load_meta(NFT_META_IIFNAME, 0);
    batch.lookup(kSources, 0, kTarget);
    batch.snat(kTarget);
  });
  // What the host says to a bridge's address of its own stays on lo, with that address as its source.
  rule("postrouting", [&] {
    when.not_to_loopback();
    when.interface(NFT_META_OIFNAME, kBridges, false);
    when.source(kOutbound);
    batch.masquerade();
  });
  // From one of our networks to another by a published port: the answer comes back through the host by itself,
  // so the client keeps its address. Frames that br_netfilter shows have no iifname here.
  rule("postrouting", [&] {
    when.interface(NFT_META_IIFNAME, kBridges, true);
    when.interface(NFT_META_OIFNAME, kBridges, true);
    when.both_interfaces(kSame, false);
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
  if (layout.v6) return;
  rule("postrouting", [&] {
    when.interface(NFT_META_OIFNAME, kBridges, true);
    when.address(layout.source(), loopback4());
    when.ct_bits(NFT_CT_STATUS, kStatusDstNat);
    batch.masquerade();
  });
}

void add_forward_rules(sys::NftBatch& batch, const Layout& layout, bool direct_routing) {
  Conditions when{batch, layout};
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
    when.both_interfaces(kSame, true);
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
    when.interface(NFT_META_OIFNAME, kOpen, true);
    batch.verdict(NF_ACCEPT);
  });
  rule([&] {
    when.interface(NFT_META_OIFNAME, kRouted, true);
    when.load_key();
    batch.member(kDirect, 0, true);
    batch.verdict(NF_ACCEPT);
  });
  rule([&] {
    when.interface(NFT_META_OIFNAME, kRouted, true);
    when.protocol(layout.icmp());
    batch.verdict(NF_ACCEPT);
  });
  rule([&] {
    when.both_interfaces(kTrusted, true);
    when.load_key();
    batch.member(kDirect, 0, true);
    batch.verdict(NF_ACCEPT);
  });
  // Not from one of our networks to another: those are apart.
  if (direct_routing)
    rule([&] {
      when.interface(NFT_META_IIFNAME, kBridges, false);
      when.interface(NFT_META_OIFNAME, kBridges, true);
      when.load_key();
      batch.member(kDirect, 0, true);
      batch.verdict(NF_ACCEPT);
    });
  rule([&] {
    when.interface(NFT_META_OIFNAME, kBridges, true);
    batch.verdict(NF_DROP);
  });
}

void add_skeleton(sys::NftBatch& batch, const Layout& layout, bool gate) {
  using sys::NftHook;
  batch.add_table();
  batch.add_base_chain("guard", "filter", NftHook::kPrerouting, -300);
  batch.add_base_chain("prerouting", "nat", NftHook::kPrerouting, -100);
  batch.add_base_chain("output", "nat", NftHook::kOutput, -100);
  batch.add_base_chain("postrouting", "nat", NftHook::kPostrouting, 100);
  batch.add_base_chain("forward", "filter", NftHook::kForward, 0);
  if (gate) batch.add_base_chain(kGate, "filter", NftHook::kInput, kGatePriority);
  batch.add_chain("publish");
  batch.add_chain(kAdmin);
  uint32_t target = sys::nft_concat(layout.type(), sys::kNftService), target_size = layout.size() + 4;
  batch.add_map({kAtMap, layout.key_type(), layout.key_size(), target, target_size, {}});
  batch.add_map({kAnyMap, sys::nft_concat(sys::kNftProtocol, sys::kNftService), 8, target, target_size, {}});
  batch.add_map({kRanges, layout.key_type(), layout.key_size(), layout.type(), layout.size(), layout.key_parts()});
  if (layout.v6)
    batch.add_map({kRelayed, layout.key_type(), layout.key_size(), sys::kNftService, 2, layout.key_parts()});
  batch.add_map({kDirect, layout.key_type(), layout.key_size(), 0, 0, layout.key_parts()});
  batch.add_map({kSources, sys::kNftInterfaceName, 16, layout.type(), layout.size(), {}});
  for (auto set : {kBridges, kInternal, kOpen, kRouted}) batch.add_set(set, sys::kNftInterfaceName, 16);
  for (auto set : {kSame, kTrusted})
    batch.add_set(set, sys::nft_concat(sys::kNftInterfaceName, sys::kNftInterfaceName), 32);
  for (auto set : {kSubnets, kOutbound}) batch.add_set(set, layout.type(), layout.size(), true);
}

constexpr std::string_view kRuleChains[] = {"guard", "prerouting", "output", "publish", "postrouting", "forward"};
constexpr std::string_view kBridgeSets[] = {kBridges, kInternal, kOpen,     kRouted, kSame,
                                            kTrusted, kSubnets,  kOutbound, kSources};

}  // namespace

void add_chains(sys::NftBatch& batch, bool v6, bool anew, const std::optional<GateRule>& gate, bool direct_routing) {
  Layout layout{v6};
  add_skeleton(batch, layout, gate.has_value());
  if (!anew) {
    for (auto chain : kRuleChains) batch.flush_chain(chain);
    if (gate) batch.flush_chain(kGate);
    for (auto set : kBridgeSets) batch.flush_set(set);
  }
  add_address_rules(batch, layout, gate);
  add_forward_rules(batch, layout, direct_routing);
}

void change_bridge(sys::NftBatch& batch, bool v6, const BridgeRules& rules, bool add) {
  std::string name = interface_bytes(rules.bridge);
  auto key = [&](std::string_view set, const std::string& bytes) {
    add ? batch.add_key(set, bytes) : batch.delete_key(set, bytes);
  };
  key(kBridges, name);
  key(kSame, name + name);
  if (rules.internal) key(kInternal, name);
  for (const auto& interface : rules.trusted) key(kTrusted, interface_bytes(interface) + name);
  for (const auto& own : rules.subnets) {
    if (own.subnet.v6() != v6) continue;
    if (own.mode == GatewayMode::kNatUnprotected) key(kOpen, name);
    if (own.mode == GatewayMode::kRouted) key(kRouted, name);
    IpAddress after = own.subnet.last();
    ++after.value;
    auto range = [&](std::string_view set) {
      std::string first = own.subnet.network().bytes(), end = after.bytes();
      add ? batch.add_range(set, first, end) : batch.delete_range(set, first, end);
    };
    range(kSubnets);
    if (!own.masquerade || rules.internal || own.mode == GatewayMode::kRouted) continue;
    if (!own.source)
      range(kOutbound);
    else if (add)
      batch.add_element(kSources, name, own.source->bytes());
    else
      batch.delete_element(kSources, name);
  }
}

}  // namespace caisson::network
