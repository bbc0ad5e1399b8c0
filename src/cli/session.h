// SPDX-License-Identifier: Apache-2.0
// An attached container from the client's side: the attach connection, the wait request, the pump
// between them, and the exit code at the end. Used by run, start and attach.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/app.h"
#include "cli/pump.h"

namespace caisson::cli {

struct SessionOptions {
  std::string container;
  bool tty = false, attach_stdin = false, attach_stdout = false, attach_stderr = false;
  bool sig_proxy = true;
  std::string detach_keys;  // as given
  bool logs = false;
};

class Session {
 public:
  Session(App& app, SessionOptions options);
  // Attach request and terminal; before the container is started.
  Result<> attach();
  // Registers for the exit; before the container is started. condition: "next-exit", "removed", or ""
  // for a container that may have ended already.
  Result<> watch_exit(std::string_view condition);
  Result<PumpEnd> pump();
  // Blocks until the exit that was watched for.
  Result<int> exit_code();
  // Lets the terminal go and waits for what the engine still sends; after a failed start.
  void abandon();

 private:
  void resize(sys::TerminalSize size);
  void forward(int signal);

  App& app_;
  SessionOptions options_;
  std::optional<Pump> pump_;
  std::optional<http::Client::Hijacked> connection_;
  Engine::Stream wait_;
};

// Keys from the flag, else from the user's configuration file, else the default; as bytes.
Result<std::string> detach_keys_of(App& app, std::string_view flag);

// For a tty on both ends: "the input device is not a TTY".
Result<> check_tty(bool attach_stdin, bool tty);

// Exit code for an error of starting a process: 127 not found, 126 not executable, else 125.
int start_error_code(std::string_view message);

}  // namespace caisson::cli
