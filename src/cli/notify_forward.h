// SPDX-License-Identifier: Apache-2.0
// `run --sdnotify`: a container as a service of systemd with Type=notify. The container's main program says READY=1
// to a socket that lies in the container, this process passes it on with the container's process as MAINPID. Source:
// sd_notify(3). The service needs NotifyAccess=all, as the container is no child of its ExecStart.
#pragma once

#include <string>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cli/app.h"
#include "cli/container_flags.h"

namespace caisson::cli {

class NotifyForwarder {
 public:
  // `mode` is "container" (the program says when it is ready), "conmon" (ready once started; podman's word) or
  // "ignore". Without NOTIFY_SOCKET in the environment every mode is "ignore". For "container" the request gets the
  // socket's mount and variable; it must have --rm, as both are gone with this process. kInvalid otherwise.
  static Result<NotifyForwarder> prepare(const App& app, std::string_view mode, ContainerRequest& request);
  NotifyForwarder(NotifyForwarder&& other) noexcept;
  NotifyForwarder& operator=(NotifyForwarder&&) = delete;
  ~NotifyForwarder();  // removes the socket; the container's mount of it stays

  // To be called when the container has been started. `waits`: until it says that it is ready, or has ended
  // (kConflict); otherwise its messages are passed on in the background from now on.
  Result<> started(App& app, const std::string& container, bool waits);

 private:
  NotifyForwarder() = default;
  Result<> forward_until_ready(App& app, const std::string& container);
  void forward_always();

  bool is_immediate_ = false;
  int64_t pid_ = 0;
  std::string directory_;
  UniqueFd socket_, wake_;  // wake_: written to end the thread
  std::thread thread_;
};

}  // namespace caisson::cli
