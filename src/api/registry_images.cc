// SPDX-License-Identifier: Apache-2.0
#include "api/registry_images.h"

#include "base/log.h"
#include "engine/engine.h"
#include "image/pull.h"
#include "image/pull_layers.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

Result<std::string> read_blob(image::ImageStore& images, const std::string& digest, size_t limit) {
  auto fd = TRY(images.open_blob(digest));
  return sys::read_fd(fd.get(), limit);
}

Result<std::string> make_image(engine::Engine& engine, const std::string& digest, const std::string& name,
                               const std::string& repository) {
  auto& images = engine.images();
  auto manifest = TRY(json::decode<spec::Manifest>(TRY(read_blob(images, digest, image::kMaxRegistryManifest))));
  auto config =
      TRY(json::decode<spec::ImageConfig>(TRY(read_blob(images, manifest.config.digest, image::kMaxConfigBytes))));
  TRY(spec::check_config(config));
  if (config.os != "linux") return fail(ErrorKind::kUnsupported, "an image for %s", config.os.substr(0, 32).c_str());
  if (config.rootfs.diff_ids.size() != manifest.layers.size())
    return fail(ErrorKind::kInvalid, "%zu layers and %zu diff-ids", manifest.layers.size(),
                config.rootfs.diff_ids.size());
  image::FetchConfig fetch;
  fetch.fetch_program = engine.options().program_dir + "/caisson-fetch";
  fetch.tmp_dir = engine.paths().temporary();
  auto session = TRY(image::FetchSession::start(fetch, {.host = "localhost", .repository = repository}, nullptr));
  image::Progress nobody = [](const std::string&) {};
  image::ProgressSink sink(nobody);
  TRY(image::pull_layers(images, *session, {.max_parallel = 3}, manifest, config, sink));
  return images.commit_image(digest, name, name.substr(0, name.rfind(':')) + "@" + digest);
}

}  // namespace

void make_registry_image(engine::Engine& engine, image::RegistryStore& store, const std::string& repository,
                         const std::string& tag, const image::RegistryManifest& manifest) {
  std::string local = store.local_name();
  auto digest = store.image_of(manifest);
  if (!digest || local.empty()) return;
  auto lease = engine.images().lease();
  std::string name = local + "/" + repository + ":" + tag;
  auto made = make_image(engine, *digest, name, repository);
  if (!made)
    return log_info("registry: '%s' was pushed and is no image here: %s", name.c_str(), made.error().message.c_str());
  engine.events().publish_image("pull", name, name.substr(0, name.rfind(':')));
  log_info("registry: '%s' was pushed", name.c_str());
}

}  // namespace caisson::api
