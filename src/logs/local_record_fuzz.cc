// SPDX-License-Identifier: Apache-2.0
// The decoder of driver local takes anything; what it accepts encodes to the same bytes; scanning from both
// ends stays inside.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "logs/local_record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::logs;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  LogEntry entry;
  for (size_t at = 0; at < size;) {
    size_t needed = 0, whole = record_size(text.substr(at), needed);
    if (whole == 0) {
      ++at;
      continue;
    }
    if (whole > size - at || whole != needed) abort();
    decode_record(text.substr(at, whole), entry);
    Line line{entry.stream, entry.text, entry.text.size() + kRecordOverhead > whole, entry.time_ns, 0};
    if (line.newline) line.text.remove_suffix(1);
    std::vector<char> out(kMaxRecord);
    char* end = encode_record(out.data(), line);
    if (static_cast<size_t>(end - out.data()) != whole || memcmp(out.data(), data + at, whole) != 0) abort();
    if (record_size_before(text.substr(0, at + whole)) != whole) abort();
    at += whole;
  }
  size_t end = last_record_end(text);
  if (end > size || (end > 0 && record_size_before(text.substr(0, end)) == 0)) abort();
  return 0;
}
