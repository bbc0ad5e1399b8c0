// SPDX-License-Identifier: Apache-2.0
#include "ps_table.h"

#include <algorithm>

#include "base/text.h"

namespace caisson::oci {

namespace {

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  for (auto& word : split(line, ' '))
    if (!word.empty()) out.push_back(std::move(word));
  return out;
}

}  // namespace

Result<std::string> rows_of_pids(std::string_view table, const std::vector<pid_t>& pids) {
  auto lines = split(table, '\n');
  auto header = words(lines.front());
  auto column = static_cast<size_t>(std::find(header.begin(), header.end(), "PID") - header.begin());
  if (column == header.size()) return fail(ErrorKind::kInvalid, "couldn't find PID field in ps output");
  std::string out = lines.front() + "\n";
  for (size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    auto fields = words(lines[i]);
    auto pid = column < fields.size() ? parse_int(fields[column]) : std::nullopt;
    if (!pid) return fail(ErrorKind::kInvalid, "unexpected pid in the line %s of ps", quoted(lines[i]).c_str());
    if (std::find(pids.begin(), pids.end(), *pid) != pids.end()) out += lines[i] + "\n";
  }
  return out;
}

}  // namespace caisson::oci
