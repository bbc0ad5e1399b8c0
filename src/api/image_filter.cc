// SPDX-License-Identifier: Apache-2.0
#include "api/image_filter.h"

#include <algorithm>

#include "base/text.h"
#include "engine/container_filter.h"
#include "engine/prune.h"
#include "image/pull_select.h"
#include "spec/reference.h"

namespace caisson::api {

namespace {

constexpr size_t npos = std::string_view::npos;

// One element of a pattern at `at`: how long it is and whether it takes `c`. Length 0: malformed.
struct Element {
  size_t length = 0;
  bool takes = false;
};

Element class_element(std::string_view pattern, size_t at, char c) {
  size_t pos = at + 1;
  bool negated = pos < pattern.size() && pattern[pos] == '^', found = false;
  pos += negated;
  auto next = [&]() -> std::optional<char> {
    if (pos < pattern.size() && pattern[pos] == '\\') ++pos;
    if (pos >= pattern.size()) return std::nullopt;
    return pattern[pos++];
  };
  for (bool first = true; first || pos >= pattern.size() || pattern[pos] != ']'; first = false) {
    if (first && pos < pattern.size() && (pattern[pos] == ']' || pattern[pos] == '-')) return {};
    auto low = next();
    auto high = low;
    if (low && pos < pattern.size() && pattern[pos] == '-') {
      ++pos;
      high = pos < pattern.size() && pattern[pos] == ']' ? std::nullopt : next();
    }
    if (!low || !high) return {};
    found = found || (*low <= c && c <= *high);
  }
  return {pos + 1 - at, found != negated};
}

Element element_at(std::string_view pattern, size_t at, char c) {
  switch (pattern[at]) {
    case '[': return class_element(pattern, at, c);
    case '?': return {1, c != '/'};
    case '\\': return at + 1 < pattern.size() ? Element{2, pattern[at + 1] == c} : Element{};
    default: return {1, pattern[at] == c};
  }
}

bool is_well_formed(std::string_view pattern) {
  for (size_t at = 0; at < pattern.size();) {
    size_t length = pattern[at] == '*' ? 1 : element_at(pattern, at, 'x').length;
    if (length == 0) return false;
    at += length;
  }
  return true;
}

}  // namespace

std::optional<bool> glob_match(std::string_view pattern, std::string_view text) {
  if (!is_well_formed(pattern)) return std::nullopt;
  // Going back to the last star is enough: a star before it cannot do better with more.
  size_t at = 0, pos = 0, star = npos, star_pos = 0;
  while (pos < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      star_pos = pos;
      continue;
    }
    if (at < pattern.size())
      if (Element element = element_at(pattern, at, text[pos]); element.takes) {
        at += element.length;
        ++pos;
        continue;
      }
    if (star == npos || text[star_pos] == '/') return false;
    at = star + 1;
    pos = ++star_pos;
  }
  while (at < pattern.size() && pattern[at] == '*') ++at;
  return at == pattern.size();
}

Result<ImageFilter> ImageFilter::parse(const std::string& json, image::ImageStore& images, int64_t now_ns) {
  static constexpr std::string_view known[] = {"reference", "dangling", "label", "before", "since", "until"};
  auto values = TRY(engine::parse_filters(json, known));
  ImageFilter out;
  if (auto found = values.find("dangling"); found != values.end()) {
    const auto& given = found->second;
    bool yes = given.contains("1") || given.contains("true"), no = given.contains("0") || given.contains("false");
    if (yes == no)
      return fail(ErrorKind::kInvalid, "invalid filter 'dangling=[%s]'",
                  join({given.begin(), given.end()}, " ").substr(0, 64).c_str());
    out.dangling_ = yes;
  }
  for (const auto& name : values["before"])
    out.before_ns_ = std::min(out.before_ns_, TRY(images.find(name)).created_ns);
  for (const auto& name : values["since"]) out.since_ns_ = std::max(out.since_ns_, TRY(images.find(name)).created_ns);
  for (const auto& time : values["until"])
    out.before_ns_ = std::min(out.before_ns_, TRY(engine::parse_until(time, now_ns)));
  out.labels_ = std::move(values["label"]);
  out.references_ = std::move(values["reference"]);
  for (const auto& pattern : out.references_)
    if (!is_well_formed(pattern))
      return fail(ErrorKind::kInvalid, "invalid filter 'reference=%s': syntax error in pattern",
                  pattern.substr(0, 64).c_str());
  return out;
}

bool ImageFilter::takes_name(const std::string& name) const {
  if (references_.empty()) return true;
  auto reference = spec::parse_reference(name);
  std::string repository = reference ? reference->familiar_name() : name;
  return std::any_of(references_.begin(), references_.end(), [&](const std::string& pattern) {
    return glob_match(pattern, name).value_or(false) || glob_match(pattern, repository).value_or(false);
  });
}

bool ImageFilter::matches(const image::Image& image, bool all, bool has_children, std::vector<std::string>& tags,
                          std::vector<std::string>& digests) const {
  if (image.created_ns >= before_ns_ || image.created_ns <= since_ns_) return false;
  for (const auto& label : labels_)
    if (!engine::label_matches(image.config.config.labels, label)) return false;
  auto takes = [&](const std::string& name) { return takes_name(name); };
  std::copy_if(image.repo_tags.begin(), image.repo_tags.end(), std::back_inserter(tags), takes);
  std::copy_if(image.repo_digests.begin(), image.repo_digests.end(), std::back_inserter(digests), takes);
  if (tags.empty() && digests.empty()) return references_.empty() && dangling_ != false && (all || !has_children);
  return dangling_ != true || tags.empty();
}

spec::Platform platform_of(const image::Image& image) {
  return {.architecture = image.config.architecture,
          .os = image.config.os,
          .os_version = image.config.os_version,
          .variant = image.config.variant,
          .os_features = image.config.os_features};
}

Result<std::optional<spec::Platform>> decode_platform(const std::string& text) {
  if (text.empty()) return std::optional<spec::Platform>();
  auto platform = json::decode<spec::Platform>(text);
  if (!platform) return fail(ErrorKind::kInvalid, "failed to parse platform: %s", platform.error().message.c_str());
  if (platform->os.empty() || platform->architecture.empty())
    return fail(ErrorKind::kInvalid, "both OS and Architecture must be provided");
  return std::optional<spec::Platform>(std::move(*platform));
}

Result<> check_platform(const image::Image& image, const std::string& name,
                        const std::optional<spec::Platform>& wanted) {
  if (!wanted) return {};
  spec::Platform own = platform_of(image);
  if (image::platform_fits(own, *wanted)) return {};
  return fail(ErrorKind::kNotFound,
              "image with reference %s was found but its platform (%s) does not match the specified platform (%s)",
              name.c_str(), image::platform_text(own).c_str(), image::platform_text(*wanted).c_str());
}

}  // namespace caisson::api
