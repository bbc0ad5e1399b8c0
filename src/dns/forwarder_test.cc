// SPDX-License-Identifier: Apache-2.0
#include "dns/forwarder.h"

#include <doctest/doctest.h>

#include "dns/test_messages.h"

using namespace caisson;
using namespace caisson::dns;
using namespace caisson::dns::test;

namespace {

struct FakeClock : Clock {
  int64_t now = 1'000'000'000'000;
  int64_t monotonic_ns() override { return now; }
};

struct Sent {
  uint64_t attempt = 0, scope = 0;
  Upstream upstream;
  bool tcp = false, dropped = false;
  std::string message;
};

struct FakeTransport : QueryTransport {
  std::vector<Sent> sent;
  std::vector<uint16_t> unreachable;  // ports
  bool send(uint64_t attempt, uint64_t scope, const Upstream& upstream, bool tcp, std::string_view query) override {
    for (uint16_t port : unreachable)
      if (port == upstream.port) return false;
    sent.push_back({attempt, scope, upstream, tcp, false, std::string(query)});
    return true;
  }
  void drop(uint64_t attempt) override {
    for (auto& entry : sent)
      if (entry.attempt == attempt) entry.dropped = true;
  }
};

struct Setup {
  FakeClock clock;
  FakeTransport transport;
  uint16_t next_id = 100;
  Forwarder forwarder{clock, transport, [this] { return next_id++; }};
  std::vector<std::string> replies;

  // Servers are told apart by their port.
  static Upstream server(uint16_t port, bool from_host = true) {
    return {*parse_address("192.0.2.53"), port, from_host};
  }
  void ask(std::string_view name, std::vector<Upstream> upstreams, bool tcp = false, uint64_t scope = 1) {
    Forward request;
    request.scope = scope;
    request.cache_space = scope;
    request.query = query(name, kTypeA);
    request.tcp = tcp;
    request.upstreams = std::move(upstreams);
    request.done = [this](std::string reply) { replies.push_back(std::move(reply)); };
    forwarder.forward(std::move(request));
  }
  void answer(size_t index, Code code = Code::kNoError, unsigned ttl = 60, bool has = true) {
    const Sent entry = transport.sent.at(index);
    forwarder.on_reply(entry.attempt, server_reply(entry.message, code, ttl, has), entry.tcp);
  }
  void pass(int64_t ms) {
    int64_t until = clock.now + ms * 1'000'000;
    while (forwarder.next_due_ns() <= until) {
      clock.now = std::max(clock.now, forwarder.next_due_ns());
      forwarder.run_due();
    }
    clock.now = until;
  }
  std::vector<uint16_t> ports() const {
    std::vector<uint16_t> out;
    for (const auto& entry : transport.sent) out.push_back(entry.upstream.port);
    return out;
  }
};
using Ports = std::vector<uint16_t>;

}  // namespace

TEST_CASE("dns forwarder: a reply goes back with the client's id; every attempt is dropped then") {
  Setup setup;
  setup.ask("example.com", {Setup::server(1), Setup::server(2)});
  REQUIRE(setup.ports() == Ports{1});
  CHECK(read16(setup.transport.sent[0].message, 0) == 100);
  setup.answer(0);
  REQUIRE(setup.replies.size() == 1);
  CHECK(read16(setup.replies[0], 0) == 0x1234);
  CHECK(addresses(setup.replies[0]) == "192.0.2.1");
  CHECK(setup.transport.sent[0].dropped);
  CHECK(setup.forwarder.outstanding() == 0);
  CHECK(setup.forwarder.next_due_ns() == INT64_MAX);
}

