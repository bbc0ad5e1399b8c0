// SPDX-License-Identifier: Apache-2.0
// The flags of `update` as the resources section of a spec, and the units they are written in. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "flags.h"
#include "spec/oci_runtime.h"

namespace caisson::oci {

// "1073741824", "1g", "512MiB", "1.5G"; units of 1024.
std::optional<int64_t> parse_size(std::string_view text);
// Go's notation: "5s", "1m30s", "250ms". Nanoseconds.
std::optional<int64_t> parse_duration(std::string_view text);

// kInvalid `invalid value for NAME: ...`.
Result<spec::OciResources> resources_of_flags(const Parsed& flags);

}  // namespace caisson::oci
