// SPDX-License-Identifier: Apache-2.0
// Aligns tab-separated lines into columns as Docker's client does.
#pragma once

#include <string>
#include <string_view>

namespace caisson::cli {

// Cells end at tabs; a line's last cell is not padded. Every column is at least `minimum` wide,
// its padding of three blanks included.
std::string align_table(std::string_view text, size_t minimum = 10);

}  // namespace caisson::cli
