// SPDX-License-Identifier: Apache-2.0
#include "base/ip_address.h"

#include <doctest/doctest.h>

namespace caisson {

TEST_CASE("ip address: texts and bytes") {
  for (const char* text :
       {"0.0.0.0", "172.17.0.2", "255.255.255.255", "::", "::1", "fd00:1::2", "fe80::42:acff:fe11:2"}) {
    CAPTURE(text);
    auto address = parse_ip(text);
    REQUIRE(address);
    CHECK(address->text() == text);
    CHECK(ip_of_bytes(address->bytes()) == address);
  }
  CHECK(parse_ip("172.17.0.2")->value == 0xac110002);
  CHECK(parse_ip("FD00::0A")->text() == "fd00::a");
  CHECK(parse_ip("::1")->bytes() == std::string(15, '\0') + '\1');
  for (const char* text : {"", "1.2.3", "01.2.3.4", "1.2.3.4 ", "1.2.3.4/8", "[::1]", "fe80::1%eth0",
                           ":::", "g::", "1:2:3:4:5:6:7:8:9", "256.1.1.1"})
    CHECK_FALSE(parse_ip(text));
  CHECK_FALSE(parse_ip(std::string_view("::1\0", 4)));
  CHECK_FALSE(ip_of_bytes("12345"));
}

TEST_CASE("ip subnet: bounds") {
  auto subnet = [](const char* text) { return *parse_ip_subnet(text); };
  auto four = subnet("172.17.3.1/16"), six = subnet("fd00:1:2:3::5/64");
  CHECK(four.text() == "172.17.0.0/16");
  CHECK(four.last().text() == "172.17.255.255");
  CHECK(six.text() == "fd00:1:2:3::/64");
  CHECK(six.last().text() == "fd00:1:2:3:ffff:ffff:ffff:ffff");
  CHECK(subnet("::/0").last().text() == "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  CHECK(subnet("0.0.0.0/0").last().text() == "255.255.255.255");
  CHECK(four.contains(*parse_ip("172.17.9.9")));
  CHECK_FALSE(four.contains(*parse_ip("172.18.0.0")));
  CHECK_FALSE(subnet("0.0.0.0/0").contains(*parse_ip("::1")));
  CHECK(six.contains(*parse_ip("fd00:1:2:3::ffff")));
  CHECK_FALSE(six.contains(*parse_ip("fd00:1:2:4::")));
  CHECK(four.overlaps(subnet("172.0.0.0/8")));
  CHECK(subnet("172.0.0.0/8").overlaps(four));
  CHECK_FALSE(four.overlaps(subnet("172.18.0.0/16")));
  CHECK_FALSE(subnet("::/0").overlaps(four));
  for (const char* text : {"", "1.2.3.4", "1.2.3.4/33", "::1/129", "1.2.3.4/-1", "1.2.3.4/", "/8"})
    CHECK_FALSE(parse_ip_subnet(text));
}

}  // namespace caisson
