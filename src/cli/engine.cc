// SPDX-License-Identifier: Apache-2.0
#include "cli/engine.h"

#include <algorithm>

#include "base/text.h"
#include "cli/app.h"
#include "cli/autostart.h"
#include "cli/client_config.h"
#include "cli/json_value.h"
#include "cli/ssh_transport.h"
#include "wire/tls_setup.h"

namespace caisson::cli {

Engine::Engine(GlobalOptions options, std::vector<std::string> environment)
    : options_(std::move(options)), environment_(std::move(environment)) {}

std::string segment(std::string_view name) { return http::percent_encode(name); }

Error daemon_error(int status, std::string_view body) {
  std::string message;
  if (auto value = JsonValue::parse(body)) message = value->at("message").text();
  if (message.empty()) message = std::string(trim(body.substr(0, 4096)));
  if (message.empty()) message = format("request returned %d %s", status, http::status_text(status));
  ErrorKind kind = status == 400   ? ErrorKind::kInvalid
                   : status == 404 ? ErrorKind::kNotFound
                   : status == 409 ? ErrorKind::kConflict
                   : status == 403 ? ErrorKind::kDenied
                                   : ErrorKind::kInternal;
  return {kind, 0, "Error response from daemon: " + message};
}

Error Engine::cannot_connect(const Error& cause) const {
  if (cause.err == EACCES)
    return {ErrorKind::kDenied, cause.err,
            "permission denied while trying to connect to the Docker daemon socket at " + options_.host_text + ": " +
                cause.message};
  // The first sentence is Docker's, tools look for it.
  return {ErrorKind::kUnavailable, cause.err,
          "Cannot connect to the Docker daemon at " + options_.host_text + ". Is the docker daemon running?"};
}

Error Engine::no_answer(Error cause) const {
  cause.message = "error during connect: " + cause.message;
  if (options_.host_text.starts_with("ssh://"))
    cause.message +=
        ": ssh or what it ran over there has ended; the other host needs `caisson` or `docker` in its PATH";
  return cause;
}

static bool nobody_listens(const Error& error) { return error.err == ENOENT || error.err == ECONNREFUSED; }

static Result<std::unique_ptr<http::Transport>> encrypt(std::unique_ptr<http::Transport> tcp, const Host& host,
                                                        const HostTls& tls) {
  http::TlsSetup setup{.verify = tls.verify, .server_name = host.name};
  const char* step = "unable to resolve docker endpoint";
  if (!tls.ca.empty() && tls.verify) setup.ca = TRY_CTX(http::read_pem_file(tls.ca), step);
  if (!tls.certificate.empty()) setup.certificate = TRY_CTX(http::read_pem_file(tls.certificate), step);
  if (!tls.key.empty()) setup.key = TRY_CTX(http::read_pem_file(tls.key), step);
  return http::secure_transport(std::move(tcp), setup);
}

Result<std::unique_ptr<http::Transport>> Engine::dial() {
  const HostTls& tls = options_.host_tls;
  Host host = TRY(parse_host(options_.host_text, tls.on));
  if (host.kind == Host::Kind::kSsh) return TRY_CTX(connect_ssh_transport(host, environment_), "error during connect");
  Result<std::unique_ptr<http::Transport>> transport = host.kind == Host::Kind::kUnix
                                                           ? http::connect_unix_transport(host.path)
                                                           : http::connect_tcp_transport(host.name, host.port, 30000);
  if (!transport && host.kind == Host::Kind::kUnix && options_.autostart && nobody_listens(transport.error())) {
    TRY(start_engine(host.path, options_.host_text != kDefaultHost, environment_));
    transport = http::connect_unix_transport(host.path);
  }
  if (!transport) return std::unexpected(cannot_connect(transport.error()));
  if (host.kind == Host::Kind::kTcp && tls.on) {
    transport = encrypt(std::move(*transport), host, tls);
    if (!transport) return with_context(std::move(transport).error(), "error during connect");
  }
  return transport;
}

Result<std::unique_ptr<http::Client>> Engine::connect() {
  Host host = TRY(parse_host(options_.host_text, options_.host_tls.on));
  auto transport = TRY(dial());
  std::string name = host.kind == Host::Kind::kTcp ? host.name + format(":%u", host.port) : "localhost";
  return std::make_unique<http::Client>(std::move(transport), std::move(name));
}

http::ClientRequest Engine::make_request(const char* method, std::string_view path, const http::Query& query) {
  if (!user_headers_) {
    user_headers_.emplace();
    JsonValue headers = client_config(options_).at("HttpHeaders");
    for (const auto& [name, value] : headers.members()) user_headers_->set(name, value.text());
  }
  http::ClientRequest request;
  request.headers = *user_headers_;
  request.method = method;
  request.target = std::string("/v") + kApiVersion + std::string(path);
  if (std::string text = query.encode(); !text.empty()) request.target += "?" + text;
  return request;
}

Result<http::ClientResponse> Engine::call(const char* method, std::string_view path, const http::Query& query,
                                          std::string_view json_body, const http::Headers& headers) {
  http::ClientRequest request = make_request(method, path, query);
  for (const auto& [name, value] : headers.list()) request.headers.set(name, value);
  if (!json_body.empty()) {
    request.headers.set("Content-Type", "application/json");
    request.body = std::string(json_body);
  }
  std::unique_ptr<http::Client> client = std::move(idle_);
  if (!client) client = TRY(connect());
  auto response = client->request(request, 256 << 20);
  if (!response) return std::unexpected(no_answer(response.error()));
  if (client->reusable()) idle_ = std::move(client);
  if (response->status >= 400) return std::unexpected(daemon_error(response->status, response->body));
  return response;
}

Result<Engine::Stream> Engine::open(const StreamRequest& wanted) {
  http::ClientRequest request = make_request(wanted.method, wanted.path, wanted.query);
  for (const auto& [name, value] : wanted.headers.list()) request.headers.set(name, value);
  request.body = std::string(wanted.body);
  request.body_stream = wanted.body_stream;
  request.body_size = wanted.body_size;
  Stream stream;
  stream.client = TRY(connect());
  auto head = stream.client->open(request);
  if (!head) return std::unexpected(no_answer(head.error()));
  stream.head = std::move(*head);
  if (stream.head.status >= 400) {
    std::string body;
    char buffer[4096];
    while (body.size() < (1 << 20)) {
      auto n = stream.client->read(buffer);
      if (!n || *n == 0) break;
      body.append(buffer, *n);
    }
    return std::unexpected(daemon_error(stream.head.status, body));
  }
  return stream;
}

}  // namespace caisson::cli
