// SPDX-License-Identifier: Apache-2.0
// Published and exposed ports as ranges: "7000-7009/tcp" to "8000-8009" is one entry in what is kept of a container
// and ten in what clients see, as Docker shows each port for itself. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "network/network_manager.h"
#include "spec/docker_config.h"

namespace caisson::engine {

// Ranges or single ports of one container, once those with the same shift are one.
inline constexpr size_t kMaxPublishedRanges = 4096;

// Ports in a row with host ports in a row become one entry. Keys that are no ports stay as they are.
void compress_ports(spec::PortMap& ports);
spec::PortMap expand_ports(const spec::PortMap& ports);
void compress_exposed(spec::StringSet& ports);
spec::StringSet expand_exposed(const spec::StringSet& ports);

// "tcp/80/0.0.0.0/32768", with "/10" behind it for ten ports: the form in a container's record.
std::string port_text(const network::PortMapping& port);
std::optional<network::PortMapping> parse_port_text(const std::string& text);

// The part of `port` from its `first` port on, `count` long.
network::PortMapping part_of(const network::PortMapping& port, unsigned first, unsigned count);

}  // namespace caisson::engine
