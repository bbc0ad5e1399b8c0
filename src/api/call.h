// SPDX-License-Identifier: Apache-2.0
// One API request on its way through a handler: path arguments, version, and the forms of answer that
// Docker clients know. The only place that maps error kinds to HTTP status.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wire/http_server.h"
#include "wire/json.h"

namespace caisson::api {

enum class Shape : uint8_t;  // version_shapes.h

int status_of(ErrorKind kind);
std::string error_body(std::string_view message);

struct Call {
  std::shared_ptr<http::Exchange> exchange;
  int version = 51;                    // minor number of the API version asked for
  std::vector<std::string> arguments;  // what the route's {} matched

  http::Request& request() const { return exchange->request(); }
  const http::Query& query() const { return exchange->request().query; }
  const std::string& argument(size_t at = 0) const { return arguments.at(at); }

  void reply_json(int status, std::string json) const;
  void reply_empty(int status) const;
  void reply_error(const Error& error) const;
  void reply_error(int status, std::string_view message) const;
  // 204 or the error; kNotModified becomes 304 without a body.
  void reply(const Result<>& result, int status = 204) const;

  template <class T>
  void reply_with(int status, const T& value) const {
    reply_json(status, json::encode(value) + "\n");
  }
  // In the form that the request's version of the API has for it.
  template <class T>
  void reply_with(int status, const T& value, Shape shape) const {
    reply_shaped(status, json::encode(value), shape);
  }
  // The body as T; the reply with the error has been sent when this is nullopt. An empty body is T{}.
  template <class T>
  std::optional<T> body(bool may_be_empty = false) const {
    if (!check_body(may_be_empty)) return std::nullopt;
    T value{};
    if (request().body.empty()) return value;
    auto read = json::decode_into(request().body, value);
    if (!read) {
      reply_error(400, "invalid JSON: " + read.error().message);
      return std::nullopt;
    }
    return value;
  }
  // Unsigned query parameter; nullopt when absent. `good` false: an error was sent.
  std::optional<int64_t> number(std::string_view name, bool& good) const;

 private:
  void reply_shaped(int status, std::string json, Shape shape) const;
  bool check_body(bool may_be_empty) const;
};

}  // namespace caisson::api
