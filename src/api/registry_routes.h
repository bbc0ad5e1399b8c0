// SPDX-License-Identifier: Apache-2.0
// What requests that talk to registries have in common: the engine's registry configuration and the user's
// credentials.
#pragma once

#include <optional>
#include <string>

#include "api/router.h"
#include "image/pull.h"

namespace caisson::api {

image::FetchConfig fetch_config(Context& context);

// The user's AuthConfig JSON for `domain` ("docker.io", "localhost:5000"): of X-Registry-Auth, else the entry of
// X-Registry-Config; "" without one. DOCKER-QUIRK: a header that cannot be read counts as none.
std::string registry_auth(const http::Request& request, const std::string& domain);

// What the request's name, credentials and `insecure` mean; nullopt: an error was sent.
std::optional<image::TransferRequest> remote_request(const Call& call);
// By the registry's own word for a failure, else by the error's kind.
int status_of_code(const std::string& code, const Error& error);

// Whether the name, as the client sent it, has no registry of its own: "busybox", "user/app".
bool is_short_name(const std::string& name);

}  // namespace caisson::api
