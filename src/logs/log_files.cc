// SPDX-License-Identifier: Apache-2.0
#include "logs/log_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "logs/local_record.h"
#include "sys/files.h"

namespace caisson::logs {

std::string file_name(const std::string& path, int index) {
  return index == 0 ? path : path + "." + std::to_string(index);
}
std::string gzip_name(const std::string& path, int index) { return file_name(path, index) + ".gz"; }
std::string temporary_gzip_name(const std::string& path) { return path + ".gz.tmp"; }

std::string directory_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

Result<> LogFiles::open() {
  TRY(open_current());
  TRY(mend());
  TRY(sys::remove_file(temporary_gzip_name(config_.path)));
  begin_compression();
  return {};
}

Result<> LogFiles::open_current() {
  file_ = TRY(sys::open_file(config_.path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0640));
  struct stat st {};
  if (fstat(file_.get(), &st) < 0) return fail_errno("fstat '%s'", config_.path.c_str());
  if (!S_ISREG(st.st_mode)) return fail(ErrorKind::kInvalid, "log '%s' is not a regular file", config_.path.c_str());
  size_ = st.st_size;
  torn_ = false;
  return {};
}

// A json line that breaks off is closed by a newline, and readers skip it. A record that breaks off is cut
// away: no reader has taken it.
Result<> LogFiles::mend() {
  if (size_ == 0) return {};
  if (config_.json()) {
    char last = '\n';
    torn_ = pread(file_.get(), &last, 1, size_ - 1) == 1 && last != '\n';
    return {};
  }
  std::string end(static_cast<size_t>(std::min<int64_t>(size_, 4 * kMaxRecord)), '\0');
  int64_t begin = size_ - static_cast<int64_t>(end.size());
  if (pread(file_.get(), end.data(), end.size(), begin) != static_cast<ssize_t>(end.size()))
    return fail_errno("read '%s'", config_.path.c_str());
  size_t whole = last_record_end(end);
  if (whole == end.size()) return {};
  // Nothing of ours at all: readers skip it, so what is written behind it can be read.
  if (whole == 0 && begin > 0) return {};
  if (ftruncate(file_.get(), begin + static_cast<int64_t>(whole)) < 0)
    return fail_errno("truncate '%s'", config_.path.c_str());
  size_ = begin + static_cast<int64_t>(whole);
  return {};
}

Result<> LogFiles::write(std::string_view data) {
  if (torn_) TRY(sys::write_all(file_.get(), "\n"));
  // Until the write is through the file may end in half an entry; a full disk must not break the next one.
  torn_ = config_.json();
  auto written = sys::write_all(file_.get(), data);
  if (!written) {
    if (auto mended = open_current(); mended && !config_.json()) (void)mend().has_value();
    torn_ = config_.json();
    return with_context(std::move(written).error(), "writing log '" + config_.path + "'");
  }
  torn_ = false;
  size_ += static_cast<int64_t>(data.size());
  // Twice the pace of the writing: done long before the next rotation, and no timer is needed.
  if (job_) compress(2 * data.size());
  return {};
}

bool LogFiles::rotation_due(size_t buffered) {
  if (config_.max_size <= 0 || size_ + static_cast<int64_t>(buffered) < config_.max_size) return false;
  // clear_logs() empties the file behind our back.
  struct stat st {};
  if (fstat(file_.get(), &st) == 0 && st.st_size < size_) size_ = st.st_size;
  return size_ + static_cast<int64_t>(buffered) >= config_.max_size;
}

Result<> LogFiles::rotate() {
  const std::string& path = config_.path;
  // The newest file is replaced, never emptied: readers keep their place in the old one.
  for (int i = config_.max_files - 1; i >= 1; --i) {
    std::string plain = file_name(path, i), packed = gzip_name(path, i);
    if (rename(file_name(path, i - 1).c_str(), plain.c_str()) == 0)
      TRY(sys::remove_file(packed));
    else if (errno != ENOENT)
      return fail_errno("rename '%s'", file_name(path, i - 1).c_str());
    else if (i == 1)
      continue;
    else if (rename(gzip_name(path, i - 1).c_str(), packed.c_str()) == 0)
      TRY(sys::remove_file(plain));
    else if (errno != ENOENT)
      return fail_errno("rename '%s'", gzip_name(path, i - 1).c_str());
  }
  if (config_.max_files <= 1) TRY(sys::remove_file(path));
  if (job_ && ++job_index_ >= config_.max_files) job_.reset();
  TRY(open_current());
  if (!job_) begin_compression();
  return {};
}

// The oldest plain one first. A failure leaves a file uncompressed, which readers take as well.
void LogFiles::begin_compression() {
  job_.reset();
  if (!config_.compress) return;
  for (int i = config_.max_files - 1; i >= 1; --i) {
    std::string plain = file_name(config_.path, i);
    if (!sys::path_exists(plain)) continue;
    (void)sys::remove_file(gzip_name(config_.path, i)).has_value();
    auto job = GzipJob::begin(plain, temporary_gzip_name(config_.path));
    if (!job) return;
    job_ = std::move(*job);
    job_index_ = i;
    return;
  }
}

void LogFiles::compress(size_t bytes) {
  auto done = job_->step(bytes);
  if (done && !*done) return;
  auto job = std::move(job_);
  std::string plain = file_name(config_.path, job_index_);
  struct stat st {};
  // It may have been cleared away meanwhile, and must not come back.
  if (!done || stat(plain.c_str(), &st) < 0 || st.st_ino != job->inode()) return;
  if (rename(temporary_gzip_name(config_.path).c_str(), gzip_name(config_.path, job_index_).c_str()) < 0) return;
  job->take();
  (void)sys::remove_file(plain).has_value();
  begin_compression();
}

}  // namespace caisson::logs
