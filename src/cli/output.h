// SPDX-License-Identifier: Apache-2.0
// Buffered standard output, and standard error. A reader that went away ends the program quietly, by
// the signal that would have ended it.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"

namespace caisson::cli {

// Writes all, retrying. False when the reader went away; other failures are ignored, nobody is left to
// tell.
bool write_out(int fd, std::string_view data);
// Ends the process by `signal` with its default action, as the shell expects.
[[noreturn]] void die_of(int signal);

class Output : public ByteSink {
 public:
  explicit Output(int fd) : fd_(fd) {}
  ~Output() override { flush(); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void print(std::string_view text);
  void line(std::string_view text);
  [[gnu::format(printf, 2, 3)]] void printf(const char* format, ...);
  void flush();
  Result<> write(std::string_view data) override;
  int fd() const { return fd_; }
  bool is_terminal() const;

 private:
  int fd_;
  std::string buffer_;
};

}  // namespace caisson::cli
