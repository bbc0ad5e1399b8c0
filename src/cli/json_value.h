// SPDX-License-Identifier: Apache-2.0
// JSON as a tree for what the client shows and sends: templates walk it, request bodies are built in it.
// Objects keep their order. Strict, with limits; typed decoding is wire/json.h's work, not this one's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson::cli {

class JsonValue {
 public:
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  using Member = std::pair<std::string, JsonValue>;

  JsonValue() = default;
  JsonValue(bool value) : kind_(Kind::kBool), bool_(value) {}
  JsonValue(int value) : JsonValue(static_cast<int64_t>(value)) {}
  JsonValue(int64_t value) : kind_(Kind::kNumber), text_(std::to_string(value)) {}
  JsonValue(std::string value) : kind_(Kind::kString), text_(std::move(value)) {}
  JsonValue(std::string_view value) : kind_(Kind::kString), text_(value) {}
  JsonValue(const char* value) : kind_(Kind::kString), text_(value) {}
  JsonValue(const std::vector<std::string>& values);
  static JsonValue array() { return JsonValue(Kind::kArray); }
  static JsonValue object() { return JsonValue(Kind::kObject); }
  static JsonValue number(std::string text);  // as written

  // One value with blanks around it; kInvalid on anything else, or deeper than 128 levels.
  static Result<JsonValue> parse(std::string_view text);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_object() const { return kind_ == Kind::kObject; }
  bool is_array() const { return kind_ == Kind::kArray; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_number() const { return kind_ == Kind::kNumber; }
  bool as_bool() const { return kind_ == Kind::kBool && bool_; }
  int64_t as_int() const;
  double as_double() const;
  // Text of a string, digits of a number; "" for anything else.
  const std::string& text() const { return text_; }

  const std::vector<JsonValue>& items() const { return items_; }
  const std::vector<Member>& members() const { return members_; }
  const JsonValue* find(std::string_view name) const;
  // Member by path, null where any step is missing: value.at("State", "Health", "Status").
  template <class... Rest>
  const JsonValue& at(std::string_view name, Rest... rest) const {
    const JsonValue* member = find(name);
    if (!member) return null();
    if constexpr (sizeof...(rest) == 0)
      return *member;
    else
      return member->at(rest...);
  }
  static const JsonValue& null();

  void push(JsonValue value) { items_.push_back(std::move(value)); }
  JsonValue& set(std::string name, JsonValue value);  // replaces or appends; the new member
  // The same for a name that is known not to be there: objects with thousands of members are built with it.
  void append(std::string name, JsonValue value) { members_.emplace_back(std::move(name), std::move(value)); }
  void sort_members();

  // Compact text; `go_html`: <, > and & escaped as Go's encoder does.
  std::string dump(bool go_html = false) const;

 private:
  explicit JsonValue(Kind kind) : kind_(kind) {}
  void dump_to(std::string& out, bool go_html) const;

  Kind kind_ = Kind::kNull;
  bool bool_ = false;
  std::string text_;
  std::vector<JsonValue> items_;
  std::vector<Member> members_;
};

void append_json_string(std::string& out, std::string_view text, bool go_html = false);
// Re-indents valid JSON text without touching its strings: four spaces, as `inspect` prints.
std::string indent_json(std::string_view text, size_t width = 4, char blank = ' ');

}  // namespace caisson::cli
