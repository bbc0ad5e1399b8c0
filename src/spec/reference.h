// SPDX-License-Identifier: Apache-2.0
// Image references: parsing, Docker's defaults (docker.io, library/, latest) and familiar forms. Pure.
// Same grammar and same error texts as Docker's distribution reference package.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::spec {

struct Reference {
  std::string domain;  // "docker.io", "localhost:5000"
  std::string path;    // "library/busybox"
  std::string tag;     // "" without one
  std::string digest;  // "sha256:..." or ""

  std::string name() const { return domain + "/" + path; }  // "docker.io/library/busybox"
  // "busybox", "user/app", "localhost:5000/app": without docker.io and library/.
  std::string familiar_name() const;
  // familiar_name plus tag and digest where present: "busybox:1.36", "app@sha256:..."
  std::string familiar() const;
  std::string full() const;  // name() plus tag and digest
  bool operator==(const Reference&) const = default;
};

// "busybox", "host:5000/a/b:tag@sha256:...". kInvalid with Docker's text. No default tag is added; a text
// of 64 hex digits is refused, as it would read like an id.
Result<Reference> parse_reference(std::string_view text);
// The same with tag "latest" where neither tag nor digest is given.
Result<Reference> parse_reference_with_default_tag(std::string_view text);

bool is_valid_tag(std::string_view tag);
// Any registered algorithm's "algorithm:hex" text of fitting length; the store itself takes sha256 only.
bool is_valid_digest(std::string_view digest);

}  // namespace caisson::spec
