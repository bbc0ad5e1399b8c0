// SPDX-License-Identifier: Apache-2.0
// Method and path to handler, with or without a version in front. Families of routes are tables in
// their own files.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "api/call.h"

namespace caisson::engine {
class Container;
class Engine;
class EventHub;
}  // namespace caisson::engine
namespace caisson::image {
struct Image;
}
namespace caisson::sys {
class EventLoop;
}

namespace caisson::api {

class LogFollower;
class RegistryControl;
class StatsStreams;

// What handlers work on.
struct Context {
  engine::Engine& engine;
  LogFollower& follower;
  sys::EventLoop& loop;
  StatsStreams& stats;
  RegistryControl* registry = nullptr;  // none in tests
};

using RouteHandler = void (*)(Context&, Call&);

struct Route {
  const char* method;
  // Segments; "{}" matches one, "{*}" one or more (image names hold slashes).
  const char* pattern;
  RouteHandler handler;      // nullptr: known to Docker, not in this release (501)
  bool stream_body = false;  // the handler takes the connection over and reads the body itself
  bool on_loop = false;      // reads snapshots only: cheaper on the loop thread than on a worker
};

std::span<const Route> container_routes();
std::span<const Route> file_routes();  // changes, archive, export of a container
std::span<const Route> stats_routes();
std::span<const Route> websocket_routes();
std::span<const Route> exec_routes();
std::span<const Route> image_list_routes();    // before image_routes
std::span<const Route> registry_routes();      // before image_routes, whose names take any path
std::span<const Route> image_extra_routes();   // ours: untag, changes; before image_routes
std::span<const Route> distribution_routes();  // ours: manifests and blobs of registries
std::span<const Route> image_routes();
std::span<const Route> commit_routes();
std::span<const Route> system_routes();
std::span<const Route> prune_routes();  // images, build cache; before image_routes, whose names take any path
std::span<const Route> disk_usage_routes();
std::span<const Route> volume_routes();
std::span<const Route> secret_routes();
std::span<const Route> store_routes();    // ours: self-check, what a prune would take, the registry server
std::span<const Route> network_routes();  // networks
std::span<const Route> missing_routes();  // families of later releases

inline constexpr int kMinVersion = 24, kMaxVersion = 51;

// The container that the route's first argument names, or nullptr and the error was sent.
std::shared_ptr<engine::Container> find_container(Context& context, Call& call);

// The event of one line of an image's removal: a name that it lost, or the image or a layer that was deleted.
void publish_removed(engine::EventHub& events, const image::Image& image, const std::string& untagged,
                     const std::string& deleted);

http::Router make_router(Context& context);

// Pure: does `path` (split, without the version) match `pattern`?
bool match_pattern(std::string_view pattern, const std::vector<std::string>& segments,
                   std::vector<std::string>& arguments);

}  // namespace caisson::api
