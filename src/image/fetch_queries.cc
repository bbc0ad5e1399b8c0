// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_queries.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "image/fetch_endpoints.h"
#include "image/pull_select.h"
#include "image/pull_stream.h"
#include "wire/digest.h"
#include "wire/http.h"

namespace caisson::image {

// One entry of an index's answer.
struct SearchEntry {
  std::string name, description;
  int64_t star_count = 0;
  bool is_official = false;
};
CAISSON_JSON(SearchEntry, CAISSON_FIELD("name", name), CAISSON_FIELD("description", description),
             CAISSON_FIELD("star_count", star_count), CAISSON_FIELD("is_official", is_official))
struct SearchAnswer {
  std::vector<SearchEntry> results;
};
CAISSON_JSON(SearchAnswer, CAISSON_FIELD("results", results))

namespace {

constexpr int64_t kMaxSearchBytes = 2 << 20;
constexpr size_t kMaxHitText = 4096;

// The host of "https://h:1/v1/", "h:1", "".
std::string host_of_server(const std::string& server) {
  std::string host = server;
  if (size_t scheme = host.find("://"); scheme != std::string::npos) host.erase(0, scheme + 3);
  host = host.substr(0, host.find('/'));
  if (host.empty() || host == "docker.io" || host == "index.docker.io" || host == "registry-1.docker.io")
    return "docker.io";
  return host;
}

class RemoteInspector {
 public:
  RemoteInspector(FetchSession& session, const spec::Reference& reference, bool wants_platforms, std::string& code)
      : session_(session), reference_(reference), wants_platforms_(wants_platforms), code_(code) {}

  Result<RemoteImage> run() {
    std::string wanted = !reference_.digest.empty() ? reference_.digest
                         : reference_.tag.empty()   ? "latest"
                                                    : reference_.tag;
    Document document = TRY(fetch({.kind = "manifest", .reference = wanted}, kMaxManifestBytes));
    RemoteImage out;
    out.descriptor.digest = digest::sha256(document.body);
    out.descriptor.size = static_cast<int64_t>(document.body.size());
    if (!reference_.digest.empty() && reference_.digest != out.descriptor.digest)
      return fail(ErrorKind::kCorrupt, "manifest verification failed for digest %s", reference_.digest.c_str());
    DocumentKind kind = TRY(classify_document(document.body, document.reply.media_type));
    if (kind == DocumentKind::kIndex) {
      auto index = TRY_CTX(json::decode<spec::Index>(document.body), "manifest list");
      out.descriptor.media_type = index.media_type;
      for (auto& entry : index.manifests)
        if (entry.platform) out.platforms.push_back(*entry.platform);
    } else {
      auto manifest = TRY_CTX(json::decode<spec::Manifest>(document.body), "manifest");
      out.descriptor.media_type = manifest.media_type;
      out.descriptor.artifact_type = manifest.artifact_type;
      bool is_image =
          manifest.config.media_type == spec::kOciConfig || manifest.config.media_type == spec::kDockerConfig;
      if (wants_platforms_ && is_image) {
        TRY(check_manifest(manifest));
        out.platforms.push_back(TRY(platform_of_config(manifest.config)));
      }
    }
    if (out.descriptor.media_type.empty()) out.descriptor.media_type = document.reply.media_type;
    out.document = std::move(document.body);
    return out;
  }

 private:
  Result<Document> fetch(FetchJob job, int64_t limit) {
    FetchReply refused;
    auto document = fetch_document(session_, std::move(job), limit, &refused);
    if (!document) code_ = refused.code;
    return document;
  }

  Result<spec::Platform> platform_of_config(const spec::Descriptor& config) {
    Document document = TRY(
        fetch({.kind = "blob", .digest = config.digest, .size = config.size}, std::min(kMaxConfigBytes, config.size)));
    if (digest::sha256(document.body) != config.digest)
      return fail(ErrorKind::kCorrupt, "image config verification failed for digest %s", config.digest.c_str());
    return TRY_CTX(json::decode<spec::Platform>(document.body), "image config");
  }

  FetchSession& session_;
  const spec::Reference& reference_;
  const bool wants_platforms_;
  std::string& code_;
};

std::string clean_text(std::string text) {
  if (text.size() > kMaxHitText) text.resize(kMaxHitText);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

}  // namespace

Result<std::string> check_login(const FetchConfig& config, const std::string& server, const std::string& auth_json) {
  TransferRequest request{.auth_json = auth_json};
  TRY(check_request(request));
  FetchSetup setup = registry_endpoint(config, host_of_server(server), auth_json);
  setup.offline_token = true;
  auto session = TRY(FetchSession::start(config, setup, nullptr));
  return TRY(session->call(FetchJob{.kind = "login"}, {})).identity_token;
}

namespace {

Result<RemoteImage> find_remote(const FetchConfig& config, const TransferRequest& request, bool wants_platforms,
                                std::string& code) {
  TRY(check_request(request));
  auto endpoints = TRY(pull_endpoints(config, request));
  for (size_t i = 0;; ++i) {
    auto session = FetchSession::start(config, endpoints[i], request.cancel);
    auto found = session ? RemoteInspector(**session, request.reference, wants_platforms, code).run()
                         : std::unexpected(std::move(session).error());
    if (found || i + 1 == endpoints.size()) return found;
    log_info("asking '%s': %s, trying the next place", endpoints[i].host.c_str(), found.error().message.c_str());
  }
}

}  // namespace

Result<RemoteImage> inspect_remote(const FetchConfig& config, const TransferRequest& request, std::string& code) {
  return find_remote(config, request, true, code);
}

Result<RemoteImage> fetch_remote_document(const FetchConfig& config, const TransferRequest& request,
                                          std::string& code) {
  return find_remote(config, request, false, code);
}

Result<std::vector<SearchHit>> search_registry(const FetchConfig& config, const std::string& term, int64_t limit,
                                               const std::string& auth_json) {
  if (term.contains("://"))
    return fail(ErrorKind::kInvalid, "invalid repository name (ex: \"registry.domain.tld/myrepos\")");
  std::string host = "index.docker.io", words = term;
  auto parts = split_once(term, '/');
  if (parts && (parts->first.contains('.') || parts->first.contains(':') || parts->first == "localhost")) {
    if (parts->first != "docker.io" && parts->first != "index.docker.io") host = parts->first;
    words = parts->second;
  }
  if (host == "index.docker.io" && words.starts_with("library/")) words.erase(0, 8);
  TransferRequest checked{.auth_json = auth_json};
  TRY(check_request(checked));
  auto session = TRY(FetchSession::start(config, registry_endpoint(config, host, auth_json), nullptr));
  http::Query query;
  query.add("q", words);
  query.add("n", std::to_string(limit));
  FetchJob job{.kind = "search", .reference = "/v1/search?" + query.encode()};
  Document document = TRY(fetch_document(*session, std::move(job), kMaxSearchBytes));
  auto answer = json::decode<SearchAnswer>(document.body);
  if (!answer)
    return fail(ErrorKind::kInternal, "error decoding registry search results: %s", answer.error().message.c_str());
  std::vector<SearchHit> out;
  for (auto& entry : answer->results) {
    if (static_cast<int64_t>(out.size()) == limit) break;
    out.push_back({clean_text(entry.name), clean_text(entry.description), entry.star_count, entry.is_official});
  }
  return out;
}

}  // namespace caisson::image
