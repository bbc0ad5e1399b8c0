// SPDX-License-Identifier: Apache-2.0
// caisson-fetch: does all registry traffic of one pull or push for the engine, as little privileged as the work
// allows. Not for people: descriptor 3 is the engine's socket, see image/fetch_protocol.h.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>

#include "base/log.h"
#include "cmd/caisson-fetch/confine.h"
#include "image/fetch_worker.h"

namespace {
constexpr int kControl = 3;
}

int main() {
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(kControl, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET) {
    fprintf(stderr, "caisson-fetch: started by caissond for registry traffic, not by hand\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  if (auto confined = caisson::fetch::confine(); !confined) {
    caisson::log_error("caisson-fetch: %s", confined.error().message.c_str());
    return 1;
  }
  auto served = caisson::image::serve_fetch(kControl);
  if (!served) caisson::log_error("caisson-fetch: %s", served.error().message.c_str());
  // Threads may still hang in a connection; nothing here needs a destructor.
  _exit(served ? 0 : 1);
}
