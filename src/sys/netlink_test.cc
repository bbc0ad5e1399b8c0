// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>
#include <map>

#include "sys/netlink.h"
#include "sys/nft.h"
#include "sys/rtnetlink.h"

using namespace caisson;
using namespace caisson::sys;

namespace {
std::string bytes_of(NetlinkBuilder& builder) {
  auto bytes = builder.finish();
  REQUIRE(bytes);
  return {bytes->data(), bytes->size()};
}

std::string raw(uint16_t type, uint16_t flags, std::string_view payload) {
  nlmsghdr head{static_cast<uint32_t>(sizeof head + payload.size()), type, flags, 7, 0};
  std::string out(reinterpret_cast<const char*>(&head), sizeof head);
  out += payload;
  out.resize((out.size() + 3) & ~size_t{3});
  return out;
}

template <class T>
std::string plain(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
}  // namespace

TEST_CASE("netlink: what was built is read back") {
  NetlinkBuilder builder;
  builder.begin(RTM_NEWLINK, NLM_F_ACK);
  ifinfomsg header{};
  header.ifi_index = 12;
  header.ifi_flags = 1;
  builder.header(header);
  builder.put_string(IFLA_IFNAME, "veth1");
  builder.put_u32(IFLA_MTU, 1400);
  builder.put_u8(IFLA_OPERSTATE, 6);
  builder.nest(IFLA_LINKINFO);
  builder.put_string(IFLA_INFO_KIND, "veth");
  builder.end_nest();
  builder.put_u32(IFLA_MASTER, 5);
  builder.begin(RTM_NEWADDR, 0);
  ifaddrmsg address{};
  address.ifa_family = AF_INET;
  address.ifa_prefixlen = 16;
  address.ifa_index = 12;
  builder.header(address);
  builder.put_be32(IFA_LOCAL, 0xac110002);
  std::string bytes = bytes_of(builder);
  CHECK(bytes.size() % 4 == 0);

  NetlinkMessages messages(bytes);
  auto first = messages.next();
  REQUIRE(first);
  CHECK(first->flags == (NLM_F_REQUEST | NLM_F_ACK));
  auto link = parse_link(*first);
  REQUIRE(link);
  CHECK(link->index == 12);
  CHECK(link->name == "veth1");
  CHECK(link->kind == "veth");
  CHECK(link->mtu == 1400);
  CHECK(link->master == 5);
  CHECK(link->up);
  CHECK(link->ready);
  CHECK(!parse_address(*first));
  auto second = messages.next();
  REQUIRE(second);
  auto found = parse_address(*second);
  REQUIRE(found);
  CHECK(found->address.address.text() == "172.17.0.2");
  CHECK(found->address.prefix == 16);
  CHECK(!messages.next());
}

TEST_CASE("netlink: mistakes while building are reported, not sent") {
  auto message_of = [](auto&& build) {
    NetlinkBuilder builder;
    build(builder);
    auto done = builder.finish();
    return done ? std::string("fine") : done.error().message;
  };
  CHECK(message_of([](NetlinkBuilder&) {}) == "build netlink message: no message");
  CHECK(message_of([](NetlinkBuilder& b) {
          b.begin(1, 0);
          for (int i = 0; i < 9; ++i) b.nest(1);
        }) == "build netlink message: nest left open");
  CHECK(message_of([](NetlinkBuilder& b) {
          b.begin(1, 0);
          for (int i = 0; i < 9; ++i) b.nest(1);
          for (int i = 0; i < 8; ++i) b.end_nest();
        }) == "build netlink message: nested too deep");
  CHECK(message_of([](NetlinkBuilder& b) {
          b.begin(1, 0);
          b.end_nest();
        }) == "build netlink message: no nest to end");
  CHECK(message_of([](NetlinkBuilder& b) {
          b.begin(1, 0);
          b.put_string(1, std::string(65536, 'x'));
        }) == "build netlink message: attribute too long");
  CHECK(message_of([](NetlinkBuilder& b) {
          b.begin(1, 0);
          b.nest(1);
          b.put_string(1, std::string(40000, 'x'));
          b.put_string(1, std::string(40000, 'x'));
          b.end_nest();
        }) == "build netlink message: attribute too long");
  CHECK(message_of([](NetlinkBuilder& b) {
          b.begin(1, 0);
          for (int i = 0; i < 10; ++i) b.put_string(1, std::string(40000, 'x'));
        }) == "build netlink message: message too long");
}

TEST_CASE("netlink: malformed attributes end the walk") {
  NetlinkBuilder builder;
  builder.begin(RTM_NEWLINK, 0);
  builder.put_u32(1, 11);
  builder.put_u32(2, 22);
  std::string attributes = bytes_of(builder).substr(sizeof(nlmsghdr));
  CHECK(NetlinkAttributes(attributes).find(2)->u32() == 22);
  for (uint16_t length : {0, 3, 13, 65535}) {
    std::string broken = attributes;
    memcpy(broken.data() + 8, &length, sizeof length);
    NetlinkAttributes walk(broken);
    CHECK(walk.next()->u32() == 11);
    CHECK(!walk.next());
    CHECK(!walk.next());
  }
  CHECK(!NetlinkAttributes("abc").next());
  CHECK(!NetlinkAttributes(attributes).find(3));
  CHECK(!NetlinkAttributes(attributes).find(1)->u8());
}

TEST_CASE("netlink: acknowledgements and errors") {
  nlmsgerr error{};
  error.error = -ENODEV;
  error.msg.nlmsg_len = sizeof(nlmsghdr) + 40;
  NetlinkBuilder builder;
  builder.begin(1, 0);
  builder.put_string(NLMSGERR_ATTR_MSG, "no such device here");
  std::string tlv = bytes_of(builder).substr(sizeof(nlmsghdr));

  auto status_of = [](const std::string& bytes) {
    auto message = NetlinkMessages(bytes).next();
    REQUIRE(message);
    return parse_netlink_status(*message);
  };
  auto capped = status_of(raw(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, plain(error) + tlv));
  CHECK(capped->err == ENODEV);
  CHECK(capped->text == "no such device here");
  auto whole = status_of(raw(NLMSG_ERROR, NLM_F_ACK_TLVS, plain(error) + std::string(40, '\0') + tlv));
  CHECK(whole->text == "no such device here");
  // A length that points beyond the answer.
  error.msg.nlmsg_len = 0xfffffff0;
  CHECK(status_of(raw(NLMSG_ERROR, NLM_F_ACK_TLVS, plain(error) + tlv))->text.empty());
  error.error = 0;
  CHECK(status_of(raw(NLMSG_ERROR, NLM_F_CAPPED, plain(error)))->err == 0);
  error.error = INT32_MIN;
  CHECK(status_of(raw(NLMSG_ERROR, 0, plain(error)))->err == EBADMSG);
  CHECK(!status_of(raw(NLMSG_ERROR, 0, "ab")));
  CHECK(status_of(raw(NLMSG_DONE, 0, ""))->err == 0);
  CHECK(!status_of(raw(RTM_NEWLINK, 0, "abcd")));
}

TEST_CASE("netlink: links, addresses and routes that are not well-formed are passed over") {
  auto message_of = [](const std::string& bytes) { return *NetlinkMessages(bytes).next(); };
  std::string no_name = raw(RTM_NEWLINK, 0, plain(ifinfomsg{})), cut = raw(RTM_NEWLINK, 0, "abc");
  CHECK(!parse_link(message_of(no_name)));
  CHECK(!parse_link(message_of(cut)));
  ifaddrmsg address{};
  address.ifa_family = AF_INET;
  address.ifa_prefixlen = 33;
  std::string wide = raw(RTM_NEWADDR, 0, plain(address));
  CHECK(!parse_address(message_of(wide)));
  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_dst_len = 16;
  NetlinkBuilder builder;
  builder.begin(RTM_NEWROUTE, 0);
  builder.header(route);
  builder.put_be32(RTA_DST, 0xac110000);
  std::string good = bytes_of(builder);
  CHECK(parse_route(message_of(good))->destination.text() == "172.17.0.0/16");
  route.rtm_family = AF_INET6;
  std::string six = raw(RTM_NEWROUTE, 0, plain(route));
  CHECK(parse_route(message_of(six))->destination.text() == "::/16");
  route.rtm_family = AF_BRIDGE;
  std::string other = raw(RTM_NEWROUTE, 0, plain(route));
  CHECK(!parse_route(message_of(other)));
  // An address of the other family.
  route.rtm_family = AF_INET6;
  NetlinkBuilder mixed;
  mixed.begin(RTM_NEWROUTE, 0);
  mixed.header(route);
  mixed.put_be32(RTA_DST, 0xac110000);
  std::string wrong = bytes_of(mixed);
  CHECK(!parse_route(message_of(wrong)));
}

TEST_CASE("netlink: map elements are read from a listing") {
  NetlinkBuilder builder;
  builder.begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM, 0);
  builder.header(nfgenmsg{});
  builder.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
  for (const char* key : {"k1", "k2"}) {
    builder.nest(NFTA_LIST_ELEM);
    builder.nest(NFTA_SET_ELEM_KEY);
    builder.attribute(NFTA_DATA_VALUE, key, 2);
    builder.end_nest();
    if (key[1] == '1') {
      builder.nest(NFTA_SET_ELEM_DATA);
      builder.attribute(NFTA_DATA_VALUE, "data", 4);
      builder.end_nest();
    }
    builder.end_nest();
  }
  builder.nest(NFTA_LIST_ELEM);  // an element without a key
  builder.end_nest();
  builder.end_nest();
  std::string bytes = bytes_of(builder);
  std::map<std::string, std::string> elements;
  parse_nft_elements(*NetlinkMessages(bytes).next(),
                     [&](const NftElement& found) { elements[std::string(found.key)] = found.data; });
  CHECK(elements == std::map<std::string, std::string>{{"k1", "data"}, {"k2", ""}});
}

TEST_CASE("rtnetlink: interface names") {
  for (const char* good : {"eth0", "caisson0", "br-0123456789ab", "a.b"}) CHECK(is_interface_name(good));
  for (const char* bad : {"", ".", "..", "a/b", "a b", "a:b", "sixteen-letters-", "a\nb", "veth%d"})
    CHECK(!is_interface_name(bad));
}
