// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <ctime>

#include "base/text.h"

namespace caisson {

static constexpr int64_t kSecond = 1000000000;

static int64_t read_clock(clockid_t clock) {
  timespec ts{};
  clock_gettime(clock, &ts);
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

int64_t now_ns() { return read_clock(CLOCK_REALTIME); }
int64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }

static std::string seconds_text(int64_t ns, int64_t* fraction) {
  time_t seconds = static_cast<time_t>(ns / kSecond);
  *fraction = ns % kSecond;
  if (*fraction < 0) {
    *fraction += kSecond;
    --seconds;
  }
  tm parts{};
  gmtime_r(&seconds, &parts);
  return format("%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                parts.tm_min, parts.tm_sec);
}

std::string format_rfc3339(int64_t ns) {
  int64_t fraction;
  std::string out = seconds_text(ns, &fraction);
  if (fraction) {
    std::string digits = format("%09lld", static_cast<long long>(fraction));
    digits.erase(digits.find_last_not_of('0') + 1);
    out += "." + digits;
  }
  return out + "Z";
}

std::string format_rfc3339_fixed(int64_t ns) {
  int64_t fraction;
  std::string out = seconds_text(ns, &fraction);
  return out + format(".%09lldZ", static_cast<long long>(fraction));
}

std::optional<int64_t> parse_rfc3339(std::string_view text) {
  auto number = [&](size_t at, size_t size) -> std::optional<int64_t> {
    if (at + size > text.size()) return std::nullopt;
    auto value = parse_uint(text.substr(at, size));
    if (!value) return std::nullopt;
    return static_cast<int64_t>(*value);
  };
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' ||
      text[16] != ':')
    return std::nullopt;
  auto year = number(0, 4), month = number(5, 2), day = number(8, 2), hour = number(11, 2), minute = number(14, 2),
       second = number(17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (*month < 1 || *month > 12 || *day < 1 || *day > 31 || *hour > 23 || *minute > 59 || *second > 60)
    return std::nullopt;
  size_t at = 19;
  int64_t fraction = 0;
  if (text[at] == '.') {
    int64_t unit = kSecond / 10;
    size_t digits = 0;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
      fraction += (text[at] - '0') * unit;
      unit /= 10;
    }
    if (digits == 0) return std::nullopt;
  }
  if (at >= text.size()) return std::nullopt;
  int64_t offset = 0;
  if (text[at] == 'Z' || text[at] == 'z') {
    ++at;
  } else {
    if ((text[at] != '+' && text[at] != '-') || at + 6 > text.size() || text[at + 3] != ':') return std::nullopt;
    auto oh = number(at + 1, 2), om = number(at + 4, 2);
    if (!oh || !om) return std::nullopt;
    offset = (*oh * 60 + *om) * 60 * (text[at] == '-' ? -1 : 1);
    at += 6;
  }
  if (at != text.size()) return std::nullopt;
  tm parts{};
  parts.tm_year = static_cast<int>(*year - 1900);
  parts.tm_mon = static_cast<int>(*month - 1);
  parts.tm_mday = static_cast<int>(*day);
  parts.tm_hour = static_cast<int>(*hour);
  parts.tm_min = static_cast<int>(*minute);
  parts.tm_sec = static_cast<int>(*second);
  return (timegm(&parts) - offset) * kSecond + fraction;
}

}  // namespace caisson
