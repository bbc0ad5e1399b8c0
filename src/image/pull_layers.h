// SPDX-License-Identifier: Apache-2.0
// The layers of one pull: which are missing, several at once through one pipeline of download, store and unpack.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/fetch_session.h"
#include "image/image_store.h"
#include "image/pull_progress.h"
#include "spec/oci_image.h"

namespace caisson::image {

// Most bytes a layer may unpack to: a ratio no honest compressor reaches, and an end for any layer.
inline constexpr int64_t kMaxLayerRatio = 1100;
inline constexpr int64_t kMaxLayerUnpacked = int64_t{64} << 30;
int64_t unpacked_limit(int64_t compressed_size);

struct PullOptions {
  int max_parallel = 3;                       // layers at once
  const std::atomic<bool>* cancel = nullptr;  // may be null
};

// Brings in every layer that the store lacks, going on from what earlier tries have left and sharing the work with
// other pulls of this process. On the first error the session is aborted; what has been fetched by then stays for the
// next try.
Result<> pull_layers(ImageStore& store, FetchSession& session, const PullOptions& options,
                     const spec::Manifest& manifest, const spec::ImageConfig& config, ProgressSink& sink);

}  // namespace caisson::image
