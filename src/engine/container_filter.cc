// SPDX-License-Identifier: Apache-2.0
#include "engine/container_filter.h"

#include <regex.h>

#include <algorithm>

#include "base/text.h"
#include "engine/create_rules.h"
#include "engine/inspect.h"
#include "engine/networks.h"
#include "wire/json.h"

namespace caisson::engine {

namespace {

constexpr size_t kMaxPattern = 256;

std::optional<bool> parse_flag(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (text == yes) return true;
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"})
    if (text == no) return false;
  return std::nullopt;
}

std::unexpected<Error> invalid_filter(const std::string& key, const std::string& value) {
  return fail(ErrorKind::kInvalid, "invalid filter '%s=%s'", key.substr(0, 64).c_str(), value.substr(0, 64).c_str());
}

Result<> check_value(const std::string& key, const std::string& value) {
  auto is_in = [&](std::initializer_list<std::string_view> known) {
    return std::find(known.begin(), known.end(), value) != known.end();
  };
  bool good = true;
  if (key == "status") good = is_in({"created", "restarting", "running", "removing", "paused", "exited", "dead"});
  if (key == "exited") good = parse_int(value).has_value();
  if (key == "is-task") good = parse_flag(value).has_value();
  if (key == "health" && !is_in({"starting", "healthy", "unhealthy", "none"}))
    return fail(ErrorKind::kInvalid, "unrecognized filter value for health: %s", value.substr(0, 64).c_str());
  return good ? Result<>{} : invalid_filter(key, value);
}

Result<> add_ports(const std::string& key, const std::string& value, std::set<std::string>& out) {
  if (value.find(':') != value.npos)
    return fail(ErrorKind::kInvalid, "filter for '%s' should not contain ':': %s", key.c_str(),
                value.substr(0, 64).c_str());
  auto ports = parse_container_ports(value);
  if (!ports)
    return fail(ErrorKind::kInvalid, "error while looking up for %s %s: %s", key.c_str(), value.substr(0, 64).c_str(),
                ports.error().message.c_str());
  for (const auto& port : *ports) out.insert(std::to_string(port.number) + "/" + port.protocol);
  return {};
}

std::string health_of(const ContainerRecord& record) { return record.health ? record.health->status : "none"; }

}  // namespace

bool text_matches(const std::string& text, const std::string& pattern) {
  bool is_plain = pattern.size() > kMaxPattern || pattern.find_first_of("{\\") != pattern.npos;
  regex_t compiled;
  if (is_plain || regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
    return text.find(pattern) != text.npos;
  bool found = regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
  regfree(&compiled);
  return found;
}

bool label_matches(const std::map<std::string, std::string>& labels, const std::string& wanted) {
  auto pair = split_once(wanted, '=');
  auto found = labels.find(pair ? pair->first : wanted);
  return found != labels.end() && (!pair || found->second == pair->second);
}

Result<FilterValues> parse_filters(const std::string& text, std::span<const std::string_view> known) {
  FilterValues out;
  if (text.empty()) return out;
  auto raw = json::decode<std::map<std::string, json::Raw>>(text);
  if (!raw) return fail(ErrorKind::kInvalid, "invalid filter: %s", raw.error().message.c_str());
  for (const auto& [key, value] : *raw) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      return fail(ErrorKind::kInvalid, "invalid filter '%s'", key.substr(0, 64).c_str());
    auto& values = out[key];
    if (auto list = json::decode<std::vector<std::string>>(value.text)) {
      values.insert(list->begin(), list->end());
    } else if (auto set = json::decode<std::map<std::string, bool>>(value.text)) {
      for (const auto& [entry, wanted] : *set)
        if (wanted) values.insert(entry);
    } else {
      return fail(ErrorKind::kInvalid, "invalid filter '%s': expected a list", key.substr(0, 64).c_str());
    }
    if (values.empty()) out.erase(key);
  }
  return out;
}

Result<ContainerFilter> ContainerFilter::parse(const std::string& text) {
  static constexpr std::string_view known[] = {"ancestor", "before",  "exited",    "expose", "health",
                                               "id",       "is-task", "isolation", "label",  "name",
                                               "network",  "publish", "since",     "status", "volume"};
  ContainerFilter filter;
  filter.values_ = TRY(parse_filters(text, known));
  for (const auto& [key, values] : filter.values_) {
    for (const auto& value : values) {
      TRY(check_value(key, value));
      if (key == "publish") TRY(add_ports(key, value, filter.ports_));
      if (key == "expose") TRY(add_ports(key, value, filter.exposed_));
    }
  }
  return filter;
}

Result<> ContainerFilter::resolve(const ContainerRegistry& containers, image::ImageStore& images) {
  for (const auto& [key, values] : values_) {
    for (const auto& value : values) {
      if (key == "before") before_ns_ = std::min(before_ns_, TRY(containers.find(value))->snapshot()->created_ns);
      if (key == "since") since_ns_ = std::max(since_ns_, TRY(containers.find(value))->snapshot()->created_ns);
      if (key == "ancestor")
        if (auto image = images.find(value)) image_ids_.insert(image->id);
    }
  }
  return {};
}

bool ContainerFilter::matches_one(const ContainerRecord& record, const std::string& key,
                                  const std::set<std::string>& values) const {
  auto any = [&](auto&& test) { return std::any_of(values.begin(), values.end(), test); };
  if (key == "status") return values.contains(record.status_text);
  if (key == "exited")
    return !record.running() && record.started_ns != 0 &&
           any([&](const std::string& v) { return parse_int(v) == record.exit_code; });
  if (key == "id") return any([&](const std::string& v) { return text_matches(record.id, v); });
  if (key == "name")
    return any([&](const std::string& v) {
      return text_matches("/" + record.name, v) || text_matches(record.name, v.starts_with('/') ? v.substr(1) : v);
    });
  if (key == "label")
    return std::all_of(values.begin(), values.end(),
                       [&](const std::string& v) { return label_matches(record.config.labels, v); });
  if (key == "ancestor") return image_ids_.contains(record.image_id);
  if (key == "before") return record.created_ns < before_ns_;
  if (key == "since") return record.created_ns > since_ns_;
  if (key == "network") {
    const std::string& mode = record.host_config.network_mode;
    if (values.contains(mode)) return true;
    for (const auto& [name, settings] : record.networking.endpoints)
      if (values.contains(name)) return true;
    return any([&](const std::string& v) {
      if (v.size() < 12) return false;
      if (network_id_of(mode).starts_with(v)) return true;
      return std::any_of(record.endpoints.begin(), record.endpoints.end(),
                         [&](const StoredEndpoint& endpoint) { return endpoint.network_id.starts_with(v); });
    });
  }
  if (key == "volume")
    return std::any_of(record.mounts.begin(), record.mounts.end(), [&](const spec::MountPoint& point) {
      return values.contains(point.destination) || values.contains(point.name.empty() ? point.source : point.name);
    });
  auto has_port = [](const auto& wanted, const auto& map) {
    return std::any_of(map.begin(), map.end(), [&](const auto& entry) {
      auto ports = parse_container_ports(entry.first);
      return ports && std::any_of(ports->begin(), ports->end(), [&](const ContainerPort& port) {
               return wanted.contains(std::to_string(port.number) + "/" + port.protocol);
             });
    });
  };
  if (key == "publish") return has_port(ports_, record.host_config.port_bindings);
  if (key == "expose") return has_port(exposed_, record.config.exposed_ports);
  if (key == "health") return values.contains(health_of(record));
  if (key == "is-task") return any([](const std::string& v) { return parse_flag(v) == false; });
  return true;  // isolation means nothing here
}

bool ContainerFilter::matches(const ContainerRecord& record) const {
  return std::all_of(values_.begin(), values_.end(),
                     [&](const auto& entry) { return matches_one(record, entry.first, entry.second); });
}

}  // namespace caisson::engine
