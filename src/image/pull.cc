// SPDX-License-Identifier: Apache-2.0
#include "image/pull.h"

#include "base/log.h"
#include "base/text.h"
#include "image/fetch_endpoints.h"
#include "image/pull_layers.h"
#include "image/pull_progress.h"
#include "image/pull_select.h"
#include "image/pull_stream.h"
#include "sys/files.h"
#include "wire/digest.h"

namespace caisson::image {

struct TagList {
  std::vector<std::string> tags;
};
CAISSON_JSON(TagList, CAISSON_FIELD("tags", tags))

namespace {

constexpr int kLookMs = 100;
constexpr size_t kMaxTags = 10'000;
constexpr size_t kMaxAuth = 32 << 10;  // must fit into one message to the worker, certificates beside it
constexpr int64_t kMaxTagListBytes = 8 << 20;

// Docker's sentences for what a registry refused; clients match on them.
Error translate(Error error, const std::string& code, const spec::Reference& reference) {
  if (code == "DENIED") {
    error.kind = ErrorKind::kNotFound;
    error.message = "pull access denied for " + reference.familiar_name() +
                    ", repository does not exist or may require 'docker login': " + error.message;
  } else if (code == "MANIFEST_UNKNOWN") {
    error.kind = ErrorKind::kNotFound;
    error.message = "manifest for " + reference.familiar() + " not found: " + error.message;
  } else if (code == "NAME_UNKNOWN") {
    error.kind = ErrorKind::kNotFound;
    error.message = "repository " + reference.familiar_name() + " not found: " + error.message;
  }
  return error;
}

struct FetchedManifest {
  DocumentKind kind = DocumentKind::kManifest;
  std::string body, digest;
};

class ImagePuller {
 public:
  ImagePuller(ImageStore& store, FetchSession& session, const FetchConfig& config, const spec::Reference& reference,
              const spec::Platform& platform, const std::atomic<bool>* cancel, ProgressSink& sink)
      : store_(store),
        session_(session),
        config_(config),
        reference_(reference),
        platform_(platform),
        cancel_(cancel),
        sink_(sink) {}

  Result<std::string> run() {
    const std::string& wanted = reference_.digest.empty() ? reference_.tag : reference_.digest;
    FetchedManifest top = TRY(fetch_manifest(wanted));
    FetchedManifest image = top;
    for (int depth = 0; image.kind == DocumentKind::kIndex; ++depth) {
      if (depth == 2) return fail(ErrorKind::kInvalid, "manifest lists are nested too deeply");
      auto index = TRY_CTX(json::decode<spec::Index>(image.body), "manifest list");
      image = TRY(fetch_manifest(TRY(select_platform(index, platform_)).digest));
    }
    auto manifest = TRY_CTX(json::decode<spec::Manifest>(image.body), "manifest");
    TRY(check_manifest(manifest));
    sink_.send(status_line("Pulling from " + reference_.path, wanted));
    bool fresh = TRY(bring_in(image, manifest, top.digest));
    sink_.send(status_line("Digest: " + top.digest));
    sink_.send(
        status_line(std::string(fresh ? "Status: Downloaded newer image for " : "Status: Image is up to date for ") +
                    reference_.familiar()));
    return manifest.config.digest;
  }

 private:
  Result<FetchedManifest> fetch_manifest(const std::string& wanted) {
    FetchReply refused;
    auto document =
        fetch_document(session_, FetchJob{.kind = "manifest", .reference = wanted}, kMaxManifestBytes, &refused);
    if (!document) return std::unexpected(translate(std::move(document).error(), refused.code, reference_));
    FetchedManifest out{.body = std::move(document->body)};
    out.digest = digest::sha256(out.body);
    bool by_digest = wanted.contains(':');
    if (by_digest && wanted != out.digest)
      return fail(ErrorKind::kCorrupt, "manifest verification failed for digest %s", wanted.c_str());
    if (!document->reply.digest.empty() && document->reply.digest != out.digest)
      return fail(ErrorKind::kCorrupt, "manifest verification failed for digest %s", document->reply.digest.c_str());
    out.kind = TRY(classify_document(out.body, document->reply.media_type));
    return out;
  }

  // False if tag and image were here already.
  Result<bool> bring_in(const FetchedManifest& image, const spec::Manifest& manifest, const std::string& top_digest) {
    std::string repo_tag = reference_.digest.empty() ? reference_.familiar() : "";
    std::string repo_digest = reference_.familiar_name() + "@" + top_digest;
    if (auto known = store_.find(manifest.config.digest); known && known->id == manifest.config.digest) {
      auto before = store_.find(reference_.familiar());
      auto name = [&]() -> Result<> {
        if (!repo_tag.empty()) TRY(store_.tag(known->id, reference_.familiar_name(), reference_.tag));
        return store_.add_repo_digest(known->id, repo_digest);
      };
      auto named = name();
      if (named) return !before || before->id != known->id;
      // Somebody has removed it this moment: it is fetched then.
      if (named.error().kind != ErrorKind::kNotFound) return std::unexpected(std::move(named).error());
    }
    spec::ImageConfig config = TRY(bring_in_config(manifest));
    TRY(pull_layers(store_, session_, {config_.max_parallel, cancel_}, manifest, config, sink_));
    StringSource manifest_bytes(image.body);
    TRY(store_.add_blob(image.digest, manifest_bytes));
    TRY(store_.commit_image(image.digest, repo_tag, repo_digest));
    return true;
  }

