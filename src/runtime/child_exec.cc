// SPDX-License-Identifier: Apache-2.0
// The child's last part: from a complete container to the program in it. Privileges go one by one, in the
// order that lets each following step still work.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/magic.h>
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

void enter_working_directory(const ChildSetup& setup) {
  const char* cwd = setup.process.plan->cwd.c_str();
  // No magic links: /proc/self/fd/N of this process still names directories of the host.
  int fd = raw::open_no_magic(AT_FDCWD, cwd, O_PATH | O_DIRECTORY);
  if (fd < 0 || fchdir(fd) < 0) child_fail(setup, Failure::kWorkingDirectory, "chdir", cwd);
  close(fd);
  char where[PATH_MAX];
  // The raw call: glibc would hide "(unreachable)".
  long size = syscall(SYS_getcwd, where, sizeof where);
  if (size <= 0 || where[0] != '/') child_fail(setup, Failure::kOutside, "chdir", cwd);
}

void write_label(const ChildSetup& setup, const char* attribute, const char* prefix, const std::string& label) {
  if (label.empty()) return;
  char text[512];
  size_t before = strlen(prefix);
  if (before + label.size() >= sizeof text) {
    errno = ENAMETOOLONG;
    child_fail(setup, "set the security label", label.c_str());
  }
  memcpy(text, prefix, before);
  memcpy(text + before, label.data(), label.size());
  int fd = raw::open_no_magic(AT_FDCWD, attribute, O_WRONLY);
  // Whoever controls the container may have put a plain file there.
  struct statfs info {};
  if (fd >= 0 && (fstatfs(fd, &info) < 0 || info.f_type != PROC_SUPER_MAGIC))
    child_fail(setup, Failure::kNotProcfs, "check", attribute);
  if (fd < 0 || write(fd, text, before + label.size()) < 0) child_fail(setup, "set the security label", label.c_str());
  close(fd);
}

void load_filter(const ChildSetup& setup) {
  const ProcessPlan& process = *setup.process.plan;
  if (process.seccomp_bpf.empty()) return;
  sock_fprog program{};
  program.len = static_cast<unsigned short>(process.seccomp_bpf.size() / sizeof(sock_filter));
  program.filter = reinterpret_cast<sock_filter*>(const_cast<char*>(process.seccomp_bpf.data()));
  if (raw::set_seccomp_filter(process.seccomp_flags, &program) < 0) child_fail(setup, "load the seccomp filter");
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
  if (raw::set_gid(process.gid) < 0) child_fail(setup, "setresgid");
  if (raw::set_groups(process.additional_gids.size(), process.additional_gids.data()) < 0) child_fail(setup, "setgroups");
  if (raw::set_uid(process.uid) < 0) child_fail(setup, "setresuid");
  if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) child_fail(setup, "prctl PR_SET_KEEPCAPS");
  if (raw::set_capabilities(process.cap_effective, process.cap_permitted, process.cap_inheritable) < 0)
    child_fail(setup, "capset");
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
    child_fail(setup, "clear the ambient capabilities");
  for (int cap = 0; cap < 64; ++cap)
    if (((process.cap_ambient >> cap) & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
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
               err == EACCES ? Failure::kNotExecutable : err == EISDIR ? Failure::kIsDirectory : Failure::kStat,
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

void child_prepare_exec(const ChildSetup& setup, int terminal) {
  const ProcessPlan& process = *setup.process.plan;
  set_up_stdio(setup, terminal);
  enter_working_directory(setup);
  for (const auto& limit : process.rlimits) {
    rlimit value{limit.soft, limit.hard};
    if (setrlimit(static_cast<__rlimit_resource>(limit.resource), &value) < 0) child_fail(setup, "setrlimit");
  }
  umask(process.umask < 0 ? 022 : static_cast<mode_t>(process.umask));
  // What the program's own user may not see is for the second look-up to judge.
  char buffer[PATH_MAX];
  find_program(setup, buffer, /*as_root=*/true);
}

void child_exec(const ChildSetup& setup) {
  const ProcessPlan& process = *setup.process.plan;
  write_label(setup, "/proc/self/attr/apparmor/exec", "exec ", process.apparmor_profile);
  write_label(setup, "/proc/self/attr/exec", "", process.selinux_label);
  // A filter needs CAP_SYS_ADMIN or no_new_privs. Without the latter it must come before the capabilities
  // go; with it, it comes last and so judges as little of our own doing as possible.
  if (!process.no_new_privs) load_filter(setup);
  drop_privileges(setup);
  if (process.no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) child_fail(setup, "prctl PR_SET_NO_NEW_PRIVS");
  char buffer[PATH_MAX];
  const char* path = find_program(setup, buffer, /*as_root=*/false);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // Also what some library opened without O_CLOEXEC. COMPAT(linux<5.11): no CLOSE_RANGE_CLOEXEC; closing
  // for good would take the sync socket along, and our own descriptors are all O_CLOEXEC anyway.
  raw::close_range(3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
  if (process.no_new_privs) load_filter(setup);
  execute(setup, path);
}

}  // namespace caisson::runtime
