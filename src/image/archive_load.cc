// SPDX-License-Identifier: Apache-2.0
// load(): docker-archive (manifest.json, with the layer files of either age; older ones are archive_legacy.cc's) and
// OCI layouts. Everything is checked before the first blob is published; the lease makes a failure leave nothing
// behind.
#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <optional>
#include <thread>

#include "base/log.h"
#include "base/text.h"
#include "image/archive_legacy.h"
#include "image/archive_members.h"
#include "image/disk_image_store.h"
#include "image/early_layers.h"
#include "image/packed_stream.h"
#include "image/pull_progress.h"
#include "image/pull_select.h"
#include "spec/reference.h"
#include "sys/files.h"
#include "wire/compress.h"
#include "wire/compress_peek.h"
#include "wire/digest.h"

namespace caisson::image {
namespace {

constexpr size_t kMaxDocument = 8 << 20;
// Of all images of an archive together: a list may name the same config again and again.
constexpr size_t kMaxDocuments = 32 << 20;
constexpr size_t kMaxTags = 10'000;
constexpr size_t kMaxLikelyManifests = 1000;
constexpr int kMaxNesting = 4;
constexpr size_t kMaxThreads = 4;
// Against decompression bombs; real layers are far below.
constexpr uint64_t kMaxLayerBytes = uint64_t{256} << 30;

struct PlannedImage {
  std::string config_json, manifest_json;
  spec::ImageConfig config;
  std::vector<SpooledBlob*> layers;
  std::vector<std::string> tags;  // familiar, with tag
};

template <class... Args>
std::unexpected<Error> bad(const char* format, Args... args) {
  return fail(ErrorKind::kInvalid, format, args...);
}

template <class T>
Result<T> parse_document(const std::string& text, const std::string& name) {
  auto value = json::decode<T>(text);
  if (!value) return bad("image archive: %s: %s", quoted(name).c_str(), value.error().message.c_str());
  return value;
}

spec::Platform platform_of(const spec::ImageConfig& config) {
  return {.architecture = config.architecture, .os = config.os, .variant = config.variant};
}

class Loader {
 public:
  Loader(DiskImageStore& store, ArchiveMembers members, ProgressSink& progress, std::optional<spec::Platform> platform)
      : store_(store), members_(std::move(members)), progress_(progress), platform_(std::move(platform)) {}

  Result<std::vector<std::string>> run() {
    if (members_.find("manifest.json")) {
      TRY(plan_docker_archive());
    } else if (members_.find("index.json")) {
      TRY(plan_layout());
    } else if (members_.find("repositories")) {
      TRY(plan_legacy());
    } else {
      return bad("image archive: it has neither 'manifest.json' nor 'index.json'");
    }
    if (plans_.empty()) return bad("image archive: it holds no image");
    for (PlannedImage& plan : plans_) TRY(bring_in(plan));
    return commit();
  }

 private:
  Result<> plan_docker_archive();
  Result<> plan_legacy();
  Result<> plan_layout();
  Result<> plan_index(const spec::Index& index, int depth, const std::string& inherited_name);
  Result<> plan_manifest(const spec::Descriptor& descriptor, const std::string& name);
  std::string archived_manifest(const PlannedImage& plan, const std::string& config_digest);
  Result<std::string> make_manifest(const PlannedImage& plan) const;
  Result<> check(PlannedImage& plan, const std::string& config_name);
  Result<SpooledBlob*> repack(const SpooledBlob& layer);
  Result<> unpack(const PlannedImage& plan, size_t number);
  Result<> bring_in(PlannedImage& plan);
  Result<std::vector<std::string>> commit();
  void tell(const std::string& text) { progress_.send("{\"stream\":" + json::quote(text) + "}\n"); }

