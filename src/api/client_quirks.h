// SPDX-License-Identifier: Apache-2.0
// What single clients expect beside what the API says. Each one is named with the client that needs it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "spec/docker_config.h"

namespace caisson::api {

// The log driver of a container whose request names none, where the engine's is `engine_driver`.
void choose_log_driver(std::string_view user_agent, const std::string& engine_driver,
                       const std::map<std::string, std::string>& engine_options, spec::HostConfig& host);

// The API version whose image inspect the client understands.
int image_inspect_version(std::string_view user_agent, int version);

// Waits, for a moment at most, until the peer of a unix socket has read all that was sent to it.
void await_peer_has_read(int fd);

}  // namespace caisson::api
