// SPDX-License-Identifier: Apache-2.0
#include "api/version_shapes.h"

#include <functional>
#include <optional>
#include <span>

#include "base/text.h"
#include "wire/json.h"

namespace caisson::api {

namespace {

constexpr int kEver = 1000;

enum class Action : uint8_t {
  kAdd,     // the member with that value, where it is not there
  kSet,     // the member with that value, there or not
  kRemove,  // the member
  kCopy,    // the member, with the value of the one beside it that `value` names
  kFill,    // that value for an empty list, where the list beside it that `from` names is empty or filled, too
  kRename,  // that value where the member is the string `from`
};

// For versions from `first` to `last`, both included.
struct Rule {
  Shape shape;
  int first, last;
  Action action;
  const char* path;  // "A.B", "*" is each element of a list or object
  const char* value = "";
  const char* from = "";
};

// The public API version history, and where that is silent what Docker's engine does.
constexpr Rule kRules[] = {
    {Shape::kInfo, 0, 24, Action::kAdd, "ExecutionDriver", "\"<not supported>\""},
    {Shape::kInfo, 0, 38, Action::kRename, "KernelVersion", "\"<unknown>\"", "\"\""},
    {Shape::kInfo, 0, 38, Action::kRename, "OperatingSystem", "\"<unknown>\"", "\"\""},
    {Shape::kInfo, 0, 43, Action::kRemove, "Runtimes.*.status"},
    {Shape::kInfo, 0, 43, Action::kRemove, "CDISpecDirs"},
    {Shape::kInfo, 0, 45, Action::kRemove, "Containerd"},
    {Shape::kInfo, 0, 48, Action::kAdd, "RegistryConfig.AllowNondistributableArtifactsCIDRs", "null"},
    {Shape::kInfo, 0, 48, Action::kAdd, "RegistryConfig.AllowNondistributableArtifactsHostnames", "null"},
    {Shape::kInfo, 0, 48, Action::kCopy, "ContainerdCommit.Expected", "ID"},
    {Shape::kInfo, 0, 48, Action::kCopy, "RuncCommit.Expected", "ID"},
    {Shape::kInfo, 0, 48, Action::kCopy, "InitCommit.Expected", "ID"},
    {Shape::kInfo, 0, 48, Action::kRemove, "FirewallBackend"},
    {Shape::kInfo, 0, 49, Action::kAdd, "BridgeNfIptables", "false"},
    {Shape::kInfo, 0, 49, Action::kAdd, "BridgeNfIp6tables", "false"},
    {Shape::kInfo, 0, 49, Action::kRemove, "DiscoveredDevices"},

    {Shape::kImageSummary, 0, 42, Action::kFill, "*.RepoTags", "[\"<none>:<none>\"]", "RepoDigests"},
    {Shape::kImageSummary, 0, 42, Action::kFill, "*.RepoDigests", "[\"<none>@<none>\"]", "RepoTags"},
    {Shape::kImageSummary, 0, 43, Action::kCopy, "*.VirtualSize", "Size"},
    {Shape::kImageSummary, 0, 47, Action::kRemove, "*.Descriptor"},
    {Shape::kImageSummary, 0, 50, Action::kSet, "*.Containers", "-1"},

    {Shape::kImageInspect, 0, 43, Action::kCopy, "VirtualSize", "Size"},
    {Shape::kImageInspect, 0, 43, Action::kAdd, "Created", "\"0001-01-01T00:00:00Z\""},
    {Shape::kImageInspect, 0, 44, Action::kAdd, "Container", "\"\""},
    {Shape::kImageInspect, 0, 47, Action::kRemove, "Descriptor"},
    {Shape::kImageInspect, 0, 44, Action::kAdd, "ContainerConfig",
     R"({"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,)"
     R"("Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,)"
     R"("WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null})"},
    {Shape::kImageInspect, 0, kEver, Action::kAdd, "Config.User", "\"\""},
    {Shape::kImageInspect, 0, kEver, Action::kAdd, "Config.Env", "null"},
    {Shape::kImageInspect, 0, kEver, Action::kAdd, "Config.Cmd", "null"},
    {Shape::kImageInspect, 0, kEver, Action::kAdd, "Config.Volumes", "null"},
    {Shape::kImageInspect, 0, kEver, Action::kAdd, "Config.WorkingDir", "\"\""},
    {Shape::kImageInspect, 0, kEver, Action::kAdd, "Config.Entrypoint", "null"},
    {Shape::kImageInspect, 0, kEver, Action::kAdd, "Config.OnBuild", "null"},
    {Shape::kImageInspect, 0, kEver, Action::kAdd, "Config.Labels", "null"},
    // Of the container that a layer was made in, long ago: no words of the image.
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.Hostname", "\"\""},
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.Domainname", "\"\""},
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.AttachStdin", "false"},
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.AttachStdout", "false"},
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.AttachStderr", "false"},
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.Tty", "false"},
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.OpenStdin", "false"},
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.StdinOnce", "false"},
    {Shape::kImageInspect, 0, 49, Action::kSet, "Config.Image", "\"\""},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.Hostname"},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.Domainname"},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.AttachStdin"},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.AttachStdout"},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.AttachStderr"},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.Tty"},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.OpenStdin"},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.StdinOnce"},
    {Shape::kImageInspect, 50, kEver, Action::kRemove, "Config.Image"},
    {Shape::kImageInspect, 0, kEver, Action::kRemove, "Config.NetworkDisabled"},
    {Shape::kImageInspect, 0, kEver, Action::kRemove, "Config.MacAddress"},
    {Shape::kImageInspect, 0, kEver, Action::kRemove, "Config.StopTimeout"},

    {Shape::kContainerInspect, 0, 24, Action::kRename, "State.Status", "\"exited\"", "\"removing\""},
    {Shape::kContainerInspect, 0, 41, Action::kAdd, "HostConfig.KernelMemory", "0"},
    {Shape::kContainerInspect, 40, 41, Action::kAdd, "HostConfig.KernelMemoryTCP", "0"},

    {Shape::kContainerSummary, 0, 24, Action::kRename, "*.State", "\"exited\"", "\"removing\""},
    {Shape::kContainerSummary, 0, 45, Action::kRemove, "*.HostConfig.Annotations"},

    {Shape::kDiskUsage, 0, 41, Action::kAdd, "BuilderSize", "0"},
    {Shape::kDiskUsage, 0, 43, Action::kCopy, "Images.*.VirtualSize", "Size"},
};

