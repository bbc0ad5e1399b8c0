// SPDX-License-Identifier: Apache-2.0
#include "image/image_policy.h"

#include <vector>

#include "base/text.h"
#include "wire/json.h"

namespace caisson::image {

// One requirement; what else it says matters to those who verify signatures.
struct PolicyRequirement {
  std::string type;
};
CAISSON_JSON(PolicyRequirement, CAISSON_FIELD("type", type))

namespace {

using Members = std::map<std::string, json::Raw>;
using Scopes = std::map<std::string, PolicyRule>;

std::unexpected<Error> mistake(const std::string& file, const std::string& where, const std::string& what) {
  return fail(ErrorKind::kInvalid, "%s: %s: %s", file.c_str(), quoted(where).c_str(), what.c_str());
}

Result<PolicyRule::Verdict> verdict_of(const std::string& type, const std::string& file, const std::string& where) {
  if (type == "insecureAcceptAnything") return PolicyRule::Verdict::kAccept;
  if (type == "reject") return PolicyRule::Verdict::kReject;
  if (type == "signedBy" || type == "signedBaseLayer" || type == "sigstoreSigned")
    return PolicyRule::Verdict::kUnsupported;
  return mistake(file, where, "unknown requirement " + quoted(type));
}

Result<PolicyRule> parse_rule(const std::string& text, const std::string& file, const std::string& where) {
  auto all = json::decode<std::vector<PolicyRequirement>>(text);
  if (!all) return mistake(file, where, "wants a list of requirements");
  if (all->empty()) return mistake(file, where, "the list of requirements must not be empty");
  PolicyRule out;
  for (const PolicyRequirement& one : *all) {
    auto verdict = TRY(verdict_of(one.type, file, where));
    bool is_stricter = verdict == PolicyRule::Verdict::kReject || out.verdict == PolicyRule::Verdict::kAccept;
    if (is_stricter) out = {verdict, one.type};
  }
  return out;
}

Result<> refuse(const PolicyRule& rule, const std::string& what) {
  if (rule.verdict == PolicyRule::Verdict::kAccept) return {};
  if (rule.verdict == PolicyRule::Verdict::kReject)
    return fail(ErrorKind::kDenied, "the image policy rejects %s", what.c_str());
  return fail(ErrorKind::kDenied,
              "the image policy demands a signature (%s) of %s, and this engine does not verify signatures",
              rule.type.c_str(), what.c_str());
}

const PolicyRule* find_rule(const Scopes& scopes, const spec::Reference& reference) {
  auto find = [&](const std::string& scope) -> const PolicyRule* {
    auto found = scopes.find(scope);
    return found == scopes.end() ? nullptr : &found->second;
  };
  if (auto* rule = find(reference.full())) return rule;
  for (std::string scope = reference.name();; scope.resize(scope.rfind('/'))) {
    if (auto* rule = find(scope)) return rule;
    if (!scope.contains('/')) break;
  }
  for (size_t dot = reference.domain.find('.'); dot != std::string::npos; dot = reference.domain.find('.', dot + 1))
    if (auto* rule = find("*" + reference.domain.substr(dot))) return rule;
  return find("");
}

}  // namespace

Result<> ImagePolicy::check(const spec::Reference& reference) const {
  const PolicyRule* rule = nullptr;
  if (auto docker = rules.find("docker"); docker != rules.end()) rule = find_rule(docker->second, reference);
  return refuse(rule ? *rule : fallback, quoted(reference.full()));
}

Result<> ImagePolicy::check_archive() const {
  const PolicyRule* rule = nullptr;
  if (auto archive = rules.find("docker-archive"); archive != rules.end())
    if (auto own = archive->second.find(""); own != archive->second.end()) rule = &own->second;
  return refuse(rule ? *rule : fallback, "images from archives");
}

Result<ImagePolicy> parse_image_policy(const std::string& text, const std::string& name) {
  auto top = json::decode<Members>(text);
  if (!top) return fail(ErrorKind::kInvalid, "%s: %s", name.c_str(), top.error().message.c_str());
  if (!top->contains("default")) return mistake(name, "default", "is missing");
  ImagePolicy out;
  for (const auto& [key, value] : *top) {
    if (key == "default") {
      out.fallback = TRY(parse_rule(value.text, name, key));
      continue;
    }
    if (key != "transports") return mistake(name, key, "is not known");
    auto transports = json::decode<std::map<std::string, Members>>(value.text);
    if (!transports) return mistake(name, key, "wants an object of objects");
    for (const auto& [transport, scopes] : *transports)
      for (const auto& [scope, requirements] : scopes)
        out.rules[transport][scope] = TRY(parse_rule(requirements.text, name, transport + ": " + scope));
  }
  return out;
}

}  // namespace caisson::image
