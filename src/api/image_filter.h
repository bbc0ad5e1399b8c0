// SPDX-License-Identifier: Apache-2.0
// Filters of GET /images/json, and the platform that requests about one image may ask for.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "image/image_store.h"

namespace caisson::api {

// Go's path.Match: "*" and "?" stop at "/"; nullopt for a malformed pattern. Linear in pattern times text.
std::optional<bool> glob_match(std::string_view pattern, std::string_view text);

class ImageFilter {
 public:
  // kInvalid for filters and values that Docker refuses, kNotFound for images that 'before' and 'since' name.
  static Result<ImageFilter> parse(const std::string& json, image::ImageStore& images, int64_t now_ns);
  // What the older parameter "filter" held: one more pattern for names.
  void add_reference(const std::string& pattern) { references_.insert(pattern); }

  // `has_children`: others were made from it here; without names it is then shown with `all` only. On true the names
  // that the patterns leave are in `tags` and `digests`.
  bool matches(const image::Image& image, bool all, bool has_children, std::vector<std::string>& tags,
               std::vector<std::string>& digests) const;

 private:
  bool takes_name(const std::string& name) const;

  std::optional<bool> dangling_;
  int64_t before_ns_ = INT64_MAX, since_ns_ = INT64_MIN;
  std::set<std::string> labels_, references_;
};

spec::Platform platform_of(const image::Image& image);
// {"os": "linux", "architecture": "amd64"}, nullopt for ""; kInvalid.
Result<std::optional<spec::Platform>> decode_platform(const std::string& json);
// kNotFound in Docker's words when the image is for another one.
Result<> check_platform(const image::Image& image, const std::string& name,
                        const std::optional<spec::Platform>& wanted);

}  // namespace caisson::api
