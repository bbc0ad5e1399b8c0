// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/access.h"

#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"
#include "wire/json.h"

namespace caisson {

namespace {

// The program's own name for itself: a hint for people, no proof.
std::string program_of(pid_t pid) {
  auto text = sys::read_file(format("/proc/%d/comm", pid), 256);
  return text ? quoted(trim(*text)) : "''";
}

std::string describe(const http::PeerInfo& peer) {
  if (peer.is_unix)
    return format("pid %d uid %u gid %u %s", peer.pid, peer.uid, peer.gid,
                  peer.pid > 0 ? program_of(peer.pid).c_str() : "''");
  if (peer.common_name.empty()) return peer.address;
  return peer.address + " certificate '" + peer.common_name + "'";
}

struct AccessRecord {
  std::string who, what;
  void log(int status) {
    if (!who.empty()) log_info("%s from %s: %d", what.c_str(), who.c_str(), status);
    who.clear();
  }
};

AccessRecord record_of(const http::Request& request) {
  // The peer is asked for now: it may be gone when the answer is.
  std::string path = quoted(request.path);
  return {describe(request.peer), request.method + " " + path.substr(1, path.size() - 2)};
}

class LoggedConnection : public http::TakenConnection {
 public:
  LoggedConnection(std::unique_ptr<http::TakenConnection> inner, AccessRecord record, int hijack_status)
      : inner_(std::move(inner)), record_(std::move(record)), hijack_status_(hijack_status) {}
  ~LoggedConnection() override { record_.log(500); }
  int fd() const override { return inner_->fd(); }
  Raw release() override {
    record_.log(hijack_status_);
    return inner_->release();
  }
  Result<size_t> read(std::span<char> buffer) override { return inner_->read(buffer); }
  Result<> begin_response(int status, const http::Headers& headers) override {
    record_.log(status);
    return inner_->begin_response(status, headers);
  }
  Result<> write(std::string_view data) override { return inner_->write(data); }
  Result<> finish() override { return inner_->finish(); }

 private:
  std::unique_ptr<http::TakenConnection> inner_;
  AccessRecord record_;
  int hijack_status_;
};

class LoggedExchange : public http::Exchange {
 public:
  explicit LoggedExchange(std::shared_ptr<http::Exchange> inner)
      : inner_(std::move(inner)), record_(record_of(inner_->request())) {}
  ~LoggedExchange() override { record_.log(500); }
  http::Request& request() override { return inner_->request(); }
  void reply(int status, const http::Headers& headers, std::string body) override {
    record_.log(status);
    inner_->reply(status, headers, std::move(body));
  }
  std::shared_ptr<http::Stream> start_stream(int status, const http::Headers& headers) override {
    record_.log(status);
    return inner_->start_stream(status, headers);
  }
  std::unique_ptr<http::TakenConnection> take_over() override {
    int status = request().headers.find("Upgrade") ? 101 : 200;
    return std::make_unique<LoggedConnection>(inner_->take_over(), std::exchange(record_, {}), status);
  }
  void on_closed(std::move_only_function<void()> callback) override { inner_->on_closed(std::move(callback)); }

 private:
  std::shared_ptr<http::Exchange> inner_;
  AccessRecord record_;
};

bool is_websocket(const http::Request& request) { return request.path.ends_with("/attach/ws"); }

}  // namespace

bool is_reading(const http::Request& request) {
  if (request.method != "GET" && request.method != "HEAD") return false;
  // These carry out what is inside containers and images, or open a way in.
  auto segments = split(request.path, '/');
  const std::string& last = segments.back();
  bool of_container = request.path.find("/containers/") != std::string::npos;
  if (is_websocket(request)) return false;
  if (of_container && (last == "archive" || last == "export")) return request.method == "HEAD";
  return !(request.path.find("/images/") != std::string::npos && last == "get");
}

http::Router guard_router(http::Router inner) {
  return [inner = std::move(inner)](const http::Request& head) {
    if (head.peer.read_only && !is_reading(head)) {
      record_of(head).log(403);
      http::RouteDecision refused;
      refused.error_status = 403;
      refused.error_body =
          "{\"message\":" +
          json::quote("this socket is for reading only: " + head.method + " " + head.path + " is not allowed here") +
          "}\n";
      return refused;
    }
    http::RouteDecision decision = inner(head);
    bool reading = (head.method == "GET" || head.method == "HEAD") && !is_websocket(head);
    if (reading || log_level() > LogLevel::kInfo) return decision;
    if (!decision.handler) {
      record_of(head).log(decision.error_status);
      return decision;
    }
    decision.handler = [handler = std::move(decision.handler)](std::shared_ptr<http::Exchange> exchange) {
      handler(std::make_shared<LoggedExchange>(std::move(exchange)));
    };
    return decision;
  };
}

}  // namespace caisson