using Change = std::function<std::optional<std::string>(std::optional<std::string_view> old)>;

// The object with one member changed, made or left out; what is no object stays as it is.
std::string with_member(std::string_view object, std::string_view name, const Change& change) {
  std::string out, key_here;
  json::Writer writer(out);
  json::Reader reader(object);
  if (reader.peek() != json::ValueType::kObject || !reader.begin_object()) return std::string(object);
  writer.begin_object();
  bool is_every = name == "*", seen = false;
  for (std::string_view key;;) {
    auto more = reader.next_key(key);
    if (!more || !*more) break;
    key_here.assign(key);
    auto old = reader.raw_value();
    if (!old) break;
    std::optional<std::string> value{std::string(*old)};
    if (is_every || key_here == name) {
      seen = true;
      value = change(*old);
    }
    if (!value) continue;
    writer.key(key_here);
    writer.raw(*value);
  }
  auto made = seen || is_every ? std::nullopt : change(std::nullopt);
  if (made) {
    writer.key(name);
    writer.raw(*made);
  }
  writer.end_object();
  return out;
}

std::string with_elements(std::string_view list, const Change& change) {
  std::string out;
  json::Writer writer(out);
  json::Reader reader(list);
  if (!reader.begin_array()) return std::string(list);
  writer.begin_array();
  for (;;) {
    auto more = reader.next_element();
    if (!more || !*more) break;
    auto old = reader.raw_value();
    if (!old) break;
    if (auto value = change(*old)) writer.raw(*value);
  }
  writer.end_array();
  return out;
}

