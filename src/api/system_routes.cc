// SPDX-License-Identifier: Apache-2.0
// The System family of the API.
#include <linux/magic.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cstdlib>

#include <algorithm>
#include <thread>

#include "api/router.h"
#include "api/streams.h"
#include "api/version.h"
#include "api/version_shapes.h"
#include "base/clock.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "engine/inspect.h"
#include "logs/log_options.h"
#include "spec/docker_system.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

// As the environment has it, without passwords.
std::string shown_proxy(const char* upper, const char* lower) {
  const char* found = getenv(upper);
  if (!found || !*found) found = getenv(lower);
  std::string text = found ? found : "";
  size_t scheme = text.find("://"), at = text.rfind('@');
  if (at == text.npos) return text;
  size_t begin = scheme == text.npos ? 0 : scheme + 3;
  return begin < at ? text.substr(0, begin) + "xxxxx:xxxxx" + text.substr(at) : text;
}

void ping(Context&, Call& call) {
  http::Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  headers.add("Cache-Control", "no-cache, no-store, must-revalidate");
  headers.add("Pragma", "no-cache");
  headers.add("Builder-Version", "1");
  headers.add("Swarm", "inactive");
  call.exchange->reply(200, headers, "OK");
}

const char* go_architecture(const utsname& host) {
  std::string_view machine = host.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return host.machine;
}

void version(Context& context, Call& call) {
  utsname host{};
  uname(&host);
  spec::SystemVersion out;
  out.platform.name = "Caisson Engine";
  out.version = kEngineVersion;
  out.api_version = format("1.%d", kMaxVersion);
  out.min_api_version = format("1.%d", kMinVersion);
  out.git_commit = kGitCommit;
  out.os = "linux";
  out.arch = go_architecture(host);
  out.kernel_version = host.release;
  out.experimental = context.engine.options().experimental;
  // A reproducible build has no time of its own; the field must parse all the same.
  out.build_time = "1970-01-01T00:00:00.000000000+00:00";
  spec::VersionComponent engine_part;
  engine_part.name = "Engine";
  engine_part.version = kEngineVersion;
  engine_part.details = {{"ApiVersion", out.api_version},
                         {"Arch", out.arch},
                         {"BuildTime", out.build_time},
                         {"Experimental", context.engine.options().experimental ? "true" : "false"},
                         {"GitCommit", kGitCommit},
                         {"GoVersion", ""},
                         {"KernelVersion", out.kernel_version},
                         {"MinAPIVersion", out.min_api_version},
                         {"Os", "linux"}};
  out.components.push_back(std::move(engine_part));
  call.reply_with(200, out);
}

std::string os_release_name() {
  auto text = sys::read_file("/etc/os-release", 64 << 10);
  if (!text) text = sys::read_file("/usr/lib/os-release", 64 << 10);
  if (!text) return "linux";
  for (const auto& line : split(*text, '\n')) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string value = line.substr(12);
    if (value.size() >= 2 && value.front() == '"') value = value.substr(1, value.size() - 2);
    return value;
  }
  return "linux";
}

void describe_registries(const engine::LiveOptions& options, spec::RegistryServiceConfig& out) {
  out.insecure_registry_cidrs = {"::1/128", "127.0.0.0/8"};
  for (const auto& entry : options.insecure_registries) {
    if (entry.find('/') != std::string::npos)
      out.insecure_registry_cidrs.push_back(entry);
    else
      out.index_configs[entry] = {entry, {}, false, false};
  }
  out.mirrors = options.registry_mirrors;
  out.index_configs["docker.io"] = {"docker.io", options.registry_mirrors, true, true};
}

std::string seccomp_name(const engine::EngineOptions& options) {
  if (options.seccomp_unconfined) return "unconfined";
  return options.seccomp_profile_path.empty() ? "builtin" : options.seccomp_profile_path;
}

