// SPDX-License-Identifier: Apache-2.0
#include "api/prune_choice.h"

#include <algorithm>

#include "base/clock.h"
#include "engine/container_filter.h"
#include "engine/prune.h"

namespace caisson::api {

bool ImageChoice::takes(const image::Image& image) const {
  auto has = [&](const std::string& label) { return engine::label_matches(image.config.config.labels, label); };
  // DOCKER-QUIRK: one that is known by digests alone goes as well.
  return (image.repo_tags.empty() || !dangling_only) && image.created_ns <= until_ns &&
         std::all_of(labels.begin(), labels.end(), has) && std::none_of(not_labels.begin(), not_labels.end(), has);
}

Result<ImageChoice> ImageChoice::parse(const std::string& text) {
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

}  // namespace caisson::api
