// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_url.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::registry;

TEST_CASE("registry urls are parsed strictly") {
  auto url = parse_url("https://Reg.example:5000/v2/?n=1#frag");
  REQUIRE(url);
  CHECK(url->host == "reg.example");
  CHECK(url->port == 5000);
  CHECK(url->target == "/v2/?n=1");
  CHECK(url->text() == "https://reg.example:5000/v2/?n=1");
  CHECK(parse_url("http://[::1]:5000/x")->host == "::1");
  CHECK(parse_url("http://[::1]:5000/x")->host_header() == "[::1]:5000");
  CHECK(parse_url("https://h")->text() == "https://h/");
  CHECK(parse_url("http://h?q")->target == "/?q");
  for (auto bad : {"", "h/x", "file:///etc/passwd", "ftp://h/", "unix:///run/x.sock", "http:///x", "http://u:p@h/",
                   "http://h:0/", "http://h:70000/", "http://h /", "http://h/\r\nX: y", "http://[::1/",
                   "http://h\\@evil/", "gopher://h:70/", "http://h:5a/"})
    CHECK_MESSAGE(!parse_url(bad), bad);
  CHECK(!parse_url("http://h/" + std::string(kMaxUrl, 'a')));
}

TEST_CASE("locations are resolved against the request") {
  Url base = *parse_url("https://reg:5000/v2/a/blobs/uploads/?x=1");
  CHECK(resolve_location(base, "/up?id=1")->text() == "https://reg:5000/up?id=1");
  CHECK(resolve_location(base, "//cdn.example/b")->text() == "https://cdn.example/b");
  CHECK(resolve_location(base, "http://cdn/b")->text() == "http://cdn/b");
  CHECK(resolve_location(base, "next?y=2")->text() == "https://reg:5000/v2/a/blobs/uploads/next?y=2");
  CHECK(resolve_location(base, "../../c")->target == "/v2/a/c");
  CHECK(resolve_location(base, "../../../../../../c")->target == "/c");
  CHECK(resolve_location(base, "?z")->target == "/v2/a/blobs/uploads/?z");
  CHECK(!resolve_location(base, "file:///etc/shadow"));
  CHECK(!resolve_location(base, "data:text/plain,x"));
  CHECK(!resolve_location(base, ""));
}

TEST_CASE("redirects: scheme never falls, hops are bounded") {
  Url secure = *parse_url("https://a/"), plain = *parse_url("http://a/");
  CHECK(check_redirect(secure, secure, 0));
  CHECK(check_redirect(plain, secure, 0));
  CHECK(check_redirect(plain, plain, 0));
  auto fallen = check_redirect(secure, plain, 0);
  REQUIRE(!fallen);
  CHECK(fallen.error().kind == ErrorKind::kDenied);
  CHECK(fallen.error().message == "refusing redirect from https to 'http://a:80'");
  CHECK(check_redirect(secure, secure, kMaxRedirects - 1));
  CHECK(!check_redirect(secure, secure, kMaxRedirects));
}

TEST_CASE("scopes of addresses") {
  struct Case {
    const char* address;
    AddressScope scope;
  };
  for (auto [address, scope] : {Case{"8.8.8.8", AddressScope::kPublic},
                                {"127.0.0.1", AddressScope::kLoopback},
                                {"127.255.255.254", AddressScope::kLoopback},
                                {"0.0.0.0", AddressScope::kLoopback},
                                {"169.254.169.254", AddressScope::kLinkLocal},
                                {"10.1.2.3", AddressScope::kPrivate},
                                {"172.16.0.1", AddressScope::kPrivate},
                                {"172.32.0.1", AddressScope::kPublic},
                                {"192.168.1.1", AddressScope::kPrivate},
                                {"::1", AddressScope::kLoopback},
                                {"::", AddressScope::kLoopback},
                                {"fe80::1%eth0", AddressScope::kLinkLocal},
                                {"::ffff:127.0.0.1", AddressScope::kLoopback},
                                {"::ffff:169.254.169.254", AddressScope::kLinkLocal},
                                {"64:ff9b::a9fe:a9fe", AddressScope::kLinkLocal},
                                {"fd00:ec2::254", AddressScope::kLinkLocal},
                                {"fd12::1", AddressScope::kPrivate},
                                {"2001:db8::1", AddressScope::kPublic},
                                {"100.100.100.200", AddressScope::kLinkLocal},
                                {"localhost", AddressScope::kInvalid},
                                {"", AddressScope::kInvalid}})
    CHECK_MESSAGE(scope_of_address(address) == scope, address);
}

TEST_CASE("redirects to this machine only for a registry on this machine") {
  Url to = *parse_url("http://x/");
  for (auto registry : {AddressScope::kPublic, AddressScope::kPrivate, AddressScope::kLinkLocal}) {
    CHECK(!check_redirect_address(to, registry, AddressScope::kLoopback));
    CHECK(!check_redirect_address(to, registry, AddressScope::kLinkLocal));
    CHECK(check_redirect_address(to, registry, AddressScope::kPublic));
    CHECK(check_redirect_address(to, registry, AddressScope::kPrivate));
  }
  CHECK(check_redirect_address(to, AddressScope::kLoopback, AddressScope::kLoopback));
  CHECK(!check_redirect_address(to, AddressScope::kPublic, AddressScope::kInvalid));
}

TEST_CASE("credentials go to the registry and to safe realms only") {
  Url secure = *parse_url("https://reg/"), plain = *parse_url("http://reg/");
  CHECK(may_send_credentials(secure, secure, false));
  CHECK(may_send_credentials(secure, *parse_url("https://auth.example/token"), true));
  CHECK(!may_send_credentials(secure, *parse_url("https://auth.example/token"), false));
  CHECK(!may_send_credentials(secure, *parse_url("http://auth.example/token"), true));
  CHECK(!may_send_credentials(secure, *parse_url("http://reg/token"), true));
  CHECK(may_send_credentials(plain, *parse_url("http://reg:5001/token"), true));
  CHECK(!may_send_credentials(plain, *parse_url("http://other/token"), true));
  CHECK(!may_send_credentials(secure, *parse_url("https://reg:444/"), false));
}

TEST_CASE("loopback names") {
  for (auto name : {"localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1"})
    CHECK_MESSAGE(is_loopback_name(name), name);
  for (auto name : {"localhost.evil.example", "10.0.0.1", "0.0.0.0", "", "registry"})
    CHECK_MESSAGE(!is_loopback_name(name), name);
}
