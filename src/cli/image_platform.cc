// SPDX-License-Identifier: Apache-2.0
#include "cli/image_platform.h"

#include <algorithm>

#include "base/text.h"
#include "cli/json_value.h"

namespace caisson::cli {

namespace {

bool is_word(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
           c == '-';
  });
}

bool is_system(const std::string& word) {
  return word == "linux" || word == "windows" || word == "darwin" || word == "freebsd";
}

std::string usual_name(const std::string& architecture) {
  if (architecture == "x86_64" || architecture == "x86-64") return "amd64";
  if (architecture == "aarch64") return "arm64";
  if (architecture == "i386") return "386";
  return architecture;
}

std::string own_architecture() {
#if defined(__aarch64__)
  return "arm64";
#else
  return "amd64";
#endif
}

}  // namespace

Result<std::string> platform_json(std::string_view text) {
  if (text.empty()) return std::string();
  std::vector<std::string> words = split(to_lower(text), '/');
  if (words.size() > 3 || !std::all_of(words.begin(), words.end(), is_word))
    return fail(ErrorKind::kInvalid, "invalid platform: \"%s\": expected os[/arch[/variant]]",
                std::string(text).c_str());
  if (words.size() == 1)
    words =
        is_system(words[0]) ? std::vector{words[0], own_architecture()} : std::vector<std::string>{"linux", words[0]};
  JsonValue platform = JsonValue::object();
  platform.set("architecture", usual_name(words[1]));
  platform.set("os", words[0]);
  if (words.size() == 3) platform.set("variant", words[2]);
  return platform.dump();
}

}  // namespace caisson::cli
