// SPDX-License-Identifier: Apache-2.0
#include "cli/host.h"

#include "base/text.h"
#include "cli/context_store.h"
#include "cli/json_value.h"
#include "cli/ssh_transport.h"
#include "sys/files.h"

namespace caisson::cli {

std::string environment_value(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& entry : environment)
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name))
      return entry.substr(name.size() + 1);
  return {};
}

static Result<Host> parse_tcp(std::string_view text, std::string_view whole, bool tls) {
  Host host{.kind = Host::Kind::kTcp};
  size_t slash = text.find('/');
  if (slash != text.npos) host.base_path = std::string(text.substr(slash));
  while (host.base_path.ends_with('/')) host.base_path.pop_back();
  text = text.substr(0, slash);
  std::string_view port = tls ? "2376" : "2375";
  size_t colon = text.rfind(':');
  if (text.starts_with('[')) {
    size_t close = text.find(']');
    if (close == text.npos)
      return fail(ErrorKind::kInvalid, "invalid proto, expected tcp: %s", std::string(whole).c_str());
    host.name = std::string(text.substr(1, close - 1));
    if (close + 1 < text.size() && text[close + 1] == ':') port = text.substr(close + 2);
  } else if (colon != text.npos) {
    host.name = std::string(text.substr(0, colon));
    port = text.substr(colon + 1);
  } else {
    host.name = std::string(text);
  }
  if (host.name.empty()) host.name = "localhost";
  auto number = parse_uint(port);
  if (!number || *number == 0 || *number > 65535)
    return fail(ErrorKind::kInvalid, "invalid port in host %s", quoted(whole).c_str());
  host.port = static_cast<uint16_t>(*number);
  return host;
}

Result<Host> parse_host(std::string_view text, bool tls) {
  if (text.starts_with("unix://")) {
    text.remove_prefix(7);
    if (text.empty()) text = std::string_view(kDefaultHost).substr(7);
    return Host{.path = std::string(text)};
  }
  if (text.starts_with("tcp://")) return parse_tcp(text.substr(6), text, tls);
  if (text.starts_with("http://")) return parse_tcp(text.substr(7), text, tls);
  if (text.starts_with("ssh://")) return parse_ssh_host(text);
  for (std::string_view scheme : {"fd://", "npipe://", "https://"})
    if (text.starts_with(scheme))
      return fail(ErrorKind::kUnsupported, "hosts of the form %s are not supported", std::string(scheme).c_str());
  if (text.find("://") == text.npos && text.starts_with('/')) return Host{.path = std::string(text)};
  if (text.find("://") == text.npos && !text.empty()) return parse_tcp(text, text, tls);
  return fail(ErrorKind::kInvalid, "unable to parse docker host `%s`", std::string(text).c_str());
}

HostTls tls_of_flags(const GlobalOptions& options, const std::vector<std::string>& environment) {
  HostTls tls{.on = options.tls || options.tls_verify, .verify = options.tls_verify};
  if (!tls.on) return tls;
  std::string directory = environment_value(environment, "DOCKER_CERT_PATH");
  if (directory.empty()) directory = options.config_dir;
  auto choose = [&](const std::string& given, const char* name, bool must_exist) {
    if (!given.empty()) return given;
    std::string path = directory + "/" + name;
    return must_exist || sys::path_exists(path) ? path : std::string();
  };
  tls.ca = choose(options.tls_ca, "ca.pem", tls.verify);
  tls.certificate = choose(options.tls_cert, "cert.pem", false);
  tls.key = choose(options.tls_key, "key.pem", false);
  return tls;
}

static Result<> use_context(GlobalOptions& options, const std::string& name) {
  ContextStore store(options.config_dir);
  auto record = TRY_CTX(store.find(name), "Failed to initialize: unable to resolve docker endpoint");
  options.host_text = record.host();
  HostTls& tls = options.host_tls;
  for (const std::string& file : store.tls_names(name)) {
    std::string path = store.tls_dir(name) + "/docker/" + file;
    if (file == kTlsFiles[0]) tls.ca = path;
    if (file == kTlsFiles[1]) tls.certificate = path;
    if (file == kTlsFiles[2]) tls.key = path;
  }
  tls.on = record.skip_verify() || !tls.ca.empty() || !tls.certificate.empty();
  tls.verify = !record.skip_verify();
  return {};
}

Result<> choose_host(GlobalOptions& options, const std::vector<std::string>& environment) {
  auto env = [&](std::string_view name) { return environment_value(environment, name); };
  if (options.config_dir.empty()) options.config_dir = env("DOCKER_CONFIG");
  if (options.config_dir.empty()) options.config_dir = env("HOME") + "/.docker";
  if (!options.hosts.empty() && !options.context.empty())
    return fail(ErrorKind::kInvalid, "conflicting options: cannot specify both --host and --context");
  std::string context = options.context;
  if (!options.hosts.empty()) {
    options.host_text = options.hosts.back();
  } else if (context.empty()) {
    options.host_text = env("CAISSON_HOST");
    if (!options.host_text.empty())
      options.autostart = env("CAISSON_AUTOSTART") == "1";
    else
      options.host_text = env("DOCKER_HOST");
    if (options.host_text.empty()) context = env("DOCKER_CONTEXT");
    if (options.host_text.empty() && context.empty()) {
      std::string path = options.config_dir + "/config.json";
      if (auto text = sys::read_file(path, 4 << 20)) {
        if (auto config = JsonValue::parse(*text)) context = config->at("currentContext").text();
      }
    }
  }
  if (!env("DOCKER_TLS_VERIFY").empty()) options.tls_verify = true;
  bool named = options.host_text.empty() && !context.empty() && context != "default";
  options.context = named ? context : "default";
  if (named)
    TRY(use_context(options, context));
  else
    options.host_tls = tls_of_flags(options, environment);
  options.context = options.host_text.empty() || context.empty() ? "default" : context;
  if (options.host_text.empty()) {
    options.host_text = kDefaultHost;
    options.autostart = true;
  }
  return {};
}

}  // namespace caisson::cli
