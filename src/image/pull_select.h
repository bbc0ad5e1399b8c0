// SPDX-License-Identifier: Apache-2.0
// Choices of a pull, made from documents alone: what kind of manifest came, which entry of an index fits the
// wanted platform, whether a config and a manifest belong together. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "spec/oci_image.h"

namespace caisson::image {

// "linux/arm64/v8", "linux/amd64", "arm64", "linux"; "" is this machine. Names are normalized as containerd does
// (x86_64 is amd64, aarch64 is arm64, armhf is arm/v7). kInvalid.
Result<spec::Platform> parse_platform(const std::string& text);
std::string platform_text(const spec::Platform& platform);

enum class DocumentKind : unsigned char { kManifest, kIndex };
// From the document's own mediaType where it has one, else from the answer's Content-Type, else from its shape. The two
// must not contradict each other (a document that is both would be read differently by different engines).
// kInvalid for schema 1 and for anything that is no image.
Result<DocumentKind> classify_document(const std::string& body, const std::string& content_type);

// Whether what is made for `own` runs where `wanted` is asked for.
bool platform_fits(const spec::Platform& own, const spec::Platform& wanted);

// The first entry that fits best; exact variant before another one that the machine can run. kNotFound in Docker's
// words.
Result<spec::Descriptor> select_platform(const spec::Index& index, const spec::Platform& wanted);

// Bounds of a manifest: sha256 digests, sizes, number of layers, no foreign layers, a config that is an image config.
Result<> check_manifest(const spec::Manifest& manifest);
// As many layers as diff-ids, Linux, sound config.
Result<> check_image(const spec::Manifest& manifest, const spec::ImageConfig& config);

}  // namespace caisson::image
