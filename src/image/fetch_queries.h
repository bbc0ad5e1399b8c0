// SPDX-License-Identifier: Apache-2.0
// Questions to registries that move no image: is this login good, what is behind a name, what does an index find.
// Each starts a fetch worker of its own and blocks.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "image/pull.h"
#include "spec/oci_image.h"

namespace caisson::image {

// Tries credentials (Docker's AuthConfig JSON) against the registry at `server` ("localhost:5000",
// "https://index.docker.io/v1/", "" for Docker Hub). The identity token that the registry gave, "" without one. kDenied
// if they are refused.
Result<std::string> check_login(const FetchConfig& config, const std::string& server, const std::string& auth_json);

struct RemoteImage {
  spec::Descriptor descriptor;
  std::vector<spec::Platform> platforms;  // none of what is no image
  std::string document;                   // the manifest or index as the registry has it
};
// By tag or digest. `code`, where the registry gave one, is its own word for the failure ("MANIFEST_UNKNOWN").
Result<RemoteImage> inspect_remote(const FetchConfig& config, const TransferRequest& request, std::string& code);

// Only the document and its descriptor, whatever it is a manifest of.
Result<RemoteImage> fetch_remote_document(const FetchConfig& config, const TransferRequest& request, std::string& code);

struct SearchHit {
  std::string name, description;
  int64_t star_count = 0;
  bool is_official = false;
};
// `term` may name the registry to ask: "localhost:5000/word". At most `limit` hits.
Result<std::vector<SearchHit>> search_registry(const FetchConfig& config, const std::string& term, int64_t limit,
                                               const std::string& auth_json);

}  // namespace caisson::image
