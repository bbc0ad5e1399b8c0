// SPDX-License-Identifier: Apache-2.0
#include "monitor/protocol.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/text.h"
#include "monitor/exit_record.h"
#include "monitor/wire_format.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

using namespace caisson;
using namespace caisson::monitor;

namespace {

UniqueFd any_fd() { return UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)); }

Attachment any_attachment(std::string leftover = {}) {
  return {any_fd(), std::move(leftover), {true, false, true, "\x10\x11"}};
}

Packet over_socket(MessageType type, const std::string& body, const std::vector<int>& fds) {
  auto pair = *sys::socket_pair(SOCK_SEQPACKET);
  REQUIRE(send_packet(pair.first.get(), type, body, fds));
  auto packet = receive_packet(pair.second.get());
  REQUIRE(packet);
  CHECK(packet->type == type);
  return std::move(*packet);
}

LaunchRequest sample_launch(size_t attachments) {
  LaunchRequest request;
  request.container_id = "c1";
  request.state_dir = "/s";
  request.record_dir = "/r";
  request.plan.process.args = {"a", "b"};
  request.rootfs = any_fd();
  request.open_stdin = true;
  request.tty = true;
  request.rows = 24;
  request.columns = 80;
  request.log = {"json-file", "/l", 1 << 20, 3};
  for (size_t i = 0; i < attachments; ++i) request.attachments.push_back(any_attachment("left" + std::to_string(i)));
  return request;
}

}  // namespace

TEST_CASE("a launch request survives the way, however many descriptors and bytes it has") {
  for (size_t attachments : {0, 1, 15, 16, 40, 256}) {
    for (size_t argument : {size_t{1}, size_t{300000}}) {
      auto request = sample_launch(attachments);
      request.plan.process.args.push_back(std::string(argument, 'x'));
      auto packet = over_socket(MessageType::kLaunch, encode_launch(request), launch_fds(request));
      CHECK(packet.fds.size() == attachments + 1);
      auto got = decode_launch(std::move(packet));
      REQUIRE(got);
      CHECK(got->container_id == "c1");
      CHECK(got->state_dir == "/s");
      CHECK(got->record_dir == "/r");
      CHECK(got->plan.process.args == request.plan.process.args);
      CHECK(got->rootfs);
      CHECK_FALSE(got->netns);
      CHECK(got->open_stdin);
      CHECK_FALSE(got->stdin_once);
      CHECK(got->tty);
      CHECK(got->rows == 24);
      CHECK(got->columns == 80);
      CHECK(got->log.max_size == 1 << 20);
      CHECK(got->log.max_files == 3);
      REQUIRE(got->attachments.size() == attachments);
      if (attachments > 0) {
        CHECK(got->attachments.back().leftover == "left" + std::to_string(attachments - 1));
        CHECK(got->attachments.back().options.want_stdin);
        CHECK_FALSE(got->attachments.back().options.want_stdout);
        CHECK(got->attachments.back().options.detach_keys == "\x10\x11");
      }
    }
  }
}

TEST_CASE("exec and attach requests survive the way") {
  ExecRequest request;
  request.exec_id = "e1";
  request.process.args = {"x"};
  request.want_stderr = true;
  request.attachment = any_attachment();
  auto got = decode_exec(over_socket(MessageType::kExec, encode_exec(request), exec_fds(request)));
  REQUIRE(got);
  CHECK(got->exec_id == "e1");
  CHECK(got->process.args == request.process.args);
  CHECK(got->want_stderr);
  CHECK(got->attachment.has_value());
  request.attachment.reset();
  got = decode_exec(over_socket(MessageType::kExec, encode_exec(request), exec_fds(request)));
  REQUIRE(got);
  CHECK_FALSE(got->attachment.has_value());
  auto attachment = any_attachment("rest");
  auto attached =
      decode_attachment(over_socket(MessageType::kAttach, encode_attachment(attachment), {attachment.socket.get()}));
  REQUIRE(attached);
  CHECK(attached->leftover == "rest");
}

TEST_CASE("requests whose descriptors do not fit are refused") {
  auto attachment = any_attachment();
  CHECK(decode_attachment(over_socket(MessageType::kAttach, encode_attachment(attachment), {})).error().kind ==
        ErrorKind::kCorrupt);
  auto request = sample_launch(2);
  auto fds = launch_fds(request);
  fds.pop_back();
  CHECK(decode_launch(over_socket(MessageType::kLaunch, encode_launch(request), fds)).error().kind ==
        ErrorKind::kCorrupt);
  ExecRequest exec;
  exec.exec_id = "e";
  CHECK(decode_exec(over_socket(MessageType::kExec, encode_exec(exec), {fds[0]})).error().kind == ErrorKind::kCorrupt);
}

