// SPDX-License-Identifier: Apache-2.0
#include "cli/json_value.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace caisson::cli {

namespace {
constexpr size_t kLargeObject = 256;

constexpr int kMaxDepth = 128;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<JsonValue> whole() {
    JsonValue value = TRY(read(0));
    skip_blanks();
    if (at_ != text_.size()) return error("data after the value");
    return value;
  }

 private:
  std::unexpected<Error> error(const char* what) {
    return fail(ErrorKind::kInvalid, "json: %s at byte %zu", what, at_);
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Result<JsonValue> read(int depth) {
    if (depth > kMaxDepth) return error("too deep");
    skip_blanks();
    if (at_ >= text_.size()) return error("unexpected end");
    switch (text_[at_]) {
      case '{': return read_object(depth);
      case '[': return read_array(depth);
      case '"': return JsonValue(TRY(read_string()));
      case 't':
        if (take_word("true")) return JsonValue(true);
        break;
      case 'f':
        if (take_word("false")) return JsonValue(false);
        break;
      case 'n':
        if (take_word("null")) return JsonValue();
        break;
      default: return read_number();
    }
    return error("unknown word");
  }

  Result<JsonValue> read_object(int depth) {
    JsonValue out = JsonValue::object();
    ++at_;
    skip_blanks();
    if (take('}')) return out;
    while (true) {
      skip_blanks();
      if (at_ >= text_.size() || text_[at_] != '"') return error("member name expected");
      std::string name = TRY(read_string());
      skip_blanks();
      if (!take(':')) return error("':' expected");
      JsonValue value = TRY(read(depth + 1));
      // Of two members of one name the later counts; nobody writes so many that it matters by hand.
      if (out.members().size() < kLargeObject)
        out.set(std::move(name), std::move(value));
      else
        out.append(std::move(name), std::move(value));
      skip_blanks();
      if (take('}')) return out;
      if (!take(',')) return error("',' or '}' expected");
    }
  }

  Result<JsonValue> read_array(int depth) {
    JsonValue out = JsonValue::array();
    ++at_;
    skip_blanks();
    if (take(']')) return out;
    while (true) {
      out.push(TRY(read(depth + 1)));
      skip_blanks();
      if (take(']')) return out;
      if (!take(',')) return error("',' or ']' expected");
    }
  }

  Result<JsonValue> read_number() {
    size_t start = at_;
    take('-');
    auto digits = [&] {
      size_t first = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
      return at_ > first;
    };
    if (!digits()) return error("unexpected character");
    if (take('.') && !digits()) return error("digits expected");
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) return error("digits expected");
    }
    return JsonValue::number(std::string(text_.substr(start, at_ - start)));
  }

  Result<unsigned> read_hex4() {
    unsigned value = 0;
    if (at_ + 4 > text_.size()) return error("short escape");
    auto [end, err] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, value, 16);
    if (err != std::errc() || end != text_.data() + at_ + 4) return error("bad escape");
    at_ += 4;
    return value;
  }

  static void append_utf8(std::string& out, unsigned c) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xc0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 63));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xe0 | c >> 12);
      out += static_cast<char>(0x80 | (c >> 6 & 63));
      out += static_cast<char>(0x80 | (c & 63));
    } else {
      out += static_cast<char>(0xf0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 63));
      out += static_cast<char>(0x80 | (c >> 6 & 63));
      out += static_cast<char>(0x80 | (c & 63));
    }
  }

  Result<std::string> read_string() {
    std::string out;
    ++at_;
    while (true) {
      size_t plain = text_.find_first_of("\"\\", at_);
      if (plain == text_.npos) return error("string not closed");
      out.append(text_, at_, plain - at_);
      at_ = plain + 1;
      if (text_[plain] == '"') return out;
      if (at_ >= text_.size()) return error("string not closed");
      char c = text_[at_++];
      static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
      if (size_t known = kFrom.find(c); known != kFrom.npos) {
        out += kTo[known];
      } else if (c == 'u') {
        unsigned code = TRY(read_hex4());
        if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
          size_t back = at_;
          at_ += 2;
          unsigned low = TRY(read_hex4());
          if (low >= 0xdc00 && low < 0xe000)
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
          else
            at_ = back;
        }
        append_utf8(out, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
      } else {
        return error("bad escape");
      }
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

JsonValue::JsonValue(const std::vector<std::string>& values) : kind_(Kind::kArray) {
  for (const std::string& value : values) items_.emplace_back(value);
}

JsonValue JsonValue::number(std::string text) {
  JsonValue value(Kind::kNumber);
  value.text_ = std::move(text);
  return value;
}

Result<JsonValue> JsonValue::parse(std::string_view text) { return Reader(text).whole(); }

const JsonValue& JsonValue::null() {
  static const JsonValue kNone;
  return kNone;
}

int64_t JsonValue::as_int() const {
  if (kind_ != Kind::kNumber) return 0;
  if (auto value = parse_int(text_)) return *value;
  return static_cast<int64_t>(as_double());
}

double JsonValue::as_double() const {
  double value = 0;
  if (kind_ == Kind::kNumber) std::from_chars(text_.data(), text_.data() + text_.size(), value);
  return value;
}

const JsonValue* JsonValue::find(std::string_view name) const {
  for (const Member& member : members_)
    if (member.first == name) return &member.second;
  return nullptr;
}

JsonValue& JsonValue::set(std::string name, JsonValue value) {
  kind_ = Kind::kObject;
  for (Member& member : members_)
    if (member.first == name) return member.second = std::move(value);
  return members_.emplace_back(std::move(name), std::move(value)).second;
}

void JsonValue::sort_members() {
  std::sort(members_.begin(), members_.end(), [](const Member& a, const Member& b) { return a.first < b.first; });
}

void append_json_string(std::string& out, std::string_view text, bool go_html) {
  out += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 32 || (go_html && (c == '<' || c == '>' || c == '&'))) {
      out += format("\\u%04x", byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

void JsonValue::dump_to(std::string& out, bool go_html) const {
  switch (kind_) {
    case Kind::kNull: out += "null"; break;
    case Kind::kBool: out += bool_ ? "true" : "false"; break;
    case Kind::kNumber: out += text_; break;
    case Kind::kString: append_json_string(out, text_, go_html); break;
    case Kind::kArray: {
      out += '[';
      bool first = true;
      for (const JsonValue& item : items_) {
        if (!std::exchange(first, false)) out += ',';
        item.dump_to(out, go_html);
      }
      out += ']';
      break;
    }
    case Kind::kObject: {
      out += '{';
      bool first = true;
      for (const auto& [name, value] : members_) {
        if (!std::exchange(first, false)) out += ',';
        append_json_string(out, name, go_html);
        out += ':';
        value.dump_to(out, go_html);
      }
      out += '}';
      break;
    }
  }
}

std::string JsonValue::dump(bool go_html) const {
  std::string out;
  dump_to(out, go_html);
  return out;
}

std::string indent_json(std::string_view text, size_t width, char blank) {
  std::string out;
  size_t depth = 0;
  bool in_string = false, fresh = false;  // fresh: just after an opening bracket
  auto newline = [&] {
    out += '\n';
    out.append(depth * width, blank);
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < text.size())
        out += text[++i];
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') continue;
    bool closing = c == '}' || c == ']';
    if (fresh && !closing) {
      ++depth;
      newline();
    } else if (closing && !fresh) {
      if (depth > 0) --depth;
      newline();
    }
    fresh = c == '{' || c == '[';
    out += c;
    if (c == '"') in_string = true;
    if (c == ',') newline();
    if (c == ':') out += ' ';
  }
  return out;
}

}  // namespace caisson::cli
