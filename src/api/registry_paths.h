// SPDX-License-Identifier: Apache-2.0
// What a request to the registry server asks for: paths, ranges and pages of the distribution specification 1.1. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace caisson::api {

struct RegistryPath {
  enum class Kind : unsigned char { kNone, kBase, kCatalog, kTags, kManifest, kBlob, kUploads, kUpload, kReferrers };
  Kind kind = Kind::kNone;
  std::string name;       // of the repository, as it stands; check with is_repository_name
  std::string reference;  // tag, digest or the upload's id
};
// Of a decoded path. kNone for what the registry does not have.
RegistryPath parse_registry_path(std::string_view path);

// The specification's grammar, and 255 bytes at most.
bool is_repository_name(std::string_view name);

// "bytes=2-5", "bytes=2-", "bytes=-3" of something with `size` bytes: first byte and number of bytes. nullopt with
// `is_valid` true: none, or several, which may be answered with all of it; false: 416.
struct ByteRange {
  int64_t first = 0, length = 0;
};
std::optional<ByteRange> parse_byte_range(std::string_view header, int64_t size, bool& is_valid);

// "0-99", both included; nullopt for anything else.
std::optional<ByteRange> parse_content_range(std::string_view header);

}  // namespace caisson::api
