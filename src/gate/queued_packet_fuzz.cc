// SPDX-License-Identifier: Apache-2.0
// The bytes as what the kernel's queue says, and as a packet alone: what is sent again is never longer than what came.
#include <cstdlib>

#include "gate/packet.h"
#include "sys/packet_queue.h"

namespace {
void check(std::string_view bytes) {
  auto packet = caisson::gate::packet_to_send(bytes);
  if (packet && (packet->bytes.size() > bytes.size() || packet->bytes.size() < 24)) abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace caisson::sys;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check(bytes);
  NetlinkMessages messages(bytes);
  while (auto message = messages.next())
    if (auto packet = parse_queued_packet(*message)) check(packet->bytes);
  return 0;
}
