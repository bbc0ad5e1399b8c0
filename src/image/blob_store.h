// SPDX-License-Identifier: Apache-2.0
// Blobs by digest in the form of an OCI image layout (<root>/images). A blob has its final name only when
// it is complete and checked; it is flushed before an image that needs it is recorded, and open() drops what
// no image needs. Thread-safe: the file system's rename is the only shared state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::image {

// A file below tmp/ that goes away with this object unless it was published.
class SpooledBlob {
 public:
  SpooledBlob() = default;
  SpooledBlob(SpooledBlob&& other) noexcept { *this = std::move(other); }
  SpooledBlob& operator=(SpooledBlob&& other) noexcept;
  ~SpooledBlob();
  Result<UniqueFd> open() const;  // positioned at 0
  Result<std::string> read(size_t limit) const;
  const std::string& digest() const { return digest_; }
  uint64_t size() const { return size_; }

 private:
  friend class BlobStore;
  std::string path_, digest_;
  uint64_t size_ = 0;
};

class BlobStore {
 public:
  // Makes `<root>/images` where it is missing; `tmp` is on the same file system.
  static Result<BlobStore> open(const std::string& root, const std::string& tmp);

  bool has(std::string_view digest) const;
  Result<UniqueFd> open_blob(std::string_view digest) const;  // kNotFound
  Result<std::string> read(std::string_view digest, size_t limit) const;
  Result<int64_t> size(std::string_view digest) const;

  Result<SpooledBlob> spool(ByteSource& bytes) const;
  Result<SpooledBlob> spool(std::string_view bytes) const;
  Result<> publish(SpooledBlob& blob) const;
  // The file at `path`, whose digest the caller has computed.
  Result<> take_in(std::string_view digest, const std::string& path) const;
  Result<> remove(std::string_view digest) const;
  Result<std::vector<std::string>> list() const;  // digests

  // index.json, derived from the database: other tools find images through it.
  Result<> write_index(std::string_view json) const;

 private:
  std::string path_of(std::string_view digest) const;
  std::string directory_, tmp_;
};

}  // namespace caisson::image
