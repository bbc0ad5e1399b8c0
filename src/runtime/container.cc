// SPDX-License-Identifier: Apache-2.0
// The parent's side: cgroup, clone, the talk over the sync socket, and taking everything down again when
// something fails.
#include "runtime/container.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/text.h"
#include "runtime/prepare.h"
#include "sys/container_clone.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/unix_socket.h"

namespace caisson::runtime {

namespace {

// A process that has not exec'ed yet, and what goes down with it.
struct Launch {
  sys::Child child;
  UniqueFd sync, console;
  sys::CgroupPaths cgroup;
  bool own_cgroup = false;

  Launch() = default;
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;
  ~Launch() {
    if (child.pid > 0) {
      if (auto sent = sys::signal_pidfd(child.pidfd.get(), SIGKILL); !sent)
        log_debug("kill a process that did not start: %s, ignoring", sent.error().message.c_str());
      if (auto reaped = sys::wait_child(child); !reaped)
        log_debug("wait for a process that did not start: %s, ignoring", reaped.error().message.c_str());
    }
    if (!own_cgroup) return;
    if (auto removed = sys::remove_cgroup(cgroup); !removed)
      log_debug("remove the cgroup of a container that did not start: %s, ignoring", removed.error().message.c_str());
  }
};

struct Reply {
  bool closed = false;
  ChildMessage message;
  UniqueFd fd;
};

Result<Reply> next_message(int sync) {
  Reply reply;
  iovec part{&reply.message, sizeof reply.message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t got;
  while ((got = recvmsg(sync, &header, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  if (got < 0) return fail_errno("receive from the container's first process");
  if (got == 0) {
    reply.closed = true;
    return reply;
  }
  if (cmsghdr* attached = CMSG_FIRSTHDR(&header); attached && attached->cmsg_type == SCM_RIGHTS) {
    int fd;
    memcpy(&fd, CMSG_DATA(attached), sizeof fd);
    reply.fd.reset(fd);
  }
  if (got != sizeof reply.message) return fail(ErrorKind::kInternal, "message of %zd bytes from the container", got);
  return reply;
}

Result<> write_id_map(pid_t pid, const char* file, const std::vector<IdMapping>& mappings) {
  std::string text;
  for (const auto& m : mappings) text += format("%u %u %u\n", m.container_id, m.host_id, m.size);
  return sys::write_file(format("/proc/%d/%s", pid, file), text);
}

Result<> go_on(int sync) {
  char byte = 1;
  if (send(sync, &byte, 1, MSG_NOSIGNAL) != 1) return fail_errno("tell the container's first process to go on");
  return {};
}

enum class Reached { kReady, kExecuted };

Result<Reached> follow_child(Launch& launch, const Plan* plan) {
  for (;;) {
    Reply reply = TRY(next_message(launch.sync.get()));
    // The socket closes on exec; or with the process, which the caller will notice by its pidfd.
    if (reply.closed) return Reached::kExecuted;
    switch (reply.message.kind) {
      case ChildMessage::Kind::kReady: return Reached::kReady;
      case ChildMessage::Kind::kError: return std::unexpected(child_error(reply.message));
      case ChildMessage::Kind::kConsole: launch.console = std::move(reply.fd); break;
      case ChildMessage::Kind::kMapIds:
        if (!plan) return fail(ErrorKind::kInternal, "unexpected request for id mappings");
        TRY_CTX(write_id_map(launch.child.pid, "uid_map", plan->uid_mappings), "map user ids");
        TRY_CTX(write_id_map(launch.child.pid, "gid_map", plan->gid_mappings), "map group ids");
        TRY(go_on(launch.sync.get()));
        break;
    }
  }
}

// /proc/PID of a process between clone and exec belongs to nobody in the container. The clone inherits
// it, exec ends it.
class Undumpable {
 public:
  Undumpable() : before_(prctl(PR_GET_DUMPABLE)) { prctl(PR_SET_DUMPABLE, 0); }
  ~Undumpable() {
    if (before_ == 1) prctl(PR_SET_DUMPABLE, 1);
  }
  Undumpable(const Undumpable&) = delete;
  Undumpable& operator=(const Undumpable&) = delete;

 private:
  int before_;
};

Result<UniqueFd> raised(UniqueFd fd) {
  if (fd.get() > 2) return fd;
  UniqueFd high(fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!high) return fail_errno("dup of the sync socket");
  return high;
}

// Clones and leaves the child running; `setup` lives in both memories from there on.
Result<> clone_child(Launch& launch, ChildSetup& setup, sys::ContainerClone request, const sys::CgroupPaths& cgroup) {
  auto pair = TRY(sys::socket_pair(SOCK_SEQPACKET));
  launch.sync = TRY(raised(std::move(pair.first)));
  UniqueFd child_end = TRY(raised(std::move(pair.second)));
  setup.sync = child_end.get();
  setup.parent_sync = launch.sync.get();
  UniqueFd directory;
  if (!cgroup.empty()) {
    auto joins = TRY(sys::open_cgroup_join(cgroup));
    if (cgroup.v2 && !joins.empty()) {
      directory = std::move(joins.front());  // the kernel puts the child there
      request.cgroup = directory.get();
    } else {
      setup.cgroup_tasks = std::move(joins);
      if (!request.keep.empty())
        for (const auto& tasks : setup.cgroup_tasks) request.cgroup_tasks.push_back(tasks.get());
    }
  }
  if (!request.keep.empty()) request.keep.push_back(setup.sync);
  Undumpable guard;
  launch.child = TRY(sys::clone_container_on_this_thread(request));
  if (launch.child.pid == 0) {
    // Done already, by the process between; the descriptors are gone.
    if (!request.keep.empty()) for (auto& tasks : setup.cgroup_tasks) (void)tasks.release();
    setup.cgroups_joined = !request.keep.empty();
    run_child(setup);
  }
  return {};
}

Started finished(Launch& launch) {
  Started started;
  started.pid = std::exchange(launch.child.pid, 0);
  started.pidfd = std::move(launch.child.pidfd);
  started.console_master = std::move(launch.console);
  started.cgroup = std::move(launch.cgroup);
  launch.own_cgroup = false;
  return started;
}

void prepare_sysctls(const Plan& plan, ChildSetup& setup) {
  for (const auto& [name, value] : plan.sysctls) {
    // "net.ipv4.conf.eth0/1.forwarding": the dot of an interface's name stands as a slash.
    std::string path = name;
    for (auto& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
    path = "/proc/sys/" + path;
    setup.sysctls.push_back({std::move(path), value, true});
  }
}

bool binds_dev(const Plan& plan) {
  for (const auto& mount : plan.mounts)
    if (mount.kind == Mount::Kind::kBind && mount.destination == "/dev") return true;
  return false;
}

Result<Reached> launch_container(const Plan& plan, const StartFds& fds, bool wait, Launch& launch) {
  ChildSetup setup;
  setup.plan = &plan;
  setup.wait = wait;
  setup.process = TRY(prepare_process(plan.process, fds.stdio));
  setup.keyring = plan.id.empty() ? "" : "_ses." + plan.id;
  setup.has_root = plan.create_namespaces & CLONE_NEWNS;
  setup.make_devices = !binds_dev(plan);
  prepare_sysctls(plan, setup);

  sys::CgroupSystem detected;
  const sys::CgroupSystem* system = &plan.cgroup.system;
  bool mounts_cgroup = false;
  for (const auto& mount : plan.mounts) mounts_cgroup |= mount.kind == Mount::Kind::kCgroup;
  if (system->empty() && (mounts_cgroup || !plan.cgroup.path.empty())) {
    detected = TRY(sys::detect_cgroups());
    system = &detected;
  }
  if (!plan.cgroup.path.empty()) {
    launch.cgroup = TRY_CTX(sys::create_cgroup(*system, plan.cgroup.path), "create the cgroup");
    launch.own_cgroup = true;
    TRY(sys::apply_cgroup_limits(launch.cgroup, plan.cgroup.limits));
  }

  UniqueFd root;
  if (setup.has_root) {
    if (!plan.rootfs.empty()) root = TRY_CTX(sys::clone_mount(AT_FDCWD, plan.rootfs, true), "root file system");
    else if (fds.rootfs < 0) return fail(ErrorKind::kInvalid, "no root file system given");
    // COMPAT(linux<6.15): a detached mount cannot be cloned there; the error says open_tree: EINVAL.
    else if (fds.keep_rootfs) root = TRY_CTX(sys::clone_mount(fds.rootfs, "", true), "root file system");
    setup.rootfs = root ? root.get() : fds.rootfs;
  }
  setup.mounts = TRY(prepare_mounts(plan, *system, launch.cgroup));
  setup.joins = TRY(prepare_joins(plan, fds.netns));

  sys::ContainerClone request;
  UniqueFd pid_namespace;
  for (const auto& join : plan.join_namespaces)
    if (join.type == CLONE_NEWPID)
      pid_namespace = TRY_CTX(sys::open_file(join.path, O_RDONLY), "join the pid namespace");
  request.join_pid = pid_namespace.get();
  // The cgroup namespace is unshared by the child once it is in its cgroup.
  request.namespaces = plan.create_namespaces & ~uint64_t{CLONE_NEWCGROUP};
  if (fds.netns >= 0) request.namespaces &= ~uint64_t{CLONE_NEWNET};
  TRY(clone_child(launch, setup, request, launch.cgroup));
  return follow_child(launch, &plan);
}

}  // namespace

struct Created::State {
  Launch launch;
};

Created::Created(State* state) : state_(state) {}
Created::Created(Created&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
Created& Created::operator=(Created&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Created::~Created() { delete state_; }
pid_t Created::pid() const { return state_->launch.child.pid; }
int Created::pidfd() const { return state_->launch.child.pidfd.get(); }
const sys::CgroupPaths& Created::cgroup() const { return state_->launch.cgroup; }

Result<Started> Created::start() {
  Created self = std::move(*this);  // whatever happens, this start was the only one
  Launch& launch = self.state_->launch;
  TRY(go_on(launch.sync.get()));
  TRY(follow_child(launch, nullptr));
  return finished(launch);
}

Result<Created> create(const Plan& plan, const StartFds& fds) {
  Created created(new Created::State);
  auto reached = TRY(launch_container(plan, fds, true, created.state_->launch));
  if (reached != Reached::kReady) return fail(ErrorKind::kInternal, "the container's first process died during set-up");
  return created;
}

Result<Started> run(const Plan& plan, const StartFds& fds) {
  Launch launch;
  TRY(launch_container(plan, fds, false, launch));
  return finished(launch);
}

Result<Started> exec_process(int container_pidfd, const ProcessPlan& process, const sys::CgroupPaths& cgroup,
                             const Stdio& stdio) {
  Launch launch;
  ChildSetup setup;
  setup.container = container_pidfd;
  setup.process = TRY(prepare_process(process, stdio));
  sys::ContainerClone request;
  request.join_pid = container_pidfd;
  request.keep = {container_pidfd, setup.process.stdio[0], setup.process.stdio[1], setup.process.stdio[2]};
  auto cloned = clone_child(launch, setup, request, cgroup);
  if (!cloned && cloned.error().err == EBUSY && cgroup.v2) {
    // The container made groups of its own below: its top group must stay without processes then.
    if (auto nested = sys::cgroup_of_process(cgroup, container_pidfd))
      cloned = clone_child(launch, setup, request, *nested);
    else log_debug("exec beside the first process: %s, ignoring", nested.error().message.c_str());
  }
  TRY(std::move(cloned));
  TRY(follow_child(launch, nullptr));
  return finished(launch);
}

}  // namespace caisson::runtime
