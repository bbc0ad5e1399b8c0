// SPDX-License-Identifier: Apache-2.0
// An engine behind ssh: a connection is an ssh process whose far end runs `system dial-stdio`. Who may log in there,
// and with which key, is the business of ssh and of the user's configuration of it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/host.h"
#include "wire/http_client.h"

namespace caisson::cli {

// ssh://[user@]host[:port][/path/of/socket]
Result<Host> parse_ssh_host(std::string_view text);

// ssh's arguments for a connection to `host`, [0] included.
std::vector<std::string> ssh_arguments(const Host& host);

// Starts ssh. That it cannot reach the host shows in the first answer, and on standard error.
Result<std::unique_ptr<http::Transport>> connect_ssh_transport(const Host& host,
                                                               const std::vector<std::string>& environment);

}  // namespace caisson::cli
