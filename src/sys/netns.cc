// SPDX-License-Identifier: Apache-2.0
#include "sys/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {
void set_default(const char* path, const char* value) {
  auto written = write_file(path, value);
  if (!written && written.error().err != ENOENT) log_debug("%s, ignoring", written.error().message.c_str());
}

Result<NewNamespace> prepare_current() {
  NewNamespace made{TRY(open_own_netns()), TRY(RouteSocket::open())};
  TRY(made.route.set_up("lo"));
  set_default("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
  set_default("/proc/sys/net/ipv6/conf/default/accept_ra", "0");
  // What Docker sets in every private namespace: ports below 1024 and ping for unprivileged users.
  set_default("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  set_default("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
  return made;
}
}  // namespace

Result<UniqueFd> open_own_netns() { return open_file("/proc/thread-self/ns/net", O_RDONLY); }

static bool is_namespace(int fd) {
  struct statfs where {};
  return fstatfs(fd, &where) == 0 && static_cast<unsigned long>(where.f_type) == NSFS_MAGIC;
}

bool is_network_namespace(int fd) { return is_namespace(fd) && ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET; }

Result<UniqueFd> open_network_namespace(const std::string& path) {
  auto place = open_file(path, O_PATH);
  if (!place) return fail(ErrorKind::kInvalid, "%s", place.error().message.c_str());
  if (!is_namespace(place->get())) return fail(ErrorKind::kInvalid, "'%s' is not a network namespace", path.c_str());
  auto netns = TRY(open_file(format("/proc/self/fd/%d", place->get()), O_RDONLY));
  if (!is_network_namespace(netns.get()))
    return fail(ErrorKind::kInvalid, "'%s' is a namespace, but not of networks", path.c_str());
  return netns;
}

Result<NewNamespace> create_netns_on_this_thread(int home, bool& lost) {
  lost = false;
  if (unshare(CLONE_NEWNET) < 0) return fail_errno("unshare network namespace");
  auto made = prepare_current();
  if (setns(home, CLONE_NEWNET) < 0) {
    lost = true;
    return fail_errno("setns back to the own network namespace");
  }
  return made;
}

Result<> run_in_netns_on_this_thread(int netns, int home, bool& lost, const std::function<Result<>()>& body) {
  lost = false;
  if (setns(netns, CLONE_NEWNET) < 0) return fail_errno("setns network namespace");
  auto done = body();
  if (setns(home, CLONE_NEWNET) < 0) {
    lost = true;
    return fail_errno("setns back to the own network namespace");
  }
  return done;
}

}  // namespace caisson::sys
