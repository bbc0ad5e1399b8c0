// SPDX-License-Identifier: Apache-2.0
// The scanner behind json::Reader. Text is taken as hostile: depth, numbers, escapes and UTF-8 are checked.
#include "wire/json.h"

#include <charconv>
#include <cmath>

#include "base/text.h"
#include "wire/json_scan.h"
#include "wire/utf8.h"

namespace caisson::json {

namespace {

const char* type_name(ValueType type) {
  switch (type) {
    case ValueType::kNull: return "null";
    case ValueType::kBool: return "a boolean";
    case ValueType::kNumber: return "a number";
    case ValueType::kString: return "a string";
    case ValueType::kArray: return "an array";
    case ValueType::kObject: return "an object";
    case ValueType::kNone: break;
  }
  return "nothing";
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::unexpected<Error> Reader::failure() const {
  Error error = error_;
  error.message = path_.empty() ? "json: " + error.message : "json: field " + quoted(path_) + ": " + error.message;
  return std::unexpected(std::move(error));
}

Result<> Reader::outcome(bool good) const {
  if (!good) return failure();
  return {};
}

bool Reader::fault(Error error) {
  if (!failed_) error_ = std::move(error);
  failed_ = true;
  cursor_ = end_;  // nothing can be read any more, so callers need not ask failed_ at each step
  return false;
}

bool Reader::syntax(const char* what) {
  return fault({ErrorKind::kInvalid, 0, format("%s at offset %zu", what, static_cast<size_t>(cursor_ - begin_))});
}

bool Reader::mismatch(const char* wanted) {
  ValueType got = peek();
  if (got == ValueType::kNone) return syntax(cursor_ == end_ ? "unexpected end" : "unexpected character");
  return fault({ErrorKind::kInvalid, 0, format("expected %s, got %s", wanted, type_name(got))});
}

inline void Reader::skip_space() {
  while (cursor_ < end_ && (*cursor_ == ' ' || *cursor_ == '\n' || *cursor_ == '\t' || *cursor_ == '\r')) ++cursor_;
}

ValueType Reader::peek() {
  skip_space();
  if (cursor_ == end_) return ValueType::kNone;
  switch (*cursor_) {
    case 'n': return ValueType::kNull;
    case 't':
    case 'f': return ValueType::kBool;
    case '"': return ValueType::kString;
    case '[': return ValueType::kArray;
    case '{': return ValueType::kObject;
    case '-': return ValueType::kNumber;
    default: return is_digit(*cursor_) ? ValueType::kNumber : ValueType::kNone;
  }
}

bool Reader::literal(std::string_view word) {
  if (!std::string_view(cursor_, end_ - cursor_).starts_with(word)) return syntax("unexpected character");
  cursor_ += word.size();
  return true;
}

bool Reader::scan_bool(bool& value) {
  if (peek() != ValueType::kBool) return mismatch("a boolean");
  value = *cursor_ == 't';
  return literal(value ? "true" : "false");
}

bool Reader::scan_number(std::string_view& text) {
  if (peek() != ValueType::kNumber) return mismatch("a number");
  const char* start = cursor_;
  auto digits = [&] {
    const char* first = cursor_;
    while (cursor_ < end_ && is_digit(*cursor_)) ++cursor_;
    return cursor_ != first;
  };
  if (*cursor_ == '-') ++cursor_;
  if (cursor_ < end_ && *cursor_ == '0')
    ++cursor_;
  else if (!digits())
    return syntax("malformed number");
  if (cursor_ < end_ && is_digit(*cursor_)) return syntax("malformed number");
  if (cursor_ < end_ && *cursor_ == '.') {
    ++cursor_;
    if (!digits()) return syntax("malformed number");
  }
  if (cursor_ < end_ && (*cursor_ == 'e' || *cursor_ == 'E')) {
    ++cursor_;
    if (cursor_ < end_ && (*cursor_ == '+' || *cursor_ == '-')) ++cursor_;
    if (!digits()) return syntax("malformed number");
  }
  text = {start, cursor_};
  return true;
}

bool Reader::scan_double(double& value) {
  std::string_view text;
  if (!scan_number(text)) return false;
  auto [stop, status] = std::from_chars(text.begin(), text.end(), value);
  if (status != std::errc{})
    return fault({ErrorKind::kInvalid, 0, "the number " + std::string(text.substr(0, 40)) + " is out of range"});
  return true;
}

bool Reader::scan_int(int64_t& value, int64_t low, int64_t high) {
  std::string_view text;
  if (!scan_number(text)) return false;
  auto [stop, status] = std::from_chars(text.begin(), text.end(), value);
  if (status == std::errc{} && stop != text.end()) {
    // 1.0 and 1e3 are what JavaScript makes of integers; beyond 2^53 such a form is not exact any more.
    double real = 0;
    auto [end, outcome] = std::from_chars(text.begin(), text.end(), real);
    if (outcome != std::errc{} || std::trunc(real) != real)
      return fault({ErrorKind::kInvalid, 0, "expected an integer, got " + std::string(text.substr(0, 40))});
    if (std::fabs(real) > 9007199254740992.0)
      status = std::errc::result_out_of_range;
    else
      value = static_cast<int64_t>(real);
  }
  if (status != std::errc{} || value < low || value > high)
    return fault({ErrorKind::kInvalid, 0, "the number " + std::string(text.substr(0, 40)) + " is out of range"});
  return true;
}

bool Reader::scan_uint(uint64_t& value, uint64_t high) {
  if (peek() != ValueType::kNumber) return mismatch("a number");
  const char* start = cursor_;
  std::string_view text;
  if (!scan_number(text)) return false;
  auto [stop, status] = std::from_chars(text.begin(), text.end(), value);
  if (status == std::errc{} && stop == text.end()) {
    if (value <= high) return true;
    return fault({ErrorKind::kInvalid, 0, "the number " + std::string(text.substr(0, 40)) + " is out of range"});
  }
  if (status == std::errc::result_out_of_range)
    return fault({ErrorKind::kInvalid, 0, "the number " + std::string(text.substr(0, 40)) + " is out of range"});
  cursor_ = start;
  int64_t small = 0;
  if (!scan_int(small, 0, high > INT64_MAX ? INT64_MAX : static_cast<int64_t>(high))) return false;
  value = static_cast<uint64_t>(small);
  return true;
}

bool Reader::scan_string(std::string_view& value, std::string& buffer) {
  if (peek() != ValueType::kString) return mismatch("a string");
  const char* start = ++cursor_;
  cursor_ += plain_run(cursor_, end_);
  if (cursor_ < end_ && *cursor_ == '"') {
    value = {start, cursor_};
    ++cursor_;
    return true;
  }
  if (!unescape(start, buffer)) return false;
  value = buffer;
  return true;
}

bool Reader::unescape(const char* from, std::string& buffer) {
  buffer.assign(from, cursor_);
  while (cursor_ < end_) {
    size_t run = plain_run(cursor_, end_);
    buffer.append(cursor_, run);
    cursor_ += run;
    if (cursor_ == end_) break;
    auto byte = static_cast<unsigned char>(*cursor_);
    if (byte == '"') {
      ++cursor_;
      return true;
    }
    if (byte < 0x20) return syntax("control character in a string");
    if (byte == '\\') {
      ++cursor_;
      if (!scan_escape(buffer)) return false;
    } else if (size_t size = utf8_size(cursor_, end_)) {
      buffer.append(cursor_, size);
      cursor_ += size;
    } else {
      buffer += kReplacementCharacter;
      ++cursor_;
    }
  }
  return syntax("unexpected end of a string");
}

bool Reader::scan_hex4(uint32_t& value) {
  if (end_ - cursor_ < 4) return syntax("malformed escape");
  auto [stop, status] = std::from_chars(cursor_, cursor_ + 4, value, 16);
  if (status != std::errc{} || stop != cursor_ + 4) return syntax("malformed escape");
  cursor_ += 4;
  return true;
}

bool Reader::scan_escape(std::string& buffer) {
  if (cursor_ == end_) return syntax("unexpected end of a string");
  char letter = *cursor_++;
  switch (letter) {
    case '"':
    case '\\':
    case '/': buffer += letter; return true;
    case 'b': buffer += '\b'; return true;
    case 'f': buffer += '\f'; return true;
    case 'n': buffer += '\n'; return true;
    case 'r': buffer += '\r'; return true;
    case 't': buffer += '\t'; return true;
    case 'u': break;
    default: --cursor_; return syntax("malformed escape");
  }
  uint32_t code;
  if (!scan_hex4(code)) return false;
  if (code >= 0xd800 && code < 0xdc00 && end_ - cursor_ >= 6 && cursor_[0] == '\\' && cursor_[1] == 'u') {
    const char* second = cursor_;
    cursor_ += 2;
    uint32_t low;
    if (!scan_hex4(low)) return false;
    if (low >= 0xdc00 && low < 0xe000)
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    else
      cursor_ = second;  // a lone surrogate; what follows is a character of its own
  }
  append_utf8(buffer, code);
  return true;
}

bool Reader::open(char bracket, const char* wanted) {
  skip_space();
  if (cursor_ == end_ || *cursor_ != bracket) return mismatch(wanted);
  if (++depth_ > limits_.max_depth) return syntax("nested too deeply");
  ++cursor_;
  fresh_ = true;
  return true;
}

// Behind an opening bracket or a value: is there another one? Takes the comma or the closing bracket.
bool Reader::more(char bracket, bool& is_more) {
  skip_space();
  if (cursor_ == end_) return syntax("unexpected end");
  is_more = true;
  if (*cursor_ == bracket) {
    ++cursor_;
    if (depth_ > 0) --depth_;
    is_more = false;
  } else if (!fresh_) {
    if (*cursor_ != ',') return syntax("expected a comma");
    ++cursor_;
  }
  fresh_ = false;
  return true;
}

bool Reader::scan_key(std::string_view& key) {
  skip_space();
  if (cursor_ == end_ || *cursor_ != '"') return syntax("expected a field name");
  if (!scan_string(key, key_buffer_)) return false;
  skip_space();
  if (cursor_ == end_ || *cursor_ != ':') return syntax("expected a colon");
  ++cursor_;
  return true;
}

bool Reader::skip() {
  size_t outer = depth_;
  std::vector<bool> objects;
  std::string buffer;
  std::string_view text;
  do {
    if (!objects.empty()) {
      bool is_more;
      if (!more(objects.back() ? '}' : ']', is_more)) return false;
      if (!is_more) {
        objects.pop_back();
        continue;
      }
      if (objects.back() && !scan_key(text)) return false;
    }
    bool good;
    switch (peek()) {
      case ValueType::kNull: good = literal("null"); break;
      case ValueType::kBool: good = literal(*cursor_ == 't' ? "true" : "false"); break;
      case ValueType::kNumber: good = scan_number(text); break;
      case ValueType::kString: good = scan_string(text, buffer); break;
      case ValueType::kArray:
        good = open('[', "an array");
        objects.push_back(false);
        break;
      case ValueType::kObject:
        good = open('{', "an object");
        objects.push_back(true);
        break;
      default: good = syntax(cursor_ == end_ ? "unexpected end" : "unexpected character");
    }
    if (!good) return false;
  } while (depth_ != outer);
  return true;
}

Result<bool> Reader::read_bool() {
  bool value = false;
  if (!scan_bool(value)) return failure();
  return value;
}

Result<int64_t> Reader::read_int() {
  int64_t value = 0;
  if (!scan_int(value, INT64_MIN, INT64_MAX)) return failure();
  return value;
}

Result<uint64_t> Reader::read_uint() {
  uint64_t value = 0;
  if (!scan_uint(value, UINT64_MAX)) return failure();
  return value;
}

Result<double> Reader::read_double() {
  double value = 0;
  if (!scan_double(value)) return failure();
  return value;
}

Result<std::string> Reader::read_string() {
  std::string buffer;
  std::string_view value;
  if (!scan_string(value, buffer)) return failure();
  return value.data() == buffer.data() ? std::move(buffer) : std::string(value);
}

Result<> Reader::read_null() {
  if (peek() != ValueType::kNull) return outcome(mismatch("null"));
  return outcome(literal("null"));
}

Result<> Reader::begin_object() { return outcome(open('{', "an object")); }
Result<> Reader::begin_array() { return outcome(open('[', "an array")); }

Result<bool> Reader::next_key(std::string_view& key) {
  bool is_more = false;
  if (!more('}', is_more) || (is_more && !scan_key(key))) return failure();
  return is_more;
}

Result<bool> Reader::next_element() {
  bool is_more = false;
  if (!more(']', is_more)) return failure();
  return is_more;
}

Result<> Reader::skip_value() { return outcome(skip()); }

Result<std::string_view> Reader::raw_value() {
  skip_space();
  const char* start = cursor_;
  if (!skip()) return failure();
  return std::string_view(start, cursor_);
}

Result<> Reader::finish() {
  if (failed_) return failure();
  skip_space();
  return outcome(cursor_ == end_ || syntax("unexpected text behind the value"));
}

}  // namespace caisson::json
