// SPDX-License-Identifier: Apache-2.0
// Single registry transfers as the fetch worker does them: manifests, blobs with resume, uploads. Blocking; no
// threads, no protocol. Tests call these directly against a hostile server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
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
  int tries = 4;             // without a byte gained in between
  int first_delay_ms = 500;  // doubled each time
};

// Whether the registry takes the client's credentials (or wants none). kDenied in Docker's words otherwise.
TransferResult<> check_login(registry::RegistryClient& client);

struct ManifestAnswer {
  std::string body, media_type, digest;  // digest as the registry's header says, "" without one
  int64_t size = -1;
};
// GET or HEAD (then without body) of a manifest by tag or digest. At most kMaxManifestBytes.
TransferResult<ManifestAnswer> get_manifest(registry::RegistryClient& client, const std::string& repository,
                                            const std::string& reference, bool head_only);
TransferResult<std::string> get_tags(registry::RegistryClient& client, const std::string& repository);

// The bytes of a blob, exactly `size` of them or an error. A connection that breaks is taken up again where it
// broke (Range), without the reader noticing.
class BlobSource : public ByteSource {
 public:
  BlobSource(registry::RegistryClient& client, const std::string& repository, const std::string& digest, int64_t size,
             RetryPolicy policy = {}, int64_t offset = 0);  // from `offset` on
  Result<size_t> read(std::span<char> buffer) override;
  const std::string& code() const { return code_; }

 private:
  Result<> connect();

  registry::RegistryClient& client_;
  std::string target_, digest_, code_;
  int64_t size_, offset_;
  RetryPolicy policy_;
  int failures_ = 0;
  std::unique_ptr<registry::RegistryResponse> response_;
};

// Size of a blob the repository has, or -1.
TransferResult<int64_t> find_blob(registry::RegistryClient& client, const std::string& repository,
                                  const std::string& digest);

struct UploadRequest {
  std::string repository, digest, mount_from;
  int fd = -1;  // regular file, read from 0 by pread
  int64_t size = 0;
};
// True if the blob was mounted from `mount_from` instead of sent.
TransferResult<bool> upload_blob(registry::RegistryClient& client, const UploadRequest& request,
                                 const std::function<void(int64_t)>& on_progress, RetryPolicy policy = {});
// The digest under which the registry filed it, "" if it did not say.
TransferResult<std::string> put_manifest(registry::RegistryClient& client, const std::string& repository,
                                         const std::string& reference, const std::string& media_type, std::string body);

}  // namespace caisson::image
