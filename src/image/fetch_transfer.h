// SPDX-License-Identifier: Apache-2.0
// Single registry transfers as the fetch worker does them: manifests, blobs with resume, uploads. Blocking; no
// threads, no protocol. Tests call these directly against a hostile server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/registry_client.h"

namespace caisson::image {

// A failed transfer with the registry's own error code, where it gave one.
struct TransferError {
  Error error;
  std::string code;
};
template <class T = void>
using TransferResult = std::expected<T, TransferError>;

struct RetryPolicy {
  int tries = 4;             // without much gained in between
  int first_delay_ms = 500;  // doubled each time
  int max_wait_s = 20;       // longest Retry-After that is waited for
  int window_s = 60;         // a blob that brings hardly anything for so long counts as broken off
};

// One exchange; what may pass by itself (429, 5xx, a connection that breaks before the answer) is tried again.
Result<std::unique_ptr<registry::RegistryResponse>> send_patiently(registry::RegistryClient& client,
                                                                   const registry::RegistryRequest& request,
                                                                   const RetryPolicy& policy);

// Whether the registry takes the client's credentials (or wants none). kDenied in Docker's words otherwise.
TransferResult<> check_login(registry::RegistryClient& client);

struct ManifestAnswer {
  std::string body, media_type, digest;  // digest as the registry's header says, "" without one
  int64_t size = -1;
};
// GET or HEAD (then without body) of a manifest by tag or digest. At most kMaxManifestBytes.
TransferResult<ManifestAnswer> get_manifest(registry::RegistryClient& client, const std::string& repository,
                                            const std::string& reference, bool head_only, RetryPolicy policy = {});
// {"tags": [...]} of all pages together.
TransferResult<std::string> get_tags(registry::RegistryClient& client, const std::string& repository,
                                     RetryPolicy policy = {});
// An index of the manifests whose subject is `digest`, all pages together; empty where there are none. Registries
// without the referrers API keep it under the tag that the distribution specification has for that.
TransferResult<std::string> get_referrers(registry::RegistryClient& client, const std::string& repository,
                                          const std::string& digest, RetryPolicy policy = {});
// Answer of a search index; `target` begins with /v1/search.
TransferResult<std::string> get_search(registry::RegistryClient& client, const std::string& target,
                                       RetryPolicy policy = {});

// The bytes of a blob, exactly `size` of them or an error. A connection that breaks is taken up again where it
// broke (Range), without the reader noticing; so is one that hardly brings anything.
class BlobSource : public ByteSource {
 public:
  BlobSource(registry::RegistryClient& client, const std::string& repository, const std::string& digest, int64_t size,
             RetryPolicy policy = {}, int64_t offset = 0);  // from `offset` on
  Result<size_t> read(std::span<char> buffer) override;
  const std::string& code() const { return code_; }

 private:
  Result<> connect();
  Result<> check_rate();

  registry::RegistryClient& client_;
  std::string target_, digest_, code_;
  int64_t size_, offset_;
  RetryPolicy policy_;
  int failures_ = 0;
  int64_t failed_at_ = 0;  // offset of the last failure
  int64_t window_start_ns_ = 0, window_offset_ = 0;
  std::optional<int64_t> wait_s_;  // what the registry asked for
  std::unique_ptr<registry::RegistryResponse> response_;
};

// Size of a blob the repository has, or -1.
TransferResult<int64_t> find_blob(registry::RegistryClient& client, const std::string& repository,
                                  const std::string& digest, RetryPolicy policy = {});

struct UploadRequest {
  std::string repository, digest, mount_from;
  int fd = -1;  // regular file, read from 0 by pread
  int64_t size = 0;
};
// True if the blob was mounted from `mount_from` instead of sent. In one piece, or in chunks where the registry asks
// for them (OCI-Chunk-Min-Length) or refuses the whole (413); a chunk that breaks is taken up where the registry has
// it.
TransferResult<bool> upload_blob(registry::RegistryClient& client, const UploadRequest& request,
                                 const std::function<void(int64_t)>& on_progress, RetryPolicy policy = {});
// Only the mount, nothing is sent: false where the registry does not do it or the source may not be read.
TransferResult<bool> mount_blob(registry::RegistryClient& client, const UploadRequest& request,
                                RetryPolicy policy = {});
// The digest under which the registry filed it, "" if it did not say.
TransferResult<std::string> put_manifest(registry::RegistryClient& client, const std::string& repository,
                                         const std::string& reference, const std::string& media_type, std::string body,
                                         RetryPolicy policy = {});

}  // namespace caisson::image
