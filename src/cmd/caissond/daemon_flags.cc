// SPDX-License-Identifier: Apache-2.0
// Flags about the engine itself: where things lie, what it logs, names and registries.
#include "cmd/caissond/daemon_flags.h"
#include "base/text.h"

namespace caisson {

Result<bool> parse_bool(const std::string& value) {
  if (value == "true" || value == "1" || value.empty()) return true;
  if (value == "false" || value == "0") return false;
  return fail(ErrorKind::kInvalid, "expected true or false, got %s", quoted(value).c_str());
}

Result<> absolute_path(const std::string& value, std::string& target) {
  if (!value.starts_with('/'))
    return fail(ErrorKind::kInvalid, "expected an absolute path, got %s", quoted(value).c_str());
  target = value;
  while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  return {};
}

namespace {

constexpr Flag kFlags[] = {
    {"cgroup-parent", "cgroup-parent", "PATH", "Parent control group of all containers",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute_path(v, o.engine.cgroup_parent); }},
    {"config-file", nullptr, "FILE", "Configuration file (default /etc/caisson/daemon.json)",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute_path(v, o.config_file); }},
    {"data-root", "data-root", "DIR", "Images, containers and state (default /var/lib/caisson)",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute_path(v, o.engine.data_root); }},
    {"debug", "debug", nullptr, "Log what happens inside",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.debug = TRY(parse_bool(v));
       if (o.engine.debug) o.log_level = LogLevel::kDebug;
       return {};
     },
     FlagForm::kSingle, true},
    {"dns", "dns", "ADDRESS", "Name server of containers; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.dns.push_back(v);
       return {};
     },
     FlagForm::kList, false},
    {"dns-opt", "dns-opts", "OPTION", "Resolver option of containers; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.dns_options.push_back(v);
       return {};
     },
     FlagForm::kList, false},
    {"dns-search", "dns-search", "DOMAIN", "Search domain of containers; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.dns_search.push_back(v);
       return {};
     },
     FlagForm::kList, false},
    {"exec-root", "exec-root", "DIR", "Sockets and files of running containers (default /run/caisson)",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute_path(v, o.engine.exec_root); }},
    {"host", "hosts", "URL", "Where to listen: unix:///path or tcp://address:port; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.hosts.push_back(v);
       return {};
     },
     FlagForm::kList, false},
    {"hooks-dir", "hooks-dirs", "DIR", "Directory with hooks for containers (oci-hooks(5)); may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       return absolute_path(v, o.engine.hooks_dirs.emplace_back());
     },
     FlagForm::kList, false},
    {"insecure-registry", "insecure-registries", "HOST", "Registry reached without TLS; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.insecure_registries.push_back(v);
       return {};
     },
     FlagForm::kList, true},
    {"label", "labels", "KEY=VALUE", "Label of this engine; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.labels.push_back(v);
       return {};
     },
     FlagForm::kList, true},
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
     },
     FlagForm::kSingle, true},
    {"http-proxy", nullptr, "URL", "Proxy for http registries, instead of HTTP_PROXY",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.proxies["HTTP_PROXY"] = v;
       return {};
     }},
    {"https-proxy", nullptr, "URL", "Proxy for https registries, instead of HTTPS_PROXY",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.proxies["HTTPS_PROXY"] = v;
       return {};
     }},
    {"no-proxy", nullptr, "LIST", "Hosts, domains and networks that no proxy is for, instead of NO_PROXY",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.proxies["NO_PROXY"] = v;
       return {};
     }},
    {"proxies", "proxies", "KEY=VALUE", "The same for daemon.json: http-proxy, https-proxy, no-proxy",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto pair = split_once(v, '=');
       if (!pair || (pair->first != "http-proxy" && pair->first != "https-proxy" && pair->first != "no-proxy"))
         return fail(ErrorKind::kInvalid, "the keys are http-proxy, https-proxy and no-proxy, not %s",
                     quoted(v).c_str());
       std::string name;
       for (char c : pair->first) name += c == '-' ? '_' : static_cast<char>(c - 32);
       o.proxies.try_emplace(name, pair->second);
       return {};
     },
     FlagForm::kMap, false},
    {"log-opt", "log-opts", "KEY=VALUE", "Option of the default log driver; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto pair = split_once(v, '=');
       if (!pair || pair->first.empty())
         return fail(ErrorKind::kInvalid, "expected KEY=VALUE, got %s", quoted(v).c_str());
       o.engine.log_options[pair->first] = pair->second;
       return {};
     },
     FlagForm::kMap, false},
    {"pidfile", "pidfile", "FILE", "Write the process id there",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute_path(v, o.pidfile); }},
    {"registries-conf", "registries-conf", "FILE",
     "Mirrors, rewrites and blocks of registries (default /etc/caisson/registries.conf; see "
     "containers-registries.conf(5))",
     [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute_path(v, o.engine.registries_conf); },
     FlagForm::kSingle, true},
    {"registry-certs-dir", "registry-certs-dirs", "DIR",
     "Certificates for registries, DIR/host:port/*.crt, *.cert, *.key; may be repeated (default /etc/caisson/certs.d "
     "and /etc/docker/certs.d)",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       return absolute_path(v, o.engine.registry_certs_dirs.emplace_back());
     },
     FlagForm::kList, false},
    {"registry-mirror", "registry-mirrors", "URL", "Tried before Docker Hub for pulls; may be repeated",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (!v.starts_with("https://") && !v.starts_with("http://"))
         return fail(ErrorKind::kInvalid, "expected http://host or https://host, got %s", quoted(v).c_str());
       o.engine.registry_mirrors.push_back(v);
       return {};
     },
     FlagForm::kList, true},
    {"registry-timeout", "registry-timeout", "SECONDS", "Longest silence of a registry in a transfer (default 60)",
     [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto value = parse_uint(v);
       if (!value || *value < 1 || *value > 3600)
         return fail(ErrorKind::kInvalid, "expected 1 to 3600, got %s", quoted(v).c_str());
       o.engine.registry_timeout_s = static_cast<int>(*value);
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

}  // namespace

std::span<const Flag> core_flags() { return kFlags; }

std::vector<std::span<const Flag>> all_flags() {
  return {core_flags(), access_flags(), default_flags(), network_flags(), store_flags(), cni_flags(), transfer_flags()};
}

const Flag* find_flag(std::string_view name) {
  if (name == "D") name = "debug";
  if (name == "H") name = "host";
  if (name == "G") name = "group";
  if (name == "p") name = "pidfile";
  if (name == "l") name = "log-level";
  if (name == "s") name = "storage-driver";
  if (name == "v") name = "version";
  if (name == "h") name = "help";
  if (name == "b") name = "bridge";
  for (auto table : all_flags())
    for (const Flag& flag : table)
      if (name == flag.name) return &flag;
  return nullptr;
}

const Flag* find_key(std::string_view key) {
  if (key == "host-gateway-ip") key = "host-gateway-ips";  // as it was before there was IPv6
  for (auto table : all_flags())
    for (const Flag& flag : table)
      if (flag.key && key == flag.key) return &flag;
  return nullptr;
}

}  // namespace caisson
