// SPDX-License-Identifier: Apache-2.0
#include "setup.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "runtime/seccomp_profile.h"
#include "sys/files.h"
#include "sys/read_only_program.h"
#include "sys/systemd_cgroup.h"
#include "sys/unix_socket.h"

namespace caisson::oci {

namespace {

constexpr uint32_t kMaxPreserved = 1024;

Result<> add_filter(const Options& options, const spec::RuntimeSpec& spec, runtime::BuildOptions& build,
                    Record& record) {
  if (!spec.linux_part || !spec.linux_part->seccomp) return {};
  const auto& profile = *spec.linux_part->seccomp;
  std::string cache = options.root + "/.seccomp";
  if (mkdir(cache.c_str(), 0700) < 0 && errno == ENOENT) {
    TRY(sys::make_dirs(options.root, 0711));
    mkdir(cache.c_str(), 0700);
  }
  build.seccomp_bpf = TRY(runtime::SeccompCache(cache).bpf_for(profile));
  build.seccomp_flags = TRY(runtime::seccomp_flags(profile));
  record.has_filter = true;
  record.seccomp_flags = build.seccomp_flags;
  record.listener_path = profile.listener_path;
  record.listener_metadata = profile.listener_metadata;
  return {};
}

// Socket activation: only when the descriptors are meant for this very process.
uint32_t activation_fds() {
  const char* count = getenv("LISTEN_FDS");
  const char* owner = getenv("LISTEN_PID");
  if (!count || !owner || parse_int(owner) != getpid()) return 0;
  auto number = parse_uint(count);
  return number && *number <= kMaxPreserved ? static_cast<uint32_t>(*number) : 0;
}

}  // namespace

bool in_small_user_namespace() {
  auto map = sys::read_file("/proc/self/uid_map", 4096);
  if (!map) return false;
  auto fields = trim(*map);
  return fields.find('\n') != std::string_view::npos || !fields.ends_with(" 4294967295");
}

std::string default_root() {
  const char* directory = getenv("XDG_RUNTIME_DIR");
  if (!directory || directory[0] != '/') return "/run/caisson-oci";
  bool ordinary = geteuid() != 0;
  if (!ordinary && in_small_user_namespace()) {
    const char* user = getenv("USER");
    ordinary = !user || std::string_view(user) != "root";
  }
  return ordinary ? std::string(directory) + "/caisson-oci" : "/run/caisson-oci";
}

Result<std::string> absolute_path(const std::string& path) {
  if (path.starts_with("/")) return path;
  char* here = getcwd(nullptr, 0);
  if (!here) return fail_errno("getcwd");
  std::string out = std::string(here) + "/" + path;
  free(here);
  return out;
}

// A pipe in its place must not hold us up.
static Result<std::string> read_config(const std::string& path) {
  auto file = TRY(sys::open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (fstat(file.get(), &info) < 0) return fail_errno("stat '%s'", path.c_str());
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::kInvalid, "'%s' is not a regular file", path.c_str());
  return sys::read_fd(file.get());
}

Result<Setup> read_bundle(const Options& options, const Parsed& flags, const std::string& id) {
  char* real = realpath(flags.value("bundle", ".").c_str(), nullptr);
  if (!real) return fail_errno("bundle '%s'", flags.value("bundle").c_str());
  Setup out;
  Record& record = out.record;
  record.bundle = real;
  free(real);
  auto text = read_config(record.bundle + "/config.json");
  if (!text && text.error().err == ENOENT)
    return fail(ErrorKind::kNotFound, "JSON specification file %s/config.json not found", record.bundle.c_str());
  auto spec = TRY(spec::parse_runtime_spec(TRY(std::move(text))));

  runtime::BuildOptions build;
  build.id = id;
  build.bundle = record.bundle;
  build.rootless = options.rootless.value_or(geteuid() != 0 || in_small_user_namespace());
  build.no_pivot = flags.on("no-pivot");
  build.new_session_keyring = !flags.on("no-new-keyring");
  if (!options.no_cgroup) build.cgroups = TRY(sys::detect_cgroups());
  build.take_over_cgroup = true;
  if (options.systemd_cgroup) build.systemd_program = systemd_program();
  TRY(add_filter(options, spec, build, record));
  out.plan = TRY(runtime::build_plan(spec, build));
  if (options.no_cgroup) out.plan.cgroup.path.clear();

  record.oci_version = spec::OciState{}.oci_version;
  record.id = id;
  record.rootfs = out.plan.rootfs;
  record.created_ns = now_ns();
  record.owner = geteuid();
  record.cgroup_path = out.plan.cgroup.path;
  if (options.systemd_cgroup)
    record.systemd_unit = TRY(sys::systemd_unit_of(record.cgroup_path, id, build.rootless)).name;
  else if (!record.cgroup_path.empty())
    record.cgroup = sys::cgroup_paths(build.cgroups, record.cgroup_path);
  record.rootless = build.rootless;
  record.no_new_keyring = !build.new_session_keyring;
  record.annotations = std::move(spec.annotations);
  record.process = std::move(*spec.process);
  record.process.args.clear();
  record.process.terminal = false;
  record.process.console_size.reset();
  if (spec.linux_part) {
    record.namespaces = std::move(spec.linux_part->namespaces);
    record.memory_policy = std::move(spec.linux_part->memory_policy);
    record.personality = std::move(spec.linux_part->personality);
  }
  record.poststart = out.plan.hooks.poststart;
  record.poststop = out.plan.hooks.poststop;
  return out;
}

Result<> check_terminal(bool terminal, bool detached, const std::string& console_socket) {
  if (detached && terminal && console_socket.empty())
    return fail(ErrorKind::kInvalid, "cannot allocate tty if caisson-oci will detach without setting --console-socket");
  if ((!detached || !terminal) && !console_socket.empty())
    return fail(ErrorKind::kInvalid, "cannot use --console-socket if caisson-oci will not detach or allocate tty");
  return {};
}

Result<UniqueFd> connect_console(const std::string& console_socket) {
  if (console_socket.empty()) return UniqueFd();
  return TRY_CTX(sys::connect_unix(console_socket, SOCK_STREAM), "console socket");
}

Result<> send_console(int socket, const UniqueFd& master) {
  if (socket < 0) return {};
  if (!master) return fail(ErrorKind::kInternal, "the container has opened no terminal");
  // The name is what every receiver is used to.
  TRY_CTX(sys::send_message(socket, "/dev/ptmx", {master.get()}), "console socket");
  return {};
}

Result<InheritedFds> inherited_fds(const Parsed& flags, bool activation) {
  InheritedFds out;
  if (activation) out.activated = activation_fds();
  if (const std::string* text = flags.find("preserve-fds")) {
    auto count = parse_uint(*text);
    if (!count || *count > kMaxPreserved)
      return fail(ErrorKind::kInvalid, "invalid value %s for preserve-fds", quoted(*text).c_str());
    out.preserved = static_cast<uint32_t>(*count);
  }
  for (uint32_t i = 0; i < out.activated + out.preserved; ++i)
    if (fcntl(static_cast<int>(3 + i), F_GETFD) < 0)
      return fail_errno("unable to stat preserved-fd %u (of %u)", i, out.activated + out.preserved);
  return out;
}

void pass_fds(const InheritedFds& fds, runtime::ProcessPlan& process) {
  process.preserve_fds = fds.activated + fds.preserved;
  if (fds.activated == 0) return;
  process.env.push_back(format("LISTEN_FDS=%u", fds.activated));
  process.env.push_back("LISTEN_PID=1");
  if (const char* names = getenv("LISTEN_FDNAMES")) process.env.push_back(std::string("LISTEN_FDNAMES=") + names);
}

Result<> write_pid_file(const Parsed& flags, pid_t pid) {
  std::string path = flags.value("pid-file");
  if (path.empty()) return {};
  return sys::replace_file(path, std::to_string(pid), 0644);
}

std::string systemd_program() { return sys::program_directory() + "/caisson-systemd"; }

Result<> remove_cgroups(const Record& record) {
  // Processes outside the container's pid namespace do not die with its first one.
  // Killing freezes, which costs more than looking whether there is anybody.
  auto pids = sys::cgroup_pids(record.cgroup);
  if (!pids || !pids->empty())
    if (auto killed = sys::kill_cgroup(record.cgroup); !killed)
      log_debug("%s, ignoring", killed.error().message.c_str());
  if (!record.systemd_unit.empty())
    TRY(sys::stop_systemd_unit({systemd_program(), record.rootless}, record.systemd_unit));
  return record.cgroup.empty() ? Result<>() : sys::remove_cgroup(record.cgroup);
}

Result<> take_down(const Options& options, const Record& record, Directory& directory) {
  // Without a process the cgroup may be somebody else's: that is why there is none.
  if (record.pid > 0) {
    TRY(remove_cgroups(record));
    // Each of them, whatever became of those before.
    for (const auto& hook : record.poststop)
      if (auto done = run_record_hooks(record, {hook}, "poststop", "stopped"); !done)
        report(options, "warning", done.error().message);
  }
  return directory.remove();
}

void destroy(const Options& options, const Record& record, Directory& directory) {
  if (auto done = take_down(options, record, directory); !done) report(options, "warning", done.error().message);
}

}  // namespace caisson::oci
