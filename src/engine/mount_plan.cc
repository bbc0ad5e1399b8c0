// SPDX-License-Identifier: Apache-2.0
#include "engine/mount_plan.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "engine/image_mounts.h"
#include "wire/json.h"

namespace caisson::engine {

namespace {

// "/a//b/../c/" -> "/a/c"; what Go's filepath.Clean does to absolute paths.
std::string clean_path(std::string_view path) {
  std::vector<std::string> parts;
  for (auto& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
      continue;
    }
    parts.push_back(std::move(part));
  }
  return "/" + join(parts, "/");
}

bool is_propagation(std::string_view word) {
  for (std::string_view known : {"shared", "slave", "private", "rshared", "rslave", "rprivate"})
    if (word == known) return true;
  return false;
}

Result<> apply_mode(PlannedMount& mount, const std::string& mode) {
  mount.point.mode = mode;
  // Of each sort one word at most, as Docker has it.
  int access = 0, label = 0, propagation = 0, copy = 0, consistency = 0;
  auto invalid = [&] { return fail(ErrorKind::kInvalid, "invalid mode: %s", mode.c_str()); };
  for (const auto& word : split(mode, ',')) {
    if (word == "ro" || word == "rw") {
      ++access;
      mount.point.rw = word == "rw";
    } else if (is_propagation(word)) {
      ++propagation;
      mount.point.propagation = word;
    } else if (word == "nocopy") {
      ++copy;
      mount.no_copy = true;
    } else if (word == "z" || word == "Z") {
      ++label;
    } else if (word == "consistent" || word == "cached" || word == "delegated") {
      ++consistency;
    } else if (!word.empty()) {
      return invalid();
    }
  }
  if (access > 1 || label > 1 || propagation > 1 || copy > 1 || consistency > 1) return invalid();
  return {};
}

Result<> check_volume_name(const std::string& name) {
  for (char c : name)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
          c == '-'))
      return fail(ErrorKind::kInvalid,
                  "\"%s\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are "
                  "allowed. If you intended to pass a host directory, use absolute path",
                  name.c_str());
  if (name[0] == '_' || name[0] == '.' || name[0] == '-')
    return fail(ErrorKind::kInvalid, "\"%s\" is not a valid volume name", name.c_str());
  return {};
}

// Drivers that are not there are told when the volume is looked for.
std::string driver_of(const std::string& asked) { return asked.empty() ? "local" : asked; }

struct VolumeDriver {
  std::string name;
  spec::StringMap options;
};
CAISSON_JSON(VolumeDriver, CAISSON_FIELD("Name", name), CAISSON_FIELD("Options", options))

Result<std::string> driver_of_options(const spec::VolumeOptions& options) {
  if (!options.driver_config || options.driver_config->text == "null") return std::string("local");
  auto driver = TRY(json::decode<VolumeDriver>(options.driver_config->text));
  if (!driver.options.empty() && driver_of(driver.name) == "local")
    return fail(ErrorKind::kUnsupported, "options of the volume driver \"local\" are not supported by this release");
  return driver_of(driver.name);
}

Result<PlannedMount> parse_bind(const std::string& text, const std::string& volume_driver) {
  auto parts = split(text, ':');
  PlannedMount mount;
  auto bad = [&](const char* why) {
    return fail(ErrorKind::kInvalid, "invalid volume specification: '%s'%s", text.c_str(), why);
  };
  if (parts.empty() || parts.size() > 3) return bad("");
  for (size_t i = 0; i < std::min<size_t>(parts.size(), 2); ++i)
    if (parts[i].empty()) return bad("");
  std::string target = parts.size() == 1 ? parts[0] : parts[1];
  if (!target.starts_with('/')) return bad(": mount path must be absolute");
  mount.point.destination = clean_path(target);
  if (mount.point.destination == "/") return bad(": destination can't be '/'");
  mount.point.rw = true;
  if (parts.size() == 1) {
    mount.point.type = "volume";
    mount.point.driver = driver_of(volume_driver);
    mount.anonymous = true;
  } else if (parts[0].starts_with('/')) {
    mount.point.type = "bind";
    mount.point.source = clean_path(parts[0]);
    mount.point.propagation = "rprivate";
    mount.create_source = true;
  } else {
    mount.point.type = "volume";
    mount.point.name = parts[0];
    mount.point.driver = driver_of(volume_driver);
    TRY(check_volume_name(parts[0]));
  }
  if (parts.size() == 3) TRY(apply_mode(mount, parts[2]));
  return mount;
}

