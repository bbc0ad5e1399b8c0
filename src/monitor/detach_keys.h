// SPDX-License-Identifier: Apache-2.0
// Finds the detach sequence in what a user types, also when it comes in several reads. Bytes that may
// belong to it are held back until it is clear that they do not.
#pragma once

#include <string>
#include <string_view>

namespace caisson::monitor {

class DetachKeys {
 public:
  explicit DetachKeys(std::string sequence = {}) : sequence_(std::move(sequence)) {}
  bool enabled() const { return !sequence_.empty(); }
  // Adds to `out` what goes on to the container. True: the sequence is complete; the rest of `input`
  // is dropped.
  bool feed(std::string_view input, std::string& out);
  // The input has ended: what was held back belongs to the container after all.
  std::string_view held_back() const { return std::string_view(sequence_).substr(0, matched_); }

 private:
  std::string sequence_;
  size_t matched_ = 0;
};

}  // namespace caisson::monitor
