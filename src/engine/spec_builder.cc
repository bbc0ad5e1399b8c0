// SPDX-License-Identifier: Apache-2.0
#include "engine/spec_builder.h"

#include <algorithm>

#include "base/text.h"
#include "engine/create_rules.h"
#include "engine/image_mounts.h"
#include "engine/isolation_options.h"
#include "engine/mount_plan.h"
#include "runtime/default_spec.h"

namespace caisson::engine {

namespace {

constexpr const char* kInitInside = "/sbin/docker-init";

bool shares(const std::string& mode) { return mode == "host" || mode.starts_with("container:"); }

spec::OciMount engine_file(const std::string& source, const std::string& destination, bool readonly) {
  return {destination, "bind", source, {"bind", "rprivate", readonly ? "ro" : "rw"}, {}, {}};
}

spec::OciMount user_mount(const spec::MountPoint& point, const PlannedMount& planned) {
  spec::OciMount mount;
  mount.destination = point.destination;
  if (point.type == "tmpfs") {
    mount.type = "tmpfs";
    mount.source = "tmpfs";
    mount.options = {"nosuid", "nodev", "noexec"};
    if (!planned.tmpfs_options.empty()) {
      for (const auto& word : split(planned.tmpfs_options, ',')) {
        // "exec", "suid", "dev", "rw" take back what the defaults say.
        std::erase(mount.options, "no" + word);
        mount.options.push_back(word);
      }
    }
    if (planned.tmpfs.size_bytes > 0) mount.options.push_back("size=" + std::to_string(planned.tmpfs.size_bytes));
    if (planned.tmpfs.mode > 0)
      mount.options.push_back(format("mode=%llo", static_cast<long long>(planned.tmpfs.mode)));
    for (const auto& option : planned.tmpfs.options) {
      std::erase(mount.options, option[0] == "exec" ? "noexec" : "exec");
      mount.options.push_back(join(option, "="));
    }
    if (!point.rw) mount.options.push_back("ro");
    return mount;
  }
  mount.type = "bind";
  mount.source = point.source;
  mount.options = {planned.recursive ? "rbind" : "bind",
                   point.rw                        ? "rw"
                   : planned.recursively_read_only ? "rro"
                                                   : "ro",
                   point.propagation.empty() ? "rprivate" : point.propagation};
  return mount;
}

Result<> add_mounts(spec::RuntimeSpec& spec, const ContainerRecord& record, const Paths& paths,
                    const SpecFacts& facts) {
  const auto& host = record.host_config;
  auto planned = TRY(plan_mounts(record.config, host, record.inherited_mounts));
  auto covers = [&](std::string_view destination) {
    return std::any_of(planned.begin(), planned.end(),
                       [&](const PlannedMount& mount) { return mount.point.destination == destination; });
  };
  runtime::DefaultMountOptions options;
  options.privileged = host.privileged;
  options.mqueue = !shares(host.ipc_mode);
  options.shm_size = host.ipc_mode == "private" || host.ipc_mode == "shareable" ? host.shm_size : 0;
  spec.mounts = runtime::default_mounts(options);
  std::erase_if(spec.mounts, [&](const spec::OciMount& mount) { return covers(mount.destination); });
  if (!facts.shm_source.empty() && !covers("/dev/shm"))
    spec.mounts.push_back({"/dev/shm", "bind", facts.shm_source, {"rbind", "rprivate"}, {}, {}});

  std::vector<spec::OciMount> own;
  for (const auto& mount : planned) {
    if (mount.point.destination == "/proc" || mount.point.destination.starts_with("/proc/"))
      return fail(ErrorKind::kInvalid, "invalid mount: destination '%s' is inside /proc",
                  mount.point.destination.c_str());
    auto stored = std::find_if(record.mounts.begin(), record.mounts.end(), [&](const spec::MountPoint& point) {
      return point.destination == mount.point.destination;
    });
    if (auto layers = facts.image_layers.find(mount.point.destination); layers != facts.image_layers.end())
      own.push_back(image_mount(mount.point.destination, layers->second));
    else
      own.push_back(user_mount(stored == record.mounts.end() ? mount.point : *stored, mount));
  }
  bool readonly = host.readonly_rootfs;
  // Who shares a network shares its names, too: the very files, so that both see a change.
  const std::string& named = facts.network_peer.empty() ? record.id : facts.network_peer;
  if (!covers("/etc/resolv.conf")) own.push_back(engine_file(paths.resolv_conf(named), "/etc/resolv.conf", readonly));
  if (!covers("/etc/hostname")) own.push_back(engine_file(paths.hostname(named), "/etc/hostname", readonly));
  if (!covers("/etc/hosts")) own.push_back(engine_file(paths.hosts(named), "/etc/hosts", readonly));
  if (!facts.init_program.empty()) own.push_back(engine_file(facts.init_program, kInitInside, true));
  std::stable_sort(own.begin(), own.end(), [](const spec::OciMount& a, const spec::OciMount& b) {
    return std::count(a.destination.begin(), a.destination.end(), '/') <
           std::count(b.destination.begin(), b.destination.end(), '/');
  });
  spec.mounts.insert(spec.mounts.end(), own.begin(), own.end());
  return {};
}

void add_namespaces(spec::OciLinux& part, const ContainerRecord& record, const SpecFacts& facts) {
  const auto& host = record.host_config;
  part.namespaces.clear();
  for (auto& entry : runtime::default_namespaces()) {
    const std::string* mode = nullptr;
    if (entry.type == "network") mode = &host.network_mode;
    if (entry.type == "ipc") mode = &host.ipc_mode;
    if (entry.type == "pid") mode = &host.pid_mode;
    if (entry.type == "uts") mode = &host.uts_mode;
    if (entry.type == "cgroup") mode = &host.cgroupns_mode;
    if (mode && *mode == "host") continue;
    if (auto joined = facts.namespace_paths.find(entry.type); joined != facts.namespace_paths.end())
      entry.path = joined->second;
    part.namespaces.push_back(std::move(entry));
  }
}

// "c 1:3 rwm", "b *:* r", "a *:* rwm"
Result<spec::OciDeviceRule> parse_device_rule(const std::string& text) {
  auto bad = [&] { return fail(ErrorKind::kInvalid, "invalid device cgroup rule format: %s", quoted(text).c_str()); };
  auto words = split(text, ' ');
  if (words.size() != 3 || words[0].size() != 1 || std::string_view("abc").find(words[0]) == std::string_view::npos)
    return bad();
  auto numbers = split_once(words[1], ':');
  if (!numbers || words[2].empty() || words[2].find_first_not_of("rwm") != std::string::npos) return bad();
  spec::OciDeviceRule rule;
  rule.allow = true;
  rule.type = words[0];
  rule.access = words[2];
  auto number = [](const std::string& word, std::optional<int64_t>& value) {
    if (word == "*") return true;
    value = parse_int(word);
    return value && *value >= 0;
  };
  if (!number(numbers->first, rule.major) || !number(numbers->second, rule.minor)) return bad();
  return rule;
}

Result<> add_resources(spec::OciLinux& part, const ContainerRecord& record, const SpecFacts& facts) {
  const auto& host = record.host_config;
  spec::OciResources resources;
  resources.devices = host.privileged ? runtime::privileged_device_rules() : runtime::default_device_rules();
  if (!host.privileged) {
    for (size_t i = 0; i < facts.host_devices.size(); ++i) {
      const auto& device = facts.host_devices[i];
      std::string access = i < host.devices.size() && !host.devices[i].cgroup_permissions.empty()
                               ? host.devices[i].cgroup_permissions
                               : "rwm";
      resources.devices.push_back({true, device.type, device.major, device.minor, access});
    }
  }
  for (const auto& rule : host.device_cgroup_rules) resources.devices.push_back(TRY(parse_device_rule(rule)));
  if (host.memory || host.memory_swap || host.memory_reservation || host.memory_swappiness || host.oom_kill_disable) {
    spec::OciMemory memory;
    if (host.memory > 0) memory.limit = host.memory;
    if (host.memory_swap != 0) memory.swap = host.memory_swap;
    if (host.memory_reservation > 0) memory.reservation = host.memory_reservation;
    if (host.memory_swappiness && *host.memory_swappiness >= 0)
      memory.swappiness = static_cast<uint64_t>(*host.memory_swappiness);
    memory.disable_oom_killer = host.oom_kill_disable.value_or(false);
    resources.memory = memory;
  }
  spec::OciCpu cpu;
  if (host.cpu_shares > 0) cpu.shares = static_cast<uint64_t>(host.cpu_shares);
  if (host.nano_cpus > 0) {
    cpu.period = 100000;
    cpu.quota = host.nano_cpus / 10000;
  }
  if (host.cpu_period > 0) cpu.period = static_cast<uint64_t>(host.cpu_period);
  if (host.cpu_quota != 0) cpu.quota = host.cpu_quota;
  if (host.cpu_realtime_period > 0) cpu.realtime_period = static_cast<uint64_t>(host.cpu_realtime_period);
  if (host.cpu_realtime_runtime != 0) cpu.realtime_runtime = host.cpu_realtime_runtime;
  cpu.cpus = host.cpuset_cpus;
  cpu.mems = host.cpuset_mems;
  if (cpu.shares || cpu.quota || cpu.period || cpu.realtime_period || cpu.realtime_runtime || !cpu.cpus.empty() ||
      !cpu.mems.empty())
    resources.cpu = cpu;
  if (host.pids_limit) resources.pids = spec::OciPids{*host.pids_limit};
  spec::OciBlockIo block = facts.block_io;
  if (host.blkio_weight > 0) block.weight = static_cast<uint16_t>(host.blkio_weight);
  resources.block_io = block;
  part.resources = resources;
  part.cgroups_path = record.cgroup_path;
  return {};
}

Result<> add_sysctls(spec::OciLinux& part, const ContainerRecord& record) {
  static constexpr std::string_view ipc_names[] = {"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                                   "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                                   "kernel.shmmni", "kernel.shm_rmid_forced"};
  for (const auto& [name, value] : record.host_config.sysctls) {
    bool own_ipc = !shares(record.host_config.ipc_mode), own_net = !shares(record.host_config.network_mode);
    bool good = (own_ipc && (std::find(std::begin(ipc_names), std::end(ipc_names), name) != std::end(ipc_names) ||
                             name.starts_with("fs.mqueue."))) ||
                (own_net && name.starts_with("net."));
    if (!good || name.find('/') != std::string::npos || name.find("..") != std::string::npos)
      return fail(ErrorKind::kInvalid, "sysctl \"%s\" is not in a separate kernel namespace", name.c_str());
    part.sysctl[name] = value;
  }
  return {};
}

Result<std::vector<spec::OciRlimit>> resource_limits(const spec::HostConfig& host, const HostLimits& limits) {
  std::vector<spec::OciRlimit> out;
  bool has_nofile = false;
  for (const auto& limit : host.ulimits) {
    if (limit.soft > limit.hard && limit.hard != -1)
      return fail(ErrorKind::kInvalid, "ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
                  static_cast<long long>(limit.soft), static_cast<long long>(limit.hard));
    std::string name;
    for (char c : limit.name) name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
    has_nofile = has_nofile || name == "NOFILE";
    out.push_back({"RLIMIT_" + name, static_cast<uint64_t>(limit.hard), static_cast<uint64_t>(limit.soft)});
  }
  // Independent of what the engine itself was started with: an unlimited soft limit makes programs that
  // walk all possible descriptors crawl.
  if (!has_nofile) {
    uint64_t hard = std::min<uint64_t>(524288, limits.nofile_hard);
    out.push_back({"RLIMIT_NOFILE", hard, std::min<uint64_t>(1024, hard)});
  }
  return out;
}

// "All" means all that there are to give: an engine that was itself started with fewer cannot hand out
// more. What was asked for by name stays, so that the refusal is seen.
Result<spec::OciCapabilities> grant_capabilities(const spec::HostConfig& host, bool privileged, bool root_user,
                                                 const HostLimits& limits) {
  auto names = TRY(runtime::resolve_capabilities(host.cap_add, host.cap_drop, privileged));
  uint64_t by_name = 0;
  for (const auto& name : host.cap_add)
    if (auto number = runtime::capability_number(name)) by_name |= 1ULL << *number;
  std::erase_if(names, [&](const std::string& name) {
    auto number = runtime::capability_number(name);
    return number && !((limits.capabilities | by_name) & (1ULL << *number));
  });
  return runtime::capability_sets(names, root_user);
}

}  // namespace

Result<SecurityOptions> parse_security_options(const std::vector<std::string>& options) {
  SecurityOptions out;
  for (const auto& option : options) {
    std::string key = option, value;
    // DOCKER-QUIRK: "key:value" of old clients is taken beside "key=value".
    if (auto parts = split_once(option, option.find('=') != std::string::npos ? '=' : ':')) {
      key = parts->first;
      value = parts->second;
    }
    if (key == "no-new-privileges") {
      if (!value.empty() && value != "true" && value != "false")
        return fail(ErrorKind::kInvalid, "invalid --security-opt 2: \"%s\"", option.substr(0, 128).c_str());
      out.no_new_privileges = value != "false";
    } else if (key == "seccomp") {
      if (value == "unconfined")
        out.seccomp_unconfined = true;
      else if (value != "builtin")
        out.seccomp_profile = value;
    } else if (key == "systempaths" && value == "unconfined") {
      out.unmask_system_paths = true;
    } else if (key == "label" || (key == "apparmor" && (value == "unconfined" || value.empty()))) {
      // Neither SELinux nor AppArmor confines anything here: asking for less is granted.
    } else if (key == "apparmor") {
      return fail(ErrorKind::kInvalid, "AppArmor is not supported on this system: profile '%s' cannot be applied",
                  value.substr(0, 128).c_str());
    } else {
      return fail(ErrorKind::kInvalid, "invalid --security-opt 2: \"%s\"", option.substr(0, 128).c_str());
    }
  }
  return out;
}

std::vector<std::string> process_environment(const ContainerRecord& record, const std::vector<std::string>& extra,
                                             bool tty, const std::string& home, const std::vector<std::string>& links) {
  std::vector<std::string> env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                  "HOSTNAME=" + record.config.hostname};
  if (tty) env.push_back("TERM=xterm");
  auto put = [&](const std::string& entry) {
    std::string key = entry.substr(0, entry.find('='));
    std::erase_if(env, [&](const std::string& old) { return old.substr(0, old.find('=')) == key; });
    // A name without "=" takes the variable away.
    if (entry.find('=') != std::string::npos) env.push_back(entry);
  };
  for (const auto& entry : links) put(entry);
  for (const auto& entry : record.config.env) put(entry);
  for (const auto& entry : extra) put(entry);
  bool has_home =
      std::any_of(env.begin(), env.end(), [](const std::string& entry) { return entry.starts_with("HOME="); });
  if (!has_home) env.push_back("HOME=" + (home.empty() ? "/" : home));
  return env;
}

