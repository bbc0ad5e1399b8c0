// SPDX-License-Identifier: Apache-2.0
// The Volume family of the API.
#include <algorithm>
#include <set>

#include "api/disk_usage.h"
#include "api/router.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/container_filter.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

constexpr const char* kAnonymousLabel = "com.docker.volume.anonymous";

struct VolumeList {
  std::vector<VolumeEntry> volumes;
  std::vector<std::string> warnings;
};
CAISSON_JSON(VolumeList, CAISSON_FIELD("Volumes", volumes), CAISSON_FIELD_NULL("Warnings", warnings))

struct VolumeRequest {
  std::string name, driver;
  spec::StringMap driver_options, labels;
  std::optional<json::Raw> cluster;
};
CAISSON_JSON(VolumeRequest, CAISSON_FIELD("Name", name), CAISSON_FIELD("Driver", driver),
             CAISSON_FIELD("DriverOpts", driver_options), CAISSON_FIELD("Labels", labels),
             CAISSON_FIELD("ClusterVolumeSpec", cluster))

struct PruneAnswer {
  std::vector<std::string> deleted;
  int64_t reclaimed = 0;
};
CAISSON_JSON(PruneAnswer, CAISSON_FIELD_NULL("VolumesDeleted", deleted), CAISSON_FIELD("SpaceReclaimed", reclaimed))

void publish(Context& context, const char* action, const std::string& name) {
  context.engine.events().publish({"volume", action, name, {{"driver", "local"}}, 0});
}

bool is_true(const std::string& text) { return text == "true" || text == "1"; }

// One boolean filter, in any of Docker's spellings; nullopt: not asked for.
Result<std::optional<bool>> flag_filter(const engine::FilterValues& filters, const std::string& key) {
  auto found = filters.find(key);
  if (found == filters.end() || found->second.empty()) return std::nullopt;
  const std::string& text = *found->second.begin();
  bool is_known = is_true(text) || text == "false" || text == "0";
  if (found->second.size() > 1 || !is_known)
    return fail(ErrorKind::kInvalid, "invalid filter '%s=%s'", key.c_str(), text.substr(0, 64).c_str());
  return is_true(text);
}

bool has_labels(const engine::FilterValues& filters, const volume::Volume& volume) {
  auto matches = [&](const std::string& wanted) { return engine::label_matches(volume.labels, wanted); };
  auto wanted = filters.find("label"), unwanted = filters.find("label!");
  return (wanted == filters.end() || std::all_of(wanted->second.begin(), wanted->second.end(), matches)) &&
         (unwanted == filters.end() || std::none_of(unwanted->second.begin(), unwanted->second.end(), matches));
}

void list(Context& context, Call& call) {
  static constexpr std::string_view known[] = {"dangling", "driver", "label", "name"};
  auto filters = engine::parse_filters(call.query().get("filters"), known);
  if (!filters) return call.reply_error(filters.error());
  auto dangling = flag_filter(*filters, "dangling");
  if (!dangling) return call.reply_error(dangling.error());
  auto volumes = context.engine.volumes().list();
  if (!volumes) return call.reply_error(volumes.error());
  auto users = count_volume_users(context.engine);
  auto any_of = [&](const char* key, auto&& matches) {
    auto found = filters->find(key);
    return found == filters->end() || found->second.empty() ||
           std::any_of(found->second.begin(), found->second.end(), matches);
  };
  VolumeList out;
  for (const auto& volume : *volumes) {
    if (*dangling && **dangling == users.contains(volume.name)) continue;
    if (!any_of("driver", [](const std::string& text) { return text == "local"; })) continue;
    if (!any_of("name", [&](const std::string& text) { return engine::text_matches(volume.name, text); })) continue;
    if (has_labels(*filters, volume)) out.volumes.push_back(describe_volume(volume));
  }
  call.reply_with(200, out);
}

