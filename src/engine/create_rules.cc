// SPDX-License-Identifier: Apache-2.0
#include "engine/create_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "engine/isolation_options.h"
#include "engine/port_ranges.h"
#include "image/pull_select.h"
#include "logs/log_options.h"
#include "runtime/default_spec.h"

namespace caisson::engine {

static std::string env_key(const std::string& entry) { return entry.substr(0, entry.find('=')); }

// What the request leaves open is the image's.
static void merge_health(spec::ContainerConfig& config, const spec::Healthcheck& image) {
  if (!config.healthcheck) config.healthcheck.emplace();
  auto& own = *config.healthcheck;
  if (own.test.empty()) own.test = image.test;
  for (auto [mine, theirs] : {std::pair{&own.interval, image.interval},
                              {&own.timeout, image.timeout},
                              {&own.start_period, image.start_period},
                              {&own.start_interval, image.start_interval},
                              {&own.retries, image.retries}})
    if (*mine == 0) *mine = theirs;
}

Result<> check_platform(const spec::ImageConfig& image, const std::string& image_name, const std::string& asked,
                        std::vector<std::string>& warnings) {
  auto wanted = TRY(image::parse_platform(asked));
  spec::Platform own;
  own.os = image.os.empty() ? "linux" : image.os;
  own.architecture = image.architecture;
  own.variant = image.variant;
  // An image that does not say what it is for is for everybody.
  if (own.architecture.empty() || image::platform_fits(own, wanted)) return {};
  std::string shown = image::platform_text(own), other = image::platform_text(wanted);
  if (!asked.empty())
    return fail(ErrorKind::kNotFound,
                "image with reference %s was found but its platform (%s) does not match the specified platform (%s)",
                image_name.c_str(), shown.c_str(), other.c_str());
  warnings.push_back("The requested image's platform (" + shown + ") does not match the detected host platform (" +
                     other + ") and no specific platform was requested");
  return {};
}

Result<> merge_image_config(spec::ContainerConfig& config, const spec::ImageConfig& image) {
  const auto& base = image.config;
  if (config.user.empty()) config.user = base.user;
  for (const auto& [port, unused] : base.exposed_ports) config.exposed_ports.try_emplace(port);
  for (const auto& entry : base.env) {
    auto same_key = [&](const std::string& own) { return env_key(own) == env_key(entry); };
    if (std::none_of(config.env.begin(), config.env.end(), same_key)) config.env.push_back(entry);
  }
  for (const auto& [key, value] : base.labels) config.labels.try_emplace(key, value);
  // DOCKER-QUIRK: an entrypoint of one empty string resets the image's without giving one.
  if (config.entrypoint.items.size() == 1 && config.entrypoint.items[0].empty()) {
    config.entrypoint = {};
  } else if (config.entrypoint.items.empty()) {
    if (config.cmd.items.empty()) {
      config.cmd.items = base.cmd;
      config.cmd.present = !base.cmd.empty();
    }
    config.entrypoint.items = base.entrypoint;
    config.entrypoint.present = !base.entrypoint.empty();
  }
  if (config.working_dir.empty()) config.working_dir = base.working_dir;
  if (!config.working_dir.empty() && !config.working_dir.starts_with('/'))
    return fail(ErrorKind::kInvalid, "the working directory '%s' is invalid, it needs to be an absolute path",
                config.working_dir.c_str());
  for (const auto& [path, unused] : base.volumes) config.volumes.try_emplace(path);
  if (config.stop_signal.empty()) config.stop_signal = base.stop_signal;
  if (base.healthcheck) merge_health(config, *base.healthcheck);
  if (!config.stop_timeout) config.stop_timeout = base.stop_timeout;
  if (config.entrypoint.items.empty() && config.cmd.items.empty())
    return fail(ErrorKind::kInvalid, "no command specified");
  if (!config.stop_signal.empty()) TRY(parse_signal(config.stop_signal));
  for (const auto& entry : config.env)
    if (entry.empty() || entry[0] == '=' || entry.find('\0') != std::string::npos)
      return fail(ErrorKind::kInvalid, "invalid environment variable: %s", entry.substr(0, 64).c_str());
  return {};
}

std::vector<std::string> command_line(const spec::ContainerConfig& config) {
  std::vector<std::string> out = config.entrypoint.items;
  out.insert(out.end(), config.cmd.items.begin(), config.cmd.items.end());
  return out;
}

Result<int> parse_signal(std::string_view text) {
  auto bad = [&] { return fail(ErrorKind::kInvalid, "invalid signal: %s", std::string(text.substr(0, 64)).c_str()); };
  if (auto number = parse_int(text)) {
    if (*number < 1 || *number > 64) return bad();
    return static_cast<int>(*number);
  }
  std::string name;
  for (char c : text) name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int number = 1; number < 32; ++number) {
    const char* known = sigabbrev_np(number);
    if (known && name == known) return number;
  }
  // sigabbrev_np knows one name per number; these are the other ones, and the real-time range.
  if (name == "CLD") return SIGCHLD;
  if (name == "IOT") return SIGABRT;
  if (name == "POLL") return SIGIO;
  if (name == "RTMIN") return 34;
  if (name == "RTMAX") return 64;
  if (name.starts_with("RTMIN+")) {
    auto offset = parse_int(name.substr(6));
    if (offset && *offset >= 0 && *offset <= 15) return 34 + static_cast<int>(*offset);
  }
  if (name.starts_with("RTMAX-")) {
    auto offset = parse_int(name.substr(6));
    if (offset && *offset >= 0 && *offset <= 14) return 64 - static_cast<int>(*offset);
  }
  return bad();
}

