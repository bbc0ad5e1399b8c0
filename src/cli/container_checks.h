// SPDX-License-Identifier: Apache-2.0
// Checks of single flag values of `run` and `create`, with the texts of Docker's client.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/json_value.h"

namespace caisson::cli {

Result<> check_attach(std::string_view value);
Result<> check_add_host(std::string_view value);
Result<> check_weight_device(std::string_view value);
Result<> check_device_bps(std::string_view value);
Result<> check_device_iops(std::string_view value);
Result<> check_device_rule(std::string_view value);
Result<> check_ip(std::string_view value);
Result<> check_dns_search(std::string_view value);
Result<> check_env(std::string_view value);
Result<> check_label(std::string_view value);
Result<> check_link(std::string_view value);
Result<> check_map(std::string_view value);
Result<> check_sysctl(std::string_view value);
Result<> check_ulimit(std::string_view value);
Result<> check_mount(std::string_view value);
Result<> check_network(std::string_view value);
Result<> check_gpus(std::string_view value);
Result<> check_filter(std::string_view value);

// The same values in the form of the API.
Result<JsonValue> parse_ulimit(std::string_view value);
Result<JsonValue> parse_weight_device(std::string_view value);
Result<JsonValue> parse_device_rate(std::string_view value, bool bytes);
Result<JsonValue> parse_gpus(std::string_view value);
bool is_ip_address(std::string_view text);

}  // namespace caisson::cli
