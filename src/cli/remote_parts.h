// SPDX-License-Identifier: Apache-2.0
// Manifests and blobs of registries, one by one, by way of the engine: this client speaks to no registry itself.
#pragma once

#include <map>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "cli/app.h"
#include "cli/json_value.h"
#include "spec/reference.h"

namespace caisson::cli {

inline constexpr int64_t kMaxRemoteManifest = 4 << 20;

struct RemoteDocument {
  std::string name, text, media_type, digest;
  JsonValue parsed;
  bool is_list() const { return parsed.at("manifests").is_array(); }
};

struct RemoteBlob {
  std::string digest;
  int64_t size = 0;
};

class RemoteParts {
 public:
  // `insecure`: plain http and any certificate are good enough.
  explicit RemoteParts(App& app, bool insecure = false) : app_(app), insecure_(insecure) {}

  Result<RemoteDocument> document(const spec::Reference& reference);
  // What the registry has under the name, without fetching it.
  Result<std::string> digest(const spec::Reference& reference);
  // As the image's config says it; null for what is no image.
  Result<JsonValue> platform(const spec::Reference& reference);
  // Under the reference's digest, else its tag; the digest.
  Result<std::string> put_document(const spec::Reference& reference, const std::string& media_type,
                                   const std::string& text);
  // Makes sure that the repository has a blob which another one of the same registry has.
  Result<> adopt_blob(const spec::Reference& reference, const std::string& from, const RemoteBlob& blob);
  Result<RemoteBlob> put_blob(const spec::Reference& reference, ByteSource& body, int64_t size);
  // The engine checks the digest; what is not whole, or another blob, ends with an error after its last byte.
  Result<> get_blob(const spec::Reference& reference, const RemoteBlob& blob, ByteSink& out);
  // Descriptors of the manifests whose subject `digest` is.
  Result<JsonValue> referrers(const spec::Reference& reference, const std::string& digest);

 private:
  http::Query query() const;
  Result<JsonValue> descriptor(const spec::Reference& reference);
  http::Headers headers(const spec::Reference& reference);

  App& app_;
  const bool insecure_;
  std::map<std::string, std::string> auths_;  // asked for once
};

// Text from a registry for the terminal: control bytes as question marks.
std::string printable(std::string text);

// "name@digest" without the tag.
spec::Reference by_digest(const spec::Reference& reference, const std::string& digest);

}  // namespace caisson::cli
