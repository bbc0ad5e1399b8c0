// SPDX-License-Identifier: Apache-2.0
// Answers of the kernel, in any shape, through every parser of them.
#include <cstddef>
#include <cstdint>

#include "sys/netlink.h"
#include "sys/nft.h"
#include "sys/packet_queue.h"
#include "sys/rtnetlink.h"

using namespace caisson::sys;

namespace {
void walk(NetlinkAttributes attributes, int depth) {
  while (auto attribute = attributes.next()) {
    (void)attribute->text();
    (void)attribute->be32();
    if (depth < 8) walk(NetlinkAttributes(attribute->payload), depth + 1);
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  NetlinkMessages messages({reinterpret_cast<const char*>(data), size});
  while (auto message = messages.next()) {
    (void)parse_netlink_status(*message);
    (void)parse_link(*message);
    (void)parse_address(*message);
    (void)parse_route(*message);
    (void)parse_queued_packet(*message);
    parse_nft_elements(*message, [](const NftElement&) {});
    walk(message->attributes(16), 0);
  }
  return 0;
}
