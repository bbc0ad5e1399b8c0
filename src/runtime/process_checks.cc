// SPDX-License-Identifier: Apache-2.0
#include "runtime/process_checks.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "runtime/scheduling_builder.h"
#include "sys/files.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace {

Result<> check_labels(const ProcessPlan& process) {
  // "unconfined" is what engines write for no profile.
  if (!process.apparmor_profile.empty() && process.apparmor_profile != "unconfined") {
    auto enabled = sys::read_file("/sys/module/apparmor/parameters/enabled");
    if (!enabled || !enabled->starts_with("Y"))
      return fail(ErrorKind::kUnsupported, "apparmor profile %s: AppArmor is not enabled on this host",
                  quoted(process.apparmor_profile).c_str());
  }
  if (!process.selinux_label.empty() && !sys::path_exists("/sys/fs/selinux/enforce"))
    return fail(ErrorKind::kUnsupported, "selinux label %s: SELinux is not enabled on this host",
                quoted(process.selinux_label).c_str());
  return {};
}

Result<> check_filter_flags(uint32_t flags) {
  static constexpr struct {
    uint32_t flag;
    const char* name;
  } kFlags[] = {{SECCOMP_FILTER_FLAG_LOG, "SECCOMP_FILTER_FLAG_LOG"},
                {SECCOMP_FILTER_FLAG_SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"},
                {SECCOMP_FILTER_FLAG_NEW_LISTENER, "SECCOMP_FILTER_FLAG_NEW_LISTENER"}};
  for (auto [flag, name] : kFlags) {
    if (!(flags & flag)) continue;
    // Without a program: EFAULT where the flag is known, EINVAL where it is not.
    if (sys::raw::set_seccomp_filter(flag, nullptr) < 0 && errno == EINVAL)
      return fail(ErrorKind::kUnsupported, "seccomp flag '%s': this kernel does not have it", name);
  }
  constexpr uint32_t kWait = 1u << 5;  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, newer than some headers
  if ((flags & kWait) && sys::raw::set_seccomp_filter(kWait | SECCOMP_FILTER_FLAG_NEW_LISTENER, nullptr) < 0 &&
      errno == EINVAL)
    return fail(ErrorKind::kUnsupported,
                "seccomp flag 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV': this kernel does not have it");
  return {};
}

}  // namespace

Result<> check_process(const ProcessPlan& process) {
  TRY(check_labels(process));
  if (!process.seccomp_bpf.empty()) TRY(check_filter_flags(process.seccomp_flags));
  if (process.preserve_fds > 65536)
    return fail(ErrorKind::kInvalid, "%u descriptors to hand down", process.preserve_fds);
  for (uint32_t fd = 3; fd < 3 + process.preserve_fds; ++fd)
    if (fcntl(static_cast<int>(fd), F_GETFD) < 0)
      return fail(ErrorKind::kInvalid, "descriptor %u of %u to hand down is not open", fd, process.preserve_fds);
  return {};
}

Result<> raise_limits(pid_t pid, const ProcessPlan& process) {
  for (const auto& limit : process.rlimits) {
    rlimit value{};
    auto resource = static_cast<__rlimit_resource>(limit.resource);
    if (prlimit(pid, resource, nullptr, &value) < 0) return fail_errno("prlimit");
    if (value.rlim_max >= limit.hard) continue;
    unsigned long long before = value.rlim_max;
    value.rlim_max = limit.hard;
    if (prlimit(pid, resource, &value, nullptr) < 0)
      return fail_errno("process.rlimits: raise hard limit %u from %llu to %llu", limit.resource, before,
                        static_cast<unsigned long long>(limit.hard));
  }
  return {};
}

Result<Affinity> Affinity::set(const std::string& mask) {
  Affinity out;
  if (mask.empty()) return out;
  std::string before(kMaxCpus / 8, '\0');
  long size = syscall(SYS_sched_getaffinity, 0, before.size(), before.data());
  if (size < 0) return fail_errno("sched_getaffinity");
  if (sys::raw::set_affinity(mask.data(), mask.size()) < 0)
    return fail_errno("set the initial cpu affinity: sched_setaffinity");
  before.resize(static_cast<size_t>(size));
  out.before_ = std::move(before);
  return out;
}

Affinity::~Affinity() {
  if (!before_.empty() && sys::raw::set_affinity(before_.data(), before_.size()) < 0)
    log_debug("restore the cpu affinity: errno %d, ignoring", errno);
}

}  // namespace caisson::runtime
