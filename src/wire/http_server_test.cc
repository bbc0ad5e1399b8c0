// SPDX-License-Identifier: Apache-2.0
#include "wire/http_server_test.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>

#include "base/text.h"

using namespace caisson;
using namespace caisson::http;

namespace {

// Method, path, query and body as the body.
void echo(const std::shared_ptr<Exchange>& exchange) {
  Request& request = exchange->request();
  Headers headers;
  headers.add("Content-Type", "text/plain");
  exchange->reply(200, headers,
                  request.method + " " + request.path + " " + request.query.encode() + " " + request.body);
}

std::string body_of(const std::string& answer) {
  size_t at = answer.find("\r\n\r\n");
  return at == answer.npos ? "" : answer.substr(at + 4);
}

}  // namespace

TEST_CASE("server answers with the common headers and keeps the connection") {
  TestServer server(echo);
  Headers common;
  common.add("Server", "Test/1");
  server.server().set_common_headers(common);
  UniqueFd fd = server.connect();
  for (int i = 0; i < 3; ++i) {
    put(fd.get(), "GET /a%20b?x=1&y=%2F HTTP/1.1\r\nHost: h\r\n\r\n");
    std::string answer = take_until(fd.get(), "GET /a b x=1&y=%2F ");
    CHECK(answer.starts_with("HTTP/1.1 200 OK\r\nServer: Test/1\r\nContent-Type: text/plain\r\nDate: "));
    CHECK(answer.contains("\r\nContent-Length: 19\r\n\r\n"));
  }
}

TEST_CASE("server answers pipelined requests in order, also with a half-closed client") {
  TestServer server(echo);
  std::string answer =
      talk(server,
           "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
           "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n");
  size_t one = answer.find("GET /1  "), two = answer.find("POST /2  abc"), three = answer.find("GET /3  ");
  CHECK(one < two);
  CHECK(two < three);
  CHECK(three != answer.npos);
}

TEST_CASE("server reads bodies by length and chunked, in pieces") {
  TestServer server(echo);
  UniqueFd fd = server.connect();
  for (std::string_view piece : {"PO", "ST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r",
                                 "\n\r\n5;e=1\r\nhel", "lo\r\n", "a\r\n0123456789\r", "\n0\r\nTrailer: x\r\n\r", "\n"})
    put(fd.get(), piece);
  CHECK(body_of(take_until(fd.get(), "0123456789")) == "POST /x  hello0123456789");
  std::string big(300000, 'q');
  put(fd.get(), format("PUT /y HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", big.size()) + big);
  std::string answer = take_until(fd.get(), "q");
  while (body_of(answer).size() < 8 + big.size()) answer += take_until(fd.get(), "q");
  CHECK(body_of(answer) == "PUT /y  " + big);
}

TEST_CASE("server sends 100 Continue when the client waits for it") {
  TestServer server(echo);
  UniqueFd fd = server.connect();
  put(fd.get(), "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  CHECK(take_until(fd.get(), "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  put(fd.get(), "ok");
  CHECK(body_of(take_until(fd.get(), "ok")) == "POST /  ok");
}

TEST_CASE("server gives HEAD no body and HTTP/1.0 a close") {
  TestServer server(echo);
  std::string answer = talk(server, "HEAD /_ping HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(answer.contains("Content-Length: 13\r\n"));
  CHECK(body_of(answer).empty());
  UniqueFd fd = server.connect();
  put(fd.get(), "GET / HTTP/1.0\r\n\r\n");
  answer = take_until(fd.get());
  CHECK(answer.contains("Connection: close\r\n"));
  CHECK(body_of(answer) == "GET /  ");
}

TEST_CASE("server refuses what could be read in two ways") {
  TestServer server(echo, ServerLimits{.max_header_bytes = 2000, .max_headers = 20, .max_body_bytes = 1000});
  auto status = [&](std::string_view request) { return talk(server, request).substr(0, 12); };
  CHECK(status("GET / HTTP/1.1\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET / HTTP/1.1\nHost: a\n\n") == "HTTP/1.1 400");
  CHECK(status("GET / HTTP/1.1\r\nHost : a\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET  / HTTP/1.1\r\nHost: a\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET x HTTP/1.1\r\nHost: a\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n") == "HTTP/1.1 505");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx") == "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx") == "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx") == "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx") == "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx") == "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") ==
        "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n") == "HTTP/1.1 501");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n") == "HTTP/1.1 501");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n") ==
        "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n") ==
        "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX") == "HTTP/1.1 400");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n") ==
        "HTTP/1.1 400");
  CHECK(status("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(3000, 'x') + "\r\n\r\n") == "HTTP/1.1 431");
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 30; ++i) many += "X: y\r\n";
  CHECK(status(many + "\r\n") == "HTTP/1.1 431");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n") == "HTTP/1.1 413");
  std::string chunk = "100\r\n" + std::string(256, 'x') + "\r\n";
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk + chunk + chunk) ==
        "HTTP/1.1 413");
  // A refusal ends the connection: nothing behind it is taken for a request.
  std::string answer = talk(server, "GET / HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(answer.contains("{\"message\":\"missing or repeated Host\"}"));
  CHECK_FALSE(answer.contains("/second"));
}

