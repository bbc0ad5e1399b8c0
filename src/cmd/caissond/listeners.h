// SPDX-License-Identifier: Apache-2.0
// Opens what the engine listens on: unix sockets with their group, TCP with or without TLS, sockets handed over.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cmd/caissond/daemon_options.h"
#include "cmd/caissond/tls_front.h"
#include "wire/http_server.h"

namespace caisson {

struct Listeners {
  std::vector<std::string> socket_files;  // to be removed at the end
  std::unique_ptr<TlsFront> tls;
};

// The group of unix sockets: by name or number; none asked for and no group `docker`: root's. kNotFound.
Result<gid_t> socket_group(const std::optional<std::string>& wanted);

// `activated`: sockets of the service manager, for fd://.
Result<Listeners> open_listeners(const DaemonOptions& options, http::Server& server, std::vector<UniqueFd> activated);

}  // namespace caisson
