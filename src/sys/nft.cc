// SPDX-License-Identifier: Apache-2.0
#include "sys/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_NFQUEUE.h>

namespace caisson::sys {

namespace {
constexpr uint16_t message_type(uint16_t message) { return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message); }

nfgenmsg family_header(NftFamily family) { return nfgenmsg{static_cast<uint8_t>(family), NFNETLINK_V0, 0}; }

static_assert(NFPROTO_IPV4 == static_cast<int>(NftFamily::kIpv4) && NFPROTO_IPV6 == static_cast<int>(NftFamily::kIpv6));

nfgenmsg batch_header() { return nfgenmsg{AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)}; }
}  // namespace

NftBatch::NftBatch(std::string table, NftFamily family) : table_(std::move(table)), family_(family) {
  out_.begin(NFNL_MSG_BATCH_BEGIN, 0);
  out_.header(batch_header());
}

void NftBatch::begin(uint16_t message, uint16_t flags) {
  out_.begin(message_type(message), flags);
  out_.header(family_header(family_));
}

void NftBatch::add_table() {
  begin(NFT_MSG_NEWTABLE, NLM_F_CREATE);
  out_.put_string(NFTA_TABLE_NAME, table_);
}

void NftBatch::delete_table() {
  begin(NFT_MSG_DELTABLE, 0);
  out_.put_string(NFTA_TABLE_NAME, table_);
}

void NftBatch::add_chain(std::string_view name) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  out_.put_string(NFTA_CHAIN_TABLE, table_);
  out_.put_string(NFTA_CHAIN_NAME, name);
}

void NftBatch::add_base_chain(std::string_view name, std::string_view type, NftHook hook, int priority) {
  add_chain(name);
  out_.nest(NFTA_CHAIN_HOOK);
  out_.put_be32(NFTA_HOOK_HOOKNUM, static_cast<uint32_t>(hook));
  out_.put_be32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(priority));
  out_.end_nest();
  out_.put_be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
  out_.put_string(NFTA_CHAIN_TYPE, type);
}

void NftBatch::flush_chain(std::string_view name) {
  begin(NFT_MSG_DELRULE, 0);
  out_.put_string(NFTA_RULE_TABLE, table_);
  out_.put_string(NFTA_RULE_CHAIN, name);
}

void NftBatch::delete_chain(std::string_view name) {
  begin(NFT_MSG_DELCHAIN, 0);
  out_.put_string(NFTA_CHAIN_TABLE, table_);
  out_.put_string(NFTA_CHAIN_NAME, name);
}

void NftBatch::add_set(std::string_view name, uint32_t key_type, uint32_t key_size, bool interval) {
  begin(NFT_MSG_NEWSET, NLM_F_CREATE);
  out_.put_string(NFTA_SET_TABLE, table_);
  out_.put_string(NFTA_SET_NAME, name);
  if (interval) out_.put_be32(NFTA_SET_FLAGS, NFT_SET_INTERVAL);
  out_.put_be32(NFTA_SET_KEY_TYPE, key_type);
  out_.put_be32(NFTA_SET_KEY_LEN, key_size);
  out_.put_be32(NFTA_SET_ID, ++map_id_);
}

void NftBatch::add_map(const Map& map) {
  begin(NFT_MSG_NEWSET, NLM_F_CREATE);
  out_.put_string(NFTA_SET_TABLE, table_);
  out_.put_string(NFTA_SET_NAME, map.name);
  uint32_t flags = map.data_size ? NFT_SET_MAP : 0u;
  if (!map.range_parts.empty()) flags |= NFT_SET_INTERVAL | NFT_SET_CONCAT;
  out_.put_be32(NFTA_SET_FLAGS, flags);
  out_.put_be32(NFTA_SET_KEY_TYPE, map.key_type);
  out_.put_be32(NFTA_SET_KEY_LEN, map.key_size);
  if (map.data_size) {
    out_.put_be32(NFTA_SET_DATA_TYPE, map.data_type);
    out_.put_be32(NFTA_SET_DATA_LEN, map.data_size);
  }
  out_.put_be32(NFTA_SET_ID, ++map_id_);
  if (map.range_parts.empty()) return;
  out_.nest(NFTA_SET_DESC);
  out_.nest(NFTA_SET_DESC_CONCAT);
  for (uint32_t size : map.range_parts) {
    out_.nest(NFTA_LIST_ELEM);
    out_.put_be32(NFTA_SET_FIELD_LEN, size);
    out_.end_nest();
  }
  out_.end_nest();
  out_.end_nest();
}

