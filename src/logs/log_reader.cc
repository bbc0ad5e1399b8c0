// SPDX-License-Identifier: Apache-2.0
// Reading of container logs: finds where to begin, then goes forward from file to file as the writer
// rotates them. Only one file is open at a time; files are told apart by inode, never by name alone.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "base/unique_fd.h"
#include "logs/log_line.h"
#include "sys/files.h"

namespace caisson::logs {

namespace {

constexpr size_t kBlock = 64 << 10;
constexpr size_t kMaxLine = 1 << 20;  // a longer line is broken
constexpr int kRetries = 16;          // of a look-up that a rotation disturbed

struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileId&) const = default;
};

FileId id_of(const struct stat& st) { return {st.st_dev, st.st_ino}; }

std::string name_of(const std::string& path, int index) {
  return index == 0 ? path : path + "." + std::to_string(index);
}

struct OpenLog {
  UniqueFd file;
  FileId id;
  int64_t size = 0;
};

// kNotFound when there is no such file.
Result<OpenLog> open_log(const std::string& path, int index) {
  OpenLog log;
  std::string name = name_of(path, index);
  log.file = TRY(sys::open_file(name, O_RDONLY | O_NOCTTY | O_NONBLOCK));
  struct stat st{};
  if (fstat(log.file.get(), &st) < 0) return fail_errno("fstat '%s'", name.c_str());
  if (!S_ISREG(st.st_mode)) return fail(ErrorKind::kInvalid, "log '%s' is not a regular file", name.c_str());
  log.id = id_of(st);
  log.size = st.st_size;
  return log;
}

class JsonFileReader : public LogReader {
 public:
  JsonFileReader(LogConfig config, ReadOptions options) : config_(std::move(config)), options_(options) {}
  Result<> start();
  Result<bool> next(LogEntry& entry) override;

 private:
  Result<> start_at_tail();
  Result<> start_at_oldest();
  // Moves `missing` lines back from the end of `log`; sets `offset` to where they begin.
  Result<> scan_back(const OpenLog& log, int64_t& missing, int64_t& offset);
  Result<bool> next_line(std::string_view& line);
  Result<bool> fill();
  Result<bool> go_to_successor();
  void use(OpenLog log, int64_t offset);

  LogConfig config_;
  ReadOptions options_;
  OpenLog log_;
  int64_t offset_ = 0;     // of the next read
  std::string buffer_;     // read, not yet given out: from taken_
  size_t taken_ = 0;
  size_t searched_ = 0;    // no newline before this index
  bool skipping_ = false;  // inside a line that is too long
  bool successor_known_ = false;
  bool done_ = false;
};

void JsonFileReader::use(OpenLog log, int64_t offset) {
  log_ = std::move(log);
  offset_ = offset;
  buffer_.clear();
  taken_ = searched_ = 0;
  skipping_ = false;
  successor_known_ = false;
}

Result<> JsonFileReader::start() {
  Result<> started = options_.tail >= 0 ? start_at_tail() : start_at_oldest();
  // A container that has written nothing yet: the file may come later.
  if (!started && started.error().kind == ErrorKind::kNotFound) return {};
  return started;
}

Result<> JsonFileReader::start_at_oldest() {
  for (int attempt = 0; attempt < kRetries; ++attempt) {
    int oldest = 0;
    while (oldest < kMaxFiles && sys::path_exists(name_of(config_.path, oldest + 1))) ++oldest;
    auto log = open_log(config_.path, oldest);
    if (!log && log.error().kind == ErrorKind::kNotFound && oldest > 0) continue;
    use(TRY(std::move(log)), 0);
    return {};
  }
  return fail(ErrorKind::kUnavailable, "log '%s' rotates too fast", config_.path.c_str());
}

Result<> JsonFileReader::start_at_tail() {
  int64_t missing = options_.tail, offset = 0;
  OpenLog log = TRY(open_log(config_.path, 0));
  TRY(scan_back(log, missing, offset));
  // Going to higher numbers, a rotation can only show a file twice; it cannot hide one.
  for (int index = 1; missing > 0 && index <= kMaxFiles; ++index) {
    auto older = open_log(config_.path, index);
    if (!older && older.error().kind == ErrorKind::kNotFound) break;
    if (!older) return std::unexpected(std::move(older).error());
    if (older->id == log.id) continue;
    log = std::move(*older);
    TRY(scan_back(log, missing, offset));
  }
  use(std::move(log), offset);
  return {};
}