TEST_CASE("dns forwarder: a silent server is followed by the next, and is asked last for a while") {
  Setup setup;
  setup.ask("a.example", {Setup::server(1), Setup::server(2)});
  setup.pass(999);
  CHECK(setup.ports() == Ports{1});
  setup.pass(2);
  CHECK(setup.ports() == Ports{1, 2});
  setup.answer(1);
  REQUIRE(setup.replies.size() == 1);
  setup.ask("b.example", {Setup::server(1), Setup::server(2)});
  CHECK(setup.ports() == Ports{1, 2, 2});
  setup.answer(2);
  // Another container's view of it, from its own namespace, is its own.
  setup.ask("c.example", {Setup::server(1, false), Setup::server(2, false)}, false, 2);
  CHECK(setup.ports() == Ports{1, 2, 2, 1});
  setup.answer(3);
  setup.pass(6000);
  setup.ask("d.example", {Setup::server(1), Setup::server(2)});
  CHECK(setup.ports() == Ports{1, 2, 2, 1, 1});
}

TEST_CASE("dns forwarder: a late answer of the first server still counts, and makes it a good one again") {
  Setup setup;
  setup.ask("a.example", {Setup::server(1), Setup::server(2)});
  setup.pass(1500);
  setup.answer(0);
  CHECK(setup.replies.size() == 1);
  CHECK(setup.transport.sent[1].dropped);
  setup.ask("b.example", {Setup::server(1), Setup::server(2)});
  CHECK(setup.ports() == Ports{1, 2, 1});
}

TEST_CASE("dns forwarder: SERVFAIL after 4.5 s of silence, the only server asked several times") {
  Setup setup;
  setup.ask("a.example", {Setup::server(1)});
  setup.pass(4499);
  CHECK(setup.replies.empty());
  CHECK(setup.ports().size() == 5);
  setup.pass(2);
  REQUIRE(setup.replies.size() == 1);
  CHECK(code_of(setup.replies[0]) == Code::kServerFailure);
  for (const auto& entry : setup.transport.sent) CHECK(entry.dropped);
}

TEST_CASE("dns forwarder: refusals and failures move on at once, and are final when all have failed") {
  Setup setup;
  setup.ask("a.example", {Setup::server(1), Setup::server(2), Setup::server(3)});
  setup.answer(0, Code::kRefused);
  CHECK(setup.ports() == Ports{1, 2});
  setup.answer(1, Code::kServerFailure);
  CHECK(setup.ports() == Ports{1, 2, 3});
  setup.forwarder.on_failure(setup.transport.sent[2].attempt);
  REQUIRE(setup.replies.size() == 1);
  CHECK(code_of(setup.replies[0]) == Code::kServerFailure);
}

TEST_CASE("dns forwarder: servers that cannot be reached cost nothing; none at all is SERVFAIL at once") {
  Setup setup;
  setup.transport.unreachable = {1, 2};
  setup.ask("a.example", {Setup::server(1), Setup::server(2), Setup::server(3)});
  CHECK(setup.ports() == Ports{3});
  setup.answer(0);
  setup.ask("b.example", {Setup::server(1), Setup::server(2)});
  setup.ask("c.example", {});
  REQUIRE(setup.replies.size() == 3);
  CHECK(code_of(setup.replies[1]) == Code::kServerFailure);
  CHECK(code_of(setup.replies[2]) == Code::kServerFailure);
}

TEST_CASE("dns forwarder: no such name is an answer; what is not the answer is passed over") {
  Setup setup;
  setup.ask("a.example", {Setup::server(1), Setup::server(2)});
  std::string wrong = server_reply(setup.transport.sent[0].message, Code::kNoError, 60);
  wrong[0] = static_cast<char>(wrong[0] ^ 1);
  setup.forwarder.on_reply(setup.transport.sent[0].attempt, wrong, false);
  setup.forwarder.on_reply(setup.transport.sent[0].attempt, "junk", false);
  CHECK(setup.replies.empty());
  setup.answer(0, Code::kNameError, 60, false);
  REQUIRE(setup.replies.size() == 1);
  CHECK(code_of(setup.replies[0]) == Code::kNameError);
  CHECK(setup.ports() == Ports{1});
}

