// SPDX-License-Identifier: Apache-2.0
// The flags of `run` and `create` as the body of the create request. Members at their default are left
// out: the engine knows them, and the body is parsed on every start of a container.
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "cli/container_checks.h"
#include "cli/container_flags.h"
#include "cli/env_file.h"
#include "cli/host_config.h"
#include "cli/network_spec.h"
#include "cli/units.h"
#include "spec/reference.h"

namespace caisson::cli {

std::string ContainerRequest::body() const {
  JsonValue out = config;
  out.set("HostConfig", host_config);
  JsonValue network = JsonValue::object();
  network.set("EndpointsConfig", networking);
  out.set("NetworkingConfig", network);
  return out.dump();
}

namespace {

std::unexpected<Error> invalid(const std::string& text) { return fail(ErrorKind::kInvalid, "%s", text.c_str()); }

void set_text(JsonValue& out, const char* name, std::string_view value) {
  if (!value.empty()) out.set(name, value);
}

void set_attach(ContainerRequest& out, const ParsedFlags& flags) {
  std::vector<std::string> streams = flags.list("attach");
  for (std::string& stream : streams) stream = to_lower(stream);
  auto has = [&](const char* name) { return std::find(streams.begin(), streams.end(), name) != streams.end(); };
  out.tty = flags.on("tty");
  out.open_stdin = flags.on("interactive");
  out.attach_stdin = has("stdin") || out.open_stdin;
  out.attach_stdout = streams.empty() || has("stdout");
  out.attach_stderr = streams.empty() || has("stderr");
  if (flags.on("detach")) out.attach_stdin = out.attach_stdout = out.attach_stderr = false;
  JsonValue& config = out.config;
  config.set("AttachStdin", out.attach_stdin);
  config.set("AttachStdout", out.attach_stdout);
  config.set("AttachStderr", out.attach_stderr);
  if (out.tty) config.set("Tty", true);
  if (out.open_stdin) config.set("OpenStdin", true);
  if (out.open_stdin && out.attach_stdin) config.set("StdinOnce", true);
}

Result<> set_health(JsonValue& config, const ParsedFlags& flags) {
  struct Item {
    const char* flag;
    const char* member;
  };
  static constexpr Item kTimes[] = {{"health-interval", "Interval"},
                                    {"health-timeout", "Timeout"},
                                    {"health-start-period", "StartPeriod"},
                                    {"health-start-interval", "StartInterval"}};
  JsonValue health = JsonValue::object();
  if (std::string_view command = flags.text("health-cmd"); !command.empty())
    health.set("Test", std::vector<std::string>{"CMD-SHELL", std::string(command)});
  for (const Item& item : kTimes) {
    if (flags.text(item.flag).empty()) continue;
    int64_t ns = TRY(parse_duration(flags.text(item.flag)));
    if (ns < 0) return invalid(std::string("--") + item.flag + " cannot be negative");
    if (ns) health.set(item.member, ns);
  }
  if (int64_t retries = flags.integer("health-retries")) {
    if (retries < 0) return invalid("--health-retries cannot be negative");
    health.set("Retries", retries);
  }
  if (std::string_view action = flags.text("health-on-failure"); !action.empty())
    health.set("OnFailure", std::string(action));
  if (flags.on("no-healthcheck")) {
    if (!health.members().empty()) return invalid("--no-healthcheck conflicts with --health-* options");
    health.set("Test", std::vector<std::string>{"NONE"});
  }
  if (!health.members().empty()) config.set("Healthcheck", health);
  return {};
}

Result<> set_ports(ContainerRequest& out, const ParsedFlags& flags) {
  // Ranges may have thousands of ports: nothing here looks for one in a list.
  std::set<std::string> exposed;
  JsonValue bindings = TRY(port_map(flags.list("publish"), false));
  for (const auto& [port, unused] : bindings.members()) exposed.insert(port);
  for (const std::string& text : flags.list("expose"))
    for (std::string& port : TRY(parse_expose(text))) exposed.insert(std::move(port));
  if (!exposed.empty()) {
    JsonValue ports = JsonValue::object();
    for (const std::string& port : exposed) ports.append(port, JsonValue::object());
    out.config.set("ExposedPorts", std::move(ports));
  }
  if (!bindings.members().empty()) out.host_config.set("PortBindings", std::move(bindings));
  return {};
}

Result<> set_networks(ContainerRequest& out, const ParsedFlags& flags) {
  std::vector<NetworkSpec> networks;
  for (const std::string& text : flags.list("network")) networks.push_back(TRY(parse_network(text)));
  if (networks.empty()) networks.push_back({.target = "default"});
  NetworkSpec& first = networks.front();
  out.host_config.set("NetworkMode", first.target);
  std::vector<std::string> aliases = flags.list("network-alias"), links = flags.list("link"),
                           local = flags.list("link-local-ip");
  bool user_defined = first.target != "default" && first.target != "bridge" && first.target != "host" &&
                      first.target != "none" && !first.target.starts_with("container:") &&
                      !first.target.starts_with("ns:");
  JsonValue ipam = first.endpoint.at("IPAMConfig");
  auto conflict = [](const char* flag, const char* what) {
    return invalid(std::string("conflicting options: cannot specify both --") + flag + " and per-network " + what);
  };
  if (!user_defined && (!aliases.empty() || first.endpoint.find("Aliases")))
    return invalid("network-scoped aliases are only supported for user-defined networks");
  if (!aliases.empty()) {
    if (first.endpoint.find("Aliases")) return conflict("network-alias", "alias");
    first.endpoint.set("Aliases", aliases);
  }
  if (!links.empty()) {
    out.host_config.set("Links", links);
    if (user_defined) first.endpoint.set("Links", links);
  }
  if (flags.changed("ip")) {
    if (ipam.find("IPv4Address")) return conflict("ip", "IPv4 address");
    ipam.set("IPv4Address", flags.text("ip"));
  }
  if (flags.changed("ip6")) {
    if (ipam.find("IPv6Address")) return conflict("ip6", "IPv6 address");
    ipam.set("IPv6Address", flags.text("ip6"));
  }
  if (!local.empty()) ipam.set("LinkLocalIPs", local);
  if (!ipam.members().empty()) first.endpoint.set("IPAMConfig", ipam);
  if (std::string_view mac = flags.text("mac-address"); !mac.empty()) {
    std::vector<std::string> parts = split(to_lower(mac), ':');
    bool good = parts.size() == 6 && std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
                  return part.size() == 2 && is_hex(part);
                });
    if (!good) return invalid(std::string(mac) + " is not a valid mac address");
    first.endpoint.set("MacAddress", mac);
  }
  for (const NetworkSpec& network : networks) {
    if (out.networking.find(network.target))
      return invalid("network \"" + network.target + "\" is specified multiple times");
    // The default network without options needs no entry: NetworkMode names it.
    if (networks.size() > 1 || !network.endpoint.members().empty() || user_defined)
      out.networking.set(network.target, network.endpoint);
  }
  return {};
}

