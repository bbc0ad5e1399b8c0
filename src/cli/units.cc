// SPDX-License-Identifier: Apache-2.0
#include "cli/units.h"

#include <charconv>
#include <cmath>
#include <ctime>

#include "base/clock.h"
#include "base/text.h"

namespace caisson::cli {

Result<int64_t> parse_bytes(std::string_view text) {
  auto invalid = [&] {
    return fail(ErrorKind::kInvalid, "invalid size: '%.*s'", static_cast<int>(text.size()), text.data());
  };
  size_t end = text.find_last_of("0123456789. ");
  if (end == text.npos) return invalid();
  std::string_view number = text.substr(0, end + 1), suffix = text.substr(end + 1);
  if (number.ends_with(' ')) number.remove_suffix(1);
  double value = 0;
  auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), value, std::chars_format::fixed);
  if (error != std::errc() || stop != number.data() + number.size()) return invalid();
  if (value < 0) return invalid();
  std::string unit = to_lower(suffix);
  if (unit.size() > 3) return invalid();
  if (!unit.empty() && unit != "b") {
    static constexpr std::string_view kUnits = "kmgtp";
    size_t power = kUnits.find(unit[0]);
    std::string_view rest = std::string_view(unit).substr(1);
    if (power == kUnits.npos || !(rest.empty() || rest == "b" || rest == "ib")) return invalid();
    value *= std::pow(1024.0, static_cast<double>(power + 1));
  }
  if (value >= 9.3e18) return invalid();
  return static_cast<int64_t>(value);
}

Result<int64_t> parse_nano_cpus(std::string_view text) {
  double value = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::general);
  if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(value))
    return fail(ErrorKind::kInvalid, "failed to parse %.*s as a rational number", static_cast<int>(text.size()),
                text.data());
  double nano = std::round(value * 1e9);
  if (std::fabs(nano - value * 1e9) > 1e-6 * std::max(1.0, std::fabs(value)) || std::fabs(nano) > 9e18)
    return fail(ErrorKind::kInvalid, "value is too precise");
  return static_cast<int64_t>(nano);
}

namespace {
struct DurationUnit {
  std::string_view name;
  double ns;
};
constexpr DurationUnit kDurationUnits[] = {{"ns", 1},   {"us", 1e3}, {"\u00b5s", 1e3}, {"\u03bcs", 1e3},
                                           {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},      {"h", 3600e9}};
}  // namespace

Result<int64_t> parse_duration(std::string_view text) {
  auto invalid = [&] { return fail(ErrorKind::kInvalid, "time: invalid duration %s", go_quote(text).c_str()); };
  std::string_view rest = text;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return 0;
  if (rest.empty()) return invalid();
  double total = 0;
  while (!rest.empty()) {
    double value = 0;
    size_t digits = rest.find_first_not_of("0123456789.");
    if (digits == 0) return invalid();
    if (digits == rest.npos)
      return fail(ErrorKind::kInvalid, "time: missing unit in duration %s", go_quote(text).c_str());
    auto [stop, error] = std::from_chars(rest.data(), rest.data() + digits, value, std::chars_format::fixed);
    if (error != std::errc() || stop != rest.data() + digits) return invalid();
    rest.remove_prefix(digits);
    size_t unit_size = std::min(rest.find_first_of("0123456789."), rest.size());
    std::string_view unit = rest.substr(0, unit_size);
    const DurationUnit* found = nullptr;
    for (const DurationUnit& known : kDurationUnits)
      if (known.name == unit) found = &known;
    if (!found)
      return fail(ErrorKind::kInvalid, "time: unknown unit %s in duration %s", go_quote(unit).c_str(),
                  go_quote(text).c_str());
    total += value * found->ns;
    rest.remove_prefix(unit_size);
  }
  if (total > 9.2e18) return invalid();
  return static_cast<int64_t>(negative ? -total : total);
}

static std::string scaled(double value, double base, const char* const* units, size_t count, int digits) {
  size_t i = 0;
  while (value >= base && i + 1 < count) {
    value /= base;
    ++i;
  }
  return format("%.*g%s", digits, value, units[i]);
}

std::string human_size(double bytes, int digits) {
  static const char* const kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  return scaled(bytes, 1000.0, kUnits, std::size(kUnits), digits);
}

std::string human_size_binary(double bytes) {
  static const char* const kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  return scaled(bytes, 1024.0, kUnits, std::size(kUnits), 4);
}

