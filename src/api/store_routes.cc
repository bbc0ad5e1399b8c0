// SPDX-License-Identifier: Apache-2.0
// Ours beside Docker's: the store's self-check, what a prune or the image garbage policy would take and why, and the
// registry server's switch.
#include <algorithm>
#include <set>

#include "api/prune_choice.h"
#include "api/registry_server.h"
#include "api/router.h"
#include "base/clock.h"
#include "base/text.h"
#include "engine/container_filter.h"
#include "engine/engine.h"
#include "engine/prune.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

void check_store(Context& context, Call& call) {
  call.reply_with(200, context.engine.images().check(call.query().flag("deep"), [&](const std::string& id) {
    return context.engine.containers().users_of_image(id);
  }));
}

// --- what would go -----------------------------------------------------------------------------------

struct Prunable {
  std::string id;
  std::vector<std::string> names;
  std::string reason;
  int64_t size = 0;
};
CAISSON_JSON(Prunable, CAISSON_FIELD("Id", id), CAISSON_FIELD("Names", names), CAISSON_FIELD("Reason", reason),
             CAISSON_FIELD("Size", size))

struct PrunePlan {
  std::vector<Prunable> containers, images, volumes;
  int64_t size = 0;
};
CAISSON_JSON(PrunePlan, CAISSON_FIELD("Containers", containers), CAISSON_FIELD("Images", images),
             CAISSON_FIELD("Volumes", volumes), CAISSON_FIELD("SpaceReclaimable", size))

std::string without(const std::string& filters, std::span<const std::string_view> dropped) {
  auto members = json::decode<std::map<std::string, json::Raw>>(filters.empty() ? "{}" : filters);
  if (!members) return filters;
  for (auto name : dropped) members->erase(std::string(name));
  return json::encode(*members);
}

// Those that do not run; `gone` gets their ids.
Result<> plan_containers(Context& context, const std::string& filters, PrunePlan& plan, std::set<std::string>& gone) {
  static constexpr std::string_view kImagesOnly[] = {"dangling", "all"};
  auto filter = TRY(engine::PruneFilter::parse(without(filters, kImagesOnly), now_ns()));
  for (const auto& container : context.engine.containers().list()) {
    auto record = container->snapshot();
    if (record->running() || !filter.matches(*record)) continue;
    auto size = sys::tree_size(context.engine.paths().upper(record->id));
    Prunable entry{record->id, {record->name}, "it does not run", size ? static_cast<int64_t>(size->bytes) : 0};
    plan.size += entry.size;
    gone.insert(record->id);
    plan.containers.push_back(std::move(entry));
  }
  return {};
}

Result<> plan_images(Context& context, const std::string& filters, PrunePlan& plan, const std::set<std::string>& gone) {
  static constexpr std::string_view kVolumesOnly[] = {"all"};
  auto choice = TRY(ImageChoice::parse(without(filters, kVolumesOnly)));
  std::set<std::string> used;
  for (const auto& container : context.engine.containers().list()) {
    auto record = container->snapshot();
    if (gone.contains(record->id)) continue;
    used.insert(record->image_id);
    for (const auto& mount : record->mounts)
      if (mount.type == "image") used.insert(mount.name);
  }
  std::map<std::string, image::Image> taken;
  for (auto& image : context.engine.images().list())
    if (choice.takes(image)) taken.emplace(image.id, std::move(image));
  auto images = context.engine.image_gc().images();
  // Sizes as the policy counts them: what goes with each after those before it.
  for (auto& entry : images) {
    entry.is_pinned = !taken.contains(entry.id);
    entry.is_used = used.contains(entry.id);
    entry.last_use_ns = 0;
  }
  for (auto& entry : engine::choose_garbage(std::move(images), {.keep_used_ns = 1}, now_ns())) {
    const auto& image = taken.at(entry.id);
    plan.size += entry.size;
    plan.images.push_back(
        {entry.id, std::move(entry.names),
         image.repo_tags.empty() ? "it has no name, and no container uses it" : "no container uses it", entry.size});
  }
  return {};
}

