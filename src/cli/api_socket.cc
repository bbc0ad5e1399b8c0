// SPDX-License-Identifier: Apache-2.0
#include "cli/api_socket.h"

#include "base/bytes.h"
#include "sys/files.h"
#include "wire/tar_writer.h"

namespace caisson::cli {

namespace {

constexpr const char* kConfigDir = "run/secrets/docker";
class StringSink : public ByteSink {
 public:
  Result<> write(std::string_view data) override {
    text.append(data);
    return {};
  }
  std::string text;
};

constexpr std::string_view kUnix = "unix://";

// The "auths" of the user's configuration file, as a file of their own.
std::string credentials_of(const App& app) {
  auto text = sys::read_file(app.options.config_dir + "/config.json", 4 << 20);
  auto config = text ? JsonValue::parse(*text) : Result<JsonValue>(JsonValue::object());
  if (!config || config->at("auths").members().empty()) return "";
  JsonValue out = JsonValue::object();
  out.set("auths", config->at("auths"));
  return out.dump();
}

}  // namespace

Result<std::string> add_api_socket(const App& app, ContainerRequest& request) {
  const std::string& host = app.options.host_text;
  if (!host.starts_with(kUnix))
    return fail(ErrorKind::kInvalid,
                "flag --use-api-socket can only be used with unix sockets: docker endpoint %s incompatible",
                host.c_str());
  JsonValue mount = JsonValue::object(), mounts = request.host_config.at("Mounts"), env = request.config.at("Env");
  mount.set("Type", "bind");
  mount.set("Source", host.substr(kUnix.size()));
  mount.set("Target", "/var/run/docker.sock");
  if (!mounts.is_array()) mounts = JsonValue::array();
  mounts.push(mount);
  request.host_config.set("Mounts", mounts);
  for (const JsonValue& entry : env.items())
    // Whoever says where the file is knows what is in it.
    if (entry.text().starts_with("DOCKER_CONFIG=")) return std::string();
  std::string credentials = credentials_of(app);
  if (credentials.empty()) return credentials;
  if (!env.is_array()) env = JsonValue::array();
  env.push(std::string("DOCKER_CONFIG=/") + kConfigDir);
  request.config.set("Env", env);
  return credentials;
}

Result<> send_credentials(App& app, const std::string& container, const std::string& credentials) {
  if (credentials.empty()) return {};
  tar::Entry entry;
  entry.path = std::string(kConfigDir) + "/config.json";
  entry.mode = 0600;
  StringSink archive;
  tar::Writer writer(archive);
  TRY(writer.add(entry, credentials));
  TRY(writer.finish());
  http::Query query;
  query.add("path", "/");
  std::string path = "/containers/" + container + "/archive";
  http::Headers headers;
  headers.add("Content-Type", "application/x-tar");
  TRY(app.engine().open({.method = "PUT", .path = path, .query = query, .headers = headers, .body = archive.text}));
  return {};
}

}  // namespace caisson::cli