  // Another pull may be fetching it at this moment.
  Result<spec::ImageConfig> bring_in_config(const spec::Manifest& manifest) {
    while (true) {
      auto seat = store_.transfers().join(manifest.config.digest);
      if (seat.is_pilot()) return fetch_config(manifest);
      while (!seat.wait(kLookMs))
        if (cancel_ && cancel_->load()) return fail(ErrorKind::kCancelled, "context canceled");
    }
  }

  Result<spec::ImageConfig> fetch_config(const spec::Manifest& manifest) {
    if (store_.has_blob(manifest.config.digest)) {
      UniqueFd blob = TRY(store_.open_blob(manifest.config.digest));
      auto config =
          TRY_CTX(json::decode<spec::ImageConfig>(TRY(sys::read_fd(blob.get(), kMaxConfigBytes))), "image config");
      TRY(check_image(manifest, config));
      return config;
    }
    FetchReply refused;
    auto document = fetch_document(
        session_, FetchJob{.kind = "blob", .digest = manifest.config.digest, .size = manifest.config.size},
        std::min(kMaxConfigBytes, manifest.config.size), &refused);
    if (!document) return std::unexpected(translate(std::move(document).error(), refused.code, reference_));
    if (digest::sha256(document->body) != manifest.config.digest)
      return fail(ErrorKind::kCorrupt, "image config verification failed for digest %s",
                  manifest.config.digest.c_str());
    auto config = TRY_CTX(json::decode<spec::ImageConfig>(document->body), "image config");
    TRY(check_image(manifest, config));
    StringSource bytes(document->body);
    TRY(store_.add_blob(manifest.config.digest, bytes));
    return config;
  }

  ImageStore& store_;
  FetchSession& session_;
  const FetchConfig& config_;
  const spec::Reference& reference_;
  const spec::Platform& platform_;
  const std::atomic<bool>* cancel_;
  ProgressSink& sink_;
};

Result<std::vector<std::string>> fetch_tags(FetchSession& session, const spec::Reference& reference) {
  FetchReply refused;
  auto document = fetch_document(session, FetchJob{.kind = "tags"}, kMaxTagListBytes, &refused);
  if (!document) return std::unexpected(translate(std::move(document).error(), refused.code, reference));
  auto list = TRY_CTX(json::decode<TagList>(document->body), "list of tags");
  if (list.tags.size() > kMaxTags) return fail(ErrorKind::kInvalid, "repository has more than %zu tags", kMaxTags);
  for (auto& tag : list.tags)
    if (!spec::is_valid_tag(tag))
      return fail(ErrorKind::kInvalid, "list of tags: malformed tag %s", quoted(tag).c_str());
  return std::move(list.tags);
}

Result<std::string> pull_all(ImageStore& store, FetchSession& session, const FetchConfig& config,
                             const TransferRequest& request, ProgressSink& sink) {
  spec::Platform platform = TRY(parse_platform(request.platform));
  auto lease = store.lease();
  spec::Reference one = request.reference;
  if (!one.tag.empty() || !one.digest.empty())
    return ImagePuller(store, session, config, one, platform, request.cancel, sink).run();
  std::string last;
  for (auto& tag : TRY(fetch_tags(session, request.reference))) {
    one.tag = tag;
    last = TRY(ImagePuller(store, session, config, one, platform, request.cancel, sink).run());
  }
  return last;
}

}  // namespace

Result<> check_request(const TransferRequest& request) {
  if (request.auth_json.size() > kMaxAuth)
    return fail(ErrorKind::kInvalid, "registry credentials are longer than %zu bytes", kMaxAuth);
  return {};
}

Result<std::string> pull_over(ImageStore& store, FetchSession& session, const FetchConfig& config,
                              const TransferRequest& request, const Progress& progress) {
  ProgressSink sink(progress);
  auto outcome = pull_all(store, session, config, request, sink);
  if (!outcome && request.cancel && request.cancel->load()) outcome = fail(ErrorKind::kCancelled, "context canceled");
  if (!outcome && sink.started()) sink.send(error_line(outcome.error().message));
  return outcome;
}

Result<std::string> pull(ImageStore& store, const FetchConfig& config, const TransferRequest& request,
                         const Progress& progress) {
  TRY(parse_platform(request.platform));
  TRY(check_request(request));
  auto endpoints = TRY(pull_endpoints(config, request));
  for (size_t i = 0;; ++i) {
    bool started = false;
    Progress watched = [&](const std::string& line) {
      started = true;
      if (progress) progress(line);
    };
    auto session = FetchSession::start(config, endpoints[i], request.cancel);
    auto outcome =
        session ? pull_over(store, **session, config, request, watched) : std::unexpected(std::move(session).error());
    if (outcome) return outcome;
    bool last = i + 1 == endpoints.size();
    if (last || started || outcome.error().kind == ErrorKind::kCancelled)
      return std::unexpected(as_registry_error(std::move(outcome).error()));
    log_info("pulling from '%s': %s, trying the next place", endpoints[i].host.c_str(),
             outcome.error().message.c_str());
  }
}

}  // namespace caisson::image
