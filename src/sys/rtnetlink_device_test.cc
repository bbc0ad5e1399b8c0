// SPDX-License-Identifier: Apache-2.0
// Which addresses go along with a network device.
#include "sys/rtnetlink_device.h"

#include <doctest/doctest.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace caisson::sys {

static std::optional<DeviceAddress> parsed(ifaddrmsg header, uint32_t flags, bool with_address = true, int wanted = 7) {
  NetlinkBuilder out;
  out.begin(RTM_NEWADDR, 0);
  out.header(header);
  if (with_address) out.put_be32(IFA_LOCAL, 0x0a000001);
  out.put_string(IFA_LABEL, "eth0:1");
  out.put_u32(IFA_FLAGS, flags);
  auto bytes = out.finish();
  REQUIRE(bytes);
  NetlinkMessages messages({bytes->data(), bytes->size()});
  auto message = messages.next();
  REQUIRE(message);
  return parse_permanent_address(*message, wanted);
}

TEST_CASE("permanent addresses of global scope, without label and state") {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = 24;
  header.ifa_index = 7;
  auto address = parsed(header, IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE | IFA_F_SECONDARY);
  REQUIRE(address);
  CHECK(address->prefix == 24);
  REQUIRE(address->attributes.size() == 2);
  CHECK(address->attributes[0].first == IFA_LOCAL);
  uint32_t kept = 0;
  REQUIRE(address->attributes[1].second.size() == sizeof kept);
  __builtin_memcpy(&kept, address->attributes[1].second.data(), sizeof kept);
  CHECK(kept == IFA_F_NOPREFIXROUTE);
  CHECK_FALSE(parsed(header, 0));
  CHECK_FALSE(parsed(header, IFA_F_PERMANENT, false));
  CHECK_FALSE(parsed(header, IFA_F_PERMANENT, true, 8));
  header.ifa_scope = RT_SCOPE_LINK;
  CHECK_FALSE(parsed(header, IFA_F_PERMANENT));
  header.ifa_scope = RT_SCOPE_UNIVERSE;
  header.ifa_family = AF_PACKET;
  CHECK_FALSE(parsed(header, IFA_F_PERMANENT));
}

}  // namespace caisson::sys
