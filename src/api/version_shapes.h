// SPDX-License-Identifier: Apache-2.0
// What answers and requests of older API versions looked like: one table of differences to 1.51, which everything
// else in this program speaks. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "spec/docker_config.h"

namespace caisson::api {

enum class Shape : uint8_t { kInfo, kImageInspect, kImageSummary, kContainerInspect, kContainerSummary, kDiskUsage };

// `text`, one JSON value in the form of 1.51, as clients of that version know it.
std::string shape_answer(Shape shape, int version, std::string text);

// Takes out of a request what its version does not know and fills in the defaults of its time. kInvalid for what the
// version forbids; `warnings` are for the answer.
Result<> shape_create(int version, bool cgroup_v2, spec::ContainerConfig& config, spec::CreateExtras& extras,
                      std::vector<std::string>& warnings);

}  // namespace caisson::api
