// SPDX-License-Identifier: Apache-2.0
#include "cli/auto_update.h"

#include <algorithm>

#include "cli/containers.h"

namespace caisson::cli {

namespace {

// Members of `own` that `theirs` does not have with the same value.
JsonValue members_beyond(const JsonValue& own, const JsonValue& theirs) {
  JsonValue out = JsonValue::object();
  for (const auto& [name, value] : own.members()) {
    const JsonValue* same = theirs.find(name);
    if (!same || same->dump() != value.dump()) out.append(name, value);
  }
  return out;
}

JsonValue items_beyond(const JsonValue& own, const JsonValue& theirs) {
  JsonValue out = JsonValue::array();
  for (const JsonValue& item : own.items()) {
    const auto& items = theirs.items();
    if (std::none_of(items.begin(), items.end(), [&](const JsonValue& other) { return other.text() == item.text(); }))
      out.push(item);
  }
  return out;
}

// Volumes that nobody named belong to the container all the same: its data is in them.
void keep_anonymous_volumes(const JsonValue& container, JsonValue& host) {
  JsonValue mounts = host.at("Mounts").is_array() ? host.at("Mounts") : JsonValue::array();
  auto is_named = [&](const std::string& target) {
    for (const JsonValue& mount : mounts.items())
      if (mount.at("Target").text() == target) return !mount.at("Source").text().empty();
    for (const JsonValue& bind : host.at("Binds").items())
      if ((bind.text() + ":").find(":" + target + ":") != std::string::npos) return true;
    return false;
  };
  JsonValue kept = JsonValue::array();
  for (const JsonValue& mount : container.at("Mounts").items()) {
    std::string target = mount.at("Destination").text();
    if (mount.at("Type").text() != "volume" || is_named(target)) continue;
    JsonValue one = JsonValue::object();
    one.set("Type", "volume");
    one.set("Source", mount.at("Name").text());
    one.set("Target", target);
    one.set("ReadOnly", !mount.at("RW").as_bool());
    kept.push(std::move(one));
  }
  for (const JsonValue& mount : mounts.items()) {
    const auto& items = kept.items();
    bool is_replaced = std::any_of(items.begin(), items.end(), [&](const JsonValue& one) {
      return one.at("Target").text() == mount.at("Target").text();
    });
    if (!is_replaced) kept.push(mount);
  }
  host.set("Mounts", std::move(kept));
}

JsonValue networks_of(const JsonValue& container) {
  std::string id = container.at("Id").text().substr(0, 12);
  JsonValue endpoints = JsonValue::object();
  for (const auto& [name, own] : container.at("NetworkSettings", "Networks").members()) {
    JsonValue endpoint = JsonValue::object();
    for (const char* member : {"IPAMConfig", "Links", "DriverOpts", "GwPriority"})
      if (const JsonValue* value = own.find(member); value && !value->is_null()) endpoint.set(member, *value);
    JsonValue aliases = JsonValue::array();
    for (const JsonValue& alias : own.at("Aliases").items())
      if (alias.text() != id) aliases.push(alias);
    if (!aliases.items().empty()) endpoint.set("Aliases", std::move(aliases));
    endpoints.append(name, std::move(endpoint));
  }
  JsonValue out = JsonValue::object();
  out.set("EndpointsConfig", std::move(endpoints));
  return out;
}

}  // namespace

JsonValue updated_config(const JsonValue& container, const JsonValue& image) {
  const JsonValue& old = container.at("Config");
  const JsonValue& theirs = image.at("Config");
  JsonValue config = JsonValue::object();
  for (const auto& [name, value] : old.members()) {
    const JsonValue* same = theirs.find(name);
    if (name == "Env")
      config.append(name, items_beyond(value, theirs.at("Env")));
    else if (name == "Labels" || name == "ExposedPorts" || name == "Volumes")
      config.append(name, members_beyond(value, theirs.at(name)));
    else if (name == "Cmd" && old.at("Entrypoint").dump() != theirs.at("Entrypoint").dump())
      config.append(name, value);  // an entry point of its own took the image's command away
    else if (!same || same->dump() != value.dump())
      config.append(name, value);
  }
  std::string host_name = old.at("Hostname").text();
  if (host_name == short_id(container.at("Id").text())) config.set("Hostname", "");
  config.set("MacAddress", "");
  JsonValue host = container.at("HostConfig");
  host.set("ContainerIDFile", "");
  keep_anonymous_volumes(container, host);
  std::string mode = host.at("NetworkMode").text();
  bool has_own = mode != "host" && mode != "none" && !mode.starts_with("container:") && !mode.starts_with("ns:");
  config.set("HostConfig", std::move(host));
  if (has_own) config.set("NetworkingConfig", networks_of(container));
  return config;
}

}  // namespace caisson::cli
