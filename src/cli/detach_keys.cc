// SPDX-License-Identifier: Apache-2.0
#include "cli/detach_keys.h"

#include "base/text.h"

namespace caisson::cli {

Result<std::string> parse_detach_keys(std::string_view text) {
  if (text.empty()) return std::string("\x10\x11");
  std::string out;
  for (const std::string& key : split(text, ',')) {
    if (key.size() == 1) {
      out += key;
      continue;
    }
    std::string name = to_lower(key);
    static constexpr std::string_view kSpecial = "@abcdefghijklmnopqrstuvwxyz[\\]^_";
    size_t code = name.starts_with("ctrl-") && name.size() == 6 ? kSpecial.find(name[5]) : kSpecial.npos;
    if (code == kSpecial.npos)
      return fail(ErrorKind::kInvalid, "invalid detach keys (%s): Unknown character: '%s'", std::string(text).c_str(),
                  key.c_str());
    out += static_cast<char>(code);
  }
  return out;
}

bool DetachDetector::feed(std::string_view data) {
  for (char c : data) {
    if (matched_ < keys_.size() && c == keys_[matched_])
      ++matched_;
    else
      matched_ = c == keys_[0] ? 1 : 0;
    if (matched_ == keys_.size()) return true;
  }
  return false;
}

}  // namespace caisson::cli
