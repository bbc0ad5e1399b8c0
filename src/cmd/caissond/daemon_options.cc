// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/daemon_options.h"

#include <set>

#include "base/text.h"
#include "logs/log_options.h"
#include "sys/files.h"
#include "wire/json.h"

namespace caisson {

namespace {

constexpr const char* kDefaultConfigFile = "/etc/caisson/daemon.json";
constexpr const char* kDefaultHost = "unix:///run/caisson/caisson.sock";

struct Flag {
  const char* name;
  const char* key;       // in daemon.json; nullptr: flag only
  const char* argument;  // nullptr: a switch
  const char* help;
  Result<> (*apply)(DaemonOptions& options, const std::string& value);
};

Result<bool> parse_bool(const std::string& value) {
  if (value == "true" || value == "1" || value.empty()) return true;
  if (value == "false" || value == "0") return false;
  return fail(ErrorKind::kInvalid, "expected true or false, got %s", quoted(value).c_str());
}

Result<> absolute(const std::string& value, std::string& target) {
  if (!value.starts_with('/'))
    return fail(ErrorKind::kInvalid, "expected an absolute path, got %s", quoted(value).c_str());
  target = value;
  while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  return {};
}

const Flag kFlags[] = {
    {"bip", "bip", "CIDR", "IPv4 address of the bridge, as 172.17.0.1/16",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.bridge_address = v;
       return {};
     }},
    {"bridge", "bridge", "NAME", "Name of the bridge interface (default caisson0)",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (v.empty() || v.size() > 15)
         return fail(ErrorKind::kInvalid, "an interface name has 1 to 15 characters, got %s", quoted(v).c_str());
       o.engine.bridge = v;
       return {};
     }},
    {"cgroup-parent", "cgroup-parent", "PATH", "Parent control group of all containers",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute(v, o.engine.cgroup_parent); }},
    {"config-file", nullptr, "FILE", "Configuration file (default /etc/caisson/daemon.json)",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute(v, o.config_file); }},
    {"data-root", "data-root", "DIR", "Images, containers and state (default /var/lib/caisson)",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute(v, o.engine.data_root); }},
    {"debug", "debug", nullptr, "Log what happens inside",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.debug = TRY(parse_bool(v));
       if (o.engine.debug) o.log_level = LogLevel::kDebug;
       return {};
     }},
    {"dns", "dns", "ADDRESS", "Name server of containers; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.dns.push_back(v);
       return {};
     }},
    {"dns-opt", "dns-opts", "OPTION", "Resolver option of containers; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.dns_options.push_back(v);
       return {};
     }},
    {"dns-search", "dns-search", "DOMAIN", "Search domain of containers; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.dns_search.push_back(v);
       return {};
     }},
    {"exec-root", "exec-root", "DIR", "Sockets and files of running containers (default /run/caisson)",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute(v, o.engine.exec_root); }},
    {"host", "hosts", "URL", "Where to listen: unix:///path or tcp://address:port; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.hosts.push_back(v);
       return {};
     }},
    {"insecure-registry", "insecure-registries", "HOST", "Registry reached without TLS; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.insecure_registries.push_back(v);
       return {};
     }},
    {"ip-masq", "ip-masq", nullptr, "Let containers reach other networks with the host's address (default true)",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.ip_masq = TRY(parse_bool(v));
       return {};
     }},
    {"label", "labels", "KEY=VALUE", "Label of this engine; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.labels.push_back(v);
       return {};
     }},
    {"log-driver", "log-driver", "NAME",
     "Where the output of containers goes that name no driver: local, json-file, journald, syslog or none (default "
     "local)",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.log_driver = v;
       return {};
     }},
    {"log-level", "log-level", "LEVEL", "debug, info, warn or error (default info)",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (v == "debug")
         o.log_level = LogLevel::kDebug;
       else if (v == "info")
         o.log_level = LogLevel::kInfo;
       else if (v == "warn")
         o.log_level = LogLevel::kWarn;
       else if (v == "error" || v == "fatal")
         o.log_level = LogLevel::kError;
       else
         return fail(ErrorKind::kInvalid, "invalid logging level: %s", quoted(v).c_str());
       return {};
     }},
    {"log-opt", "log-opts", "KEY=VALUE", "Option of the default log driver; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto pair = split_once(v, '=');
       if (!pair || pair->first.empty())
         return fail(ErrorKind::kInvalid, "expected KEY=VALUE, got %s", quoted(v).c_str());
       o.engine.log_options[pair->first] = pair->second;
       return {};
     }},
    {"mtu", "mtu", "BYTES", "MTU of the bridge (default 1500)",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto value = parse_uint(v);
       if (!value || *value < 68 || *value > 65535)
         return fail(ErrorKind::kInvalid, "expected 68 to 65535, got %s", quoted(v).c_str());
       o.engine.mtu = static_cast<int>(*value);
       return {};
     }},
    {"pidfile", "pidfile", "FILE", "Write the process id there",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute(v, o.pidfile); }},
    {"registry-mirror", "registry-mirrors", "URL", "Tried before Docker Hub for pulls; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (!v.starts_with("https://") && !v.starts_with("http://"))
         return fail(ErrorKind::kInvalid, "expected http://host or https://host, got %s", quoted(v).c_str());
       o.engine.registry_mirrors.push_back(v);
       return {};
     }},
    {"version", nullptr, nullptr, "Print the version and quit",
     [](DaemonOptions& o, const std::string&) -> Result<> {
       o.show_version = true;
       return {};
     }},
    {"help", nullptr, nullptr, "Print this and quit",
     [](DaemonOptions& o, const std::string&) -> Result<> {
       o.show_help = true;
       return {};
     }},
};

