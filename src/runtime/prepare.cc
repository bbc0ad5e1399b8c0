// SPDX-License-Identifier: Apache-2.0
#include "runtime/prepare.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <sys/stat.h>

#include <climits>
#include <cstring>

#include "base/text.h"
#include "runtime/process_checks.h"
#include "sys/files.h"

namespace caisson::runtime {

namespace {

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const auto& text : strings) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// Without a home of its own, or with an empty one, the program gets what the container's passwd says: as with
// runc, for images rely on it.
void prepare_environment(const ProcessPlan& plan, PreparedProcess& out) {
  bool has_home = false;
  for (const auto& entry : plan.env) {
    if (entry == "HOME=") continue;
    has_home |= entry.starts_with("HOME=");
    if (entry.starts_with("PATH=") && out.search.empty()) out.search = split(std::string_view(entry).substr(5), ':');
    out.envp.push_back(const_cast<char*>(entry.c_str()));
  }
  if (!has_home) {
    constexpr std::string_view kName = "HOME=/";
    out.home.resize(kName.size() + PATH_MAX);
    memcpy(out.home.data(), kName.data(), kName.size());
    out.envp.push_back(out.home.data());
  }
  out.envp.push_back(nullptr);
}

}  // namespace

const char* namespace_name(uint64_t type) {
  switch (type) {
    case CLONE_NEWNS: return "mount";
    case CLONE_NEWPID: return "pid";
    case CLONE_NEWNET: return "network";
    case CLONE_NEWIPC: return "ipc";
    case CLONE_NEWUTS: return "uts";
    case CLONE_NEWCGROUP: return "cgroup";
    case CLONE_NEWUSER: return "user";
    default: return "time";
  }
}

Result<PreparedProcess> prepare_process(const ProcessPlan& plan, const Stdio& stdio) {
  if (plan.args.empty() || plan.args[0].empty()) return fail(ErrorKind::kInvalid, "no command specified");
  if (plan.seccomp_bpf.size() % sizeof(sock_filter) || plan.seccomp_bpf.size() / sizeof(sock_filter) > BPF_MAXINSNS)
    return fail(ErrorKind::kInvalid, "seccomp filter of %zu bytes", plan.seccomp_bpf.size());
  if (plan.cwd.empty() || plan.cwd[0] != '/')
    return fail(ErrorKind::kInvalid, "working directory %s is not an absolute path", quoted(plan.cwd).c_str());
  TRY(check_process(plan));
  PreparedProcess out;
  out.plan = &plan;
  out.proc = TRY(sys::open_file("/proc", O_PATH | O_DIRECTORY));
  out.argv = pointers(plan.args);
  prepare_environment(plan, out);
  for (auto& directory : out.search)
    if (directory.empty()) directory = ".";
  int given[3] = {stdio.in, stdio.out, stdio.err};
  for (int i = 0; i < 3; ++i) {
    if (given[i] < 0) {
      // The host's, not the container's: an image may have anything under that name.
      if (!out.null) out.null = TRY(sys::open_file("/dev/null", O_RDWR));
      given[i] = out.null.get();
    }
    if (given[i] <= 2) {
      out.raised[i].reset(fcntl(given[i], F_DUPFD_CLOEXEC, 3));
      if (!out.raised[i]) return fail_errno("dup of a standard stream");
      given[i] = out.raised[i].get();
    }
    out.stdio[i] = given[i];
  }
  struct stat self {};
  if (stat("/proc/self/exe", &self) < 0) return fail_errno("stat '/proc/self/exe'");
  out.own_device = self.st_dev;
  out.own_inode = self.st_ino;
  return out;
}

Result<std::vector<PreparedNamespace>> prepare_joins(const Plan& plan, int netns) {
  std::vector<PreparedNamespace> out;
  for (const auto& join : plan.join_namespaces) {
    if (join.type == CLONE_NEWPID) continue;  // by birth, see container_clone.h
    if (join.type == CLONE_NEWNET && netns >= 0) continue;
    auto fd = sys::open_file(join.path, O_RDONLY);
    if (!fd) return with_context(std::move(fd).error(), format("join the %s namespace", namespace_name(join.type)));
    // The user namespace first: it gives the right to enter the others.
    auto at = join.type == CLONE_NEWUSER ? out.begin() : out.end();
    out.insert(at, PreparedNamespace{join.type, std::move(*fd)});
  }
  if (netns >= 0) {
    int copy = fcntl(netns, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return fail_errno("dup of the network namespace");
    out.push_back({CLONE_NEWNET, UniqueFd(copy)});
  }
  return out;
}

Error child_error(const ChildMessage& message) {
  const char* object = message.object;
  std::string reason = errno_text(message.err);
  // Clients compare with Go's texts, which begin in lower case ("exec format error").
  std::string lower = reason;
  if (!lower.empty() && lower.size() > 1 && lower[1] >= 'a') lower[0] = static_cast<char>(lower[0] | 0x20);
  auto exec_kind = [&message] {
    if (message.err == EACCES || message.err == EPERM) return ErrorKind::kDenied;
    return message.err == ENOENT ? ErrorKind::kNotFound : ErrorKind::kInvalid;
  };
  switch (message.failure) {
    case Failure::kNotInPath:
      return {ErrorKind::kNotFound, message.err, format("exec: \"%s\": executable file not found in $PATH", object)};
    case Failure::kStat:
      return {exec_kind(), message.err, format("exec: \"%s\": stat %s: %s", object, object, lower.c_str())};
    case Failure::kNotExecutable:
      return {ErrorKind::kDenied, message.err, format("exec: \"%s\": permission denied", object)};
    case Failure::kIsDirectory:
      return {ErrorKind::kDenied, message.err, format("exec: \"%s\": is a directory", object)};
    case Failure::kExec: return {exec_kind(), message.err, format("exec %s: %s", object, lower.c_str())};
    case Failure::kWorkingDirectory:
      return {kind_of_errno(message.err), message.err,
              format("chdir to cwd (\"%s\") set in config.json failed: %s", object, lower.c_str())};
    case Failure::kOutside:
      return {ErrorKind::kDenied, 0, format("working directory '%s' is outside of the container's root", object)};
    case Failure::kOverProc: return {ErrorKind::kInvalid, 0, format("mount on '%s': it is inside /proc", object)};
    case Failure::kNotProcfs: return {ErrorKind::kInvalid, 0, "'/proc' is not a proc file system"};
    case Failure::kNotMapped:
      return {ErrorKind::kInvalid, message.err, format("process.user: %s is not mapped in the user namespace", object)};
    case Failure::kNoGroups:
      return {ErrorKind::kDenied, message.err, "cannot set any additional groups in a rootless container"};
    case Failure::kText: return {ErrorKind::kInternal, message.err, object};
    case Failure::kCall: break;
  }
  std::string text = message.step;
  if (*object) text += format(" '%s'", object);
  text += ": " + reason;
  if (*message.reason) {
    std::string_view words = message.reason;
    if (words.size() > 2 && words[1] == ' ') words.remove_prefix(2);
    text += format(" (%s)", std::string(trim(words)).c_str());
  }
  return {kind_of_errno(message.err), message.err, std::move(text)};
}

}  // namespace caisson::runtime