Result<> set_config(ContainerRequest& out, const ParsedFlags& flags, const std::vector<std::string>& args,
                    const std::vector<std::string>& environment) {
  JsonValue& config = out.config;
  config.set("Image", out.image);
  set_text(config, "Hostname", flags.text("hostname"));
  set_text(config, "Domainname", flags.text("domainname"));
  set_text(config, "User", flags.text("user"));
  set_text(config, "WorkingDir", flags.text("workdir"));
  set_text(config, "StopSignal", flags.text("stop-signal"));
  if (flags.changed("stop-timeout")) config.set("StopTimeout", flags.integer("stop-timeout"));
  std::vector<std::string> env = TRY(read_env_files(flags.list("env-file"), environment));
  for (std::string& entry : resolve_env(flags.list("env"), environment)) env.push_back(std::move(entry));
  if (!env.empty()) config.set("Env", env);
  JsonValue labels = TRY(read_labels(flags.list("label-file"), flags.list("label")));
  if (!labels.members().empty()) config.set("Labels", labels);
  if (args.size() > 1) config.set("Cmd", std::vector<std::string>(args.begin() + 1, args.end()));
  if (flags.changed("entrypoint"))
    config.set("Entrypoint", std::vector<std::string>{std::string(flags.text("entrypoint"))});
  return set_health(config, flags);
}

}  // namespace

Result<ContainerRequest> parse_container(const ParsedFlags& flags, const std::vector<std::string>& args,
                                         const std::vector<std::string>& environment) {
  ContainerRequest out;
  out.image = args[0];
  out.name = flags.text("name");
  out.platform = flags.text("platform");
  if (out.platform.empty()) {
    for (const std::string& entry : environment)
      if (entry.starts_with("DOCKER_DEFAULT_PLATFORM=")) out.platform = entry.substr(24);
  }
  out.cid_file = flags.text("cidfile");
  out.pull = flags.text("pull");
  out.quiet = flags.on("quiet");
  out.use_api_socket = flags.on("use-api-socket");
  out.auto_remove = flags.on("rm");
  if (out.pull != "always" && out.pull != "missing" && out.pull != "never")
    return invalid("invalid pull option: '" + out.pull + "': must be one of \"always\", \"missing\" or \"never\"");
  set_attach(out, flags);
  char directory[4096];
  if (!getcwd(directory, sizeof directory)) return fail_errno("getcwd");
  TRY(set_host_config(out, flags, directory));
  TRY(set_ports(out, flags));
  TRY(set_config(out, flags, args, environment));
  TRY(set_networks(out, flags));
  // A name that is no reference may still be an image id, which the engine knows.
  if (!is_hex(out.image) || out.image.size() != 64) TRY(spec::parse_reference(out.image));
  return out;
}

}  // namespace caisson::cli
