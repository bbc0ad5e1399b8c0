// SPDX-License-Identifier: Apache-2.0
// `restore`: a container from the files that checkpoint wrote.
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/rollback.h"
#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/process.h"

#include "commands.h"
#include "criu.h"
#include "setup.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kFlags[] = {
    {"console-socket", 0, kValue,
     "path to an AF_UNIX socket which receives the master end of the console's pseudoterminal"},
    {"image-path", 0, kValue, "directory of the image files (default: \"checkpoint\")"},
    {"work-path", 0, kValue, "directory for work files and logs (default: that of the images)"},
    {"tcp-established", 0, kSwitch, "allow open tcp connections"},
    {"ext-unix-sk", 0, kSwitch, "allow external unix sockets"},
    {"shell-job", 0, kSwitch, "allow shell jobs"},
    {"file-locks", 0, kSwitch, "handle file locks"},
    {"manage-cgroups-mode", 0, kValue, "'soft' (default), 'full', 'strict' or 'ignore'"},
    {"bundle", 'b', kValue, "path to the bundle directory, defaults to the current directory"},
    {"detach", 'd', kSwitch, "do not wait for the container's end"},
    {"keep", 0, kSwitch, "do not delete the container after it exits"},
    {"pid-file", 0, kValue, "file to write the process id to"},
    {"no-subreaper", 0, kSwitch, "do not collect processes of the container whose parent ended"},
    {"no-pivot", 0, kSwitch, "do not use pivot_root: for a root file system on top of a ramdisk"},
    {"no-new-keyring", 0, kSwitch, "has no effect here"},
    {"empty-ns", 0, kList, "create a namespace, but don't restore its properties: 'network'"},
    {"auto-dedup", 0, kSwitch, "enable auto deduplication of memory images"},
    {"lazy-pages", 0, kSwitch, "use userfaultfd to lazily restore memory pages"},
    {"lsm-profile", 0, kValue, "an LSM profile to be used during restore, TYPE:NAME"},
    {"lsm-mount-context", 0, kValue, "an LSM mount context to be used during restore"},
};
constexpr Usage kUsage{"restore",
                       "<container-id>",
                       "restore a container from a previous checkpoint",
                       "The bundle is that of the container that was checkpointed. criu does the work.",
                       kFlags,
                       1,
                       1};

// criu wants the root to be a mount point: mounted on itself, in a mount namespace that ends with this process.
Result<> make_mount_point(const std::string& rootfs) {
  if (unshare(CLONE_NEWNS) < 0) return fail_errno("unshare the mount namespace");
  auto everything = TRY(sys::open_file("/", O_PATH | O_DIRECTORY));
  TRY(sys::set_mount_attributes(everything.get(), 0, 0, MS_SLAVE, true));
  auto mount = TRY_CTX(sys::clone_mount(AT_FDCWD, rootfs, true), "root file system");
  return sys::attach_mount(mount.get(), AT_FDCWD, rootfs);
}

// The pipes that led out of the old container become ours.
Result<> pass_descriptors(CriuJob& job) {
  auto text = sys::read_file(job.images + "/descriptors.json", 65536);
  if (!text) {
    if (text.error().err == ENOENT) return {};
    return std::unexpected(std::move(text).error());
  }
  auto names = TRY_CTX(json::decode<std::vector<std::string>>(*text), "descriptors.json");
  for (size_t fd = 0; fd < names.size() && fd < 3; ++fd)
    if (names[fd].starts_with("pipe:["))
      job.args.insert(job.args.end(), {"--inherit-fd", format("fd[%zu]:%s", fd, names[fd].c_str())});
  return {};
}

Result<std::vector<UniqueFd>> pass_namespaces(const Record& record, CriuJob& job) {
  std::vector<UniqueFd> open;
  struct Joined {
    std::string_view type;
    const char* name;
  };
  static constexpr Joined kJoined[] = {{"network", "extRootNetNS"}, {"pid", "extRootPidNS"}};
  for (const auto& entry : record.namespaces)
    for (const auto& [type, name] : kJoined) {
      if (entry.type != type || entry.path.empty()) continue;
      open.push_back(TRY(sys::open_file(entry.path, O_RDONLY)));
      int number = open.back().get();
      job.args.insert(job.args.end(), {"--inherit-fd", format("fd[%d]:%s", number, name)});
      job.fds.emplace_back(number, number);
    }
  return open;
}

