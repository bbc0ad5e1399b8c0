// SPDX-License-Identifier: Apache-2.0
// The child's side: what the parent prepared, what the child does with it between clone and exec, and
// the fixed-size messages that come back. Nothing here allocates, locks or throws.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "runtime/plan.h"
#include "sys/mount.h"

namespace caisson::runtime {

// What failed besides a plain system call; the parent has a sentence for each.
enum class Failure : uint32_t {
  kCall,              // step 'object': errno
  kNotInPath,         // exec: "object": executable file not found in $PATH
  kStat,              // exec: "object": stat object: errno
  kNotExecutable,     // exec: "object": permission denied
  kIsDirectory,       // exec: "object": is a directory
  kExec,              // exec object: errno
  kWorkingDirectory,  // chdir to cwd ("object") set in config.json failed: errno
  kOutside,           // the working directory does not lie in the container's root
  kOverProc,          // mount over procfs
  kNotProcfs,         // /proc is not procfs
  kNotMapped,         // object is "uid 5": not mapped in the user namespace
  kNoGroups,          // additional groups, where setgroups is denied
  kText,              // object is the whole sentence
};

struct ChildMessage {
  enum class Kind : uint32_t {
    kReady,
    kError,
    kConsole,
    kMapIds,
    kRuntimeHooks,
    kLimits,
    kListener,
    kNetDevices
  } kind = Kind::kReady;
  Failure failure = Failure::kCall;
  int32_t err = 0;  // kListener: the number that the filter's descriptor will have
  char step[64] = {};
  char object[512] = {};
  char reason[256] = {};  // the kernel's own words from a mount context
};

// What the parent answers.
struct ParentMessage {
  // kRecorded: the process is known to whoever will clean up after it; without that it must not go on.
  enum class Kind : uint32_t { kRecorded, kGoOn } kind = Kind::kGoOn;
  int32_t pid = 0;  // the child's, as its parent sees it
};

struct PreparedOption {
  std::string key, value;
  bool has_value = false;
};

struct PreparedMount {
  const Mount* mount = nullptr;
  UniqueFd source;              // kBind: detached mount; without one the child clones the path itself
  bool may_cover_proc = false;  // destination is one of the few files of /proc that may be replaced
  std::vector<PreparedOption> options;
  bool has_mode = false, has_owner = false;  // tmpfs: said by the options
  std::string instead;                       // path that is bound when the file system itself is refused
  bool instead_at_once = false;
  bool by_mount_call = false;  // mount(2), for what the newer calls cannot do
  uint64_t call_flags = 0;
  std::string call_data;
  struct Hierarchy {
    std::string name;                // directory below the destination
    std::string path;                // the container's own directory
    UniqueFd mount;                  // the same, detached; without one the child clones the path itself
    std::vector<std::string> links;  // controllers that become symbolic links to it
  };
  std::vector<Hierarchy> hierarchies;  // kCgroup on v1
  bool cgroup2 = false;                // kCgroup on v2
  UniqueFd read_only_later;            // the child's, while something is still to be made there
};

struct PreparedProcess {
  const ProcessPlan* plan = nullptr;
  std::vector<char*> argv, envp;
  std::vector<std::string> search;         // directories of PATH
  int stdio[3] = {-1, -1, -1};             // all set and above 2, so that dup2 overwrites none too early
  UniqueFd raised[3];                      // copies of those that were not
  UniqueFd null;                           // the host's /dev/null for those not given
  uint64_t own_device = 0, own_inode = 0;  // the running program's file
  UniqueFd proc;                           // O_PATH: the host's /proc, out of the container's reach
  // "HOME=" with room for what the container's passwd says, in envp; empty when it is given.
  std::vector<char> home;
};

struct PreparedNamespace {
  uint64_t type = 0;
  UniqueFd fd;
};

struct ChildSetup {
  const Plan* plan = nullptr;  // nullptr: a further process of a running container
  PreparedProcess process;
  int sync = -1;                       // the child's end
  int parent_sync = -1;                // the parent's, closed first
  bool wait = false;                   // report kReady and wait before exec
  int gate = -1;                       // with `wait`: a listening socket where consent comes from
  bool cwd_entered = false;            // with the caller's rights
  bool recorded = false;               // nobody needs to have written the pid down
  int32_t outer_pid = 0;               // learnt with kRecorded
  std::vector<UniqueFd> cgroup_tasks;  // v1
  bool cgroups_joined = false;         // before birth; parent_sync is closed then, too
  int rootfs = -1;
  bool root_on_path = false;            // the child's: where `rootfs` lies by now, else on "/"
  int container = -1;                   // pidfd whose namespaces a further process joins
  uint64_t container_namespaces = 0;    // which of them
  std::string own_time_offsets;         // an ordinary user's child makes its time namespace itself
  bool new_root = false;                // in another user namespace than the parent
  uint32_t root_uid = 0, root_gid = 0;  // ids that are mapped in a user namespace of its own
  std::vector<PreparedNamespace> joins;
  bool joins_done = false;  // before birth
  std::vector<PreparedMount> mounts;
  bool has_root = false;  // own mount namespace: build and enter the root
  bool make_devices = false;
  std::vector<PreparedOption> sysctls;  // key is the path below /proc/sys
  std::string keyring;
  bool loopback = false;  // a network namespace of its own, nobody else's to set up
};

// Everything from right behind clone to exec. Never returns.
[[noreturn]] void run_child(ChildSetup& setup);

// "network" for CLONE_NEWNET.
const char* namespace_name(uint64_t type);

// --- between the child's own files ---

// Reports over the sync socket and exits.
[[noreturn]] void child_fail(const ChildSetup& setup, Failure failure, const char* step, const char* object,
                             int mount_context = -1);
[[noreturn]] inline void child_fail(const ChildSetup& setup, const char* step, const char* object = "") {
  child_fail(setup, Failure::kCall, step, object);
}
[[noreturn]] void child_fail(const ChildSetup& setup, const Error& error);
void child_build_root(ChildSetup& setup);                    // mounts, devices, masks
void child_pivot(const ChildSetup& setup);                   // and what must come after
int child_open_terminal(const ChildSetup& setup, int root);  // slave fd; sends the master
// What can fail before a container counts as created: stdio, working directory, limits, a first look-up
// of the program. Privileges are still whole.
void child_prepare_exec(ChildSetup& setup, int terminal);
[[noreturn]] void child_exec(ChildSetup& setup);  // filter, labels, privileges, execve
// A file of /proc/self by the host's /proc: nothing that is mounted in a container gets in between.
int child_open_own(const ChildSetup& setup, const char* file, int flags);
void child_tell_parent(const ChildSetup& setup, const ChildMessage& message);
void child_wait_for_consent(ChildSetup& setup);                         // kGoOn
void child_ask_parent(ChildSetup& setup, const ChildMessage& message);  // both
// mkdir -p inside `root`, symbolic links resolved there; O_PATH fd of the directory or -1.
int child_make_directory(int root, const char* path);

}  // namespace caisson::runtime
