// SPDX-License-Identifier: Apache-2.0
// Filters of GET /containers/json and of prune, as Docker understands them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/container.h"
#include "engine/registry.h"
#include "image/image_store.h"

namespace caisson::engine {

// {"name": ["a"]} or the form of newer clients, {"name": {"a": true}}. kInvalid for anything else, and for keys
// that are not among `known`.
using FilterValues = std::map<std::string, std::set<std::string>>;
Result<FilterValues> parse_filters(const std::string& json, std::span<const std::string_view> known);
// "key", or "key=value".
bool label_matches(const std::map<std::string, std::string>& labels, const std::string& wanted);
// Docker's filters take regular expressions; what is none, or could be made to take all of our memory, is looked
// for as it stands.
bool text_matches(const std::string& text, const std::string& pattern);

class ContainerFilter {
 public:
  static Result<ContainerFilter> parse(const std::string& json);
  // Looks up the containers and images that the filters name: kNotFound for containers that are not there,
  // while an unknown image just matches nothing.
  Result<> resolve(const ContainerRegistry& containers, image::ImageStore& images);
  bool matches(const ContainerRecord& record) const;
  // Names an explicit status, so stopped containers are wanted without all=1.
  bool wants_stopped() const { return values_.contains("status"); }

 private:
  bool matches_one(const ContainerRecord& record, const std::string& key, const std::set<std::string>& values) const;

  FilterValues values_;
  std::set<std::string> image_ids_;  // ancestor
  int64_t before_ns_ = INT64_MAX, since_ns_ = INT64_MIN;
  std::set<std::string> ports_, exposed_;  // "80/tcp"
};

}  // namespace caisson::engine
