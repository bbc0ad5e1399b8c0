// SPDX-License-Identifier: Apache-2.0
// caisson-monitor: started by the engine with its request on descriptor 3, one per container.
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "monitor/monitor.h"

int main() {
  constexpr int kLauncherFd = 3;
  if (fcntl(kLauncherFd, F_SETFD, FD_CLOEXEC) < 0) {
    constexpr char kText[] = "caisson-monitor: is started by caissond, not by hand\n";
    (void)!write(2, kText, sizeof kText - 1);
    return 2;
  }
  // Started through a descriptor the program would be called after its number in ps.
  prctl(PR_SET_NAME, "caisson-monitor");
  return caisson::monitor::run_monitor(caisson::UniqueFd(kLauncherFd));
}
