// SPDX-License-Identifier: Apache-2.0
#include "build/commit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "build/config_change.h"
#include "build/image_parts.h"
#include "engine/changes.h"
#include "engine/create_rules.h"
#include "sys/files.h"
#include "wire/digest.h"
#include "wire/tar_pack.h"

namespace caisson::build {

namespace {

std::string pause_mark(engine::Engine& engine, const std::string& id) {
  return engine.paths().run(id) + "/paused-for-commit";
}

// Freezes the container for as long as it lives. The mark lets the next engine thaw what this one could not.
class Pause {
 public:
  Pause(engine::Engine& engine, engine::ContainerPtr container)
      : engine_(engine), container_(std::move(container)), mark_(pause_mark(engine, container_->id())) {}
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  Result<> begin() {
    if (container_->snapshot()->status() != engine::Status::kRunning) return {};
    auto marked = sys::replace_file(mark_, "", 0600, false);
    // It ended meanwhile and its run directory went with it: nothing moves any more.
    if (!marked && container_->snapshot()->status() != engine::Status::kRunning) return {};
    TRY(std::move(marked));
    auto paused = engine_.lifecycle().pause(container_);
    is_paused_ = paused.has_value();
    if (is_paused_) return {};
    remove_mark();
    // Ended or paused by somebody else meanwhile: it stands still as well.
    return container_->snapshot()->status() == engine::Status::kRunning ? paused : Result<>{};
  }
  ~Pause() {
    if (!is_paused_) return;
    // One that was killed meanwhile is not paused any more.
    if (auto done = engine_.lifecycle().unpause(container_); !done) log_info("%s", done.error().message.c_str());
    remove_mark();
  }

 private:
  void remove_mark() {
    if (auto done = sys::remove_tree(mark_); !done) log_warn("%s, ignoring", done.error().message.c_str());
  }
  engine::Engine& engine_;
  engine::ContainerPtr container_;
  std::string mark_;
  bool is_paused_ = false;
};

// The parent's config with our fields in place of its own: what we do not know of it stays.
Result<std::string> make_config(const image::Image& parent, const spec::ImageConfig& config) {
  using Members = std::map<std::string, json::Raw>;
  auto members = TRY(json::decode<Members>(parent.config_json));
  for (const char* own : {"config", "created", "author", "history", "rootfs", "container", "container_config", "id",
                          "parent", "docker_version", "comment"})
    members.erase(own);
  for (auto& [key, value] : TRY(json::decode<Members>(json::encode(config)))) members[key] = std::move(value);
  return json::encode(members);
}

Result<spec::Manifest> parent_manifest(image::ImageStore& images, const image::Image& parent) {
  auto fd = TRY(images.open_blob(parent.manifest_digest));
  return json::decode<spec::Manifest>(TRY(sys::read_fd(fd.get(), 4 << 20)));
}

Result<image::ImageStore::MadeLayer> make_layer(engine::Engine& engine, const engine::ContainerPtr& container,
                                                const image::Image& parent) {
  auto layers = TRY(engine.roots().open_layers(*container->snapshot()));
  auto skip = [&](const std::string& path, const sys::FileStat& st) {
    return engine::is_mount_point_of_start(path, st) && !sys::stat_in_root(layers.lower.get(), "/" + path);
  };
  auto upper = TRY(sys::open_at(layers.upper.get(), ".", O_RDONLY | O_DIRECTORY));
  auto tar = TRY(tar::TreeSource::open_layer(std::move(upper), skip));
  return engine.images().make_layer(parent.config.rootfs.diff_ids, *tar);
}

}  // namespace

Result<std::string> commit(engine::Engine& engine, const engine::ContainerPtr& container,
                           const CommitRequest& request) {
  std::string name = TRY(image_name(request.repo, request.tag));
  auto record = container->snapshot();
  if (record->status() == engine::Status::kRemoving || record->status() == engine::Status::kDead)
    return fail(ErrorKind::kConflict, "You cannot commit container %s which is being removed", record->id.c_str());
  auto& images = engine.images();
  auto parent = TRY_CTX(images.find(record->image_id), "the container's image");

  // As Docker does it: what is asked for, over nothing, and the container's own where that is silent. So an
  // ENTRYPOINT without a CMD drops the container's command.
  spec::ContainerConfig config = request.overrides.value_or(spec::ContainerConfig{});
  if (!config.shell.present) config.shell = record->config.shell;
  for (const auto& change : request.changes) TRY(apply_change(config, change));
  spec::ImageConfig own;
  own.config = run_config_of(record->config);
  TRY(engine::merge_image_config(config, own));
  if (!config.stop_signal.empty()) TRY(engine::parse_signal(config.stop_signal));

  auto lease = images.lease();
  Pause pause(engine, container);
  if (request.pause) TRY(pause.begin());
  auto layer = TRY(make_layer(engine, container, parent));

  // Two blocks of zeros: an archive of nothing, which makes no layer.
  static const std::string empty_layer = digest::sha256(std::string(1024, '\0'));
  bool is_empty = layer.diff_id == empty_layer;
  auto manifest = TRY_CTX(parent_manifest(images, parent), "the image's manifest");
  spec::ImageConfig made = parent.config;
  made.created = format_rfc3339(now_ns());
  made.author = request.author;
  made.config = run_config_of(config);
  if (made.history.empty())
    made.history.assign(made.rootfs.diff_ids.size(),
                        {.created = parent.config.created, .comment = "of the base image"});
  std::vector<std::string> command = {record->path};
  command.insert(command.end(), record->args.begin(), record->args.end());
  made.history.push_back({.created = made.created,
                          .created_by = join(command, " "),
                          .author = request.author,
                          .comment = request.comment,
                          .empty_layer = is_empty});
  if (!is_empty) {
    if (manifest.media_type == spec::kDockerManifest) layer.blob.media_type = spec::kDockerLayerGzip;
    made.rootfs.diff_ids.push_back(layer.diff_id);
    manifest.layers.push_back(layer.blob);
  }
  TRY(spec::check_config(made));
  std::string config_json = TRY(make_config(parent, made));
  manifest.config.digest = digest::sha256(config_json);
  manifest.config.size = static_cast<int64_t>(config_json.size());
  manifest.annotations.clear();
  std::string manifest_json = json::encode(manifest);
  TRY(add_text(images, config_json));
  TRY(add_text(images, manifest_json));
  std::string id = TRY(images.commit_image(digest::sha256(manifest_json), name, "", parent.id));
  engine.events().publish_container(*record, "commit",
                                    {{"comment", request.comment}, {"imageID", id}, {"imageRef", name}});
  if (!name.empty()) engine.events().publish_image("tag", id, name);
  return id;
}

void resume_after_commit(engine::Engine& engine) {
  for (const auto& container : engine.containers().list()) {
    // The others' directories are not even looked at: there may be very many.
    if (!container->snapshot()->running()) continue;
    std::string mark = pause_mark(engine, container->id());
    if (!sys::path_exists(mark)) continue;
    log_info("container %s was paused for a commit that was cut short, it goes on", container->id().c_str());
    if (container->snapshot()->status() == engine::Status::kPaused)
      if (auto done = engine.lifecycle().unpause(container); !done) log_warn("%s", done.error().message.c_str());
    if (auto done = sys::remove_tree(mark); !done) log_warn("%s, ignoring", done.error().message.c_str());
  }
}

}  // namespace caisson::build
