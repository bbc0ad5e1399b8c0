// SPDX-License-Identifier: Apache-2.0
// Base64 as headers carry it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace caisson {

// Standard or URL alphabet, padding optional; nullopt for anything else (RFC 4648).
std::optional<std::string> base64_decode_url(std::string_view text);
// Standard alphabet, padded.
std::string base64_encode(std::string_view bytes);

}  // namespace caisson
