// SPDX-License-Identifier: Apache-2.0
#include "cli/flags.h"

#include <charconv>

#include "base/text.h"
#include "cli/units.h"

namespace caisson::cli {

const FlagSpec* ParsedFlags::find(std::string_view name) const {
  for (auto table : tables_)
    for (const FlagSpec& spec : table)
      if (name == spec.name) return spec.alias_of ? find(spec.alias_of) : &spec;
  return nullptr;
}

const FlagSpec* ParsedFlags::find(char shorthand) const {
  for (auto table : tables_)
    for (const FlagSpec& spec : table)
      if (spec.shorthand && spec.shorthand == shorthand) return &spec;
  return nullptr;
}

bool ParsedFlags::changed(std::string_view name) const {
  for (const auto& [spec, value] : values_)
    if (name == spec->name) return true;
  return false;
}

std::string_view ParsedFlags::text(std::string_view name) const {
  for (auto it = values_.rbegin(); it != values_.rend(); ++it)
    if (name == it->first->name) return it->second;
  const FlagSpec* spec = find(name);
  return spec ? spec->initial : "";
}

bool ParsedFlags::on(std::string_view name) const { return parse_bool(text(name)).value_or(false); }

int64_t ParsedFlags::integer(std::string_view name) const { return parse_go_int(text(name)).value_or(0); }

std::vector<std::string> ParsedFlags::list(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [spec, value] : values_)
    if (name == spec->name) out.push_back(value);
  return out;
}

namespace {

Result<> check_value(const FlagSpec& spec, std::string_view value) {
  auto number_error = [&](const char* function) -> Result<> {
    return fail(ErrorKind::kInvalid, "strconv.%s: parsing %s: invalid syntax", function, go_quote(value).c_str());
  };
  switch (spec.kind) {
    case FlagKind::kBool:
      if (!parse_bool(value)) return number_error("ParseBool");
      break;
    case FlagKind::kInt:
      if (!parse_go_int(value)) return number_error("ParseInt");
      break;
    case FlagKind::kUint:
      if (!parse_uint(value)) return number_error("ParseUint");
      break;
    case FlagKind::kBytes:
      // Unlimited swap is the one negative size.
      if (value != "-1" || std::string_view(spec.name) != "memory-swap") TRY(parse_bytes(value));
      break;
    case FlagKind::kDecimal: TRY(parse_nano_cpus(value)); break;
    case FlagKind::kDuration: TRY(parse_duration(value)); break;
    case FlagKind::kString:
    case FlagKind::kList: break;
  }
  if (spec.check) TRY(spec.check(value));
  return {};
}

Result<> set_flag(ParsedFlags& flags, const FlagSpec& spec, std::string value) {
  if (auto checked = check_value(spec, value); !checked) {
    std::string shown = spec.shorthand ? format("-%c, --%s", spec.shorthand, spec.name) : format("--%s", spec.name);
    return fail(ErrorKind::kInvalid, "invalid argument %s for \"%s\" flag: %s", go_quote(value).c_str(), shown.c_str(),
                checked.error().message.c_str());
  }
  flags.set(spec, std::move(value));
  return {};
}

class Parser {
 public:
  Parser(const std::vector<std::string>& args, ParsedLine& line) : args_(args), line_(line) {}

  Result<> run(bool interspersed) {
    while (at_ < args_.size()) {
      const std::string& arg = args_[at_++];
      if (arg.size() < 2 || arg[0] != '-') {
        line_.args.push_back(arg);
        if (!interspersed) break;
      } else if (arg == "--") {
        break;
      } else if (arg[1] == '-') {
        TRY(long_flag(arg));
      } else {
        TRY(short_flags(arg));
      }
      if (line_.help) return {};
    }
    while (at_ < args_.size()) line_.args.push_back(args_[at_++]);
    return {};
  }

 private:
  Result<> long_flag(const std::string& arg) {
    std::string_view name = std::string_view(arg).substr(2);
    size_t equals = name.find('=');
    if (name[0] == '-' || name[0] == '=') return fail(ErrorKind::kInvalid, "bad flag syntax: %s", arg.c_str());
    std::string_view value;
    if (equals != name.npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    }
    const FlagSpec* spec = line_.flags.find(name);
    if (!spec) {
      if (name == "help") {
        line_.help = true;
        return {};
      }
      return fail(ErrorKind::kInvalid, "unknown flag: --%.*s", static_cast<int>(name.size()), name.data());
    }
    if (equals != std::string_view::npos) return set_flag(line_.flags, *spec, std::string(value));
    if (spec->kind == FlagKind::kBool) return set_flag(line_.flags, *spec, "true");
    if (at_ >= args_.size()) return fail(ErrorKind::kInvalid, "flag needs an argument: %s", arg.c_str());
    return set_flag(line_.flags, *spec, args_[at_++]);
  }

  Result<> short_flags(const std::string& arg) {
    for (size_t i = 1; i < arg.size(); ++i) {
      const FlagSpec* spec = line_.flags.find(arg[i]);
      if (!spec) {
        if (arg[i] == 'h') {
          line_.help = line_.deprecated_help = true;
          return {};
        }
        return fail(ErrorKind::kInvalid, "unknown shorthand flag: '%c' in %s", arg[i], ("-" + arg.substr(i)).c_str());
      }
      if (i + 2 < arg.size() && arg[i + 1] == '=') return set_flag(line_.flags, *spec, arg.substr(i + 2));
      if (spec->kind == FlagKind::kBool) {
        TRY(set_flag(line_.flags, *spec, "true"));
        continue;
      }
      if (i + 1 < arg.size()) return set_flag(line_.flags, *spec, arg.substr(i + 1));
      if (at_ >= args_.size())
        return fail(ErrorKind::kInvalid, "flag needs an argument: '%c' in %s", arg[i], ("-" + arg.substr(i)).c_str());
      return set_flag(line_.flags, *spec, args_[at_++]);
    }
    return {};
  }

  const std::vector<std::string>& args_;
  ParsedLine& line_;
  size_t at_ = 0;
};

}  // namespace

Result<ParsedLine> parse_flags(std::span<const std::span<const FlagSpec>> tables, const std::vector<std::string>& args,
                               bool interspersed) {
  ParsedLine line;
  for (auto table : tables) line.flags.use(table);
  TRY(Parser(args, line).run(interspersed));
  return line;
}

}  // namespace caisson::cli
