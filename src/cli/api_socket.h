// SPDX-License-Identifier: Apache-2.0
// --use-api-socket: the engine's socket and the user's registry credentials for programs in a container.
#pragma once

#include <string>

#include "cli/app.h"
#include "cli/container_flags.h"

namespace caisson::cli {

// Before the creation: the mount of the socket, and where the credentials will be. kInvalid for an engine that is
// not reached by a unix socket. The result is what is to be given to send_credentials(), "" for nothing.
Result<std::string> add_api_socket(const App& app, ContainerRequest& request);
// After it: a configuration file with the credentials alone.
Result<> send_credentials(App& app, const std::string& container, const std::string& credentials);

}  // namespace caisson::cli
