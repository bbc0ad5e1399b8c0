// SPDX-License-Identifier: Apache-2.0
// Of this engine, not Docker's: a name taken from an image without deleting it, and what an image has changed of the
// one below it or of another one.
#include "api/router.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/changes.h"
#include "engine/engine.h"
#include "spec/docker_system.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

void untag(Context& context, Call& call) {
  auto image = context.engine.images().find(call.argument());
  auto removed = context.engine.images().remove(call.argument(), {.untag_only = true}, {});
  if (!removed) return call.reply_error(removed.error());
  std::vector<spec::ImageDeleteItem> out;
  for (auto& entry : *removed) {
    if (image) publish_removed(context.engine.events(), *image, entry.untagged, "");
    out.push_back({entry.untagged, ""});
  }
  call.reply_with(200, out);
}

// An empty directory for an image that has nothing below it.
class EmptyTree {
 public:
  explicit EmptyTree(const std::string& temporary) : path_(temporary + "/rm-changes-" + random_hex(16)) {}
  ~EmptyTree() {
    if (auto done = sys::remove_tree(path_); !done) log_warn("%s, ignoring", done.error().message.c_str());
  }
  EmptyTree(const EmptyTree&) = delete;
  EmptyTree& operator=(const EmptyTree&) = delete;
  Result<UniqueFd> open() const {
    TRY(sys::make_dirs(path_));
    return sys::open_file(path_, O_RDONLY | O_DIRECTORY);
  }

 private:
  std::string path_;
};

Result<std::vector<engine::Change>> changes_of(engine::Engine& engine, const std::string& name,
                                               const std::string& base) {
  auto& images = engine.images();
  image::LayerChain chain = TRY(images.layers(TRY(images.find(name)).id)), below;
  EmptyTree empty(engine.paths().temporary());
  UniqueFd lower;
  if (!base.empty()) {
    below = TRY(images.layers(TRY(images.find(base)).id));
    lower = TRY_CTX(image::mount_root(below, "", "", {.read_only = true}), "mounting '" + base + "'");
  } else if (chain.directories.size() <= 1) {
    lower = TRY(empty.open());
  } else {
    if (!chain.vfs_cache.empty())
      return fail(ErrorKind::kUnsupported,
                  "the vfs driver has no layers to be compared: name the image to compare '%s' with", name.c_str());
    below = chain;
    below.directories.pop_back();
    lower = TRY_CTX(image::mount_root(below, "", "", {.read_only = true}), "mounting what is below");
  }
  auto upper = TRY_CTX(image::mount_root(chain, "", "", {.read_only = true}), "mounting '" + name + "'");
  return engine::find_tree_changes(std::move(lower), std::move(upper));
}

void changes(Context& context, Call& call) {
  auto found = changes_of(context.engine, call.argument(), call.query().get("base"));
  if (!found) return call.reply_error(found.error());
  call.reply_with(200, *found);
}

constexpr Route kRoutes[] = {
    {"POST", "/images/{*}/untag", untag},
    {"GET", "/images/{*}/changes", changes},
};

}  // namespace

std::span<const Route> image_extra_routes() { return kRoutes; }

}  // namespace caisson::api
