// SPDX-License-Identifier: Apache-2.0
#include "monitor/exit_record.h"

#include <optional>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::monitor {

namespace {

constexpr size_t kMaxRecord = 8192, kMaxErrorText = 2048;

std::string path_in(const std::string& record_dir) { return record_dir + "/exit.json"; }

// The value of `key`, up to the next comma or brace; no nesting, no strings with those.
std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  std::string pattern = "\"" + std::string(key) + "\":";
  size_t at = text.find(pattern);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + pattern.size());
  size_t end = text.find_first_of(",}");
  if (end == std::string_view::npos) return std::nullopt;
  return trim(text.substr(0, end));
}

int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

}  // namespace

std::string encode_exit_record(const ExitRecord& record) {
  // Hex, as it may hold anything.
  std::string error;
  for (unsigned char c : std::string_view(record.error).substr(0, kMaxErrorText)) error += format("%02x", c);
  return format(
      "{\"exit_code\":%d,\"oom_killed\":%s,\"started_ns\":%lld,\"finished_ns\":%lld,\"restart_count\":%lld,\"error\":"
      "\"%s\"}\n",
      record.exit_code, record.oom_killed ? "true" : "false", static_cast<long long>(record.started_ns),
      static_cast<long long>(record.finished_ns), static_cast<long long>(record.restart_count), error.c_str());
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
  ExitRecord record{
      static_cast<int>(*code), *oom == "true", *started, *finished, number("restart_count").value_or(0), ""};
  auto error = value_of(text, "error").value_or("");
  for (size_t i = 1; i + 2 < error.size(); i += 2) {
    int high = hex_digit(error[i]), low = hex_digit(error[i + 1]);
    if (high < 0 || low < 0) return fail(ErrorKind::kCorrupt, "exit record is malformed");
    record.error += static_cast<char>(high * 16 + low);
  }
  return record;
}

Result<> write_exit_record(const std::string& record_dir, const ExitRecord& record, bool sync) {
  return sys::replace_file(path_in(record_dir), encode_exit_record(record), 0600, sync);
}

Result<ExitRecord> read_exit_record(const std::string& record_dir) {
  return decode_exit_record(TRY(sys::read_file(path_in(record_dir), kMaxRecord)));
}

Result<> remove_exit_record(const std::string& record_dir) { return sys::remove_file(path_in(record_dir)); }

}  // namespace caisson::monitor
