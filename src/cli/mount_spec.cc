// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_spec.h"

#include <unistd.h>

#include "base/text.h"
#include "cli/units.h"

namespace caisson::cli {

std::vector<std::string> split_fields(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted_field = false;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (c == '"' && quoted_field && i + 1 < line.size() && line[i + 1] == '"') {
      out.back() += c;
      ++i;
    } else if (c == '"' && (quoted_field || out.back().empty())) {
      quoted_field = !quoted_field;
    } else if (c == ',' && !quoted_field) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

namespace {

std::unexpected<Error> invalid(const std::string& text) { return fail(ErrorKind::kInvalid, "%s", text.c_str()); }

// "a/./b/../c" -> "a/c", as Go's filepath.Clean.
std::string clean_path(std::string_view path) {
  std::vector<std::string> kept;
  bool absolute = path.starts_with('/');
  for (std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == ".." && !kept.empty() && kept.back() != "..")
      kept.pop_back();
    else if (part != ".." || !absolute)
      kept.push_back(std::move(part));
  }
  std::string out = (absolute ? "/" : "") + join(kept, "/");
  return out.empty() ? "." : out;
}

std::string absolute_path(const std::string& path, const std::string& working_directory) {
  return clean_path(path.starts_with('/') ? path : working_directory + "/" + path);
}

struct MountParts {
  std::string type = "volume";
  JsonValue mount = JsonValue::object();
  JsonValue bind = JsonValue::object(), volume = JsonValue::object(), tmpfs = JsonValue::object(),
            image = JsonValue::object();
};

Result<> set_mount_field(MountParts& parts, const std::string& key, const std::string& value, bool has_value,
                         const std::string& field) {
  auto flag = [&]() -> Result<bool> {
    auto on = has_value ? parse_bool(value) : std::optional<bool>(true);
    if (!on) return invalid("invalid value for " + key + ": " + value);
    return *on;
  };
  if (key == "type") {
    parts.type = to_lower(value);
  } else if (key == "source" || key == "src") {
    parts.mount.set("Source", value);
  } else if (key == "target" || key == "dst" || key == "destination") {
    parts.mount.set("Target", value);
  } else if (key == "readonly" || key == "ro") {
    parts.mount.set("ReadOnly", TRY(flag()));
  } else if (key == "consistency") {
    parts.mount.set("Consistency", to_lower(value));
  } else if (key == "bind-propagation") {
    parts.bind.set("Propagation", to_lower(value));
  } else if (key == "bind-nonrecursive") {
    parts.bind.set("NonRecursive", TRY(flag()));
  } else if (key == "bind-create-src") {
    parts.bind.set("CreateMountpoint", TRY(flag()));
  } else if (key == "bind-recursive") {
    if (value == "disabled")
      parts.bind.set("NonRecursive", true);
    else if (value == "writable")
      parts.bind.set("ReadOnlyNonRecursive", true);
    else if (value == "readonly")
      parts.bind.set("ReadOnlyForceRecursive", true);
    else if (value != "enabled")
      return invalid("invalid value for bind-recursive: " + value +
                     " (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")");
  } else if (key == "volume-subpath") {
    parts.volume.set("Subpath", value);
  } else if (key == "volume-nocopy") {
    parts.volume.set("NoCopy", TRY(flag()));
  } else if (key == "volume-label" || key == "volume-opt" || key == "volume-driver") {
    auto pair = split_once(value, '=');
    std::string name = pair ? pair->first : value, entry = pair ? pair->second : "";
    JsonValue labels = parts.volume.at("Labels"), driver = parts.volume.at("DriverConfig");
    if (key == "volume-label") {
      labels.set(name, entry);
      parts.volume.set("Labels", labels);
    } else {
      if (key == "volume-driver") {
        driver.set("Name", value);
      } else {
        JsonValue options = driver.at("Options");
        options.set(name, entry);
        driver.set("Options", options);
      }
      parts.volume.set("DriverConfig", driver);
    }
  } else if (key == "image-subpath") {
    parts.image.set("Subpath", value);
  } else if (key == "tmpfs-size") {
    auto size = parse_bytes(value);
    if (!size) return invalid("invalid value for tmpfs-size: " + value);
    parts.tmpfs.set("SizeBytes", *size);
  } else if (key == "tmpfs-mode") {
    auto mode = parse_octal(value);
    if (!mode || *mode > 07777) return invalid("invalid value for tmpfs-mode: " + value);
    parts.tmpfs.set("Mode", static_cast<int64_t>(*mode));
  } else {
    return invalid("unexpected key '" + key + "' in '" + field + "'");
  }
  return {};
}

}  // namespace

Result<JsonValue> parse_mount(std::string_view text) {
  MountParts parts;
  for (const std::string& field : split_fields(text)) {
    auto pair = split_once(field, '=');
    std::string key = to_lower(pair ? pair->first : field);
    bool may_stand_alone = key == "readonly" || key == "ro" || key == "volume-nocopy" || key == "bind-nonrecursive";
    if (!pair && !may_stand_alone) return invalid("invalid field '" + field + "' must be a key=value pair");
    TRY(set_mount_field(parts, key, pair ? pair->second : "", pair.has_value(), field));
  }
  if (parts.type.empty()) return invalid("type is required");
  if (parts.mount.at("Target").text().empty()) return invalid("target is required");
  const std::pair<const JsonValue*, const char*> groups[] = {
      {&parts.volume, "volume"}, {&parts.bind, "bind"}, {&parts.tmpfs, "tmpfs"}, {&parts.image, "image"}};
  for (const auto& [options, type] : groups)
    if (!options->members().empty() && parts.type != type)
      return invalid(std::string("cannot mix '") + type + "-*' options with mount type '" + parts.type + "'");
  bool read_only = parts.mount.at("ReadOnly").as_bool();
  for (const auto& [member, word] :
       {std::pair{"ReadOnlyNonRecursive", "writable"}, std::pair{"ReadOnlyForceRecursive", "readonly"}})
    if (parts.bind.at(member).as_bool() && !read_only)
      return invalid(std::string("option 'bind-recursive=") + word +
                     "' requires 'readonly' to be specified in conjunction");
  if (parts.bind.at("ReadOnlyForceRecursive").as_bool() && parts.bind.at("Propagation").text() != "rprivate")
    return invalid(
        "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction");
  JsonValue out = JsonValue::object();
  out.set("Type", parts.type);
  for (const auto& [name, value] : parts.mount.members()) out.set(name, value);
  if (parts.type == "bind" && out.at("Source").text().starts_with('.')) {
    char directory[4096];
    if (getcwd(directory, sizeof directory)) out.set("Source", absolute_path(out.at("Source").text(), directory));
  }
  if (!parts.bind.members().empty()) out.set("BindOptions", parts.bind);
  if (!parts.volume.members().empty()) out.set("VolumeOptions", parts.volume);
  if (!parts.tmpfs.members().empty()) out.set("TmpfsOptions", parts.tmpfs);
  if (!parts.image.members().empty()) out.set("ImageOptions", parts.image);
  return out;
}

Result<VolumeSpec> parse_volume(std::string_view text, const std::string& working_directory) {
  if (text.empty()) return invalid("invalid empty volume spec");
  auto pair = split_once(text, ':');
  if (!pair) return VolumeSpec{.anonymous = std::string(text)};
  // What is wrong with the rest the engine says, as its rules depend on its platform.
  if (pair->first.starts_with('.'))
    return VolumeSpec{.bind = absolute_path(pair->first, working_directory) + ":" + pair->second};
  return VolumeSpec{.bind = std::string(text)};
}

}  // namespace caisson::cli
