// SPDX-License-Identifier: Apache-2.0
#include "cli/pull.h"

#include "base/text.h"
#include "cli/json_value.h"
#include "cli/progress.h"
#include "spec/reference.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string base64url(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i += 3) {
    uint32_t group = 0;
    size_t count = std::min<size_t>(3, text.size() - i);
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? static_cast<unsigned char>(text[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string base64_decode(std::string_view text) {
  std::string out;
  uint32_t group = 0;
  int bits = 0;
  for (char c : text) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
    size_t value = kDigits.find(c);
    if (value == kDigits.npos) break;
    group = group << 6 | static_cast<uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(group >> bits & 255);
    }
  }
  return out;
}

}  // namespace

std::string registry_auth(const App& app, const std::string& domain) {
  auto text = sys::read_file(app.options.config_dir + "/config.json", 4 << 20);
  if (!text) return {};
  auto config = JsonValue::parse(*text);
  if (!config) return {};
  std::string key = domain == "docker.io" ? "https://index.docker.io/v1/" : domain;
  const JsonValue* entry = config->at("auths").find(key);
  if (!entry) {
    // Older files have the address with a scheme or a path.
    for (const auto& [name, value] : config->at("auths").members()) {
      std::string_view host = name;
      if (size_t scheme = host.find("://"); scheme != host.npos) host.remove_prefix(scheme + 3);
      if (host.substr(0, host.find('/')) == domain) entry = &value;
    }
  }
  if (!entry) return {};
  JsonValue auth = JsonValue::object();
  if (auto pair = split_once(base64_decode(entry->at("auth").text()), ':')) {
    auth.set("username", pair->first);
    auth.set("password", pair->second);
  }
  if (entry->at("identitytoken").is_string()) auth.set("identitytoken", entry->at("identitytoken"));
  auth.set("serveraddress", key);
  return base64url(auth.dump());
}

Result<> pull_image(App& app, const PullOptions& options, Output& out) {
  spec::Reference reference = TRY(options.all_tags ? spec::parse_reference(options.image)
                                                   : spec::parse_reference_with_default_tag(options.image));
  http::Query query;
  query.add("fromImage", reference.name());
  if (!options.platform.empty()) query.add("platform", options.platform);
  query.add("tag", reference.digest.empty() ? reference.tag : reference.digest);
  http::Headers headers;
  if (std::string auth = registry_auth(app, reference.domain); !auth.empty()) headers.add("X-Registry-Auth", auth);
  Engine::Stream stream =
      TRY(app.engine().open({.method = "POST", .path = "/images/create", .query = query, .headers = headers}));
  return show_progress(stream, out, options.quiet);
}

}  // namespace caisson::cli
