// SPDX-License-Identifier: Apache-2.0
// Lists of manifests that are being put together, in the layout of Docker's client, so that both read each other's:
// CONFIG/manifests/LIST/MANIFEST, where a name stands with - for : and _ for /. One JSON object a file.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/json_value.h"
#include "spec/reference.h"

namespace caisson::cli {

class ManifestStore {
 public:
  explicit ManifestStore(const std::string& config_dir) : root_(config_dir + "/manifests") {}

  // By the names of their files; kNotFound in Docker's words.
  Result<std::vector<JsonValue>> list(const spec::Reference& list) const;
  Result<JsonValue> find(const spec::Reference& list, const spec::Reference& manifest) const;
  Result<> save(const spec::Reference& list, const spec::Reference& manifest, const JsonValue& record) const;
  Result<> remove(const spec::Reference& list) const;

 private:
  std::string root_;
};

// Pure: the file that stands for a name.
std::string manifest_file_name(const spec::Reference& reference);

// Pure: whether the registry's world knows such a platform (Go's list, as Docker has it).
bool is_known_platform(const std::string& os, const std::string& architecture);

// Pure: the document that is pushed, byte for byte as Docker's client makes it. kInvalid in its words where a record
// has no platform or comes from another registry than `target`'s.
struct ManifestList {
  std::string media_type, text;
};
Result<ManifestList> assemble_list(const spec::Reference& target, const std::vector<JsonValue>& records);

}  // namespace caisson::cli
