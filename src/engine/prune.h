// SPDX-License-Identifier: Apache-2.0
// POST /containers/prune: removes every container that does not run, or those that the filters leave.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/lifecycle.h"

namespace caisson::engine {

struct PruneReport {
  std::vector<std::string> containers_deleted;
  int64_t space_reclaimed = 0;
};
CAISSON_JSON(PruneReport, CAISSON_FIELD_NULL("ContainersDeleted", containers_deleted),
             CAISSON_FIELD("SpaceReclaimed", space_reclaimed))

class PruneFilter {
 public:
  // {"until": [...], "label": [...], "label!": [...]}; kInvalid. Relative times count back from `now_ns`.
  static Result<PruneFilter> parse(const std::string& json, int64_t now_ns);
  bool matches(const ContainerRecord& record) const;

 private:
  std::vector<std::string> labels_, not_labels_;
  int64_t until_ns_ = INT64_MAX;
};

PruneReport prune_containers(const ContainerRegistry& containers, Lifecycle& lifecycle, const Paths& paths,
                             EventHub& events, const PruneFilter& filter);

// "10m", "1h30m", "24h", a Unix time with or without fraction, RFC 3339 or a date without zone (then UTC), in
// nanoseconds since 1970; kInvalid.
Result<int64_t> parse_until(const std::string& text, int64_t now_ns);

}  // namespace caisson::engine
