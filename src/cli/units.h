// SPDX-License-Identifier: Apache-2.0
// Quantities as people write and read them: sizes, durations, ages, CPU counts; and Go's notion of
// quoted strings, booleans and integers, which the texts of Docker's client contain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::cli {

// "512m", "1.5g", "64kb": powers of 1024.
Result<int64_t> parse_bytes(std::string_view text);
// "1.5" CPUs in units of 1e-9.
Result<int64_t> parse_nano_cpus(std::string_view text);
// Go's durations: "1h2m3.5s", "300ms", in nanoseconds.
Result<int64_t> parse_duration(std::string_view text);

// Powers of 1000 with up to `digits` significant digits: "4.26MB".
std::string human_size(double bytes, int digits = 4);
// Powers of 1024: "7.656GiB".
std::string human_size_binary(double bytes);
// "About a minute", "3 hours".
std::string human_duration(int64_t seconds);
// A Go duration text: "1h2m3s", "1.5s".
std::string go_duration(int64_t ns);

std::optional<bool> parse_bool(std::string_view text);
// Decimal, 0x, 0o, 0b or leading-0 octal, as Go's ParseInt with base 0.
std::optional<int64_t> parse_go_int(std::string_view text);
// In double quotes with Go's escapes.
std::string go_quote(std::string_view text);

// A time given as RFC 3339 (also shortened or without zone, then local), as seconds with fraction, or
// as a duration before `now_ns`; the result is "SECONDS.NANOSECONDS" as the API wants it.
Result<std::string> timestamp_param(std::string_view text, int64_t now_ns);

// How many bytes of `text` fit in `width` columns, counting one column per UTF-8 character.
size_t utf8_length(std::string_view text);
// Cut to `width` characters with an ellipsis as the last.
std::string ellipsis(std::string_view text, size_t width);

}  // namespace caisson::cli
