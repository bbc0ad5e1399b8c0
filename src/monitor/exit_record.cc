// SPDX-License-Identifier: Apache-2.0
#include "monitor/exit_record.h"

#include <optional>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::monitor {

namespace {

constexpr size_t kMaxRecord = 4096;

std::string path_in(const std::string& record_dir) { return record_dir + "/exit.json"; }

// The value of `key`, up to the next comma or brace; no nesting, no strings.
std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  std::string pattern = "\"" + std::string(key) + "\":";
  size_t at = text.find(pattern);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + pattern.size());
  size_t end = text.find_first_of(",}");
  if (end == std::string_view::npos) return std::nullopt;
  return trim(text.substr(0, end));
}

}  // namespace

std::string encode_exit_record(const ExitRecord& record) {
  return format("{\"exit_code\":%d,\"oom_killed\":%s,\"started_ns\":%lld,\"finished_ns\":%lld}\n", record.exit_code,
                record.oom_killed ? "true" : "false", static_cast<long long>(record.started_ns),
                static_cast<long long>(record.finished_ns));
}

Result<ExitRecord> decode_exit_record(std::string_view text) {
  auto number = [&](std::string_view key) {
    auto value = value_of(text, key);
    return value ? parse_int(*value) : std::nullopt;
  };
  auto code = number("exit_code"), started = number("started_ns"), finished = number("finished_ns");
  auto oom = value_of(text, "oom_killed");
  if (!code || *code < 0 || *code > 255 || !started || !finished || !oom || (*oom != "true" && *oom != "false"))
    return fail(ErrorKind::kCorrupt, "exit record is malformed");
  return ExitRecord{static_cast<int>(*code), *oom == "true", *started, *finished};
}

Result<> write_exit_record(const std::string& record_dir, const ExitRecord& record, bool sync) {
  return sys::replace_file(path_in(record_dir), encode_exit_record(record), 0600, sync);
}

Result<ExitRecord> read_exit_record(const std::string& record_dir) {
  return decode_exit_record(TRY(sys::read_file(path_in(record_dir), kMaxRecord)));
}

Result<> remove_exit_record(const std::string& record_dir) { return sys::remove_file(path_in(record_dir)); }

}  // namespace caisson::monitor