// By Docker's names.
const char* file_system_name(const std::string& path) {
  struct statfs facts {};
  if (statfs(path.c_str(), &facts) < 0) return "<unknown>";
  static constexpr std::pair<uint32_t, const char*> kNames[] = {{EXT4_SUPER_MAGIC, "extfs"},
                                                                {XFS_SUPER_MAGIC, "xfs"},
                                                                {BTRFS_SUPER_MAGIC, "btrfs"},
                                                                {TMPFS_MAGIC, "tmpfs"},
                                                                {OVERLAYFS_SUPER_MAGIC, "overlayfs"},
                                                                {F2FS_SUPER_MAGIC, "f2fs"},
                                                                {NFS_SUPER_MAGIC, "nfs"},
                                                                {EROFS_SUPER_MAGIC_V1, "erofs"},
                                                                {0x2fc12fc1, "zfs"}};
  for (const auto& [magic, name] : kNames)
    if (static_cast<uint32_t>(facts.f_type) == magic) return name;
  return "<unknown>";
}

void info(Context& context, Call& call) {
  utsname host{};
  uname(&host);
  spec::SystemInfo out;
  out.id = context.engine.engine_id();
  for (const auto& container : context.engine.containers().list()) {
    auto record = container->snapshot();
    ++out.containers;
    if (record->status() == engine::Status::kPaused)
      ++out.containers_paused;
    else if (record->running())
      ++out.containers_running;
    else
      ++out.containers_stopped;
  }
  out.images = static_cast<int64_t>(context.engine.images().list().size());
  out.driver_status = {{"Backing Filesystem", file_system_name(context.engine.options().data_root)},
                       {"Mounts", "detached"}};
  out.driver = context.engine.options().storage_driver;
  out.plugins.volume = {"local"};
  out.plugins.network = {"bridge", "host", "null"};
  out.plugins.log.assign(logs::driver_names().begin(), logs::driver_names().end());
  out.logging_driver = context.engine.options().log_driver;
  const auto& cgroups = context.engine.cgroups();
  out.cgroup_version = cgroups.v2 ? "2" : "1";
  out.memory_limit = out.swap_limit = cgroups.has("memory");
  out.cpu_cfs_period = out.cpu_cfs_quota = out.cpu_shares = cgroups.has("cpu");
  out.cpu_set = cgroups.has("cpuset");
  out.pids_limit = cgroups.has("pids");
  out.oom_kill_disable = !cgroups.v2 && cgroups.has("memory");
  if (auto forwarding = sys::read_file("/proc/sys/net/ipv4/ip_forward", 16))
    out.ipv4_forwarding = trim(*forwarding) == "1";
  out.debug = context.engine.live_options()->debug;
  if (auto fds = sys::list_dir("/proc/self/fd")) out.n_fd = static_cast<int64_t>(fds->size());
  out.system_time = format_rfc3339(now_ns());
  out.kernel_version = host.release;
  out.operating_system = os_release_name();
  out.architecture = host.machine;
  describe_registries(*context.engine.live_options(), out.registry_config);
  out.ncpu = static_cast<int64_t>(std::thread::hardware_concurrency());
  out.mem_total = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  out.http_proxy = shown_proxy("HTTP_PROXY", "http_proxy");
  out.https_proxy = shown_proxy("HTTPS_PROXY", "https_proxy");
  out.no_proxy = shown_proxy("NO_PROXY", "no_proxy");
  out.docker_root_dir = context.engine.options().data_root;
  out.name = host.nodename;
  out.labels = context.engine.live_options()->labels;
  out.server_version = kEngineVersion;
  out.runtimes["caisson"].path = context.engine.options().program_dir + "/caisson-monitor";
  const auto& options = context.engine.options();
  out.security_options = {"name=seccomp,profile=" + seccomp_name(options), "name=cgroupns"};
  if (options.no_new_privileges) out.security_options.push_back("name=no-new-privileges");
  out.default_runtime = context.engine.live_options()->default_runtime;
  out.experimental_build = options.experimental;
  for (const auto& block : options.network.blocks) out.default_address_pools.push_back({block.base, block.size});
  if (!options.network.rules)
    out.warnings.push_back("WARNING: there are no rules of the engine's: ports cannot be published (--iptables=false)");
  if (!out.ipv4_forwarding) out.warnings.push_back("WARNING: IPv4 forwarding is disabled");
  // Names alone were all that clients knew at first.
  if (call.version < 25)
    for (auto& option : out.security_options) option = option.substr(5, option.find(',') - 5);
  call.reply_with(200, out, Shape::kInfo);
}

