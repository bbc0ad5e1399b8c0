// SPDX-License-Identifier: Apache-2.0
#include "runtime/child_home.h"

#include <unistd.h>

#include <cerrno>

namespace caisson::runtime {

namespace {

// One passwd line, fed byte by byte: name:password:uid:gid:gecos:home:shell
class Line {
 public:
  Line(uint32_t uid, char* out, size_t size) : uid_(uid), out_(out), size_(size) {}

  // True when the line is over and was the wanted one.
  bool feed(char c) {
    if (c == '\n') {
      bool found = matches_ && field_ >= 5;
      if (!found) restart();
      return found;
    }
    if (c == ':') {
      if (field_ == 2) matches_ = digits_ > 0 && number_ == uid_;
      ++field_;
    } else if (field_ == 2) {
      if (c < '0' || c > '9' || digits_ >= 10)
        number_ = ~uint64_t{0} - 9, digits_ = 10;
      else
        number_ = number_ * 10 + static_cast<unsigned>(c - '0'), ++digits_;
    } else if (field_ == 5 && matches_) {
      if (length_ + 1 < size_) out_[length_] = c;
      ++length_;
    }
    return false;
  }
  bool finish() {
    if (length_ == 0 || length_ + 1 > size_ || out_[0] != '/') return false;
    out_[length_] = 0;
    return true;
  }

 private:
  void restart() {
    field_ = digits_ = 0;
    number_ = length_ = 0;
    matches_ = false;
  }
  uint32_t uid_;
  char* out_;
  size_t size_, length_ = 0;
  int field_ = 0, digits_ = 0;
  uint64_t number_ = 0;
  bool matches_ = false;
};

}  // namespace

bool find_home(int fd, uint32_t uid, char* out, size_t size) {
  Line line(uid, out, size);
  char buffer[4096];
  for (size_t total = 0; total < (1u << 20);) {
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return line.feed('\n') && line.finish();
    total += static_cast<size_t>(got);
    for (ssize_t i = 0; i < got; ++i)
      if (line.feed(buffer[i])) return line.finish();
  }
  return false;
}

}  // namespace caisson::runtime
