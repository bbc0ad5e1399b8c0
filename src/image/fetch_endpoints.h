// SPDX-License-Identifier: Apache-2.0
// Where the bytes of an image may come from and go to: mirrors, rewritten names, blocked registries. Pure but for names
// that the worker looks up later; who gets the user's credentials is decided here and nowhere else.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "image/fetch_session.h"
#include "image/pull.h"

namespace caisson::image {

// In the order in which they are tried, the registry itself last. A host other than the one the user named is never
// given credentials. kDenied if the administrator blocked the name.
Result<std::vector<FetchSetup>> pull_endpoints(const FetchConfig& config, const TransferRequest& request);
// Mirrors and rewrites are for pulls; blocks are for both.
Result<FetchSetup> push_endpoint(const FetchConfig& config, const TransferRequest& request);

// For requests that are no image: a login, a search.
FetchSetup registry_endpoint(const FetchConfig& config, const std::string& domain, const std::string& auth_json);

// Docker answers 500 for what a registry does wrong; 503 and 403 would speak of this engine.
Error as_registry_error(Error error);

}  // namespace caisson::image
