// SPDX-License-Identifier: Apache-2.0
#include "sys/rtnetlink_device.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "base/text.h"
#include "sys/rtnetlink.h"

namespace caisson::sys {

namespace {

constexpr size_t kMaxAddresses = 4096;

void put_link(NetlinkBuilder& out, int index, unsigned flags, unsigned change) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = index;
  header.ifi_flags = flags;
  header.ifi_change = change;
  out.begin(RTM_NEWLINK, NLM_F_ACK);
  out.header(header);
}

std::string about(const char* verb, const std::string& name) {
  return format("%s network device '%s'", verb, name.c_str());
}

}  // namespace

std::optional<DeviceAddress> parse_permanent_address(const NetlinkMessage& message, int index) {
  if (message.type != RTM_NEWADDR) return std::nullopt;
  auto header = message.header<ifaddrmsg>();
  if (!header || static_cast<int>(header->ifa_index) != index || header->ifa_scope != RT_SCOPE_UNIVERSE)
    return std::nullopt;
  if (header->ifa_family != AF_INET && header->ifa_family != AF_INET6) return std::nullopt;
  DeviceAddress out;
  out.family = header->ifa_family;
  out.prefix = header->ifa_prefixlen;
  uint32_t flags = header->ifa_flags;
  bool has_address = false;
  auto attributes = message.attributes(sizeof(ifaddrmsg));
  while (auto attribute = attributes.next()) {
    switch (attribute->type) {
      case IFA_FLAGS: flags = attribute->u32().value_or(flags); break;
      case IFA_ADDRESS:
      case IFA_LOCAL: has_address = true; [[fallthrough]];
      case IFA_BROADCAST:
      case IFA_RT_PRIORITY: out.attributes.emplace_back(attribute->type, attribute->payload); break;
      default: break;  // the label has the old name in it; the rest is how things stand
    }
  }
  if (!has_address || !(flags & IFA_F_PERMANENT)) return std::nullopt;
  flags &= IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;
  out.attributes.emplace_back(IFA_FLAGS, std::string(reinterpret_cast<const char*>(&flags), sizeof flags));
  return out;
}

Result<DeviceMover> DeviceMover::open() { return DeviceMover(TRY(NetlinkSocket::open(NETLINK_ROUTE))); }

Result<DeviceMover::Device> DeviceMover::find(const std::string& name) {
  NetlinkBuilder ask;
  ask.begin(RTM_GETLINK, NLM_F_ACK);
  ask.header(ifinfomsg{});
  ask.put_string(IFLA_IFNAME, name);
  std::optional<LinkInfo> link;
  auto asked =
      socket_.transact(ask, about("find", name), [&](const NetlinkMessage& message) { link = parse_link(message); });
  if (!asked && asked.error().err != ENODEV) return std::unexpected(std::move(asked).error());
  if (!link) return fail(ErrorKind::kNotFound, "no network device '%s'", name.c_str());
  Device out;
  out.index = link->index;
  out.up = link->up;
  NetlinkBuilder dump;
  dump.begin(RTM_GETADDR, NLM_F_DUMP);
  dump.header(ifaddrmsg{});
  TRY(socket_.transact(dump, "list addresses", [&](const NetlinkMessage& message) {
    if (auto address = parse_permanent_address(message, out.index); address && out.addresses.size() < kMaxAddresses)
      out.addresses.push_back(std::move(*address));
  }));
  return out;
}

Result<> DeviceMover::send(const std::string& name, int index, int netns, const std::string& new_name) {
  NetlinkBuilder out;
  put_link(out, index, 0, IFF_UP);
  TRY(socket_.transact(out, about("set down", name)));
  NetlinkBuilder move;
  put_link(move, index, 0, 0);
  move.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(netns));
  move.put_string(IFLA_IFNAME, new_name);
  return socket_.transact(move, about("move", name) + " as '" + new_name + "'");
}

Result<> DeviceMover::receive(const std::string& name, const Device& device, bool up) {
  auto arrived = TRY(find(name));  // with another index, perhaps
  for (const auto& address : device.addresses) {
    NetlinkBuilder out;
    out.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
    ifaddrmsg header{};
    header.ifa_family = address.family;
    header.ifa_prefixlen = address.prefix;
    header.ifa_scope = RT_SCOPE_UNIVERSE;
    header.ifa_index = static_cast<uint32_t>(arrived.index);
    out.header(header);
    for (const auto& [type, value] : address.attributes) out.attribute(type, value.data(), value.size());
    TRY(socket_.transact(out, about("give back an address to", name)));
  }
  if (!up) return {};
  NetlinkBuilder out;
  put_link(out, arrived.index, IFF_UP, IFF_UP);
  return socket_.transact(out, about("set up", name));
}

}  // namespace caisson::sys