std::string member_of(std::string_view object, std::string_view name) {
  std::string found = "null";
  with_member(object, name, [&](std::optional<std::string_view> old) -> std::optional<std::string> {
    if (old) found = *old;
    return std::nullopt;
  });
  return found;
}

std::string apply(const Rule& rule, std::span<const std::string> path, std::string_view text) {
  if (path.size() > 1) {
    Change deeper = [&](std::optional<std::string_view> old) -> std::optional<std::string> {
      if (!old) return std::nullopt;
      return apply(rule, path.subspan(1), *old);
    };
    bool is_list = path[0] == "*" && json::Reader(text).peek() == json::ValueType::kArray;
    return is_list ? with_elements(text, deeper) : with_member(text, path[0], deeper);
  }
  return with_member(text, path[0], [&](std::optional<std::string_view> old) -> std::optional<std::string> {
    std::optional<std::string> kept;
    if (old) kept = *old;
    switch (rule.action) {
      case Action::kAdd: return old ? kept : rule.value;
      case Action::kSet: return rule.value;
      case Action::kRemove: return std::nullopt;
      case Action::kCopy: return member_of(text, rule.value);
      case Action::kFill: {
        std::string beside = member_of(text, rule.from);
        bool alone = beside == "[]" || beside.starts_with("[\"<none>");
        return old && *old == "[]" && alone ? rule.value : kept;
      }
      case Action::kRename: return old && *old == rule.from ? rule.value : kept;
    }
    return kept;
  });
}

bool is_bridge_or_own(const std::string& mode) {
  return mode != "host" && mode != "none" && !mode.starts_with("container:") && !mode.starts_with("ns:");
}

using Endpoints = std::map<std::string, std::optional<spec::EndpointSettings>>;

// The settings of the network that the container's own address and sysctls are for.
Result<spec::EndpointSettings*> main_endpoint(int version, const std::string& mode, Endpoints& endpoints) {
  if (endpoints.empty()) endpoints[mode].emplace();
  auto found = version < 44 ? endpoints.begin() : endpoints.find(mode);
  if (found == endpoints.end())
    return fail(ErrorKind::kInvalid,
                "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match "
                "the identity of a network in NetworkSettings.Networks");
  if (!found->second) found->second.emplace();
  return &*found->second;
}

