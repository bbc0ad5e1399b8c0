// SPDX-License-Identifier: Apache-2.0
// containers-registries.conf(5): where the administrator sends pulls of which names. Reading it, and finding what
// holds for one image. Credentials and transfers are not here.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/image_policy.h"
#include "spec/reference.h"

namespace caisson::image {

// "host[:port][/path]" and how it is spoken to.
struct RegistryMirror {
  enum class Use : unsigned char { kAll, kDigestOnly, kTagOnly };
  std::string location;
  bool insecure = false;
  Use use = Use::kAll;
};

struct RegistryRule {
  std::string prefix;    // "host[:port][/path]" or "*.domain"
  std::string location;  // in the place of the prefix; "" keeps the name
  bool insecure = false, blocked = false;
  std::vector<RegistryMirror> mirrors;  // in the order in which they are tried, before the location
};

struct RegistriesConfig {
  std::vector<RegistryRule> rules;
  std::vector<std::string> search;             // unqualified-search-registries
  std::map<std::string, std::string> aliases;  // short name -> name with a registry
  ImagePolicy policy;                          // policy.json beside the file

  // The rule with the longest prefix of "host/path" (with ":tag" or "@digest" behind it), or nullptr.
  const RegistryRule* find(const spec::Reference& reference) const;
};

// `name` is the file's, for messages. At most 1 MiB, 1000 rules, 100 mirrors each. kInvalid with line and key.
Result<RegistriesConfig> parse_registries_conf(const std::string& text, const std::string& name);
// `path` and, by name, <path>.d/*.conf, which replace rules of the same prefix, the search list and aliases. A file
// that does not exist is an empty one. policy.json (image_policy.h) of the same directory belongs to it.
Result<RegistriesConfig> load_registries_conf(const std::string& path);

// What of `reference` ("host/path:tag") lies behind the rule's prefix: its location takes the prefix's place. Empty
// when the rule does not match.
std::string relocate(const RegistryRule& rule, const std::string& location, const std::string& name);

}  // namespace caisson::image
