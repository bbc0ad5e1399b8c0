// SPDX-License-Identifier: Apache-2.0
#include "engine/isolation_options.h"

#include <string>

#include "base/text.h"

namespace caisson::engine {

namespace {

// The kernel refuses clocks that would run out within 146 years.
constexpr int64_t kMostSeconds = INT64_MAX / 2 / 1000000000;

Result<int64_t> offset_of(const std::string& clock, const std::string& text) {
  if (clock != "monotonic" && clock != "boottime")
    return fail(ErrorKind::kInvalid, "invalid time offset: unknown clock %s: must be 'monotonic' or 'boottime'",
                quoted(clock).c_str());
  auto seconds = parse_int(text);
  if (!seconds || *seconds > kMostSeconds || *seconds < -kMostSeconds)
    return fail(ErrorKind::kInvalid, "invalid time offset of '%s': %s is no number of seconds", clock.c_str(),
                quoted(text).c_str());
  return *seconds;
}

// "memory.high": a controller and its file, no way to another directory.
bool is_cgroup_file(const std::string& name) {
  size_t dot = name.find('.');
  return dot != std::string::npos && dot > 0 && dot + 1 < name.size() && name.size() <= 255 &&
         name.find_first_of(std::string_view("/\n\0", 3)) == std::string::npos;
}

}  // namespace

Result<std::optional<uint32_t>> umask_of(const spec::HostConfig& host) {
  if (host.umask.empty()) return std::nullopt;
  uint32_t mask = 0;
  bool good = host.umask.size() <= 4;
  for (char c : host.umask) {
    good = good && c >= '0' && c <= '7';
    mask = good ? mask * 8 + static_cast<uint32_t>(c - '0') : 0;
  }
  if (!good || mask > 0777)
    return fail(ErrorKind::kInvalid, "invalid umask %s: must be octal, from 0 to 0777", quoted(host.umask).c_str());
  return mask;
}

Result<std::optional<spec::OciPersonality>> personality_of(const spec::HostConfig& host) {
  if (host.personality.empty()) return std::nullopt;
  std::string domain = to_lower(host.personality);
  if (domain == "linux") return spec::OciPersonality{"LINUX", {}};
  if (domain == "linux32") return spec::OciPersonality{"LINUX32", {}};
  return fail(ErrorKind::kInvalid, "invalid personality %s: must be 'LINUX' or 'LINUX32'",
              quoted(host.personality).c_str());
}

Result<> check_isolation(const spec::HostConfig& host, bool cgroup_v2) {
  TRY(umask_of(host));
  TRY(personality_of(host));
  for (const auto& [clock, text] : host.time_offsets) TRY(offset_of(clock, text));
  if (!host.cgroup_conf.empty() && !cgroup_v2)
    return fail(ErrorKind::kInvalid, "cgroup-conf names files of cgroup v2, and this host has v1");
  for (const auto& [file, value] : host.cgroup_conf)
    if (!is_cgroup_file(file))
      return fail(ErrorKind::kInvalid, "invalid cgroup-conf: %s is no file of a controller", quoted(file).c_str());
  return {};
}

Result<> add_isolation(const spec::HostConfig& host, spec::OciLinux& part) {
  part.personality = TRY(personality_of(host));
  for (const auto& [clock, text] : host.time_offsets)
    part.time_offsets[clock] = spec::OciTimeOffset{TRY(offset_of(clock, text)), 0};
  if (!host.time_offsets.empty()) part.namespaces.push_back({"time", ""});
  if (!host.cgroup_conf.empty()) {
    if (!part.resources) part.resources.emplace();
    part.resources->unified = host.cgroup_conf;
  }
  return {};
}

}  // namespace caisson::engine