Result<> shape_mac_address(int version, spec::ContainerConfig& config, const std::string& mode, Endpoints& endpoints,
                           std::vector<std::string>& warnings) {
  if (config.mac_address.empty()) {
    if (version < 44)
      for (auto& [name, endpoint] : endpoints)
        if (endpoint) endpoint->mac_address.clear();
    return {};
  }
  if (!is_bridge_or_own(mode)) {
    if (version < 44) return fail(ErrorKind::kInvalid, "conflicting options: mac-address and the network mode");
  } else {
    auto* endpoint = TRY(main_endpoint(version, mode, endpoints));
    if (version >= 44 && !endpoint->mac_address.empty() && endpoint->mac_address != config.mac_address)
      return fail(ErrorKind::kInvalid,
                  "the container-wide MAC address must match the endpoint-specific MAC address for the main network, "
                  "or be left empty");
    endpoint->mac_address = config.mac_address;
  }
  if (version >= 44)
    warnings.push_back(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.");
  return {};
}

Result<> shape_mount(int version, spec::Mount& mount) {
  auto misplaced = [&](const char* options) {
    return fail(ErrorKind::kInvalid, "%s must not be specified on mount type \"%s\"", options,
                mount.type.substr(0, 64).c_str());
  };
  if (version < 42) {
    if (mount.type != "volume") mount.volume_options.reset();
    if (mount.type != "tmpfs") mount.tmpfs_options.reset();
    if (mount.bind_options) mount.bind_options->create_mountpoint = false;
  } else {
    if (mount.volume_options && mount.type != "volume") return misplaced("VolumeOptions");
    if (mount.bind_options && mount.type != "bind") return misplaced("BindOptions");
    if (mount.tmpfs_options && mount.type != "tmpfs") return misplaced("TmpfsOptions");
  }
  if (version < 40 && mount.bind_options) mount.bind_options->non_recursive = false;
  if (version < 44 && mount.type == "bind") {
    if (mount.bind_options && mount.bind_options->read_only_force_recursive)
      return fail(ErrorKind::kInvalid, "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
    if (mount.read_only) {
      if (!mount.bind_options) mount.bind_options.emplace();
      mount.bind_options->read_only_non_recursive = true;
    }
  }
  if (version < 45 && mount.volume_options && !mount.volume_options->subpath.empty())
    return fail(ErrorKind::kInvalid, "VolumeOptions.Subpath needs API v1.45 or newer");
  if (version < 48 && mount.type == "image")
    return fail(ErrorKind::kInvalid, "Mount type \"Image\" needs API v1.48 or newer");
  return {};
}

}  // namespace

std::string shape_answer(Shape shape, int version, std::string text) {
  for (const Rule& rule : kRules)
    if (rule.shape == shape && rule.first <= version && version <= rule.last)
      text = apply(rule, split(rule.path, '.'), text);
  return text;
}

Result<> shape_create(int version, bool cgroup_v2, spec::ContainerConfig& config, spec::CreateExtras& extras,
                      std::vector<std::string>& warnings) {
  auto& host = extras.host_config;
  auto& endpoints = extras.networking_config.endpoints;
  if (host.network_mode.empty() || host.network_mode == "default") {
    host.network_mode = "bridge";
    if (auto node = endpoints.extract("default")) {
      node.key() = "bridge";
      endpoints.insert(std::move(node));
    }
  }
  if (version < 25) host.auto_remove = false;
  if (version < 40 && host.ipc_mode.empty()) host.ipc_mode = "shareable";
  if (version < 41 && host.cgroupns_mode.empty() && !cgroup_v2) host.cgroupns_mode = "host";
  if (version < 42) host.console_size.clear();
  if (version < 43) host.annotations.clear();
  if (version < 44 && config.healthcheck) config.healthcheck->start_interval = 0;
  for (auto& mount : host.mounts) TRY(shape_mount(version, mount));
  if (version < 44 && endpoints.size() > 1) {
    std::vector<std::string> names;
    for (const auto& [name, settings] : endpoints) names.push_back(name);
    return fail(ErrorKind::kInvalid, "Container cannot be created with multiple network endpoints: %s",
                join(names, ", ").c_str());
  }
  if (version < 48)
    for (auto& [name, settings] : endpoints)
      if (settings) settings->gw_priority = 0;
  if (version >= 48 && !host.volume_driver.empty())
    for (const auto& mount : host.mounts) {
      if (mount.type != "volume" || (mount.volume_options && mount.volume_options->driver_config)) continue;
      warnings.push_back(
          "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use "
          "'--mount type=volume,volume-driver=...' instead");
      break;
    }
  if (version >= 48 && is_bridge_or_own(host.network_mode))
    for (const auto& [name, value] : host.sysctls) {
      auto words = split(name, '.');
      if (words.size() >= 5 && words[0] == "net" && words[3].starts_with("eth"))
        return fail(ErrorKind::kInvalid,
                    "interface specific sysctl setting \"%s\" must be supplied using driver option "
                    "'com.docker.network.endpoint.sysctls'",
                    name.substr(0, 128).c_str());
    }
  return shape_mac_address(version, config, host.network_mode, endpoints, warnings);
}

}  // namespace caisson::api