// A stream for as long as the client wants, or to a moment in time.
void events(Context& context, Call& call) {
  auto filter = engine::EventFilter::parse(call.query().get("filters"));
  if (!filter) return call.reply_error(filter.error());
  auto since = parse_time(call.query().get("since")), until = parse_time(call.query().get("until"));
  if (!since) return call.reply_error(since.error());
  if (!until) return call.reply_error(until.error());
  if (*since && *until && *since > *until)
    return call.reply_error(400, "`since` time (" + call.query().get("since") + ") cannot be after `until` time (" +
                                     call.query().get("until") + ")");
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  auto stream = call.exchange->start_stream(200, headers);
  int64_t end_ns = *until;
  auto& hub = context.engine.events();
  uint64_t id = hub.subscribe(*since   ? *since
                              : end_ns ? 0
                                       : -1,
                              [stream, filter = *filter, end_ns](const engine::Event& event) {
                                if ((end_ns == 0 || event.time_ns <= end_ns) && filter.matches(event))
                                  stream->write(engine::event_json(event));
                              });
  if (end_ns && end_ns <= now_ns()) {
    hub.unsubscribe(id);
    return stream->end();
  }
  stream->on_closed([&hub, id] { hub.unsubscribe(id); });
  if (end_ns)
    context.loop.post([&loop = context.loop, &hub, id, stream, end_ns] {
      loop.after_ms((end_ns - now_ns()) / 1000000 + 1, [&hub, id, stream] {
        hub.unsubscribe(id);
        stream->end();
      });
    });
}

constexpr Route kRoutes[] = {
    {"GET", "/_ping", ping, false, true},
    {"HEAD", "/_ping", ping, false, true},
    {"GET", "/version", version, false, true},
    {"GET", "/info", info},
    {"GET", "/events", events},
};

// Answered with 501 and a sentence, so that a client sees what is missing and not a typing error.
constexpr Route kMissing[] = {
    {"POST", "/build", nullptr},
    {"POST", "/session", nullptr},
    {"POST", "/grpc", nullptr},
    {"POST", "/containers/{}/copy", nullptr},
    {"GET", "/plugins", nullptr},
    {"GET", "/swarm", nullptr},
    {"GET", "/nodes", nullptr},
    {"GET", "/services", nullptr},
    {"GET", "/tasks", nullptr},
    {"GET", "/configs", nullptr},
    {"POST", "/swarm/init", nullptr},
    {"POST", "/swarm/join", nullptr},
    {"POST", "/swarm/leave", nullptr},
    {"POST", "/swarm/update", nullptr},
    {"POST", "/swarm/unlock", nullptr},
    {"GET", "/swarm/unlockkey", nullptr},
    {"GET", "/nodes/{}", nullptr},
    {"DELETE", "/nodes/{}", nullptr},
    {"POST", "/nodes/{}/update", nullptr},
    {"POST", "/services/create", nullptr},
    {"GET", "/services/{}", nullptr},
    {"DELETE", "/services/{}", nullptr},
    {"POST", "/services/{}/update", nullptr},
    {"GET", "/services/{}/logs", nullptr},
    {"GET", "/tasks/{}", nullptr},
    {"GET", "/tasks/{}/logs", nullptr},
    {"POST", "/configs/create", nullptr},
    {"GET", "/configs/{}", nullptr},
    {"DELETE", "/configs/{}", nullptr},
    {"POST", "/configs/{}/update", nullptr},
    {"GET", "/plugins/privileges", nullptr},
    {"POST", "/plugins/pull", nullptr},
    {"POST", "/plugins/create", nullptr},
};

}  // namespace

std::span<const Route> system_routes() { return kRoutes; }
std::span<const Route> missing_routes() { return kMissing; }

}  // namespace caisson::api
