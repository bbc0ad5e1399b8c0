// SPDX-License-Identifier: Apache-2.0
#include "monitor/detach_keys.h"

namespace caisson::monitor {

bool DetachKeys::feed(std::string_view input, std::string& out) {
  for (char c : input) {
    // The longest beginning of the sequence that ends with this byte; the sequence is a few bytes long.
    while (matched_ > 0 && sequence_[matched_] != c) {
      size_t shorter = matched_ - 1;
      while (shorter > 0 && !held_back().ends_with(std::string_view(sequence_).substr(0, shorter))) --shorter;
      out += held_back().substr(0, matched_ - shorter);
      matched_ = shorter;
    }
    if (sequence_.empty() || sequence_[matched_] != c) {
      out += c;
    } else if (++matched_ == sequence_.size()) {
      matched_ = 0;
      return true;
    }
  }
  return false;
}

}  // namespace caisson::monitor