Result<PlannedMount> convert_mount(const spec::Mount& asked) {
  PlannedMount mount;
  auto bad = [&](const std::string& why) {
    return fail(ErrorKind::kInvalid, "invalid mount config for type \"%s\": %s", asked.type.c_str(), why.c_str());
  };
  if (asked.target.empty()) return bad("field Target must not be empty");
  if (!asked.target.starts_with('/'))
    return bad("invalid mount path: '" + asked.target + "' mount path must be absolute");
  mount.point.type = asked.type;
  mount.point.destination = clean_path(asked.target);
  if (mount.point.destination == "/") return bad("invalid specification: destination can't be '/'");
  mount.point.rw = !asked.read_only;
  if (asked.type == "bind") {
    if (asked.source.empty()) return bad("field Source must not be empty");
    if (!asked.source.starts_with('/'))
      return bad("invalid mount path: '" + asked.source + "' mount path must be absolute");
    mount.point.source = clean_path(asked.source);
    mount.point.propagation = "rprivate";
    if (asked.bind_options) {
      if (!asked.bind_options->propagation.empty()) {
        if (!is_propagation(asked.bind_options->propagation))
          return bad("invalid propagation mode: " + asked.bind_options->propagation);
        mount.point.propagation = asked.bind_options->propagation;
      }
      mount.recursive = !asked.bind_options->non_recursive;
      mount.create_source = asked.bind_options->create_mountpoint;
      if (asked.bind_options->read_only_force_recursive && asked.bind_options->read_only_non_recursive)
        return bad("conflicting options: ReadOnlyNonRecursive and ReadOnlyForceRecursive");
      if (asked.bind_options->read_only_force_recursive && mount.point.propagation != "rprivate")
        return bad("ReadOnlyForceRecursive requires Propagation to be rprivate");
      mount.recursively_read_only = !asked.bind_options->read_only_non_recursive;
    }
  } else if (asked.type == "volume") {
    mount.point.name = asked.source;
    mount.point.driver = "local";
    mount.anonymous = asked.source.empty();
    if (mount.anonymous && asked.read_only) return bad("must not set ReadOnly mode when using anonymous volumes");
    if (!mount.anonymous) TRY(check_volume_name(asked.source));
    if (asked.volume_options) {
      mount.no_copy = asked.volume_options->no_copy;
      mount.subpath = asked.volume_options->subpath;
      mount.point.driver = TRY(driver_of_options(*asked.volume_options));
    }
    if (!mount.subpath.empty() && mount.anonymous) return bad("must not set Subpath when using anonymous volumes");
    if (!mount.subpath.empty() && !is_local_path(mount.subpath))
      return bad("subpath must be a relative path within the volume");
    if (!mount.subpath.empty()) mount.no_copy = true;
  } else if (asked.type == "tmpfs") {
    if (!asked.source.empty()) return bad("field Source must not be specified");
    if (asked.tmpfs_options) mount.tmpfs = *asked.tmpfs_options;
    for (const auto& option : mount.tmpfs.options) {
      if (option.empty() || option.size() > 2) return bad("invalid option array length");
      if (option[0] != "exec" && option[0] != "noexec") return bad("invalid option: " + option[0]);
    }
  } else if (asked.type == "image") {
    if (asked.source.empty()) return bad("field Source must not be empty");
    mount.point.source = asked.source;
    mount.point.rw = false;
    if (asked.image_options) mount.subpath = asked.image_options->subpath;
    if (!mount.subpath.empty() && !is_local_path(mount.subpath))
      return bad("subpath must be a relative path within the image");
  } else if (asked.type == "cluster") {
    return fail(ErrorKind::kInvalid,
                "mounts of type \"cluster\" are not supported: this engine is not part of a swarm");
  } else {
    return bad("mount type unknown");
  }
  return mount;
}

}  // namespace

std::string subpath_at(const spec::HostConfig& host_config, const std::string& destination) {
  for (const auto& mount : host_config.mounts)
    if (mount.volume_options && clean_path(mount.target) == destination) return mount.volume_options->subpath;
  return "";
}

Result<VolumesFrom> parse_volumes_from(const std::string& text) {
  VolumesFrom out;
  auto pair = split_once(text, ':');
  out.container = pair ? pair->first : text;
  if (out.container.empty()) return fail(ErrorKind::kInvalid, "invalid empty ID: '%s' in VolumesFrom", text.c_str());
  if (!pair) return out;
  for (const auto& word : split(pair->second, ',')) {
    if (word == "ro")
      out.read_only = true;
    else if (word != "rw" && word != "z" && word != "Z")
      return fail(ErrorKind::kInvalid, "invalid mode: %s", pair->second.c_str());
  }
  return out;
}

Result<std::vector<PlannedMount>> plan_mounts(const spec::ContainerConfig& config, const spec::HostConfig& host_config,
                                              const std::vector<spec::MountPoint>& inherited) {
  std::vector<PlannedMount> mounts;
  std::set<std::string> destinations;
  auto add = [&](PlannedMount mount) -> Result<> {
    if (!destinations.insert(mount.point.destination).second)
      return fail(ErrorKind::kInvalid, "Duplicate mount point: %s", mount.point.destination.c_str());
    mounts.push_back(std::move(mount));
    return {};
  };
  for (const auto& text : host_config.binds) TRY(add(TRY(parse_bind(text, host_config.volume_driver))));
  for (const auto& asked : host_config.mounts) TRY(add(TRY(convert_mount(asked))));
  for (const auto& [target, options] : host_config.tmpfs) {
    if (!target.starts_with('/'))
      return fail(ErrorKind::kInvalid, "invalid mount path: '%s' mount path must be absolute", target.c_str());
    PlannedMount mount;
    mount.point.type = "tmpfs";
    mount.point.destination = clean_path(target);
    mount.tmpfs_options = options;
    TRY(add(std::move(mount)));
  }
  for (const auto& point : inherited) {
    if (!destinations.insert(point.destination).second) continue;
    PlannedMount mount;
    mount.point = point;
    mount.no_copy = true;  // it has been filled by whom it comes from
    mounts.push_back(std::move(mount));
  }
  // An image's VOLUME gives way to anything the user put at the same place.
  for (const auto& [target, unused] : config.volumes) {
    PlannedMount mount;
    mount.point.type = "volume";
    mount.point.driver = driver_of(host_config.volume_driver);
    mount.point.destination = clean_path(target);
    mount.anonymous = true;
    if (mount.point.destination != "/" && destinations.insert(mount.point.destination).second)
      mounts.push_back(std::move(mount));
  }
  // Parents before what lies inside them.
  std::stable_sort(mounts.begin(), mounts.end(), [](const PlannedMount& a, const PlannedMount& b) {
    return std::count(a.point.destination.begin(), a.point.destination.end(), '/') <
           std::count(b.point.destination.begin(), b.point.destination.end(), '/');
  });
  return mounts;
}

}  // namespace caisson::engine
