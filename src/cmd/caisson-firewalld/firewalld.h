// SPDX-License-Identifier: Apache-2.0
// firewalld on the bus: our zone and policy, which interfaces are in the zone, and news of firewalld itself.
#pragma once

#include <systemd/sd-bus.h>

#include <set>
#include <string>

#include "base/result.h"

namespace caisson::firewalld {

class Firewalld {
 public:
  static Result<Firewalld> connect();  // to the system bus
  Firewalld(Firewalld&& other) noexcept;
  Firewalld& operator=(Firewalld&&) = delete;
  ~Firewalld();

  int fd() const { return sd_bus_get_fd(bus_); }
  // Handles what came from the bus, without waiting. True: firewalld has appeared or has forgotten what it was told.
  Result<bool> take_news();
  Result<bool> is_running();  // it is never started by asking
  // Makes zone and policy if they are not there, which lets firewalld load its configuration again.
  Result<> ensure_zone();
  // An interface that the administrator has put into another zone stays there.
  Result<> add(const std::string& interface);
  Result<> remove(const std::string& interface);

 private:
  explicit Firewalld(sd_bus* bus) : bus_(bus) {}
  Result<> listen();
  Result<bool> has_zone();
  Result<std::string> zone_of(const std::string& interface);
  static int on_news(sd_bus_message* message, void* self, sd_bus_error* error);

  sd_bus* bus_;
  bool made_zone_ = false, listening_ = false;
  bool news_ = true;
  std::set<std::string> foreign_;  // told of already
};

}  // namespace caisson::firewalld
