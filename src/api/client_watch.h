// SPDX-License-Identifier: Apache-2.0
// Notices that the client of a long operation has gone, also while there is nothing to write to it.
#pragma once

#include <atomic>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::api {

// Sets `gone` when the other end of `fd` is closed; on TCP, where the two look the same, also when it is half closed.
// The descriptor stays the caller's and must outlive this object.
class ClientWatch {
 public:
  ClientWatch(int fd, std::atomic<bool>& gone);
  ~ClientWatch();

 private:
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace caisson::api
