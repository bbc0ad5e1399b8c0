// SPDX-License-Identifier: Apache-2.0
// What the user's config.json says about commands: formats of lists, proxies for containers, headers of requests.
// Logins are credentials.h's, contexts context_store.h's.
#pragma once

#include <string>

#include "cli/app.h"
#include "cli/container_flags.h"
#include "cli/json_value.h"

namespace caisson::cli {

// An empty object where there is no such file, or none that can be read.
JsonValue client_config(const GlobalOptions& options);

// --format of a list: the flag's, else the member's of the configuration, which does not count with --quiet.
std::string list_format(const App& app, const ParsedFlags& flags, const char* member);

// The proxies of the configuration for this engine, or those for all, become variables of the container, in capital and
// small letters, where it is given none of that name.
void add_proxies(const App& app, ContainerRequest& request);

}  // namespace caisson::cli
