// SPDX-License-Identifier: Apache-2.0
#include "cli/info_text.h"

#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "base/text.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

// "Wed May  1 10:20:30 2024" of an RFC 3339 time; other texts as they are.
std::string build_time_text(const std::string& text) {
  auto ns = parse_rfc3339(text);
  if (!ns) return text;
  time_t seconds = static_cast<time_t>(*ns / 1000000000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char out[64];
  size_t size = strftime(out, sizeof out, "%a %b %e %H:%M:%S %Y", &parts);
  return {out, size};
}

#if defined(__x86_64__)
constexpr const char* kArch = "amd64";
#elif defined(__aarch64__)
constexpr const char* kArch = "arm64";
#else
constexpr const char* kArch = "unknown";
#endif

std::string padded(const std::string& label, size_t width) {
  return label + std::string(label.size() < width ? width - label.size() : 0, ' ');
}

void field(std::string& out, const char* label, const std::string& value) {
  out += " " + padded(std::string(label) + ":", 19) + value + "\n";
}

void detail(std::string& out, const std::string& label, const std::string& value) {
  out += "  " + padded(label + ":", 18) + value + "\n";
}

}  // namespace

JsonValue version_value(const App& app, const JsonValue& server) {
  JsonValue client = JsonValue::object();
  client.set("Version", kVersion);
  client.set("ApiVersion", kApiVersion);
  client.set("DefaultAPIVersion", kApiVersion);
  client.set("Os", "linux");
  client.set("Arch", kArch);
  client.set("Context", app.options.context.empty() ? "default" : app.options.context);
  JsonValue all = JsonValue::object();
  all.set("Client", client);
  JsonValue copy = server;
  if (copy.is_object()) {
    JsonValue components = JsonValue::array();
    for (JsonValue component : copy.at("Components").items()) {
      if (component.at("Details", "BuildTime").is_string()) {
        JsonValue details = component.at("Details");
        details.set("BuildTime", build_time_text(details.at("BuildTime").text()));
        component.set("Details", details);
      }
      components.push(component);
    }
    copy.set("Components", components);
  }
  all.set("Server", copy);
  return all;
}

std::string version_text(const JsonValue& all) {
  const JsonValue &client = all.at("Client"), &server = all.at("Server");
  std::string out = "Client:\n";
  field(out, "Version", client.at("Version").text());
  field(out, "API version", client.at("ApiVersion").text());
  field(out, "OS/Arch", client.at("Os").text() + "/" + client.at("Arch").text());
  field(out, "Context", client.at("Context").text());
  if (server.is_null()) return out;
  const std::string& platform = server.at("Platform", "Name").text();
  out += "\nServer:" + (platform.empty() ? "" : " " + platform) + "\n";
  for (const JsonValue& component : server.at("Components").items()) {
    const JsonValue& details = component.at("Details");
    out += " " + component.at("Name").text() + ":\n";
    detail(out, "Version", component.at("Version").text());
    if (component.at("Name").text() == "Engine") {
      std::string api = details.at("ApiVersion").text();
      if (const std::string& least = details.at("MinAPIVersion").text(); !least.empty())
        api += " (minimum version " + least + ")";
      detail(out, "API version", api);
      if (!details.at("GoVersion").text().empty()) detail(out, "Go version", details.at("GoVersion").text());
      detail(out, "Git commit", details.at("GitCommit").text());
      detail(out, "Built", details.at("BuildTime").text());
      detail(out, "OS/Arch", details.at("Os").text() + "/" + details.at("Arch").text());
      detail(out, "Experimental", details.at("Experimental").text());
      continue;
    }
    for (const auto& [name, value] : details.members()) detail(out, name, value.text());
  }
  return out;
}

JsonValue client_info(const App& app) {
  JsonValue out = JsonValue::object();
  out.set("Debug", app.options.debug);
  out.set("Version", kVersion);
  out.set("Context", app.options.context.empty() ? "default" : app.options.context);
  out.set("Plugins", JsonValue::array());
  out.set("Warnings", JsonValue());
  return out;
}

