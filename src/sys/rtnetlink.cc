// SPDX-License-Identifier: Apache-2.0
#include "sys/rtnetlink.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/text.h"

namespace caisson::sys {

namespace {
constexpr uint8_t kOperUp = 6;  // IF_OPER_UP of linux/if.h, which cannot be included beside net/if.h
constexpr size_t kMaxEntries = 1 << 20;

ifinfomsg link_header(int index = 0) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = index;
  return header;
}

ifinfomsg up_header(int index = 0) {
  ifinfomsg header = link_header(index);
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  return header;
}

uint8_t family_of(const IpAddress& address) { return address.v6 ? AF_INET6 : AF_INET; }

void put_ip(NetlinkBuilder& out, uint16_t type, const IpAddress& address) {
  std::string bytes = address.bytes();
  out.attribute(type, bytes.data(), bytes.size());
}

void put_address(NetlinkBuilder& out, int index, const IpSubnet& subnet) {
  ifaddrmsg header{};
  header.ifa_family = family_of(subnet.address);
  header.ifa_prefixlen = static_cast<uint8_t>(subnet.prefix);
  header.ifa_scope = RT_SCOPE_UNIVERSE;
  header.ifa_index = static_cast<uint32_t>(index);
  if (subnet.v6()) header.ifa_flags = IFA_F_NODAD;
  out.header(header);
  put_ip(out, IFA_LOCAL, subnet.address);
  put_ip(out, IFA_ADDRESS, subnet.address);
  if (!subnet.v6() && subnet.prefix < 31) put_ip(out, IFA_BROADCAST, subnet.last());
}

std::optional<IpSubnet> subnet_of(uint8_t family, int prefix, std::optional<NetlinkAttribute> attribute) {
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  IpSubnet subnet{any_ip(family == AF_INET6), prefix};
  if (prefix > subnet.address.width()) return std::nullopt;
  if (!attribute) return subnet;
  auto address = ip_of_bytes(attribute->payload);
  if (!address || address->v6 != subnet.v6()) return std::nullopt;
  subnet.address = *address;
  return subnet;
}

// Turns one flag of a bridge port on.
void put_port_flag(NetlinkBuilder& out, const std::string& name, uint16_t flag) {
  out.begin(RTM_NEWLINK, NLM_F_ACK);
  out.header(link_header());
  out.put_string(IFLA_IFNAME, name);
  out.nest(IFLA_LINKINFO);
  out.put_string(IFLA_INFO_SLAVE_KIND, "bridge");
  out.nest(IFLA_INFO_SLAVE_DATA);
  out.put_u8(flag, 1);
  out.end_nest();
  out.end_nest();
}

void put_default_route(NetlinkBuilder& out, uint16_t message, uint16_t flags, const IpAddress& gateway) {
  out.begin(message, flags);
  rtmsg route{};
  route.rtm_family = family_of(gateway);
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_protocol = message == RTM_DELROUTE ? RTPROT_UNSPEC : RTPROT_BOOT;
  route.rtm_scope = message == RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
  route.rtm_type = message == RTM_DELROUTE ? RTN_UNSPEC : RTN_UNICAST;
  out.header(route);
  if (!gateway.is_any()) put_ip(out, RTA_GATEWAY, gateway);
}

std::string named(const char* verb, const std::string& name) { return std::string(verb) + " '" + name + "'"; }
}  // namespace

bool is_interface_name(std::string_view name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == "..") return false;
  return std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%'; });
}

std::optional<LinkInfo> parse_link(const NetlinkMessage& message) {
  if (message.type != RTM_NEWLINK) return std::nullopt;
  auto header = message.header<ifinfomsg>();
  if (!header) return std::nullopt;
  LinkInfo info;
  info.index = header->ifi_index;
  info.up = header->ifi_flags & IFF_UP;
  auto attributes = message.attributes(sizeof(ifinfomsg));
  while (auto attribute = attributes.next()) {
    switch (attribute->type) {
      case IFLA_IFNAME: info.name = attribute->text(); break;
      case IFLA_IFALIAS: info.alias = attribute->text(); break;
      case IFLA_MASTER: info.master = static_cast<int>(attribute->u32().value_or(0)); break;
      case IFLA_MTU: info.mtu = static_cast<int>(attribute->u32().value_or(0)); break;
      case IFLA_OPERSTATE: info.ready = attribute->u8() == kOperUp; break;
      case IFLA_LINKINFO:
        if (auto kind = NetlinkAttributes(attribute->payload).find(IFLA_INFO_KIND)) info.kind = kind->text();
        break;
      default: break;
    }
  }
  if (info.name.empty()) return std::nullopt;
  return info;
}

