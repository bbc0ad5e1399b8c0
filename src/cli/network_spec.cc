// SPDX-License-Identifier: Apache-2.0
#include "cli/network_spec.h"

#include <arpa/inet.h>

#include <map>

#include "base/text.h"
#include "cli/container_checks.h"
#include "cli/mount_spec.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

std::unexpected<Error> invalid(const std::string& text) { return fail(ErrorKind::kInvalid, "%s", text.c_str()); }

Result<> set_network_field(NetworkSpec& out, const std::string& key, const std::string& value) {
  auto ipam = [&](const char* name, JsonValue entry) {
    JsonValue config = out.endpoint.at("IPAMConfig");
    config.set(name, std::move(entry));
    out.endpoint.set("IPAMConfig", config);
  };
  auto append = [](const JsonValue& list, const std::string& item) {
    JsonValue copy = list.is_array() ? list : JsonValue::array();
    copy.push(item);
    return copy;
  };
  if (key == "name") {
    out.target = value;
  } else if (key == "alias") {
    out.endpoint.set("Aliases", append(out.endpoint.at("Aliases"), value));
  } else if (key == "ip") {
    ipam("IPv4Address", value);
  } else if (key == "ip6") {
    ipam("IPv6Address", value);
  } else if (key == "link-local-ip") {
    ipam("LinkLocalIPs", append(out.endpoint.at("IPAMConfig", "LinkLocalIPs"), value));
  } else if (key == "mac-address") {
    out.endpoint.set("MacAddress", value);
  } else if (key == "gw-priority") {
    auto number = parse_int(value);
    if (!number)
      return invalid("invalid gw-priority (" + value + "): strconv.Atoi: parsing " + go_quote(value) +
                     ": invalid syntax");
    out.endpoint.set("GwPriority", *number);
  } else if (key == "driver-opt") {
    auto pair = split_once(value, '=');
    if (!pair || pair->first.empty()) return invalid("invalid key value pair format in driver options");
    JsonValue options = out.endpoint.at("DriverOpts");
    options.set(to_lower(trim(pair->first)), trim(pair->second));
    out.endpoint.set("DriverOpts", options);
  } else {
    return invalid("invalid field key " + key);
  }
  return {};
}

struct Range {
  uint64_t first = 0, last = 0;
};

Result<Range> parse_range(std::string_view text) {
  auto number_error = [](std::string_view part) {
    bool digits = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    return invalid("strconv.ParseUint: parsing " + go_quote(part) +
                   (digits ? ": value out of range" : ": invalid syntax"));
  };
  if (text.empty()) return invalid("empty string specified for ports");
  auto pair = split_once(text, '-');
  std::string first_text = pair ? pair->first : std::string(text), last_text = pair ? pair->second : first_text;
  auto first = parse_uint(first_text), last = parse_uint(last_text);
  if (!first || *first > 65535) return number_error(first_text);
  if (!last || *last > 65535) return number_error(last_text);
  if (*last < *first) return invalid("invalid range specified for port: " + std::string(text));
  return Range{*first, *last};
}

struct ProtoPort {
  std::string port, proto;
};

ProtoPort split_proto(std::string_view text) {
  auto pair = split_once(text, '/');
  if (!pair || pair->second.empty()) return {pair ? pair->first : std::string(text), "tcp"};
  return {pair->first, to_lower(pair->second)};
}

}  // namespace

Result<NetworkSpec> parse_network(std::string_view text) {
  NetworkSpec out;
  size_t equals = text.find('=');
  bool long_form = equals != text.npos && equals > 0;
  for (size_t i = 0; long_form && i < equals; ++i)
    long_form = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') || text[i] == '-' ||
                text[i] == '_' || (text[i] >= '0' && text[i] <= '9');
  if (!long_form) {
    out.target = std::string(text);
    return out;
  }
  for (const std::string& field : split_fields(text)) {
    auto pair = split_once(field, '=');
    if (!pair || pair->first.empty()) return invalid("invalid field " + field);
    std::string key = to_lower(trim(pair->first)), value(trim(pair->second));
    TRY(set_network_field(out, key, key == "driver-opt" ? value : to_lower(value)));
  }
  if (out.target.empty()) return invalid("network name/id is not specified");
  return out;
}

