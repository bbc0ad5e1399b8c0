// SPDX-License-Identifier: Apache-2.0
#include "logs/file_sink.h"

#include <cstdlib>

#include "base/clock.h"
#include "logs/local_record.h"
#include "logs/log_line.h"

namespace caisson::logs {

namespace {
// Holds the longest possible entry; above malloc's mmap threshold, so that freeing it gives it back.
constexpr size_t kBufferSize = 160 << 10;
constexpr size_t kFlushAt = 64 << 10;
static_assert(kFlushAt < kBufferSize && kMaxRecord + kFlushAt < kBufferSize);
}  // namespace

FileSink::FileSink(LogConfig config) : config_(std::move(config)), files_(config_) {
  if (config_.json()) attrs_ = encode_attrs(config_.attrs);
}

FileSink::~FileSink() { free(buffer_); }

size_t FileSink::bound(size_t text) const {
  return config_.json() ? encoded_bound(text) + attrs_.size() : kRecordOverhead + text;
}

char* FileSink::encode(char* out, const Line& line) {
  if (!config_.json()) return encode_record(out, line);
  if (line.time_ns != time_ns_) {
    time_ns_ = line.time_ns;
    time_ = format_rfc3339(time_ns_);
  }
  return encode_line(out, line.stream, line.text, line.newline, time_, attrs_);
}

Result<> FileSink::add(const Line& line) {
  size_t capacity = kBufferSize + attrs_.size();
  if (used_ + bound(line.text.size()) > capacity || used_ >= kFlushAt) TRY(flush());
  if (files_.rotation_due(used_)) {
    TRY(flush());
    TRY(files_.rotate());
  }
  if (!buffer_) {
    buffer_ = static_cast<char*>(malloc(capacity));
    if (!buffer_) return fail(ErrorKind::kExhausted, "no memory for the log buffer");
  }
  used_ = static_cast<size_t>(encode(buffer_ + used_, line) - buffer_);
  return {};
}

Result<> FileSink::flush() {
  if (used_ == 0) return {};
  size_t size = std::exchange(used_, 0);
  return files_.write({buffer_, size});
}

void FileSink::release_memory() {
  if (used_ > 0) return;
  free(buffer_);
  buffer_ = nullptr;
}

}  // namespace caisson::logs