std::string human_duration(int64_t seconds) {
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return format("%lld seconds", static_cast<long long>(seconds));
  int64_t minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return format("%lld minutes", static_cast<long long>(minutes));
  auto hours = static_cast<int64_t>(std::floor(static_cast<double>(seconds) / 3600.0 + 0.5));
  if (hours == 1) return "About an hour";
  if (hours < 48) return format("%lld hours", static_cast<long long>(hours));
  if (hours < 24 * 7 * 2) return format("%lld days", static_cast<long long>(hours / 24));
  if (hours < 24 * 30 * 2) return format("%lld weeks", static_cast<long long>(hours / 24 / 7));
  if (hours < 24 * 365 * 2) return format("%lld months", static_cast<long long>(hours / 24 / 30));
  return format("%lld years", static_cast<long long>(seconds / 3600 / 24 / 365));
}

std::string go_duration(int64_t ns) {
  if (ns == 0) return "0s";
  std::string sign = ns < 0 ? "-" : "";
  auto left = static_cast<uint64_t>(ns < 0 ? -ns : ns);
  auto fraction = [](uint64_t value, uint64_t unit, const char* name) {
    std::string text = format("%llu", static_cast<unsigned long long>(value / unit));
    if (uint64_t rest = value % unit) {
      std::string digits = format("%llu", static_cast<unsigned long long>(unit + rest)).substr(1);
      digits.erase(digits.find_last_not_of('0') + 1);
      text += "." + digits;
    }
    return text + name;
  };
  if (left < 1000) return sign + fraction(left, 1, "ns");
  if (left < 1000000) return sign + fraction(left, 1000, "\u00b5s");
  if (left < 1000000000) return sign + fraction(left, 1000000, "ms");
  uint64_t minutes = left / 60000000000u;
  std::string out = fraction(left % 60000000000u, 1000000000u, "s");
  if (minutes) out = format("%llum", static_cast<unsigned long long>(minutes % 60)) + out;
  if (minutes >= 60) out = format("%lluh", static_cast<unsigned long long>(minutes / 60)) + out;
  return sign + out;
}

std::optional<bool> parse_bool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (text == yes) return true;
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"})
    if (text == no) return false;
  return std::nullopt;
}

std::optional<int64_t> parse_go_int(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    char mark = static_cast<char>(text[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    text.remove_prefix(mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1);
  }
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  if (value > static_cast<uint64_t>(INT64_MAX) + (negative ? 1 : 0)) return std::nullopt;
  return negative ? static_cast<int64_t>(-value) : static_cast<int64_t>(value);
}

std::string go_quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (byte < 32 || byte == 127)
          out += format("\\x%02x", byte);
        else
          out += c;
    }
  }
  return out + "\"";
}

static std::string seconds_param(int64_t ns) {
  return format("%lld.%09lld", static_cast<long long>(ns / 1000000000), static_cast<long long>(ns % 1000000000));
}

// "2013-01-02", "2013-01-02T13:23" and the like in local time; completed to RFC 3339.
static std::optional<int64_t> parse_local_time(std::string_view text) {
  std::string full(text);
  bool zone = full.find('Z') != full.npos || full.find('+') != full.npos || full.size() > 19 ||
              (full.size() > 16 && full.rfind('-') > 10);
  if (zone) return parse_rfc3339(full);
  if (full.size() == 10) full += "T00";
  if (full.size() == 13) full += ":00";
  if (full.size() == 16) full += ":00";
  auto utc = parse_rfc3339(full + "Z");
  if (!utc) return std::nullopt;
  time_t seconds = static_cast<time_t>(*utc / 1000000000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  parts.tm_isdst = -1;
  return static_cast<int64_t>(mktime(&parts)) * 1000000000 + *utc % 1000000000;
}

Result<std::string> timestamp_param(std::string_view text, int64_t now_ns) {
  if (auto duration = parse_duration(text)) return seconds_param(now_ns - *duration);
  if (text.size() >= 10 && text[4] == '-' && text[7] == '-') {
    auto ns = parse_local_time(text);
    if (!ns && text.size() > 19 && text[19] == '.') ns = parse_local_time(std::string(text) + "Z");
    if (!ns) return fail(ErrorKind::kInvalid, "failed to parse value as time or duration: %s", go_quote(text).c_str());
    return seconds_param(*ns);
  }
  size_t dot = std::min(text.find('.'), text.size());
  if (!parse_int(text.substr(0, dot)) || (dot < text.size() && !parse_uint(text.substr(dot + 1))))
    return fail(ErrorKind::kInvalid, "failed to parse value as time or duration: %s", go_quote(text).c_str());
  return std::string(text);
}

size_t utf8_length(std::string_view text) {
  size_t count = 0;
  for (char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

std::string ellipsis(std::string_view text, size_t width) {
  if (utf8_length(text) <= width) return std::string(text);
  size_t at = 0, seen = 0;
  while (at < text.size() && seen + 1 < width) {
    ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
    ++seen;
  }
  return std::string(text.substr(0, at)) + (width > 0 ? "\u2026" : "");
}

}  // namespace caisson::cli
