// SPDX-License-Identifier: Apache-2.0
// A connection with one caisson-relay process: finding or starting it, one request at a time, its end. Private to the
// relay client.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "network/relay_client.h"
#include "wire/relay_control.h"

namespace caisson::network {

class RelayLink {
 public:
  // The program that listens at `path`, of whatever release. kUnavailable: there is none that answers.
  static Result<std::unique_ptr<RelayLink>> find(const std::string& path);
  static Result<std::unique_ptr<RelayLink>> start(const RelayOptions& options, int listener);

  // What a program that was found holds.
  UniqueFd take_listener() { return std::move(listener_); }
  Result<std::vector<UniqueFd>> udp_sockets();
  size_t udp_count() const { return udp_count_; }
  bool same_release() const { return version_ == relay::kControlVersion; }

  // `sockets` may be null; for UDP one a port. What the program refuses is kInvalid, all else means it is of no use.
  Result<> add(const RelayEntry& entry, const std::vector<UniqueFd>* sockets);
  Result<> remove(const RelayEntry& entry);
  Result<> sync();
  void end();  // kills it and waits

  int socket() const { return socket_.get(); }
  pid_t pid() const { return pid_; }

 private:
  Result<> hello(int listener);
  Result<relay::ControlAnswer> ask(const relay::ControlRequest& request, const std::vector<int>& fds,
                                   std::vector<UniqueFd>* answer_fds = nullptr);
  Result<> order(const relay::ControlRequest& request, const std::vector<int>& fds = {});

  UniqueFd socket_, pidfd_, listener_;
  pid_t pid_ = 0;
  int version_ = 0;
  uint32_t udp_count_ = 0;
};

}  // namespace caisson::network
