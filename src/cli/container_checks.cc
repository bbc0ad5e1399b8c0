// SPDX-License-Identifier: Apache-2.0
#include "cli/container_checks.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/text.h"
#include "cli/mount_spec.h"
#include "cli/network_spec.h"
#include "cli/units.h"

namespace caisson::cli {

[[gnu::format(printf, 1, 2)]] static std::unexpected<Error> invalid(const char* format, ...) {
  va_list args;
  va_start(args, format);
  Error error{ErrorKind::kInvalid, 0, vformat(format, args)};
  va_end(args);
  return std::unexpected(std::move(error));
}

static std::string text_of(std::string_view value) { return std::string(value); }

bool is_ip_address(std::string_view text) {
  char buffer[16];
  std::string copy(text);
  return inet_pton(AF_INET, copy.c_str(), buffer) == 1 || inet_pton(AF_INET6, copy.c_str(), buffer) == 1;
}

Result<> check_attach(std::string_view value) {
  std::string stream = to_lower(value);
  if (stream == "stdin" || stream == "stdout" || stream == "stderr") return {};
  return invalid("valid streams are STDIN, STDOUT and STDERR");
}

Result<> check_add_host(std::string_view value) {
  size_t separator = value.find('=');
  if (separator == value.npos) separator = value.find(':');
  if (separator == value.npos || separator == 0) return invalid("bad format for add-host: %s", go_quote(value).c_str());
  std::string_view address = value.substr(separator + 1);
  if (address.empty()) return invalid("bad format for add-host: %s", go_quote(value).c_str());
  if (address == "host-gateway") return {};
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  if (!is_ip_address(address)) return invalid("invalid IP address in add-host: %s", go_quote(address).c_str());
  return {};
}

Result<JsonValue> parse_weight_device(std::string_view value) {
  auto parts = split_once(value, ':');
  if (!parts || parts->first.empty()) return invalid("bad format: %s", text_of(value).c_str());
  if (!parts->first.starts_with("/dev/")) return invalid("bad format for device path: %s", text_of(value).c_str());
  auto weight = parse_uint(parts->second);
  if (!weight || (*weight > 0 && (*weight < 10 || *weight > 1000)))
    return invalid("invalid weight for device: %s", text_of(value).c_str());
  JsonValue out = JsonValue::object();
  out.set("Path", parts->first);
  out.set("Weight", static_cast<int64_t>(*weight));
  return out;
}

Result<> check_weight_device(std::string_view value) {
  TRY(parse_weight_device(value));
  return {};
}

Result<JsonValue> parse_device_rate(std::string_view value, bool bytes) {
  auto parts = split_once(value, ':');
  if (!parts || parts->first.empty()) return invalid("bad format: %s", text_of(value).c_str());
  if (!parts->first.starts_with("/dev/")) return invalid("bad format for device path: %s", text_of(value).c_str());
  std::optional<uint64_t> rate;
  if (!bytes) {
    rate = parse_uint(parts->second);
  } else if (auto size = parse_bytes(parts->second)) {
    rate = static_cast<uint64_t>(*size);
  }
  if (!rate)
    return invalid(bytes
                       ? "invalid rate for device: %s. The correct format is <device-path>:<number>[<unit>]. Number "
                         "must be a positive integer. Unit is optional and can be kb, mb, or gb"
                       : "invalid rate for device: %s. The correct format is <device-path>:<number>. Number must be a "
                         "positive integer",
                   text_of(value).c_str());
  JsonValue out = JsonValue::object();
  out.set("Path", parts->first);
  out.set("Rate", static_cast<int64_t>(*rate));
  return out;
}

Result<> check_device_bps(std::string_view value) {
  TRY(parse_device_rate(value, true));
  return {};
}

Result<> check_device_iops(std::string_view value) {
  TRY(parse_device_rate(value, false));
  return {};
}

Result<> check_device_rule(std::string_view value) {
  // "a|b|c MAJOR:MINOR rwm", numbers or *
  std::vector<std::string> words = split(value, ' ');
  bool good = words.size() == 3 && words[0].size() == 1 && std::string_view("abc").contains(words[0][0]) &&
              !words[2].empty() && words[2].size() <= 3 && words[2].find_first_not_of("rwm") == words[2].npos;
  if (good) {
    auto numbers = split_once(words[1], ':');
    auto number = [](const std::string& text) { return text == "*" || parse_uint(text); };
    good = numbers && number(numbers->first) && number(numbers->second);
  }
  if (!good) return invalid("invalid device cgroup format '%s'", text_of(value).c_str());
  return {};
}

Result<> check_ip(std::string_view value) {
  if (!is_ip_address(trim(value))) return invalid("IP address is not correctly formatted: %s", text_of(value).c_str());
  return {};
}

Result<> check_dns_search(std::string_view value) {
  value = trim(value);
  if (value == ".") return {};
  bool letter = false;
  for (char c : value) {
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
          c == '_'))
      return invalid("%s is not a valid domain", text_of(value).c_str());
    letter = letter || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  }
  if (!letter || value.size() > 255) return invalid("%s is not a valid domain", text_of(value).c_str());
  return {};
}