  DiskImageStore& store_;
  ArchiveMembers members_;
  ProgressSink& progress_;
  std::optional<spec::Platform> platform_;  // that is asked for
  std::deque<SpooledBlob> repacked_;
  std::map<std::string, SpooledBlob*> repacked_by_digest_;  // of what came
  size_t document_bytes_ = 0, tags_ = 0;
  std::vector<PlannedImage> plans_;
};

Result<compress::Format> format_of(const SpooledBlob& blob) {
  auto fd = TRY(blob.open());
  sys::FdSource source(fd.get());
  return TRY(compress::PeekedSource::open(source))->format();
}

Result<> Loader::check(PlannedImage& plan, const std::string& config_name) {
  document_bytes_ += plan.config_json.size() + plan.manifest_json.size();
  if (document_bytes_ > kMaxDocuments)
    return bad("image archive: configs and manifests of more than %zu bytes together", kMaxDocuments);
  tags_ += plan.tags.size();
  if (tags_ > kMaxTags) return bad("image archive: more than %zu tags", kMaxTags);
  plan.config = TRY(parse_document<spec::ImageConfig>(plan.config_json, config_name));
  TRY(spec::check_config(plan.config));
  if (platform_ && !platform_fits(platform_of(plan.config), *platform_))
    return bad("image archive: the image is for %s and not for %s", platform_text(platform_of(plan.config)).c_str(),
               platform_text(*platform_).c_str());
  size_t wanted = plan.config.rootfs.diff_ids.size();
  if (plan.layers.size() != wanted)
    return bad("image archive: %zu layers are listed, but the config has %zu", plan.layers.size(), wanted);
  for (size_t i = 0; i < wanted; ++i) {
    auto format = format_of(*plan.layers[i]);
    // No registry takes these, so such a layer comes in as gzip.
    if (format && (*format == compress::Format::kXz || *format == compress::Format::kBzip2)) {
      plan.layers[i] = TRY_CTX(repack(*plan.layers[i]), "image archive: a layer");
      format = compress::Format::kGzip;
    }
    if (!format) return bad("image archive: layer %zu: %s", i + 1, format.error().message.c_str());
    const std::string& diff_id = plan.config.rootfs.diff_ids[i];
    if (*format == compress::Format::kNone && plan.layers[i]->digest() != diff_id)
      return bad("image archive: layer %zu has the wrong content: its digest is '%s' and not '%s'", i + 1,
                 plan.layers[i]->digest().c_str(), diff_id.c_str());
  }
  return {};
}

Result<SpooledBlob*> Loader::repack(const SpooledBlob& layer) {
  SpooledBlob*& known = repacked_by_digest_[layer.digest()];
  if (known) return known;
  auto fd = TRY(layer.open());
  sys::FdSource packed(fd.get());
  auto plain = TRY(open_stream(packed, store_.fetch_program()));
  compress::GzipSource gzip(*plain);
  repacked_.push_back(TRY(store_.blobs().spool(gzip)));
  return known = &repacked_.back();
}

Result<> Loader::plan_legacy() {
  for (LegacyImage& found : TRY(read_legacy_archive(members_))) {
    PlannedImage plan;
    plan.config_json = std::move(found.config_json);
    plan.layers = std::move(found.layers);
    plan.tags = std::move(found.tags);
    TRY(check(plan, "json"));
    plan.manifest_json = TRY(make_manifest(plan));
    plans_.push_back(std::move(plan));
  }
  return {};
}

Result<> Loader::plan_docker_archive() {
  auto images = TRY(parse_document<std::vector<spec::ArchiveImage>>(
      TRY_CTX(members_.text("manifest.json", kMaxDocument), "reading"), "manifest.json"));
  for (const spec::ArchiveImage& archived : images) {
    PlannedImage plan;
    plan.config_json = TRY(members_.text(archived.config, kMaxDocument));
    for (const std::string& name : archived.layers) {
      SpooledBlob* layer = members_.find(name);
      if (!layer) return bad("image archive: layer %s is missing", quoted(name).c_str());
      plan.layers.push_back(layer);
    }
    for (const std::string& tag : archived.repo_tags) {
      auto reference = spec::parse_reference_with_default_tag(tag);
      if (!reference || !reference->digest.empty()) return bad("image archive: invalid tag %s", quoted(tag).c_str());
      plan.tags.push_back(reference->familiar());
    }
    TRY(check(plan, archived.config));
    plan.manifest_json = archived_manifest(plan, digest::sha256(plan.config_json));
    if (plan.manifest_json.empty()) plan.manifest_json = TRY(make_manifest(plan));
    plans_.push_back(std::move(plan));
  }
  return {};
}

// Docker 25 and later put an OCI layout beside manifest.json: its manifest keeps the digest that a
// registry may know. Only taken if it says exactly the same.
std::string Loader::archived_manifest(const PlannedImage& plan, const std::string& config_digest) {
  auto text = members_.text("index.json", kMaxDocument);
  auto index = text ? json::decode<spec::Index>(*text) : Result<spec::Index>(std::unexpected(text.error()));
  if (!index || index->manifests.size() > kMaxLikelyManifests) return "";
  for (const spec::Descriptor& descriptor : index->manifests) {
    SpooledBlob* blob = members_.find_blob(descriptor.digest);
    if (!blob || blob->digest() != descriptor.digest || blob->size() > kMaxDocument) continue;
    auto manifest_json = blob->read(kMaxDocument);
    auto manifest = manifest_json ? json::decode<spec::Manifest>(*manifest_json)
                                  : Result<spec::Manifest>(std::unexpected(manifest_json.error()));
    if (!manifest || manifest->config.digest != config_digest || manifest->layers.size() != plan.layers.size())
      continue;
    bool same = true;
    for (size_t i = 0; i < plan.layers.size(); ++i)
      same = same && manifest->layers[i].digest == plan.layers[i]->digest();
    if (same) return *manifest_json;
  }
  return "";
}

Result<std::string> Loader::make_manifest(const PlannedImage& plan) const {
  spec::Manifest manifest;
  manifest.media_type = spec::kOciManifest;
  manifest.config = {.media_type = std::string(spec::kOciConfig),
                     .digest = digest::sha256(plan.config_json),
                     .size = static_cast<int64_t>(plan.config_json.size())};
  for (const SpooledBlob* layer : plan.layers) {
    auto format = TRY(format_of(*layer));
    std::string_view type = format == compress::Format::kGzip   ? spec::kOciLayerGzip
                            : format == compress::Format::kZstd ? spec::kOciLayerZstd
                                                                : spec::kOciLayerTar;
    manifest.layers.push_back(
        {.media_type = std::string(type), .digest = layer->digest(), .size = static_cast<int64_t>(layer->size())});
  }
  return json::encode(manifest);
}

Result<> Loader::plan_layout() {
  auto index =
      TRY(parse_document<spec::Index>(TRY_CTX(members_.text("index.json", kMaxDocument), "reading"), "index.json"));
  return plan_index(index, 0, "");
}

Result<> Loader::plan_index(const spec::Index& index, int depth, const std::string& inherited_name) {
  if (depth > kMaxNesting) return bad("image archive: indexes nested too deeply");
  spec::Platform wanted = platform_ ? *platform_ : TRY(parse_platform(""));
  for (const spec::Descriptor& descriptor : index.manifests) {
    // Where several are listed they may be variants of one image: ours is taken, attestations are not. One
    // alone is taken whatever it is for.
    if ((depth > 0 || index.manifests.size() > 1) && descriptor.platform &&
        !platform_fits(*descriptor.platform, wanted))
      continue;
    std::string name = inherited_name;
    auto annotation = [&](std::string_view key) {
      auto found = descriptor.annotations.find(std::string(key));
      return found == descriptor.annotations.end() ? std::string() : found->second;
    };
    if (std::string full = annotation(spec::kContainerdNameAnnotation); !full.empty()) name = full;
    // A bare tag ("latest") names no repository.
    else if (std::string ref = annotation(spec::kRefNameAnnotation); ref.find_first_of(":/") != std::string::npos)
      name = ref;

    if (spec::is_index_type(descriptor.media_type)) {
      auto text = TRY(members_.text(ArchiveMembers::blob_name(descriptor.digest), kMaxDocument));
      if (digest::sha256(text) != descriptor.digest)
        return bad("image archive: blob '%s' has the wrong content", descriptor.digest.c_str());
      size_t before = plans_.size();
      TRY(plan_index(TRY_CTX(parse_document<spec::Index>(text, descriptor.digest), "reading"), depth + 1, name));
      if (plans_.size() == before) return bad("image archive: no image for %s in it", platform_text(wanted).c_str());
    } else {
      TRY(plan_manifest(descriptor, name));
    }
  }
  return {};
}

Result<> Loader::plan_manifest(const spec::Descriptor& descriptor, const std::string& name) {
  PlannedImage plan;
  plan.manifest_json = TRY(members_.text(ArchiveMembers::blob_name(descriptor.digest), kMaxDocument));
  if (digest::sha256(plan.manifest_json) != descriptor.digest)
    return bad("image archive: blob %s has the wrong content", quoted(descriptor.digest).c_str());
  auto manifest = TRY(parse_document<spec::Manifest>(plan.manifest_json, descriptor.digest));
  plan.config_json = TRY(members_.text(ArchiveMembers::blob_name(manifest.config.digest), kMaxDocument));
  if (digest::sha256(plan.config_json) != manifest.config.digest)
    return bad("image archive: blob %s has the wrong content", quoted(manifest.config.digest).c_str());
  for (const spec::Descriptor& layer : manifest.layers) {
    SpooledBlob* blob = members_.find_blob(layer.digest);
    if (!blob) return bad("image archive: layer %s is missing", quoted(layer.digest).c_str());
    if (blob->digest() != layer.digest)
      return bad("image archive: blob %s has the wrong content", quoted(layer.digest).c_str());
    plan.layers.push_back(blob);
  }
  if (!name.empty()) {
    auto reference = spec::parse_reference_with_default_tag(name);
    if (!reference) return bad("image archive: invalid name %s", quoted(name).c_str());
    reference->digest.clear();
    if (reference->tag.empty()) reference->tag = "latest";
    plan.tags.push_back(reference->familiar());
  }
  TRY(check(plan, manifest.config.digest));
  plans_.push_back(std::move(plan));
  return {};
}

Result<> Loader::unpack(const PlannedImage& plan, size_t number) {
  const auto& diff_ids = plan.config.rootfs.diff_ids;
  const SpooledBlob& layer = *plan.layers[number];
  auto upto = [&](size_t count) {
    return std::vector<std::string>(diff_ids.begin(), diff_ids.begin() + static_cast<ptrdiff_t>(count));
  };
  if (store_.keep_layer(upto(number + 1))) return {};
  int64_t size = static_cast<int64_t>(layer.size());
  std::string id = short_digest(diff_ids[number]);
  progress_.send(transfer_line("Loading layer", id, 0, size));
  // A layer that two images of the archive share was published with the first one.
  auto fd = layer.open();
  if (!fd) fd = TRY(store_.open_blob(layer.digest()));
  sys::FdSource source(fd->get());
  auto plain = TRY(compress::Decompressor::open(source, kMaxLayerBytes));
  TRY(store_.add_layer(diff_ids[number], upto(number), *plain, plain->format() == compress::Format::kNone));
  progress_.send(transfer_line("Loading layer", id, size, size));
  return {};
}

// All layers at once, as far as they do not lean on each other; then, in order, those that do.
Result<> Loader::bring_in(PlannedImage& plan) {
  size_t count = plan.layers.size();
  std::vector<Result<>> done(count);
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i; (i = next++) < count;) done[i] = unpack(plan, i);
  };
  {
    std::vector<std::jthread> threads;
    size_t wanted = std::min<size_t>({count, std::max(1u, std::thread::hardware_concurrency()), kMaxThreads});
    for (size_t i = 1; i < wanted; ++i) threads.emplace_back(work);
    work();
  }
  for (size_t i = 0; i < count; ++i) {
    if (!done[i] && done[i].error().kind == ErrorKind::kConflict) done[i] = unpack(plan, i);
    if (!done[i]) {
      Error error = done[i].error();
      if (error.kind == ErrorKind::kCorrupt || error.kind == ErrorKind::kUnsupported) error.kind = ErrorKind::kInvalid;
      return with_context(std::move(error), format("image archive: layer %zu", i + 1));
    }
    TRY(store_.publish(*plan.layers[i]));
  }
  for (const std::string* document : {&plan.config_json, &plan.manifest_json}) {
    auto blob = TRY(store_.blobs().spool(*document));
    TRY(store_.publish(blob));
  }
  return {};
}

