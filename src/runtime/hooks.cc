// SPDX-License-Identifier: Apache-2.0
// Hooks of the runtime spec: programs that are told the container's state on their stdin, and have a time
// limit. Used by the parent and, for those that belong inside, by the child, which may allocate here: it is
// the only thread of a full copy of the parent's memory.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "runtime/container.h"
#include "spec/oci_runtime.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::runtime {

namespace {

constexpr size_t kMaxShown = 4096;  // of what a failed hook wrote

// A file rather than a pipe: neither side waits for the other, whatever the hook reads or writes.
Result<UniqueFd> memory_file(const char* name, std::string_view content) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd) return fail_errno("memfd_create");
  TRY(sys::write_all(fd.get(), content));
  if (lseek(fd.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  return fd;
}

std::string written(const UniqueFd& fd) {
  char text[kMaxShown];
  ssize_t got = pread(fd.get(), text, sizeof text, 0);
  return std::string(trim(std::string_view(text, got > 0 ? static_cast<size_t>(got) : 0)));
}

Result<> run_hook(const Hook& hook, const UniqueFd& state, const std::string& directory) {
  auto out = TRY(memory_file("hook-stdout", "")), err = TRY(memory_file("hook-stderr", ""));
  if (lseek(state.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  sys::SpawnRequest request;
  request.program = hook.path;
  request.args = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  request.env = hook.env;
  request.fds = {{state.get(), 0}, {out.get(), 1}, {err.get(), 2}};
  request.directory = directory.empty() ? "/" : directory;
  auto child = TRY(sys::spawn(request));
  if (hook.timeout_s) {
    if (auto ended = sys::wait_readable(child.pidfd.get(), static_cast<int>(std::min(hook.timeout_s, 2000000u) * 1000));
        !ended) {
      if (ended.error().kind != ErrorKind::kTimeout) return ended;
      (void)sys::signal_pidfd(child.pidfd.get(), SIGKILL);
      TRY(sys::wait_child(child));
      return fail(ErrorKind::kTimeout, "hook ran past specified timeout of %u s", hook.timeout_s);
    }
  }
  int code = TRY(sys::wait_child(child));
  if (code == 0) return {};
  auto how = code > 128 ? format("signal %d", code - 128) : format("exit status %d", code);
  return fail(ErrorKind::kInternal, "'%s': %s, stdout: %s, stderr: %s", hook.path.c_str(), how.c_str(),
              written(out).c_str(), written(err).c_str());
}

}  // namespace

std::string hook_state_json(const HookState& state, const char* status, pid_t pid) {
  spec::OciState out;
  if (!state.oci_version.empty()) out.oci_version = state.oci_version;
  out.id = state.id;
  out.status = status;
  if (pid > 0) out.pid = pid;
  out.bundle = state.bundle;
  for (const auto& [key, value] : state.annotations) out.annotations.emplace(key, value);
  return spec::to_json(out);
}

Result<> run_hooks(const std::vector<Hook>& hooks, const char* kind, const std::string& state_json,
                   const std::string& directory) {
  if (hooks.empty()) return {};
  auto state = TRY(memory_file("hook-state", state_json));
  for (size_t i = 0; i < hooks.size(); ++i)
    if (auto done = run_hook(hooks[i], state, directory); !done)
      return with_context(std::move(done).error(), format("error running %s hook #%zu", kind, i));
  return {};
}

}  // namespace caisson::runtime
