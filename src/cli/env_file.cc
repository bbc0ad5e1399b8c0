// SPDX-License-Identifier: Apache-2.0
#include "cli/env_file.h"

#include <optional>

#include "base/text.h"
#include "cli/units.h"
#include "sys/files.h"

namespace caisson::cli {

static constexpr size_t kMaxFile = 16 << 20;

static std::optional<std::string> lookup(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& entry : environment)
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name)) return entry;
  return std::nullopt;
}

// `environment` null: a name alone is kept as it is (labels).
static Result<std::vector<std::string>> read_lines(const std::string& path,
                                                   const std::vector<std::string>* environment) {
  auto text = sys::read_file(path, kMaxFile);
  if (!text) {
    // As Go says it, which is what users of env files search for.
    if (text.error().err)
      return fail(text.error().kind, "open %s: %s", path.c_str(), to_lower(errno_text(text.error().err)).c_str());
    return std::unexpected(text.error());
  }
  std::vector<std::string> out;
  size_t number = 0;
  std::string_view rest = *text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
  for (std::string& line : split(rest, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    size_t first = line.find_first_not_of(" \t\v\f\r");
    if (first == line.npos || line[first] == '#') continue;
    line.erase(0, first);
    auto pair = split_once(line, '=');
    std::string name = pair ? pair->first : line;
    if (name.find_first_of(" \t\v\f\r") != name.npos)
      return fail(ErrorKind::kInvalid, "invalid env file (%s): variable '%s' contains whitespaces", path.c_str(),
                  name.c_str());
    if (name.empty())
      return fail(ErrorKind::kInvalid, "invalid env file (%s): no variable name on line '%s'", path.c_str(),
                  line.c_str());
    if (pair || !environment) {
      out.push_back(line);
    } else if (auto entry = lookup(*environment, name)) {
      out.push_back(*entry);
    }
  }
  return out;
}

Result<std::vector<std::string>> read_env_files(const std::vector<std::string>& files,
                                                const std::vector<std::string>& environment) {
  std::vector<std::string> out;
  for (const std::string& file : files) {
    std::vector<std::string> lines = TRY(read_lines(file, &environment));
    out.insert(out.end(), lines.begin(), lines.end());
  }
  return out;
}

std::vector<std::string> resolve_env(const std::vector<std::string>& values,
                                     const std::vector<std::string>& environment) {
  std::vector<std::string> out;
  for (const std::string& value : values) {
    if (value.find('=') != value.npos)
      out.push_back(value);
    else if (auto entry = lookup(environment, value))
      out.push_back(*entry);
    else
      out.push_back(value);  // the engine removes a variable that is named without value
  }
  return out;
}

Result<JsonValue> read_labels(const std::vector<std::string>& files, const std::vector<std::string>& labels) {
  JsonValue out = JsonValue::object();
  auto add = [&](const std::string& text) {
    auto pair = split_once(text, '=');
    out.set(pair ? pair->first : text, pair ? pair->second : "");
  };
  for (const std::string& file : files)
    for (const std::string& line : TRY(read_lines(file, nullptr))) add(line);
  for (const std::string& label : labels) add(label);
  return out;
}

}  // namespace caisson::cli
