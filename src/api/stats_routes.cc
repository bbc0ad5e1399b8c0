// SPDX-License-Identifier: Apache-2.0
// Resources of containers: stats, update, prune.
#include "api/router.h"
#include "api/stats_streams.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/lifecycle.h"
#include "engine/prune.h"
#include "engine/stats.h"

namespace caisson::api {

namespace {

void stats(Context& context, Call& call) {
  auto container = find_container(context, call);
  if (!container) return;
  bool stream_wanted = call.query().flag("stream", true),
       one_shot = call.version >= 41 && call.query().flag("one-shot");
  if (stream_wanted && one_shot) return call.reply_error(400, "cannot have stream=true and one-shot=true");
  auto record = container->settled_snapshot();
  if (!stream_wanted && (one_shot || !record->running()))
    return call.reply_with(200, engine::sample_stats(*record, context.engine.cgroups()));
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  context.stats.add(call.exchange->start_stream(200, headers), container, context.engine.cgroups(), !stream_wanted);
}

struct UpdateResponse {
  std::vector<std::string> warnings;
};
CAISSON_JSON(UpdateResponse, CAISSON_FIELD("Warnings", warnings))

void update(Context& context, Call& call) {
  auto container = find_container(context, call);
  if (!container) return;
  auto change = call.body<spec::HostConfig>(true);
  if (!change) return;
  if (call.version < 40) change->pids_limit.reset();
  auto ports = call.body<spec::PortChange>(true);
  if (!ports) return;
  // Before the limits: what can be refused most likely.
  if (!ports->publish.empty() || !ports->unpublish.empty())
    if (auto done = context.engine.lifecycle().change_ports(container, *ports); !done)
      return call.reply_error(done.error());
  auto warnings = context.engine.update(container, *change);
  if (!warnings) return call.reply_error(warnings.error());
  call.reply_with(200, UpdateResponse{std::move(*warnings)});
}

void prune(Context& context, Call& call) {
  auto filter = engine::PruneFilter::parse(call.query().get("filters"), now_ns());
  if (!filter) return call.reply_error(filter.error());
  auto& engine = context.engine;
  call.reply_with(
      200, engine::prune_containers(engine.containers(), engine.lifecycle(), engine.paths(), engine.events(), *filter));
}

constexpr Route kRoutes[] = {
    {"POST", "/containers/{}/update", update},
    {"POST", "/containers/prune", prune},
    {"GET", "/containers/{}/stats", stats},
};

}  // namespace

std::span<const Route> stats_routes() { return kRoutes; }

}  // namespace caisson::api
