// SPDX-License-Identifier: Apache-2.0
// Blobs on their way in, one file per digest (<root>/images/partial/<64 hex>): what a failed, cancelled or killed
// download has brought stays and is gone on from. A blob that is complete and right moves on at once. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "image/image_store.h"

namespace caisson::image {

class PartialBlobs {
 public:
  struct Limits {
    int64_t max_age_s = 7 * 24 * 3600;
    int64_t max_bytes = int64_t{16} << 30;  // of all together; the oldest go first
  };

  explicit PartialBlobs(std::string directory) : directory_(std::move(directory)) {}
  // Makes the directory, drops what is no blob, too old or too much.
  Result<> open(const Limits& limits, int64_t now_s);

  // The blob `digest`, never of more than `max_size` bytes. kConflict while another intake has it. Once it is complete
  // and right, `publish` takes the file away.
  using Publish = std::function<Result<>(const std::string& path)>;
  Result<std::unique_ptr<BlobIntake>> begin(const std::string& digest, int64_t max_size, Publish publish);

  // Drops what no intake has: what is beyond `limits` where given, else all. The bytes freed.
  int64_t drop(const Limits* limits, int64_t now_s);

 private:
  class Intake;
  std::string path_of(std::string_view digest) const;

  std::string directory_;
  Limits limits_;
  std::mutex mutex_;
  std::set<std::string> busy_;
};

}  // namespace caisson::image