Result<CriuJob> restore_job(const Parsed& flags) {
  auto job = TRY(criu_job(flags, "restore.log"));
  struct stat st;
  if (stat((job.images + "/inventory.img").c_str(), &st) < 0)
    return fail_errno("image directory '%s'", job.images.c_str());
  job.args = {"restore", "--restore-detached", "--restore-sibling"};
  auto common = TRY(common_criu_args(flags));
  job.args.insert(job.args.end(), common.begin(), common.end());
  for (const char* name : {"lsm-profile", "lsm-mount-context"})
    if (const std::string* value = flags.find(name))
      job.args.insert(job.args.end(), {std::string("--") + name, *value});
  TRY(pass_descriptors(job));
  return job;
}

Result<> make_cgroup(runtime::Plan& plan, Record& record, CriuJob& job) {
  if (plan.cgroup.path.empty()) return {};
  sys::CgroupCreation how;
  how.if_there = sys::CgroupCreation::IfThere::kUseEmpty;
  record.cgroup = TRY_CTX(sys::create_cgroup(plan.cgroup.system, plan.cgroup.path, how), "create the cgroup");
  TRY(sys::apply_cgroup_limits(record.cgroup, plan.cgroup.limits));
  if (record.cgroup.v2) job.args.insert(job.args.end(), {"--cgroup-root", plan.cgroup.path});
  for (size_t i = 0; !record.cgroup.v2 && i < record.cgroup.dirs.size(); ++i)
    job.args.insert(job.args.end(),
                    {"--cgroup-root", join(record.cgroup.controllers[i], ",") + ":" + plan.cgroup.path});
  return {};
}

Result<pid_t> restored_pid(const std::string& file) {
  auto text = TRY(sys::read_file(file, 64));
  auto pid = parse_int(trim(text));
  if (!pid || *pid <= 0) return fail(ErrorKind::kInternal, "criu wrote no process id");
  return static_cast<pid_t>(*pid);
}

Result<> check_restorable(const Options& options, const runtime::Plan& plan, const Parsed& flags) {
  if (options.systemd_cgroup) return fail(ErrorKind::kUnsupported, "restore: --systemd-cgroup is not supported");
  if (plan.process.terminal && !flags.on("shell-job"))
    return fail(ErrorKind::kUnsupported, "restore: a container with a terminal needs --shell-job");
  if (!plan.hooks.prestart.empty() || !plan.hooks.create_runtime.empty())
    return fail(ErrorKind::kUnsupported, "restore: prestart and createRuntime hooks cannot be run");
  return {};
}

Result<int> restore(const Options& options, const Parsed& flags) {
  const std::string& id = flags.arguments[0];
  TRY(check_id(id));
  bool detached = flags.on("detach");
  auto [plan, record] = TRY(read_bundle(options, flags, id));
  TRY(check_restorable(options, plan, flags));
  auto spec = TRY(spec::parse_runtime_spec(TRY(sys::read_file(record.bundle + "/config.json"))));
  auto job = TRY(restore_job(flags));
  if (!detached && !flags.on("no-subreaper")) prctl(PR_SET_CHILD_SUBREAPER, 1);

  auto directory = TRY(Directory::create(options.root, id));
  Rollback rollback;
  rollback.add([&] {
    if (!directory.gone()) destroy(options, record, directory);
  });
  TRY(directory.save_first(record));
  if (record.has_filter) TRY(directory.save_filter(plan.process.seccomp_bpf));
  auto namespaces = TRY(pass_namespaces(record, job));
  TRY(make_cgroup(plan, record, job));
  rollback.add([&] {
    if (record.pid == 0) (void)sys::remove_cgroup(record.cgroup);
  });
  for (const auto& [target, source] : external_mounts(spec, record.bundle, record.cgroup))
    job.args.insert(job.args.end(), {"--external", "mnt[" + target + "]:" + source});
  std::string pid_file = directory.path() + "/criu.pid";
  TRY(make_mount_point(record.rootfs));
  job.args.insert(job.args.end(), {"--pidfile", pid_file, "--root", record.rootfs});
  TRY_CTX(run_criu(options, job), "restore");

  runtime::Started started;
  started.pid = TRY(restored_pid(pid_file));
  started.pidfd = TRY(sys::open_pidfd(started.pid));
  rollback.add([&] {
    if (started.pidfd) (void)sys::signal_pidfd(started.pidfd.get(), SIGKILL);
  });
  record.pid = started.pid;
  record.start_time = TRY(sys::process_start_time(started.pid));
  TRY(directory.save(record));
  TRY(write_pid_file(flags, started.pid));
  TRY(run_record_hooks(record, record.poststart, "poststart", "running"));
  TRY(directory.unlock());
  if (detached) {
    rollback.commit();
    return 0;
  }
  int status = TRY(stay_in_foreground(started, !flags.on("no-subreaper")));
  if (flags.on("keep"))
    rollback.commit();
  else
    TRY(directory.lock());
  return status;
}

}  // namespace

constinit const Command kRestoreCommand{&kUsage, restore};

}  // namespace caisson::oci