std::optional<LinkAddress> parse_address(const NetlinkMessage& message) {
  if (message.type != RTM_NEWADDR) return std::nullopt;
  auto header = message.header<ifaddrmsg>();
  if (!header) return std::nullopt;
  auto attributes = message.attributes(sizeof(ifaddrmsg));
  auto local = attributes.find(IFA_LOCAL);
  if (!local) local = attributes.find(IFA_ADDRESS);
  if (!local) return std::nullopt;
  auto subnet = subnet_of(header->ifa_family, header->ifa_prefixlen, local);
  if (!subnet) return std::nullopt;
  return LinkAddress{static_cast<int>(header->ifa_index), *subnet};
}

std::optional<RouteInfo> parse_route(const NetlinkMessage& message) {
  if (message.type != RTM_NEWROUTE) return std::nullopt;
  auto header = message.header<rtmsg>();
  if (!header) return std::nullopt;
  auto subnet = subnet_of(header->rtm_family, header->rtm_dst_len, message.attributes(sizeof(rtmsg)).find(RTA_DST));
  if (!subnet) return std::nullopt;
  return RouteInfo{*subnet};
}

Result<RouteSocket> RouteSocket::open(bool link_events) {
  return RouteSocket(TRY(NetlinkSocket::open(NETLINK_ROUTE, link_events ? RTMGRP_LINK : 0)));
}

Result<int> RouteSocket::index_of(const std::string& name) {
  // Device ioctls work on any socket and act in the socket's namespace, not the thread's.
  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) return fail(ErrorKind::kInvalid, "link name '%s' too long", name.c_str());
  memcpy(request.ifr_name, name.data(), name.size());
  if (ioctl(socket_.fd(), SIOCGIFINDEX, &request) < 0) {
    if (errno == ENODEV) return fail(ErrorKind::kNotFound, "no link '%s'", name.c_str());
    return fail_errno("SIOCGIFINDEX '%s'", name.c_str());
  }
  return request.ifr_ifindex;
}

Result<> RouteSocket::create_bridge(const std::string& name, const MacAddress& mac, int mtu, const std::string& alias) {
  NetlinkBuilder out;
  out.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  out.header(link_header());
  out.put_string(IFLA_IFNAME, name);
  // Set explicitly: a bridge without an address of its own takes the lowest of its ports, and changes it.
  out.attribute(IFLA_ADDRESS, mac.data(), mac.size());
  out.put_u32(IFLA_MTU, static_cast<uint32_t>(mtu));
  out.nest(IFLA_LINKINFO);
  out.put_string(IFLA_INFO_KIND, "bridge");
  out.end_nest();
  TRY(socket_.transact(out, named("create bridge", name)));
  // IFLA_IFALIAS is ignored by the creating message.
  NetlinkBuilder more;
  more.begin(RTM_SETLINK, NLM_F_ACK);
  more.header(link_header());
  more.put_string(IFLA_IFNAME, name);
  more.attribute(IFLA_IFALIAS, alias.data(), alias.size());
  return socket_.transact(more, named("set alias of", name));
}