TEST_CASE("every cut of a message is refused") {
  auto request = sample_launch(1);
  std::string whole = encode_launch(request);
  for (size_t size = 0; size < whole.size(); ++size) {
    Packet packet{MessageType::kLaunch, whole.substr(0, size), {}};
    packet.fds.push_back(any_fd());
    packet.fds.push_back(any_fd());
    CHECK_FALSE(decode_launch(std::move(packet)));
  }
  Packet longer{MessageType::kLaunch, whole + "x", {}};
  longer.fds.push_back(any_fd());
  longer.fds.push_back(any_fd());
  CHECK_FALSE(decode_launch(std::move(longer)));
}

TEST_CASE("a body by descriptor must be sealed and within the limit") {
  auto pair = *sys::socket_pair(SOCK_SEQPACKET);
  UniqueFd open_memory(memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  std::string head("\x02\x01\x01\x00", 4);
  REQUIRE(sys::send_message(pair.first.get(), head, {open_memory.get()}));
  auto packet = receive_packet(pair.second.get());
  REQUIRE_FALSE(packet);
  CHECK(packet.error().kind == ErrorKind::kCorrupt);
  REQUIRE(ftruncate(open_memory.get(), static_cast<off_t>(kMaxBody) + 1) == 0);
  fcntl(open_memory.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  REQUIRE(sys::send_message(pair.first.get(), head, {open_memory.get()}));
  CHECK_FALSE(receive_packet(pair.second.get()));
  // Not a memfd at all.
  auto other = any_fd();
  REQUIRE(sys::send_message(pair.first.get(), head, {other.get()}));
  CHECK_FALSE(receive_packet(pair.second.get()));
}

TEST_CASE("errors keep kind, errno and text") {
  auto error = decode_error(encode_error({ErrorKind::kNotFound, 2, "exec: \"x\": not found"}));
  CHECK(error.error().kind == ErrorKind::kNotFound);
  CHECK(error.error().err == 2);
  CHECK(error.error().message == "exec: \"x\": not found");
  CHECK(decode_error("nonsense").error().kind == ErrorKind::kCorrupt);
}

TEST_CASE("events") {
  Running running{1, 2, 3, 4};
  auto state = decode_event({MessageType::kStateEvent, encode_running(running), {}});
  REQUIRE(state);
  CHECK(state->kind == Event::Kind::kState);
  CHECK(state->running.pid_start_time == 3);
  auto exit = decode_event({MessageType::kExitEvent, encode_exit({137, true, 5, 6}), {}});
  CHECK(exit->kind == Event::Kind::kExit);
  CHECK(exit->exit.exit_code == 137);
  CHECK(exit->exit.oom_killed);
  auto exec = decode_event({MessageType::kExecExitEvent, encode_exec_exit("id", 1), {}});
  CHECK(exec->exec_id == "id");
  CHECK(exec->exec_exit_code == 1);
  auto detached = decode_event({MessageType::kDetachEvent, "id", {}});
  CHECK(detached->kind == Event::Kind::kDetached);
  CHECK(detached->exec_id == "id");
  CHECK_FALSE(decode_event({MessageType::kOk, "", {}}));
  CHECK_FALSE(decode_event({MessageType::kExitEvent, "short", {}}));
}

TEST_CASE("a subscription tells the end of the monitor from an empty socket") {
  auto pair = *sys::socket_pair(SOCK_SEQPACKET);
  REQUIRE(sys::set_nonblocking(pair.first.get(), true));
  CHECK_FALSE(read_event(pair.first.get()));
  REQUIRE(send_packet(pair.second.get(), MessageType::kOomEvent, encode_oom({})));
  pair.second.reset();
  CHECK(read_event(pair.first.get())->kind == Event::Kind::kOom);
  CHECK(read_event(pair.first.get())->kind == Event::Kind::kGone);
}

TEST_CASE("exit record") {
  auto text = encode_exit_record({3, true, 10, 20, 5, "no \"program\"}"});
  CHECK(text ==
        "{\"exit_code\":3,\"oom_killed\":true,\"started_ns\":10,\"finished_ns\":20,\"restart_count\":5,\"error\":"
        "\"6e6f202270726f6772616d227d\"}\n");
  auto record = decode_exit_record(text);
  REQUIRE(record);
  CHECK(record->exit_code == 3);
  CHECK(record->oom_killed);
  CHECK(record->started_ns == 10);
  CHECK(record->finished_ns == 20);
  CHECK(record->restart_count == 5);
  CHECK(record->error == "no \"program\"}");
  CHECK(decode_exit_record(" { \"finished_ns\": 2 ,\"exit_code\": 0, \"oom_killed\": false, \"started_ns\": 1}"));
  for (const char* bad : {"", "{}", "{\"exit_code\":300,\"oom_killed\":true,\"started_ns\":10,\"finished_ns\":20}",
                          "{\"exit_code\":3,\"oom_killed\":1,\"started_ns\":10,\"finished_ns\":20}",
                          "{\"exit_code\":3,\"oom_killed\":true,\"started_ns\":10,\"finished_ns\":20"})
    CHECK_FALSE(decode_exit_record(bad));
}
