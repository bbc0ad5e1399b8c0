// SPDX-License-Identifier: Apache-2.0
// Streaming tar writer: ustar headers, pax records only where ustar cannot say it. The same entries
// always give the same bytes.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/tar_entry.h"

namespace caisson::tar {

class Writer {
 public:
  explicit Writer(ByteSink& inner) : inner_(inner) {}
  // The header; for kFile exactly entry.size bytes of write() must follow before the next call.
  Result<> begin(const Entry& entry);
  Result<> write(std::string_view data);
  // Header and data. kIo if `data` is shorter or longer than entry.size.
  Result<> add(const Entry& entry, ByteSource& data);
  Result<> add(Entry entry, std::string_view data);  // sets entry.size
  // The end of the archive.
  Result<> finish();

 private:
  Result<> end_member();
  ByteSink& inner_;
  uint64_t data_left_ = 0, padding_ = 0;
};

}  // namespace caisson::tar
