// SPDX-License-Identifier: Apache-2.0
// Push: layers first, several at once, then config, then the manifest under its tag, so that a registry never holds
// a manifest whose blobs it lacks.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "base/log.h"
#include "base/text.h"
#include "image/fetch_endpoints.h"
#include "image/pull.h"
#include "image/pull_progress.h"
#include "image/pull_stream.h"
#include "sys/files.h"
#include "wire/compress.h"
#include "wire/digest.h"

namespace caisson::image {
namespace {

struct PushLayer {
  spec::Descriptor blob;  // as it will stand in the pushed manifest
  std::string id;         // short diff-id, Docker's name for it on the stream
  bool is_tar = false;    // the stored blob is an uncompressed tar: pushed as gzip
};

Result<int64_t> file_size(int fd) {
  struct stat status;
  if (fstat(fd, &status) < 0) return fail_errno("fstat");
  return static_cast<int64_t>(status.st_size);
}

Result<UniqueFd> unnamed_file(const std::string& directory) {
  UniqueFd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("open O_TMPFILE '%s'", directory.c_str());
  return fd;
}

Result<UniqueFd> memory_file(const std::string& text) {
  UniqueFd fd(memfd_create("document", MFD_CLOEXEC));
  if (!fd) return fail_errno("memfd_create");
  TRY(sys::write_all(fd.get(), text));
  if (lseek(fd.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  return fd;
}

std::vector<UniqueFd> one_fd(UniqueFd fd) {
  std::vector<UniqueFd> out;
  out.push_back(std::move(fd));
  return out;
}

Error translate(Error error, const std::string& code) {
  if (code == "DENIED" || code == "UNAUTHORIZED" || error.kind == ErrorKind::kDenied) error.kind = ErrorKind::kDenied;
  return error;
}

class ImagePusher {
 public:
  ImagePusher(ImageStore& store, FetchSession& session, const FetchConfig& config, const spec::Reference& reference,
              Image image, ProgressSink& sink)
      : store_(store),
        session_(session),
        config_(config),
        reference_(reference),
        image_(std::move(image)),
        sink_(sink) {}

  Result<std::string> run() {
    TRY(read_manifest());
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer)
      sink_.send(layer_line("Preparing", layer->id));
    TRY(push_layers());
    TRY(push_config());
    return push_manifest();
  }

 private:
  Result<> read_manifest() {
    UniqueFd blob = TRY(store_.open_blob(image_.manifest_digest));
    stored_manifest_ = TRY(sys::read_fd(blob.get(), kMaxManifestBytes));
    manifest_ = TRY_CTX(json::decode<spec::Manifest>(stored_manifest_), "stored manifest");
    auto& diff_ids = image_.config.rootfs.diff_ids;
    if (manifest_.layers.size() != diff_ids.size())
      return fail(ErrorKind::kCorrupt, "stored manifest names %zu layers, the config %zu", manifest_.layers.size(),
                  diff_ids.size());
    for (size_t i = 0; i < diff_ids.size(); ++i) {
      // The blob of an uncompressed layer has the diff-id for its digest.
      layers_.push_back({manifest_.layers[i], short_digest(diff_ids[i]), manifest_.layers[i].digest == diff_ids[i]});
    }
    return {};
  }

  Result<> push_layers() {
    std::atomic<size_t> next = 0;
    std::vector<std::thread> pool;
    int threads = std::clamp(static_cast<int>(layers_.size()), 0, std::max(1, config_.max_uploads));
    for (int i = 0; i < threads; ++i)
      pool.emplace_back([&] {
        for (size_t at; (at = next++) < layers_.size() && !failed_;) {
          // Top layer first is only how Docker lists them; base layers go first, they are the most shared.
          if (auto done = push_layer(layers_[at]); !done) return give_up(std::move(done).error());
        }
      });
    for (auto& thread : pool) thread.join();
    if (error_) return std::unexpected(std::move(*error_));
    return {};
  }

  void give_up(Error error) {
    std::unique_lock lock(mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
    lock.unlock();
    session_.abort();
  }

  // Two layers with the same bytes are sent once.
  bool claim(const std::string& digest) {
    std::lock_guard lock(mutex_);
    return claimed_.insert(digest).second;
  }

  Result<> push_layer(PushLayer& layer) {
    if (!layer.is_tar && TRY(exists(layer.blob.digest))) {
      sink_.send(layer_line("Layer already exists", layer.id));
      return {};
    }
    auto opened = store_.open_blob(layer.blob.digest);
    if (!opened)
      return fail(ErrorKind::kNotFound, "layer %s is not stored as a blob: pull the image again before pushing it",
                  layer.blob.digest.c_str());
    UniqueFd blob = std::move(*opened);
    if (layer.is_tar) {
      UniqueFd gzip = TRY(compress(blob, layer));
      if (TRY(exists(layer.blob.digest))) {
        sink_.send(layer_line("Layer already exists", layer.id));
        return {};
      }
      blob = std::move(gzip);
    }
    if (!claim(layer.blob.digest)) return {};
    return upload(std::move(blob), layer);
  }

  Result<UniqueFd> compress(const UniqueFd& tar, PushLayer& layer) {
    UniqueFd out = TRY(unnamed_file(config_.tmp_dir));
    UniqueFd given_tar(fcntl(tar.get(), F_DUPFD_CLOEXEC, 0)), given_out(fcntl(out.get(), F_DUPFD_CLOEXEC, 0));
    if (!given_tar || !given_out) return fail_errno("fcntl F_DUPFD_CLOEXEC");
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(given_tar));
    fds.push_back(std::move(given_out));
    FetchReply reply = TRY(session_.call(FetchJob{.kind = "compress"}, std::move(fds)));
    layer.blob.size = TRY(file_size(out.get()));
    layer.blob.digest = reply.digest;
    bool docker = manifest_.config.media_type == spec::kDockerConfig;
    layer.blob.media_type = docker ? spec::kDockerLayerGzip : spec::kOciLayerGzip;
    return out;
  }

  Result<bool> exists(const std::string& digest) {
    FetchReply refused;
    auto reply = session_.call(FetchJob{.kind = "exists", .digest = digest}, {}, {}, &refused);
    if (!reply) return std::unexpected(translate(std::move(reply).error(), refused.code));
    return reply->size >= 0;
  }

  Result<> upload(UniqueFd blob, const PushLayer& layer) {
    FetchJob job{.kind = "upload",
                 .digest = layer.blob.digest,
                 .mount_from = mount_source(),
                 .size = TRY(file_size(blob.get()))};
    TransferMeter meter(sink_, "Pushing", layer.id, job.size);
    FetchReply refused;
    auto reply = session_.call(
        job, one_fd(std::move(blob)), [&](int64_t bytes) { meter.at(std::min(bytes, job.size)); }, &refused);
    if (!reply) return std::unexpected(translate(std::move(reply).error(), refused.code));
    if (reply->note == "mounted") {
      sink_.send(layer_line("Mounted from " + job.mount_from, layer.id));
    } else {
      meter.at(job.size);
      sink_.send(layer_line("Pushed", layer.id));
    }
    return {};
  }

  // Another repository of the same registry that this image is known in.
  std::string mount_source() const {
    std::string prefix = reference_.domain + "/";
    for (auto& name : image_.repo_digests) {
      auto reference = spec::parse_reference(name);
      if (reference && reference->domain == reference_.domain && reference->path != reference_.path)
        return reference->path;
    }
    return "";
  }

  Result<> push_config() {
    const spec::Descriptor& config = manifest_.config;
    if (TRY(exists(config.digest))) return {};
    FetchJob job{.kind = "upload", .digest = config.digest};
    UniqueFd blob = TRY(memory_file(image_.config_json));
    job.size = static_cast<int64_t>(image_.config_json.size());
    FetchReply refused;
    auto reply = session_.call(job, one_fd(std::move(blob)), {}, &refused);
    if (!reply) return std::unexpected(translate(std::move(reply).error(), refused.code));
    return {};
  }

  // As stored where every blob went as stored; else the same manifest over the compressed layers. Field order
  // and compressor are fixed, so the digest is the same at every push.
  Result<std::string> push_manifest() {
    std::string body = stored_manifest_, type = manifest_.media_type;
    bool docker = manifest_.config.media_type == spec::kDockerConfig;
    if (std::any_of(layers_.begin(), layers_.end(), [](const PushLayer& layer) { return layer.is_tar; })) {
      spec::Manifest pushed = manifest_;
      pushed.media_type = docker ? spec::kDockerManifest : spec::kOciManifest;
      for (size_t i = 0; i < layers_.size(); ++i) pushed.layers[i] = layers_[i].blob;
      body = TRY(json::indent(json::encode(pushed), "   "));
      type = pushed.media_type;
    }
    if (type.empty()) type = docker ? spec::kDockerManifest : spec::kOciManifest;
    std::string digest = digest::sha256(body);
    FetchReply refused;
    auto reply = session_.call(FetchJob{.kind = "put_manifest", .reference = reference_.tag, .media_type = type},
                               one_fd(TRY(memory_file(body))), {}, &refused);
    if (!reply) return std::unexpected(translate(std::move(reply).error(), refused.code));
    if (!reply->digest.empty() && reply->digest != digest)
      return fail(ErrorKind::kCorrupt, "registry filed the manifest as %s, it is %s", reply->digest.c_str(),
                  digest.c_str());
    if (auto added = store_.add_repo_digest(image_.id, reference_.familiar_name() + "@" + digest); !added)
      log_debug("recording a pushed digest: %s, ignoring", added.error().message.c_str());
    sink_.send(status_line(reference_.tag + ": digest: " + digest + " size: " + std::to_string(body.size())));
    sink_.send(push_aux_line(reference_.tag, digest, static_cast<int64_t>(body.size())));
    return digest;
  }

  ImageStore& store_;
  FetchSession& session_;
  const FetchConfig& config_;
  const spec::Reference& reference_;
  const Image image_;
  ProgressSink& sink_;
  std::string stored_manifest_;
  spec::Manifest manifest_;
  std::vector<PushLayer> layers_;
  std::mutex mutex_;
  std::atomic<bool> failed_ = false;
  std::optional<Error> error_;
  std::set<std::string> claimed_;
};

std::vector<std::string> local_tags(ImageStore& store, const spec::Reference& reference) {
  std::vector<std::string> out;
  std::string prefix = reference.familiar_name() + ":";
  for (auto& image : store.list())
    for (auto& tag : image.repo_tags)
      if (tag.starts_with(prefix)) out.push_back(tag.substr(prefix.size()));
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::string> push_all(ImageStore& store, FetchSession& session, const FetchConfig& config,
                             const TransferRequest& request, ProgressSink& sink) {
  auto lease = store.lease();
  std::vector<std::string> tags;
  if (request.reference.tag.empty()) {
    tags = local_tags(store, request.reference);
  } else {
    tags.push_back(request.reference.tag);
  }
  std::string last;
  for (auto& tag : tags) {
    spec::Reference one = request.reference;
    one.tag = tag;
    auto image = store.find(one.familiar());
    if (!image)
      return fail(ErrorKind::kNotFound, "An image does not exist locally with the tag: %s",
                  one.familiar_name().c_str());
    last = TRY(ImagePusher(store, session, config, one, std::move(*image), sink).run());
  }
  if (last.empty())
    return fail(ErrorKind::kNotFound, "An image does not exist locally with the tag: %s",
                request.reference.familiar_name().c_str());
  return last;
}

}  // namespace

Result<std::string> push_over(ImageStore& store, FetchSession& session, const FetchConfig& config,
                              const TransferRequest& request, const Progress& progress) {
  ProgressSink sink(progress);
  sink.send(status_line("The push refers to repository [" + request.reference.name() + "]"));
  auto outcome = push_all(store, session, config, request, sink);
  if (!outcome && request.cancel && request.cancel->load()) outcome = fail(ErrorKind::kCancelled, "context canceled");
  if (!outcome) sink.send(error_line(outcome.error().message));
  return outcome;
}

Result<std::string> push(ImageStore& store, const FetchConfig& config, const TransferRequest& request,
                         const Progress& progress) {
  if (!request.reference.digest.empty()) return fail(ErrorKind::kInvalid, "cannot push a digest reference");
  TRY(check_request(request));
  auto session = TRY(FetchSession::start(config, TRY(push_endpoint(config, request)), request.cancel));
  auto outcome = push_over(store, *session, config, request, progress);
  if (!outcome) return std::unexpected(as_registry_error(std::move(outcome).error()));
  return outcome;
}

}  // namespace caisson::image
