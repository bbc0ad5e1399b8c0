// SPDX-License-Identifier: Apache-2.0
#include "api/registry_images.h"

#include "base/log.h"
#include "engine/engine.h"
#include "image/unpack_pushed.h"

namespace caisson::api {

void make_registry_image(engine::Engine& engine, image::RegistryStore& store, const std::string& repository,
                         const std::string& tag, const image::RegistryManifest& manifest) {
  std::string local = store.local_name();
  auto digest = store.image_of(manifest);
  if (!digest || local.empty()) return;
  std::string name = local + "/" + repository + ":" + tag;
  image::FetchConfig fetch;
  fetch.fetch_program = engine.options().program_dir + "/caisson-fetch";
  fetch.tmp_dir = engine.paths().temporary();
  auto made = image::unpack_pushed(engine.images(), fetch, *digest, name);
  if (!made)
    return log_info("registry: '%s' was pushed and is no image here: %s", name.c_str(), made.error().message.c_str());
  engine.events().publish_image("pull", name, name.substr(0, name.rfind(':')));
  log_info("registry: '%s' was pushed", name.c_str());
}

}  // namespace caisson::api
