// SPDX-License-Identifier: Apache-2.0
// json::Writer and what builds on it. Strings are escaped as Go's encoder does without HTML escaping.
#include <charconv>
#include <cmath>

#include "wire/json.h"
#include "wire/json_scan.h"
#include "wire/utf8.h"

namespace caisson::json {

namespace {

void append_escaped(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  const char* at = text.data();
  const char* end = at + text.size();
  const char* pending = at;
  out += '"';
  while ((at += plain_run(at, end)) < end) {
    auto byte = static_cast<unsigned char>(*at);
    size_t size = utf8_size(at, end);
    // U+2028 and U+2029 end a line in JavaScript, so Go escapes them.
    bool line_end =
        size == 3 && (std::string_view(at, 3) == "\xe2\x80\xa8" || std::string_view(at, 3) == "\xe2\x80\xa9");
    if (size > 1 && !line_end) {
      at += size;
      continue;
    }
    out.append(pending, at);
    switch (byte) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (line_end)
          out += at[2] == '\xa8' ? "\\u2028" : "\\u2029";
        else if (byte >= 0x80)
          out += "\\ufffd";
        else
          (((out += "\\u00") += kHex[byte >> 4]) += kHex[byte & 15]);
    }
    at += line_end ? 3 : 1;
    pending = at;
  }
  out.append(pending, end);
  out += '"';
}

}  // namespace

inline void Writer::separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

void Writer::open(char bracket) {
  separate();
  out_ += bracket;
  comma_ = false;
}

void Writer::close(char bracket) {
  out_ += bracket;
  comma_ = true;
}

void Writer::key(std::string_view name) {
  separate();
  append_escaped(out_, name);
  out_ += ':';
  comma_ = false;
}

void Writer::plain_key(std::string_view name) {
  separate();
  out_ += '"';
  out_ += name;
  out_ += "\":";
  comma_ = false;
}

void Writer::string(std::string_view value) {
  separate();
  append_escaped(out_, value);
}

void Writer::int_number(int64_t value) {
  char text[24];
  raw({text, std::to_chars(text, text + sizeof text, value).ptr});
}

void Writer::uint_number(uint64_t value) {
  char text[24];
  raw({text, std::to_chars(text, text + sizeof text, value).ptr});
}

void Writer::double_number(double value) {
  if (!std::isfinite(value)) return null();
  char text[64];
  double size = std::fabs(value);
  // Go's choice of form, so that numbers compare equal as text.
  bool plain = size == 0 || (size >= 1e-6 && size < 1e21);
  char* end =
      std::to_chars(text, text + sizeof text, value, plain ? std::chars_format::fixed : std::chars_format::scientific)
          .ptr;
  if (!plain && end - text >= 4 && end[-4] == 'e' && end[-3] == '-' && end[-2] == '0') {
    end[-2] = end[-1];
    --end;
  }
  raw({text, end});
}

void Writer::boolean(bool value) { raw(value ? "true" : "false"); }

void Writer::raw(std::string_view value) {
  separate();
  out_ += value.empty() ? std::string_view("null") : value;
}

std::string quote(std::string_view text) {
  std::string out;
  append_escaped(out, text);
  return out;
}

Result<std::string> indent(std::string_view text, std::string_view unit) {
  {
    Reader checker(text);
    TRY(checker.skip_value());
    TRY(checker.finish());
  }
  std::string out;
  size_t depth = 0;
  auto line = [&] {
    out += '\n';
    for (size_t i = 0; i < depth; ++i) out += unit;
  };
  // The text is known to be well-formed, so a token's first byte tells everything.
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') continue;
    if (c == '"') {
      size_t start = i++;
      while (text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      out += text.substr(start, i + 1 - start);
    } else if (c == '{' || c == '[') {
      out += c;
      size_t next = text.find_first_not_of(" \n\t\r", i + 1);
      if (text[next] == '}' || text[next] == ']') {
        out += text[next];
        i = next;
      } else {
        ++depth;
        line();
      }
    } else if (c == '}' || c == ']') {
      --depth;
      line();
      out += c;
    } else if (c == ',') {
      out += c;
      line();
    } else if (c == ':') {
      out += ": ";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace caisson::json
