// SPDX-License-Identifier: Apache-2.0
// Random identifiers from the kernel's generator.
#pragma once

#include <cstdint>
#include <string>

namespace caisson {

void random_bytes(void* data, size_t size);
// 64 lower-case hex digits, the form of container ids. Never all decimal digits in the first 12, so a
// short id is not taken for a number (what Docker does too).
std::string random_id();
std::string random_hex(size_t digits);

}  // namespace caisson
