// SPDX-License-Identifier: Apache-2.0
// Blobs on their way into the registry server: piece by piece, in order, hashed as they come. Thread-safe; an upload
// belongs to the request that works on it. What is not finished goes with the engine or after an hour without a byte.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::image {

class RegistryUploads {
 public:
  static constexpr size_t kMaxUploads = 256;
  static constexpr int64_t kMaxBlob = int64_t{64} << 30;
  static constexpr int64_t kIdleNs = int64_t{3600} * 1'000'000'000;

  explicit RegistryUploads(std::string tmp);
  ~RegistryUploads();

  // kExhausted when too many are open.
  Result<std::string> begin(const std::string& repository);
  // Bytes so far; kNotFound for an upload of another repository, too.
  Result<int64_t> size(const std::string& repository, const std::string& id);
  // The size afterwards. With an `offset` that is not the size: kExists, nothing is read. What came before an error
  // stays. kConflict while another request works on it, kExhausted beyond kMaxBlob.
  Result<int64_t> append(const std::string& repository, const std::string& id, std::optional<int64_t> offset,
                         ByteSource& bytes);
  // Ends it: the file, whose content has the digest, is the caller's. kCorrupt when it has another; then it is gone.
  Result<std::string> finish(const std::string& repository, const std::string& id, const std::string& digest);
  Result<> cancel(const std::string& repository, const std::string& id);
  void expire(int64_t monotonic_now);
  int64_t bytes();  // of all together

 private:
  struct Upload;
  // Marks it as being worked on until the pointer goes.
  Result<std::shared_ptr<Upload>> take(const std::string& repository, const std::string& id);
  std::string path_of(const std::string& id) const { return tmp_ + "/image-upload-" + id; }

  std::string tmp_;
  struct Mutex;
  std::unique_ptr<Mutex> mutex_;  // guards uploads_
  std::map<std::string, std::shared_ptr<Upload>> uploads_;
};

}  // namespace caisson::image
