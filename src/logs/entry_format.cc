// SPDX-License-Identifier: Apache-2.0
#include "logs/entry_format.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "logs/local_record.h"
#include "logs/log_line.h"

namespace caisson::logs {

namespace {

constexpr size_t kBlock = 64 << 10;
constexpr size_t kMaxLine = 1 << 20;  // a longer line is broken

// Up to kBlock bytes that end at `end`; empty when the file has become shorter meanwhile.
Result<std::string_view> read_before(int file, int64_t end, std::string& block) {
  block.resize(kBlock);
  int64_t begin = std::max<int64_t>(0, end - static_cast<int64_t>(kBlock));
  auto want = static_cast<size_t>(end - begin);
  ssize_t got = pread(file, block.data(), want, begin);
  if (got < 0) return fail_errno("read log");
  return std::string_view(block.data(), static_cast<size_t>(got) < want ? 0 : want);
}

class JsonFormat : public EntryFormat {
 public:
  explicit JsonFormat(bool details) : details_(details) {}
  bool take(std::string_view data, size_t& used, LogEntry& entry) override;
  void reset() override { skipping_ = false; }
  Result<int64_t> scan_back(int file, int64_t size, int64_t& missing) override;

 private:
  bool details_;
  bool skipping_ = false;  // inside a line that is too long
};

bool JsonFormat::take(std::string_view data, size_t& used, LogEntry& entry) {
  for (used = 0;;) {
    size_t size = data.find('\n', used);
    if (size == std::string_view::npos) break;
    std::string_view line = data.substr(used, size - used);
    used = size + 1;
    if (!std::exchange(skipping_, false) && decode_line(line, entry, details_)) return true;
  }
  if (data.size() - used > kMaxLine) {
    skipping_ = true;
    used = data.size();
  }
  return false;
}

Result<int64_t> JsonFormat::scan_back(int file, int64_t size, int64_t& missing) {
  if (missing == 0) return size;
  std::string block;
  bool at_end = true;  // the newline that ends the last line begins no line
  for (int64_t end = size; end > 0;) {
    auto data = TRY(read_before(file, end, block));
    if (data.empty()) return 0;
    end -= static_cast<int64_t>(data.size());
    while (!data.empty()) {
      auto* newline = static_cast<const char*>(memrchr(data.data(), '\n', data.size()));
      if (!newline) break;
      data = data.substr(0, static_cast<size_t>(newline - data.data()));
      if (!at_end && --missing == 0) return end + static_cast<int64_t>(data.size()) + 1;
      at_end = false;
    }
    at_end = false;
  }
  if (size > 0) --missing;  // the first line has no newline before it
  return 0;
}

class LocalFormat : public EntryFormat {
 public:
  explicit LocalFormat(std::string details) : details_(std::move(details)) {}
  bool take(std::string_view data, size_t& used, LogEntry& entry) override;
  Result<int64_t> scan_back(int file, int64_t size, int64_t& missing) override;

 private:
  std::string details_;
};

bool LocalFormat::take(std::string_view data, size_t& used, LogEntry& entry) {
  for (used = 0; used < data.size(); ++used) {
    size_t needed, size = record_size(data.substr(used), needed);
    if (size > 0) {
      decode_record(data.substr(used, size), entry);
      entry.details = details_;
      used += size;
      return true;
    }
    if (needed > data.size() - used) return false;
  }
  return false;
}

Result<int64_t> LocalFormat::scan_back(int file, int64_t size, int64_t& missing) {
  std::string block;
  for (int64_t end = size; missing > 0 && end > 0;) {
    auto data = TRY(read_before(file, end, block));
    if (data.empty()) return 0;
    int64_t begin = end - static_cast<int64_t>(data.size());
    // The rest of a block may be the second half of a record.
    while (missing > 0 && !data.empty() && (data.size() >= kMaxRecord || begin == 0)) {
      size_t last = record_size_before(data);
      data.remove_suffix(std::max<size_t>(last, 1));
      if (last > 0) --missing;
    }
    end = begin + static_cast<int64_t>(data.size());
    if (missing == 0) return end;
  }
  return missing == 0 ? size : 0;
}

}  // namespace

std::unique_ptr<EntryFormat> EntryFormat::of(const LogConfig& config, bool details) {
  if (config.json()) return std::make_unique<JsonFormat>(details);
  return std::make_unique<LocalFormat>(details ? render_details(config.attrs) : "");
}

}  // namespace caisson::logs
