// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_endpoints.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "image/fetch_registries.h"
#include "wire/registry_proxy.h"
#include "wire/registry_url.h"

namespace caisson::image {
namespace {

constexpr const char* kHub = "docker.io";

// Docker Hub's registry lives under another name than its references.
std::string host_of_domain(const std::string& domain) { return domain == kHub ? "registry-1.docker.io" : domain; }

std::vector<std::string> networks_of(const FetchConfig& config) {
  std::vector<std::string> out;
  for (auto& entry : config.insecure_registries)
    if (entry.contains('/')) out.push_back(entry);
  return out;
}

std::string strip_slashes(std::string path) {
  while (path.ends_with('/')) path.pop_back();
  return path.starts_with('/') ? path.substr(1) : path;
}

FetchSetup endpoint(const FetchConfig& config, const std::string& host, const std::string& repository, bool insecure) {
  FetchSetup setup;
  setup.host = host;
  setup.repository = repository;
  setup.insecure = insecure || is_insecure_registry(config, host);
  setup.insecure_networks = networks_of(config);
  return setup;
}

// "host[:port]/path:tag" as an endpoint.
Result<FetchSetup> endpoint_of_name(const FetchConfig& config, const std::string& name, bool insecure) {
  auto reference = spec::parse_reference(name);
  if (!reference)
    return fail(ErrorKind::kInvalid, "registries.conf makes %s of the name: %s", quoted(name).c_str(),
                reference.error().message.c_str());
  return endpoint(config, host_of_domain(reference->domain), reference->path, insecure);
}

// daemon.json's registry-mirrors: of Docker Hub, plain http only where the mirror's own address says so.
void add_hub_mirrors(const FetchConfig& config, const spec::Reference& reference, std::vector<FetchSetup>& out) {
  for (auto& text : config.mirrors) {
    auto url = registry::parse_url(text);
    if (!url) {
      log_warn("registry mirror %s is no address, ignoring", quoted(text).c_str());
      continue;
    }
    std::string host = url->host_header();
    if (!url->secure && url->port == 80) host += ":80";
    std::string path = strip_slashes(url->target);
    out.push_back(endpoint(config, host, path.empty() ? reference.path : path + "/" + reference.path, !url->secure));
  }
}

bool applies(RegistryMirror::Use use, const spec::Reference& reference) {
  if (use == RegistryMirror::Use::kDigestOnly) return !reference.digest.empty();
  if (use == RegistryMirror::Use::kTagOnly) return reference.digest.empty();
  return true;
}

Result<> check_blocked(const RegistryRule* rule, const spec::Reference& reference) {
  if (!rule || !rule->blocked) return {};
  return fail(ErrorKind::kDenied, "registry %s is blocked in registries.conf: refusing %s",
              quoted(rule->prefix).c_str(), quoted(reference.familiar()).c_str());
}

const RegistryRule* find_rule(const FetchConfig& config, const spec::Reference& reference) {
  return config.registries ? config.registries->find(reference) : nullptr;
}

// What a name without a registry may mean; the name itself where the administrator says nothing.
std::vector<spec::Reference> candidates(const FetchConfig& config, const TransferRequest& request) {
  const spec::Reference& asked = request.reference;
  if (!request.is_short || !config.registries) return {asked};
  std::vector<spec::Reference> out;
  auto alias = config.registries->aliases.find(asked.familiar_name());
  if (alias != config.registries->aliases.end()) {
    if (auto target = spec::parse_reference(alias->second)) {
      target->tag = asked.tag;
      target->digest = asked.digest;
      return {*target};
    }
  }
  for (auto& host : config.registries->search) {
    spec::Reference one = asked;
    auto parts = split_once(host, '/');
    one.domain = parts ? parts->first : host;
    if (one.domain != kHub) one.path = (parts ? parts->second + "/" : "") + asked.familiar_name();
    out.push_back(std::move(one));
  }
  if (out.empty()) out.push_back(asked);
  return out;
}

Result<> add_endpoints(const FetchConfig& config, const TransferRequest& request, const spec::Reference& reference,
                       std::vector<FetchSetup>& out) {
  const RegistryRule* rule = find_rule(config, reference);
  TRY(check_blocked(rule, reference));
  if (config.registries) TRY(config.registries->policy.check(reference));
  if (rule)
    for (auto& mirror : rule->mirrors)
      if (applies(mirror.use, reference))
        out.push_back(
            TRY(endpoint_of_name(config, relocate(*rule, mirror.location, reference.full()), mirror.insecure)));
  if (reference.domain == kHub) add_hub_mirrors(config, reference, out);
  FetchSetup own =
      rule ? TRY(endpoint_of_name(config, relocate(*rule, rule->location, reference.full()), rule->insecure))
           : endpoint(config, host_of_domain(reference.domain), reference.path, false);
  out.push_back(std::move(own));
  for (auto& setup : out)
    if (setup.host == host_of_domain(request.reference.domain)) {
      setup.auth = request.auth_json;
      setup.insecure |= request.insecure;
    }
  return {};
}

}  // namespace

Result<std::vector<FetchSetup>> pull_endpoints(const FetchConfig& config, const TransferRequest& request) {
  std::vector<FetchSetup> out;
  for (auto& reference : candidates(config, request)) TRY(add_endpoints(config, request, reference, out));
  return out;
}

Result<FetchSetup> push_endpoint(const FetchConfig& config, const TransferRequest& request) {
  const RegistryRule* rule = find_rule(config, request.reference);
  TRY(check_blocked(rule, request.reference));
  FetchSetup setup = endpoint(config, host_of_domain(request.reference.domain), request.reference.path,
                              rule && rule->insecure && rule->location.empty());
  // A rule that leads elsewhere says nothing of how this host is spoken to.
  if (rule && rule->insecure && rule->location == rule->prefix) setup.insecure = true;
  setup.push = true;
  setup.insecure |= request.insecure;
  setup.auth = request.auth_json;
  return setup;
}

FetchSetup registry_endpoint(const FetchConfig& config, const std::string& domain, const std::string& auth_json) {
  spec::Reference reference{.domain = domain};
  const RegistryRule* rule = find_rule(config, reference);
  FetchSetup setup = endpoint(config, host_of_domain(domain), "", rule && rule->insecure);
  setup.auth = auth_json;
  return setup;
}

bool is_insecure_registry(const FetchConfig& config, const std::string& host) {
  auto url = registry::parse_url("http://" + host);
  if (!url) return false;
  if (registry::is_loopback_name(url->host)) return true;
  for (auto& entry : config.insecure_registries)
    if (equals_ignore_case(entry, host) || equals_ignore_case(entry, url->host) ||
        registry::is_in_network(url->host, entry))
      return true;
  return false;
}

Error as_registry_error(Error error) {
  if (error.kind == ErrorKind::kUnavailable || error.kind == ErrorKind::kDenied) error.kind = ErrorKind::kInternal;
  return error;
}

}  // namespace caisson::image
