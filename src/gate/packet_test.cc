// SPDX-License-Identifier: Apache-2.0
#include "gate/packet.h"

#include <netinet/in.h>

#include <doctest/doctest.h>

namespace caisson::gate {
namespace {

std::string header4(uint8_t protocol, uint16_t length, uint8_t flags = 0x40) {
  std::string out(20, '\0');
  out[0] = 0x45;
  out[2] = static_cast<char>(length >> 8);
  out[3] = static_cast<char>(length & 255);
  out[6] = static_cast<char>(flags);
  out[8] = 64;
  out[9] = static_cast<char>(protocol);
  out.replace(12, 8, IpAddress::ipv4(0x0a000002).bytes() + IpAddress::ipv4(0x0a000001).bytes());
  return out;
}

std::string header6(uint8_t protocol, uint16_t length) {
  std::string out(8, '\0');
  out[0] = 0x60;
  out[4] = static_cast<char>(length >> 8);
  out[5] = static_cast<char>(length & 255);
  out[6] = static_cast<char>(protocol);
  return out + parse_ip("fd00::2")->bytes() + parse_ip("fd00::1")->bytes();
}

const std::string kBody = "\x01\x02\x03\x04payload!";

TEST_CASE("packet: of IPv4") {
  auto whole = header4(IPPROTO_TCP, 32) + kBody;
  auto packet = packet_to_send(whole + "link padding");
  REQUIRE(packet);
  CHECK(packet->bytes == whole);
  CHECK(packet->to.text() == "10.0.0.1");

  auto udp = packet_to_send(header4(IPPROTO_UDP, 32) + kBody);
  REQUIRE(udp);
  CHECK(udp->bytes == header4(IPPROTO_UDP, 32, 0) + kBody);
}

TEST_CASE("packet: of IPv6") {
  auto whole = header6(IPPROTO_UDP, 12) + kBody;
  auto packet = packet_to_send(whole + "x");
  REQUIRE(packet);
  CHECK(packet->bytes == whole);
  CHECK(packet->to.text() == "fd00::1");
}

TEST_CASE("packet: what is not sent again") {
  CHECK_FALSE(packet_to_send(""));
  CHECK_FALSE(packet_to_send("\x45"));
  CHECK_FALSE(packet_to_send(std::string(60, '\x20')));
  CHECK_FALSE(packet_to_send(header4(IPPROTO_TCP, 33) + kBody));        // cut
  CHECK_FALSE(packet_to_send(header4(IPPROTO_TCP, 23) + kBody));        // no ports
  CHECK_FALSE(packet_to_send(header4(IPPROTO_TCP, 0) + kBody));         //
  CHECK_FALSE(packet_to_send(header4(IPPROTO_ICMP, 32) + kBody));       //
  CHECK_FALSE(packet_to_send(header4(IPPROTO_UDP, 32, 0x20) + kBody));  // a first fragment
  CHECK_FALSE(packet_to_send(header4(IPPROTO_UDP, 32, 0x01) + kBody));  // a later one
  auto options = header4(IPPROTO_TCP, 32) + kBody;
  options[0] = 0x46;
  CHECK_FALSE(packet_to_send(options));
  CHECK_FALSE(packet_to_send(header6(IPPROTO_TCP, 13) + kBody));
  CHECK_FALSE(packet_to_send(header6(IPPROTO_TCP, 3) + kBody));
  CHECK_FALSE(packet_to_send(header6(IPPROTO_FRAGMENT, 12) + kBody));
  CHECK_FALSE(packet_to_send(header6(IPPROTO_HOPOPTS, 12) + kBody));
}

}  // namespace
}  // namespace caisson::gate
