// SPDX-License-Identifier: Apache-2.0
// A network device with its addresses of both families going from one network namespace to another.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sys/netlink.h"

namespace caisson::sys {

// As the kernel told it, to be given back to the kernel.
struct DeviceAddress {
  uint8_t family = 0, prefix = 0;
  std::vector<std::pair<uint16_t, std::string>> attributes;
};

// nullopt for other messages, for another device, and for what is not permanent or not of global scope.
std::optional<DeviceAddress> parse_permanent_address(const NetlinkMessage& message, int index);

// One end: sockets that act in a network namespace, whichever the thread is in later.
class DeviceMover {
 public:
  static Result<DeviceMover> open();  // in the thread's current namespace

  struct Device {
    int index = 0;
    bool up = false;
    std::vector<DeviceAddress> addresses;
  };
  Result<Device> find(const std::string& name);  // kNotFound
  // Down, and into the namespace behind `netns` under another name: at once or not at all.
  Result<> send(const std::string& name, int index, int netns, const std::string& new_name);
  // Gives an arrived device its addresses and sets it up if wanted.
  Result<> receive(const std::string& name, const Device& device, bool up);

 private:
  explicit DeviceMover(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
};

}  // namespace caisson::sys
