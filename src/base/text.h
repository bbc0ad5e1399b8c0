// SPDX-License-Identifier: Apache-2.0
// Strings: printf-checked formatting, splitting, numbers, hex. Nothing locale-dependent.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caisson {

[[gnu::format(printf, 1, 2)]] std::string format(const char* format, ...);
std::string vformat(const char* format, va_list args);

// Splits at every `separator`; "a,,b" has three parts, "" has one empty part.
std::vector<std::string> split(std::string_view text, char separator);
// At the first separator: {"k=v=w", '='} is {"k", "v=w"}; nullopt without one.
std::optional<std::pair<std::string, std::string>> split_once(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);
std::string to_lower(std::string_view text);
bool equals_ignore_case(std::string_view a, std::string_view b);

// The whole text as a decimal number; nullopt on anything else, overflow included.
std::optional<int64_t> parse_int(std::string_view text);
std::optional<uint64_t> parse_uint(std::string_view text);
// Octal digits only, as in tar headers and file modes.
std::optional<uint64_t> parse_octal(std::string_view text);

std::string to_hex(const void* data, size_t size);
bool is_hex(std::string_view text);

// Text in single quotes for messages: control bytes escaped, cut at 256 bytes.
std::string quoted(std::string_view text);

}  // namespace caisson
