// SPDX-License-Identifier: Apache-2.0
// POST /commit.
#include "api/router.h"
#include "base/text.h"
#include "build/commit.h"
#include "spec/docker_container.h"

namespace caisson::api {

namespace {

void commit(Context& context, Call& call) {
  const auto& query = call.query();
  std::string name = query.get("container");
  if (name.empty()) return call.reply_error(400, "bad parameter: the container to commit is not named");
  auto container = context.engine.containers().find(name);
  if (!container) return call.reply_error(container.error());
  build::CommitRequest request;
  request.repo = query.get("repo");
  request.tag = query.get("tag");
  request.author = query.get("author");
  request.comment = query.get("comment");
  // DOCKER-QUIRK: absent means yes from API 1.13 on.
  request.pause = query.get("pause").empty() || query.flag("pause");
  for (const auto& text : query.all("changes"))
    for (auto& line : split(text, '\n'))
      if (!trim(line).empty()) request.changes.emplace_back(trim(line));
  if (const auto& body = call.request().body; !trim(body).empty() && trim(body) != "null") {
    auto config = call.body<spec::ContainerConfig>(true);
    if (!config) return;
    request.overrides = std::move(*config);
  }
  auto id = build::commit(context.engine, *container, request);
  if (!id) return call.reply_error(id.error());
  call.reply_with(201, spec::IdResponse{*id});
}

constexpr Route kRoutes[] = {{"POST", "/commit", commit}};

}  // namespace

std::span<const Route> commit_routes() { return kRoutes; }

}  // namespace caisson::api
