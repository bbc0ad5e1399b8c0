// SPDX-License-Identifier: Apache-2.0
// The engine's and its containers' figures in the text form that Prometheus reads (exposition format 0.0.4).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "spec/docker_stats.h"
#include "wire/http_server.h"

namespace caisson::api {

struct ContainerFigures {
  std::string id, name, image;
  spec::ContainerStats stats;
};

// The pure part: the families about containers, each with its head once.
std::string container_metrics(const std::vector<ContainerFigures>& containers);
// As it may stand between the quotes of a label.
std::string label_value(std::string_view text);

// Answers GET /metrics and nothing else.
http::Router make_metrics_router(engine::Engine& engine);

}  // namespace caisson::api
