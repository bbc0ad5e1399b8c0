// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <span>

#include "base/text.h"
#include "cli/template.h"
#include "cli/units.h"

namespace caisson::cli {

// Go shows a struct as {A B}, which JSON cannot be told from a map. The two that people print whole are
// known by their members.
static std::string struct_text(const JsonValue& value) {
  static constexpr const char* kBinding[] = {"HostIp", "HostPort"};
  static constexpr const char* kMount[] = {"Type",   "Name", "Source", "Destination",
                                           "Driver", "Mode", "RW",     "Propagation"};
  std::span<const char* const> names;
  if (value.find("HostIp") && value.find("HostPort") && value.members().size() == 2)
    names = kBinding;
  else if (value.find("Type") && value.find("Destination") && value.find("RW"))
    names = kMount;
  std::string out;
  for (const char* name : names) {
    const JsonValue* member = value.find(name);
    out += (out.empty() ? "{" : " ") + (member ? go_text(*member) : std::string());
  }
  return out.empty() ? out : out + "}";
}

std::string go_text(const JsonValue& value) {
  switch (value.kind()) {
    case JsonValue::Kind::kNull: return "<nil>";
    case JsonValue::Kind::kBool: return value.as_bool() ? "true" : "false";
    case JsonValue::Kind::kNumber:
    case JsonValue::Kind::kString: return value.text();
    case JsonValue::Kind::kArray: {
      std::string out = "[";
      for (const JsonValue& item : value.items()) {
        if (out.size() > 1) out += ' ';
        out += go_text(item);
      }
      return out + "]";
    }
    case JsonValue::Kind::kObject: break;
  }
  if (std::string text = struct_text(value); !text.empty()) return text;
  std::vector<const JsonValue::Member*> sorted;
  for (const auto& member : value.members()) sorted.push_back(&member);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->first < b->first; });
  std::string out = "map[";
  for (const auto* member : sorted) {
    if (out.size() > 4) out += ' ';
    out += member->first + ":" + go_text(member->second);
  }
  return out + "]";
}

bool go_truth(const JsonValue& value) {
  switch (value.kind()) {
    case JsonValue::Kind::kNull: return false;
    case JsonValue::Kind::kBool: return value.as_bool();
    case JsonValue::Kind::kNumber: return value.as_double() != 0;
    case JsonValue::Kind::kString: return !value.text().empty();
    case JsonValue::Kind::kArray: return !value.items().empty();
    case JsonValue::Kind::kObject: return !value.members().empty();
  }
  return false;
}

