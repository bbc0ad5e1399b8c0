// SPDX-License-Identifier: Apache-2.0
#include "cli/pull.h"

#include "base/text.h"
#include "cli/credentials.h"
#include "cli/progress.h"
#include "spec/reference.h"

namespace caisson::cli {

std::string registry_auth(App& app, const std::string& domain) {
  auto found = Credentials(app).find(credential_key(domain));
  if (found) return *found ? encode_auth(**found) : "";
  // A broken helper must not keep anybody from what needs no login.
  app.complain("WARNING: " + found.error().message);
  return "";
}

Result<> pull_image(App& app, const PullOptions& options, Output& out) {
  spec::Reference reference = TRY(options.all_tags ? spec::parse_reference(options.image)
                                                   : spec::parse_reference_with_default_tag(options.image));
  http::Query query;
  // Without docker.io: the engine's short-name aliases are for names without a registry.
  bool is_full = options.image.starts_with("docker.io/") || options.image.starts_with("index.docker.io/");
  query.add("fromImage", is_full ? reference.name() : reference.familiar_name());
  if (!options.platform.empty()) query.add("platform", options.platform);
  query.add("tag", reference.digest.empty() ? reference.tag : reference.digest);
  http::Headers headers;
  if (std::string auth = registry_auth(app, reference.domain); !auth.empty()) headers.add("X-Registry-Auth", auth);
  Engine::Stream stream =
      TRY(app.engine().open({.method = "POST", .path = "/images/create", .query = query, .headers = headers}));
  return show_progress(stream, out, options.quiet);
}

}  // namespace caisson::cli
