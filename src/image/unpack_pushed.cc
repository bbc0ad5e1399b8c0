// SPDX-License-Identifier: Apache-2.0
#include "image/unpack_pushed.h"

#include "image/pull_layers.h"
#include "image/pull_progress.h"
#include "sys/files.h"

namespace caisson::image {

namespace {

Result<std::string> read_pushed(ImageStore& images, const std::string& digest, size_t limit) {
  auto fd = TRY(images.open_blob(digest));
  return sys::read_fd(fd.get(), limit);
}

}  // namespace

Result<std::string> unpack_pushed(ImageStore& images, const FetchConfig& fetch, const std::string& digest,
                                  const std::string& name) {
  auto lease = images.lease();
  auto manifest = TRY(json::decode<spec::Manifest>(TRY(read_pushed(images, digest, kMaxManifestBytes))));
  auto config = TRY(json::decode<spec::ImageConfig>(TRY(read_pushed(images, manifest.config.digest, kMaxConfigBytes))));
  TRY(spec::check_config(config));
  if (config.os != "linux") return fail(ErrorKind::kUnsupported, "an image for %s", config.os.substr(0, 32).c_str());
  if (config.rootfs.diff_ids.size() != manifest.layers.size())
    return fail(ErrorKind::kInvalid, "%zu layers and %zu diff-ids", manifest.layers.size(),
                config.rootfs.diff_ids.size());
  auto session = TRY(FetchSession::start(fetch, {.host = "localhost", .repository = "pushed"}, nullptr));
  Progress nobody = [](const std::string&) {};
  ProgressSink sink(nobody);
  TRY(pull_layers(images, *session, {.max_parallel = 3}, manifest, config, sink));
  return images.commit_image(digest, name, name.substr(0, name.rfind(':')) + "@" + digest);
}

}  // namespace caisson::image
