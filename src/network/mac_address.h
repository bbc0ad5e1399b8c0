// SPDX-License-Identifier: Apache-2.0
// MAC addresses of containers. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/ip_address.h"
#include "sys/rtnetlink.h"

namespace caisson::network {

std::optional<sys::MacAddress> parse_mac(std::string_view text);  // "02:42:ac:11:00:02"
std::string format_mac(const sys::MacAddress& mac);
// 02:42 and the end of the address: stable per address, so that nobody's neighbour table goes stale.
sys::MacAddress mac_of(const IpAddress& address);

}  // namespace caisson::network