void inspect(Context& context, Call& call) {
  auto volume = context.engine.volumes().find(call.argument());
  if (!volume) return call.reply_error(volume.error());
  call.reply_with(200, describe_volume(*volume));
}

void create(Context& context, Call& call) {
  auto request = call.body<VolumeRequest>(true);
  if (!request) return;
  if (request->cluster) return call.reply_error(503, "This node is not a swarm manager. Cluster volumes need a swarm.");
  if (!request->driver.empty() && request->driver != "local")
    return call.reply_error(404, "create " + request->name.substr(0, 128) + ": error looking up volume plugin " +
                                     request->driver.substr(0, 128) + ": plugin " + quoted(request->driver) +
                                     " not found");
  if (!request->driver_options.empty())
    return call.reply_error(501, "options of the local volume driver are not supported by this release");
  if (request->name.empty()) {
    request->name = random_id();
    request->labels[kAnonymousLabel];
  }
  if (!volume::is_valid_name(request->name))
    return call.reply_error(400, "create " + request->name.substr(0, 300) + ": \"" + request->name.substr(0, 300) +
                                     "\" includes invalid characters for a local volume name, only "
                                     "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host "
                                     "directory, use absolute path");
  auto opened = context.engine.volumes().open_or_create(request->name, request->labels);
  if (!opened) return call.reply_error(opened.error());
  opened->hold.reset();  // whoever reads the answer may remove it at once
  if (opened->created) publish(context, "create", request->name);
  auto volume = context.engine.volumes().find(request->name);
  if (!volume) return call.reply_error(volume.error());
  call.reply_with(201, describe_volume(*volume));
}

void remove(Context& context, Call& call) {
  auto removed = context.engine.volumes().remove_unused(
      call.argument(), [&](const std::string& name) { return context.engine.containers().user_of_volume(name); });
  if (removed) {
    publish(context, "destroy", call.argument());
  } else if (removed.error().kind == ErrorKind::kNotFound && call.query().flag("force")) {
    return call.reply_empty(204);
  }
  call.reply(removed);
}

// DOCKER-QUIRK: from 1.42 on only volumes without a name of their own, unless the filter all=1 is given.
void prune(Context& context, Call& call) {
  static constexpr std::string_view known[] = {"label", "label!", "all"};
  auto filters = engine::parse_filters(call.query().get("filters"), known);
  if (!filters) return call.reply_error(filters.error());
  auto all = flag_filter(*filters, "all");
  if (!all) return call.reply_error(all.error());
  bool takes_named = call.version < 42 || all->value_or(false);
  auto volumes = context.engine.volumes().list();
  if (!volumes) return call.reply_error(volumes.error());
  PruneAnswer answer;
  for (const auto& volume : *volumes) {
    if ((!takes_named && !volume.labels.contains(kAnonymousLabel)) || !has_labels(*filters, volume)) continue;
    auto size = sys::tree_size(volume.mountpoint);
    auto removed = context.engine.volumes().remove_unused(
        volume.name, [&](const std::string& name) { return context.engine.containers().user_of_volume(name); });
    if (!removed) {
      if (removed.error().kind != ErrorKind::kConflict) log_warn("%s", removed.error().message.c_str());
      continue;
    }
    publish(context, "destroy", volume.name);
    answer.deleted.push_back(volume.name);
    if (size) answer.reclaimed += static_cast<int64_t>(size->bytes);
  }
  context.engine.events().publish({"volume", "prune", "", {{"reclaimed", std::to_string(answer.reclaimed)}}, 0});
  call.reply_with(200, answer);
}

constexpr Route kRoutes[] = {
    {"GET", "/volumes", list},       {"POST", "/volumes/create", create}, {"POST", "/volumes/prune", prune},
    {"GET", "/volumes/{}", inspect}, {"DELETE", "/volumes/{}", remove},
};

}  // namespace

std::span<const Route> volume_routes() { return kRoutes; }

}  // namespace caisson::api
