// SPDX-License-Identifier: Apache-2.0
#include "cli/client_config.h"

#include "base/text.h"
#include "sys/files.h"

namespace caisson::cli {

JsonValue client_config(const GlobalOptions& options) {
  if (auto text = sys::read_file(options.config_dir + "/config.json", 4 << 20))
    if (auto parsed = JsonValue::parse(*text); parsed && parsed->is_object()) return std::move(*parsed);
  return JsonValue::object();
}

std::string list_format(const App& app, const ParsedFlags& flags, const char* member) {
  std::string format(flags.text("format"));
  if (!format.empty() || (flags.find("quiet") && flags.on("quiet"))) return format;
  return client_config(app.options).at(member).text();
}

void add_proxies(const App& app, ContainerRequest& request) {
  struct Proxy {
    const char* member;
    const char* variable;
  };
  static constexpr Proxy kProxies[] = {{"httpProxy", "HTTP_PROXY"},
                                       {"httpsProxy", "HTTPS_PROXY"},
                                       {"noProxy", "NO_PROXY"},
                                       {"ftpProxy", "FTP_PROXY"},
                                       {"allProxy", "ALL_PROXY"}};
  JsonValue proxies = client_config(app.options).at("proxies");
  const JsonValue* own = proxies.find(app.options.host_text);
  const JsonValue& chosen = own ? *own : proxies.at("default");
  if (!chosen.is_object()) return;
  JsonValue env = request.config.at("Env").is_array() ? request.config.at("Env") : JsonValue::array();
  auto add = [&](const std::string& name, const std::string& value) {
    for (const JsonValue& entry : env.items())
      if (entry.text() == name || entry.text().starts_with(name + "=")) return;
    env.push(name + "=" + value);
  };
  for (const Proxy& proxy : kProxies) {
    const std::string& value = chosen.at(proxy.member).text();
    if (value.empty()) continue;
    add(proxy.variable, value);
    add(to_lower(proxy.variable), value);
  }
  if (!env.items().empty()) request.config.set("Env", env);
}

}  // namespace caisson::cli