const Flag* find_flag(std::string_view name) {
  if (name == "D") name = "debug";
  if (name == "H") name = "host";
  if (name == "p") name = "pidfile";
  if (name == "l") name = "log-level";
  if (name == "v") name = "version";
  if (name == "h") name = "help";
  if (name == "b") name = "bridge";
  for (const auto& flag : kFlags)
    if (name == flag.name) return &flag;
  return nullptr;
}

Result<> apply_value(DaemonOptions& options, const Flag& flag, const json::Raw& value, const std::string& file) {
  std::string context = "'" + file + "': key '" + flag.key + "'";
  std::vector<std::string> values;
  if (auto list = json::decode<std::vector<std::string>>(value.text)) {
    values = *list;
  } else if (auto text = json::decode<std::string>(value.text)) {
    values = {*text};
  } else if (std::string_view(flag.name) == "log-opt") {
    // Docker takes strings only here, and says so.
    auto map = json::decode<std::map<std::string, std::string>>(value.text);
    if (!map) return fail(ErrorKind::kInvalid, "%s: expected an object of strings", context.c_str());
    for (const auto& [key, text_of_key] : *map) values.push_back(key + "=" + text_of_key);
  } else {
    values = {value.text};  // numbers and booleans as they stand
  }
  for (const auto& entry : values) TRY_CTX(flag.apply(options, entry), context);
  return {};
}

Result<> read_config_file(DaemonOptions& options, const std::set<std::string>& given) {
  bool asked = !options.config_file.empty();
  std::string file = asked ? options.config_file : kDefaultConfigFile;
  if (!asked && !sys::path_exists(file)) return {};
  std::string text = TRY_CTX(sys::read_file(file, 1 << 20), "reading the configuration");
  auto members = json::decode<std::map<std::string, json::Raw>>(text);
  if (!members) return fail(ErrorKind::kInvalid, "'%s': %s", file.c_str(), members.error().message.c_str());
  for (const auto& [key, value] : *members) {
    const Flag* found = nullptr;
    for (const auto& flag : kFlags)
      if (flag.key && key == flag.key) found = &flag;
    if (!found) return fail(ErrorKind::kInvalid, "'%s': key %s is not known", file.c_str(), quoted(key).c_str());
    if (given.contains(found->name) && key != "hosts")
      return fail(ErrorKind::kInvalid, "'%s': key '%s' is also given as the flag --%s; use one of them", file.c_str(),
                  key.c_str(), found->name);
    if (given.contains(found->name) && key == "hosts")
      return fail(ErrorKind::kInvalid, "'%s': key 'hosts' is also given as the flag --host; use one of them",
                  file.c_str());
    TRY(apply_value(options, *found, value, file));
  }
  return {};
}

}  // namespace

std::string daemon_help() {
  std::string out = "Usage:  caissond [OPTIONS]\n\nA small container engine with Docker's API.\n\nOptions:\n";
  for (const auto& flag : kFlags) {
    std::string left = std::string("--") + flag.name + (flag.argument ? std::string(" ") + flag.argument : "");
    out += format("  %-32s %s\n", left.c_str(), flag.help);
  }
  return out;
}

Result<DaemonOptions> parse_daemon_options(int argc, char** argv) {
  DaemonOptions options;
  std::set<std::string> given;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (!word.starts_with('-') || word == "-" || word == "--")
      return fail(ErrorKind::kInvalid, "unexpected argument %s", quoted(word).c_str());
    std::string name = word.substr(word.starts_with("--") ? 2 : 1), value;
    bool has_value = false;
    if (auto pair = split_once(name, '=')) {
      name = pair->first;
      value = pair->second;
      has_value = true;
    }
    const Flag* flag = find_flag(name);
    if (!flag) return fail(ErrorKind::kInvalid, "unknown flag: --%s", name.substr(0, 64).c_str());
    if (flag->argument && !has_value) {
      if (i + 1 >= argc) return fail(ErrorKind::kInvalid, "flag needs an argument: --%s", flag->name);
      value = argv[++i];
    }
    given.insert(flag->name);
    TRY_CTX(flag->apply(options, value), std::string("flag --") + flag->name);
  }
  if (options.show_help || options.show_version) return options;
  TRY(read_config_file(options, given));
  TRY_CTX(logs::make_config(options.engine.log_driver, options.engine.log_options, {}), "the default log driver");
  if (options.engine.hosts.empty()) options.engine.hosts.push_back(kDefaultHost);
  options.engine.program_dir = TRY(sys::program_dir());
  return options;
}

}  // namespace caisson
