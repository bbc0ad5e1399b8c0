// SPDX-License-Identifier: Apache-2.0
// POST /images/prune and /build/prune. Containers, volumes and networks are pruned by their own families.
#include <algorithm>

#include "api/router.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/container_filter.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "engine/prune.h"
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

struct ImageChoice {
  bool dangling_only = true;
  int64_t until_ns = INT64_MAX;
  std::set<std::string> labels, not_labels;

  bool takes(const image::Image& image) const {
    auto has = [&](const std::string& label) { return engine::label_matches(image.config.config.labels, label); };
    // One that is known by its digest has a name.
    bool is_dangling = image.repo_tags.empty() && image.repo_digests.empty();
    return (is_dangling || !dangling_only) && image.created_ns <= until_ns &&
           std::all_of(labels.begin(), labels.end(), has) && std::none_of(not_labels.begin(), not_labels.end(), has);
  }
};

Result<ImageChoice> parse_choice(const std::string& text) {
  static constexpr std::string_view known[] = {"dangling", "until", "label", "label!"};
  auto filters = TRY(engine::parse_filters(text, known));
  ImageChoice out;
  if (const auto& values = filters["dangling"]; !values.empty()) {
    const std::string& value = *values.begin();
    bool is_yes = value == "true" || value == "1";
    if (values.size() > 1 || (!is_yes && value != "false" && value != "0"))
      return fail(ErrorKind::kInvalid, "invalid filter 'dangling=%s'", value.substr(0, 64).c_str());
    out.dangling_only = is_yes;
  }
  if (filters["until"].size() > 1) return fail(ErrorKind::kInvalid, "more than one until filter specified");
  for (const auto& value : filters["until"]) out.until_ns = TRY(engine::parse_until(value, now_ns()));
  out.labels = filters["label"];
  out.not_labels = filters["label!"];
  return out;
}

void prune_images(Context& context, Call& call) {
  auto choice = parse_choice(call.query().get("filters"));
  if (!choice) return call.reply_error(choice.error());
  auto& images = context.engine.images();
  auto user_of = [&](const std::string& id) { return context.engine.containers().user_of_image(id); };
  auto total = [&] {
    auto usage = images.usage();
    return usage.layers_size + usage.blobs_size;
  };
  int64_t before = total();
  ImagesPruned answer;
  for (const auto& image : images.list()) {
    if (!choice->takes(image) || !user_of(image.id).empty()) continue;
    std::vector<std::string> names = image.repo_tags;
    if (names.empty()) names.push_back(image.id);
    for (const auto& name : names) {
      // By its only name or its id the image goes, too; one more name than was listed keeps it.
      auto removed = images.remove(name, name == image.id, user_of);
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
  answer.reclaimed = std::max<int64_t>(before - total(), 0);
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
