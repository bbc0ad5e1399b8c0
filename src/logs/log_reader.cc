// SPDX-License-Identifier: Apache-2.0
// Reading of container logs: finds where to begin, then goes forward from file to file as the writer
// rotates and compresses them. Only one file is open at a time; files are told apart by inode, never by
// name alone.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/unique_fd.h"
#include "logs/entry_format.h"
#include "logs/log_files.h"
#include "sys/files.h"

namespace caisson::logs {

namespace {

constexpr size_t kBlock = 64 << 10;
constexpr int kRetries = 16;  // of a look-up that a rotation disturbed

struct OpenLog {
  UniqueFd file;
  UniqueFd packed;        // of a compressed one, so that its inode is not used again meanwhile
  ino_t inode = 0;        // of the file below its name
  ino_t plain_inode = 0;  // of what it was before it was compressed; the same when it was not
  bool compressed = false;
  int64_t size = 0;
  bool same_as(const OpenLog& held) const {
    return compressed == held.compressed ? inode == held.inode : compressed && plain_inode == held.inode;
  }
};

// Files only move to higher numbers, so whoever looks at them upwards misses none; but between two steps of a
// rotation one number is free.
constexpr int kGap = 2;

// Without contents when compressed. kNotFound when there is no such file.
Result<OpenLog> open_log(const std::string& path, int index) {
  OpenLog log;
  std::string name = file_name(path, index);
  auto file = sys::open_file(name, O_RDONLY | O_NOCTTY | O_NONBLOCK);
  log.compressed = !file && index > 0 && file.error().kind == ErrorKind::kNotFound;
  if (log.compressed) file = sys::open_file(name = gzip_name(path, index), O_RDONLY | O_NOCTTY | O_NONBLOCK);
  log.file = TRY(std::move(file));
  struct stat st {};
  if (fstat(log.file.get(), &st) < 0) return fail_errno("fstat '%s'", name.c_str());
  if (!S_ISREG(st.st_mode)) return fail(ErrorKind::kInvalid, "log '%s' is not a regular file", name.c_str());
  log.inode = st.st_ino;
  log.plain_inode = log.compressed ? plain_inode_of(log.file.get()) : st.st_ino;
  log.size = st.st_size;
  return log;
}

class FileReader : public LogReader {
 public:
  FileReader(LogConfig config, ReadOptions options)
      : config_(std::move(config)), options_(options), format_(EntryFormat::of(config_, options.details)) {}
  Result<> start();
  Result<bool> next(LogEntry& entry) override;
  LogCursor position() const override {
    return {log_.plain_inode, offset_ - static_cast<int64_t>(buffer_.size() - taken_)};
  }
  bool ended() const override { return done_; }

 private:
  Result<> start_at_tail();
  Result<> start_after(const LogCursor& cursor);
  Result<> start_at_oldest();
  Result<bool> next_entry(LogEntry& entry);
  Result<bool> fill();
  Result<bool> go_to_successor();
  Result<> inflate(OpenLog& log);
  void use(OpenLog log, int64_t offset);

