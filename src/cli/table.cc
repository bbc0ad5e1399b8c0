// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "cli/units.h"

namespace caisson::cli {

static constexpr size_t kPadding = 3;

namespace {

using Lines = std::vector<std::vector<std::string>>;

// A column is a run of lines that all have a terminated cell there; a line without one ends the run,
// and the columns right of it are laid out anew in each run.
void widths_of(const Lines& lines, size_t from, size_t to, size_t column, size_t minimum,
               std::vector<std::vector<size_t>>& out) {
  for (size_t i = from; i < to;) {
    if (lines[i].size() <= column + 1) {
      ++i;
      continue;
    }
    size_t end = i, width = minimum;
    for (; end < to && lines[end].size() > column + 1; ++end)
      width = std::max(width, utf8_length(lines[end][column]) + kPadding);
    for (size_t k = i; k < end; ++k) out[k].push_back(width);
    widths_of(lines, i, end, column + 1, minimum, out);
    i = end;
  }
}

}  // namespace

std::string align_table(std::string_view text, size_t minimum) {
  Lines lines;
  bool ended = text.ends_with('\n');
  if (ended) text.remove_suffix(1);
  for (const std::string& line : split(text, '\n')) lines.push_back(split(line, '\t'));
  std::vector<std::vector<size_t>> widths(lines.size());
  widths_of(lines, 0, lines.size(), 0, minimum, widths);
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i) out += '\n';
    for (size_t k = 0; k < lines[i].size(); ++k) {
      out += lines[i][k];
      if (k + 1 < lines[i].size()) out.append(widths[i][k] - utf8_length(lines[i][k]), ' ');
    }
  }
  if (ended) out += '\n';
  return out;
}

}  // namespace caisson::cli
