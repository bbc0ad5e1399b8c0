// SPDX-License-Identifier: Apache-2.0
// An image archive that came in as a stream, spooled: every member is a file in tmp/ with its digest, found
// by name, links inside the archive followed. Only reading and naming; what the members mean is
// archive_load.cc's affair.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/bytes.h"
#include "image/blob_store.h"

namespace caisson::image {

class ArchiveMembers {
 public:
  // Reads the whole stream, gzip or zstd compressed or not. kInvalid for what is no tar. `on_file` sees each file once
  // it is there.
  static Result<ArchiveMembers> read(ByteSource& tar, const BlobStore& blobs,
                                     const std::function<void(const SpooledBlob&)>& on_file = {});

  // nullptr when there is none.
  SpooledBlob* find(const std::string& name);
  SpooledBlob* find_blob(const std::string& digest) { return find(blob_name(digest)); }
  // A JSON member; kInvalid when it is missing or too large.
  Result<std::string> text(const std::string& name, size_t limit);
  static std::string blob_name(const std::string& digest);

 private:
  std::map<std::string, SpooledBlob> files_;
  std::map<std::string, std::string> links_;
};

}  // namespace caisson::image