namespace {

using Args = std::vector<const JsonValue*>;

std::unexpected<Error> bad(const char* what) { return fail(ErrorKind::kInvalid, "%s", what); }

Result<int> compare(const JsonValue& a, const JsonValue& b) {
  if (a.is_number() && b.is_number()) {
    if (auto x = parse_int(a.text()), y = parse_int(b.text()); x && y) return *x < *y ? -1 : *x > *y;
    double x = a.as_double(), y = b.as_double();
    return x < y ? -1 : x > y;
  }
  if (a.kind() != b.kind()) return bad("incompatible types for comparison");
  if (a.is_string()) return a.text() < b.text() ? -1 : a.text() > b.text();
  if (a.kind() == JsonValue::Kind::kBool) return static_cast<int>(a.as_bool()) - static_cast<int>(b.as_bool());
  if (a.is_null()) return 0;
  return bad("invalid type for comparison");
}

Result<JsonValue> eq(const Args& args) {
  if (args.size() < 2) return bad("missing argument for comparison");
  for (size_t i = 1; i < args.size(); ++i)
    if (TRY(compare(*args[0], *args[i])) == 0) return JsonValue(true);
  return JsonValue(false);
}

template <class Test>
Result<JsonValue> ordered(const Args& args, Test test) {
  if (args.size() != 2) return bad("missing argument for comparison");
  return JsonValue(static_cast<bool>(test(TRY(compare(*args[0], *args[1])))));
}

Result<JsonValue> len(const Args& args) {
  if (args.size() != 1) return bad("wrong number of args");
  const JsonValue& value = *args[0];
  if (value.is_string()) return JsonValue(static_cast<int64_t>(value.text().size()));
  if (value.is_array()) return JsonValue(static_cast<int64_t>(value.items().size()));
  if (value.is_object()) return JsonValue(static_cast<int64_t>(value.members().size()));
  if (value.is_null()) return JsonValue(0);
  return bad("len of type that has none");
}

Result<JsonValue> index(const Args& args) {
  if (args.empty()) return bad("wrong number of args");
  const JsonValue* value = args[0];
  for (size_t i = 1; i < args.size(); ++i) {
    if (value->is_array()) {
      if (!args[i]->is_number()) return bad("cannot index slice/array with type string");
      int64_t at = args[i]->as_int();
      if (at < 0 || at >= static_cast<int64_t>(value->items().size()))
        return fail(ErrorKind::kInvalid, "index out of range: %lld", static_cast<long long>(at));
      value = &value->items()[static_cast<size_t>(at)];
    } else if (value->is_object()) {
      const JsonValue* member = value->find(args[i]->text());
      // A missing key gives the element type's zero value: for strings, the usual case, that is "".
      if (!member) {
        bool strings = !value->members().empty() && value->members().front().second.is_string();
        return strings ? JsonValue("") : JsonValue();
      }
      value = member;
    } else if (value->is_null()) {
      return bad("index of untyped nil");
    } else {
      return bad("can't index item of this type");
    }
  }
  return *value;
}

Result<JsonValue> slice(const Args& args) {
  if (args.empty() || args.size() > 3) return bad("wrong number of args");
  const JsonValue& value = *args[0];
  auto size = static_cast<int64_t>(value.is_array() ? value.items().size() : value.text().size());
  int64_t from = args.size() > 1 ? args[1]->as_int() : 0, to = args.size() > 2 ? args[2]->as_int() : size;
  if (from < 0 || to > size || from > to) return bad("index out of range");
  if (value.is_string())
    return JsonValue(value.text().substr(static_cast<size_t>(from), static_cast<size_t>(to - from)));
  if (!value.is_array()) return bad("can't slice item of this type");
  JsonValue out = JsonValue::array();
  for (int64_t i = from; i < to; ++i) out.push(value.items()[static_cast<size_t>(i)]);
  return out;
}

Result<JsonValue> print(const Args& args, bool line) {
  std::string out;
  for (size_t i = 0; i < args.size(); ++i) {
    // Print sets a blank between operands when neither is a string, Println always.
    if (i && (line || (!args[i]->is_string() && !args[i - 1]->is_string()))) out += ' ';
    out += go_text(*args[i]);
  }
  if (line) out += '\n';
  return JsonValue(std::move(out));
}

Result<JsonValue> json_text(const Args& args) {
  if (args.size() != 1) return bad("wrong number of args");
  return JsonValue(args[0]->dump());
}

std::string title(const std::string& text) {
  std::string out = text;
  bool start = true;
  for (char& c : out) {
    if (start && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    start = c == ' ' || c == '\t' || c == '\n' || c == '-';
  }
  return out;
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return text;
}

Result<JsonValue> text_function(std::string_view name, const Args& args) {
  size_t want = name == "join" || name == "split" || name == "truncate" ? 2 : name == "pad" ? 3 : 1;
  if (args.size() != want)
    return fail(ErrorKind::kInvalid, "wrong number of args for %s: want %zu got %zu", std::string(name).c_str(), want,
                args.size());
  const JsonValue& value = *args[0];
  if (name == "join") {
    std::string out;
    for (size_t i = 0; i < value.items().size(); ++i) {
      if (i) out += args[1]->text();
      out += go_text(value.items()[i]);
    }
    return JsonValue(std::move(out));
  }
  if (!value.is_string()) return bad("wrong type for value; expected string");
  if (name == "lower") return JsonValue(to_lower(value.text()));
  if (name == "upper") return JsonValue(upper(value.text()));
  if (name == "title") return JsonValue(title(value.text()));
  if (name == "truncate") {
    auto width = static_cast<size_t>(std::max<int64_t>(0, args[1]->as_int()));
    return JsonValue(value.text().substr(0, width));
  }
  if (name == "pad") {
    if (value.text().empty()) return JsonValue("");
    auto side = [](const JsonValue& count) {
      return std::string(static_cast<size_t>(std::clamp<int64_t>(count.as_int(), 0, 4096)), ' ');
    };
    return JsonValue(side(*args[1]) + value.text() + side(*args[2]));
  }
  JsonValue out = JsonValue::array();
  const std::string& separator = args[1]->text();
  std::string_view rest = value.text();
  while (!separator.empty()) {
    size_t at = rest.find(separator);
    out.push(JsonValue(rest.substr(0, at)));
    if (at == rest.npos) return out;
    rest.remove_prefix(at + separator.size());
  }
  for (char c : rest) out.push(JsonValue(std::string(1, c)));
  return out;
}

constexpr std::string_view kFunctions[] = {"and",  "or",    "not",   "eq",    "ne",    "lt",     "le",      "gt",
                                           "ge",   "len",   "index", "slice", "print", "printf", "println", "json",
                                           "join", "split", "title", "lower", "upper", "pad",    "truncate"};

}  // namespace

bool is_template_function(std::string_view name) {
  return std::find(std::begin(kFunctions), std::end(kFunctions), name) != std::end(kFunctions);
}

Result<std::string> go_printf(const Args& args) {
  if (args.empty()) return bad("wrong number of args for printf: want at least 1 got 0");
  const std::string& pattern = args[0]->text();
  std::string out;
  size_t next = 1;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      out += pattern[i];
      continue;
    }
    std::string flags;
    while (++i < pattern.size() && std::string_view("+-# 0").contains(pattern[i])) flags += pattern[i];
    size_t width = 0, precision = std::string::npos;
    for (; i < pattern.size() && pattern[i] >= '0' && pattern[i] <= '9' && width < 4096; ++i)
      width = width * 10 + static_cast<size_t>(pattern[i] - '0');
    if (i < pattern.size() && pattern[i] == '.') {
      precision = 0;
      for (++i; i < pattern.size() && pattern[i] >= '0' && pattern[i] <= '9' && precision < 4096; ++i)
        precision = precision * 10 + static_cast<size_t>(pattern[i] - '0');
    }
    if (i >= pattern.size()) {
      out += "%!(NOVERB)";
      break;
    }
    char verb = pattern[i];
    if (verb == '%') {
      out += '%';
      continue;
    }
    if (next >= args.size()) {
      out += std::string("%!") + verb + "(MISSING)";
      continue;
    }
    const JsonValue& value = *args[next++];
    std::string piece;
    bool integer = value.is_number() && parse_int(value.text());
    if ((verb == 'd' || verb == 'x' || verb == 'X' || verb == 'o') && integer) {
      long long number = value.as_int();
      piece = verb == 'd'   ? format("%lld", number)
              : verb == 'x' ? format("%llx", number)
              : verb == 'X' ? format("%llX", number)
                            : format("%llo", number);
      if (flags.contains('+') && number >= 0) piece = "+" + piece;
    } else if ((verb == 'f' || verb == 'e' || verb == 'g') && value.is_number()) {
      int digits = precision == std::string::npos ? (verb == 'g' ? 17 : 6) : static_cast<int>(precision);
      piece = verb == 'f'   ? format("%.*f", digits, value.as_double())
              : verb == 'e' ? format("%.*e", digits, value.as_double())
                            : value.text();
    } else if (verb == 'q') {
      piece = go_quote(go_text(value));
    } else if (verb == 's' || verb == 'v' || (verb == 't' && value.kind() == JsonValue::Kind::kBool)) {
      piece = go_text(value);
      if (precision != std::string::npos) piece = piece.substr(0, precision);
    } else if (verb == 'T') {
      piece = value.is_string() ? "string" : "interface {}";
    } else {
      piece = std::string("%!") + verb + "(" + go_text(value) + ")";
    }
    size_t length = utf8_length(piece);
    if (length < width) {
      bool left = flags.contains('-');
      char fill = flags.contains('0') && !left && value.is_number() ? '0' : ' ';
      std::string padding(width - length, fill);
      piece = left ? piece + padding : padding + piece;
    }
    out += piece;
  }
  if (next < args.size()) {
    out += "%!(EXTRA ";
    for (size_t i = next; i < args.size(); ++i)
      out += (i > next ? ", " : "") + std::string(args[i]->is_string() ? "string=" : "int=") + go_text(*args[i]);
    out += ")";
  }
  return out;
}

Result<JsonValue> call_template_function(std::string_view name, const Args& args) {
  if (name == "not") {
    if (args.size() != 1) return bad("wrong number of args for not: want 1");
    return JsonValue(!go_truth(*args[0]));
  }
  if (name == "eq") return eq(args);
  if (name == "ne") return ordered(args, [](int order) { return order != 0; });
  if (name == "lt") return ordered(args, [](int order) { return order < 0; });
  if (name == "le") return ordered(args, [](int order) { return order <= 0; });
  if (name == "gt") return ordered(args, [](int order) { return order > 0; });
  if (name == "ge") return ordered(args, [](int order) { return order >= 0; });
  if (name == "len") return len(args);
  if (name == "index") return index(args);
  if (name == "slice") return slice(args);
  if (name == "print") return print(args, false);
  if (name == "println") return print(args, true);
  if (name == "printf") return JsonValue(TRY(go_printf(args)));
  if (name == "json") return json_text(args);
  return text_function(name, args);
}

}  // namespace caisson::cli
