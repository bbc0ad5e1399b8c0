// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_proxy.h"

#include <doctest/doctest.h>

#include <map>

using namespace caisson;
using namespace caisson::registry;

namespace {

Result<ProxySettings> settings(const std::map<std::string, std::string>& env) {
  return ProxySettings::read([&](const char* name) -> const char* {
    auto found = env.find(name);
    return found == env.end() ? nullptr : found->second.c_str();
  });
}

// One answer, byte by byte as the tunnel reads it.
class FakeTransport : public http::Transport {
 public:
  std::string sent, answer;
  int fd() const override { return -1; }
  UniqueFd release() override { return {}; }
  Result<> write(std::string_view data) override {
    sent += data;
    return {};
  }
  Result<size_t> read(std::span<char> buffer) override {
    size_t size = answer.copy(buffer.data(), buffer.size());
    answer.erase(0, size);
    return size;
  }
};

}  // namespace

TEST_CASE("proxies from the environment") {
  auto none = settings({});
  REQUIRE(none);
  CHECK(!none->find(*parse_url("https://a/")));
  auto both = settings({{"HTTPS_PROXY", "http://user:p%40ss@proxy:3128"},
                        {"http_proxy", "plain:8080"},
                        {"NO_PROXY", " .corp.example, 10.0.0.0/8,exact.example,reg:5000"}});
  REQUIRE(both);
  auto* proxy = both->find(*parse_url("https://registry-1.docker.io/v2/"));
  REQUIRE(proxy);
  CHECK(proxy->url.origin() == "http://proxy:3128");
  CHECK(proxy->authorization == "Basic dXNlcjpwQHNz");
  CHECK(both->find(*parse_url("http://x/"))->url.port == 8080);
  for (auto direct :
       {"https://a.corp.example/", "https://10.1.2.3/", "https://exact.example/", "https://sub.exact.example/",
        "https://reg:5000/", "https://localhost:5000/", "http://127.0.0.1/", "https://[::1]/"})
    CHECK_MESSAGE(!both->find(*parse_url(direct)), direct);
  for (auto proxied :
       {"https://corp.example.evil/", "https://11.1.2.3/", "https://notexact.example/", "https://reg:5001/"})
    CHECK_MESSAGE(both->find(*parse_url(proxied)), proxied);
  CHECK(!settings({{"HTTP_PROXY", "p"}, {"NO_PROXY", "*"}})->find(*parse_url("http://a/")));
  for (auto bad : {"socks5://p:1", "file:///x", "http://p:99999", "http://%zz@p:1"})
    CHECK_MESSAGE(!settings({{"HTTPS_PROXY", bad}}), bad);
}

TEST_CASE("a tunnel through a proxy") {
  FakeTransport wire;
  wire.answer = "HTTP/1.1 200 Connection established\r\nX: y\r\n\r\ntls bytes";
  CHECK(tunnel(wire, {*parse_url("http://p:1"), "Basic eA=="}, *parse_url("https://reg/")));
  CHECK(wire.sent == "CONNECT reg:443 HTTP/1.1\r\nHost: reg:443\r\nProxy-Authorization: Basic eA==\r\n\r\n");
  CHECK(wire.answer == "tls bytes");
  for (auto refused : {"HTTP/1.1 403 Forbidden\r\n\r\n", "garbage\r\n\r\n", "HTTP/1.1 200", ""}) {
    wire.answer = refused;
    CHECK_MESSAGE(!tunnel(wire, {*parse_url("http://p:1"), ""}, *parse_url("https://reg/")), refused);
  }
  wire.answer = std::string(1 << 20, 'x');
  CHECK(!tunnel(wire, {*parse_url("http://p:1"), ""}, *parse_url("https://reg/")));
}
