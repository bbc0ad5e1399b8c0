// SPDX-License-Identifier: Apache-2.0
// What all transfers of the fetch worker share: sending with patience, errors with the registry's own code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "image/fetch_transfer.h"

namespace caisson::image {

inline constexpr size_t kMaxErrorBody = 64 << 10;

std::unexpected<TransferError> failed(Error error);
// Reads the answer's error document.
std::unexpected<TransferError> failed_response(registry::RegistryResponse& response);
std::string header_or_empty(const registry::RegistryResponse& response, std::string_view name);

// Retry-After, in seconds from now.
std::optional<int64_t> asked_wait(const registry::RegistryResponse& response);
// Blocks before try number `failures` + 1.
void sleep_before_try(const RetryPolicy& policy, int failures, std::optional<int64_t> asked_s = std::nullopt);
bool worth_retrying(const Error& error);

}  // namespace caisson::image