TEST_CASE("server routes: errors of the router, dropped exchanges, throwing handlers") {
  TestServer server(Router([](const Request& head) -> RouteDecision {
    if (head.path == "/drop") return {.handler = [](const std::shared_ptr<Exchange>&) {}};
    if (head.path == "/throw") return {.handler = [](const std::shared_ptr<Exchange>&) { throw std::bad_alloc(); }};
    if (head.path == "/no") return {.error_status = 405, .error_body = "{}"};
    return {};
  }));
  auto get = [&](const char* path) { return talk(server, format("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)); };
  CHECK(get("/x").starts_with("HTTP/1.1 404 Not Found"));
  CHECK(body_of(get("/x")) == "{\"message\":\"page not found\"}\n");
  CHECK(get("/no").starts_with("HTTP/1.1 405"));
  CHECK(get("/drop").starts_with("HTTP/1.1 500"));
  CHECK(body_of(get("/drop")).starts_with("{\"message\":"));
  CHECK(get("/throw").starts_with("HTTP/1.1 500"));
  // The body of a request that no route takes is not mistaken for the next request.
  CHECK_FALSE(
      talk(server, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 32\r\n\r\nGET /no HTTP/1.1\r\nHost: hhhhh\r\n\r\n")
          .contains(" 405"));
}

TEST_CASE("server runs handlers on the loop thread where the route says so") {
  std::atomic<bool> same = false;
  std::promise<std::thread::id> loop_thread;
  Handler handler = [&, id = loop_thread.get_future().share()](const std::shared_ptr<Exchange>& exchange) {
    same = id.get() == std::this_thread::get_id();
    echo(exchange);
  };
  TestServer server(Router([&](const Request&) { return RouteDecision{.handler = handler, .on_loop = true}; }));
  server.server().post([&] { loop_thread.set_value(std::this_thread::get_id()); });
  std::string request = "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na";
  std::string answer = talk(server, request + request + request);
  CHECK(same);
  size_t count = 0;
  for (size_t at = 0; (at = answer.find("POST /x  a", at)) != answer.npos; ++at) ++count;
  CHECK(count == 3);
}

TEST_CASE("server drops slow request heads") {
  TestServer server(echo, ServerLimits{.header_timeout_s = 1});
  UniqueFd fd = server.connect();
  put(fd.get(), "GET / HTTP/1.1\r\nHos");
  CHECK(take_until(fd.get()).starts_with("HTTP/1.1 408"));
}

TEST_CASE("server defers replies and tells when the client has gone") {
  std::promise<std::shared_ptr<Exchange>> kept, kept_again;
  std::promise<void> gone;
  std::atomic<int> calls = 0;
  TestServer server(Handler([&](std::shared_ptr<Exchange> exchange) {
    if (calls++ == 0) return kept.set_value(exchange);
    exchange->on_closed([&] { gone.set_value(); });
    kept_again.set_value(std::move(exchange));
  }));
  UniqueFd fd = server.connect();
  put(fd.get(), "POST /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  shutdown(fd.get(), SHUT_WR);  // legal while waiting
  auto exchange = kept.get_future().get();
  exchange->reply(200, {}, "done");
  exchange->reply(200, {}, "twice");
  exchange.reset();
  std::string answer = take_until(fd.get());
  CHECK(body_of(answer) == "done");

  fd = server.connect();
  put(fd.get(), "POST /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  exchange = kept_again.get_future().get();
  fd.reset();
  CHECK(gone.get_future().wait_for(std::chrono::seconds(5)) == std::future_status::ready);
  exchange->reply(200, {}, "late");  // ignored
}

TEST_CASE("server streams from another thread and goes on with the next request") {
  TestServer server(Handler([](const std::shared_ptr<Exchange>& exchange) {
    if (exchange->request().path != "/stream") return echo(exchange);
    auto stream = exchange->start_stream(200, {});
    std::thread([stream] {
      for (int i = 0; i < 100; ++i) stream->write(format("%d,", i));
      stream->end();
      CHECK_FALSE(stream->write("late"));
    }).join();
  }));
  Client client = server.client();
  for (int round = 0; round < 3; ++round) {
    auto answer = client.request({.target = "/stream"});
    REQUIRE(answer);
    CHECK(answer->body.starts_with("0,1,2,"));
    CHECK(answer->body.ends_with("98,99,"));
    CHECK(client.reusable());
    CHECK(client.request({.target = "/x"})->body == "GET /x  ");
  }
  CHECK(body_of(talk(server, "GET /stream HTTP/1.0\r\n\r\n")).starts_with("0,1,"));
}

TEST_CASE("server limits the backlog of a stream and drops the connection") {
  std::promise<int> written;
  std::promise<void> closed;
  TestServer server(Handler([&](const std::shared_ptr<Exchange>& exchange) {
                      auto stream = exchange->start_stream(200, {});
                      stream->on_closed([&] { closed.set_value(); });
                      std::string chunk(10000, 'x');
                      int count = 0;
                      while (stream->write(chunk)) ++count;
                      written.set_value(count);
                    }),
                    ServerLimits{.max_stream_backlog = 100000});
  UniqueFd fd = server.connect();
  put(fd.get(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(written.get_future().get() >= 10);
  CHECK(closed.get_future().wait_for(std::chrono::seconds(5)) == std::future_status::ready);
}

TEST_CASE("server calls a pulling producer each time its backlog has drained") {
  std::atomic<int> left = 200;
  TestServer server(Handler([&](const std::shared_ptr<Exchange>& exchange) {
    auto stream = exchange->start_stream(200, {});
    stream->on_drained([stream, &left] {
      if (left-- > 0)
        stream->write(std::string(50000, 'x'));
      else
        stream->end();
    });
  }));
  Client client = server.client();
  auto answer = client.request({});
  REQUIRE(answer);
  CHECK(answer->body.size() == 200 * 50000);
}

TEST_CASE("server tells a stream when the client has gone") {
  std::promise<void> closed;
  std::promise<std::shared_ptr<Stream>> kept;
  TestServer server(Handler([&](const std::shared_ptr<Exchange>& exchange) {
    auto stream = exchange->start_stream(200, {});
    stream->on_closed([&] { closed.set_value(); });
    kept.set_value(stream);
  }));
  UniqueFd fd = server.connect();
  put(fd.get(), "GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
  auto stream = kept.get_future().get();
  take_until(fd.get(), "\r\n\r\n");
  fd.reset();
  CHECK(closed.get_future().wait_for(std::chrono::seconds(5)) == std::future_status::ready);
  CHECK_FALSE(stream->write("x"));
}

TEST_CASE("server hands over the socket with what came behind the request") {
  TestServer server(Handler([](const std::shared_ptr<Exchange>& exchange) {
    bool upgrade = exchange->request().headers.find("Upgrade").has_value();
    CHECK(exchange->request().body == "{}");
    auto raw = exchange->take_over()->release();
    (void)write_upgrade_response(raw.fd.get(), upgrade, "application/vnd.docker.raw-stream");
    put(raw.fd.get(), "got:" + raw.leftover);
    put(raw.fd.get(), take_until(raw.fd.get(), "."));
  }));
  for (bool upgrade : {true, false}) {
    UniqueFd fd = server.connect();
    put(fd.get(), format("POST /attach HTTP/1.1\r\nHost: h\r\n%sContent-Length: 2\r\n\r\n{}early",
                         upgrade ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : ""));
    std::string answer = take_until(fd.get(), "got:early");
    CHECK(answer ==
          std::string(upgrade
                          ? "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: "
                            "Upgrade\r\nUpgrade: tcp\r\n\r\n"
                          : "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n") +
              "got:early");
    put(fd.get(), "later.");
    CHECK(take_until(fd.get()) == "later.");
  }
}

TEST_CASE("server lets a handler read the body and write the answer blocking") {
  Handler handler = [](const std::shared_ptr<Exchange>& exchange) {
    auto taken = exchange->take_over();
    std::string buffer(1000, '\0');
    size_t total = 0;
    while (true) {
      auto got = taken->read(std::span(buffer));
      if (!got) {
        CHECK(got.error().kind == ErrorKind::kCancelled);
        return;
      }
      if (*got == 0) break;
      total += *got;
    }
    CHECK(taken->begin_response(200, {}));
    CHECK(taken->write(format("%zu bytes", total)));
    CHECK(taken->finish());
  };
  TestServer server(Router([&](const Request&) { return RouteDecision{.handler = handler, .stream_body = true}; }));
  std::string chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 100; ++i) chunked += "1000\r\n" + std::string(4096, 'x') + "\r\n";
  CHECK(talk(server, chunked + "0\r\n\r\n").contains("409600 bytes"));
  CHECK(talk(server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").contains("5 bytes"));
  CHECK(talk(server, "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello").ends_with("\r\n\r\n5 bytes"));
  talk(server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nhello");

  UniqueFd fd = server.connect();
  put(fd.get(), "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  CHECK(take_until(fd.get(), "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  put(fd.get(), "ok");
  CHECK(take_until(fd.get()).contains("2 bytes"));
}

TEST_CASE("server answers 500 for a taken connection that was given up, also with a body on the way") {
  TestServer server(Router([](const Request&) {
    return RouteDecision{.handler = [](const std::shared_ptr<Exchange>& exchange) { exchange->take_over(); },
                         .stream_body = true};
  }));
  CHECK(talk(server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n" + std::string(500000, 'x'))
            .starts_with("HTTP/1.1 500"));
}

TEST_CASE("taken connections do not use up the workers") {
  std::atomic<int> held = 0;
  TestServer server(Handler([&](const std::shared_ptr<Exchange>& exchange) {
                      if (exchange->request().path != "/hold") return echo(exchange);
                      auto raw = exchange->take_over()->release();
                      ++held;
                      put(raw.fd.get(), "held");
                      take_until(raw.fd.get());
                    }),
                    ServerLimits{.max_workers = 2});
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 8; ++i) {
    fds.push_back(server.connect());
    put(fds.back().get(), "POST /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(take_until(fds.back().get(), "held") == "held");
  }
  CHECK(talk(server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("HTTP/1.1 200"));
  CHECK(held == 8);
  fds.clear();
}

TEST_CASE("server serves 200 connections at once") {
  TestServer server(echo, ServerLimits{.max_workers = 8});
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 200; ++i) fds.push_back(server.connect());
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 200; ++i) put(fds[i].get(), format("GET /%d. HTTP/1.1\r\nHost: h\r\n\r\n", i));
    for (int i = 0; i < 200; ++i) CHECK(body_of(take_until(fds[i].get(), ".  ")) == format("GET /%d.  ", i));
  }
}

TEST_CASE("server accepts again when connections have gone") {
  TestServer server(echo, ServerLimits{.max_connections = 2});
  UniqueFd one = server.connect(), two = server.connect();
  put(one.get(), "GET /1. HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(take_until(one.get(), ".  ").contains("GET /1."));
  UniqueFd three = server.connect();
  put(three.get(), "GET /3. HTTP/1.1\r\nHost: h\r\n\r\n");
  one.reset();
  CHECK(take_until(three.get(), ".  ").contains("GET /3."));
}

TEST_CASE("stop closes everything and leaves late calls harmless") {
  std::promise<std::shared_ptr<Exchange>> kept;
  std::shared_ptr<Stream> stream;
  std::promise<void> streaming;
  TestServer server(Handler([&](std::shared_ptr<Exchange> exchange) {
    if (exchange->request().path == "/stream") {
      stream = exchange->start_stream(200, {});
      return streaming.set_value();
    }
    if (exchange->request().path == "/take") {
      auto taken = exchange->take_over();
      char byte;
      CHECK_FALSE(taken->read({&byte, 1}));
      return;
    }
    kept.set_value(std::move(exchange));
  }));
  UniqueFd one = server.connect(), two = server.connect();
  put(one.get(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  put(two.get(), "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  auto exchange = kept.get_future().get();
  streaming.get_future().get();
  server.stop();
  CHECK_FALSE(stream->write("x"));
  stream->end();
  exchange->on_closed([exchange] {});
  exchange->reply(200, {}, "x");
  CHECK(take_until(one.get()).empty());
}

TEST_CASE("the peer of a unix socket is known") {
  TestServer server(Handler([](const std::shared_ptr<Exchange>& exchange) {
    const PeerInfo& peer = exchange->request().peer;
    exchange->reply(200, {}, format("%s %d %d", peer.address.c_str(), peer.pid == getpid(), peer.uid == getuid()));
  }));
  CHECK(body_of(talk(server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")) == "@ 1 1");
}
