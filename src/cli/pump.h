// SPDX-License-Identifier: Apache-2.0
// Runs an attached session: standard input to the container, its streams to ours, signals and window
// sizes to the engine. One thread, one poll loop; a slow container never keeps its output from us.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/app.h"
#include "sys/terminal.h"

namespace caisson::cli {

struct PumpOptions {
  bool tty = false;  // raw bytes instead of frames
  bool send_stdin = false;
  bool want_stdout = true;
  bool want_stderr = true;
  bool stdin_once_done = false;  // return when standard input ends: no output is wanted
  std::string detach_keys;       // bytes; watched for with tty and stdin only
  // Called for a signal that reached us; unset: signals keep their default action.
  std::function<void(int signal)> on_signal;
  std::function<void(sys::TerminalSize)> on_resize;  // with tty only
};

// How the session ended.
enum class PumpEnd : unsigned char { kClosed, kDetached, kTerminated };
struct PumpResult {
  PumpEnd end = PumpEnd::kClosed;
  int signal = 0;  // for kTerminated
};

// run() takes the hijacked socket of an attach or exec request and lasts until the engine closes it.
class Pump {
 public:
  Pump(App& app, PumpOptions options) : app_(app), options_(std::move(options)) {}
  // Raw mode and the signal descriptor; to be called before the container starts, so that no signal and
  // no key press falls between.
  Result<> prepare();
  Result<PumpResult> run(http::Client::Hijacked connection);
  void restore_terminal() { raw_.reset(); }
  // Until `fd` is readable, with signals handled meanwhile; false when one ended us.
  bool wait_readable(int fd);
  int ended_by() const { return ended_by_; }

 private:
  void handle_signals();

  App& app_;
  PumpOptions options_;
  std::optional<sys::RawTerminal> raw_;
  std::optional<sys::SignalReader> signals_;
  int ended_by_ = 0;
};

}  // namespace caisson::cli
