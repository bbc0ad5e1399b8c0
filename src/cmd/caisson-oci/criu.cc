// SPDX-License-Identifier: Apache-2.0
#include "criu.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "setup.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::oci {

namespace {

struct SameName {
  const char* flag;
  const char* criu;
};
constexpr SameName kSwitches[] = {
    {"tcp-established", "--tcp-established"},
    {"ext-unix-sk", "--ext-unix-sk"},
    {"shell-job", "--shell-job"},
    {"file-locks", "--file-locks"},
    {"auto-dedup", "--auto-dedup"},
    {"lazy-pages", "--lazy-pages"},
    {"leave-running", "--leave-running"},
    {"link-remap", "--link-remap"},
    {"tcp-skip-in-flight", "--skip-in-flight"},
};

Result<std::string> find_criu(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = getenv("PATH");
  for (const auto& directory : split(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin", ':')) {
    std::string candidate = directory + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return fail(ErrorKind::kUnavailable, "checkpoint and restore need the program %s, which is not in $PATH",
              quoted(name).c_str());
}

Result<std::string> directory_for(const std::string& path) {
  std::string out = TRY(absolute_path(path));
  TRY(sys::make_dirs(out, 0700));
  return out;
}

}  // namespace

Result<std::vector<std::string>> common_criu_args(const Parsed& flags) {
  std::vector<std::string> out;
  for (const auto& [flag, criu] : kSwitches)
    if (flags.on(flag)) out.push_back(criu);
  std::string mode = flags.value("manage-cgroups-mode", "soft");
  static constexpr std::string_view kModes[] = {"soft", "full", "strict", "ignore"};
  if (std::find(std::begin(kModes), std::end(kModes), mode) == std::end(kModes))
    return fail(ErrorKind::kInvalid, "Invalid manage-cgroups-mode value: %s", mode.c_str());
  out.push_back("--manage-cgroups=" + mode);
  for (const auto& name : flags.list("empty-ns")) {
    if (name != "network")
      return fail(ErrorKind::kInvalid, "namespace %s is not supported by --empty-ns", quoted(name).c_str());
    out.insert(out.end(), {"--empty-ns", "net"});
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> external_mounts(const spec::RuntimeSpec& spec,
                                                                 const std::string& bundle,
                                                                 const sys::CgroupPaths& cgroup) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& mount : spec.mounts) {
    bool bind = mount.type == "bind";
    for (const auto& option : mount.options) bind |= option == "bind" || option == "rbind";
    if (bind) {
      out.emplace_back(mount.destination, mount.source.starts_with("/") ? mount.source : bundle + "/" + mount.source);
    } else if (mount.type == "cgroup" && cgroup.v2 && !cgroup.dirs.empty()) {
      out.emplace_back(mount.destination, cgroup.dirs.front());
    } else if (mount.type == "cgroup") {
      for (size_t i = 0; i < cgroup.dirs.size(); ++i) {
        // The hierarchies are mounted below by what they are called on the host.
        std::string name = join(cgroup.controllers[i], ",");
        if (name.starts_with("name=")) name.erase(0, 5);
        out.emplace_back(mount.destination + "/" + name, cgroup.dirs[i]);
      }
    }
  }
  if (spec.linux_part)
    for (const auto& path : spec.linux_part->masked_paths) out.emplace_back(path, "/dev/null");
  return out;
}

std::string last_error_of(std::string_view log) {
  std::string found;
  for (const auto& line : split(log, '\n')) {
    size_t at = line.find("Error (");
    if (at != std::string::npos) found = line.substr(at);
  }
  return found;
}

Result<CriuJob> criu_job(const Parsed& flags, const char* log) {
  CriuJob job;
  job.images = TRY_CTX(directory_for(flags.value("image-path", "checkpoint")), "image directory");
  job.work = flags.has("work-path") ? TRY_CTX(directory_for(flags.value("work-path")), "work directory") : job.images;
  job.log = log;
  job.fds = {{0, 0}, {1, 1}, {2, 2}};
  return job;
}

Result<> run_criu(const Options& options, const CriuJob& job) {
  sys::SpawnRequest request;
  request.program = TRY(find_criu(options.criu));
  request.args = {"criu"};
  request.args.insert(request.args.end(), job.args.begin(), job.args.end());
  for (const auto& arg : {std::string("--images-dir"), job.images, std::string("--work-dir"), job.work,
                          std::string("--log-file"), job.log, std::string("-v4")})
    request.args.push_back(arg);
  for (char** entry = environ; *entry; ++entry) request.env.push_back(*entry);
  request.fds = job.fds;
  request.directory = job.work;
  std::string log_path = job.work + "/" + job.log;
  TRY(sys::remove_file(log_path));  // an old one would give old reasons
  auto child = TRY(sys::spawn(request));
  int code = TRY(sys::wait_child(child));
  if (code == 0) return {};
  auto log = sys::read_file(log_path, 64 << 20);
  std::string reason = log ? last_error_of(*log) : "";
  if (reason.empty()) reason = format("exit status %d", code);
  return fail(ErrorKind::kInternal, "criu: %s (log file: %s)", reason.c_str(), log_path.c_str());
}

}  // namespace caisson::oci
