// SPDX-License-Identifier: Apache-2.0
#include "api/call.h"

#include "api/version_shapes.h"
#include "base/text.h"
#include "spec/docker_system.h"

namespace caisson::api {

int status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid: return 400;
    case ErrorKind::kNotFound: return 404;
    case ErrorKind::kConflict:
    case ErrorKind::kExists: return 409;
    case ErrorKind::kDenied: return 403;
    case ErrorKind::kUnsupported: return 501;
    case ErrorKind::kNotModified: return 304;
    case ErrorKind::kUnavailable: return 503;
    case ErrorKind::kExhausted:
    case ErrorKind::kTimeout:
    case ErrorKind::kCancelled:
    case ErrorKind::kCorrupt:
    case ErrorKind::kIo:
    case ErrorKind::kInternal: return 500;
  }
  return 500;
}

std::string error_body(std::string_view message) {
  return json::encode(spec::ErrorResponse{std::string(message)}) + "\n";
}

void Call::reply_json(int status, std::string text) const {
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  exchange->reply(status, headers, std::move(text));
}

void Call::reply_shaped(int status, std::string text, Shape shape) const {
  reply_json(status, shape_answer(shape, version, std::move(text)) + "\n");
}

void Call::reply_empty(int status) const { exchange->reply(status, {}, ""); }
void Call::reply_error(int status, std::string_view message) const { reply_json(status, error_body(message)); }

void Call::reply_error(const Error& error) const {
  if (error.kind == ErrorKind::kNotModified) return reply_empty(304);
  reply_error(status_of(error.kind), error.message);
}

void Call::reply(const Result<>& result, int status) const {
  if (result)
    reply_empty(status);
  else
    reply_error(result.error());
}

bool Call::check_body(bool may_be_empty) const {
  if (request().body.empty()) {
    if (may_be_empty) return true;
    reply_error(400, "invalid JSON: got EOF while reading request body");
    return false;
  }
  auto type = request().headers.find("content-type");
  if (!type || !to_lower(trim(split(*type, ';')[0])).ends_with("/json")) {
    reply_error(400, format("Content-Type specified (%s) must be 'application/json'",
                            type ? std::string(*type).substr(0, 64).c_str() : ""));
    return false;
  }
  return true;
}

std::optional<int64_t> Call::number(std::string_view name, bool& good) const {
  good = true;
  auto text = query().find(name);
  if (!text || text->empty()) return std::nullopt;
  auto value = parse_int(*text);
  if (!value) {
    good = false;
    reply_error(400,
                format("invalid value for query parameter '%s': %s", std::string(name).c_str(), quoted(*text).c_str()));
  }
  return value;
}

}  // namespace caisson::api