Result<std::vector<std::string>> Loader::commit() {
  std::vector<std::string> names;
  for (const PlannedImage& plan : plans_) {
    std::string manifest_digest = digest::sha256(plan.manifest_json), id = digest::sha256(plan.config_json);
    for (const std::string& tag : plan.tags) {
      auto old = store_.find(tag);
      TRY(store_.commit_image(manifest_digest, tag, ""));
      if (old && old->id != id)
        tell(format("The image %s already exists, renaming the old one with ID %s to empty string\n", tag.c_str(),
                    old->id.c_str()));
      tell("Loaded image: " + tag + "\n");
      names.push_back(tag);
    }
    if (plan.tags.empty()) {
      TRY(store_.commit_image(manifest_digest, "", ""));
      tell("Loaded image ID: " + id + "\n");
      names.push_back(id);
    }
  }
  return names;
}

}  // namespace

Result<std::vector<std::string>> DiskImageStore::load(ByteSource& tar, const Progress& progress,
                                                      const std::optional<spec::Platform>& platform) {
  auto guard = lease();
  auto plain = TRY(open_stream(tar, fetch_program_));
  ProgressSink sink(progress);
  EarlyLayers early(*this, sink);
  auto members = TRY(ArchiveMembers::read(*plain, blobs_, [&](const SpooledBlob& member) { early.offer(member); }));
  early.finish();
  return Loader(*this, std::move(members), sink, platform).run();
}

}  // namespace caisson::image
