// SPDX-License-Identifier: Apache-2.0
// Streaming tar reader for archives from anywhere: v7, ustar, star, GNU and pax, every number and length
// checked. It knows nothing of file systems; paths come out as they are in the archive.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "wire/tar_entry.h"
#include "wire/tar_sparse.h"

namespace caisson::tar {

struct Limits {
  size_t max_path = 4096;          // also of link targets
  size_t max_pax_bytes = 1 << 20;  // one extended header
  uint64_t max_entries = 5'000'000;
  // A few bytes may stand for a file of exabytes: only for readers that use skip_hole().
  bool allow_sparse = false;
};

class Reader : public ByteSource {
 public:
  explicit Reader(ByteSource& inner, Limits limits = {});
  ~Reader() override;
  // The next member, skipping what is left of the current one; nullopt at the end of the archive.
  // kInvalid for what is no tar or breaks a limit, kUnsupported for multi-volume parts, and sparse files unless
  // allowed.
  Result<std::optional<Entry>> next();
  // Data of the current member, 0 at its end. Holes are read as zeros.
  Result<size_t> read(std::span<char> buffer) override;
  // Goes past the hole that begins here; its bytes, 0 where data or the end follows.
  uint64_t skip_hole();
  // Reads `inner` to its end, so that a digest over it covers everything.
  Result<> drain();

 private:
  struct Extended;
  Result<bool> fill();                   // false at the end of the input
  Result<bool> read_block(char* block);  // false at a clean end
  Result<size_t> read_stored(std::span<char> buffer);
  Result<std::string> read_text(uint64_t size, size_t limit, const char* what);
  Result<> skip_rest();
  Result<std::optional<Entry>> parse(const char* block, Extended& extended);
  Result<> set_data(const char* block, Extended& extended, uint64_t stored, Entry& entry);
  Result<> take_pax(std::string_view records, Extended& extended);

  ByteSource& inner_;
  Limits limits_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  uint64_t data_left_ = 0, padding_left_ = 0;
  uint64_t entries_ = 0;
  // Of a sparse member: where its data goes, and how far the reader is in the file.
  bool is_sparse_ = false;
  std::vector<Extent> extents_;
  size_t extent_ = 0;
  uint64_t position_ = 0, file_size_ = 0;
  bool at_end_ = false;
};

}  // namespace caisson::tar
