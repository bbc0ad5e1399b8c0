// SPDX-License-Identifier: Apache-2.0
// An image whose blobs are all in the store already, as after a push to the registry server, with its layers unpacked.
#pragma once

#include <string>

#include "image/fetch_session.h"
#include "image/image_store.h"

namespace caisson::image {

// The id of the image, which then has the name "host/repository:tag" and its digest. Layers are decompressed by the
// confined worker, with the limits of a pull. kInvalid, kUnsupported: no image for here.
Result<std::string> unpack_pushed(ImageStore& images, const FetchConfig& fetch, const std::string& manifest_digest,
                                  const std::string& name);

}  // namespace caisson::image
