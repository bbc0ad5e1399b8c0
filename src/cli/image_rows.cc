// SPDX-License-Identifier: Apache-2.0
#include "cli/image_rows.h"

#include <algorithm>

#include "base/text.h"
#include "cli/containers.h"
#include "cli/units.h"
#include "spec/reference.h"

namespace caisson::cli {

std::span<const Column> image_columns() {
  static constexpr Column kColumns[] = {{"Repository", "REPOSITORY"},  {"Tag", "TAG"},
                                        {"Digest", "DIGEST"},          {"ID", "IMAGE ID"},
                                        {"CreatedSince", "CREATED"},   {"Size", "SIZE"},
                                        {"CreatedAt", "CREATED AT"},   {"SharedSize", "SHARED SIZE"},
                                        {"UniqueSize", "UNIQUE SIZE"}, {"Containers", "CONTAINERS"},
                                        {"VirtualSize", "SIZE"}};
  return kColumns;
}

namespace {

struct Name {
  std::string repository, tag, digest;
};

// Tags and digests of an image by repository, in the order of the tags.
std::vector<Name> names_of(const JsonValue& image, bool digests) {
  std::vector<Name> names;
  std::vector<std::pair<std::string, std::string>> known;  // repository, digest
  for (const JsonValue& text : image.at("RepoDigests").items())
    if (auto reference = spec::parse_reference(text.text()))
      known.emplace_back(reference->familiar_name(), reference->digest);
  for (const JsonValue& text : image.at("RepoTags").items()) {
    auto reference = spec::parse_reference(text.text());
    if (!reference || text.text() == "<none>:<none>") continue;
    Name name{reference->familiar_name(), reference->tag, "<none>"};
    for (const auto& [repository, digest] : known)
      if (digests && repository == name.repository) name.digest = digest;
    names.push_back(std::move(name));
  }
  for (const auto& [repository, digest] : known) {
    bool tagged =
        std::any_of(names.begin(), names.end(), [&](const Name& name) { return name.repository == repository; });
    if (!tagged) names.push_back({repository, "<none>", digests ? digest : "<none>"});
  }
  if (names.empty()) names.push_back({"<none>", "<none>", "<none>"});
  return names;
}

}  // namespace

std::vector<JsonValue> image_rows(const JsonValue& image, const ImageRowOptions& options) {
  std::vector<JsonValue> out;
  int64_t created = image.at("Created").as_int(), size = image.at("Size").as_int(),
          shared = image.at("SharedSize").as_int(), containers = image.at("Containers").as_int();
  bool has_shared = image.find("SharedSize") && shared != -1,
       has_containers = image.find("Containers") && containers != -1;
  for (const Name& name : names_of(image, options.digests)) {
    JsonValue row = JsonValue::object();
    row.set("Containers", has_containers ? std::to_string(containers) : "N/A");
    row.set("CreatedAt", local_time_text(created));
    row.set("CreatedSince", created >= -62135596800 && created != 0 ? age_text(created) : "N/A");
    row.set("Digest", name.digest);
    row.set("ID", options.truncate ? short_id(image.at("Id").text()) : image.at("Id").text());
    row.set("Repository", name.repository);
    row.set("SharedSize", has_shared ? human_size(static_cast<double>(shared)) : "N/A");
    row.set("Size", human_size(static_cast<double>(size), 3));
    row.set("Tag", name.tag);
    row.set("UniqueSize", has_shared ? human_size(static_cast<double>(size - shared)) : "N/A");
    row.set("VirtualSize", human_size(static_cast<double>(size)));
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace caisson::cli
