// SPDX-License-Identifier: Apache-2.0
// Writing of container logs: splits the stream into lines, batches them into one write, rotates.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "logs/log_line.h"
#include "sys/files.h"

namespace caisson::logs {

namespace {

// Holds the longest possible entry; above malloc's mmap threshold, so that freeing it gives it back.
constexpr size_t kBufferSize = 160 << 10;
constexpr size_t kFlushAt = 64 << 10;

class NoneWriter : public LogWriter {
 public:
  Result<> append(StreamId, std::string_view, int64_t) override { return {}; }
  Result<> flush() override { return {}; }
  Result<> finish() override { return {}; }
};

class JsonFileWriter : public LogWriter {
 public:
  explicit JsonFileWriter(LogConfig config) : config_(std::move(config)) {}
  ~JsonFileWriter() override { free(buffer_); }

  Result<> open_current(int extra_flags);
  Result<> append(StreamId stream, std::string_view data, int64_t time_ns) override;
  Result<> flush() override;
  Result<> finish() override;
  void release_memory() override;

 private:
  // The beginning of a line whose end has not come yet.
  struct Pending {
    std::string text;
    std::string time;      // of the first byte; all parts of one line carry it, as in Docker
    bool in_parts = false;
  };

  Result<> add_entry(StreamId stream, std::string_view text, bool newline, std::string_view time);
  Result<> rotate();
  void set_time(int64_t time_ns);

  LogConfig config_;
  UniqueFd file_;
  int64_t file_size_ = 0;
  bool torn_ = false;      // the file ends inside a line
  char* buffer_ = nullptr;
  size_t used_ = 0;
  Pending pending_[2];
  int64_t time_ns_ = -1;
  std::string time_;
};

Result<> JsonFileWriter::open_current(int extra_flags) {
  file_ = TRY(sys::open_file(config_.path, O_RDWR | O_CREAT | O_APPEND | extra_flags, 0640));
  struct stat st{};
  if (fstat(file_.get(), &st) < 0) return fail_errno("fstat '%s'", config_.path.c_str());
  if (!S_ISREG(st.st_mode)) return fail(ErrorKind::kInvalid, "log '%s' is not a regular file", config_.path.c_str());
  file_size_ = st.st_size;
  char last = '\n';
  torn_ = st.st_size > 0 && pread(file_.get(), &last, 1, st.st_size - 1) == 1 && last != '\n';
  return {};
}

void JsonFileWriter::set_time(int64_t time_ns) {
  if (time_ns == time_ns_) return;
  time_ns_ = time_ns;
  time_ = format_rfc3339(time_ns);
}

Result<> JsonFileWriter::append(StreamId stream, std::string_view data, int64_t time_ns) {
  set_time(time_ns);
  Pending& pending = pending_[stream == StreamId::kStderr];
  while (!data.empty()) {
    size_t room = kMaxText - pending.text.size();
    auto* newline = static_cast<const char*>(memchr(data.data(), '\n', std::min(room, data.size())));
    size_t size = newline ? static_cast<size_t>(newline - data.data()) : std::min(room, data.size());
    bool whole = newline || size == room;
    if (pending.text.empty() && !pending.in_parts) pending.time = time_;
    if (!whole) {
      pending.text.append(data);
      return {};
    }
    Result<> added;
    if (pending.text.empty()) {
      added = add_entry(stream, data.substr(0, size), newline, pending.time);
    } else {
      pending.text.append(data.substr(0, size));
      added = add_entry(stream, pending.text, newline, pending.time);
      pending.text.clear();
    }
    pending.in_parts = !newline;
    data.remove_prefix(size + (newline ? 1 : 0));
    TRY(std::move(added));
  }
  return {};
}

Result<> JsonFileWriter::add_entry(StreamId stream, std::string_view text, bool newline, std::string_view time) {
  if (used_ + encoded_bound(text.size()) > kBufferSize || used_ >= kFlushAt) TRY(flush());
  if (config_.max_size > 0 && file_size_ + static_cast<int64_t>(used_) >= config_.max_size) {
    TRY(flush());
    TRY(rotate());
  }
  if (!buffer_) {
    buffer_ = static_cast<char*>(malloc(kBufferSize));
    if (!buffer_) return fail(ErrorKind::kExhausted, "no memory for the log buffer");
  }
  used_ = static_cast<size_t>(encode_line(buffer_ + used_, stream, text, newline, time) - buffer_);
  return {};
}

Result<> JsonFileWriter::flush() {
  if (used_ == 0) return {};
  size_t size = std::exchange(used_, 0);
  if (torn_) TRY(sys::write_all(file_.get(), "\n"));
  // Until the write is through the file may end in half a line; a full disk must not break the next one.
  torn_ = true;
  auto written = sys::write_all(file_.get(), {buffer_, size});
  if (!written) return with_context(std::move(written).error(), "writing log '" + config_.path + "'");
  torn_ = false;
  file_size_ += static_cast<int64_t>(size);
  return {};
}

Result<> JsonFileWriter::rotate() {
  // The newest file is replaced, never emptied: readers keep their place in the old one.
  for (int i = config_.max_files - 1; i >= 1; --i) {
    std::string from = i == 1 ? config_.path : config_.path + "." + std::to_string(i - 1);
    std::string to = config_.path + "." + std::to_string(i);
    if (rename(from.c_str(), to.c_str()) < 0 && errno != ENOENT) return fail_errno("rename '%s'", from.c_str());
  }
  if (config_.max_files <= 1) TRY(sys::remove_file(config_.path));
  return open_current(0);
}

Result<> JsonFileWriter::finish() {
  for (StreamId stream : {StreamId::kStdout, StreamId::kStderr}) {
    Pending& pending = pending_[stream == StreamId::kStderr];
    if (pending.text.empty()) continue;
    std::string text = std::move(pending.text);
    pending = {};
    TRY(add_entry(stream, text, false, pending.time.empty() ? time_ : pending.time));
  }
  return flush();
}

void JsonFileWriter::release_memory() {
  if (used_ > 0) return;
  free(buffer_);
  buffer_ = nullptr;
  for (Pending& pending : pending_)
    if (pending.text.empty()) pending.text.shrink_to_fit();
}

}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::open(const LogConfig& config) {
  if (config.driver == "none") return std::make_unique<NoneWriter>();
  if (config.driver != "json-file")
    return fail(ErrorKind::kUnsupported, "log driver %s is not known", quoted(config.driver).c_str());
  if (config.max_files > kMaxFiles) return fail(ErrorKind::kInvalid, "more than %d log files", kMaxFiles);
  auto writer = std::make_unique<JsonFileWriter>(config);
  TRY(writer->open_current(0));
  return writer;
}

Result<> remove_logs(const LogConfig& config) {
  if (config.driver == "none" || config.path.empty()) return {};
  size_t slash = config.path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : config.path.substr(0, slash + 1);
  std::string prefix = (slash == std::string::npos ? config.path : config.path.substr(slash + 1)) + ".";
  auto names = sys::list_dir(directory);
  if (!names && names.error().kind == ErrorKind::kNotFound) return {};
  for (const std::string& name : TRY(std::move(names)))
    if (name.starts_with(prefix) && parse_uint(std::string_view(name).substr(prefix.size())))
      TRY(sys::remove_file(directory + (slash == std::string::npos ? "/" : "") + name));
  return sys::remove_file(config.path);
}

}  // namespace caisson::logs
