// SPDX-License-Identifier: Apache-2.0
// The Options part of a help text, laid out and wrapped as Docker's client does.
#include <algorithm>

#include "base/text.h"
#include "cli/flags.h"

namespace caisson::cli {

namespace {

constexpr size_t kSlop = 5;        // a last word may stand out by this much instead of wrapping
constexpr size_t kNarrowest = 24;  // below this the text goes under the flag
constexpr size_t kNarrowIndent = 16;

// Cuts one line off `rest`: at the last blank before `width`, or at a line break before that.
std::string take_line(std::string& rest, size_t width) {
  if (width + kSlop > rest.size()) return std::exchange(rest, {});
  std::string_view head = std::string_view(rest).substr(0, width);
  size_t blank = head.find_last_of(" \t\n");
  if (blank == head.npos || blank == 0) return std::exchange(rest, {});
  size_t newline = head.rfind('\n');
  size_t cut = newline != head.npos && newline > 0 && newline < blank ? newline : blank;
  std::string line = rest.substr(0, cut);
  rest.erase(0, cut + 1);
  return line;
}

std::string wrap(std::string text, size_t indent, size_t columns) {
  std::string out;
  if (columns < indent + kNarrowest) {
    indent = kNarrowIndent;
    out = "\n" + std::string(indent, ' ');
  }
  size_t width = columns >= indent + kNarrowest ? columns - indent - kSlop : SIZE_MAX / 2;
  for (bool first = true; first || !text.empty(); first = false) {
    if (!first) out += "\n" + std::string(indent, ' ');
    for (char c : take_line(text, width)) {
      out += c;
      if (c == '\n') out.append(indent, ' ');
    }
  }
  return out;
}

}  // namespace

std::string flags_help(std::span<const std::span<const FlagSpec>> tables, size_t columns, bool with_help_flag) {
  static constexpr FlagSpec kHelp{.name = "help", .usage = "Print usage"};
  std::vector<const FlagSpec*> specs;
  for (auto table : tables)
    for (const FlagSpec& spec : table)
      if (!spec.hidden) specs.push_back(&spec);
  if (with_help_flag) specs.push_back(&kHelp);
  std::sort(specs.begin(), specs.end(),
            [](const FlagSpec* a, const FlagSpec* b) { return std::string_view(a->name) < b->name; });
  std::vector<std::string> heads;
  size_t widest = 0;
  for (const FlagSpec* spec : specs) {
    std::string head =
        spec->shorthand ? format("  -%c, --%s", spec->shorthand, spec->name) : format("      --%s", spec->name);
    if (*spec->type_name) head += std::string(" ") + spec->type_name;
    widest = std::max(widest, head.size());
    heads.push_back(std::move(head));
  }
  std::string out;
  for (size_t i = 0; i < specs.size(); ++i) {
    out += heads[i] + std::string(widest - heads[i].size() + 3, ' ');
    out += wrap(specs[i]->usage, widest + 3, columns) + "\n";
  }
  return out;
}

}  // namespace caisson::cli