Result<spec::RuntimeSpec> build_spec(const ContainerRecord& record, const Paths& paths, const SpecFacts& facts) {
  const auto& host = record.host_config;
  auto security = TRY(parse_security_options(host.security_opt));
  spec::RuntimeSpec spec;
  spec.oci_version = "1.0.2";
  spec.hostname = record.config.hostname;
  spec.domainname = record.config.domainname;
  if (host.uts_mode == "host") spec.hostname = spec.domainname = "";
  spec.root = spec::OciRoot{"", host.readonly_rootfs};
  spec.annotations = host.annotations;

  spec::OciProcess process;
  process.terminal = record.config.tty;
  if (host.console_size.size() == 2 && host.console_size[0] > 0 && host.console_size[1] > 0)
    process.console_size =
        spec::OciConsoleSize{static_cast<uint64_t>(host.console_size[0]), static_cast<uint64_t>(host.console_size[1])};
  process.user.uid = facts.user.uid;
  process.user.gid = facts.user.gid;
  process.user.additional_gids = facts.user.additional_gids;
  process.cwd = record.config.working_dir.empty() ? "/" : record.config.working_dir;
  process.env = process_environment(record, {}, record.config.tty, facts.user.home, facts.link_environment);
  if (!facts.init_program.empty()) process.args = {kInitInside, "--"};
  process.args.push_back(record.path);
  process.args.insert(process.args.end(), record.args.begin(), record.args.end());
  process.no_new_privileges = security.no_new_privileges;
  process.capabilities = TRY(grant_capabilities(host, host.privileged, facts.user.uid == 0, facts.limits));
  if (host.oom_score_adj != 0) process.oom_score_adj = host.oom_score_adj;
  process.rlimits = TRY(resource_limits(host, facts.limits));
  process.user.umask = TRY(umask_of(host));
  spec.process = std::move(process);

  spec::OciLinux part;
  add_namespaces(part, record, facts);
  TRY(add_resources(part, record, facts));
  TRY(add_sysctls(part, record));
  TRY(add_isolation(host, part));
  part.devices = facts.host_devices;
  if (!host.privileged && !security.unmask_system_paths) {
    part.masked_paths = host.masked_paths.value_or(runtime::default_masked_paths());
    part.readonly_paths = host.readonly_paths.value_or(runtime::default_readonly_paths());
  }
  spec.linux_part = std::move(part);
  TRY(add_mounts(spec, record, paths, facts));
  return spec;
}

Result<spec::OciProcess> build_exec_process(const ContainerRecord& record, const spec::ExecConfig& config,
                                            const runtime::ResolvedUser& user, const HostLimits& limits,
                                            const std::vector<std::string>& links) {
  auto security = TRY(parse_security_options(record.host_config.security_opt));
  bool privileged = config.privileged || record.host_config.privileged;
  spec::OciProcess process;
  process.terminal = config.tty;
  process.args = config.cmd.items;
  process.cwd = !config.working_dir.empty()         ? config.working_dir
                : record.config.working_dir.empty() ? "/"
                                                    : record.config.working_dir;
  process.user.uid = user.uid;
  process.user.gid = user.gid;
  process.user.additional_gids = user.additional_gids;
  process.user.umask = TRY(umask_of(record.host_config));
  process.env = process_environment(record, config.env, config.tty, user.home, links);
  process.no_new_privileges = security.no_new_privileges;
  process.rlimits = TRY(resource_limits(record.host_config, limits));
  process.capabilities = TRY(grant_capabilities(record.host_config, privileged, user.uid == 0, limits));
  return process;
}

}  // namespace caisson::engine
