// SPDX-License-Identifier: Apache-2.0
// What is pushed to the registry server as an image of this machine's kind becomes an image of the engine.
#pragma once

#include <string>

#include "image/registry_store.h"

namespace caisson::engine {
class Engine;
}

namespace caisson::api {

// Unpacks the layers, in the confined worker, and gives the image the registry's local name. Anything else than an
// image is left alone; an image that cannot be unpacked stays in the registry as it was sent, and the log says why.
void make_registry_image(engine::Engine& engine, image::RegistryStore& store, const std::string& repository,
                         const std::string& tag, const image::RegistryManifest& manifest);

}  // namespace caisson::api
