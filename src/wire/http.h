// SPDX-License-Identifier: Apache-2.0
// What both sides of HTTP/1.1 share: header lists, targets, queries, percent-coding, status texts.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caisson::http {

class Headers {
 public:
  void add(std::string name, std::string value) { list_.emplace_back(std::move(name), std::move(value)); }
  void set(std::string name, std::string value);  // replaces every header of that name
  // First value, names compared without case; "" is a value, nullopt is absence.
  std::optional<std::string_view> find(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& list() const { return list_; }

 private:
  std::vector<std::pair<std::string, std::string>> list_;
};

// Decoded query parameters in order.
class Query {
 public:
  static Query parse(std::string_view text);
  void add(std::string name, std::string value) { list_.emplace_back(std::move(name), std::move(value)); }
  std::optional<std::string_view> find(std::string_view name) const;
  std::string get(std::string_view name, std::string_view fallback = "") const;
  std::vector<std::string> all(std::string_view name) const;
  // Docker's rule for booleans: "", "0", "no", "false", "none" (any case) are false, anything else true.
  bool flag(std::string_view name, bool fallback = false) const;
  std::string encode() const;  // "a=1&b=2", percent-coded

 private:
  std::vector<std::pair<std::string, std::string>> list_;
};

std::string percent_encode(std::string_view text);  // everything but unreserved characters
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);
const char* status_text(int status);

}  // namespace caisson::http
