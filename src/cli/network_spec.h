// SPDX-License-Identifier: Apache-2.0
// The texts of --network, --publish and --expose.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/json_value.h"

namespace caisson::cli {

struct NetworkSpec {
  std::string target;                        // name, "host", "container:..."
  JsonValue endpoint = JsonValue::object();  // EndpointSettings members that were given
};
// "name" or "name=x,alias=a,ip=1.2.3.4,ip6=..,mac-address=..,link-local-ip=..,driver-opt=k=v,gw-priority=1".
Result<NetworkSpec> parse_network(std::string_view text);

struct PortBinding {
  std::string container_port;  // "80/tcp"
  std::string host_ip, host_port;
};
// "80", "8080:80", "127.0.0.1:8000-8010:80-90/udp", "[::1]::80" or "published=..,target=..": one binding
// per container port.
Result<std::vector<PortBinding>> parse_publish(std::string_view text);
// PortBindings of several such texts; with `container_port_alone` "80" means the container's port, wherever published.
Result<JsonValue> port_map(const std::vector<std::string>& texts, bool container_port_alone);
// "80", "80-90/udp": the container ports.
Result<std::vector<std::string>> parse_expose(std::string_view text);

}  // namespace caisson::cli