Result<std::vector<PortBinding>> parse_publish(std::string_view given) {
  std::string text(given);
  if (text.find('=') != text.npos) {
    std::string published, target, protocol = "tcp";
    for (const std::string& field : split(text, ',')) {
      auto pair = split_once(field, '=');
      if (!pair || pair->first.empty())
        return invalid("invalid publish opts format (should be name=value but got '" + field + "')");
      if (pair->first == "published") published = pair->second;
      if (pair->first == "target") target = pair->second;
      if (pair->first == "protocol") protocol = pair->second;
    }
    text = published + ":" + target + "/" + protocol;
  }
  std::vector<std::string> parts = split(text, ':');
  std::string container = parts.back(), host_port, host_ip;
  parts.pop_back();
  if (!parts.empty()) {
    host_port = parts.back();
    parts.pop_back();
    host_ip = join(parts, ":");
  }
  auto [port, proto] = split_proto(container);
  if (port.empty()) return invalid("no port specified: " + text + "<empty>");
  if (host_ip.starts_with('[')) {
    if (!host_ip.ends_with(']'))
      return invalid("invalid IP address " + host_ip + ": address " + host_ip + ":: missing ']' in address");
    host_ip = host_ip.substr(1, host_ip.size() - 2);
  }
  if (!host_ip.empty() && !is_ip_address(host_ip)) return invalid("invalid IP address: " + host_ip);
  auto range = parse_range(port);
  if (!range) return invalid("invalid containerPort: " + port);
  Range host{};
  if (!host_port.empty()) {
    auto parsed = parse_range(host_port);
    if (!parsed) return invalid("invalid hostPort: " + host_port);
    host = *parsed;
  }
  uint64_t count = range->last - range->first + 1, host_count = host.last - host.first + 1;
  if (!host_port.empty() && count != host_count && count != 1)
    return invalid("invalid ranges specified for container and host Ports: " + port + " and " + host_port);
  if (proto != "tcp" && proto != "udp" && proto != "sctp") return invalid("invalid proto: " + proto);
  std::vector<PortBinding> out;
  for (uint64_t i = 0; i < count; ++i) {
    PortBinding binding{
        .container_port = format("%llu/%s", static_cast<unsigned long long>(range->first + i), proto.c_str()),
        .host_ip = host_ip,
        .host_port = ""};
    if (!host_port.empty()) {
      binding.host_port = std::to_string(host.first + i);
      if (count == 1 && host_count > 1) binding.host_port += "-" + std::to_string(host.last);
    }
    out.push_back(std::move(binding));
  }
  return out;
}

Result<JsonValue> port_map(const std::vector<std::string>& texts, bool container_port_alone) {
  std::vector<std::string> order;
  std::map<std::string, JsonValue> lists;
  for (const std::string& text : texts)
    for (PortBinding& binding : TRY(parse_publish(text))) {
      auto [list, added] = lists.try_emplace(binding.container_port, JsonValue::array());
      if (added) order.push_back(binding.container_port);
      if (container_port_alone && binding.host_port.empty() && binding.host_ip.empty()) continue;
      JsonValue entry = JsonValue::object();
      entry.set("HostIp", std::move(binding.host_ip));
      entry.set("HostPort", std::move(binding.host_port));
      list->second.push(std::move(entry));
    }
  JsonValue out = JsonValue::object();
  for (std::string& port : order) {
    auto list = lists.extract(port);
    out.append(std::move(port), std::move(list.mapped()));
  }
  return out;
}

Result<std::vector<std::string>> parse_expose(std::string_view text) {
  if (text.find(':') != text.npos) return invalid("invalid port format for --expose: " + std::string(text));
  auto [port, proto] = split_proto(text);
  auto range = parse_range(port);
  if (!range)
    return invalid("invalid range format for --expose: " + std::string(text) + ", error: " + range.error().message);
  std::vector<std::string> out;
  for (uint64_t i = range->first; i <= range->last; ++i) out.push_back(std::to_string(i) + "/" + proto);
  return out;
}

}  // namespace caisson::cli