namespace {

std::string names(const JsonValue& list) {
  std::vector<std::string> out;
  for (const JsonValue& item : list.items()) out.push_back(item.text());
  return join(out, " ");
}

class InfoText {
 public:
  void line(const std::string& label, const std::string& value) { out += " " + label + ": " + value + "\n"; }
  void text(const char* label, const JsonValue& value) {
    if (!value.text().empty()) line(label, value.text());
  }
  void yes_no(const char* label, const JsonValue& value) { line(label, value.as_bool() ? "true" : "false"); }
  std::string out;
};

void storage(InfoText& out, const JsonValue& info) {
  out.line("Storage Driver", info.at("Driver").text());
  for (const JsonValue& pair : info.at("DriverStatus").items())
    if (pair.items().size() == 2) out.line(" " + pair.items()[0].text(), pair.items()[1].text());
}

void plugins(InfoText& out, const JsonValue& info) {
  out.out += " Plugins:\n";
  out.line(" Volume", names(info.at("Plugins", "Volume")));
  out.line(" Network", names(info.at("Plugins", "Network")));
  if (!info.at("Plugins", "Authorization").items().empty())
    out.line(" Authorization", names(info.at("Plugins", "Authorization")));
  out.line(" Log", names(info.at("Plugins", "Log")));
  if (!info.at("CDISpecDirs").items().empty()) {
    out.out += " CDI spec directories:\n";
    for (const JsonValue& item : info.at("CDISpecDirs").items()) out.out += "  " + item.text() + "\n";
  }
}

void security(InfoText& out, const JsonValue& info) {
  if (info.at("SecurityOptions").items().empty()) return;
  out.out += " Security Options:\n";
  for (const JsonValue& option : info.at("SecurityOptions").items()) {
    // "name=seccomp,profile=builtin"
    for (const std::string& part : split(option.text(), ',')) {
      auto pair = split_once(part, '=');
      if (!pair) continue;
      if (pair->first == "name")
        out.out += "  " + pair->second + "\n";
      else
        out.out += "   " + std::string(1, static_cast<char>(pair->first[0] & ~0x20)) + pair->first.substr(1) + ": " +
                   pair->second + "\n";
    }
  }
}

void registries(InfoText& out, const JsonValue& info) {
  const JsonValue& config = info.at("RegistryConfig");
  std::vector<std::string> insecure;
  for (const auto& [name, index] : config.at("IndexConfigs").members())
    if (!index.at("Secure").as_bool()) insecure.push_back(name);
  for (const JsonValue& range : config.at("InsecureRegistryCIDRs").items()) insecure.push_back(range.text());
  if (!insecure.empty()) {
    out.out += " Insecure Registries:\n";
    for (const std::string& name : insecure) out.out += "  " + name + "\n";
  }
  if (!config.at("Mirrors").items().empty()) {
    out.out += " Registry Mirrors:\n";
    for (const JsonValue& mirror : config.at("Mirrors").items()) out.out += "  " + mirror.text() + "\n";
  }
}

}  // namespace

std::string info_text(const JsonValue& info, bool has_server) {
  InfoText out;
  out.out = "Client:\n";
  out.out += " Version:    " + info.at("ClientInfo", "Version").text() + "\n";
  out.out += " Context:    " + info.at("ClientInfo", "Context").text() + "\n";
  out.out += std::string(" Debug Mode: ") + (info.at("ClientInfo", "Debug").as_bool() ? "true" : "false") + "\n";
  out.out += "\nServer:\n";
  if (!has_server) return out.out;
  out.line("Containers", info.at("Containers").text());
  out.line(" Running", info.at("ContainersRunning").text());
  out.line(" Paused", info.at("ContainersPaused").text());
  out.line(" Stopped", info.at("ContainersStopped").text());
  out.line("Images", info.at("Images").text());
  out.text("Server Version", info.at("ServerVersion"));
  storage(out, info);
  out.text("Logging Driver", info.at("LoggingDriver"));
  out.text("Cgroup Driver", info.at("CgroupDriver"));
  out.text("Cgroup Version", info.at("CgroupVersion"));
  plugins(out, info);
  out.line("Swarm", info.at("Swarm", "LocalNodeState").text());
  if (!info.at("Runtimes").members().empty()) {
    std::vector<std::string> runtimes;
    for (const auto& [name, runtime] : info.at("Runtimes").members()) runtimes.push_back(name);
    std::sort(runtimes.begin(), runtimes.end());
    out.line("Runtimes", join(runtimes, " "));
    out.line("Default Runtime", info.at("DefaultRuntime").text());
  }
  if (info.at("OSType").text() == "linux") {
    out.line("Init Binary", info.at("InitBinary").text());
    out.line("containerd version", info.at("ContainerdCommit", "ID").text());
    out.line("runc version", info.at("RuncCommit", "ID").text());
    out.line("init version", info.at("InitCommit", "ID").text());
    security(out, info);
  }
  out.text("Kernel Version", info.at("KernelVersion"));
  out.text("Operating System", info.at("OperatingSystem"));
  out.text("OSType", info.at("OSType"));
  out.text("Architecture", info.at("Architecture"));
  out.line("CPUs", info.at("NCPU").text());
  out.line("Total Memory", human_size_binary(info.at("MemTotal").as_double()));
  out.text("Name", info.at("Name"));
  out.text("ID", info.at("ID"));
  out.text("Docker Root Dir", info.at("DockerRootDir"));
  out.yes_no("Debug Mode", info.at("Debug"));
  out.text("HTTP Proxy", info.at("HttpProxy"));
  out.text("HTTPS Proxy", info.at("HttpsProxy"));
  out.text("No Proxy", info.at("NoProxy"));
  if (!info.at("Labels").items().empty()) {
    out.out += " Labels:\n";
    for (const JsonValue& label : info.at("Labels").items()) out.out += "  " + label.text() + "\n";
  }
  out.yes_no("Experimental", info.at("ExperimentalBuild"));
  registries(out, info);
  out.yes_no("Live Restore Enabled", info.at("LiveRestoreEnabled"));
  out.text("Product License", info.at("ProductLicense"));
  if (const JsonValue& pools = info.at("DefaultAddressPools"); !pools.items().empty()) {
    out.out += " Default Address Pools:\n";
    for (const JsonValue& pool : pools.items())
      out.out += "   Base: " + pool.at("Base").text() + ", Size: " + pool.at("Size").text() + "\n";
  }
  return out.out + "\n";
}

}  // namespace caisson::cli