Result<> RouteSocket::create_veth(const VethRequest& request) {
  NetlinkBuilder out;
  out.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  out.header(up_header());
  out.put_string(IFLA_IFNAME, request.name);
  out.put_u32(IFLA_MTU, static_cast<uint32_t>(request.mtu));
  // One queue each: the default of one per CPU costs memory and time for nothing.
  out.put_u32(IFLA_NUM_TX_QUEUES, 1);
  out.put_u32(IFLA_NUM_RX_QUEUES, 1);
  if (request.master) out.put_u32(IFLA_MASTER, static_cast<uint32_t>(request.master));
  out.nest(IFLA_LINKINFO);
  out.put_string(IFLA_INFO_KIND, "veth");
  out.nest(IFLA_INFO_DATA);
  out.nest(VETH_INFO_PEER);
  out.header(link_header());  // IFF_UP for the peer fails here
  out.put_string(IFLA_IFNAME, request.peer_name);
  out.attribute(IFLA_ADDRESS, request.peer_mac.data(), request.peer_mac.size());
  out.put_u32(IFLA_MTU, static_cast<uint32_t>(request.mtu));
  out.put_u32(IFLA_NUM_TX_QUEUES, 1);
  out.put_u32(IFLA_NUM_RX_QUEUES, 1);
  out.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(request.peer_netns));
  out.end_nest();
  out.end_nest();
  out.end_nest();
  // Slave data of the creating message is ignored, so a second one, in the same datagram.
  if (request.hairpin) put_port_flag(out, request.name, IFLA_BRPORT_MODE);
  if (request.isolated) put_port_flag(out, request.name, IFLA_BRPORT_ISOLATED);
  return socket_.transact(out, named("create veth", request.name));
}

Result<> RouteSocket::set_up(const std::string& name) {
  NetlinkBuilder out;
  out.begin(RTM_SETLINK, NLM_F_ACK);
  out.header(up_header());
  out.put_string(IFLA_IFNAME, name);
  return socket_.transact(out, named("bring up link", name));
}

Result<> RouteSocket::set_master(const std::string& name, int master) {
  NetlinkBuilder out;
  out.begin(RTM_SETLINK, NLM_F_ACK);
  out.header(up_header());
  out.put_string(IFLA_IFNAME, name);
  out.put_u32(IFLA_MASTER, static_cast<uint32_t>(master));
  return socket_.transact(out, named("set master of link", name));
}

Result<> RouteSocket::delete_link(const std::string& name) {
  NetlinkBuilder out;
  out.begin(RTM_DELLINK, NLM_F_ACK);
  out.header(link_header());
  out.put_string(IFLA_IFNAME, name);
  auto done = socket_.transact(out, named("delete link", name));
  if (!done && done.error().err == ENODEV) return {};
  return done;
}

Result<std::optional<LinkInfo>> RouteSocket::find_link(const std::string& name) {
  NetlinkBuilder out;
  out.begin(RTM_GETLINK, NLM_F_ACK);
  out.header(link_header());
  out.put_string(IFLA_IFNAME, name);
  std::optional<LinkInfo> found;
  auto done = socket_.transact(out, named("find link", name),
                               [&](const NetlinkMessage& message) { found = parse_link(message); });
  if (!done && done.error().err == ENODEV) return std::optional<LinkInfo>();
  if (!done) return std::unexpected(done.error());
  return found;
}

Result<std::vector<LinkInfo>> RouteSocket::list_links() {
  NetlinkBuilder out;
  out.begin(RTM_GETLINK, NLM_F_DUMP);
  out.header(link_header());
  std::vector<LinkInfo> links;
  TRY(socket_.transact(out, "list links", [&](const NetlinkMessage& message) {
    if (auto link = parse_link(message); link && links.size() < kMaxEntries) links.push_back(std::move(*link));
  }));
  return links;
}

Result<> RouteSocket::add_address(int index, const IpSubnet& address) {
  NetlinkBuilder out;
  out.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  put_address(out, index, address);
  auto done = socket_.transact(out, "add address");
  if (!done && done.error().err == EEXIST) return {};
  return done;
}

Result<> RouteSocket::remove_address(int index, const IpSubnet& address) {
  NetlinkBuilder out;
  out.begin(RTM_DELADDR, NLM_F_ACK);
  put_address(out, index, address);
  return socket_.transact(out, "remove address");
}

Result<std::vector<LinkAddress>> RouteSocket::list_addresses() {
  NetlinkBuilder out;
  out.begin(RTM_GETADDR, NLM_F_DUMP);
  ifaddrmsg header{};
  header.ifa_family = AF_UNSPEC;
  out.header(header);
  std::vector<LinkAddress> addresses;
  TRY(socket_.transact(out, "list addresses", [&](const NetlinkMessage& message) {
    if (auto address = parse_address(message); address && addresses.size() < kMaxEntries) addresses.push_back(*address);
  }));
  return addresses;
}

