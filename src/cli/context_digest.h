// SPDX-License-Identifier: Apache-2.0
// SHA-256 of a short text: contexts lie in directories named by it. The client links no digest library.
#pragma once

#include <string>
#include <string_view>

namespace caisson::cli {

std::string sha256_hex(std::string_view text);

}  // namespace caisson::cli
