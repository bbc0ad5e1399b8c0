// SPDX-License-Identifier: Apache-2.0
// POST /images/prune and /build/prune. Containers, volumes and networks are pruned by their own families.
#include <algorithm>

#include "api/prune_choice.h"
#include "api/router.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "spec/docker_system.h"

namespace caisson::api {

namespace {

struct ImagesPruned {
  std::vector<spec::ImageDeleteItem> deleted;
  int64_t reclaimed = 0;
};
CAISSON_JSON(ImagesPruned, CAISSON_FIELD_NULL("ImagesDeleted", deleted), CAISSON_FIELD("SpaceReclaimed", reclaimed))

struct CachePruned {
  std::vector<std::string> deleted;
  int64_t reclaimed = 0;
};
CAISSON_JSON(CachePruned, CAISSON_FIELD_NULL("CachesDeleted", deleted), CAISSON_FIELD("SpaceReclaimed", reclaimed))

void prune_images(Context& context, Call& call) {
  auto choice = ImageChoice::parse(call.query().get("filters"));
  if (!choice) return call.reply_error(choice.error());
  auto& images = context.engine.images();
  auto users_of = [&](const std::string& id) { return context.engine.containers().users_of_image(id); };
  auto is_used = [&](const std::string& id) {
    auto users = users_of(id);
    return !users.running.empty() || !users.stopped.empty();
  };
  auto total = [&] {
    auto usage = images.usage();
    return usage.layers_size + usage.blobs_size;
  };
  int64_t before = total();
  ImagesPruned answer;
  auto listed = images.list();
  std::set<std::string> parents;
  for (const auto& image : listed) parents.insert(image.parent);
  for (const auto& image : listed) {
    std::vector<std::string> names = image.repo_tags;
    names.insert(names.end(), image.repo_digests.begin(), image.repo_digests.end());
    // Ancestors without names go with their last descendant.
    if (!choice->takes(image) || is_used(image.id) || (names.empty() && parents.contains(image.id))) continue;
    if (names.empty()) names.push_back(image.id);
    for (const auto& name : names) {
      // With its last tag a repository's digests have gone already.
      if (auto left = images.find(name); !left || left->id != image.id) continue;
      auto removed = images.remove(name, {}, users_of);
      if (!removed) {
        // Used or renamed by somebody since it was listed.
        log_info("pruning image %s: %s", name.c_str(), removed.error().message.c_str());
        break;
      }
      for (auto& entry : *removed) {
        publish_removed(context.engine.events(), image, entry.untagged, entry.deleted);
        answer.deleted.push_back({entry.untagged, entry.deleted});
      }
    }
  }
  answer.reclaimed = std::max<int64_t>(before - total(), 0) + images.drop_partial_blobs();
  context.engine.events().publish({"image", "prune", "", {{"reclaimed", std::to_string(answer.reclaimed)}}, 0});
  call.reply_with(200, answer);
}

// Nothing is cached: there is no builder yet.
void prune_cache(Context& context, Call& call) {
  context.engine.events().publish({"builder", "prune", "", {{"reclaimed", "0"}}, 0});
  call.reply_with(200, CachePruned{});
}

constexpr Route kRoutes[] = {
    {"POST", "/images/prune", prune_images},
    {"POST", "/build/prune", prune_cache},
};

}  // namespace

std::span<const Route> prune_routes() { return kRoutes; }

}  // namespace caisson::api
