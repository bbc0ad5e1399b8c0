// SPDX-License-Identifier: Apache-2.0
// Every decoder of monitor messages takes any bytes.
#include <fcntl.h>

#include <cstdint>

#include "monitor/exit_record.h"
#include "monitor/protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using namespace caisson::monitor;
  if (size < 2) return 0;
  Packet packet;
  packet.type = static_cast<MessageType>(data[0]);
  packet.body.assign(reinterpret_cast<const char*>(data + 2), size - 2);
  (void)decode_event(packet).has_value();
  (void)decode_error(packet.body).error();
  (void)decode_exit_record(packet.body).has_value();
  for (int i = 0; i < data[1] % 4; ++i) packet.fds.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
  switch (data[0] % 3) {
    case 0:
      packet.type = MessageType::kLaunch;
      (void)decode_launch(std::move(packet)).has_value();
      break;
    case 1: (void)decode_exec(std::move(packet)).has_value(); break;
    default: (void)decode_attachment(std::move(packet)).has_value();
  }
  return 0;
}
