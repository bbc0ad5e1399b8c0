// SPDX-License-Identifier: Apache-2.0
// nf_tables over nfnetlink: one atomic batch of tables, chains, maps, rules and elements, of family ip or ip6.
// Covers the expressions this project's rules need, not the language of nft(8).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/netlink.h"

namespace caisson::sys {

enum class NftHook : uint8_t { kPrerouting = 0, kInput = 1, kForward = 2, kOutput = 3, kPostrouting = 4 };

// Types of map keys and data as nft(8) numbers them; the kernel only stores them, nft shows maps with them.
inline constexpr uint32_t kNftIpv4 = 7, kNftIpv6 = 8, kNftProtocol = 12, kNftService = 13, kNftInterfaceName = 41;
constexpr uint32_t nft_concat(uint32_t a, uint32_t b) { return a << 6 | b; }
constexpr uint32_t nft_concat(uint32_t a, uint32_t b, uint32_t c) { return nft_concat(nft_concat(a, b), c); }

enum class NftFamily : uint8_t { kIpv4 = 2, kIpv6 = 10 };

// One of a set or map; `last` is empty unless its elements are ranges of concatenated keys.
struct NftElement {
  std::string_view key, last, data;
};

// The 4-byte registers 0-15; a concatenated key or value takes consecutive ones.
using NftRegister = uint8_t;

class NftBatch {
 public:
  explicit NftBatch(std::string table, NftFamily family = NftFamily::kIpv4);
  // What comes after is about the table of that family; a batch may hold both.
  void use(NftFamily family) { family_ = family; }

  void add_table();     // there already is fine
  void delete_table();  // with all it holds; an absent one fails the batch
  void add_chain(std::string_view name);
  void add_base_chain(std::string_view name, std::string_view type, NftHook hook, int priority);
  void flush_chain(std::string_view name);
  void delete_chain(std::string_view name);

  struct Map {
    std::string_view name;
    uint32_t key_type = 0, key_size = 0, data_type = 0, data_size = 0;
    // Sizes of the parts of the key: its elements are ranges in each part. Empty: they are single keys.
    std::vector<uint32_t> range_parts;
  };
  void add_map(const Map& map);  // a set when data_size is 0
  // A set; `interval`: its elements are ranges, each a first key and the one after the last.
  void add_set(std::string_view name, uint32_t key_type, uint32_t key_size, bool interval = false);
  void add_key(std::string_view set, std::string_view key);
  void delete_key(std::string_view set, std::string_view key);
  void add_range(std::string_view set, std::string_view first, std::string_view after);
  void delete_range(std::string_view set, std::string_view first, std::string_view after);
  void flush_set(std::string_view set);
  void add_element(std::string_view map, std::string_view key, std::string_view data);
  void delete_element(std::string_view map, std::string_view key);
  // Of a map of ranges; `last` is part of the range.
  void add_element(std::string_view map, std::string_view key, std::string_view last, std::string_view data);
  void delete_element(std::string_view map, std::string_view key, std::string_view last);

  // A rule is begin_rule, expressions in order, end_rule.
  void begin_rule(std::string_view chain);
  void end_rule();
  void load_meta(uint32_t key, NftRegister to);  // NFT_META_*
  void load_ct(uint32_t key, NftRegister to);    // NFT_CT_*
  void load_network(uint32_t offset, uint32_t size, NftRegister to);
  void load_transport(uint32_t offset, uint32_t size, NftRegister to);
  void load_address_type(NftRegister to);             // of the destination: RTN_LOCAL...
  void mask(NftRegister reg, std::string_view bits);  // as in the register, network order for addresses
  void load_value(NftRegister to, std::string_view value);
  void compare(NftRegister reg, bool equal, std::string_view value);
  void lookup(std::string_view map, NftRegister key, NftRegister data);
  void member(std::string_view set, NftRegister key, bool is_in);  // the rule goes on if it is, or is not, in the set
  void dnat(NftRegister address, NftRegister port);
  void dnat(NftRegister address);  // the port stays
  void snat(NftRegister address);
  void redirect(NftRegister port);  // to the host itself
  void masquerade();
  void verdict(int code, std::string_view chain = {});  // NF_ACCEPT, NF_DROP, NFT_JUMP...
  // To the program at that queue; accepted when there is none. `native` false: by the target that xtables has for it,
  // of kernels without the expression (CONFIG_NFT_QUEUE).
  void queue(uint16_t number, bool native);

  // All or nothing. kNotFound when the table or something it names is not there.
  Result<> commit(NetlinkSocket& socket, std::string_view what);

 private:
  void begin(uint16_t message, uint16_t flags);
  void element(uint16_t message, uint16_t flags, std::string_view map, const NftElement& element);
  void nat(uint32_t type, NftRegister address, std::optional<NftRegister> port);
  void range(uint16_t message, uint16_t flags, std::string_view set, std::string_view first, std::string_view after);
  void begin_expression(const char* name);
  void end_expression();
  void put_register(uint16_t type, NftRegister reg);
  void put_value(uint16_t type, std::string_view value);
  void load_payload(uint32_t base, uint32_t offset, uint32_t size, NftRegister to);

  std::string table_;
  NftFamily family_;
  NetlinkBuilder out_;
  uint32_t map_id_ = 0;
};

Result<NetlinkSocket> open_nft_socket();
// A socket that gets every change of rules, of whomever.
Result<NetlinkSocket> open_nft_events();
// The name of the table that the message says is deleted, of any family; nullopt for others.
std::optional<std::string_view> parse_nft_deleted_table(const NetlinkMessage& message);
Result<bool> nft_table_exists(NetlinkSocket& socket, const std::string& table, NftFamily family = NftFamily::kIpv4);
Result<bool> nft_chain_exists(NetlinkSocket& socket, const std::string& table, const std::string& chain,
                              NftFamily family = NftFamily::kIpv4);
// Elements of a map; an absent map has none.
Result<> list_nft_elements(NetlinkSocket& socket, const std::string& table, const std::string& map,
                           const std::function<void(const NftElement&)>& visit, NftFamily family = NftFamily::kIpv4);
// Those in one NFT_MSG_NEWSETELEM message.
void parse_nft_elements(const NetlinkMessage& message, const std::function<void(const NftElement&)>& visit);

}  // namespace caisson::sys
