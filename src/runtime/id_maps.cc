// SPDX-License-Identifier: Apache-2.0
#include "runtime/id_maps.h"

#include <unistd.h>

#include "base/text.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::runtime {

namespace {

constexpr int kHelperSeconds = 20;

// What the kernel lets anybody write: one id, the writer's own.
bool is_own_id_alone(const std::vector<IdMapping>& map, uint32_t own) {
  return map.size() == 1 && map[0].size == 1 && map[0].host_id == own;
}

Result<> write_map(pid_t pid, const char* file, const std::vector<IdMapping>& map) {
  std::string text;
  for (const auto& m : map) text += format("%u %u %u\n", m.container_id, m.host_id, m.size);
  return sys::write_file(format("/proc/%d/%s", pid, file), text);
}

std::string find_helper(const char* name) {
  for (const char* directory : {"/usr/bin/", "/bin/", "/usr/local/bin/"})
    if (access((std::string(directory) + name).c_str(), X_OK) == 0) return directory + std::string(name);
  return "";
}

Result<> run_helper(const char* name, pid_t pid, const std::vector<IdMapping>& map) {
  auto program = find_helper(name);
  if (program.empty())
    return fail(ErrorKind::kDenied,
                "an ordinary user may map only the own id, and '%s' (package uidmap) is not installed", name);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return fail_errno("pipe");
  UniqueFd reader(ends[0]), writer(ends[1]);
  sys::SpawnRequest request;
  request.program = program;
  request.args = {name, std::to_string(pid)};
  for (const auto& m : map)
    for (uint32_t number : {m.container_id, m.host_id, m.size}) request.args.push_back(std::to_string(number));
  request.fds = {{writer.get(), 1}, {writer.get(), 2}};
  auto child = TRY(sys::spawn(request));
  writer.reset();
  auto ended = sys::wait_readable(child.pidfd.get(), kHelperSeconds * 1000);
  if (!ended) (void)sys::signal_pidfd(child.pidfd.get(), 9);
  int code = TRY(sys::wait_child(child));
  TRY(std::move(ended));
  if (code == 0) return {};
  char said[512];
  ssize_t got = read(reader.get(), said, sizeof said);
  return fail(ErrorKind::kDenied, "'%s' refused: %s", name,
              std::string(trim(std::string_view(said, got > 0 ? static_cast<size_t>(got) : 0))).c_str());
}

}  // namespace

Result<> write_id_maps(pid_t pid, const Plan& plan) {
  bool privileged = geteuid() == 0 && !plan.rootless;
  if (privileged || is_own_id_alone(plan.uid_mappings, geteuid()))
    TRY_CTX(write_map(pid, "uid_map", plan.uid_mappings), "map user ids");
  else
    TRY_CTX(run_helper("newuidmap", pid, plan.uid_mappings), "map user ids");
  if (privileged) {
    TRY_CTX(write_map(pid, "gid_map", plan.gid_mappings), "map group ids");
  } else if (is_own_id_alone(plan.gid_mappings, getegid())) {
    // Without the right to set groups outside, leaving one inside would be a way around a file's group.
    TRY_CTX(sys::write_file(format("/proc/%d/setgroups", pid), "deny"), "map group ids");
    TRY_CTX(write_map(pid, "gid_map", plan.gid_mappings), "map group ids");
  } else {
    TRY_CTX(run_helper("newgidmap", pid, plan.gid_mappings), "map group ids");
  }
  return {};
}

}  // namespace caisson::runtime