Result<> JsonFileReader::scan_back(const OpenLog& log, int64_t& missing, int64_t& offset) {
  offset = log.size;
  if (missing == 0) return {};
  std::string block(kBlock, '\0');
  int64_t end = log.size;
  bool at_end = true;  // the newline that ends the last line begins no line
  while (end > 0) {
    int64_t begin = std::max<int64_t>(0, end - static_cast<int64_t>(kBlock));
    auto want = static_cast<size_t>(end - begin);
    ssize_t got = pread(log.file.get(), block.data(), want, begin);
    if (got < 0) return fail_errno("read '%s'", config_.path.c_str());
    if (static_cast<size_t>(got) < want) break;  // emptied by somebody meanwhile
    for (size_t i = want; i > 0;) {
      auto* newline = static_cast<const char*>(memrchr(block.data(), '\n', i));
      if (!newline) break;
      i = static_cast<size_t>(newline - block.data());
      if (!at_end && --missing == 0) {
        offset = begin + static_cast<int64_t>(i) + 1;
        return {};
      }
      at_end = false;
    }
    at_end = false;
    end = begin;
  }
  offset = 0;
  if (log.size > 0) --missing;  // the first line has no newline before it
  return {};
}

Result<bool> JsonFileReader::fill() {
  if (taken_ > 0) {
    buffer_.erase(0, taken_);
    searched_ -= taken_;
    taken_ = 0;
  }
  if (buffer_.size() > kMaxLine) {
    skipping_ = true;
    buffer_.clear();
    searched_ = 0;
  }
  size_t old = buffer_.size();
  buffer_.resize(old + kBlock);
  ssize_t got = pread(log_.file.get(), buffer_.data() + old, kBlock, offset_);
  int err = errno;
  buffer_.resize(old + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) return fail_errno_of(err, "read '%s'", config_.path.c_str());
  offset_ += got;
  return got > 0;
}

// Called at the end of a file: the next newer one, if there is one.
Result<bool> JsonFileReader::go_to_successor() {
  for (int attempt = 0; attempt < kRetries; ++attempt) {
    // The youngest first: nearly always nothing has rotated and one stat says so.
    int ours = -1;
    FileId younger;
    for (int index = 0; index <= kMaxFiles; ++index) {
      struct stat st{};
      if (stat(name_of(config_.path, index).c_str(), &st) < 0) {
        if (errno != ENOENT) return fail_errno("stat '%s'", config_.path.c_str());
        if (index == 0) return false;  // between two steps of a rotation, or removed
        break;
      }
      if (log_.file && id_of(st) == log_.id) {
        ours = index;
        if (index == 0 && st.st_size < offset_) {  // emptied in place
          OpenLog same = std::move(log_);
          use(std::move(same), 0);
          return true;
        }
        break;
      }
      younger = id_of(st);
    }
    if (ours == 0) return false;
    if (ours < 0) {
      // Our file has fallen off the end, or none was open: go on with the oldest one there is.
      TRY(start_at_oldest());
      return true;
    }
    auto log = open_log(config_.path, ours - 1);
    if (!log && log.error().kind == ErrorKind::kNotFound) continue;
    if (!log) return std::unexpected(std::move(log).error());
    if (log->id != younger) continue;
    use(std::move(*log), 0);
    return true;
  }
  return false;
}

Result<bool> JsonFileReader::next_line(std::string_view& line) {
  while (true) {
    auto* newline = static_cast<const char*>(memchr(buffer_.data() + searched_, '\n', buffer_.size() - searched_));
    if (newline) {
      auto end = static_cast<size_t>(newline - buffer_.data());
      line = std::string_view(buffer_).substr(taken_, end - taken_);
      taken_ = searched_ = end + 1;
      if (!std::exchange(skipping_, false)) return true;
      continue;
    }
    searched_ = buffer_.size();
    if (log_.file && TRY(fill())) {
      successor_known_ = false;
      continue;
    }
    if (log_.file && !successor_known_) {
      struct stat st{};
      if (stat(config_.path.c_str(), &st) == 0 && id_of(st) == log_.id && st.st_size >= offset_) return false;
      // Renamed away: what was written between the read above and the rename is read first.
      successor_known_ = true;
      continue;
    }
    // A half line at the end of a rotated file never gets its rest.
    if (!TRY(go_to_successor())) return false;
  }
}

Result<bool> JsonFileReader::next(LogEntry& entry) {
  std::string_view line;
  while (!done_) {
    if (!TRY(next_line(line))) return false;
    if (!decode_line(line, entry)) continue;
    if (options_.since_ns != 0 && entry.time_ns < options_.since_ns) continue;
    if (options_.until_ns != 0 && entry.time_ns > options_.until_ns) {
      done_ = true;
      break;
    }
    if (entry.stream == StreamId::kStdout ? options_.want_stdout : options_.want_stderr) return true;
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<LogReader>> LogReader::open(const LogConfig& config, const ReadOptions& options) {
  // Docker's text; clients show it as it is.
  if (config.driver != "json-file")
    return fail(ErrorKind::kUnsupported, "configured logging driver does not support reading");
  auto reader = std::make_unique<JsonFileReader>(config, options);
  TRY(reader->start());
  return reader;
}

}  // namespace caisson::logs