void NftBatch::element(uint16_t message, uint16_t flags, std::string_view map, const NftElement& element) {
  begin(message, flags);
  out_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
  out_.put_string(NFTA_SET_ELEM_LIST_SET, map);
  out_.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
  out_.nest(NFTA_LIST_ELEM);
  put_value(NFTA_SET_ELEM_KEY, element.key);
  if (!element.last.empty()) put_value(NFTA_SET_ELEM_KEY_END, element.last);
  if (!element.data.empty()) put_value(NFTA_SET_ELEM_DATA, element.data);
  out_.end_nest();
  out_.end_nest();
}

void NftBatch::add_element(std::string_view map, std::string_view key, std::string_view data) {
  element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, map, {key, {}, data});
}

void NftBatch::add_element(std::string_view map, std::string_view key, std::string_view last, std::string_view data) {
  element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, map, {key, last, data});
}

void NftBatch::delete_element(std::string_view map, std::string_view key) {
  element(NFT_MSG_DELSETELEM, 0, map, {key, {}, {}});
}

void NftBatch::delete_element(std::string_view map, std::string_view key, std::string_view last) {
  element(NFT_MSG_DELSETELEM, 0, map, {key, last, {}});
}

void NftBatch::add_key(std::string_view set, std::string_view key) {
  element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, {key, {}, {}});
}

void NftBatch::delete_key(std::string_view set, std::string_view key) {
  element(NFT_MSG_DELSETELEM, 0, set, {key, {}, {}});
}

void NftBatch::range(uint16_t message, uint16_t flags, std::string_view set, std::string_view first,
                     std::string_view after) {
  begin(message, flags);
  out_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
  out_.put_string(NFTA_SET_ELEM_LIST_SET, set);
  out_.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
  out_.nest(NFTA_LIST_ELEM);
  put_value(NFTA_SET_ELEM_KEY, first);
  out_.end_nest();
  out_.nest(NFTA_LIST_ELEM);
  put_value(NFTA_SET_ELEM_KEY, after);
  out_.put_be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
  out_.end_nest();
  out_.end_nest();
}

void NftBatch::add_range(std::string_view set, std::string_view first, std::string_view after) {
  range(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, first, after);
}

void NftBatch::delete_range(std::string_view set, std::string_view first, std::string_view after) {
  range(NFT_MSG_DELSETELEM, 0, set, first, after);
}

void NftBatch::flush_set(std::string_view set) {
  begin(NFT_MSG_DELSETELEM, 0);
  out_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
  out_.put_string(NFTA_SET_ELEM_LIST_SET, set);
}

void NftBatch::begin_rule(std::string_view chain) {
  begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  out_.put_string(NFTA_RULE_TABLE, table_);
  out_.put_string(NFTA_RULE_CHAIN, chain);
  out_.nest(NFTA_RULE_EXPRESSIONS);
}

void NftBatch::end_rule() { out_.end_nest(); }

void NftBatch::begin_expression(const char* name) {
  out_.nest(NFTA_LIST_ELEM);
  out_.put_string(NFTA_EXPR_NAME, name);
  out_.nest(NFTA_EXPR_DATA);
}

void NftBatch::end_expression() {
  out_.end_nest();
  out_.end_nest();
}

void NftBatch::put_register(uint16_t type, NftRegister reg) { out_.put_be32(type, NFT_REG32_00 + reg); }

void NftBatch::put_value(uint16_t type, std::string_view value) {
  out_.nest(type);
  out_.attribute(NFTA_DATA_VALUE, value.data(), value.size());
  out_.end_nest();
}

void NftBatch::load_meta(uint32_t key, NftRegister to) {
  begin_expression("meta");
  put_register(NFTA_META_DREG, to);
  out_.put_be32(NFTA_META_KEY, key);
  end_expression();
}

void NftBatch::load_ct(uint32_t key, NftRegister to) {
  begin_expression("ct");
  put_register(NFTA_CT_DREG, to);
  out_.put_be32(NFTA_CT_KEY, key);
  end_expression();
}

