// SPDX-License-Identifier: Apache-2.0
// Command lines as tables: one table per command drives both the parser and the help text. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson::oci {

struct Flag {
  enum class Kind : uint8_t { kSwitch, kValue, kList };
  const char* name;  // without dashes
  char letter;       // 0: none
  Kind kind;
  const char* help;
};

struct Usage {
  const char* name;
  const char* arguments;  // "<container-id>"
  const char* summary;
  const char* description;  // further lines of the help text, may be empty
  std::span<const Flag> flags;
  size_t least = 0, most = SIZE_MAX;  // number of arguments
  bool flags_first = false;           // what follows the first argument is never a flag
};

class Parsed {
 public:
  bool on(std::string_view name) const;  // a switch that is given and not "false"
  bool has(std::string_view name) const { return find(name) != nullptr; }
  const std::string* find(std::string_view name) const;  // the last one given
  std::string value(std::string_view name, std::string_view otherwise = "") const;
  std::vector<std::string> list(std::string_view name) const;

  std::vector<std::string> arguments;
  bool help = false;

 private:
  friend Result<Parsed> parse_flags(const Usage&, std::span<const std::string>);
  std::vector<std::pair<const Flag*, std::string>> given_;
};

// "--name VALUE", "--name=VALUE", "-name VALUE", "-n VALUE", "-n=VALUE", "-nVALUE", "--switch",
// "--switch=false"; "--" ends the flags. kInvalid with the words of Go's flag package, which callers know.
Result<Parsed> parse_flags(const Usage& usage, std::span<const std::string> args);

std::string help_text(const Usage& usage);
// The flags of a table, one per line, with their descriptions in one column.
std::string flag_lines(std::span<const Flag> flags);

}  // namespace caisson::oci
