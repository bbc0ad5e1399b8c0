// SPDX-License-Identifier: Apache-2.0
// The client program: Docker's command tree over HTTP.
#include <signal.h>

#include <string>
#include <vector>

#include "cli/command.h"

extern char** environ;

int main(int argc, char** argv) {
  // Writing to a closed pipe is seen where it happens: the engine's sockets must not end the client.
  signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> environment;
  for (char** entry = environ; *entry; ++entry) environment.emplace_back(*entry);
  caisson::cli::App app(std::move(environment));
  int code = caisson::cli::run_program(app, std::vector<std::string>(argv + 1, argv + argc));
  app.out.flush();
  return code;
}
