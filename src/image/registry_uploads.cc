// SPDX-License-Identifier: Apache-2.0
#include "image/registry_uploads.h"

#include <fcntl.h>

#include <atomic>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "sys/files.h"
#include "wire/digest.h"

namespace caisson::image {

struct RegistryUploads::Upload {
  std::string repository, path;
  UniqueFd file;
  digest::Hasher hasher;
  std::atomic<int64_t> size = 0, touched_ns = 0;
  bool busy = false;  // guarded by mutex_
  ~Upload() {
    if (path.empty()) return;
    if (auto done = sys::remove_file(path); !done) log_debug("%s, ignoring", done.error().message.c_str());
  }
};

struct RegistryUploads::Mutex : std::mutex {};

RegistryUploads::RegistryUploads(std::string tmp) : tmp_(std::move(tmp)), mutex_(std::make_unique<Mutex>()) {}
RegistryUploads::~RegistryUploads() = default;

Result<std::string> RegistryUploads::begin(const std::string& repository) {
  expire(monotonic_ns());
  auto upload = std::make_shared<Upload>();
  std::string id = random_hex(32);
  upload->repository = repository;
  upload->touched_ns = monotonic_ns();
  std::lock_guard lock(*mutex_);
  if (uploads_.size() >= kMaxUploads) return fail(ErrorKind::kExhausted, "more than %zu uploads are open", kMaxUploads);
  upload->file = TRY(sys::open_file(path_of(id), O_WRONLY | O_CREAT | O_EXCL, 0600));
  upload->path = path_of(id);
  uploads_[id] = std::move(upload);
  return id;
}

Result<int64_t> RegistryUploads::size(const std::string& repository, const std::string& id) {
  std::lock_guard lock(*mutex_);
  auto found = uploads_.find(id);
  if (found == uploads_.end() || found->second->repository != repository)
    return fail(ErrorKind::kNotFound, "no such upload");
  return found->second->size.load();
}

Result<std::shared_ptr<RegistryUploads::Upload>> RegistryUploads::take(const std::string& repository,
                                                                       const std::string& id) {
  std::lock_guard lock(*mutex_);
  auto found = uploads_.find(id);
  if (found == uploads_.end() || found->second->repository != repository)
    return fail(ErrorKind::kNotFound, "no such upload");
  if (found->second->busy) return fail(ErrorKind::kConflict, "another request works on this upload");
  found->second->busy = true;
  auto held = found->second;
  return std::shared_ptr<Upload>(held.get(), [this, held](Upload*) {
    std::lock_guard again(*mutex_);
    held->busy = false;
    held->touched_ns = monotonic_ns();
  });
}

Result<int64_t> RegistryUploads::append(const std::string& repository, const std::string& id,
                                        std::optional<int64_t> offset, ByteSource& bytes) {
  auto upload = TRY(take(repository, id));
  if (offset && *offset != upload->size)
    return fail(ErrorKind::kExists, "the upload has %lld bytes", static_cast<long long>(upload->size.load()));
  std::vector<char> buffer(256 << 10);
  while (size_t got = TRY(bytes.read(buffer))) {
    if (upload->size + static_cast<int64_t>(got) > kMaxBlob)
      return fail(ErrorKind::kExhausted, "blobs of more than %lld bytes are not taken",
                  static_cast<long long>(kMaxBlob));
    // Written before it is counted: a full disk leaves an upload that goes on from its size.
    if (auto written = sys::write_all(upload->file.get(), {buffer.data(), got}); !written) {
      if (ftruncate(upload->file.get(), upload->size) < 0 || lseek(upload->file.get(), upload->size, SEEK_SET) < 0)
        return fail_errno("truncate an upload");
      return std::unexpected(std::move(written).error());
    }
    upload->hasher.update({buffer.data(), got});
    upload->size += static_cast<int64_t>(got);
    upload->touched_ns = monotonic_ns();
  }
  return upload->size.load();
}

Result<std::string> RegistryUploads::finish(const std::string& repository, const std::string& id,
                                            const std::string& digest) {
  auto upload = TRY(take(repository, id));
  {
    std::lock_guard lock(*mutex_);
    uploads_.erase(id);
  }
  std::string found = upload->hasher.finish();
  if (found != digest) return fail(ErrorKind::kCorrupt, "the digest of what was uploaded is '%s'", found.c_str());
  return std::exchange(upload->path, {});
}

Result<> RegistryUploads::cancel(const std::string& repository, const std::string& id) {
  auto upload = TRY(take(repository, id));
  std::lock_guard lock(*mutex_);
  uploads_.erase(id);
  return {};
}

void RegistryUploads::expire(int64_t now) {
  std::lock_guard lock(*mutex_);
  std::erase_if(uploads_,
                [&](const auto& entry) { return !entry.second->busy && now - entry.second->touched_ns > kIdleNs; });
}

int64_t RegistryUploads::bytes() {
  std::lock_guard lock(*mutex_);
  int64_t total = 0;
  for (const auto& [id, upload] : uploads_) total += upload->size;
  return total;
}

}  // namespace caisson::image