  LogConfig config_;
  ReadOptions options_;
  std::unique_ptr<EntryFormat> format_;
  OpenLog log_;
  int64_t offset_ = 0;  // of the next read
  std::string buffer_;  // read, not yet given out: from taken_
  size_t taken_ = 0;
  bool successor_known_ = false;
  bool done_ = false;
};

void FileReader::use(OpenLog log, int64_t offset) {
  log_ = std::move(log);
  offset_ = offset;
  buffer_.clear();
  taken_ = 0;
  format_->reset();
  successor_known_ = false;
}

Result<> FileReader::inflate(OpenLog& log) {
  if (!log.compressed) return {};
  log.packed = std::move(log.file);
  log.file = TRY_CTX(inflate_to_nameless(log.packed.get(), directory_of(config_.path)), "reading a compressed log");
  struct stat st {};
  if (fstat(log.file.get(), &st) < 0) return fail_errno("fstat");
  log.size = st.st_size;
  return {};
}

Result<> FileReader::start() {
  Result<> started = options_.after       ? start_after(*options_.after)
                     : options_.tail >= 0 ? start_at_tail()
                                          : start_at_oldest();
  // A container that has written nothing yet: the file may come later.
  if (!started && started.error().kind == ErrorKind::kNotFound) return {};
  return started;
}

Result<> FileReader::start_at_oldest() {
  for (int attempt = 0; attempt < kRetries; ++attempt) {
    int oldest = 0;
    for (int index = 1; index < oldest + 1 + kGap && index <= kMaxFiles; ++index)
      if (sys::path_exists(file_name(config_.path, index)) || sys::path_exists(gzip_name(config_.path, index)))
        oldest = index;
    auto log = open_log(config_.path, oldest);
    if (!log && log.error().kind == ErrorKind::kNotFound && oldest > 0) continue;
    if (log) TRY(inflate(*log));
    use(TRY(std::move(log)), 0);
    return {};
  }
  return fail(ErrorKind::kUnavailable, "log '%s' rotates too fast", config_.path.c_str());
}

Result<> FileReader::start_after(const LogCursor& cursor) {
  for (int index = 0, missed = 0; cursor.inode != 0 && missed < kGap && index <= kMaxFiles; ++index) {
    auto log = open_log(config_.path, index);
    missed = log ? 0 : missed + 1;
    if (!log || log->plain_inode != cursor.inode) continue;
    TRY(inflate(*log));
    bool emptied = log->size < cursor.offset;
    use(std::move(*log), emptied ? 0 : cursor.offset);
    return {};
  }
  // Its file has fallen off the end: what there is is younger.
  return start_at_oldest();
}

Result<> FileReader::start_at_tail() {
  int64_t missing = options_.tail;
  OpenLog log = TRY(open_log(config_.path, 0));
  int64_t offset = TRY(format_->scan_back(log.file.get(), log.size, missing));
  // Going to higher numbers, a rotation can only show a file twice; it cannot hide one.
  for (int index = 1, missed = 0; missing > 0 && index <= kMaxFiles; ++index) {
    auto older = open_log(config_.path, index);
    if (!older && older.error().kind == ErrorKind::kNotFound) {
      if (++missed == kGap) break;
      continue;
    }
    missed = 0;
    if (!older) return std::unexpected(std::move(older).error());
    if (older->same_as(log)) continue;
    TRY(inflate(*older));
    log = std::move(*older);
    offset = TRY(format_->scan_back(log.file.get(), log.size, missing));
  }
  use(std::move(log), offset);
  return {};
}

// What is there of an entry that was not whole is read again with its rest: the writer may have cut it away and put
// another one there.
Result<bool> FileReader::fill() {
  std::string old = buffer_.substr(taken_);
  int64_t from = position().offset;
  taken_ = 0;
  buffer_.resize(old.size() + kBlock);
  ssize_t got = pread(log_.file.get(), buffer_.data(), buffer_.size(), from);
  int err = errno;
  buffer_.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  offset_ = from + static_cast<int64_t>(buffer_.size());
  if (got < 0) return fail_errno_of(err, "read '%s'", config_.path.c_str());
  return buffer_.size() > old.size() || !std::string_view(old).starts_with(buffer_);
}

// Called at the end of a file: the next newer one, if there is one.
Result<bool> FileReader::go_to_successor() {
  // The youngest first: nearly always nothing has rotated and one look says so.
  OpenLog younger;
  for (int index = 0, missed = 0; missed < kGap && index <= kMaxFiles; ++index) {
    auto log = open_log(config_.path, index);
    if (!log && log.error().kind != ErrorKind::kNotFound) return std::unexpected(std::move(log).error());
    if (!log) {
      ++missed;
      continue;
    }
    missed = 0;
    if (!log_.file || !log->same_as(log_)) {
      younger = std::move(*log);
      continue;
    }
    if (younger.file) {
      TRY(inflate(younger));
      use(std::move(younger), 0);
      return true;
    }
    if (index > 0 || log->size >= offset_) return false;
    // Emptied in place, or only what was not whole has been cut away.
    int64_t consumed = position().offset, size = log->size;
    use(std::move(*log), size < consumed ? 0 : consumed);
    return true;
  }
  if (!younger.file) return false;  // nothing there, or removed
  // Our file has fallen off the end, or none was open: go on with the oldest one there is.
  TRY(start_at_oldest());
  return true;
}

Result<bool> FileReader::next_entry(LogEntry& entry) {
  while (true) {
    size_t used = 0;
    bool found = format_->take(std::string_view(buffer_).substr(taken_), used, entry);
    taken_ += used;
    if (found) return true;
    if (log_.file && TRY(fill())) {
      successor_known_ = false;
      continue;
    }
    if (log_.file && !successor_known_) {
      struct stat st {};
      if (stat(config_.path.c_str(), &st) == 0 && !log_.compressed && st.st_ino == log_.inode && st.st_size >= offset_)
        return false;
      // Renamed away: what was written between the read above and the rename is read first.
      successor_known_ = true;
      continue;
    }
    // Half an entry at the end of a rotated file never gets its rest.
    if (!TRY(go_to_successor())) return false;
  }
}

Result<bool> FileReader::next(LogEntry& entry) {
  while (!done_) {
    if (!TRY(next_entry(entry))) return false;
    if (options_.since_ns != 0 && entry.time_ns < options_.since_ns) continue;
    if (options_.until_ns != 0 && entry.time_ns > options_.until_ns) {
      done_ = true;
      break;
    }
    if (entry.stream == StreamId::kStdout ? options_.want_stdout : options_.want_stderr) return true;
  }
  return false;
}

// Docker's text; clients show it as it is.
std::unexpected<Error> unreadable() {
  return fail(ErrorKind::kUnsupported, "configured logging driver does not support reading");
}

}  // namespace

Result<std::unique_ptr<LogReader>> LogReader::open(const LogConfig& config, const ReadOptions& options) {
  if (!config.has_files()) return unreadable();
  auto reader = std::make_unique<FileReader>(config, options);
  TRY(reader->start());
  return reader;
}

Result<> remove_logs(const LogConfig& config) {
  if (!config.has_files() || config.path.empty()) return {};
  std::string directory = directory_of(config.path);
  std::string prefix = config.path.substr(config.path.rfind('/') + 1) + ".";
  auto names = sys::list_dir(directory);
  if (!names && names.error().kind == ErrorKind::kNotFound) return {};
  for (const std::string& name : TRY(std::move(names)))
    if (name.starts_with(prefix)) TRY(sys::remove_file(directory + "/" + name));
  return sys::remove_file(config.path);
}

Result<> clear_logs(const LogConfig& config) {
  if (!config.has_files()) return unreadable();
  // First the current one: what a rotation makes old meanwhile is empty. A compression that is under way finds at its
  // end that there is nothing left to replace.
  if (truncate(config.path.c_str(), 0) < 0 && errno != ENOENT) return fail_errno("truncate '%s'", config.path.c_str());
  for (int index = 1, missed = 0; missed < kGap && index <= kMaxFiles; ++index) {
    bool plain = unlink(file_name(config.path, index).c_str()) == 0,
         packed = unlink(gzip_name(config.path, index).c_str()) == 0;
    missed = plain || packed ? 0 : missed + 1;
  }
  if (unlink(temporary_gzip_name(config.path).c_str()) < 0 && errno != ENOENT)
    return fail_errno("unlink '%s'", temporary_gzip_name(config.path).c_str());
  return {};
}

}  // namespace caisson::logs
