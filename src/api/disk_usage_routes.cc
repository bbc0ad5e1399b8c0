// SPDX-License-Identifier: Apache-2.0
// GET /system/df. Sizes are bytes of files as they lie on the disk, each hard link once, so that all of it together is
// what `du --apparent-size` finds below the data root, but for directories and the engine's own records.
#include <algorithm>

#include "api/disk_usage.h"
#include "api/router.h"
#include "api/version_shapes.h"
#include "base/clock.h"
#include "base/text.h"
#include "engine/inspect.h"
#include "spec/docker_system.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

int64_t bytes_below(const std::string& path) {
  auto size = sys::tree_size(path);
  return size ? static_cast<int64_t>(size->bytes) : 0;  // removed meanwhile
}

// Everything in the container's directory that is no file system: rotated logs have the log's name in front.
int64_t log_bytes(const engine::Paths& paths, const std::string& id) {
  auto names = sys::list_dir(paths.container(id));
  if (!names) return 0;
  int64_t total = 0;
  for (const auto& name : *names)
    if (name.starts_with(id + "-json.log") || name.starts_with("container.log") ||
        name.starts_with("container-cached.log"))
      total += bytes_below(paths.container(id) + "/" + name);
  return total;
}

void add_images(Context& context, spec::DiskUsage& out) {
  auto usage = context.engine.images().usage();
  out.layers_size = usage.layers_size + usage.blobs_size;
  const std::string& root = context.engine.options().data_root;
  out.other_blobs_size = std::max<int64_t>(bytes_below(root + "/images/blobs") - usage.blobs_size, 0);
  out.partial_size = bytes_below(root + "/partial");
  if (auto names = sys::list_dir(context.engine.paths().temporary()))
    for (const auto& name : *names)
      if (name.starts_with("image-")) out.partial_size += bytes_below(context.engine.paths().temporary() + "/" + name);
  out.copies_size = bytes_below(root + "/vfs");
  std::map<std::string, int64_t> users;
  for (const auto& container : context.engine.containers().list()) ++users[container->snapshot()->image_id];
  std::map<std::string, image::Usage::PerImage> sizes;
  for (auto& entry : usage.images) sizes[entry.id] = std::move(entry);
  for (const auto& image : context.engine.images().list()) {
    spec::ImageSummary summary;
    summary.id = image.id;
    summary.repo_tags = image.repo_tags;
    summary.repo_digests = image.repo_digests;
    summary.created = image.created_ns / 1000000000;
    summary.labels = image.config.config.labels;
    summary.containers = users[image.id];
    const auto& size = sizes[image.id];
    summary.size = size.size + size.blobs_size;
    summary.shared_size = size.shared_size + size.shared_blobs_size;
    out.images.push_back(std::move(summary));
  }
}

void add_containers(Context& context, spec::DiskUsage& out) {
  for (const auto& container : context.engine.containers().list()) {
    auto record = container->snapshot();
    auto summary = engine::summarise_container(*record, record->image_name, now_ns());
    summary.size_rw = bytes_below(context.engine.paths().upper(record->id));
    auto image = context.engine.images().find(record->image_id);
    summary.size_root_fs = *summary.size_rw + (image ? image->size : 0);
    out.logs_size += log_bytes(context.engine.paths(), record->id);
    out.containers.push_back(std::move(summary));
  }
}

Result<> add_volumes(Context& context, spec::DiskUsage& out) {
  auto users = count_volume_users(context.engine);
  for (const auto& volume : TRY(context.engine.volumes().list())) {
    VolumeEntry entry = describe_volume(volume);
    auto found = users.find(volume.name);
    entry.usage = VolumeUsage{bytes_below(volume.mountpoint), found == users.end() ? 0 : found->second};
    out.volumes.push_back({json::encode(entry)});
  }
  return {};
}

void disk_usage(Context& context, Call& call) {
  auto types = call.version >= 42 ? call.query().all("type") : std::vector<std::string>{};
  auto wanted = [&](std::string_view type) {
    return types.empty() || std::find(types.begin(), types.end(), type) != types.end();
  };
  for (const auto& type : types)
    if (type != "image" && type != "container" && type != "volume" && type != "build-cache")
      return call.reply_error(400, "unknown object type: " + quoted(type));
  spec::DiskUsage out;
  if (wanted("image")) add_images(context, out);
  if (wanted("container")) add_containers(context, out);
  if (wanted("volume"))
    if (auto added = add_volumes(context, out); !added) return call.reply_error(added.error());
  call.reply_with(200, out, Shape::kDiskUsage);
}

constexpr Route kRoutes[] = {{"GET", "/system/df", disk_usage}};

}  // namespace

VolumeEntry describe_volume(const volume::Volume& volume) {
  VolumeEntry entry;
  entry.name = volume.name;
  entry.mountpoint = volume.mountpoint;
  entry.created_at = format_rfc3339(volume.created_ns / 1000000000 * 1000000000);
  entry.labels = volume.labels;
  return entry;
}

std::map<std::string, int64_t> count_volume_users(engine::Engine& engine) {
  std::map<std::string, int64_t> out;
  for (const auto& container : engine.containers().list()) {
    auto record = container->snapshot();
    std::map<std::string, bool> mine;  // one that is mounted twice is used once
    for (const auto& mount : record->mounts)
      if (mount.type == "volume") mine[mount.name] = true;
    for (const auto& [name, unused] : mine) ++out[name];
  }
  return out;
}

std::span<const Route> disk_usage_routes() { return kRoutes; }

}  // namespace caisson::api
