// SPDX-License-Identifier: Apache-2.0
// One record of driver `local`: u32 size | flags | i64 time | text | u32 size, little-endian; `size` is that
// of what lies between its two copies. The one behind lets a reader go backwards from the end of a file.
#pragma once

#include <cstddef>
#include <string_view>

#include "logs/line_cutter.h"

namespace caisson::logs {

inline constexpr size_t kRecordHead = 4 + 1 + 8;
inline constexpr size_t kRecordOverhead = kRecordHead + 4;
inline constexpr size_t kMaxRecord = kRecordOverhead + kMaxText;

// Writes one record and returns its end; `out` has room for kRecordOverhead + text.
char* encode_record(char* out, const Line& line);

// Size of the record that begins at data[0], both copies agreeing; 0 when there is none. `needed`: bytes
// that would have to be there to tell, larger than data.size() when more may help.
size_t record_size(std::string_view data, size_t& needed);
// Size of the record that ends where `data` ends; 0 when there is none.
size_t record_size_before(std::string_view data);
// End of the last whole record in `data`, whatever lies behind it; 0 when there is none.
size_t last_record_end(std::string_view data);
// `record` as record_size() has found it.
void decode_record(std::string_view record, LogEntry& entry);

}  // namespace caisson::logs
