// SPDX-License-Identifier: Apache-2.0
// containers-policy.json(5): which images may be brought in, by registry and name. Signatures are not verified here,
// so what demands one is refused with a sentence that says so.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "spec/reference.h"

namespace caisson::image {

// What a scope demands. Several requirements must all be met, so the strictest one stands for them.
struct PolicyRule {
  enum class Verdict : unsigned char { kAccept, kReject, kUnsupported };
  Verdict verdict = Verdict::kAccept;
  std::string type;  // the requirement's own word, for messages
};

struct ImagePolicy {
  PolicyRule fallback;                                             // "default"; without a file all is accepted
  std::map<std::string, std::map<std::string, PolicyRule>> rules;  // transport -> scope -> rule; "" is the transport's

  // kDenied where the image may not come from a registry under this name. The longest scope rules: the name with its
  // tag or digest, without, each parent, the host, "*.domain".
  Result<> check(const spec::Reference& reference) const;
  // The same for archives that a client sends ("docker-archive").
  Result<> check_archive() const;
};

// `name` is the file's, for messages. kInvalid for what the format does not know: a mistake must not let images in.
Result<ImagePolicy> parse_image_policy(const std::string& text, const std::string& name);

}  // namespace caisson::image
