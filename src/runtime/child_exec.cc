// SPDX-License-Identifier: Apache-2.0
// The child's last part: from a complete container to the program in it. Privileges go one by one, in the
// order that lets each following step still work.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "runtime/child.h"
#include "runtime/child_home.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

void set_up_stdio(const ChildSetup& setup, int terminal) {
  const ProcessPlan& process = *setup.process.plan;
  for (int i = 0; i < 3; ++i) {
    int from = terminal >= 0 ? terminal : setup.process.stdio[i];
    struct stat info {};
    // So that the program may open /dev/stdout by name. What is not ours to give keeps its owner.
    if (process.uid != 0 && fstat(from, &info) == 0 && info.st_uid == 0 && (S_ISFIFO(info.st_mode) || terminal >= 0))
      (void)!fchown(from, process.uid, static_cast<gid_t>(-1));
    if (dup2(from, i) < 0) child_fail(setup, "dup2 of a standard stream");
  }
  if (terminal >= 0 && ioctl(0, TIOCSCTTY, 0) < 0) child_fail(setup, "set the controlling terminal");
}

// With the caller's rights first, as the directory may be nobody else's; then with the user's, where those do
// not reach: network file systems, a user namespace.
void enter_working_directory(ChildSetup& setup, bool last_try) {
  const char* cwd = setup.process.plan->cwd.c_str();
  // No magic links: /proc/self/fd/N of this process still names directories of the host.
  int fd = raw::open_no_magic(AT_FDCWD, cwd, O_PATH | O_DIRECTORY);
  if (fd < 0 || fchdir(fd) < 0) {
    if (errno != EACCES || last_try) child_fail(setup, Failure::kWorkingDirectory, "chdir", cwd);
    if (fd >= 0) close(fd);
    return;
  }
  close(fd);
  char where[PATH_MAX];
  // The raw call: glibc would hide "(unreachable)".
  long size = syscall(SYS_getcwd, where, sizeof where);
  if (size <= 0 || where[0] != '/') child_fail(setup, Failure::kOutside, "chdir", cwd);
  setup.cwd_entered = true;
}

const char* name_of_limit(uint32_t resource) {
  static constexpr const char* kNames[] = {"RLIMIT_CPU",      "RLIMIT_FSIZE", "RLIMIT_DATA",   "RLIMIT_STACK",
                                           "RLIMIT_CORE",     "RLIMIT_RSS",   "RLIMIT_NPROC",  "RLIMIT_NOFILE",
                                           "RLIMIT_MEMLOCK",  "RLIMIT_AS",    "RLIMIT_LOCKS",  "RLIMIT_SIGPENDING",
                                           "RLIMIT_MSGQUEUE", "RLIMIT_NICE",  "RLIMIT_RTPRIO", "RLIMIT_RTTIME"};
  return resource < sizeof kNames / sizeof *kNames ? kNames[resource] : "";
}

// Only upwards for now: what is left of the set-up, and hooks, must not suffer from the program's limits.
void make_room_for_limits(ChildSetup& setup) {
  for (const auto& limit : setup.process.plan->rlimits) {
    rlimit value{};
    auto resource = static_cast<__rlimit_resource>(limit.resource);
    if (getrlimit(resource, &value) < 0) child_fail(setup, "read the resource limit", name_of_limit(limit.resource));
    if (value.rlim_max >= limit.hard) continue;
    value.rlim_max = limit.hard;
    if (setrlimit(resource, &value) == 0) continue;
    if (errno != EPERM) child_fail(setup, "raise the resource limit", name_of_limit(limit.resource));
    // In a user namespace nobody may; the parent outside perhaps.
    ChildMessage message;
    message.kind = ChildMessage::Kind::kLimits;
    child_ask_parent(setup, message);
    return;
  }
}

void set_limits(const ChildSetup& setup) {
  for (const auto& limit : setup.process.plan->rlimits) {
    rlimit value{limit.soft, limit.hard};
    if (setrlimit(static_cast<__rlimit_resource>(limit.resource), &value) < 0)
      child_fail(setup, "set the resource limit", name_of_limit(limit.resource));
  }
}