void NftBatch::load_payload(uint32_t base, uint32_t offset, uint32_t size, NftRegister to) {
  begin_expression("payload");
  put_register(NFTA_PAYLOAD_DREG, to);
  out_.put_be32(NFTA_PAYLOAD_BASE, base);
  out_.put_be32(NFTA_PAYLOAD_OFFSET, offset);
  out_.put_be32(NFTA_PAYLOAD_LEN, size);
  end_expression();
}

void NftBatch::load_network(uint32_t offset, uint32_t size, NftRegister to) {
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, offset, size, to);
}

void NftBatch::load_transport(uint32_t offset, uint32_t size, NftRegister to) {
  load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, size, to);
}

void NftBatch::load_address_type(NftRegister to) {
  begin_expression("fib");
  put_register(NFTA_FIB_DREG, to);
  out_.put_be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  out_.put_be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  end_expression();
}

void NftBatch::mask(NftRegister reg, std::string_view bits) {
  begin_expression("bitwise");
  put_register(NFTA_BITWISE_SREG, reg);
  put_register(NFTA_BITWISE_DREG, reg);
  out_.put_be32(NFTA_BITWISE_LEN, static_cast<uint32_t>(bits.size()));
  put_value(NFTA_BITWISE_MASK, bits);
  put_value(NFTA_BITWISE_XOR, std::string(bits.size(), '\0'));
  end_expression();
}

void NftBatch::load_value(NftRegister to, std::string_view value) {
  begin_expression("immediate");
  put_register(NFTA_IMMEDIATE_DREG, to);
  put_value(NFTA_IMMEDIATE_DATA, value);
  end_expression();
}

