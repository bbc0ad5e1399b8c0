// SPDX-License-Identifier: Apache-2.0
// Streams of container statistics: one thread for all of them, a sample a second each. A client that reads
// slowly loses samples, nothing else.
#pragma once

#include <memory>

#include "engine/container.h"
#include "sys/cgroup.h"
#include "wire/http_server.h"

namespace caisson::api {

class StatsStreams {
 public:
  StatsStreams();
  ~StatsStreams();
  // The first sample at once, without an earlier one to compare with; `once`: only the second sample, which
  // has one, and the end. The stream ends with the container's removal. `cgroups` outlives the streams.
  void add(std::shared_ptr<http::Stream> stream, engine::ContainerPtr container, const sys::CgroupSystem& cgroups,
           bool once);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace caisson::api
