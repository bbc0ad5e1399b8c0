// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "api/call.h"
#include "api/log_follower.h"
#include "api/router.h"
#include "api/streams.h"

using namespace caisson;
using namespace caisson::api;

static std::vector<std::string> match(const char* pattern, std::vector<std::string> segments) {
  std::vector<std::string> arguments;
  if (!match_pattern(pattern, segments, arguments)) return {"no match"};
  return arguments;
}

TEST_CASE("router: patterns") {
  CHECK(match("/containers/json", {"containers", "json"}).empty());
  CHECK(match("/containers/{}/json", {"containers", "a", "json"}) == std::vector<std::string>{"a"});
  CHECK(match("/containers/{}/json", {"containers", "", "json"}) == std::vector<std::string>{"no match"});
  CHECK(match("/images/{*}/json", {"images", "host:5000", "a", "b", "json"}) ==
        std::vector<std::string>{"host:5000/a/b"});
  CHECK(match("/images/{*}/json", {"images", "a", "json", "json"}) == std::vector<std::string>{"a/json"});
  CHECK(match("/images/{*}", {"images"}) == std::vector<std::string>{"no match"});
  CHECK(match("/info", {"info", "more"}) == std::vector<std::string>{"no match"});
}

TEST_CASE("router: every route is matched by its own pattern first") {
  // A pattern that swallows a later one of the same method would make that route unreachable.
  std::vector<const Route*> all;
  for (auto table :
       {container_routes(), exec_routes(), image_routes(), system_routes(), network_routes(), missing_routes()})
    for (const Route& route : table) all.push_back(&route);
  for (const Route* wanted : all) {
    std::vector<std::string> segments;
    for (std::string_view rest = wanted->pattern + 1;;) {
      size_t slash = rest.find('/');
      std::string part(rest.substr(0, slash));
      segments.push_back(part.starts_with('{') ? "thing" : part);
      if (slash == std::string_view::npos) break;
      rest.remove_prefix(slash + 1);
    }
    const Route* first = nullptr;
    for (const Route* route : all) {
      std::vector<std::string> arguments;
      if (!first && std::string_view(route->method) == wanted->method &&
          match_pattern(route->pattern, segments, arguments))
        first = route;
    }
    CAPTURE(wanted->pattern);
    CHECK(first == wanted);
  }
}

TEST_CASE("errors: status by kind") {
  CHECK(status_of(ErrorKind::kInvalid) == 400);
  CHECK(status_of(ErrorKind::kNotFound) == 404);
  CHECK(status_of(ErrorKind::kConflict) == 409);
  CHECK(status_of(ErrorKind::kUnsupported) == 501);
  CHECK(status_of(ErrorKind::kInternal) == 500);
  CHECK(error_body("a \"b\"") == "{\"message\":\"a \\\"b\\\"\"}\n");
}

TEST_CASE("streams: detach keys") {
  CHECK(*parse_detach_keys("") == "\x10\x11");
  CHECK(*parse_detach_keys("ctrl-a,x") == "\x01x");
  CHECK(*parse_detach_keys("ctrl-@") == std::string(1, '\0'));
  CHECK(*parse_detach_keys("Ctrl-[") == "\x1b");
  for (const char* bad : {"ctrl-", "ctrl-1", "ab", "ctrl-a,,b"})
    CHECK(parse_detach_keys(bad).error().kind == ErrorKind::kInvalid);
}

TEST_CASE("logs: shape of an entry") {
  logs::LogEntry entry{logs::StreamId::kStderr, 0, "hi\n"};
  std::string framed, raw, stamped;
  LogShape{true, false}.render(entry, framed);
  CHECK(framed == std::string("\x02\0\0\0\0\0\0\x03hi\n", 11));
  LogShape{false, false}.render(entry, raw);
  CHECK(raw == "hi\n");
  LogShape{false, true}.render(entry, stamped);
  CHECK(stamped == "1970-01-01T00:00:00.000000000Z hi\n");
}
