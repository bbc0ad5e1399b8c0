// SPDX-License-Identifier: Apache-2.0
#include "image/blob_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>

#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"
#include "wire/digest.h"

namespace caisson::image {

SpooledBlob& SpooledBlob::operator=(SpooledBlob&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(digest_, other.digest_);
  std::swap(size_, other.size_);
  return *this;
}

SpooledBlob::~SpooledBlob() {
  if (path_.empty()) return;
  if (auto done = sys::remove_file(path_); !done) log_debug("%s, ignoring", done.error().message.c_str());
}

Result<UniqueFd> SpooledBlob::open() const { return sys::open_file(path_, O_RDONLY); }
Result<std::string> SpooledBlob::read(size_t limit) const { return sys::read_file(path_, limit); }

Result<BlobStore> BlobStore::open(const std::string& root, const std::string& tmp) {
  BlobStore store;
  store.directory_ = root + "/images";
  store.tmp_ = tmp;
  TRY(sys::make_dirs(store.directory_ + "/blobs/sha256", 0700));
  // Of documents that were being replaced when the engine ended.
  for (const std::string& name : TRY(sys::list_dir(store.directory_)))
    if (name.find(".tmp-") != std::string::npos) TRY(sys::remove_file(store.directory_ + "/" + name));
  std::string layout = store.directory_ + "/oci-layout";
  if (!sys::path_exists(layout)) TRY(sys::replace_file(layout, R"({"imageLayoutVersion":"1.0.0"})"));
  return store;
}

std::string BlobStore::path_of(std::string_view digest) const {
  return directory_ + "/blobs/sha256/" + std::string(digest::hex_of(digest));
}

bool BlobStore::has(std::string_view digest) const {
  return digest::is_valid(digest) && sys::path_exists(path_of(digest));
}

Result<UniqueFd> BlobStore::open_blob(std::string_view digest) const {
  if (!has(digest)) return fail(ErrorKind::kNotFound, "no such blob: %s", quoted(digest).c_str());
  return sys::open_file(path_of(digest), O_RDONLY);
}

Result<std::string> BlobStore::read(std::string_view digest, size_t limit) const {
  auto fd = TRY(open_blob(digest));
  return TRY_CTX(sys::read_fd(fd.get(), limit), "blob " + quoted(digest));
}

Result<int64_t> BlobStore::size(std::string_view digest) const {
  struct stat st {};
  if (!digest::is_valid(digest)) return fail(ErrorKind::kNotFound, "no such blob: %s", quoted(digest).c_str());
  if (stat(path_of(digest).c_str(), &st) < 0) {
    if (errno == ENOENT) return fail(ErrorKind::kNotFound, "no such blob: %s", quoted(digest).c_str());
    return fail_errno("stat blob %s", quoted(digest).c_str());
  }
  return st.st_size;
}

Result<SpooledBlob> BlobStore::spool(ByteSource& bytes) const {
  SpooledBlob blob;
  std::string path = tmp_ + "/image-blob-" + random_hex(16);
  auto fd = TRY(sys::open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
  blob.path_ = std::move(path);
  digest::Hasher hasher;
  std::vector<char> buffer(256 << 10);
  while (size_t got = TRY(bytes.read(buffer))) {
    hasher.update({buffer.data(), got});
    TRY(sys::write_all(fd.get(), {buffer.data(), got}));
    blob.size_ += got;
  }
  blob.digest_ = hasher.finish();
  return blob;
}

Result<SpooledBlob> BlobStore::spool(std::string_view bytes) const {
  StringSource source(bytes);
  return spool(source);
}

Result<> BlobStore::publish(SpooledBlob& blob) const {
  std::string path = path_of(blob.digest_);
  if (rename(blob.path_.c_str(), path.c_str()) < 0) return fail_errno("rename to '%s'", path.c_str());
  blob.path_.clear();
  return {};
}

Result<> BlobStore::take_in(std::string_view digest, const std::string& path) const {
  if (rename(path.c_str(), path_of(digest).c_str()) < 0) return fail_errno("rename '%s' to a blob", path.c_str());
  return {};
}

Result<> BlobStore::remove(std::string_view digest) const { return sys::remove_file(path_of(digest)); }

Result<std::vector<std::string>> BlobStore::list() const {
  std::vector<std::string> out;
  for (const std::string& name : TRY(sys::list_dir(directory_ + "/blobs/sha256")))
    if (std::string digest = "sha256:" + name; digest::is_valid(digest)) out.push_back(std::move(digest));
  return out;
}

Result<> BlobStore::write_index(std::string_view json) const {
  // Not synced: it is derived from the database and written anew by every open.
  return sys::replace_file(directory_ + "/index.json", json);
}

}  // namespace caisson::image
