// SPDX-License-Identifier: Apache-2.0
#include "sys/packet_queue.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include <doctest/doctest.h>

namespace caisson::sys {
namespace {

constexpr uint16_t kPacketType = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET;

std::string packet_message(uint16_t type, std::string_view bytes, uint32_t whole, bool with_header) {
  NetlinkBuilder out;
  out.begin(type, 0);
  out.header(nfgenmsg{AF_INET, NFNETLINK_V0, htons(7)});
  nfqnl_msg_packet_hdr header{};
  header.packet_id = htonl(42);
  if (with_header) out.attribute(NFQA_PACKET_HDR, &header, sizeof header);
  out.put_be32(NFQA_MARK, 5);
  out.put_be32(NFQA_IFINDEX_INDEV, 3);
  if (whole) out.put_be32(NFQA_CAP_LEN, whole);
  out.attribute(NFQA_PAYLOAD, bytes.data(), bytes.size());
  auto done = out.finish();
  REQUIRE(done);
  return {done->data(), done->size()};
}

std::optional<QueuedPacket> parsed(const std::string& bytes) {
  auto message = NetlinkMessages(bytes).next();
  REQUIRE(message);
  return parse_queued_packet(*message);
}

TEST_CASE("packet queue: messages of the kernel") {
  auto bytes = packet_message(kPacketType, "packet", 0, true);
  auto packet = parsed(bytes);
  REQUIRE(packet);
  CHECK(packet->id == 42);
  CHECK(packet->mark == 5);
  CHECK(packet->input == 3);
  CHECK(packet->bytes == "packet");
  CHECK_FALSE(packet->cut);

  auto longer = packet_message(kPacketType, "packet", 7, true);
  CHECK(parsed(longer)->cut);
  auto headless = packet_message(kPacketType, "packet", 0, false);
  CHECK_FALSE(parsed(headless));
  auto other = packet_message(kPacketType + 1, "packet", 0, true);
  CHECK_FALSE(parsed(other));
}

}  // namespace
}  // namespace caisson::sys
