// SPDX-License-Identifier: Apache-2.0
// The bytes behind a URL, for `docker import`: fetched by the confined worker, read here.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "image/pull_progress.h"

namespace caisson::image {

// http and https, with redirects. Errors of the transfer come while reading. The thread that called this reads.
Result<std::unique_ptr<ByteSource>> open_url(const std::string& url, const std::string& fetch_program);

// Tells how much of a source has been read.
class CountingSource : public ByteSource {
 public:
  CountingSource(ByteSource& inner, ProgressSink& sink, const std::string& status)
      : inner_(inner), meter_(sink, status, "", -1) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t got = TRY(inner_.read(buffer));
    meter_.at(bytes_ += static_cast<int64_t>(got));
    return got;
  }

 private:
  ByteSource& inner_;
  TransferMeter meter_;
  int64_t bytes_ = 0;
};

// The worker's side: GET `url` into `out`.
Result<> download_url(const std::string& url, const std::string& ca_pem, ByteSink& out);

}  // namespace caisson::image
