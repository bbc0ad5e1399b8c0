// SPDX-License-Identifier: Apache-2.0
// Command-line flags: constant tables of specifications and the parser over them. The same tables give
// the help text. Behaves as the flag library of Docker's client does, error texts included, so that
// scripts see no difference. Knows no command.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson::cli {

enum class FlagKind : uint8_t { kBool, kString, kInt, kUint, kList, kBytes, kDecimal, kDuration };

// Checks one value where it is given; the message becomes `invalid argument ... : MESSAGE`.
using FlagCheck = Result<> (*)(std::string_view value);

struct FlagSpec {
  const char* name;
  char shorthand = 0;
  FlagKind kind = FlagKind::kBool;
  const char* type_name = "";  // shown in the help
  const char* usage = "";
  const char* initial = "";
  FlagCheck check = nullptr;
  bool hidden = false;
  const char* alias_of = nullptr;  // another name of the flag of this name
};

// Flags in the order given, with their texts as given.
class ParsedFlags {
 public:
  bool changed(std::string_view name) const;
  std::string_view text(std::string_view name) const;  // last value, or the initial one
  bool on(std::string_view name) const;
  int64_t integer(std::string_view name) const;  // 0 when not given and without initial value
  std::vector<std::string> list(std::string_view name) const;

  void set(const FlagSpec& spec, std::string value) { values_.emplace_back(&spec, std::move(value)); }
  void use(std::span<const FlagSpec> table) { tables_.push_back(table); }
  const FlagSpec* find(std::string_view name) const;
  const FlagSpec* find(char shorthand) const;

 private:
  std::vector<std::span<const FlagSpec>> tables_;
  std::vector<std::pair<const FlagSpec*, std::string>> values_;
};

struct ParsedLine {
  ParsedFlags flags;
  std::vector<std::string> args;
  bool help = false;             // --help (or a lone -h) stood among the flags
  bool deprecated_help = false;  // it was -h
};

// `interspersed`: flags may follow arguments; otherwise parsing stops at the first argument.
Result<ParsedLine> parse_flags(std::span<const std::span<const FlagSpec>> tables, const std::vector<std::string>& args,
                               bool interspersed);

// "Options:" lines, sorted by name, wrapped at `columns`.
std::string flags_help(std::span<const std::span<const FlagSpec>> tables, size_t columns, bool with_help_flag);

}  // namespace caisson::cli
