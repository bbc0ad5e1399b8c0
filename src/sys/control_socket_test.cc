// SPDX-License-Identifier: Apache-2.0
#include "sys/control_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include "sys/unix_socket.h"

namespace caisson::sys {
namespace {

// Says what it was asked; a newcomer must say "hello", and "bad" ends a connection.
struct Echo : ControlSocket::Handler {
  std::string answer(ControlSocket::Request& request) override {
    if (request.data == "bad" || (request.newcomer && request.data != "hello")) return {};
    if (!request.fds.empty()) request.answer_fds.push_back(request.fds[0].get());
    return std::string(request.data) + "!";
  }
  void disconnected() override { ++lost; }
  int lost = 0;
};

struct Place {
  Place() {
    char name[] = "/tmp/caisson-control-XXXXXX";
    REQUIRE(mkdtemp(name));
    directory = name;
    path = directory + "/socket";
  }
  ~Place() {
    unlink(path.c_str());
    rmdir(directory.c_str());
  }
  std::string directory, path;
};

class Bench {
 public:
  Bench() : loop(*EventLoop::create()) {
    auto listener = listen_unix(place.path, SOCK_SEQPACKET, 0600, 8);
    REQUIRE(listener);
    socket.emplace(*loop, echo, ControlSocket::Options{"test", std::move(*listener), getuid(), 64});
  }
  ~Bench() { finish(); }
  void start(UniqueFd first) {
    REQUIRE(socket->start(std::move(first)));
    thread = std::thread([this] { loop->run(); });
  }
  // What socket and echo say afterwards is safe to read.
  void finish() {
    loop->stop();
    if (thread.joinable()) thread.join();
  }
  UniqueFd connect() {
    auto fd = connect_unix(place.path, SOCK_SEQPACKET);
    REQUIRE(fd);
    return std::move(*fd);
  }
  // What came back; "" for the end of the connection.
  std::string ask(const UniqueFd& fd, std::string_view text, const std::vector<int>& fds = {}) {
    REQUIRE(send_message(fd.get(), text, fds));
    auto message = receive_message(fd.get(), 64);
    REQUIRE(message);
    received = std::move(message->fds);
    return message->data;
  }

  Place place;
  std::unique_ptr<EventLoop> loop;
  Echo echo;
  std::optional<ControlSocket> socket;
  std::vector<UniqueFd> received;
  std::thread thread;
};

TEST_CASE("control socket: a connection that is there needs no hello") {
  Bench bench;
  auto pair = socket_pair(SOCK_SEQPACKET);
  REQUIRE(pair);
  bench.start(std::move(pair->first));
  CHECK(bench.ask(pair->second, "add") == "add!");
  CHECK(bench.ask(pair->second, "fd", {STDERR_FILENO}) == "fd!");
  CHECK(bench.received.size() == 1);
  CHECK(bench.ask(pair->second, "bad").empty());
  bench.finish();
  CHECK_FALSE(bench.socket->is_connected());
  CHECK(bench.echo.lost == 1);
}

TEST_CASE("control socket: the newest that says hello counts") {
  Bench bench;
  bench.start({});
  auto first = bench.connect();
  CHECK(bench.ask(first, "hello") == "hello!");
  auto silent = bench.connect();
  CHECK(bench.ask(silent, "add").empty());  // without a hello
  CHECK(bench.ask(first, "add") == "add!");
  auto second = bench.connect();
  CHECK(bench.ask(second, "hello") == "hello!");
  CHECK(bench.ask(second, "add") == "add!");
  auto end = receive_message(first.get(), 64);
  REQUIRE(end);
  CHECK(end->data.empty());
}

TEST_CASE("control socket: a message too long ends the connection") {
  Bench bench;
  bench.start({});
  auto first = bench.connect();
  CHECK(bench.ask(first, "hello") == "hello!");
  CHECK(bench.ask(first, std::string(65, 'x')).empty());
  bench.finish();
  CHECK_FALSE(bench.socket->has_engine());
  CHECK(bench.echo.lost == 1);
}

}  // namespace
}  // namespace caisson::sys
