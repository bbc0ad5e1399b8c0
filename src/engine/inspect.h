// SPDX-License-Identifier: Apache-2.0
// From a container's record to what the API shows of it. Pure but for the sizes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/container.h"
#include "engine/exec_manager.h"
#include "engine/paths.h"
#include "engine/record.h"
#include "spec/docker_container.h"

namespace caisson::engine {

struct SizeInfo {
  int64_t rw = 0, root_fs = 0;
};

spec::ContainerInspect inspect_container(const ContainerRecord& record, const Paths& paths,
                                         const std::vector<std::string>& exec_ids);
// `image_names`: what the image is called now, for containers whose image has lost its name.
spec::ContainerSummary summarise_container(const ContainerRecord& record, const std::string& image_name,
                                           int64_t now_ns);
// The same as JSON, appended to `out`; the greater part of it is made once for each change of the container.
void append_summary(std::string& out, Container& container, const std::shared_ptr<const ContainerRecord>& record,
                    const std::string& image_name, int64_t now_ns);

// "Up 5 minutes (Paused)", "Exited (0) 3 hours ago", "Created".
std::string status_sentence(const ContainerRecord& record, int64_t now_ns);
// "Less than a second", "About a minute", "3 weeks": the words of `docker ps`.
std::string human_duration(int64_t seconds);

extern const char* const kBridgeNetwork;

}  // namespace caisson::engine