TEST_CASE("dns forwarder: kept for its time, with less to live, apart for each container") {
  Setup setup;
  setup.ask("a.example", {Setup::server(1)});
  setup.answer(0, Code::kNoError, 60);
  setup.pass(20000);
  setup.ask("A.example", {Setup::server(1)});
  REQUIRE(setup.replies.size() == 2);
  CHECK(setup.transport.sent.size() == 1);
  CHECK(read16(setup.replies[1], first_answer(setup.replies[1]) + 8) == 40);
  CHECK(setup.replies[1][13] == 'A');
  setup.ask("a.example", {Setup::server(1)}, false, 2);
  CHECK(setup.transport.sent.size() == 2);
  setup.answer(1);
  setup.pass(41000);
  setup.ask("a.example", {Setup::server(1)});
  CHECK(setup.transport.sent.size() == 3);
}

TEST_CASE("dns forwarder: a missing name is kept for a shorter time, a failure not at all") {
  Setup setup;
  setup.ask("a.example", {Setup::server(1)});
  setup.answer(0, Code::kNameError, 3600, false);
  setup.pass(29000);
  setup.ask("a.example", {Setup::server(1)});
  CHECK(setup.transport.sent.size() == 1);
  setup.pass(2000);
  setup.ask("a.example", {Setup::server(1)});
  CHECK(setup.transport.sent.size() == 2);
  setup.answer(1, Code::kServerFailure);
  setup.ask("a.example", {Setup::server(1)});
  CHECK(setup.transport.sent.size() == 3);
}

TEST_CASE("dns forwarder: over TCP each server is asked once") {
  Setup setup;
  setup.ask("a.example", {Setup::server(1), Setup::server(2)}, true);
  setup.pass(4400);
  CHECK(setup.ports() == Ports{1, 2});
  CHECK(setup.transport.sent[0].tcp);
  setup.forwarder.on_reply(setup.transport.sent[0].attempt, "junk", true);
  CHECK(setup.replies.empty());
  setup.answer(1);
  CHECK(setup.replies.size() == 1);
}

TEST_CASE("dns forwarder: a container may have so many queries under way, and another's are not its affair") {
  Setup setup;
  for (size_t i = 0; i < Forwarder::kMaxPerScope; ++i) setup.ask("a" + std::to_string(i), {Setup::server(1)});
  CHECK(setup.replies.empty());
  setup.ask("more", {Setup::server(1)});
  REQUIRE(setup.replies.size() == 1);
  CHECK(code_of(setup.replies[0]) == Code::kRefused);
  setup.ask("more", {Setup::server(1)}, false, 2);
  CHECK(setup.replies.size() == 1);
  setup.forwarder.drop_scope(1);
  CHECK(setup.replies.size() == 1);
  CHECK(setup.forwarder.outstanding() == 1);
  setup.ask("again", {Setup::server(1)});
  CHECK(setup.forwarder.outstanding() == 2);
}

TEST_CASE("dns cache: bounded in number and bytes, the oldest goes first") {
  FakeClock clock;
  Cache cache(clock);
  for (size_t i = 0; i < kCacheEntries + 10; ++i) {
    Query asked = query("n" + std::to_string(i), kTypeA);
    std::string reply = server_reply(make_query(asked, 1, 512), Code::kNoError, 60);
    cache.keep(1, asked, reply, {.ttl = 60});
  }
  CHECK(cache.entries() == kCacheEntries);
  CHECK_FALSE(cache.find(1, query("n9", kTypeA)));
  CHECK(cache.find(1, query("n10", kTypeA)));
  CHECK_FALSE(cache.find(1, query("n10", kTypeAaaa)));
  CHECK_FALSE(cache.find(1, query("n10", kTypeA, true)));
  for (size_t i = 0; i < 100; ++i) {
    Query asked = query("big" + std::to_string(i), kTypeA);
    cache.keep(1, asked, server_reply(make_query(asked, 1, 512), Code::kNoError, 60) + std::string(4000, 'x'),
               {.ttl = 60});
  }
  CHECK(cache.bytes() <= kCacheBytes);
  CHECK(cache.find(1, query("big99", kTypeA)));
}
