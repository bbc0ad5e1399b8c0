// SPDX-License-Identifier: Apache-2.0
// The way to the engine: which host, starting it on demand, requests with Docker's error texts, streams.
// One connection is kept for plain requests; every stream has one of its own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/host.h"
#include "wire/http_client.h"

namespace caisson::cli {

class Engine {
 public:
  Engine(GlobalOptions options, std::vector<std::string> environment);

  // `path` without the version prefix, percent-coded where needed. A status of 400 and above is an
  // error whose message is "Error response from daemon: ..." and whose kind follows the status.
  Result<http::ClientResponse> call(const char* method, std::string_view path, const http::Query& query = {},
                                    std::string_view json_body = {}, const http::Headers& headers = {});
  Result<http::ClientResponse> get(std::string_view path, const http::Query& query = {}) {
    return call("GET", path, query);
  }
  Result<http::ClientResponse> post(std::string_view path, const http::Query& query = {}, std::string_view json = {}) {
    return call("POST", path, query, json);
  }

  // Sends, checks the status, leaves the body to read() or the socket to hijack().
  struct StreamRequest {
    const char* method = "GET";
    std::string_view path;
    http::Query query;
    http::Headers headers;
    std::string_view body;
    ByteSource* body_stream = nullptr;
    int64_t body_size = -1;
  };
  struct Stream {
    std::unique_ptr<http::Client> client;
    http::ClientResponse head;
  };
  Result<Stream> open(const StreamRequest& request);

  // The connection alone, without a request.
  Result<std::unique_ptr<http::Transport>> dial();

  const std::string& host_text() const { return options_.host_text; }

 private:
  Result<std::unique_ptr<http::Client>> connect();
  Error cannot_connect(const Error& cause) const;
  Error no_answer(Error cause) const;

  http::ClientRequest make_request(const char* method, std::string_view path, const http::Query& query);

  GlobalOptions options_;
  std::optional<http::Headers> user_headers_;  // HttpHeaders of config.json, once they were needed
  std::vector<std::string> environment_;
  std::unique_ptr<http::Client> idle_;
};

// The error of an answer with a status of 400 and above.
Error daemon_error(int status, std::string_view body);

// "name" as one path segment.
std::string segment(std::string_view name);

}  // namespace caisson::cli
