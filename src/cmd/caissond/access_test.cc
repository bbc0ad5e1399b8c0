// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/access.h"

#include <doctest/doctest.h>

using namespace caisson;

namespace {

bool reads(const char* method, const char* path) {
  http::Request request;
  request.method = method;
  request.path = path;
  return is_reading(request);
}

}  // namespace

TEST_CASE("what a listener for reading only lets through") {
  for (const char* path : {"/_ping", "/containers/json", "/v1.51/containers/a/json", "/containers/archive/json",
                           "/containers/a/logs", "/images/a/b/json", "/events", "/v1.51/volumes"})
    CHECK_MESSAGE(reads("GET", path), path);
  CHECK(reads("HEAD", "/_ping"));
  CHECK(reads("HEAD", "/containers/a/archive"));
  for (const char* path : {"/containers/a/archive", "/v1.51/containers/a/export", "/containers/a/attach/ws",
                           "/images/a/b/get", "/v1.30/images/get"})
    CHECK_MESSAGE(!reads("GET", path), path);
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"}) CHECK(!reads(method, "/_ping"));
}

TEST_CASE("the guard answers before the API sees the request") {
  int asked = 0;
  http::Router router = guard_router([&](const http::Request&) {
    ++asked;
    return http::RouteDecision{};
  });
  http::Request request;
  request.method = "POST";
  request.path = "/containers/\"x\"/start";
  request.peer.read_only = true;
  auto decision = router(request);
  CHECK(asked == 0);
  CHECK(decision.error_status == 403);
  CHECK(decision.error_body ==
        "{\"message\":\"this socket is for reading only: POST /containers/\\\"x\\\"/start is not allowed here\"}\n");
  request.peer.read_only = false;
  router(request);
  CHECK(asked == 1);
}