void set_scheduling(const ChildSetup& setup) {
  const ProcessPlan& process = *setup.process.plan;
  if (setup.container >= 0 && !process.final_affinity.empty() &&
      raw::set_affinity(process.final_affinity.data(), process.final_affinity.size()) < 0)
    child_fail(setup, "set the cpu affinity (sched_setaffinity)");
  if (process.scheduler) {
    const auto& plan = *process.scheduler;
    raw::SchedulerAttributes attributes;
    attributes.policy = plan.policy;
    attributes.flags = plan.flags;
    attributes.nice = plan.nice;
    attributes.priority = plan.priority;
    attributes.runtime = plan.runtime;
    attributes.deadline = plan.deadline;
    attributes.period = plan.period;
    if (raw::set_scheduler(attributes) < 0) child_fail(setup, "set the scheduler (sched_setattr)");
  }
  if (process.io_priority && raw::set_io_priority(*process.io_priority) < 0)
    child_fail(setup, "set the io priority (ioprio_set)");
  if (process.memory_policy && raw::set_memory_policy(process.memory_policy->mode, process.memory_policy->nodes.data(),
                                                      process.memory_policy->nodes.size()) < 0)
    child_fail(setup, "set the memory policy (set_mempolicy)");
}

void set_home(ChildSetup& setup) {
  auto& home = setup.process.home;
  if (home.empty()) return;
  constexpr size_t kPrefix = 5;  // "HOME="
  // Whoever made the image may have put a pipe there.
  int fd = raw::open_no_magic(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat info {};
  bool found = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
               find_home(fd, setup.process.plan->uid, home.data() + kPrefix, home.size() - kPrefix);
  if (!found) memcpy(home.data() + kPrefix, "/", 2);
  if (fd >= 0) close(fd);
}

void write_label(const ChildSetup& setup, const char* attribute, const char* prefix, const std::string& label) {
  char text[512];
  size_t before = strlen(prefix);
  if (before + label.size() >= sizeof text) {
    errno = ENAMETOOLONG;
    child_fail(setup, "set the security label", label.c_str());
  }
  memcpy(text, prefix, before);
  memcpy(text + before, label.data(), label.size());
  int fd = child_open_own(setup, attribute, O_WRONLY);
  struct statfs info {};
  if (fd >= 0 && (fstatfs(fd, &info) < 0 || info.f_type != PROC_SUPER_MAGIC))
    child_fail(setup, Failure::kNotProcfs, "check", attribute);
  if (fd < 0 || write(fd, text, before + label.size()) < 0) child_fail(setup, "set the security label", label.c_str());
  close(fd);
}

void set_labels(const ChildSetup& setup) {
  const ProcessPlan& process = *setup.process.plan;
  if (!process.apparmor_profile.empty() && process.apparmor_profile != "unconfined") {
    // COMPAT(linux<5.8): the module has no directory of its own there.
    int own = child_open_own(setup, "attr/apparmor/exec", O_PATH);
    if (own >= 0) close(own);
    write_label(setup, own >= 0 ? "attr/apparmor/exec" : "attr/exec", "exec ", process.apparmor_profile);
  }
  if (!process.selinux_label.empty()) write_label(setup, "attr/exec", "", process.selinux_label);
}

// Only the standard streams, and those the caller wants to hand down, survive exec. Before a filter is loaded,
// which might refuse it.
void close_the_rest_on_exec(const ChildSetup& setup) {
  unsigned first = 3 + setup.process.plan->preserve_fds;
  int own = child_open_own(setup, "fd", O_RDONLY | O_DIRECTORY);
  if (raw::close_on_exec_from(first, own) < 0) child_fail(setup, "mark descriptors as close-on-exec");
  if (own >= 0) close(own);
  for (unsigned fd = 3; fd < first; ++fd)
    if (fcntl(static_cast<int>(fd), F_SETFD, 0) < 0) child_fail(setup, "hand down a preserved descriptor");
}

// Exec keeps what is ignored or blocked, and our caller may have ignored something.
void reset_signals() {
  for (int signal_number = 1; signal_number < NSIG; ++signal_number) signal(signal_number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void load_filter(ChildSetup& setup) {
  const ProcessPlan& process = *setup.process.plan;
  if (process.seccomp_bpf.empty()) return;
  sock_fprog program{};
  program.len = static_cast<unsigned short>(process.seccomp_bpf.size() / sizeof(sock_filter));
  program.filter = reinterpret_cast<sock_filter*>(const_cast<char*>(process.seccomp_bpf.data()));
  if (!(process.seccomp_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)) {
    if (raw::set_seccomp_filter(process.seccomp_flags, &program) < 0) child_fail(setup, "load the seccomp filter");
    return;
  }
  // The filter may refuse or redirect whatever would tell of its descriptor, so that is told before: it gets
  // the lowest free number. The parent takes it once it is there.
  int number = fcntl(0, F_DUPFD_CLOEXEC, 3);
  if (number < 0) child_fail(setup, "find a number for the seccomp listener");
  close(number);
  ChildMessage message;
  message.kind = ChildMessage::Kind::kListener;
  message.err = number;
  child_tell_parent(setup, message);
  int listener = raw::set_seccomp_filter(process.seccomp_flags, &program);
  if (listener < 0) child_fail(setup, "load the seccomp filter");
  if (listener != number) {
    errno = EBADF;
    child_fail(setup, "the seccomp listener has another number than expected");
  }
  child_wait_for_consent(setup);
  close(listener);
}

bool groups_denied(const ChildSetup& setup) {
  char text[8] = {};
  int fd = child_open_own(setup, "setgroups", O_RDONLY);
  if (fd < 0) return false;
  ssize_t got = read(fd, text, sizeof text);
  close(fd);
  return got >= 4 && memcmp(text, "deny", 4) == 0;
}

void set_groups(const ChildSetup& setup) {
  const auto& gids = setup.process.plan->additional_gids;
  if (raw::set_groups(gids.size(), gids.data()) == 0) return;
  int err = errno;
  bool denied = err == EPERM && groups_denied(setup);
  // Nothing to set, and nothing to be rid of that the namespace's owner did not have anyway.
  if (denied && gids.empty()) return;
  errno = err;
  if (denied) child_fail(setup, Failure::kNoGroups, "setgroups", "");
  child_fail(setup, err == EINVAL ? Failure::kNotMapped : Failure::kCall, "setgroups",
             err == EINVAL ? "an additional gid" : "");
}

[[noreturn]] void fail_identity(const ChildSetup& setup, const char* step, const char* kind, uint32_t id) {
  if (errno != EINVAL) child_fail(setup, step);
  char text[32];
  char* at = text + sizeof text;
  *--at = 0;
  do *--at = static_cast<char>('0' + id % 10);
  while (id /= 10);
  for (size_t i = strlen(kind); i-- > 0;) *--at = kind[i];
  child_fail(setup, Failure::kNotMapped, step, at);
}

void drop_privileges(const ChildSetup& setup) {
  const ProcessPlan& process = *setup.process.plan;
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) child_fail(setup, "prctl PR_SET_KEEPCAPS");
  for (int cap = 0; cap < 64; ++cap) {
    if ((process.cap_bounding >> cap) & 1) continue;
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break;  // past the kernel's last capability
    child_fail(setup, "drop a capability from the bounding set");
  }
  if (raw::set_gid(process.gid) < 0) fail_identity(setup, "setresgid", "gid ", process.gid);
  set_groups(setup);
  if (raw::set_uid(process.uid) < 0) fail_identity(setup, "setresuid", "uid ", process.uid);
  if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) child_fail(setup, "prctl PR_SET_KEEPCAPS");
  if (raw::set_capabilities(process.cap_effective, process.cap_permitted, process.cap_inheritable) < 0)
    child_fail(setup, "capset");
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
    child_fail(setup, "clear the ambient capabilities");
  for (int cap = 0; cap < 64; ++cap)
    if (((process.cap_ambient >> cap) & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0 &&
        errno != EINVAL)
      child_fail(setup, "raise an ambient capability");
}

// 0: executable; else errno, as Go's exec.LookPath judges. `as_root`: before the privileges went, and so
// without a word on what depends on them.
int check_executable(const ChildSetup& setup, const char* path, bool as_root) {
  struct stat info {};
  if (stat(path, &info) < 0) return as_root && errno == EACCES ? 0 : errno;
  if (S_ISDIR(info.st_mode)) return EISDIR;
  if (!(info.st_mode & 0111)) return EACCES;
  // /proc/self/exe or a link to it: our own program running in the container would be a file of the host
  // that the container can open.
  if (info.st_dev == setup.process.own_device && info.st_ino == setup.process.own_inode) return EACCES;
  if (as_root) return 0;
  // The kernel decides with the privileges the program will have; AT_EACCESS as they are set already.
  return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 || errno == ENOSYS ? 0 : errno;
}

[[noreturn]] void execute(const ChildSetup& setup, const char* path) {
  execve(path, setup.process.argv.data(), setup.process.envp.data());
  child_fail(setup, Failure::kExec, "exec", path);
}

// Returns the path to execute, in `buffer` where it was searched for.
const char* find_program(const ChildSetup& setup, char (&buffer)[PATH_MAX], bool as_root) {
  const char* name = setup.process.argv[0];
  size_t length = strlen(name);
  if (strchr(name, '/')) {
    int err = check_executable(setup, name, as_root);
    if (err == 0) return name;
    errno = err;
    child_fail(setup,
               err == EACCES   ? Failure::kNotExecutable
               : err == EISDIR ? Failure::kIsDirectory
                               : Failure::kStat,
               "exec", name);
  }
  for (const auto& directory : setup.process.search) {
    if (length == 0 || directory.size() + length + 2 > sizeof buffer) continue;
    memcpy(buffer, directory.data(), directory.size());
    buffer[directory.size()] = '/';
    memcpy(buffer + directory.size() + 1, name, length + 1);
    if (check_executable(setup, buffer, as_root) == 0) return buffer;
  }
  errno = ENOENT;
  child_fail(setup, Failure::kNotInPath, "exec", name);
}

}  // namespace

int child_open_own(const ChildSetup& setup, const char* file, int flags) {
  // "self" is a symbolic link, which open_beneath does not follow: its text is our pid there.
  char path[64];
  ssize_t size = readlinkat(setup.process.proc.get(), "self", path, 16);
  size_t length = strlen(file);
  if (size <= 0 || size >= 16 || length + 18 > sizeof path) {
    if (size >= 0) errno = EINVAL;
    return -1;
  }
  path[size] = '/';
  memcpy(path + size + 1, file, length + 1);
  return raw::open_beneath(setup.process.proc.get(), path, flags);
}

void child_prepare_exec(ChildSetup& setup, int terminal) {
  const ProcessPlan& process = *setup.process.plan;
  set_up_stdio(setup, terminal);
  enter_working_directory(setup, /*last_try=*/false);
  make_room_for_limits(setup);
  set_scheduling(setup);
  set_home(setup);
  umask(process.umask < 0 ? 022 : static_cast<mode_t>(process.umask));
  // What the program's own user may not see is for the second look-up to judge.
  char buffer[PATH_MAX];
  find_program(setup, buffer, /*as_root=*/true);
}

void child_exec(ChildSetup& setup) {
  const ProcessPlan& process = *setup.process.plan;
  reset_signals();
  close_the_rest_on_exec(setup);
  set_labels(setup);
  set_limits(setup);
  // A filter needs CAP_SYS_ADMIN or no_new_privs. Without the latter it must come before the capabilities
  // go; with it, it comes last and so judges as little of our own doing as possible.
  if (!process.no_new_privs) load_filter(setup);
  drop_privileges(setup);
  if (process.no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    child_fail(setup, "prctl PR_SET_NO_NEW_PRIVS");
  if (!setup.cwd_entered) enter_working_directory(setup, /*last_try=*/true);
  char buffer[PATH_MAX];
  const char* path = find_program(setup, buffer, /*as_root=*/false);
  if (process.no_new_privs) load_filter(setup);
  execute(setup, path);
}

}  // namespace caisson::runtime