Result<> check_env(std::string_view value) {
  if (value.empty() || value.starts_with('='))
    return invalid("invalid environment variable: %s", text_of(value).c_str());
  return {};
}

Result<> check_label(std::string_view value) {
  if (value.empty() || value.starts_with('=')) return invalid("invalid label '%s': empty name", text_of(value).c_str());
  return {};
}

Result<> check_link(std::string_view value) {
  if (value.empty()) return invalid("empty string specified for links");
  if (std::count(value.begin(), value.end(), ':') > 1)
    return invalid("bad format for links: %s", text_of(value).c_str());
  return {};
}

Result<> check_map(std::string_view) { return {}; }

Result<> check_sysctl(std::string_view value) {
  static constexpr std::string_view kNames[] = {"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                                "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                                "kernel.shmmni", "kernel.shm_rmid_forced"};
  auto pair = split_once(value, '=');
  if (pair) {
    for (std::string_view name : kNames)
      if (pair->first == name) return {};
    if (pair->first.starts_with("net.") || pair->first.starts_with("fs.mqueue.")) return {};
  }
  return invalid("sysctl '%s' is not allowed", text_of(value).c_str());
}

Result<JsonValue> parse_ulimit(std::string_view value) {
  static constexpr std::string_view kNames[] = {"core",    "cpu",      "data",   "fsize",      "locks",
                                                "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                                "rss",     "rtprio",   "rttime", "sigpending", "stack"};
  auto pair = split_once(value, '=');
  if (!pair) return invalid("invalid ulimit argument: %s", text_of(value).c_str());
  if (std::find(std::begin(kNames), std::end(kNames), pair->first) == std::end(kNames))
    return invalid("invalid ulimit type: %s", pair->first.c_str());
  std::vector<std::string> limits = split(pair->second, ':');
  if (limits.size() > 2)
    return invalid("too many limit value arguments - %s, can only have up to two, `soft[:hard]`", pair->second.c_str());
  auto soft = parse_int(limits[0]), hard = soft;
  if (limits.size() == 2) hard = parse_int(limits[1]);
  for (const std::string& limit : limits)
    if (!parse_int(limit)) return invalid("strconv.ParseInt: parsing %s: invalid syntax", go_quote(limit).c_str());
  if (*hard != -1 && (*soft == -1 || *soft > *hard)) {
    if (*soft == -1)
      return invalid("ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: %lld",
                     static_cast<long long>(*hard));
    return invalid("ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
                   static_cast<long long>(*soft), static_cast<long long>(*hard));
  }
  JsonValue out = JsonValue::object();
  out.set("Name", pair->first);
  out.set("Hard", *hard);
  out.set("Soft", *soft);
  return out;
}

Result<> check_ulimit(std::string_view value) {
  TRY(parse_ulimit(value));
  return {};
}

Result<> check_mount(std::string_view value) {
  TRY(parse_mount(value));
  return {};
}

Result<> check_network(std::string_view value) {
  TRY(parse_network(value));
  return {};
}

Result<JsonValue> parse_gpus(std::string_view value) {
  JsonValue out = JsonValue::object(), options = JsonValue::object(), ids = JsonValue::array();
  std::vector<std::string> capabilities;
  std::string driver;
  int64_t count = 0;
  bool counted = false;
  for (const std::string& field : split_fields(value)) {
    auto pair = split_once(field, '=');
    std::string key = pair ? pair->first : "count", text = pair ? pair->second : field;
    if (key == "count") {
      auto number = text == "all" ? -1 : parse_int(text);
      if (!number)
        return invalid("invalid count (%s): value must be either \"all\" or an integer: invalid syntax", text.c_str());
      count = *number;
      counted = true;
    } else if (key == "driver") {
      driver = text;
    } else if (key == "device") {
      ids = JsonValue(split(text, ','));
    } else if (key == "capabilities") {
      capabilities = split(text, ',');
    } else if (key == "options") {
      for (const std::string& option : split(text, ',')) {
        auto entry = split_once(option, '=');
        options.set(entry ? entry->first : option, entry ? entry->second : "");
      }
    } else {
      return invalid("unexpected key '%s' in '%s'", key.c_str(), field.c_str());
    }
  }
  if (!counted && ids.items().empty()) count = 1;
  if (std::find(capabilities.begin(), capabilities.end(), "gpu") == capabilities.end())
    capabilities.emplace_back("gpu");
  out.set("Driver", driver);
  out.set("Count", count);
  out.set("DeviceIDs", ids.items().empty() ? JsonValue() : ids);
  JsonValue all = JsonValue::array();
  all.push(JsonValue(capabilities));
  out.set("Capabilities", all);
  out.set("Options", options);
  return out;
}

Result<> check_gpus(std::string_view value) {
  TRY(parse_gpus(value));
  return {};
}

Result<> check_filter(std::string_view value) {
  if (value.find('=') == value.npos) return invalid("bad format of filter (expected name=value)");
  return {};
}

}  // namespace caisson::cli
