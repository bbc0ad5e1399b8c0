// SPDX-License-Identifier: Apache-2.0
// The parent's side of a container: clones the child that carries out a Plan, tells what went wrong in
// words, and starts further processes inside. For single-threaded callers (the monitor, the OCI command).
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/plan.h"

namespace caisson::runtime {

// Descriptors stay the caller's; -1 means /dev/null. Not used with a terminal.
struct Stdio {
  int in = -1, out = -1, err = -1;
};

struct StartFds {
  int rootfs = -1;  // detached mount; when the plan has no rootfs path
  int netns = -1;   // joined when >= 0, whatever the plan says about CLONE_NEWNET
  Stdio stdio;
  // True: the container gets a clone of `rootfs`, so that the fd serves for another start after this
  // one (restart policies). False: the mount itself is attached and the fd is spent.
  bool keep_rootfs = false;
  // create() only: a listening SOCK_SEQPACKET socket. The created process waits there for start_created(),
  // so that its creator may end.
  int start_gate = -1;
  // Called once the process exists, long before its program runs: the place to write the pid down. When it
  // fails or the caller dies before, the process never gets to its program.
  std::function<Result<>(pid_t pid, const sys::CgroupPaths& cgroup)> cloned;
};

struct Started {
  pid_t pid = 0;  // in the caller's pid namespace; a child of the caller
  UniqueFd pidfd;
  UniqueFd console_master;  // with ProcessPlan::terminal; non-blocking is the caller's business
  sys::CgroupPaths cgroup;  // empty when the plan names none. Removing it after the exit is the caller's
};

// A container whose namespaces, mounts and cgroup are complete; its first process waits before exec.
// Destroying one that was not started kills the process and removes the cgroup.
class Created {
 public:
  Created(Created&&) noexcept;
  Created& operator=(Created&&) noexcept;
  ~Created();
  pid_t pid() const;
  int pidfd() const;
  const sys::CgroupPaths& cgroup() const;

  // Lets the first process exec. On failure everything is taken down again. Kinds: kNotFound (no such
  // program), kDenied (not executable), kInvalid (bad format), others for set-up. Texts are Docker's.
  Result<Started> start();

  // With a start gate: the process stays and waits there; nothing is taken down when this object goes.
  // The plan's start_container and poststart hooks run at start_created().
  Started detach();

 private:
  struct State;
  friend Result<Created> create(const Plan&, const StartFds&);
  friend Result<Started> run(const Plan&, const StartFds&);
  explicit Created(State* state);
  State* state_;
};

// Blocks until set-up is complete.
Result<Created> create(const Plan& plan, const StartFds& fds);
// create() and start() without the stop in between: one wake-up less.
Result<Started> run(const Plan& plan, const StartFds& fds);

// What hooks and seccomp listeners are told of a container: the OCI state.
struct HookState {
  std::string oci_version, id, bundle;
  std::vector<std::pair<std::string, std::string>> annotations;
};
std::string hook_state_json(const HookState& state, const char* status, pid_t pid);
// Runs them one after the other, the state on their stdin. kTimeout, or kInternal with what a hook wrote to
// stderr; the later ones are not run then. `directory` is their working directory.
Result<> run_hooks(const std::vector<Hook>& hooks, const char* kind, const std::string& state_json,
                   const std::string& directory);

// Lets the process behind the socket `gate` exec. Errors are those of Created::start(); kConflict when
// nobody waits there. Poststart hooks are the caller's business.
Result<> start_created(const std::string& gate, const ProcessPlan* listener_of, const HookState& state, pid_t pid);
// Whether somebody waits there: the container is created and not started.
bool waits_for_start(const std::string& gate);

// A further process in all namespaces of the running container `container_pidfd` and in its cgroup
// (`cgroup` empty: stays in the caller's). It is a child of the caller. `move_in` is asked to put it there
// when the kernel does not let us (an ordinary user outside of the group's own part of the tree).
Result<Started> exec_process(int container_pidfd, const ProcessPlan& process, const sys::CgroupPaths& cgroup,
                             const Stdio& stdio, const HookState* state = nullptr,
                             const std::function<Result<>(pid_t)>& move_in = {});

}  // namespace caisson::runtime
