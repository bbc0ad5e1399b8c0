// SPDX-License-Identifier: Apache-2.0
#include "flags.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace caisson::oci {

namespace {

const Flag* flag_named(const Usage& usage, std::string_view name) {
  for (const auto& flag : usage.flags)
    if (name == flag.name || (name.size() == 1 && name[0] == flag.letter)) return &flag;
  return nullptr;
}

bool switch_value(std::string_view text, bool& on) {
  static constexpr std::string_view kTrue[] = {"", "1", "t", "T", "true", "TRUE", "True"};
  static constexpr std::string_view kFalse[] = {"0", "f", "F", "false", "FALSE", "False"};
  on = std::find(std::begin(kTrue), std::end(kTrue), text) != std::end(kTrue);
  return on || std::find(std::begin(kFalse), std::end(kFalse), text) != std::end(kFalse);
}

std::string heading(const Flag& flag) {
  const char* value = flag.kind == Flag::Kind::kSwitch ? "" : " value";
  std::string out = format("--%s%s", flag.name, value);
  if (flag.letter) out += format(", -%c%s", flag.letter, value);
  return out;
}

}  // namespace

bool Parsed::on(std::string_view name) const {
  const std::string* value = find(name);
  bool on = false;
  return value && switch_value(*value, on) && on;
}

const std::string* Parsed::find(std::string_view name) const {
  for (auto entry = given_.rbegin(); entry != given_.rend(); ++entry)
    if (name == entry->first->name) return &entry->second;
  return nullptr;
}

std::string Parsed::value(std::string_view name, std::string_view otherwise) const {
  const std::string* found = find(name);
  return found ? *found : std::string(otherwise);
}

std::vector<std::string> Parsed::list(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [flag, value] : given_)
    if (name == flag->name) out.push_back(value);
  return out;
}

Result<Parsed> parse_flags(const Usage& usage, std::span<const std::string> args) {
  Parsed out;
  for (size_t at = 0; at < args.size(); ++at) {
    const std::string& word = args[at];
    bool is_flag = word.size() > 1 && word[0] == '-';
    if (word == "--" || (!is_flag && usage.flags_first)) {
      at += word == "--";
      out.arguments.insert(out.arguments.end(), args.begin() + static_cast<std::ptrdiff_t>(at), args.end());
      break;
    }
    if (!is_flag) {
      out.arguments.push_back(word);
      continue;
    }
    std::string_view rest = std::string_view(word).substr(word[1] == '-' ? 2 : 1);
    size_t equals = rest.find('=');
    std::string_view name = rest.substr(0, equals);
    if (name == "help" || (name == "h" && !flag_named(usage, name))) {
      out.help = true;
      return out;
    }
    bool has_value = equals != std::string_view::npos;
    std::string_view value = has_value ? rest.substr(equals + 1) : std::string_view();
    const Flag* flag = flag_named(usage, name);
    if (!flag && word[1] != '-' && rest.size() > 1) {
      flag = flag_named(usage, rest.substr(0, 1));
      if (flag && flag->kind == Flag::Kind::kSwitch) flag = nullptr;
      value = rest.substr(1);
      has_value = true;
    }
    if (!flag)
      return fail(ErrorKind::kInvalid, "flag provided but not defined: -%.*s", static_cast<int>(name.size()),
                  name.data());
    if (flag->kind == Flag::Kind::kSwitch) {
      bool on;
      if (!switch_value(value, on))
        return fail(ErrorKind::kInvalid, "invalid boolean value \"%.*s\" for -%s", static_cast<int>(value.size()),
                    value.data(), flag->name);
    } else if (!has_value) {
      if (++at >= args.size())
        return fail(ErrorKind::kInvalid, "flag needs an argument: -%s", std::string(name).c_str());
      value = args[at];
    }
    out.given_.emplace_back(flag, value);
  }
  return out;
}

std::string flag_lines(std::span<const Flag> flags) {
  size_t width = 0;
  for (const auto& flag : flags) width = std::max(width, heading(flag).size());
  std::string out;
  for (const auto& flag : flags) {
    std::string head = heading(flag);
    head.resize(width + 2, ' ');
    out += "   " + head + flag.help + "\n";
  }
  return out;
}

std::string help_text(const Usage& usage) {
  std::string out = format("NAME:\n   caisson-oci %s - %s\n\nUSAGE:\n   caisson-oci %s %s%s\n", usage.name,
                           usage.summary, usage.name, usage.flags.empty() ? "" : "[command options] ", usage.arguments);
  if (usage.description[0]) out += format("\n%s\n", usage.description);
  if (!usage.flags.empty()) out += "\nOPTIONS:\n" + flag_lines(usage.flags);
  return out;
}

}  // namespace caisson::oci
