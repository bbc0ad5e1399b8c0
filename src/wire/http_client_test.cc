// SPDX-License-Identifier: Apache-2.0
#include "wire/http_client.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include "wire/http_parser.h"
#include "wire/http_server_test.h"
#include "wire/json.h"

using namespace caisson;
using namespace caisson::http;

namespace {

// A client whose server says `answers` whatever it is asked, then closes; what it was asked is in `asked`.
struct Script {
  sys::SocketPair pair = std::move(*sys::socket_pair(SOCK_STREAM));
  Client client{adopt_transport(std::move(pair.second)), "host"};
  explicit Script(std::string_view answers) {
    put(pair.first.get(), answers);
    shutdown(pair.first.get(), SHUT_WR);
  }
  std::string asked(std::string_view end) { return take_until(pair.first.get(), end); }
};

std::string failure(std::string_view answer) {
  Script script(answer);
  auto result = script.client.request({});
  return result ? "accepted: " + result->body : error_kind_name(result.error().kind);
}

}  // namespace

TEST_CASE("client sends requests as they are meant") {
  Script script(
      "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: "
      "0\r\n\r\n");
  CHECK(script.client.request({.target = "/a?b=c"})->status == 204);
  CHECK(script.asked("\r\n\r\n") == "GET /a?b=c HTTP/1.1\r\nHost: host\r\n\r\n");
  CHECK(script.client.reusable() == false);  // bytes of an answer nobody asked for
}

TEST_CASE("client keeps the connection and reads every framing") {
  TestServer server(Handler([](const std::shared_ptr<Exchange>& exchange) {
    if (exchange->request().path == "/stream") {
      auto stream = exchange->start_stream(200, {});
      for (int i = 0; i < 10; ++i) stream->write("0123456789");
      return stream->end();
    }
    exchange->reply(200, {}, exchange->request().method + exchange->request().body);
  }));
  Client client = server.client();
  for (int i = 0; i < 3; ++i) {
    CHECK(client.request({.method = "POST", .body = "body"})->body == "POSTbody");
    StringSource source("streamed");
    CHECK(client.request({.method = "PUT", .body_stream = &source})->body == "PUTstreamed");
    StringSource sized("sized");
    CHECK(client.request({.method = "PUT", .body_stream = &sized, .body_size = 5})->body == "PUTsized");
    auto head = client.request({.method = "HEAD"});
    CHECK(head->headers.find("content-length") == "4");
    CHECK(head->body.empty());
    REQUIRE(client.open({.target = "/stream"}));
    CHECK_FALSE(client.reusable());
    std::string text;
    char buffer[7];
    while (size_t got = *client.read(buffer)) text.append(buffer, got);
    CHECK(text.size() == 100);
    CHECK(text.ends_with("90123456789"));
    CHECK(client.reusable());
  }
  StringSource liar("too long");
  CHECK(client.request({.method = "PUT", .body_stream = &liar, .body_size = 3}).error().kind == ErrorKind::kInvalid);
  CHECK_FALSE(client.reusable());
  CHECK_FALSE(client.request({}));
}

TEST_CASE("client reads to the end of the connection where nothing else is said") {
  Script script("HTTP/1.0 200 OK\r\n\r\nall of it");
  CHECK(script.client.request({})->body == "all of it");
  CHECK_FALSE(script.client.reusable());
}

