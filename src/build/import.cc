// SPDX-License-Identifier: Apache-2.0
#include "build/import.h"

#include "base/clock.h"
#include "build/config_change.h"
#include "build/image_parts.h"
#include "image/pull_select.h"
#include "spec/reference.h"
#include "wire/digest.h"

namespace caisson::build {

Result<std::string> check_import(const ImportRequest& request) {
  TRY(image::parse_platform(request.platform));
  spec::ContainerConfig config;
  for (const auto& change : request.changes) TRY(apply_change(config, change));
  return image_name(request.repo, request.tag);
}

Result<std::string> import_image(engine::Engine& engine, const ImportRequest& request, ByteSource& tar) {
  std::string name = TRY(check_import(request));
  auto platform = TRY(image::parse_platform(request.platform));
  spec::ContainerConfig config;
  for (const auto& change : request.changes) TRY(apply_change(config, change));

  auto& images = engine.images();
  auto lease = images.lease();
  auto made = images.make_layer({}, tar);
  if (!made) {
    Error error = made.error();
    // Damage of what was sent is the sender's mistake.
    if (error.kind == ErrorKind::kCorrupt || error.kind == ErrorKind::kUnsupported) error.kind = ErrorKind::kInvalid;
    return with_context(std::move(error), "import");
  }
  spec::ImageConfig image;
  image.created = format_rfc3339(now_ns());
  image.architecture = platform.architecture;
  image.variant = platform.variant;
  image.os = platform.os;
  image.config = run_config_of(config);
  image.rootfs.diff_ids = {made->diff_id};
  image.history = {{.created = image.created, .comment = request.message}};
  TRY(spec::check_config(image));
  std::string config_json = json::encode(image);

  spec::Manifest manifest;
  manifest.media_type = spec::kOciManifest;
  manifest.config = {.media_type = std::string(spec::kOciConfig),
                     .digest = digest::sha256(config_json),
                     .size = static_cast<int64_t>(config_json.size())};
  manifest.layers = {made->blob};
  std::string manifest_json = json::encode(manifest);
  TRY(add_text(images, config_json));
  TRY(add_text(images, manifest_json));
  std::string id = TRY(images.commit_image(digest::sha256(manifest_json), name, ""));
  if (!name.empty()) engine.events().publish_image("tag", id, name);
  engine.events().publish_image("import", id, id);
  return id;
}

}  // namespace caisson::build
