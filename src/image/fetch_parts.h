// SPDX-License-Identifier: Apache-2.0
// Parts of repositories moved one by one and as they are, without any image being made of them: what lists of
// manifests and artifacts are put together from. Each call starts fetch workers of its own and blocks. `code`, where
// the registry gave one, is its own word for the failure.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "image/pull.h"

namespace caisson::image {

inline constexpr int64_t kMaxPartBytes = int64_t{64} << 30;

// Files `body` under the reference's digest, else its tag; what the digest does not fit is kInvalid. The digest.
Result<std::string> put_remote_document(const FetchConfig& config, const TransferRequest& request,
                                        const std::string& media_type, const std::string& body, std::string& code);

// An index of the manifests that name the reference's digest as their subject.
Result<std::string> find_referrers(const FetchConfig& config, const TransferRequest& request, std::string& code);

struct BlobPart {
  std::string digest;
  int64_t size = -1;
};
// All of `body` as a blob of the repository: spooled to disk, hashed, sent where the registry lacks it.
Result<BlobPart> put_remote_blob(const FetchConfig& config, const TransferRequest& request, ByteSource& body,
                                 std::string& code);
// To `out`, hashed on the way: with kCorrupt after the last byte `out` has had what it must not keep.
Result<> get_remote_blob(const FetchConfig& config, const TransferRequest& request, const BlobPart& part, ByteSink& out,
                         std::string& code);
// A blob that the repository `from` of the same registry has: there already, mounted, or else copied.
Result<> adopt_remote_blob(const FetchConfig& config, const TransferRequest& request, const std::string& from,
                           const BlobPart& part, std::string& code);

}  // namespace caisson::image
