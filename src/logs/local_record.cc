// SPDX-License-Identifier: Apache-2.0
#include "logs/local_record.h"

#include <endian.h>

#include <cstring>

namespace caisson::logs {

namespace {

// Low bits: the stream. The high ones mark a record, so that zeros and text rarely look like one.
constexpr unsigned char kMark = 0xa0, kNewline = 0x04, kStreams = 0x03;

uint32_t size_at(const char* at) {
  uint32_t size;
  memcpy(&size, at, sizeof size);
  return le32toh(size);
}

bool plausible(uint32_t size, unsigned char flags) {
  unsigned char stream = flags & kStreams;
  return size >= 9 && size <= kMaxRecord - 8 && (flags & ~(kNewline | kStreams)) == kMark &&
         (stream == 1 || stream == 2);
}

}  // namespace

char* encode_record(char* out, const Line& line) {
  uint32_t size = htole32(static_cast<uint32_t>(9 + line.text.size()));
  uint64_t time = htole64(static_cast<uint64_t>(line.time_ns));
  memcpy(out, &size, 4);
  out[4] = static_cast<char>(kMark | static_cast<unsigned char>(line.stream) | (line.newline ? kNewline : 0));
  memcpy(out + 5, &time, 8);
  memcpy(out + kRecordHead, line.text.data(), line.text.size());
  memcpy(out + kRecordHead + line.text.size(), &size, 4);
  return out + kRecordOverhead + line.text.size();
}

size_t record_size(std::string_view data, size_t& needed) {
  needed = 5;
  if (data.size() < needed) return 0;
  uint32_t size = size_at(data.data());
  if (!plausible(size, static_cast<unsigned char>(data[4]))) return 0;
  needed = size + 8;
  if (data.size() < needed || size_at(data.data() + size + 4) != size) return 0;
  return needed;
}

size_t record_size_before(std::string_view data) {
  if (data.size() < kRecordOverhead) return 0;
  size_t whole = size_t{size_at(data.data() + data.size() - 4)} + 8, needed;
  if (whole > data.size() || whole > kMaxRecord) return 0;
  return record_size(data.substr(data.size() - whole), needed) == whole ? whole : 0;
}

size_t last_record_end(std::string_view data) {
  while (!data.empty() && record_size_before(data) == 0) data.remove_suffix(1);
  return data.size();
}

void decode_record(std::string_view record, LogEntry& entry) {
  auto flags = static_cast<unsigned char>(record[4]);
  uint64_t time;
  memcpy(&time, record.data() + 5, sizeof time);
  entry.stream = static_cast<StreamId>(flags & kStreams);
  entry.time_ns = static_cast<int64_t>(le64toh(time));
  entry.text.assign(record.substr(kRecordHead, record.size() - kRecordOverhead));
  if (flags & kNewline) entry.text += '\n';
}

}  // namespace caisson::logs
