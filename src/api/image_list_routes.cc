// SPDX-License-Identifier: Apache-2.0
// What there is to read about images: list, inspect, history.
#include <algorithm>
#include <map>
#include <set>

#include "api/client_quirks.h"
#include "api/image_filter.h"
#include "api/router.h"
#include "api/version_shapes.h"
#include "base/clock.h"
#include "base/text.h"
#include "engine/engine.h"
#include "spec/docker_system.h"

namespace caisson::api {

namespace {

using Sizes = std::map<std::string, image::Usage::PerImage>;
using Users = std::map<std::string, std::vector<std::string>>;  // image id to container ids

Sizes sizes_of(Context& context) {
  Sizes out;
  for (auto& entry : context.engine.images().usage().images) out[entry.id] = entry;
  return out;
}

Users users_of(Context& context) {
  Users out;
  for (const auto& container : context.engine.containers().list())
    out[container->snapshot()->image_id].push_back(container->id());
  return out;
}

spec::Descriptor descriptor_of(const image::Image& image) {
  return {.media_type = image.manifest_type, .digest = image.manifest_digest, .size = image.manifest_size};
}

spec::ImageManifestSummary manifest_of(const image::Image& image, Sizes& sizes, Users& users) {
  spec::ImageManifestSummary out;
  out.id = image.manifest_digest;
  out.descriptor = descriptor_of(image);
  out.descriptor.platform = platform_of(image);
  out.size.content = sizes[image.id].blobs_size;
  out.size.total = out.size.content + image.size;
  out.image_data = {platform_of(image), users[image.id], {image.size}};
  return out;
}

void list(Context& context, Call& call) {
  const auto& query = call.query();
  auto& images = context.engine.images();
  auto filter = ImageFilter::parse(query.get("filters"), images, now_ns());
  if (!filter) return call.reply_error(filter.error());
  // Of 1.24 and before, and let pass up to 1.40.
  if (std::string name = query.get("filter"); call.version < 41 && !name.empty()) filter->add_reference(name);
  bool with_manifests = call.version >= 47 && query.flag("manifests");
  bool with_shared = call.version >= 42 && query.flag("shared-size");
  Sizes sizes = with_shared || with_manifests ? sizes_of(context) : Sizes{};
  Users users = call.version >= 51 || with_manifests ? users_of(context) : Users{};
  auto all = images.list();
  std::set<std::string> parents;
  for (const auto& image : all) parents.insert(image.parent);
  std::vector<spec::ImageSummary> out;
  for (const auto& image : all) {
    spec::ImageSummary summary;
    if (!filter->matches(image, query.flag("all"), parents.contains(image.id), summary.repo_tags, summary.repo_digests))
      continue;
    summary.id = image.id;
    summary.parent_id = image.parent;
    summary.created = image.created_ns / 1000000000;
    summary.size = image.size;
    summary.labels = image.config.config.labels;
    summary.containers = static_cast<int64_t>(users[image.id].size());
    summary.descriptor = descriptor_of(image);
    if (with_shared) summary.shared_size = sizes[image.id].shared_size;
    if (with_manifests) summary.manifests.push_back(manifest_of(image, sizes, users));
    out.push_back(std::move(summary));
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.created > b.created; });
  call.reply_with(200, out, Shape::kImageSummary);
}

// What a request about one image names, for the platform that it may ask for from API version `since` on.
std::optional<image::Image> find_image(Context& context, const Call& call, int since) {
  auto wanted = decode_platform(call.version >= since ? call.query().get("platform") : "");
  if (!wanted) {
    call.reply_error(wanted.error());
    return std::nullopt;
  }
  auto image = context.engine.images().find(call.argument());
  auto fits = image ? check_platform(*image, call.argument(), *wanted) : std::unexpected(image.error());
  if (fits) return std::move(*image);
  call.reply_error(fits.error());
  return std::nullopt;
}

void inspect(Context& context, Call& call) {
  bool with_manifests = call.version >= 48 && call.query().flag("manifests");
  if (with_manifests && call.version >= 49 && !call.query().get("platform").empty())
    return call.reply_error(400, "conflicting options: manifests and platform options cannot both be set");
  auto image = find_image(context, call, 49);
  if (!image) return;
  spec::ImageInspect out;
  out.id = image->id;
  out.descriptor = descriptor_of(*image);
  if (with_manifests) {
    Sizes sizes = sizes_of(context);
    Users users = users_of(context);
    out.manifests.push_back(manifest_of(*image, sizes, users));
  }
  out.repo_tags = image->repo_tags;
  out.repo_digests = image->repo_digests;
  out.parent = image->parent;
  out.created = image->config.created;
  out.docker_version = image->config.docker_version;
  out.author = image->config.author;
  out.architecture = image->config.architecture;
  out.variant = image->config.variant;
  out.os = image->config.os;
  out.os_version = image->config.os_version;
  if (!image->config.history.empty()) out.comment = image->config.history.back().comment;
  out.size = image->size;
  out.graph_driver.name = context.engine.options().storage_driver;
  if (auto chain = context.engine.images().layers(image->id); chain && !chain->directories.empty()) {
    std::vector<std::string> lowers(chain->directories.rbegin(), chain->directories.rend());
    out.graph_driver.data["UpperDir"] = lowers[0];
    if (lowers.size() > 1) out.graph_driver.data["LowerDir"] = join({lowers.begin() + 1, lowers.end()}, ":");
  }
  out.root_fs.layers = image->config.rootfs.diff_ids;
  out.metadata.last_tag_time = image->last_tagged_ns ? format_rfc3339(image->last_tagged_ns) : std::string(kZeroTime);
  // The image's own words, so that fields we do not know come through as well.
  auto members = json::decode<std::map<std::string, json::Raw>>(image->config_json);
  if (members)
    if (auto found = members->find("config"); found != members->end()) out.config = found->second;
  call.version = image_inspect_version(call.request().headers.find("user-agent").value_or(""), call.version);
  call.reply_with(200, out, Shape::kImageInspect);
}

void history(Context& context, Call& call) {
  if (!find_image(context, call, 48)) return;
  auto entries = context.engine.images().history(call.argument());
  if (!entries) return call.reply_error(entries.error());
  std::vector<spec::ImageHistoryItem> out;
  for (auto& entry : *entries)
    out.push_back({entry.id, entry.created_s, entry.created_by, entry.tags, entry.size, entry.comment});
  call.reply_with(200, out);
}

constexpr Route kRoutes[] = {
    {"GET", "/images/json", list},
    {"GET", "/images/{*}/json", inspect},
    {"GET", "/images/{*}/history", history},
};

}  // namespace

std::span<const Route> image_list_routes() { return kRoutes; }

}  // namespace caisson::api