Result<std::vector<ContainerPort>> parse_container_ports(std::string_view text) {
  auto bad = [&] { return fail(ErrorKind::kInvalid, "invalid port specification: \"%s\"", std::string(text).c_str()); };
  std::string protocol = "tcp";
  std::string_view numbers = text;
  if (size_t slash = text.find('/'); slash != std::string_view::npos) {
    protocol = to_lower(text.substr(slash + 1));
    numbers = text.substr(0, slash);
  }
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") return bad();
  std::string_view first = numbers, last = numbers;
  if (size_t dash = numbers.find('-'); dash != std::string_view::npos) {
    first = numbers.substr(0, dash);
    last = numbers.substr(dash + 1);
  }
  auto low = parse_uint(first), high = parse_uint(last);
  if (!low || !high || *low < 1 || *high > 65535 || *low > *high) return bad();
  std::vector<ContainerPort> ports;
  for (uint64_t number = *low; number <= *high; ++number) ports.push_back({static_cast<int>(number), protocol});
  return ports;
}

Result<> check_resource_values(const spec::HostConfig& host, const HostFacts& facts) {
  constexpr int64_t kMinimumMemory = 6 << 20;
  if (host.memory != 0 && host.memory < kMinimumMemory)
    return fail(ErrorKind::kInvalid, "Minimum memory limit allowed is 6MB");
  if (host.memory_reservation < 0 || (host.memory_reservation > 0 && host.memory_reservation < kMinimumMemory))
    return fail(ErrorKind::kInvalid, "Minimum memory reservation allowed is 6MB");
  if (host.memory > 0 && host.memory_reservation > host.memory)
    return fail(ErrorKind::kInvalid, "Minimum memory limit can not be less than memory reservation limit, see usage");
  if (host.memory_swappiness && (*host.memory_swappiness < -1 || *host.memory_swappiness > 100))
    return fail(ErrorKind::kInvalid, "Invalid value: %lld, valid memory swappiness range is 0-100",
                static_cast<long long>(*host.memory_swappiness));
  if (host.nano_cpus != 0) {
    if (host.nano_cpus < 0 || host.nano_cpus > facts.cpus * 1000000000LL || host.nano_cpus < 10000000)
      return fail(ErrorKind::kInvalid, "range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available",
                  facts.cpus, facts.cpus);
    if (host.cpu_period > 0)
      return fail(ErrorKind::kInvalid, "Conflicting options: Nano CPUs and CPU Period cannot both be set");
    if (host.cpu_quota > 0)
      return fail(ErrorKind::kInvalid, "Conflicting options: Nano CPUs and CPU Quota cannot both be set");
  }
  if (host.cpu_realtime_period != 0 && host.cpu_realtime_runtime > host.cpu_realtime_period)
    return fail(ErrorKind::kInvalid, "cpu real-time runtime cannot be higher than cpu real-time period");
  if (host.cpu_period != 0 && (host.cpu_period < 1000 || host.cpu_period > 1000000))
    return fail(ErrorKind::kInvalid,
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  if (host.cpu_quota > 0 && host.cpu_quota < 1000)
    return fail(ErrorKind::kInvalid, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
  if (host.cpu_shares < 0)
    return fail(ErrorKind::kInvalid, "invalid CPU shares (%lld): value must be a positive integer",
                static_cast<long long>(host.cpu_shares));
  if (host.blkio_weight != 0 && (host.blkio_weight < 10 || host.blkio_weight > 1000))
    return fail(ErrorKind::kInvalid, "range of blkio weight is from 10 to 1000");
  return {};
}

namespace {

Result<> check_resources(spec::HostConfig& host, const HostFacts& facts, std::vector<std::string>& warnings) {
  TRY(check_resource_values(host, facts));
  TRY(fit_to_kernel(host, facts.kernel, warnings));
  if (host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory)
    return fail(ErrorKind::kInvalid, "Minimum memoryswap limit should be larger than memory limit, see usage");
  if (host.memory == 0 && host.memory_swap > 0)
    return fail(ErrorKind::kInvalid, "You should always set the Memory limit when using Memoryswap limit, see usage");
  if (host.memory > 0 && host.memory_swap == 0) host.memory_swap = host.memory * 2;
  if (host.shm_size < 0) return fail(ErrorKind::kInvalid, "SHM size can not be less than 0");
  if (!host.oom_policy.empty() && host.oom_policy != "process" && host.oom_policy != "group")
    return fail(ErrorKind::kInvalid, "invalid OOM policy '%s': must be 'process' or 'group'", host.oom_policy.c_str());
  if (host.oom_score_adj < -1000 || host.oom_score_adj > 1000)
    return fail(ErrorKind::kInvalid, "Invalid value %lld, range for oom score adj is [-1000, 1000]",
                static_cast<long long>(host.oom_score_adj));
  if (host.oom_kill_disable && *host.oom_kill_disable && host.memory == 0)
    warnings.push_back(
        "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running "
        "out of resources.");
  return {};
}

Result<> check_modes(spec::HostConfig& host, const HostFacts& facts) {
  auto one_of = [](const std::string& value, std::initializer_list<std::string_view> known) {
    return std::find(known.begin(), known.end(), value) != known.end();
  };
  if (host.network_mode.empty() || host.network_mode == "default") host.network_mode = "bridge";
  if (host.ipc_mode.empty()) host.ipc_mode = "private";
  if (!one_of(host.ipc_mode, {"private", "shareable", "host", "none"}) && !host.ipc_mode.starts_with("container:"))
    return fail(ErrorKind::kInvalid, "invalid IPC mode: %s", host.ipc_mode.c_str());
  if (!one_of(host.pid_mode, {"", "host", "private"}) && !host.pid_mode.starts_with("container:"))
    return fail(ErrorKind::kInvalid, "invalid PID mode: %s", host.pid_mode.c_str());
  if (!one_of(host.uts_mode, {"", "host"}))
    return fail(ErrorKind::kInvalid, "invalid UTS mode: %s", host.uts_mode.c_str());
  if (host.cgroupns_mode.empty()) host.cgroupns_mode = host.privileged && !facts.cgroup_v2 ? "host" : "private";
  if (!one_of(host.cgroupns_mode, {"private", "host"}))
    return fail(ErrorKind::kInvalid, "invalid cgroup namespace mode: %s", host.cgroupns_mode.c_str());
  if (!one_of(host.userns_mode, {"", "host"}))
    return fail(ErrorKind::kInvalid, "invalid user namespace mode: %s", host.userns_mode.c_str());
  if (!one_of(host.isolation, {"", "default"}))
    return fail(ErrorKind::kInvalid, "invalid isolation '%s' on linux", host.isolation.c_str());
  return {};
}

Result<> check_policies(const spec::HostConfig& host) {
  const std::string& restart = host.restart_policy.name;
  if (!restart.empty() && restart != "no" && restart != "always" && restart != "on-failure" &&
      restart != "unless-stopped")
    return fail(
        ErrorKind::kInvalid,
        "invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        restart.c_str());
  if (host.restart_policy.maximum_retry_count < 0)
    return fail(ErrorKind::kInvalid, "invalid restart policy: maximum retry count cannot be negative");
  if (host.restart_policy.maximum_retry_count > 0 && restart != "on-failure")
    return fail(ErrorKind::kInvalid, "invalid restart policy: maximum retry count can only be used with 'on-failure'%s",
                restart.empty() || restart == "no" ? "" : " policy");
  // Not of kind not-found: on this route clients take a 404 for a missing image and go and pull it.
  if (!host.volume_driver.empty() && host.volume_driver != "local")
    return fail(ErrorKind::kInvalid, "error looking up volume plugin %s: plugin \"%s\" not found",
                host.volume_driver.substr(0, 64).c_str(), host.volume_driver.substr(0, 64).c_str());
  for (const auto& [name, value] : host.storage_opt)
    if (name != "size") return fail(ErrorKind::kInvalid, "Unknown option %s", name.substr(0, 64).c_str());
  if (!host.runtime.empty() && host.runtime != "caisson" && host.runtime != "runc" &&
      host.runtime != "io.containerd.runc.v2")
    return fail(ErrorKind::kInvalid, "unknown or invalid runtime name: %s", host.runtime.c_str());
  return {};
}

Result<> check_health(const spec::ContainerConfig& config) {
  auto one_of = [](const std::string& value, std::initializer_list<std::string_view> known) {
    return std::find(known.begin(), known.end(), value) != known.end();
  };
  if (!config.healthcheck) return {};
  const auto& check = *config.healthcheck;
  if (!check.test.empty() && !one_of(check.test[0], {"", "NONE", "CMD", "CMD-SHELL"}))
    return fail(ErrorKind::kInvalid, "unknown type '%s' in Healthcheck (try 'CMD')",
                check.test[0].substr(0, 64).c_str());
  struct Time {
    const char* name;
    int64_t value;
  };
  for (auto [name, value] : {Time{"Interval", check.interval},
                             {"Timeout", check.timeout},
                             {"StartPeriod", check.start_period},
                             {"StartInterval", check.start_interval}})
    if (value != 0 && value < 1000000)
      return fail(ErrorKind::kInvalid, "%s in Healthcheck cannot be less than 1ms", name);
  if (check.retries < 0) return fail(ErrorKind::kInvalid, "Retries in Healthcheck cannot be negative");
  if (!one_of(check.on_failure, {"", "none", "kill", "restart", "stop"}))
    return fail(ErrorKind::kInvalid, "unknown action '%s' in Healthcheck: use none, kill, restart or stop",
                check.on_failure.substr(0, 64).c_str());
  return {};
}

}  // namespace

Result<> check_ports(spec::HostConfig& host, spec::ContainerConfig& config, std::vector<std::string>& warnings) {
  for (const auto& [text, unused] : config.exposed_ports) TRY(parse_container_ports(text));
  for (const auto& [text, bindings] : host.port_bindings) {
    auto ports = TRY(parse_container_ports(text));
    if (ports.size() != 1) return fail(ErrorKind::kInvalid, "invalid port specification: \"%s\"", text.c_str());
    config.exposed_ports.try_emplace(text);
    if (!bindings) continue;
    for (const auto& binding : *bindings) {
      if (binding.host_port.empty()) continue;
      auto range = split_once(binding.host_port, '-');
      auto low = parse_uint(range ? range->first : binding.host_port),
           high = parse_uint(range ? range->second : binding.host_port);
      if (!low || !high || *high > 65535 || *low > *high)
        return fail(ErrorKind::kInvalid, "invalid port specification: \"%s\"", binding.host_port.c_str());
    }
  }
  compress_ports(host.port_bindings);
  compress_exposed(config.exposed_ports);
  if (host.port_bindings.size() > kMaxPublishedRanges)
    return fail(ErrorKind::kInvalid, "%zu published ports or ranges of ports, there can be %zu",
                host.port_bindings.size(), kMaxPublishedRanges);
  bool shared = host.network_mode == "host" || host.network_mode == "none" ||
                host.network_mode.starts_with("container:") || host.network_mode.starts_with("ns:");
  if (shared && !host.port_bindings.empty()) {
    warnings.push_back("Published ports are discarded when using " + host.network_mode + " network mode");
  }
  return {};
}

namespace {

// The engine's options count for containers with the engine's driver, whether they name it or not.
Result<> take_log_defaults(spec::HostConfig& host, const spec::ContainerConfig& config, const HostFacts& facts) {
  auto& log = host.log_config;
  if (log.type.empty()) log.type = facts.log_driver;
  if (log.type == facts.log_driver)
    for (const auto& [key, value] : facts.log_options) log.config.try_emplace(key, value);
  TRY(logs::make_config(log.type, log.config, {"", "", "", "", &config.labels, &config.env}));
  return {};
}

bool is_user_network(const std::string& name) {
  return !name.empty() && name != "default" && name != "bridge" && name != "host" && name != "none" &&
         !name.starts_with("container:") && !name.starts_with("ns:");
}

Result<> check_endpoint(const std::string& network, const spec::EndpointSettings& endpoint) {
  std::vector<std::string> problems;
  const auto* ipam = endpoint.ipam_config ? &*endpoint.ipam_config : nullptr;
  bool user_network = is_user_network(network);
  if (ipam && (!ipam->ipv4_address.empty() || !ipam->ipv6_address.empty()) && !user_network)
    problems.push_back("user specified IP address is supported on user defined networks only");
  if (!endpoint.aliases.empty() && !user_network)
    problems.push_back("network-scoped alias is supported only for containers in user defined networks");
  if (ipam)
    for (const auto& address : ipam->link_local_ips)
      if (!is_link_local(address)) problems.push_back("invalid link-local IP address: " + address.substr(0, 64));
  if (problems.empty()) return {};
  std::string shown = network == "default" ? "bridge" : network;
  return fail(ErrorKind::kInvalid, "invalid config for network %s: invalid endpoint settings:\n%s", shown.c_str(),
              join(problems, "\n").c_str());
}

// A container in another's network has nothing of its own there.
Result<> check_shared_network(const spec::ContainerConfig& config, const spec::HostConfig& host) {
  auto conflict = [](const char* what) {
    return fail(ErrorKind::kInvalid, "conflicting options: %s the network mode", what);
  };
  if (host.network_mode == "container:")
    return fail(ErrorKind::kInvalid, "Invalid network mode: invalid container format container:<name|id>");
  if (!config.hostname.empty()) return conflict("hostname and");
  if (!host.links.empty())
    return fail(ErrorKind::kInvalid,
                "conflicting options: container type network can't be used with links. This would result in undefined "
                "behavior");
  if (!host.dns.empty()) return conflict("dns and");
  if (!host.extra_hosts.empty()) return conflict("custom host-to-IP mapping and");
  if (!config.mac_address.empty()) return conflict("mac-address and");
  if (!host.port_bindings.empty() || host.publish_all_ports)
    return fail(ErrorKind::kInvalid, "conflicting options: port publishing and the container type network mode");
  if (!config.exposed_ports.empty())
    return fail(ErrorKind::kInvalid, "conflicting options: port exposing and the container type network mode");
  return {};
}

}  // namespace

bool is_link_local(const std::string& address) {
  in_addr four{};
  in6_addr six{};
  if (inet_pton(AF_INET, address.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 16) == 0xa9fe;
  return inet_pton(AF_INET6, address.c_str(), &six) == 1 && IN6_IS_ADDR_LINKLOCAL(&six);
}

Result<> check_request(const spec::ContainerConfig& config, const spec::HostConfig& host,
                       const spec::NetworkingConfig& networking) {
  if (host.network_mode.starts_with("container:")) TRY(check_shared_network(config, host));
  if (host.network_mode.starts_with("ns:") && !host.network_mode.starts_with("ns:/"))
    return fail(ErrorKind::kInvalid, "invalid network mode: %s: ns: is followed by the whole path of a namespace",
                quoted(host.network_mode.substr(0, 80)).c_str());
  if (host.network_mode.starts_with("ns:") && !host.links.empty())
    return fail(ErrorKind::kInvalid, "conflicting options: links and a network namespace that is joined by its path");
  if (host.uts_mode == "host" && !config.hostname.empty())
    return fail(ErrorKind::kInvalid, "conflicting options: hostname and the UTS mode");
  if (host.network_mode == "host" && !host.links.empty())
    return fail(ErrorKind::kInvalid,
                "conflicting options: host type networking can't be used with links. This would result in undefined "
                "behavior");
  if (host.annotations.contains(""))
    return fail(ErrorKind::kInvalid, "invalid Annotation: the empty string is not permitted as an annotation key");
  for (const auto& [network, endpoint] : networking.endpoints)
    if (endpoint) TRY(check_endpoint(network, *endpoint));
  return {};
}

Result<int64_t> storage_size(const spec::HostConfig& host) {
  auto found = host.storage_opt.find("size");
  if (found == host.storage_opt.end()) return 0;
  const std::string& text = found->second;
  size_t digits = text.find_first_not_of("0123456789");
  auto number = parse_uint(text.substr(0, digits));
  std::string unit = digits == text.npos ? "" : to_lower(std::string_view(text).substr(digits));
  for (char tail : {'b', 'i'})
    if (unit.ends_with(tail)) unit.pop_back();
  static constexpr std::string_view kUnits = "kmgtp";
  size_t at = unit.empty() ? 0 : kUnits.find(unit) + 1;
  if (!number || *number == 0 || unit.size() > 1 || (!unit.empty() && at == 0) ||
      *number > (uint64_t{1} << 60) >> (10 * at))
    return fail(ErrorKind::kInvalid, "invalid size: '%s'", text.substr(0, 64).c_str());
  return static_cast<int64_t>(*number << (10 * at));
}

Result<> normalise_host_config(spec::HostConfig& host, spec::ContainerConfig& config, const HostFacts& facts,
                               std::vector<std::string>& warnings) {
  TRY(check_modes(host, facts));
  TRY(check_isolation(host, facts.cgroup_v2));
  TRY(check_resources(host, facts, warnings));
  if (host.memory_swappiness == -1) host.memory_swappiness.reset();  // how clients say that they do not say
  TRY(check_policies(host));
  if (TRY(storage_size(host)) > 0 && !facts.quota_problem.empty())
    return fail(
        ErrorKind::kInternal,
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option or ext4 with 'prjquota': "
        "%s",
        facts.quota_problem.c_str());
  TRY(check_health(config));
  TRY(check_ports(host, config, warnings));
  TRY(runtime::resolve_capabilities(host.cap_add, host.cap_drop, host.privileged));
  if (host.auto_remove && !host.restart_policy.name.empty() && host.restart_policy.name != "no")
    return fail(ErrorKind::kInvalid, "can't create 'AutoRemove' container with restart policy");
  if (host.network_mode == "host" && config.hostname.empty()) config.hostname = facts.hostname;
  if (config.hostname.size() > 64)
    return fail(ErrorKind::kInvalid, "invalid hostname: '%s' is longer than 64 characters", config.hostname.c_str());
  for (const auto& entry : host.extra_hosts)
    if (entry.find(':') == std::string::npos)
      return fail(ErrorKind::kInvalid, "bad format for add-host: \"%s\"", entry.c_str());
  if (host.shm_size == 0) host.shm_size = 64 << 20;
  TRY(take_log_defaults(host, config, facts));
  if (host.restart_policy.name.empty()) host.restart_policy.name = "no";
  if (host.runtime.empty()) host.runtime = "caisson";
  if (host.console_size.empty()) host.console_size = {0, 0};
  if (!host.masked_paths)
    host.masked_paths = host.privileged ? std::vector<std::string>{} : runtime::default_masked_paths();
  if (!host.readonly_paths)
    host.readonly_paths = host.privileged ? std::vector<std::string>{} : runtime::default_readonly_paths();
  if (host.pids_limit && *host.pids_limit <= 0) host.pids_limit.reset();
  return {};
}

}  // namespace caisson::engine
