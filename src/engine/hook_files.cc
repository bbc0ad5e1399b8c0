// SPDX-License-Identifier: Apache-2.0
#include "engine/hook_files.h"

#include <algorithm>

#include "base/text.h"
#include "engine/container_filter.h"
#include "sys/files.h"

namespace caisson::engine {

namespace {

constexpr size_t kMaxFile = 256 << 10, kMaxFiles = 256;
// The monitor waits for hooks: none may hold up a container's start or end for good.
constexpr int64_t kDefaultTimeout = 10, kMaxTimeout = 300;  // seconds

}  // namespace

struct HookCondition {
  std::optional<bool> always, has_bind_mounts;
  std::map<std::string, std::string> annotations;
  std::vector<std::string> commands;
};
CAISSON_JSON(HookCondition, CAISSON_FIELD("always", always), CAISSON_FIELD("annotations", annotations),
             CAISSON_FIELD("commands", commands), CAISSON_FIELD("hasBindMounts", has_bind_mounts))

struct HookFile {
  std::string version;
  spec::OciHook hook;
  std::optional<HookCondition> when;
  std::vector<std::string> stages;
};
CAISSON_JSON(HookFile, CAISSON_FIELD("version", version), CAISSON_FIELD("hook", hook), CAISSON_FIELD("when", when),
             CAISSON_FIELD("stages", stages))

// Every condition that is given must hold; of a list of commands, one; of annotations, each has one that fits.
static bool is_meant(const HookCondition& when, const ContainerRecord& record) {
  if (when.always && !*when.always) return false;
  auto is_bind = [](const spec::MountPoint& mount) { return mount.type == "bind"; };
  if (when.has_bind_mounts && *when.has_bind_mounts != std::any_of(record.mounts.begin(), record.mounts.end(), is_bind))
    return false;
  auto is_command = [&](const std::string& pattern) { return text_matches(record.path, pattern); };
  if (!when.commands.empty() && std::none_of(when.commands.begin(), when.commands.end(), is_command)) return false;
  const auto& own = record.host_config.annotations;
  return std::all_of(when.annotations.begin(), when.annotations.end(), [&](const auto& wanted) {
    return std::any_of(own.begin(), own.end(), [&](const auto& entry) {
      return text_matches(entry.first, wanted.first) && text_matches(entry.second, wanted.second);
    });
  });
}

static std::vector<spec::OciHook>* hooks_of(spec::OciHooks& hooks, std::string_view stage) {
  if (stage == "prestart") return &hooks.prestart;
  if (stage == "createRuntime") return &hooks.create_runtime;
  if (stage == "createContainer") return &hooks.create_container;
  if (stage == "startContainer") return &hooks.start_container;
  if (stage == "poststart") return &hooks.poststart;
  if (stage == "poststop") return &hooks.poststop;
  return nullptr;
}

Result<> add_hook(const std::string& json, const ContainerRecord& record, spec::OciHooks& hooks) {
  HookFile file = TRY(json::decode<HookFile>(json));
  if (file.version != "1.0.0")
    return fail(ErrorKind::kInvalid, "version is '%s' and not '1.0.0'", file.version.substr(0, 64).c_str());
  if (!file.hook.path.starts_with('/')) return fail(ErrorKind::kInvalid, "hook.path is not an absolute path");
  if (!file.when) return fail(ErrorKind::kInvalid, "'when' is missing: it would never run");
  if (file.stages.empty()) return fail(ErrorKind::kInvalid, "'stages' is empty: it would never run");
  int64_t timeout = file.hook.timeout.value_or(kDefaultTimeout);
  if (timeout <= 0 || timeout > kMaxTimeout)
    return fail(ErrorKind::kInvalid, "hook.timeout is not between 1 and %lld seconds",
                static_cast<long long>(kMaxTimeout));
  file.hook.timeout = timeout;
  for (const auto& stage : file.stages)
    if (!hooks_of(hooks, stage))
      return fail(ErrorKind::kInvalid, "there is no stage '%s'", stage.substr(0, 64).c_str());
  if (!is_meant(*file.when, record)) return {};
  for (const auto& stage : file.stages) hooks_of(hooks, stage)->push_back(file.hook);
  return {};
}

Result<spec::OciHooks> find_hooks(const std::vector<std::string>& directories, const ContainerRecord& record) {
  std::map<std::string, std::string> files;  // name to path
  for (const auto& directory : directories) {
    if (!sys::path_exists(directory)) continue;
    for (const auto& name : TRY(sys::list_dir(directory)))
      if (name.ends_with(".json")) files[name] = directory + "/" + name;
  }
  if (files.size() > kMaxFiles) return fail(ErrorKind::kExhausted, "more than %zu files with hooks", kMaxFiles);
  spec::OciHooks hooks;
  for (const auto& [name, path] : files)
    TRY_CTX(add_hook(TRY(sys::read_file(path, kMaxFile)), record, hooks), "hooks of '" + path + "'");
  return hooks;
}

}  // namespace caisson::engine