TEST_CASE("client passes over interim answers and limits bodies") {
  Script script(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
      "1\r\n\r\nx");
  CHECK(script.client.request({})->body == "x");
  Script big("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
  CHECK(big.client.request({}, 999).error().kind == ErrorKind::kExhausted);
  Script chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  CHECK(chunked.client.request({}, 4).error().kind == ErrorKind::kExhausted);
}

TEST_CASE("client tells broken answers from cut ones") {
  CHECK(failure("") == std::string(error_kind_name(ErrorKind::kUnavailable)));
  CHECK(failure("HTTP/1.1 200 OK\r\nContent-") == error_kind_name(ErrorKind::kUnavailable));
  CHECK(failure("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell") == error_kind_name(ErrorKind::kUnavailable));
  CHECK(failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n") ==
        error_kind_name(ErrorKind::kUnavailable));
  for (const char* head :
       {"HTTP/1.1 20 OK", "HTTP/2 200 OK", "nonsense", "HTTP/1.1 200 OK\r\nbad header",
        "HTTP/1.1 200 OK\r\nA: b\r\n c: d", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"})
    CHECK_MESSAGE(failure(std::string(head) + "\r\n\r\n") == error_kind_name(ErrorKind::kCorrupt), head);
  CHECK(failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n") == error_kind_name(ErrorKind::kCorrupt));
  auto pair = std::move(*sys::socket_pair(SOCK_STREAM));
  std::thread sender([&] { put(pair.first.get(), "HTTP/1.1 200 OK\r\nX: " + std::string(2 << 20, 'x')); });
  {
    Client client(adopt_transport(std::move(pair.second)), "h");
    CHECK(client.request({}).error().kind == ErrorKind::kCorrupt);
  }
  sender.join();
}

TEST_CASE("client refuses to send header and target injections") {
  Script script("");
  ClientRequest request;
  request.headers.add("X", "a\r\nY: b");
  CHECK(script.client.request(request).error().kind == ErrorKind::kInvalid);
  Script other("");
  CHECK(other.client.request({.target = "/ HTTP/1.1\r\nX: y"}).error().kind == ErrorKind::kInvalid);
}

TEST_CASE("client hijacks with what was read already") {
  Script script("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly");
  auto answer = script.client.open({.method = "POST"});
  CHECK(answer->status == 101);
  auto raw = script.client.hijack();
  std::string all = raw.leftover + take_until(raw.fd.get());
  CHECK(all == "early");
}

TEST_CASE("client reads the answer of a server that refuses a body and closes") {
  TestServer server(Router([](const Request&) { return RouteDecision{.error_status = 413, .error_body = "{}"}; }));
  Client client = server.client();
  std::string big(4 << 20, 'x');
  auto answer = client.request({.method = "POST", .body = big});
  REQUIRE(answer);
  CHECK(answer->status == 413);
}

TEST_CASE("queries and percent-coding") {
  Query query = Query::parse("a=1&b=x%20y+z&a=2&flag&e=&bad=%zz&=v&&c=%26");
  CHECK(query.get("b") == "x y z");
  CHECK(query.all("a") == std::vector<std::string>{"1", "2"});
  CHECK(query.find("flag") == "");
  CHECK_FALSE(query.find("bad"));
  CHECK_FALSE(query.find("nope"));
  CHECK(query.get("nope", "f") == "f");
  CHECK(Query::parse(query.encode()).encode() == query.encode());
  for (const char* text : {"", "0", "no", "False", "NONE"})
    CHECK_FALSE(Query::parse(std::string("q=") + text).flag("q", true));
  for (const char* text : {"1", "true", "yes", "x"}) CHECK(Query::parse(std::string("q=") + text).flag("q"));
  CHECK(query.flag("nope", true));
  CHECK(percent_encode("a b/\xff~") == "a%20b%2F%FF~");
  CHECK(percent_decode("%41+", false) == "A+");
  CHECK(percent_decode("%41+", true) == "A ");
  for (const char* text : {"%", "%4", "%g1", "a%"}) CHECK_FALSE(percent_decode(text, false));
}

TEST_CASE("heads are found wherever the buffer ends") {
  std::string head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  size_t from = 0;
  for (size_t size = 0; size < head.size(); ++size) CHECK(find_head_end(head.substr(0, size), from) == 0);
  CHECK(find_head_end(head + "more", from) == head.size());
  auto parsed = parse_request_head("GET http://h:1/p?q=1 HTTP/1.1\r\nHost: h\r\nConnection: Foo, Close\r\n\r\n", 10);
  REQUIRE(parsed);
  CHECK(parsed->path == "/p");
  CHECK(parsed->query == "q=1");
  CHECK_FALSE(parsed->keep_alive);
  CHECK(has_token("a, B ,c", "b"));
  CHECK_FALSE(has_token("ab", "a"));
}