Result<std::vector<RouteInfo>> RouteSocket::list_routes() {
  NetlinkBuilder out;
  out.begin(RTM_GETROUTE, NLM_F_DUMP);
  rtmsg header{};
  header.rtm_family = AF_UNSPEC;
  out.header(header);
  std::vector<RouteInfo> routes;
  TRY(socket_.transact(out, "list routes", [&](const NetlinkMessage& message) {
    auto route = parse_route(message);
    if (route && route->destination.prefix > 0 && routes.size() < kMaxEntries) routes.push_back(*route);
  }));
  return routes;
}

Result<> RouteSocket::configure(const InterfaceSetup& setup) {
  int index = TRY(index_of(setup.name));
  NetlinkBuilder out;
  for (const auto& address : setup.addresses) {
    out.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    put_address(out, index, address);
  }
  // Up after the addresses, so that the connected routes are there for the gateways in one go.
  out.begin(RTM_SETLINK, 0);
  out.header(up_header(index));
  for (const auto& gateway : setup.gateways) {
    put_default_route(out, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, gateway);
    out.put_u32(RTA_OIF, static_cast<uint32_t>(index));
  }
  out.add_flags(NLM_F_ACK);
  return socket_.transact(out, named("configure link", setup.name));
}

Result<> RouteSocket::set_default_route(const IpAddress& gateway) {
  NetlinkBuilder out;
  // NLM_F_REPLACE of IPv6 replaces one route of that metric, whatever its gateway.
  if (!gateway.is_any()) {
    put_default_route(out, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, gateway);
    return socket_.transact(out, "set default route");
  }
  put_default_route(out, RTM_DELROUTE, NLM_F_ACK, gateway);
  auto done = socket_.transact(out, "remove default route");
  if (!done && done.error().err == ESRCH) return {};
  return done;
}

Result<> RouteSocket::set_hairpin(const std::string& port) {
  NetlinkBuilder out;
  put_port_flag(out, port, IFLA_BRPORT_MODE);
  return socket_.transact(out, named("set hairpin mode of", port));
}

Result<> RouteSocket::set_isolated(const std::string& port) {
  NetlinkBuilder out;
  put_port_flag(out, port, IFLA_BRPORT_ISOLATED);
  return socket_.transact(out, named("isolate", port));
}

Result<> RouteSocket::wait_ready(const std::vector<std::string>& names, int timeout_ms) {
  std::vector<std::string> missing = names;
  int64_t deadline = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  auto look = [&]() -> Result<> {
    // Queries take the rtnl lock, so they see the bridge's handling of the change finished, like events.
    auto asked = TRY(RouteSocket::open());
    for (size_t i = missing.size(); i-- > 0;) {
      auto link = TRY(asked.find_link(missing[i]));
      if (!link) return fail(ErrorKind::kNotFound, "no link '%s'", missing[i].c_str());
      if (link->ready) missing.erase(missing.begin() + static_cast<ptrdiff_t>(i));
    }
    return {};
  };
  auto running = [&](const std::string& name) {
    ifreq request{};
    memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
    return ioctl(socket_.fd(), SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_RUNNING;
  };
  // What runs already sends no event. The first name is the new link, which does.
  if (missing.size() > 1) missing.erase(std::remove_if(missing.begin() + 1, missing.end(), running), missing.end());
  while (!missing.empty()) {
    int64_t left = (deadline - monotonic_ns()) / 1'000'000;
    if (left <= 0) {
      TRY(look());
      if (missing.empty()) break;
      return fail(ErrorKind::kTimeout, "link '%s' not up within %d ms", missing[0].c_str(), timeout_ms);
    }
    auto got = socket_.receive_events(static_cast<int>(left), [&](const NetlinkMessage& message) {
      auto link = parse_link(message);
      if (link && link->ready) std::erase(missing, link->name);
    });
    if (!got && got.error().kind == ErrorKind::kExhausted)
      TRY(look());
    else if (!got && got.error().kind != ErrorKind::kTimeout)
      return got;
  }
  return {};
}

}  // namespace caisson::sys
