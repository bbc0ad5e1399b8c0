// SPDX-License-Identifier: Apache-2.0
#include "logs/log_line.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/clock.h"

namespace caisson::logs {

namespace {

// Bytes that are copied as they are. Not among them: what Go's encoder escapes for HTML's sake, and
// everything from 0x80 on, which is checked as UTF-8.
constexpr std::array<bool, 256> make_plain() {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x80; ++c) plain[static_cast<size_t>(c)] = true;
  for (char c : {'"', '\\', '<', '>', '&'}) plain[static_cast<unsigned char>(c)] = false;
  return plain;
}
constexpr std::array<bool, 256> kPlain = make_plain();

// Length of the valid UTF-8 sequence at `at`, 0 if there is none: no overlong forms, no surrogates.
size_t utf8_size(const unsigned char* at, const unsigned char* end) {
  auto tail = [&](int i, unsigned char low, unsigned char high) {
    return at + i < end && at[i] >= low && at[i] <= high;
  };
  unsigned char first = at[0];
  if (first >= 0xc2 && first <= 0xdf) return tail(1, 0x80, 0xbf) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    unsigned char low = first == 0xe0 ? 0xa0 : 0x80, high = first == 0xed ? 0x9f : 0xbf;
    return tail(1, low, high) && tail(2, 0x80, 0xbf) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    unsigned char low = first == 0xf0 ? 0x90 : 0x80, high = first == 0xf4 ? 0x8f : 0xbf;
    return tail(1, low, high) && tail(2, 0x80, 0xbf) && tail(3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

char* put(char* out, std::string_view text) {
  memcpy(out, text.data(), text.size());
  return out + text.size();
}

char* put_escape(char* out, unsigned char c) {
  constexpr char kHex[] = "0123456789abcdef";
  *out++ = '\\';
  switch (c) {
    case '"':
    case '\\': *out++ = static_cast<char>(c); return out;
    case '\n': *out++ = 'n'; return out;
    case '\r': *out++ = 'r'; return out;
    default: break;  // DOCKER-QUIRK: a tab is \u0009
  }
  out = put(out, "u00");
  *out++ = kHex[c >> 4];
  *out++ = kHex[c & 15];
  return out;
}

char* put_escaped(char* out, std::string_view text) {
  auto* at = reinterpret_cast<const unsigned char*>(text.data());
  auto* end = at + text.size();
  while (at < end) {
    auto* run = at;
    while (at < end && kPlain[*at]) ++at;
    memcpy(out, run, static_cast<size_t>(at - run));
    out += at - run;
    if (at == end) break;
    if (*at < 0x80) {
      out = put_escape(out, *at++);
      continue;
    }
    size_t size = utf8_size(at, end);
    if (size == 0) {
      out = put(out, "\\ufffd");
      ++at;
    } else if (size == 3 && at[0] == 0xe2 && at[1] == 0x80 && (at[2] & 0xfe) == 0xa8) {
      out = put(out, at[2] == 0xa8 ? "\\u2028" : "\\u2029");
      at += 3;
    } else {
      memcpy(out, at, size);
      out += size;
      at += size;
    }
  }
  return out;
}

// A cursor over one line; every function gives false at the first byte that does not fit.
struct Parser {
  std::string_view rest;

  bool take(char c) {
    skip_space();
    if (rest.empty() || rest.front() != c) return false;
    rest.remove_prefix(1);
    return true;
  }
  void skip_space() {
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
  }
  bool string(std::string* out);
  bool skip_value();
  bool attrs(Attributes& out);
  bool escape(std::string* out);
  bool hex4(unsigned& value);
};

bool Parser::hex4(unsigned& value) {
  if (rest.size() < 4) return false;
  value = 0;
  for (size_t i = 0; i < 4; ++i) {
    char c = rest[i];
    unsigned digit;
    if (c >= '0' && c <= '9')
      digit = static_cast<unsigned>(c - '0');
    else if (c >= 'a' && c <= 'f')
      digit = static_cast<unsigned>(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F')
      digit = static_cast<unsigned>(c - 'A' + 10);
    else
      return false;
    value = value << 4 | digit;
  }
  rest.remove_prefix(4);
  return true;
}

void append_utf8(std::string& out, unsigned code) {
  auto byte = [&](unsigned value) { out += static_cast<char>(value); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xc0 | code >> 6);
    byte(0x80 | (code & 63));
  } else if (code < 0x10000) {
    byte(0xe0 | code >> 12);
    byte(0x80 | (code >> 6 & 63));
    byte(0x80 | (code & 63));
  } else {
    byte(0xf0 | code >> 18);
    byte(0x80 | (code >> 12 & 63));
    byte(0x80 | (code >> 6 & 63));
    byte(0x80 | (code & 63));
  }
}

bool Parser::escape(std::string* out) {
  if (rest.empty()) return false;
  char c = rest.front();
  rest.remove_prefix(1);
  char plain = 0;
  switch (c) {
    case '"':
    case '\\':
    case '/': plain = c; break;
    case 'n': plain = '\n'; break;
    case 'r': plain = '\r'; break;
    case 't': plain = '\t'; break;
    case 'b': plain = '\b'; break;
    case 'f': plain = '\f'; break;
    case 'u': break;
    default: return false;
  }
  if (c != 'u') {
    if (out) *out += plain;
    return true;
  }
  unsigned code;
  if (!hex4(code)) return false;
  if (code >= 0xd800 && code < 0xe000) {
    unsigned low = 0;
    Parser ahead{rest};
    bool pair = code < 0xdc00 && rest.starts_with("\\u") && (ahead.rest.remove_prefix(2), ahead.hex4(low)) &&
                low >= 0xdc00 && low < 0xe000;
    if (pair) {
      rest = ahead.rest;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else {
      code = 0xfffd;
    }
  }
  if (out) append_utf8(*out, code);
  return true;
}

bool Parser::string(std::string* out) {
  if (!take('"')) return false;
  while (true) {
    size_t run = 0;
    while (run < rest.size() && rest[run] != '"' && rest[run] != '\\') ++run;
    if (run == rest.size()) return false;
    if (out) out->append(rest.data(), run);
    char stop = rest[run];
    rest.remove_prefix(run + 1);
    if (stop == '"') return true;
    if (!escape(out)) return false;
  }
}

bool Parser::skip_value() {
  size_t depth = 0;
  do {
    skip_space();
    if (rest.empty()) return false;
    char c = rest.front();
    if (c == '"') {
      if (!string(nullptr)) return false;
    } else if (c == '{' || c == '[') {
      ++depth;
      rest.remove_prefix(1);
    } else if (c == '}' || c == ']') {
      if (depth == 0) return false;
      --depth;
      rest.remove_prefix(1);
    } else if (depth == 0 && c == ',') {
      return false;
    } else {
      rest.remove_prefix(1);
      while (depth == 0 && !rest.empty() && rest.front() != ',' && rest.front() != '}') rest.remove_prefix(1);
    }
  } while (depth > 0);
  return true;
}

// Values that are no strings are left out: Docker writes none.
bool Parser::attrs(Attributes& out) {
  if (!take('{')) return false;
  if (take('}')) return true;
  do {
    std::string key, value;
    if (!string(&key) || !take(':')) return false;
    skip_space();
    if (!rest.starts_with('"')) {
      if (!skip_value()) return false;
      continue;
    }
    if (!string(&value)) return false;
    out.emplace_back(std::move(key), std::move(value));
  } while (take(','));
  std::sort(out.begin(), out.end());
  return take('}');
}

}  // namespace

std::string encode_attrs(const Attributes& attrs) {
  if (attrs.empty()) return {};
  std::string out = "\"attrs\":{";
  auto add = [&](std::string_view text) {
    size_t old = out.size();
    out.resize(old + encoded_bound(text.size()));
    out.resize(static_cast<size_t>(put_escaped(out.data() + old, text) - out.data()));
  };
  for (const auto& [key, value] : attrs) {
    out += out.ends_with('{') ? "\"" : ",\"";
    add(key);
    out += "\":\"";
    add(value);
    out += '"';
  }
  return out + "},";
}

std::string render_details(const Attributes& attrs) {
  std::string out;
  auto add = [&](std::string_view text) {
    constexpr char kHex[] = "0123456789ABCDEF";
    for (char c : text) {
      auto byte = static_cast<unsigned char>(c);
      bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
      if (letter || c == '-' || c == '_' || c == '.' || c == '~')
        out += c;
      else if (c == ' ')
        out += '+';
      else
        out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  };
  for (const auto& [key, value] : attrs) {
    if (!out.empty()) out += ',';
    add(key);
    out += '=';
    add(value);
  }
  return out;
}

char* encode_line(char* out, StreamId stream, std::string_view text, bool newline, std::string_view time,
                  std::string_view attrs) {
  out = put(out, "{\"log\":\"");
  out = put_escaped(out, text);
  if (newline) out = put(out, "\\n");
  out = put(out, stream == StreamId::kStdout ? "\",\"stream\":\"stdout\"," : "\",\"stream\":\"stderr\",");
  out = put(out, attrs);
  out = put(out, "\"time\":\"");
  out = put(out, time);
  return put(out, "\"}\n");
}

bool decode_line(std::string_view line, LogEntry& entry, bool details) {
  entry.text.clear();
  entry.details.clear();
  Parser parser{line};
  bool has_stream = false, has_time = false;
  if (!parser.take('{')) return false;
  do {
    std::string key;
    if (!parser.string(&key) || !parser.take(':')) return false;
    if (key == "log") {
      entry.text.clear();
      if (!parser.string(&entry.text)) return false;
    } else if (key == "stream") {
      std::string value;
      if (!parser.string(&value)) return false;
      has_stream = value == "stdout" || value == "stderr";
      entry.stream = value == "stderr" ? StreamId::kStderr : StreamId::kStdout;
    } else if (key == "time") {
      std::string value;
      if (!parser.string(&value)) return false;
      auto time = parse_rfc3339(value);
      has_time = time.has_value();
      entry.time_ns = time.value_or(0);
    } else if (details && key == "attrs" && (parser.skip_space(), parser.rest.starts_with('{'))) {
      Attributes attrs;
      if (!parser.attrs(attrs)) return false;
      entry.details = render_details(attrs);
    } else if (!parser.skip_value()) {
      return false;
    }
  } while (parser.take(','));
  return parser.take('}') && has_stream && has_time;
}

}  // namespace caisson::logs
