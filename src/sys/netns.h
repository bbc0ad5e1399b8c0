// SPDX-License-Identifier: Apache-2.0
// Making network namespaces. The calls here change the calling thread's namespace for a moment, so
// they belong on a thread of their own.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/rtnetlink.h"

namespace caisson::sys {

struct NewNamespace {
  UniqueFd netns;
  RouteSocket route;  // acts inside the new namespace, from any thread; holds it alive
};

Result<UniqueFd> open_own_netns();  // the calling thread's
bool is_network_namespace(int fd);  // a descriptor of one, and not of any other file
// That at `path`, which is not opened when it is something else. kInvalid with a sentence, also when nothing is there.
Result<UniqueFd> open_network_namespace(const std::string& path);

// A new namespace with lo up; IPv6 is off for links that come later (no address is ever configured, so
// router advertisements of neighbours are the only ones it could get); ports from 0 and ping are open to
// unprivileged users, as Docker has it. The calling thread is back in
// `home` afterwards; when that fails, `lost` is set and the thread must end.
Result<NewNamespace> create_netns_on_this_thread(int home, bool& lost);

// Calls `body` with the thread in `netns`. Its sockets stay there.
Result<> run_in_netns_on_this_thread(int netns, int home, bool& lost, const std::function<Result<>()>& body);

}  // namespace caisson::sys
