// SPDX-License-Identifier: Apache-2.0
// systemd's manager on the bus: transient units, their properties, their end.
#pragma once

#include <systemd/sd-bus.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "request.h"

namespace caisson::systemd {

class Manager {
 public:
  // The system's manager, as root over its own socket where there is one, else over the bus; `user`: the
  // caller's own. kUnavailable.
  static Result<Manager> connect(bool user);
  Manager(Manager&& other) noexcept;
  Manager& operator=(Manager&&) = delete;
  ~Manager();

  // Waits until it is there. kExists when one of that name is active.
  Result<> start(const std::string& unit, const std::vector<Property>& properties);
  // Waits until it is gone. One that is not known is success.
  Result<> stop(const std::string& unit);
  Result<> set_properties(const std::string& unit, const std::vector<Property>& properties);
  // Moves the process into the unit's group.
  Result<> attach(const std::string& unit, uint32_t pid);
  Result<std::string> control_group(const std::string& unit);

 private:
  explicit Manager(sd_bus* bus) : bus_(bus) {}
  Result<> start_once(const std::string& unit, const std::vector<Property>& properties);
  // Waits for the end of `job`; its result word ("done", "failed").
  Result<std::string> wait_for(const std::string& job);
  void reset_failed(const std::string& unit);
  static int on_job_removed(sd_bus_message* message, void* self, sd_bus_error* error);

  sd_bus* bus_;
  struct Ended {
    std::string job, result;
  };
  std::vector<Ended> ended_;  // a job may end before its reply is read
};

}  // namespace caisson::systemd
