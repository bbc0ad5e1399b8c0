// SPDX-License-Identifier: Apache-2.0
#include "runtime/net_devices.h"

#include <sched.h>

#include <optional>

#include "base/log.h"
#include "base/rollback.h"
#include "sys/files.h"
#include "sys/netns.h"
#include "sys/rtnetlink_device.h"

namespace caisson::runtime {

namespace {

struct There {
  std::optional<sys::DeviceMover> mover;
  UniqueFd netns;
};

Result<There> open_there(int child_pidfd, int own) {
  if (setns(child_pidfd, CLONE_NEWNET) < 0) return fail_errno("setns to the container's network namespace");
  auto mover = sys::DeviceMover::open();
  auto netns = sys::open_own_netns();
  if (setns(own, CLONE_NEWNET) < 0) return fail_errno("setns back to the own network namespace");
  There out;
  out.mover = TRY(std::move(mover));
  out.netns = TRY(std::move(netns));
  return out;
}

Result<> take_back(sys::DeviceMover& here, sys::DeviceMover& there, int own, const std::string& name,
                   const std::string& new_name, const sys::DeviceMover::Device& device) {
  if (!here.find(name)) {
    // The kernel renames after the move, so one that failed to be renamed has its old name there.
    auto gone = there.find(new_name);
    if (!gone) gone = there.find(name);
    TRY(there.send(name, TRY(std::move(gone)).index, own, name));
  }
  return here.receive(name, device, device.up);
}

}  // namespace

Result<> move_net_devices(const Plan& plan, int child_pidfd) {
  if (plan.net_devices.empty()) return {};
  auto own = TRY(sys::open_own_netns());
  auto here = TRY(sys::DeviceMover::open());
  auto there = TRY(open_there(child_pidfd, own.get()));
  Rollback rollback;
  for (const auto& [name, new_name] : plan.net_devices) {
    auto device = TRY_CTX(here.find(name), "linux.netDevices");
    if (there.mover->find(new_name))
      return fail(ErrorKind::kExists, "linux.netDevices: the container has a network device '%s' already",
                  new_name.c_str());
    rollback.add([&here, &there, &own, name = name, new_name = new_name, device] {
      auto taken_back = take_back(here, *there.mover, own.get(), name, new_name, device);
      if (!taken_back)
        log_debug("take network device '%s' back: %s, ignoring", name.c_str(), taken_back.error().message.c_str());
    });
    TRY_CTX(here.send(name, device.index, there.netns.get(), new_name), "linux.netDevices");
    TRY_CTX(there.mover->receive(new_name, device, true), "linux.netDevices");
  }
  rollback.commit();
  return {};
}

}  // namespace caisson::runtime
