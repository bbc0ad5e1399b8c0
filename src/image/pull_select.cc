// SPDX-License-Identifier: Apache-2.0
#include "image/pull_select.h"

#include <sys/utsname.h>

#include "base/text.h"
#include "image/fetch_protocol.h"
#include "wire/digest.h"

namespace caisson::image {

struct DocumentShape {
  int64_t schema_version = 0;
  std::string media_type;
  json::Raw manifests, layers, config, fs_layers;
};
CAISSON_JSON(DocumentShape, CAISSON_FIELD("schemaVersion", schema_version), CAISSON_FIELD("mediaType", media_type),
             CAISSON_FIELD("manifests", manifests), CAISSON_FIELD("layers", layers), CAISSON_FIELD("config", config),
             CAISSON_FIELD("fsLayers", fs_layers))

namespace {

constexpr size_t kMaxIndexEntries = 10'000;
constexpr int64_t kMaxLayerBytes = int64_t{1} << 40;

bool is_present(const json::Raw& value) { return !value.text.empty() && value.text != "null"; }

bool is_schema1(std::string_view type) {
  return type == "application/vnd.docker.distribution.manifest.v1+json" ||
         type == "application/vnd.docker.distribution.manifest.v1+prettyjws";
}

void normalize(spec::Platform& platform) {
  std::string& arch = platform.architecture;
  arch = to_lower(arch);
  if (arch == "x86_64" || arch == "x86-64") arch = "amd64";
  if (arch == "aarch64") arch = "arm64";
  if (arch == "i386" || arch == "i686") arch = "386";
  if (arch == "armhf") arch = "arm", platform.variant = "v7";
  if (arch == "armel") arch = "arm", platform.variant = "v6";
  if (arch == "arm64" && (platform.variant == "8" || platform.variant == "v8")) platform.variant.clear();
  if (arch == "arm" && platform.variant.empty()) platform.variant = "v7";
  if (arch == "arm" && !platform.variant.starts_with('v')) platform.variant = "v" + platform.variant;
  if (arch == "amd64" && platform.variant == "v1") platform.variant.clear();
}

spec::Platform this_machine() {
  utsname names{};
  uname(&names);
  std::string machine = names.machine;
  spec::Platform platform{.architecture = machine.starts_with("armv6") ? "armel"
                                          : machine.starts_with("arm") ? "armhf"
                                                                       : machine,
                          .os = "linux"};
  normalize(platform);
  return platform;
}

// Higher is better, -1 does not fit. A lower variant runs on a machine that has a higher one, never the reverse.
int fitness(spec::Platform offered, const spec::Platform& wanted) {
  normalize(offered);
  if (to_lower(offered.os) != wanted.os || offered.architecture != wanted.architecture) return -1;
  if (offered.variant == wanted.variant) return 100;
  auto rank = [](const std::string& variant) {
    auto number = variant.starts_with('v') ? parse_int(std::string_view(variant).substr(0, variant.find('.')).substr(1))
                                           : std::nullopt;
    return number ? static_cast<int>(std::min<int64_t>(*number, 50)) : variant.empty() ? 0 : -1;
  };
  int offer = rank(offered.variant), wish = rank(wanted.variant);
  return offer >= 0 && offer <= wish ? offer : -1;
}

bool is_foreign(const spec::Descriptor& layer) {
  return layer.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.") ||
         layer.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.") || !layer.urls.empty();
}

Result<> check_descriptor(const spec::Descriptor& descriptor, int64_t limit, const char* what) {
  if (!digest::is_valid(descriptor.digest))
    return fail(ErrorKind::kInvalid, "manifest: malformed digest %s of %s", quoted(descriptor.digest).c_str(), what);
  if (descriptor.size < 0 || descriptor.size > limit)
    return fail(ErrorKind::kInvalid, "manifest: size %lld of %s is out of bounds",
                static_cast<long long>(descriptor.size), what);
  return {};
}

}  // namespace

Result<spec::Platform> parse_platform(const std::string& text) {
  spec::Platform machine = this_machine();
  if (text.empty()) return machine;
  auto parts = split(text, '/');
  for (auto& part : parts) {
    bool sound = !part.empty();
    for (char c : part) sound &= isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
    if (!sound || parts.size() > 3)
      return fail(ErrorKind::kInvalid, "%s: invalid platform: must be of the form os[/arch[/variant]]",
                  quoted(text).c_str());
  }
  spec::Platform platform;
  if (parts.size() == 1) {
    std::string only = to_lower(parts[0]);
    if (only == "linux" || only == "windows" || only == "darwin" || only == "freebsd") {
      platform = machine;
      platform.os = only;
      return platform;
    }
    platform.os = "linux";
    platform.architecture = only;
  } else {
    platform.os = to_lower(parts[0]);
    platform.architecture = parts[1];
    if (parts.size() == 3) platform.variant = to_lower(parts[2]);
  }
  normalize(platform);
  return platform;
}

std::string platform_text(const spec::Platform& platform) {
  return platform.os + "/" + platform.architecture + (platform.variant.empty() ? "" : "/" + platform.variant);
}

Result<DocumentKind> classify_document(const std::string& body, const std::string& content_type) {
  DocumentShape shape = TRY_CTX(json::decode<DocumentShape>(body), "manifest");
  const std::string& type = shape.media_type.empty() ? content_type : shape.media_type;
  if (is_schema1(type) || shape.schema_version == 1 || is_present(shape.fs_layers))
    return fail(ErrorKind::kInvalid,
                "manifest version 2, schema 1 is not supported: the image must be pushed again in a current format");
  if (shape.schema_version != 2)
    return fail(ErrorKind::kInvalid, "manifest: unsupported schema version %lld",
                static_cast<long long>(shape.schema_version));
  bool like_index = is_present(shape.manifests), like_manifest = is_present(shape.layers) || is_present(shape.config);
  if (like_index && like_manifest) return fail(ErrorKind::kInvalid, "manifest: index and image manifest at once");
  if (spec::is_index_type(type) && !like_manifest) return DocumentKind::kIndex;
  if (spec::is_manifest_type(type) && !like_index) return DocumentKind::kManifest;
  bool untyped = shape.media_type.empty() && !spec::is_index_type(type) && !spec::is_manifest_type(type);
  if (untyped && like_index) return DocumentKind::kIndex;
  if (untyped && like_manifest) return DocumentKind::kManifest;
  return fail(ErrorKind::kInvalid, "unsupported manifest media type %s", quoted(type).c_str());
}

bool platform_fits(const spec::Platform& own, const spec::Platform& wanted) { return fitness(own, wanted) >= 0; }

Result<spec::Descriptor> select_platform(const spec::Index& index, const spec::Platform& wanted) {
  if (index.manifests.size() > kMaxIndexEntries)
    return fail(ErrorKind::kInvalid, "manifest list has more than %zu entries", kMaxIndexEntries);
  const spec::Descriptor* best = nullptr;
  int best_fitness = -1;
  for (auto& entry : index.manifests) {
    if (!spec::is_manifest_type(entry.media_type) && !spec::is_index_type(entry.media_type)) continue;
    // An entry without a platform fits any wish, but only when nothing says more.
    int fit = entry.platform ? fitness(*entry.platform, wanted) : 0;
    if (entry.platform && fit >= 0) fit += 1;
    if (fit > best_fitness) best = &entry, best_fitness = fit;
  }
  if (!best)
    return fail(ErrorKind::kNotFound, "no matching manifest for %s in the manifest list entries",
                platform_text(wanted).c_str());
  TRY(check_descriptor(*best, kMaxManifestBytes, "a manifest"));
  return *best;
}

Result<> check_manifest(const spec::Manifest& manifest) {
  TRY(check_descriptor(manifest.config, kMaxConfigBytes, "the config"));
  if (manifest.config.media_type != spec::kOciConfig && manifest.config.media_type != spec::kDockerConfig)
    return fail(ErrorKind::kInvalid, "unsupported media type %s: not a container image",
                quoted(manifest.config.media_type).c_str());
  for (auto& layer : manifest.layers) {
    TRY(check_descriptor(layer, kMaxLayerBytes, "a layer"));
    // Their bytes lie elsewhere, at addresses that a manifest may not make us visit.
    if (is_foreign(layer))
      return fail(ErrorKind::kInvalid, "foreign layer %s (%s) is not supported: its content is not in the registry",
                  layer.digest.c_str(), layer.media_type.c_str());
  }
  return {};
}

Result<> check_image(const spec::Manifest& manifest, const spec::ImageConfig& config) {
  TRY(spec::check_config(config));
  if (config.rootfs.diff_ids.size() != manifest.layers.size())
    return fail(ErrorKind::kInvalid, "image config names %zu layers, its manifest %zu", config.rootfs.diff_ids.size(),
                manifest.layers.size());
  if (!config.os.empty() && config.os != "linux")
    return fail(ErrorKind::kInvalid, "image operating system %s cannot be used on this platform",
                quoted(config.os).c_str());
  return {};
}

}  // namespace caisson::image
