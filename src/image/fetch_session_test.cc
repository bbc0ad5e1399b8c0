// SPDX-License-Identifier: Apache-2.0
// The engine's end against workers that were taken over: they lie, flood, fall silent or die.
#include "image/fetch_session.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>

#include <thread>

#include "image/pull_stream.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

using namespace caisson;
using namespace caisson::image;

namespace {

// Says yes to the setup, then does what the test wants with each job.
class FakeWorker {
 public:
  using Behaviour = std::function<void(int socket, const FetchJob& job, std::vector<UniqueFd> fds)>;
  FakeWorker(UniqueFd socket, Behaviour behaviour) : socket_(std::move(socket)), behaviour_(std::move(behaviour)) {
    thread_ = std::thread([this] {
      while (true) {
        auto message = sys::receive_message(socket_.get(), kMaxFetchMessage);
        if (!message || message->data.empty()) return;
        auto job = parse_fetch_job(message->data);
        if (!job) return;
        if (job->kind == "setup") {
          say(socket_.get(), {.id = job->id, .done = true, .ok = true});
        } else {
          behaviour_(socket_.get(), *job, std::move(message->fds));
        }
      }
    });
  }
  ~FakeWorker() { thread_.join(); }
  static void say(int socket, const FetchReply& reply) { (void)sys::send_message(socket, json::encode(reply)); }

 private:
  UniqueFd socket_;
  Behaviour behaviour_;
  std::thread thread_;
};

struct Harness {
  std::unique_ptr<FakeWorker> worker;
  std::unique_ptr<FetchSession> session;
  Harness(FakeWorker::Behaviour behaviour, const std::atomic<bool>* cancel = nullptr) {
    signal(SIGPIPE, SIG_IGN);
    auto sockets = sys::socket_pair(SOCK_SEQPACKET);
    REQUIRE(sockets);
    worker = std::make_unique<FakeWorker>(std::move(sockets->second), std::move(behaviour));
    auto adopted = FetchSession::adopt(std::move(sockets->first), {}, cancel);
    REQUIRE(adopted);
    session = std::move(*adopted);
  }
  ~Harness() { session.reset(); }
  Result<FetchReply> call(const std::function<void(int64_t)>& on_progress = {}) {
    return session->call({.kind = "x"}, {}, on_progress);
  }
};

}  // namespace

TEST_CASE("a session: answers, progress, failures with the registry's code") {
  Harness honest([](int socket, const FetchJob& job, std::vector<UniqueFd>) {
    FakeWorker::say(socket, {.id = job.id, .size = 10});
    FakeWorker::say(socket, {.id = job.id + 77, .done = true, .ok = true, .size = 666});  // nobody's
    if (job.reference == "bad") {
      FakeWorker::say(socket, {.id = job.id,
                               .done = true,
                               .error_kind = "not found",
                               .message = "manifest unknown: x",
                               .code = "MANIFEST_UNKNOWN"});
    } else {
      FakeWorker::say(socket, {.id = job.id, .done = true, .ok = true, .size = 20});
    }
    FakeWorker::say(socket, {.id = job.id, .done = true, .ok = true, .size = 999});  // too late
  });
  auto reply = honest.call([](int64_t bytes) { CHECK(bytes == 10); });
  REQUIRE(reply);
  CHECK(reply->size == 20);
  FetchReply failed;
  auto refused = honest.session->call({.kind = "x", .reference = "bad"}, {}, {}, &failed);
  REQUIRE(!refused);
  CHECK(refused.error().kind == ErrorKind::kNotFound);
  CHECK(failed.code == "MANIFEST_UNKNOWN");
}

TEST_CASE("a worker that talks nonsense or dies ends the session, not the engine") {
  Harness nonsense([](int socket, const FetchJob&, std::vector<UniqueFd>) { (void)sys::send_message(socket, "{]"); });
  for (int i = 0; i < 2; ++i) {
    auto broken = nonsense.call();
    REQUIRE(!broken);
    CHECK(broken.error().kind == ErrorKind::kUnavailable);
  }
  Harness dead([](int socket, const FetchJob&, std::vector<UniqueFd>) { shutdown(socket, SHUT_RDWR); });
  auto ended = dead.call();
  REQUIRE(!ended);
  CHECK(ended.error().message == "fetch worker ended unexpectedly");
  Harness huge([](int socket, const FetchJob& job, std::vector<UniqueFd>) {
    FakeWorker::say(socket, {.id = job.id, .done = true, .ok = true, .note = std::string(kMaxFetchMessage, 'x')});
    FakeWorker::say(socket, {.id = job.id, .done = true, .ok = true, .note = std::string(1000, 'x')});
    shutdown(socket, SHUT_RDWR);
  });
  CHECK(!huge.call());
}

TEST_CASE("a document is bounded by the engine, whatever the worker writes") {
  Harness flood([](int socket, const FetchJob& job, std::vector<UniqueFd> fds) {
    std::string block(4096, 'x');
    while (sys::write_all(fds[0].get(), block)) {
    }
    fds.clear();
    FakeWorker::say(socket, {.id = job.id, .done = true, .ok = true});
  });
  auto document = fetch_document(*flood.session, {.kind = "manifest"}, 10000);
  REQUIRE(!document);
  CHECK(document.error().kind == ErrorKind::kExhausted);
}

TEST_CASE("cancel and abort end a call that nobody answers") {
  std::atomic<bool> cancel = false;
  Harness silent([&](int, const FetchJob&, std::vector<UniqueFd>) { cancel = true; }, &cancel);
  auto cancelled = silent.call();
  REQUIRE(!cancelled);
  CHECK(cancelled.error().kind == ErrorKind::kCancelled);
  Harness* current = nullptr;
  Harness aborted([&](int, const FetchJob&, std::vector<UniqueFd>) { current->session->abort(); });
  current = &aborted;
  CHECK(aborted.call().error().kind == ErrorKind::kCancelled);
}

TEST_CASE("which registries may be insecure") {
  FetchConfig config;
  config.insecure_registries = {"reg.example:5000", "10.1.0.0/16", "plain.example"};
  for (auto host : {"localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000", "reg.example:5000", "10.1.2.3:5000",
                    "plain.example:5000"})
    CHECK_MESSAGE(is_insecure_registry(config, host), host);
  for (auto host : {"reg.example:5001", "10.2.0.1:5000", "registry-1.docker.io", "localhost.evil", "", "a b"})
    CHECK_MESSAGE(!is_insecure_registry(config, host), host);
}
