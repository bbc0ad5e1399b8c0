// SPDX-License-Identifier: Apache-2.0
// The parent's side: cgroup, clone, the talk over the sync socket, and taking everything down again when
// something fails.
#include "runtime/container.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/log.h"
#include "base/text.h"
#include "runtime/id_maps.h"
#include "runtime/net_devices.h"
#include "runtime/prepare.h"
#include "runtime/process_checks.h"
#include "runtime/seccomp_listener.h"
#include "sys/container_clone.h"
#include "sys/exec_state.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/unix_socket.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace caisson::runtime {

namespace {

// A process that has not exec'ed yet, and what goes down with it.
struct Launch {
  sys::Child child;
  UniqueFd sync, console;
  sys::CgroupPaths cgroup;
  bool own_cgroup = false;
  sys::SystemdManager manager;
  std::string unit;  // of systemd, that the cgroup belongs to
  sys::SystemdHolder holder;
  const ProcessPlan* process = nullptr;  // while it is being set up
  ListenerTarget listener;
  pid_t waiting = 0;  // not our child, but it talks to us

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
    if (!own_cgroup && unit.empty()) return;
    holder.release();
    if (!unit.empty())
      if (auto stopped = sys::stop_systemd_unit(manager, unit); !stopped)
        log_debug("stop the unit of a container that did not start: %s, ignoring", stopped.error().message.c_str());
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
  // ECONNRESET, once, when the process ended without having read what we told it; its last words come after.
  while ((got = recvmsg(sync, &header, MSG_CMSG_CLOEXEC)) < 0 && (errno == EINTR || errno == ECONNRESET)) {
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

Result<> tell(int sync, ParentMessage::Kind kind, pid_t pid = 0) {
  ParentMessage message{kind, pid};
  if (send(sync, &message, sizeof message, MSG_NOSIGNAL) != sizeof message)
    return fail_errno("tell the container's first process to go on");
  return {};
}

void note_listener(Launch& launch, const ProcessPlan& process, const HookState& state, const char* status) {
  launch.listener = {process.seccomp_listener_path, process.seccomp_listener_metadata, state, status};
}

Result<> hand_over_listener(const Launch& launch, int number) {
  if (launch.child.pid > 0)
    return hand_over_listener(launch.child.pidfd.get(), number, launch.listener, launch.child.pid);
  auto pidfd = TRY(sys::open_pidfd(launch.waiting));
  return hand_over_listener(pidfd.get(), number, launch.listener, launch.waiting);
}

enum class Reached { kReady, kExecuted };

HookState hook_state(const Plan& plan) { return {plan.oci_version, plan.id, plan.bundle, plan.annotations}; }

Result<> run_runtime_hooks(const Plan& plan, pid_t pid) {
  auto state = hook_state_json(hook_state(plan), "creating", pid);
  TRY(run_hooks(plan.hooks.prestart, "prestart", state, plan.bundle));
  return run_hooks(plan.hooks.create_runtime, "createRuntime", state, plan.bundle);
}

Result<Reached> follow_child(Launch& launch, const Plan* plan) {
  for (;;) {
    Reply reply = TRY(next_message(launch.sync.get()));
    // The socket closes on exec; or with the process. Should that not be told apart yet, its end will tell.
    if (reply.closed) {
      if (launch.child.pid > 0)
        if (auto signal = sys::died_before_exec(launch.child))
          return fail(ErrorKind::kInternal, "the container's %sprocess died during set-up: signal %d",
                      plan ? "first " : "", *signal);
      return Reached::kExecuted;
    }
    switch (reply.message.kind) {
      case ChildMessage::Kind::kReady: return Reached::kReady;
      case ChildMessage::Kind::kError: return std::unexpected(child_error(reply.message));
      case ChildMessage::Kind::kConsole: launch.console = std::move(reply.fd); break;
      case ChildMessage::Kind::kLimits:
        if (!launch.process) return fail(ErrorKind::kInternal, "unexpected request of the container's first process");
        TRY(raise_limits(launch.child.pid, *launch.process));
        TRY(tell(launch.sync.get(), ParentMessage::Kind::kGoOn));
        break;
      case ChildMessage::Kind::kListener:
        TRY(hand_over_listener(launch, reply.message.err));
        // When it is gone, its own words about that are what counts.
        if (auto told = tell(launch.sync.get(), ParentMessage::Kind::kGoOn); !told)
          log_debug("%s, ignoring", told.error().message.c_str());
        break;
      case ChildMessage::Kind::kNetDevices:
      case ChildMessage::Kind::kMapIds:
      case ChildMessage::Kind::kRuntimeHooks:
        if (!plan) return fail(ErrorKind::kInternal, "unexpected request of the container's first process");
        if (reply.message.kind == ChildMessage::Kind::kMapIds)
          TRY(write_id_maps(launch.child.pid, *plan));
        else if (reply.message.kind == ChildMessage::Kind::kNetDevices)
          TRY(move_net_devices(*plan, launch.child.pidfd.get()));
        else
          TRY(run_runtime_hooks(*plan, launch.child.pid));
        TRY(tell(launch.sync.get(), ParentMessage::Kind::kGoOn));
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
  auto affinity = TRY(Affinity::set(setup.container >= 0 ? setup.process.plan->initial_affinity : ""));
  std::optional<Undumpable> guard;
  // An ordinary user has to write the id maps of its child, which makes itself undumpable after that.
  if (geteuid() == 0 || !(request.namespaces & CLONE_NEWUSER)) guard.emplace();
  launch.child = TRY(sys::clone_container_on_this_thread(request));
  if (launch.child.pid == 0) {
    // Done already, by the process between; the descriptors are gone.
    if (!request.keep.empty())
      for (auto& tasks : setup.cgroup_tasks) (void)tasks.release();
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
  launch.unit.clear();
  launch.holder.release();  // the container is in it by now
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
    if (mount.kind == Mount::Kind::kBind && mount.type != "remount" && mount.destination == "/dev") return true;
  return false;
}

uint32_t root_of(const std::vector<IdMapping>& map) {
  for (const auto& m : map)
    if (m.container_id == 0) return 0;
  return map.empty() ? 0 : map.front().container_id;
}

// Namespaces to join are joined before a user namespace is made, by the rights outside; one that is joined
// itself must own what is made after it.
void arrange_user_namespace(const Plan& plan, ChildSetup& setup, sys::ContainerClone& request) {
  setup.root_uid = root_of(plan.uid_mappings);
  setup.root_gid = root_of(plan.gid_mappings);
  bool joins_user = false;
  for (const auto& join : setup.joins) joins_user |= join.type == CLONE_NEWUSER;
  setup.new_root = joins_user || (request.namespaces & CLONE_NEWUSER);
  if (!setup.new_root) return;
  for (const auto& join : setup.joins) request.joins.push_back({join.type, join.fd.get()});
  setup.joins_done = true;
}

void arrange_time_namespace(const Plan& plan, ChildSetup& setup, sys::ContainerClone& request) {
  if (!(request.namespaces & CLONE_NEWTIME)) return;
  std::string offsets;
  for (const auto& offset : plan.time_offsets)
    offsets += format("%d %ld %u\n", offset.clock, static_cast<long>(offset.seconds), offset.nanoseconds);
  if (!plan.rootless) {
    request.time_offsets = offsets;
    return;
  }
  request.namespaces &= ~uint64_t{CLONE_NEWTIME};
  setup.own_time_offsets = offsets.empty() ? format("%d 0 0\n", CLOCK_MONOTONIC) : offsets;
}

// `pid` is moved by systemd itself: what an ordinary user may not do. 0: the scope is made for us to enter.
Result<std::string> make_scope(const Plan& plan, bool v2, pid_t pid, Launch& launch) {
  sys::SystemdScope scope;
  scope.unit = TRY(sys::systemd_unit_of(plan.cgroup.path, plan.id, plan.rootless));
  scope.pid = pid;
  scope.description = "caisson container " + plan.id;
  scope.properties = TRY(sys::systemd_properties_of(plan.cgroup.limits, v2));
  scope.properties.insert(scope.properties.end(), plan.cgroup.systemd_properties.begin(),
                          plan.cgroup.systemd_properties.end());
  launch.manager = {plan.cgroup.systemd_program, plan.cgroup.systemd_user};
  auto started = TRY(sys::start_systemd_unit(launch.manager, scope));
  launch.unit = scope.unit.name;
  launch.holder = std::move(started.holder);
  return std::move(started.cgroup);
}

Result<> make_cgroup(const Plan& plan, const sys::CgroupSystem& system, pid_t pid, Launch& launch) {
  sys::CgroupCreation how;
  std::string path = plan.cgroup.path;
  if (!plan.cgroup.systemd_program.empty()) {
    path = TRY(make_scope(plan, system.v2, pid, launch));
    how.if_there = sys::CgroupCreation::IfThere::kJoin;
  } else if (plan.cgroup.take_over) {
    how.if_there = sys::CgroupCreation::IfThere::kUseEmpty;
  }
  how.leave_out_denied = plan.rootless && plan.cgroup.optional;
  launch.cgroup = TRY(sys::create_cgroup(system, path, how));
  launch.own_cgroup = true;
  return sys::apply_cgroup_limits(launch.cgroup, plan.cgroup.limits, {.rootless = plan.rootless});
}

bool wants_cgroup(const Plan& plan) { return !plan.cgroup.path.empty() || !plan.cgroup.systemd_program.empty(); }

// Only systemd can move a user's process into a scope of the user's manager, and it needs the pid for that.
bool moved_by_systemd(const Plan& plan) { return plan.rootless && !plan.cgroup.systemd_program.empty(); }

Result<Reached> launch_container(const Plan& plan, const StartFds& fds, bool wait, Launch& launch) {
  ChildSetup setup;
  setup.plan = &plan;
  setup.wait = wait;
  setup.process = TRY(prepare_process(plan.process, fds.stdio));
  launch.process = &plan.process;
  note_listener(launch, plan.process, hook_state(plan), "creating");
  setup.keyring = session_keyring_of(plan.id);
  setup.has_root = plan.create_namespaces & CLONE_NEWNS;
  setup.make_devices = !binds_dev(plan);
  setup.gate = fds.start_gate;
  setup.loopback = fds.netns < 0;
  prepare_sysctls(plan, setup);

  sys::CgroupSystem detected;
  const sys::CgroupSystem* system = &plan.cgroup.system;
  bool mounts_cgroup = false;
  for (const auto& mount : plan.mounts) mounts_cgroup |= mount.kind == Mount::Kind::kCgroup;
  if (system->empty() && (mounts_cgroup || wants_cgroup(plan))) {
    detected = TRY(sys::detect_cgroups());
    system = &detected;
  }
  if (wants_cgroup(plan) && !moved_by_systemd(plan))
    TRY_CTX(make_cgroup(plan, *system, 0, launch), "create the cgroup");

  UniqueFd root;
  if (setup.has_root) {
    // An ordinary user has the right only inside: the child does it.
    if (plan.rootless)
      root.reset();
    else if (!plan.rootfs.empty())
      root = TRY_CTX(sys::clone_mount(AT_FDCWD, plan.rootfs, true), "root file system");
    else if (fds.rootfs < 0)
      return fail(ErrorKind::kInvalid, "no root file system given");
    // COMPAT(linux<6.15): a detached mount cannot be cloned there; the error says open_tree: EINVAL.
    else if (fds.keep_rootfs)
      root = TRY_CTX(sys::clone_mount(fds.rootfs, "", true), "root file system");
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
  arrange_user_namespace(plan, setup, request);
  arrange_time_namespace(plan, setup, request);
  TRY(clone_child(launch, setup, request, launch.cgroup));
  if (moved_by_systemd(plan)) TRY_CTX(make_cgroup(plan, *system, launch.child.pid, launch), "create the cgroup");
  if (fds.cloned) TRY(fds.cloned(launch.child.pid, launch.cgroup));
  // A child that is gone already has said why.
  if (auto told = tell(launch.sync.get(), ParentMessage::Kind::kRecorded, launch.child.pid);
      !told && told.error().err != EPIPE)
    return std::unexpected(std::move(told).error());
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
  TRY(tell(launch.sync.get(), ParentMessage::Kind::kGoOn));
  TRY(follow_child(launch, nullptr));
  return finished(launch);
}

Started Created::detach() {
  Created self = std::move(*this);
  return finished(self.state_->launch);
}

Result<> start_created(const std::string& gate, const ProcessPlan* listener_of, const HookState& state, pid_t pid) {
  auto connection = sys::connect_unix(gate, SOCK_SEQPACKET);
  if (!connection) {
    if (connection.error().err == ECONNREFUSED || connection.error().err == ENOENT)
      return fail(ErrorKind::kConflict, "no process waits to be started");
    return std::unexpected(std::move(connection).error());
  }
  Launch launch;
  launch.sync = std::move(*connection);
  launch.waiting = pid;
  if (listener_of) note_listener(launch, *listener_of, state, "creating");
  TRY(tell(launch.sync.get(), ParentMessage::Kind::kGoOn));
  TRY(follow_child(launch, nullptr));
  return {};
}

bool waits_for_start(const std::string& gate) { return sys::connect_unix(gate, SOCK_SEQPACKET).has_value(); }

Result<Created> create(const Plan& plan, const StartFds& fds) {
  Created created(new Created::State);
  auto reached = TRY(launch_container(plan, fds, true, created.state_->launch));
  if (reached != Reached::kReady) return fail(ErrorKind::kInternal, "the container's first process died during set-up");
  created.state_->launch.process = nullptr;  // the plan may be gone when it is started
  return created;
}

Result<Started> run(const Plan& plan, const StartFds& fds) {
  Launch launch;
  TRY(launch_container(plan, fds, false, launch));
  return finished(launch);
}

namespace {

// What lies in another user namespace is entered by the go-between, where some doors open only before that
// namespace is entered and others only after. An ordinary user may not enter again what the container shares
// with the host.
Result<> choose_namespaces(int container, ChildSetup& setup, sys::ContainerClone& request) {
  struct Type {
    const char* name;
    uint64_t flag;
  };
  static constexpr Type kTypes[] = {{"net", CLONE_NEWNET},   {"ipc", CLONE_NEWIPC},       {"uts", CLONE_NEWUTS},
                                    {"time", CLONE_NEWTIME}, {"cgroup", CLONE_NEWCGROUP}, {"mnt", CLONE_NEWNS}};
  pid_t pid = TRY(sys::pid_of_pidfd(container));
  bool other_user = TRY(sys::in_other_namespace(pid, "user"));
  for (auto [name, flag] : kTypes) {
    bool always = geteuid() == 0 && !other_user && flag != CLONE_NEWTIME;  // older kernels do not know that one
    if (!always && !TRY(sys::in_other_namespace(pid, name))) continue;
    if (other_user)
      request.joins.push_back({flag, container});
    else
      setup.container_namespaces |= flag;
  }
  if (other_user) request.joins.push_back({CLONE_NEWUSER, container});
  return {};
}

}  // namespace

Result<Started> exec_process(int container_pidfd, const ProcessPlan& process, const sys::CgroupPaths& cgroup,
                             const Stdio& stdio, const HookState* state,
                             const std::function<Result<>(pid_t)>& move_in) {
  Launch launch;
  launch.process = &process;
  note_listener(launch, process, state ? *state : HookState{}, "running");
  ChildSetup setup;
  setup.container = container_pidfd;
  setup.recorded = true;
  setup.keyring = process.session_keyring;
  setup.process = TRY(prepare_process(process, stdio));
  sys::ContainerClone request;
  request.join_pid = container_pidfd;
  TRY(choose_namespaces(container_pidfd, setup, request));
  request.keep = {container_pidfd, setup.process.proc.get(), setup.process.stdio[0], setup.process.stdio[1],
                  setup.process.stdio[2]};
  for (uint32_t fd = 3; fd < 3 + process.preserve_fds; ++fd) request.keep.push_back(static_cast<int>(fd));
  auto cloned = clone_child(launch, setup, request, cgroup);
  if (!cloned && cloned.error().err == EBUSY && cgroup.v2) {
    // The container made groups of its own below: its top group must stay without processes then.
    if (auto nested = sys::cgroup_of_process(cgroup, container_pidfd))
      cloned = clone_child(launch, setup, request, *nested);
    else
      log_debug("exec beside the first process: %s, ignoring", nested.error().message.c_str());
  }
  bool left_outside = !cloned && cloned.error().err == EACCES && cgroup.v2 && move_in;
  if (left_outside) {
    setup.recorded = false;  // it waits for its order until it has been moved
    cloned = clone_child(launch, setup, request, {});
  }
  TRY(std::move(cloned));
  if (left_outside) {
    TRY(move_in(launch.child.pid));
    if (auto told = tell(launch.sync.get(), ParentMessage::Kind::kRecorded, launch.child.pid);
        !told && told.error().err != EPIPE)
      return std::unexpected(std::move(told).error());
  }
  TRY(follow_child(launch, nullptr));
  return finished(launch);
}

}  // namespace caisson::runtime
