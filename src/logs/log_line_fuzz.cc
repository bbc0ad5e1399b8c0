// SPDX-License-Identifier: Apache-2.0
// What the encoder writes decodes to the same text where that was UTF-8; the decoder takes anything.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "logs/log_line.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::logs;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  LogEntry entry;
  decode_line(text, entry);
  if (size > kMaxText) return 0;
  std::vector<char> out(encoded_bound(size));
  char* end = encode_line(out.data(), StreamId::kStderr, text, true, "2024-05-01T10:20:30.123456789Z");
  std::string_view line(out.data(), static_cast<size_t>(end - out.data()));
  line.remove_suffix(1);
  if (line.contains('\n') || !decode_line(line, entry) || entry.stream != StreamId::kStderr) abort();
  bool ascii = true;
  for (char c : text) ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  if (ascii && entry.text != std::string(text) + "\n") abort();
  return 0;
}
