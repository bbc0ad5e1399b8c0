// SPDX-License-Identifier: Apache-2.0
// Drivers with a peer: their messages, and a peer that is slow, stuck or gone.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "logs/log_test_helpers.h"
#include "logs/messages.h"
#include "sys/unix_socket.h"

using namespace caisson;
using namespace caisson::logs;
using namespace caisson::logs::test;

namespace {

// A syslog or journal of the test's own.
struct Peer {
  TempDir dir;
  std::string path = dir.path + "/sock";
  UniqueFd listener;
  explicit Peer(int type) { open(type); }
  void open(int type) {
    listener.reset(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.c_str(), path.size());
    unlink(path.c_str());
    REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    if (type == SOCK_STREAM) REQUIRE(listen(listener.get(), 8) == 0);
  }
  UniqueFd accept() { return std::move(*sys::accept_connection(listener.get())); }
};

std::string receive(int socket) {
  std::string buffer(1 << 20, '\0');
  ssize_t got = recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
  return got < 0 ? "(nothing)" : buffer.substr(0, static_cast<size_t>(got));
}

LogConfig syslog_to(const Peer& peer, const char* scheme) {
  LogConfig config;
  config.driver = "syslog";
  config.address = std::string(scheme) + "://" + peer.path;
  config.tag = "tag";
  return config;
}

LogConfig journal_to(const Peer& peer) {
  LogConfig config;
  config.driver = "journald";
  config.address = peer.path;
  config.container_id = "0123456789abcdef";
  config.container_name = "web";
  config.image_name = "nginx";
  config.tag = "0123456789ab";
  config.attrs = {{"com.team", "blue"}, {"tag", "0123456789ab"}};
  return config;
}

// Value of a field in the journal's form; "(none)" without it.
std::string field(const std::string& message, const std::string& name) {
  size_t at = ("\n" + message).find("\n" + name + "=");
  if (at == std::string::npos) return "(none)";
  at += name.size() + 1;
  return message.substr(at, message.find('\n', at) - at);
}

}  // namespace

TEST_CASE("syslog: docker's forms") {
  setenv("TZ", "UTC", 1);
  tzset();
  LogConfig config;
  config.tag = "t";
  config.facility = 1;
  Line out{StreamId::kStdout, "hello", true, kTime + 5000, 0}, err{StreamId::kStderr, "bad", true, kTime, 0};
  auto made = [&](SyslogFormat format, const Line& line) {
    config.format = format;
    return syslog_messages(config, "host", 42)->make(line);
  };
  CHECK(made(SyslogFormat::kUnix, out) == "<14>May  1 10:20:30 t[42]: hello\n");
  CHECK(made(SyslogFormat::kUnix, err) == "<11>May  1 10:20:30 t[42]: bad\n");
  CHECK(made(SyslogFormat::kRfc3164, out) == "<14>May  1 10:20:30 host t[42]: hello\n");
  CHECK(made(SyslogFormat::kRfc5424, out) == "<14>1 2024-05-01T10:20:30Z host t 42 t - hello\n");
  CHECK(made(SyslogFormat::kRfc5424Micro, out) == "<14>1 2024-05-01T10:20:30.120005Z host t 42 t - hello\n");
}

TEST_CASE("syslog over both kinds of unix socket") {
  for (auto [type, scheme] : {std::pair{SOCK_DGRAM, "unixgram"}, {SOCK_STREAM, "unix"}}) {
    Peer peer(type);
    auto writer = LogWriter::open(syslog_to(peer, scheme));
    REQUIRE(writer);
    UniqueFd accepted;
    if (type == SOCK_STREAM) accepted = peer.accept();
    int socket = type == SOCK_STREAM ? accepted.get() : peer.listener.get();
    REQUIRE((*writer)->append(StreamId::kStdout, "one\ntw", kTime));
    REQUIRE((*writer)->flush());
    std::string got = receive(socket);
    CHECK(got.starts_with("<30>"));
    CHECK(got.ends_with(format(" tag[%d]: one\n", getpid())));
    REQUIRE((*writer)->finish());
    CHECK(receive(socket).ends_with(": tw\n"));
    CHECK_FALSE((*writer)->lingering());
  }
}

