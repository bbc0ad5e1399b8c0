// SPDX-License-Identifier: Apache-2.0
// The terminal a program was started from: size, raw mode, signals as a descriptor.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

bool is_terminal(int fd);

struct TerminalSize {
  size_t rows = 0;
  size_t columns = 0;
};
// {0, 80} when `fd` is no terminal.
TerminalSize terminal_size(int fd);

// Raw mode as long as it lives; the destructor restores what was found.
// What ends the process without destructors must restore it first.
class RawTerminal {
 public:
  static Result<RawTerminal> enter(int fd);
  RawTerminal(RawTerminal&&) noexcept;
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();

 private:
  struct State;
  explicit RawTerminal(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Blocks `signals` in this thread and gives a descriptor that reads them; unblocked when it goes.
class SignalReader {
 public:
  static Result<SignalReader> open(const std::vector<int>& signals);
  SignalReader(SignalReader&&) noexcept;
  SignalReader& operator=(SignalReader&&) = delete;
  ~SignalReader();
  int fd() const { return fd_.get(); }
  int read();  // the next signal, 0 when none is pending

 private:
  SignalReader(UniqueFd fd, std::vector<int> signals) : fd_(std::move(fd)), signals_(std::move(signals)) {}
  UniqueFd fd_;
  std::vector<int> signals_;
};

// "TERM" for SIGTERM; "" for numbers without a name.
const char* signal_name(int signal);

}  // namespace caisson::sys
