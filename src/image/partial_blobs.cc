// SPDX-License-Identifier: Apache-2.0
#include "image/partial_blobs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"
#include "wire/digest.h"

namespace caisson::image {
namespace {

struct Leftover {
  std::string digest, path;
  int64_t size = 0, changed_s = 0;
};

}  // namespace

class PartialBlobs::Intake : public BlobIntake {
 public:
  Intake(PartialBlobs& owner, std::string digest, UniqueFd fd, int64_t size, Publish publish)
      : owner_(owner), digest_(std::move(digest)), fd_(std::move(fd)), size_(size), publish_(std::move(publish)) {}

  ~Intake() override {
    std::lock_guard lock(owner_.mutex_);
    if (size_ == 0) (void)sys::remove_file(owner_.path_of(digest_));
    owner_.busy_.erase(digest_);
  }

  int64_t size() const override { return size_; }

  Result<UniqueFd> open() const override { return sys::open_file(owner_.path_of(digest_), O_RDONLY); }

  Result<> write(std::string_view data) override {
    TRY(hash_what_is_here());
    TRY(sys::write_all(fd_.get(), data));
    hasher_.update(data);
    size_ += static_cast<int64_t>(data.size());
    return {};
  }

  Result<> finish() override {
    TRY(hash_what_is_here());
    std::string got = hasher_.finish();
    if (got != digest_) {
      // Damage may be anywhere in it: nothing of it is worth keeping.
      TRY(restart());
      return fail(ErrorKind::kCorrupt, "blob '%s' has the wrong content: its digest is '%s'", digest_.c_str(),
                  got.c_str());
    }
    TRY(publish_(owner_.path_of(digest_)));
    size_ = 0;  // nothing is left behind
    return {};
  }

  Result<> restart() override {
    if (ftruncate(fd_.get(), 0) < 0 || lseek(fd_.get(), 0, SEEK_SET) < 0) return fail_errno("emptying a partial blob");
    (void)hasher_.finish();  // it starts afresh
    size_ = 0;
    is_hashed_ = true;
    return {};
  }

 private:
  // Only when it is needed: the reader of a resumed download need not wait for it.
  Result<> hash_what_is_here() {
    if (is_hashed_) return {};
    std::string buffer(256 << 10, '\0');
    for (int64_t at = 0; at < size_;) {
      ssize_t got = pread(fd_.get(), buffer.data(), buffer.size(), at);
      if (got <= 0) return fail_errno("reading a partial blob");
      hasher_.update({buffer.data(), static_cast<size_t>(got)});
      at += got;
    }
    is_hashed_ = true;
    return {};
  }

  PartialBlobs& owner_;
  std::string digest_;
  UniqueFd fd_;
  int64_t size_;
  Publish publish_;
  digest::Hasher hasher_;
  bool is_hashed_ = false;
};

std::string PartialBlobs::path_of(std::string_view digest) const {
  return directory_ + "/" + std::string(digest::hex_of(digest));
}

Result<> PartialBlobs::open(const Limits& limits, int64_t now_s) {
  TRY(sys::make_dirs(directory_, 0700));
  for (const std::string& name : TRY(sys::list_dir(directory_)))
    if (!digest::is_valid("sha256:" + name)) TRY(sys::remove_tree(directory_ + "/" + name));
  limits_ = limits;
  drop(&limits_, now_s);
  return {};
}

Result<std::unique_ptr<BlobIntake>> PartialBlobs::begin(const std::string& digest, int64_t max_size, Publish publish) {
  if (!digest::is_valid(digest)) return fail(ErrorKind::kInvalid, "%s is no digest", quoted(digest).c_str());
  drop(&limits_, now_ns() / 1'000'000'000);
  std::lock_guard lock(mutex_);
  if (busy_.contains(digest)) return fail(ErrorKind::kConflict, "blob '%s' is being fetched already", digest.c_str());
  std::string path = path_of(digest);
  auto fd = TRY(sys::open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct stat st {};
  if (fstat(fd.get(), &st) < 0) return fail_errno("stat '%s'", path.c_str());
  if (st.st_size > max_size) {
    if (ftruncate(fd.get(), 0) < 0) return fail_errno("truncate '%s'", path.c_str());
    st.st_size = 0;
  }
  if (lseek(fd.get(), 0, SEEK_END) < 0) return fail_errno("seek '%s'", path.c_str());
  busy_.insert(digest);
  return std::make_unique<Intake>(*this, digest, std::move(fd), st.st_size, std::move(publish));
}

int64_t PartialBlobs::drop(const Limits* limits, int64_t now_s) {
  std::lock_guard lock(mutex_);
  auto names = sys::list_dir(directory_);
  if (!names) {
    log_warn("partial blobs: %s, ignoring", names.error().message.c_str());
    return 0;
  }
  std::vector<Leftover> found;
  for (const std::string& name : *names) {
    Leftover entry{.digest = "sha256:" + name, .path = directory_ + "/" + name};
    struct stat st {};
    if (!digest::is_valid(entry.digest) || lstat(entry.path.c_str(), &st) < 0) continue;
    if (busy_.contains(entry.digest)) continue;
    entry.size = st.st_size;
    entry.changed_s = st.st_mtim.tv_sec;
    found.push_back(std::move(entry));
  }
  // Newest first: they are what is kept while there is room.
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.changed_s > b.changed_s; });
  int64_t kept = 0, freed = 0;
  for (const Leftover& entry : found) {
    kept += entry.size;
    if (limits && kept <= limits->max_bytes && now_s - entry.changed_s <= limits->max_age_s) continue;
    if (auto done = sys::remove_file(entry.path); !done) {
      log_warn("%s, ignoring", done.error().message.c_str());
      continue;
    }
    log_info("removing the partial blob '%s'", entry.digest.c_str());
    kept -= entry.size;
    freed += entry.size;
  }
  return freed;
}

}  // namespace caisson::image