Result<> plan_volumes(Context& context, const std::string& filters, bool all, PrunePlan& plan,
                      const std::set<std::string>& gone) {
  static constexpr std::string_view known[] = {"label", "label!", "all", "dangling", "until"};
  auto parsed = TRY(engine::parse_filters(filters, known));
  std::set<std::string> used;
  for (const auto& container : context.engine.containers().list()) {
    auto record = container->snapshot();
    if (gone.contains(record->id)) continue;
    for (const auto& mount : record->mounts)
      if (mount.type == "volume") used.insert(mount.name);
  }
  for (const auto& volume : TRY(context.engine.volumes().list())) {
    bool is_anonymous = volume.labels.contains("com.docker.volume.anonymous");
    auto has = [&](const std::string& label) { return engine::label_matches(volume.labels, label); };
    const auto &labels = parsed["label"], &not_labels = parsed["label!"];
    if ((!all && !is_anonymous) || used.contains(volume.name) || !std::all_of(labels.begin(), labels.end(), has) ||
        std::any_of(not_labels.begin(), not_labels.end(), has))
      continue;
    auto size = sys::tree_size(volume.mountpoint);
    Prunable entry{volume.name,
                   {volume.name},
                   is_anonymous ? "it has no name, and no container uses it" : "no container uses it",
                   size ? static_cast<int64_t>(size->bytes) : 0};
    plan.size += entry.size;
    plan.volumes.push_back(std::move(entry));
  }
  return {};
}

// types=containers,images,volumes; all-volumes: named ones, too. Filters as the prunes take them.
void prune_plan(Context& context, Call& call) {
  auto types = split(call.query().get("types", "images"), ',');
  auto wanted = [&](const char* type) { return std::find(types.begin(), types.end(), type) != types.end(); };
  std::string filters = call.query().get("filters");
  PrunePlan plan;
  std::set<std::string> gone;
  Result<> done;
  if (wanted("containers")) done = plan_containers(context, filters, plan, gone);
  if (done && wanted("images")) done = plan_images(context, filters, plan, gone);
  if (done && wanted("volumes")) done = plan_volumes(context, filters, call.query().flag("all-volumes"), plan, gone);
  if (!done) return call.reply_error(done.error());
  call.reply_with(200, plan);
}

void gc_plan(Context& context, Call& call) { call.reply_with(200, context.engine.image_gc().plan()); }
void gc_run(Context& context, Call& call) { call.reply_with(200, context.engine.image_gc().run()); }

// --- the registry server -----------------------------------------------------------------------------

struct RegistryStatus {
  bool serving = false;
  RegistrySettings settings;
  std::string local_name;
  std::vector<std::string> repositories;
};
CAISSON_JSON(RegistryStatus, CAISSON_FIELD("Serving", serving), CAISSON_FIELD("Settings", settings),
             CAISSON_FIELD("LocalName", local_name), CAISSON_FIELD("Repositories", repositories))

bool has_registry(Context& context, Call& call) {
  if (context.registry) return true;
  call.reply_error(501, "there is no registry server here");
  return false;
}

void registry_status(Context& context, Call& call) {
  if (!has_registry(context, call)) return;
  RegistryStatus out;
  out.serving = context.registry->settings(out.settings);
  out.local_name = context.registry->store().local_name();
  out.repositories = context.registry->store().repositories();
  call.reply_with(200, out);
}

void registry_serve(Context& context, Call& call) {
  if (!has_registry(context, call)) return;
  auto settings = call.body<RegistrySettings>(true);
  if (!settings) return;
  if (auto served = context.registry->serve(*settings); !served) return call.reply_error(served.error());
  registry_status(context, call);
}

void registry_stop(Context& context, Call& call) {
  if (has_registry(context, call)) call.reply(context.registry->stop());
}

struct RegistryPruned {
  int64_t manifests = 0, blobs = 0;
};
CAISSON_JSON(RegistryPruned, CAISSON_FIELD("ManifestsDeleted", manifests), CAISSON_FIELD("BlobsDeleted", blobs))

void registry_prune(Context& context, Call& call) {
  if (!has_registry(context, call)) return;
  auto pruned = context.registry->store().prune(true);
  if (!pruned) return call.reply_error(pruned.error());
  call.reply_with(200, RegistryPruned{pruned->manifests, pruned->blobs});
}

constexpr Route kRoutes[] = {
    {"POST", "/caisson/check", check_store},        {"GET", "/caisson/prunable", prune_plan},
    {"GET", "/caisson/image-gc", gc_plan},          {"POST", "/caisson/image-gc", gc_run},
    {"GET", "/caisson/registry", registry_status},  {"POST", "/caisson/registry", registry_serve},
    {"DELETE", "/caisson/registry", registry_stop}, {"POST", "/caisson/registry/prune", registry_prune},
};

}  // namespace

std::span<const Route> store_routes() { return kRoutes; }

}  // namespace caisson::api