TEST_CASE("journald: the fields") {
  Peer peer(SOCK_DGRAM);
  auto writer = *LogWriter::open(journal_to(peer));
  REQUIRE(writer->append(StreamId::kStderr, "oops\n", kTime));
  REQUIRE(writer->append(StreamId::kStdout, std::string(20000, 'x') + "\n", kTime));
  REQUIRE(writer->flush());
  std::string message = receive(peer.listener.get());
  for (auto [name, value] : {std::pair{"CONTAINER_ID", "0123456789ab"},
                             {"CONTAINER_ID_FULL", "0123456789abcdef"},
                             {"CONTAINER_NAME", "web"},
                             {"CONTAINER_TAG", "0123456789ab"},
                             {"SYSLOG_IDENTIFIER", "0123456789ab"},
                             {"IMAGE_NAME", "nginx"},
                             {"PRIORITY", "3"},
                             {"MESSAGE", "oops"},
                             {"COM_TEAM", "blue"},
                             {"CONTAINER_LOG_ORDINAL", "1"},
                             {"SYSLOG_TIMESTAMP", "2024-05-01T10:20:30.12Z"},
                             {"CONTAINER_PARTIAL_MESSAGE", "(none)"},
                             {"TAG", "(none)"}}) {
    CAPTURE(name);
    CHECK(field(message, name) == value);
  }
  std::string first = receive(peer.listener.get()), second = receive(peer.listener.get());
  CHECK(field(first, "CONTAINER_PARTIAL_MESSAGE") == "true");
  CHECK(field(first, "CONTAINER_PARTIAL_ORDINAL") == "1");
  CHECK(field(first, "CONTAINER_PARTIAL_LAST") == "false");
  CHECK(field(second, "CONTAINER_PARTIAL_MESSAGE") == "(none)");
  CHECK(field(second, "CONTAINER_PARTIAL_LAST") == "true");
  CHECK(field(second, "CONTAINER_PARTIAL_ID") == field(first, "CONTAINER_PARTIAL_ID"));
  CHECK(field(first, "MESSAGE") + field(second, "MESSAGE") == std::string(20000, 'x'));
}

