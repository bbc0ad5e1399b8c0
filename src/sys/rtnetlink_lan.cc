// SPDX-License-Identifier: Apache-2.0
#include "sys/rtnetlink_lan.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>

namespace caisson::sys {

namespace {

void put_link(NetlinkBuilder& out, const UpperLink& link) {
  out.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  out.header(header);
  out.put_string(IFLA_IFNAME, link.name);
  if (link.parent) out.put_u32(IFLA_LINK, static_cast<uint32_t>(link.parent));
  if (link.mac) out.attribute(IFLA_ADDRESS, link.mac->data(), link.mac->size());
  if (link.mtu) out.put_u32(IFLA_MTU, static_cast<uint32_t>(link.mtu));
  if (link.netns >= 0) out.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(link.netns));
  out.nest(IFLA_LINKINFO);
  out.put_string(IFLA_INFO_KIND, kind_name(link.kind));
  if (link.kind != UpperKind::kDummy) {
    out.nest(IFLA_INFO_DATA);
    auto mode16 = static_cast<uint16_t>(link.mode);
    if (link.kind == UpperKind::kMacvlan) out.put_u32(IFLA_MACVLAN_MODE, link.mode);
    if (link.kind == UpperKind::kVlan) out.attribute(IFLA_VLAN_ID, &mode16, sizeof mode16);
    if (link.kind == UpperKind::kIpvlan) {
      out.attribute(IFLA_IPVLAN_MODE, &mode16, sizeof mode16);
      out.attribute(IFLA_IPVLAN_FLAGS, &link.flags, sizeof link.flags);
    }
    out.end_nest();
  }
  out.end_nest();
}

std::unexpected<Error> explain(const Error& error, const UpperLink& link) {
  if (error.err == EOPNOTSUPP)
    return fail(ErrorKind::kUnsupported, "this kernel has no %s links (its module '%s' is missing)",
                kind_name(link.kind), link.kind == UpperKind::kVlan ? "8021q" : kind_name(link.kind));
  if (error.err == EBUSY || (error.err == EINVAL && link.kind == UpperKind::kMacvlan))
    return fail(ErrorKind::kConflict, "%s: its parent is used by others in a way that excludes it",
                error.message.c_str());
  return std::unexpected(error);
}

}  // namespace

const char* kind_name(UpperKind kind) {
  switch (kind) {
    case UpperKind::kDummy: return "dummy";
    case UpperKind::kVlan: return "vlan";
    case UpperKind::kMacvlan: return "macvlan";
    case UpperKind::kIpvlan: return "ipvlan";
  }
  return "";
}

void put_lan_setup(NetlinkBuilder& out, int index, const LanSetup& setup) {
  for (const auto& [bytes, prefix] : setup.addresses) {
    bool v6 = bytes.size() == 16;
    out.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    ifaddrmsg header{};
    header.ifa_family = v6 ? AF_INET6 : AF_INET;
    header.ifa_prefixlen = static_cast<uint8_t>(prefix);
    // Without it a program cannot bind to the address until nobody else is known to have it.
    header.ifa_flags = v6 ? IFA_F_NODAD : 0;
    header.ifa_index = static_cast<uint32_t>(index);
    out.header(header);
    out.attribute(IFA_LOCAL, bytes.data(), bytes.size());
    out.attribute(IFA_ADDRESS, bytes.data(), bytes.size());
  }
  // Up after the addresses, so that their routes are there for the gateway.
  out.begin(RTM_SETLINK, 0);
  ifinfomsg up{};
  up.ifi_index = index;
  up.ifi_flags = up.ifi_change = IFF_UP;
  out.header(up);
  for (const auto& [v6, gateway] : setup.default_routes) {
    out.begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    rtmsg route{};
    route.rtm_family = v6 ? AF_INET6 : AF_INET;
    route.rtm_table = RT_TABLE_MAIN;
    route.rtm_protocol = RTPROT_BOOT;
    route.rtm_scope = gateway.empty() && !v6 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    route.rtm_type = RTN_UNICAST;
    out.header(route);
    if (!gateway.empty()) out.attribute(RTA_GATEWAY, gateway.data(), gateway.size());
    out.put_u32(RTA_OIF, static_cast<uint32_t>(index));
  }
  out.add_flags(NLM_F_ACK);
}

Result<MacAddress> RouteSocket::set_up_on_lan(const LanSetup& setup) {
  int index = TRY(index_of(setup.name));
  NetlinkBuilder out;
  put_lan_setup(out, index, setup);
  TRY(socket_.transact(out, "configure link '" + setup.name + "'"));
  NetlinkBuilder ask;
  ask.begin(RTM_GETLINK, NLM_F_ACK);
  ifinfomsg header{};
  header.ifi_index = index;
  ask.header(header);
  MacAddress mac{};
  TRY(socket_.transact(ask, "find link '" + setup.name + "'", [&](const NetlinkMessage& message) {
    auto found = message.attributes(sizeof(ifinfomsg)).find(IFLA_ADDRESS);
    if (found && found->payload.size() == mac.size()) memcpy(mac.data(), found->payload.data(), mac.size());
  }));
  return mac;
}

Result<UpperLinkSocket> UpperLinkSocket::open() { return UpperLinkSocket(TRY(NetlinkSocket::open(NETLINK_ROUTE, 0))); }

Result<> UpperLinkSocket::create(const UpperLink& link) {
  NetlinkBuilder out;
  put_link(out, link);
  auto done = socket_.transact(out, std::string("create ") + kind_name(link.kind) + " '" + link.name + "'");
  if (!done) return explain(done.error(), link);
  return done;
}

Result<bool> UpperLinkSocket::is_known(UpperKind kind) {
  UpperLink probe;
  probe.kind = kind;
  probe.name = "caisson-probe";
  probe.mode = 1;
  // All others miss their parent; a dummy has none, so it fails for its address: no device has that of everybody.
  if (kind == UpperKind::kDummy) probe.mac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  NetlinkBuilder out;
  put_link(out, probe);
  auto done = socket_.transact(out, std::string("look for links of kind ") + kind_name(kind));
  if (done) return fail(ErrorKind::kInternal, "a %s link without a parent was made", kind_name(kind));
  if (done.error().err == EOPNOTSUPP) return false;
  if (done.error().err == EINVAL || done.error().err == EADDRNOTAVAIL || done.error().err == ENODEV) return true;
  return std::unexpected(done.error());
}

Result<> UpperLinkSocket::set_alias(const std::string& name, const std::string& alias) {
  NetlinkBuilder out;
  out.begin(RTM_SETLINK, NLM_F_ACK);
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  out.header(header);
  out.put_string(IFLA_IFNAME, name);
  out.attribute(IFLA_IFALIAS, alias.data(), alias.size());
  return socket_.transact(out, "set alias of '" + name + "'");
}

}  // namespace caisson::sys