void NftBatch::compare(NftRegister reg, bool equal, std::string_view value) {
  begin_expression("cmp");
  put_register(NFTA_CMP_SREG, reg);
  out_.put_be32(NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
  put_value(NFTA_CMP_DATA, value);
  end_expression();
}

void NftBatch::lookup(std::string_view map, NftRegister key, NftRegister data) {
  begin_expression("lookup");
  out_.put_string(NFTA_LOOKUP_SET, map);
  put_register(NFTA_LOOKUP_SREG, key);
  put_register(NFTA_LOOKUP_DREG, data);
  end_expression();
}

void NftBatch::member(std::string_view set, NftRegister key, bool is_in) {
  begin_expression("lookup");
  out_.put_string(NFTA_LOOKUP_SET, set);
  put_register(NFTA_LOOKUP_SREG, key);
  if (!is_in) out_.put_be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  end_expression();
}

void NftBatch::nat(uint32_t type, NftRegister address, std::optional<NftRegister> port) {
  begin_expression("nat");
  out_.put_be32(NFTA_NAT_TYPE, type);
  out_.put_be32(NFTA_NAT_FAMILY, static_cast<uint32_t>(family_));
  put_register(NFTA_NAT_REG_ADDR_MIN, address);
  if (port) put_register(NFTA_NAT_REG_PROTO_MIN, *port);
  end_expression();
}

void NftBatch::dnat(NftRegister address, NftRegister port) { nat(NFT_NAT_DNAT, address, port); }
void NftBatch::dnat(NftRegister address) { nat(NFT_NAT_DNAT, address, std::nullopt); }
void NftBatch::snat(NftRegister address) { nat(NFT_NAT_SNAT, address, std::nullopt); }

void NftBatch::redirect(NftRegister port) {
  begin_expression("redir");
  put_register(NFTA_REDIR_REG_PROTO_MIN, port);
  end_expression();
}

void NftBatch::masquerade() {
  begin_expression("masq");
  end_expression();
}

void NftBatch::verdict(int code, std::string_view chain) {
  begin_expression("immediate");
  out_.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  out_.nest(NFTA_IMMEDIATE_DATA);
  out_.nest(NFTA_DATA_VERDICT);
  out_.put_be32(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
  if (!chain.empty()) out_.put_string(NFTA_VERDICT_CHAIN, chain);
  out_.end_nest();
  out_.end_nest();
  end_expression();
}

void NftBatch::queue(uint16_t number, bool native) {
  if (native) {
    begin_expression("queue");
    uint16_t first = htons(number), total = htons(1), flags = htons(NFT_QUEUE_FLAG_BYPASS);
    out_.attribute(NFTA_QUEUE_NUM, &first, sizeof first);
    out_.attribute(NFTA_QUEUE_TOTAL, &total, sizeof total);
    out_.attribute(NFTA_QUEUE_FLAGS, &flags, sizeof flags);
    end_expression();
    return;
  }
  begin_expression("target");
  out_.put_string(NFTA_TARGET_NAME, "NFQUEUE");
  out_.put_be32(NFTA_TARGET_REV, 3);
  struct alignas(8) {  // as XT_ALIGN has it
    xt_NFQ_info_v3 info;
  } padded{};
  padded.info = {.queuenum = number, .queues_total = 1, .flags = NFQ_FLAG_BYPASS};
  out_.attribute(NFTA_TARGET_INFO, &padded, sizeof padded);
  end_expression();
}

Result<> NftBatch::commit(NetlinkSocket& socket, std::string_view what) {
  // The acknowledgement is asked of the last real message: batch end got its own only in Linux 6.10.
  out_.add_flags(NLM_F_ACK);
  out_.begin(NFNL_MSG_BATCH_END, 0);
  out_.header(batch_header());
  return socket.transact(out_, what);
}

Result<NetlinkSocket> open_nft_socket() { return NetlinkSocket::open(NETLINK_NETFILTER); }

Result<NetlinkSocket> open_nft_events() { return NetlinkSocket::open(NETLINK_NETFILTER, 1u << (NFNLGRP_NFTABLES - 1)); }

std::optional<std::string_view> parse_nft_deleted_table(const NetlinkMessage& message) {
  if (message.type != message_type(NFT_MSG_DELTABLE)) return std::nullopt;
  auto name = message.attributes(sizeof(nfgenmsg)).find(NFTA_TABLE_NAME);
  if (!name) return std::nullopt;
  return name->text();
}

Result<bool> nft_table_exists(NetlinkSocket& socket, const std::string& table, NftFamily family) {
  NetlinkBuilder out;
  out.begin(message_type(NFT_MSG_GETTABLE), NLM_F_ACK);
  out.header(family_header(family));
  out.put_string(NFTA_TABLE_NAME, table);
  auto done = socket.transact(out, "find nftables table '" + table + "'");
  if (done) return true;
  if (done.error().err == ENOENT) return false;
  return std::unexpected(done.error());
}

Result<bool> nft_chain_exists(NetlinkSocket& socket, const std::string& table, const std::string& chain,
                              NftFamily family) {
  NetlinkBuilder out;
  out.begin(message_type(NFT_MSG_GETCHAIN), NLM_F_ACK);
  out.header(family_header(family));
  out.put_string(NFTA_CHAIN_TABLE, table);
  out.put_string(NFTA_CHAIN_NAME, chain);
  auto done = socket.transact(out, "find nftables chain '" + chain + "'");
  if (done) return true;
  if (done.error().err == ENOENT) return false;
  return std::unexpected(done.error());
}

void parse_nft_elements(const NetlinkMessage& message, const std::function<void(const NftElement&)>& visit) {
  if (message.type != message_type(NFT_MSG_NEWSETELEM)) return;
  auto elements = message.attributes(sizeof(nfgenmsg)).find(NFTA_SET_ELEM_LIST_ELEMENTS);
  if (!elements) return;
  NetlinkAttributes all(elements->payload);
  while (auto element = all.next()) {
    NetlinkAttributes parts(element->payload);
    auto value_of = [&](uint16_t type) -> std::string_view {
      auto part = parts.find(type);
      if (!part) return {};
      auto value = NetlinkAttributes(part->payload).find(NFTA_DATA_VALUE);
      return value ? value->payload : std::string_view();
    };
    NftElement found{value_of(NFTA_SET_ELEM_KEY), value_of(NFTA_SET_ELEM_KEY_END), value_of(NFTA_SET_ELEM_DATA)};
    if (!found.key.empty()) visit(found);
  }
}

Result<> list_nft_elements(NetlinkSocket& socket, const std::string& table, const std::string& map,
                           const std::function<void(const NftElement&)>& visit, NftFamily family) {
  NetlinkBuilder out;
  out.begin(message_type(NFT_MSG_GETSETELEM), NLM_F_DUMP);
  out.header(family_header(family));
  out.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
  out.put_string(NFTA_SET_ELEM_LIST_SET, map);
  auto done = socket.transact(out, "list nftables map '" + map + "'",
                              [&](const NetlinkMessage& message) { parse_nft_elements(message, visit); });
  if (!done && done.error().err == ENOENT) return {};
  return done;
}

}  // namespace caisson::sys
