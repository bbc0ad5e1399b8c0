// SPDX-License-Identifier: Apache-2.0
#include "api/router.h"

#include <optional>

#include "base/text.h"

namespace caisson::api {

namespace {

bool match_segments(std::span<const std::string> pattern, std::span<const std::string> segments,
                    std::vector<std::string>& arguments) {
  if (pattern.empty()) return segments.empty();
  if (segments.empty()) return false;
  if (pattern[0] != "{*}") {
    if (pattern[0] == "{}" ? segments[0].empty() : pattern[0] != segments[0]) return false;
    size_t depth = arguments.size();
    if (pattern[0] == "{}") arguments.push_back(segments[0]);
    if (match_segments(pattern.subspan(1), segments.subspan(1), arguments)) return true;
    arguments.resize(depth);
    return false;
  }
  // Longest first: "/images/a/json/json" is the image "a/json".
  for (size_t taken = segments.size(); taken >= 1; --taken) {
    std::vector<std::string> words(segments.begin(), segments.begin() + static_cast<std::ptrdiff_t>(taken));
    size_t depth = arguments.size();
    arguments.push_back(join(words, "/"));
    if (!arguments.back().empty() && match_segments(pattern.subspan(1), segments.subspan(taken), arguments))
      return true;
    arguments.resize(depth);
  }
  return false;
}

// "v1.41" -> 41; nullopt when the segment is no version; -1 when it is one that nobody can mean.
std::optional<int> parse_version(std::string_view segment) {
  if (segment.size() < 2 || segment[0] != 'v' || segment[1] < '0' || segment[1] > '9') return std::nullopt;
  auto parts = split_once(segment.substr(1), '.');
  auto major_number = parse_uint(parts ? parts->first : segment.substr(1));
  auto minor_number = parts ? parse_uint(parts->second) : std::optional<uint64_t>(0);
  if (!major_number || !minor_number) return std::nullopt;
  if (*major_number != 1 || *minor_number > 10000) return *major_number == 0 ? 0 : 10000;
  return static_cast<int>(*minor_number);
}

http::RouteDecision answer(int status, std::string message) {
  return {[status, message = std::move(message)](std::shared_ptr<http::Exchange> exchange) {
            Call call{std::move(exchange), kMaxVersion, {}};
            call.reply_error(status, message);
          },
          false};
}

}  // namespace

bool match_pattern(std::string_view pattern, const std::vector<std::string>& segments,
                   std::vector<std::string>& arguments) {
  auto parts = split(pattern.substr(1), '/');
  return match_segments(parts, segments, arguments);
}

http::Router make_router(Context& context) {
  return [&context](const http::Request& head) -> http::RouteDecision {
    auto segments = split(std::string_view(head.path).substr(1), '/');
    int version = kMaxVersion;
    if (auto asked = parse_version(segments[0])) {
      std::string text = segments[0].substr(1, 16);
      if (*asked < kMinVersion)
        return answer(400, format("client version %s is too old. Minimum supported API version is 1.%d, please upgrade "
                                  "your client to a newer version",
                                  text.c_str(), kMinVersion));
      if (*asked > kMaxVersion)
        return answer(400, format("client version %s is too new. Maximum supported API version is 1.%d", text.c_str(),
                                  kMaxVersion));
      version = *asked;
      segments.erase(segments.begin());
    }
    if (segments.empty()) return answer(404, "page not found");
    // HEAD is answered like GET, without the body; the server takes care of that.
    for (auto table : {container_routes(), file_routes(), stats_routes(), websocket_routes(), exec_routes(),
                       prune_routes(), image_list_routes(), registry_routes(), distribution_routes(),
                       image_extra_routes(), image_routes(), commit_routes(), disk_usage_routes(), volume_routes(),
                       secret_routes(), store_routes(), system_routes(), network_routes(), missing_routes()}) {
      for (const Route& route : table) {
        std::vector<std::string> arguments;
        if (!match_pattern(route.pattern, segments, arguments)) continue;
        if (head.method != route.method) continue;
        if (!route.handler)
          return answer(501, format("%s %s is not supported by this release", route.method, route.pattern));
        return {[&context, handler = route.handler, version,
                 arguments = std::move(arguments)](std::shared_ptr<http::Exchange> exchange) {
                  Call call{std::move(exchange), version, arguments};
                  handler(context, call);
                },
                route.stream_body, route.on_loop && !head.query.flag("size")};
      }
    }
    // DOCKER-QUIRK: a path that exists for another method is not found, either.
    return answer(404, "page not found");
  };
}

}  // namespace caisson::api