TEST_CASE("journald: a value with a newline has its size in front, a large message comes in a sealed file") {
  Peer peer(SOCK_DGRAM);
  auto config = journal_to(peer);
  config.attrs = {{"two", "a\nb"}, {"large", std::string(500000, 'l')}};
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStdout, "m\n", kTime));
  REQUIRE(writer->flush());
  char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[64];
  msghdr head{};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  head.msg_control = control;
  head.msg_controllen = sizeof control;
  REQUIRE(recvmsg(peer.listener.get(), &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) == 0);
  cmsghdr* rights = CMSG_FIRSTHDR(&head);
  REQUIRE(rights);
  int fd;
  memcpy(&fd, CMSG_DATA(rights), sizeof fd);
  UniqueFd file(fd);
  CHECK(fcntl(fd, F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
  std::string message(600000, '\0');
  message.resize(static_cast<size_t>(pread(fd, message.data(), message.size(), 0)));
  CHECK(message.starts_with(std::string("TWO\n\3\0\0\0\0\0\0\0a\nb\n", 16)));
  CHECK(field(message, "LARGE") == std::string(500000, 'l'));
}

TEST_CASE("the peer has to be there at the start") {
  Peer peer(SOCK_STREAM);
  auto config = syslog_to(peer, "unix");
  config.address += "x";
  CHECK_FALSE(LogWriter::open(config));
  config = journal_to(peer);
  config.address += "x";
  CHECK(LogWriter::open(config).error().message.starts_with("journald is not enabled on this host"));
  config = syslog_to(peer, "tcp");
  CHECK(LogWriter::open(config).error().kind == ErrorKind::kInvalid);
}

TEST_CASE("a stuck peer: blocking holds the output up, and is given up after the end") {
  Peer peer(SOCK_STREAM);
  auto writer = *LogWriter::open(syslog_to(peer, "unix"));
  UniqueFd accepted = peer.accept();
  std::string line(1000, 'x');
  line += '\n';
  size_t lines = 0;
  for (; !writer->full() && lines < 20000; ++lines) {
    REQUIRE(writer->append(StreamId::kStdout, line, kTime));
    REQUIRE(writer->flush());
  }
  CHECK(lines < 5000);
  // It reads: everything arrives, in order and once.
  size_t got = 0;
  for (int i = 0; i < 100000 && got < lines * 1000; ++i) {
    std::string piece = receive(accepted.get());
    if (piece != "(nothing)") got += static_cast<size_t>(std::count(piece.begin(), piece.end(), 'x'));
    if (sys::wait_readable(writer->poll_fd(), 0)) writer->on_ready();
  }
  CHECK(got == lines * 1000);
  CHECK_FALSE(writer->full());
  // Stuck again, and the container ends.
  for (size_t i = 0; i < lines; ++i) REQUIRE(writer->append(StreamId::kStdout, line, kTime));
  REQUIRE(writer->finish());
  CHECK(writer->lingering());
  int64_t deadline = writer->next_deadline();
  CHECK(deadline <= monotonic_ns() + kLingerNs);
  writer->on_time(deadline);
  CHECK_FALSE(writer->lingering());
  CHECK(writer->next_deadline() == INT64_MAX);
}

TEST_CASE("a stuck peer: non-blocking drops what is new and never is full") {
  Peer peer(SOCK_STREAM);
  auto config = syslog_to(peer, "unix");
  config.non_blocking = true;
  config.max_buffer = 10000;
  auto writer = *LogWriter::open(config);
  UniqueFd accepted = peer.accept();
  for (int i = 0; i < 20000; ++i) {
    REQUIRE(writer->append(StreamId::kStdout, format("%07d", i) + std::string(100, 'x') + "\n", kTime));
    REQUIRE(writer->flush());
    CHECK_FALSE(writer->full());
  }
  std::string all;
  for (int i = 0; i < 10000; ++i) {
    std::string piece = receive(accepted.get());
    if (piece != "(nothing)") all += piece;
    if (sys::wait_readable(writer->poll_fd(), 0)) writer->on_ready();
  }
  int next = 0;
  for (const auto& line : split(all, '\n'))
    if (!line.empty()) CHECK(std::stoi(line.substr(line.find("]: ") + 3, 7)) == next++);
  CHECK(next > 50);
  CHECK(next < 19000);
}

TEST_CASE("a peer that goes is connected to again, and nobody is held up meanwhile") {
  Peer peer(SOCK_STREAM);
  auto writer = *LogWriter::open(syslog_to(peer, "unix"));
  UniqueFd accepted = peer.accept();
  accepted.reset();
  peer.listener.reset();
  unlink(peer.path.c_str());
  REQUIRE(sys::wait_readable(writer->poll_fd(), 1000));
  writer->on_ready();
  int64_t retry = writer->next_deadline();
  CHECK(retry != INT64_MAX);
  for (int i = 0; i < 3000; ++i) REQUIRE(writer->append(StreamId::kStdout, std::string(1000, 'x') + "\n", kTime));
  REQUIRE(writer->flush());
  CHECK_FALSE(writer->full());
  writer->on_time(retry);
  CHECK(writer->next_deadline() > retry);
  peer.open(SOCK_STREAM);
  writer->on_time(writer->next_deadline());
  accepted = peer.accept();
  CHECK(receive(accepted.get()).starts_with("<30>"));
  CHECK(writer->next_deadline() == INT64_MAX);
}

TEST_CASE("a copy for readers is kept in format local") {
  Peer peer(SOCK_DGRAM);
  auto config = journal_to(peer);
  auto reader = LogReader::open(config, {});
  REQUIRE_FALSE(reader);
  CHECK(reader.error().message == "configured logging driver does not support reading");
  config.cache = true;
  config.path = peer.dir.path + "/cached.log";
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStdout, "kept\nand this", kTime));
  REQUIRE(writer->finish());
  CHECK(all_of(config) == "kept\nand this");
  CHECK(field(receive(peer.listener.get()), "MESSAGE") == "kept");
}
