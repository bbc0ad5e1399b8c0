// SPDX-License-Identifier: Apache-2.0
// The real monitor with real containers. Skipped, visibly, where that cannot be.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>

#include "monitor/live_container.h"
#include "monitor/protocol.h"
#include "sys/process.h"

using namespace caisson;
using namespace caisson::monitor;
using namespace caisson::monitor::test;

namespace {

#define LIVE()                                              \
  if (std::string why = missing_for_live(); !why.empty()) { \
    MESSAGE("SKIPPED: " << why);                            \
    return;                                                 \
  }

std::string log_text(const LiveContainer& box) {
  auto reader = logs::LogReader::open(box.log, {});
  if (!reader) return "(" + reader.error().message + ")";
  std::string text;
  logs::LogEntry entry;
  while (*(*reader)->next(entry)) text += entry.text;
  return text;
}

// Waits for the end of the monitor and looks for what it may have left.
int end_of(const LiveContainer& box, const Running& running, int timeout_ms = 10000) {
  if (auto pidfd = sys::open_pidfd(running.monitor_pid)) {
    bool ended = sys::wait_readable(pidfd->get(), timeout_ms).has_value();
    CHECK(ended);
    if (!ended) kill(running.pid, SIGKILL);  // a failed test leaves nothing either
    (void)sys::wait_readable(pidfd->get(), timeout_ms).has_value();
  }
  CHECK(reap(running.monitor_pid));
  CHECK(kill(running.pid, 0) < 0);
  CHECK(sys::list_dir(box.state_dir)->empty());
  for (const char* controller : {"memory", "pids", "cpu", "devices", "unified", "."})
    CHECK_FALSE(sys::path_exists("/sys/fs/cgroup/" + std::string(controller) + "/caisson-test/" + box.id));
  auto record = read_exit_record(box.record_dir);
  CHECK(record);
  return record ? record->exit_code : -1;
}

int run(const LiveContainer& box, LaunchRequest&& request) {
  auto running = launch(std::move(request));
  REQUIRE_MESSAGE(running, running.error().message);
  return end_of(box, *running);
}

}  // namespace

TEST_CASE("live: output goes to the log and to the client, the code to the record") {
  LIVE();
  LiveContainer box;
  LiveClient client;
  auto request = box.shell("echo out; echo err >&2; exit 42");
  request.attachments.push_back(client.attach());
  int64_t before = now_ns();
  CHECK(run(box, std::move(request)) == 42);
  std::string frames = client.read_to_end();
  CHECK(stream_text(frames, 1) == "out\n");
  CHECK(stream_text(frames, 2) == "err\n");
  std::string logged = log_text(box);
  CHECK((logged == "out\nerr\n" || logged == "err\nout\n"));
  auto record = read_exit_record(box.record_dir);
  CHECK(record->started_ns >= before);
  CHECK(record->finished_ns >= record->started_ns);
  CHECK_FALSE(record->oom_killed);
  REQUIRE(remove_exit_record(box.record_dir));
  CHECK(read_exit_record(box.record_dir).error().kind == ErrorKind::kNotFound);
}

TEST_CASE("live: no output is lost at the exit") {
  LIVE();
  LiveContainer box;
  for (int i = 0; i < 20; ++i) {
    LiveClient client;
    auto request = box.shell("seq 1 2000");
    request.attachments.push_back(client.attach());
    CHECK(run(box, std::move(request)) == 0);
    std::string text = stream_text(client.read_to_end(), 1);
    CHECK(text.ends_with("1999\n2000\n"));
    CHECK(text.size() == 8893);
  }
}

TEST_CASE("live: stdin through cat, closed with the client's when it is for once") {
  LIVE();
  LiveContainer box;
  LiveClient client;
  auto request = box.request({"/bin/cat"});
  request.open_stdin = request.stdin_once = true;
  request.attachments.push_back(client.attach(true));
  request.attachments[0].leftover = "early ";
  auto running = launch(std::move(request));
  REQUIRE(running);
  client.type("hello");
  client.end_input();
  CHECK(stream_text(client.read_to_end(), 1) == "early hello");
  CHECK(end_of(box, *running) == 0);
}

TEST_CASE("live: a megabyte through cat comes back whole") {
  LIVE();
  LiveContainer box;
  LiveClient client;
  auto request = box.request({"/bin/cat"});
  request.open_stdin = request.stdin_once = true;
  request.attachments.push_back(client.attach(true));
  auto running = launch(std::move(request));
  REQUIRE(running);
  std::string sent(3 << 20, 'x'), got;
  size_t written = 0;
  // Both directions at once, as a client does it.
  while (got.size() < sent.size() * 2) {
    pollfd entry{client.socket.get(), static_cast<short>(POLLIN | (written < sent.size() ? POLLOUT : 0)), 0};
    if (poll(&entry, 1, 5000) <= 0) break;
    if (entry.revents & POLLOUT) {
      ssize_t put = send(client.socket.get(), sent.data() + written, sent.size() - written, MSG_DONTWAIT);
      if (put > 0) written += static_cast<size_t>(put);
      if (written == sent.size()) client.end_input();
    }
    char part[65536];
    ssize_t size = recv(client.socket.get(), part, sizeof part, MSG_DONTWAIT);
    if (size == 0) break;
    if (size > 0) got.append(part, static_cast<size_t>(size));
  }
  CHECK(stream_text(got, 1) == sent);
  CHECK(end_of(box, *running) == 0);
}

TEST_CASE("live: without stdin the container reads the end at once") {
  LIVE();
  LiveContainer box;
  CHECK(run(box, box.shell("cat; echo done; exit 3")) == 3);
  CHECK(log_text(box) == "done\n");
}

TEST_CASE("live: terminal with size, resize, and raw output") {
  LIVE();
  LiveContainer box;
  LiveClient client;
  auto request = box.shell("trap 'stty size; exit 5' WINCH; stty size; while :; do sleep 0.01; done");
  request.tty = request.open_stdin = true;
  request.rows = 33;
  request.columns = 101;
  request.attachments.push_back(client.attach(true));
  auto running = launch(std::move(request));
  REQUIRE_MESSAGE(running, running.error().message);
  CHECK(client.read_until("\n") == "33 101\r\n");
  REQUIRE(resize(box.state_dir, 20, 50));
  CHECK(client.read_to_end() == "20 50\r\n");
  CHECK(end_of(box, *running) == 5);
}

TEST_CASE("live: detach keys leave the container running, a second client takes over") {
  LIVE();
  LiveContainer box;
  LiveClient first, second;
  auto request = box.shell("read a; echo got $a; exit 6");
  request.tty = request.open_stdin = request.stdin_once = true;
  request.attachments.push_back(first.attach(true, true, true, "\x10\x11"));
  auto running = launch(std::move(request));
  REQUIRE(running);
  first.type("a\x10");
  first.type("\x11ignored\n");
  CHECK_FALSE(first.read_to_end().contains("("));  // closed without an error or a timeout
  REQUIRE(attach(box.state_dir, second.attach(true)));
  second.type("b\n");
  CHECK(second.read_to_end().contains("got ab\r\n"));
  CHECK(end_of(box, *running) == 6);
}

TEST_CASE("live: two clients see the same, one that stalls does not lose the other's data") {
  LIVE();
  LiveContainer box;
  LiveClient reader, stalled;
  auto request = box.shell("head -c 3000000 /dev/zero | tr '\\0' 'z'; echo; echo end");
  request.attachments.push_back(reader.attach());
  request.attachments.push_back(stalled.attach());
  auto running = launch(std::move(request));
  REQUIRE(running);
  // The stalled one holds the container up for its grace time, then it is dropped.
  std::string text = stream_text(reader.read_to_end(20000), 1);
  CHECK(text.size() == 3000000 + 5);
  CHECK(end_of(box, *running, 20000) == 0);
  CHECK(log_text(box) == text);
}

TEST_CASE("live: exec with output, code, missing command, terminal, and kept codes") {
  LIVE();
  LiveContainer box;
  auto running = launch(box.shell("trap 'exit 9' TERM; while :; do sleep 0.05; done"));
  REQUIRE(running);
  auto subscription = subscribe(box.state_dir);
  REQUIRE(subscription);
  Event state = wait_event(subscription->get(), Event::Kind::kState);
  CHECK(state.running.pid == running->pid);
  CHECK(state.running.pid_start_time == *sys::process_start_time(running->pid));

  auto make = [&](const char* id, std::vector<std::string> args, LiveClient& client, bool in) {
    ExecRequest request;
    request.exec_id = id;
    request.process = box.process(std::move(args));
    request.want_stdin = in;
    request.want_stdout = request.want_stderr = true;
    request.attachment = client.attach(in);
    return request;
  };
  LiveClient one, two, three, four;
  REQUIRE(exec(box.state_dir, make("one", {"/bin/sh", "-c", "read x; echo $x; echo e >&2; exit 17"}, one, true)));
  one.type("line\n");
  std::string frames = one.read_to_end();
  CHECK(stream_text(frames, 1) == "line\n");
  CHECK(stream_text(frames, 2) == "e\n");
  Event ended = wait_event(subscription->get(), Event::Kind::kExecExit);
  CHECK(ended.exec_id == "one");
  CHECK(ended.exec_exit_code == 17);

  auto missing = exec(box.state_dir, make("two", {"/bin/nothing"}, two, false));
  REQUIRE_FALSE(missing);
  CHECK(missing.error().kind == ErrorKind::kNotFound);
  CHECK(missing.error().message.contains("/bin/nothing"));
  CHECK(two.read_to_end().empty());
  auto denied = exec(box.state_dir, make("two", {"/plain"}, two, false));
  REQUIRE_FALSE(denied);
  CHECK(denied.error().kind == ErrorKind::kDenied);

  auto terminal = make("three", {"/bin/sh", "-c", "stty size; sleep 0.2; stty size"}, three, false);
  terminal.tty = true;
  terminal.rows = 11;
  terminal.columns = 22;
  REQUIRE(exec(box.state_dir, std::move(terminal)));
  REQUIRE(resize_exec(box.state_dir, "three", 44, 55));
  std::string sizes = three.read_to_end();
  CHECK((sizes == "11 22\r\n44 55\r\n" || sizes == "44 55\r\n44 55\r\n"));
  CHECK(resize_exec(box.state_dir, "nobody", 1, 1).error().kind == ErrorKind::kNotFound);

  // A grandchild that keeps the pipe open does not hold up the end.
  int64_t begin = monotonic_ns();
  REQUIRE(exec(box.state_dir, make("four", {"/bin/sh", "-c", "echo hi; sleep 30 &"}, four, false)));
  CHECK(stream_text(four.read_to_end(), 1) == "hi\n");
  CHECK(monotonic_ns() - begin < 2'000'000'000);

  auto later = subscribe(box.state_dir);
  CHECK(wait_event(later->get(), Event::Kind::kState).running.pid == running->pid);
  Event kept = wait_event(later->get(), Event::Kind::kExecExit);
  CHECK(kept.exec_id == "one");
  CHECK(kept.exec_exit_code == 17);

  REQUIRE(monitor::signal(box.state_dir, SIGTERM));
  Event exit = wait_event(later->get(), Event::Kind::kExit);
  CHECK(exit.kind == Event::Kind::kExit);
  CHECK(exit.exit.exit_code == 9);
  CHECK(read_exit_record(box.record_dir)->exit_code == 9);
  CHECK(wait_event(later->get(), Event::Kind::kGone).kind == Event::Kind::kGone);
  CHECK(end_of(box, *running) == 9);
  CHECK(monitor::signal(box.state_dir, SIGTERM).error().kind == ErrorKind::kNotFound);
}

TEST_CASE("live: an exec running at the container's end is reported before it") {
  LIVE();
  LiveContainer box;
  auto running = launch(box.request({"/bin/sleep", "100"}));
  REQUIRE(running);
  auto subscription = subscribe(box.state_dir);
  ExecRequest request;
  request.exec_id = "long";
  request.process = box.process({"/bin/sleep", "100"});
  REQUIRE(exec(box.state_dir, std::move(request)));
  REQUIRE(monitor::signal(box.state_dir, SIGKILL));
  Event ended = wait_event(subscription->get(), Event::Kind::kExecExit);
  CHECK(ended.exec_id == "long");
  CHECK(ended.exec_exit_code == 137);
  CHECK(wait_event(subscription->get(), Event::Kind::kExit).exit.exit_code == 137);
  CHECK(end_of(box, *running) == 137);
}

TEST_CASE("live: programs that cannot be started leave nothing") {
  LIVE();
  LiveContainer box;
  auto fails = [&](const char* program, ErrorKind kind) {
    LiveClient client;
    auto request = box.request({program});
    request.attachments.push_back(client.attach());
    auto running = launch(std::move(request));
    REQUIRE_FALSE(running);
    CHECK(running.error().kind == kind);
    CHECK(running.error().message.contains(program));
    CHECK(client.read_to_end().empty());
    CHECK(sys::list_dir(box.state_dir)->empty());
    CHECK(read_exit_record(box.record_dir).error().kind == ErrorKind::kNotFound);
    CHECK_FALSE(sys::path_exists("/sys/fs/cgroup/pids/caisson-test/" + box.id));
    CHECK(waitpid(-1, nullptr, WNOHANG) < 0);
  };
  fails("/bin/nothing", ErrorKind::kNotFound);
  fails("/plain", ErrorKind::kDenied);
  auto request = box.request({"/bin/true"});
  request.monitor_program = "/nowhere/caisson-monitor";
  auto running = launch(std::move(request));
  REQUIRE_FALSE(running);
  CHECK(running.error().kind == ErrorKind::kInternal);
}

TEST_CASE("live: the container sees ordinary signal handling and no foreign descriptors") {
  LIVE();
  LiveContainer box;
  CHECK(run(box, box.shell("grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | grep -v -E '^[0-3]$'")) == 1);
  std::string text = log_text(box);
  CHECK(text.contains("SigIgn:\t0000000000000000"));
  CHECK(text.contains("SigBlk:\t0000000000000000"));
}

TEST_CASE("live: many attachments and a large environment") {
  LIVE();
  LiveContainer box;
  std::vector<LiveClient> clients(40);
  auto request = box.shell("echo ${#BIG}");
  request.plan.process.env.push_back("BIG=" + std::string(100000, 'v'));
  for (auto& client : clients) request.attachments.push_back(client.attach());
  CHECK(run(box, std::move(request)) == 0);
  for (auto& client : clients) CHECK(stream_text(client.read_to_end(), 1) == "100000\n");
}

TEST_CASE("live: malformed and foreign requests do no harm") {
  LIVE();
  LiveContainer box;
  auto running = launch(box.request({"/bin/sleep", "100"}));
  REQUIRE(running);
  std::vector<std::string> bad = {std::string(1, '\0'),
                                  "\x02",
                                  "x",
                                  std::string(40000, '\xff'),
                                  std::string("\x03\0\0\0\x01", 5),
                                  std::string("\x05\x01\0\0", 4),
                                  std::string("\x02\0\x02\0", 4),
                                  std::string("\x02\x01\x01\x01", 4)};
  for (const auto& text : bad) {
    auto socket = sys::connect_unix(box.state_dir + "/monitor.sock", SOCK_SEQPACKET);
    REQUIRE(socket);
    (void)sys::send_message(socket->get(), text).has_value();
  }
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 50; ++i) idle.push_back(*sys::connect_unix(box.state_dir + "/monitor.sock", SOCK_SEQPACKET));
  CHECK(resize(box.state_dir, 1, 1).error().kind == ErrorKind::kConflict);
  REQUIRE(monitor::signal(box.state_dir, SIGKILL));
  CHECK(end_of(box, *running) == 137);
}

TEST_CASE("live: monitors that have ended are not left as zombies") {
  LIVE();
  LiveContainer box;
  auto first = launch(box.request({"/bin/true"}));
  REQUIRE(first);
  if (auto pidfd = sys::open_pidfd(first->monitor_pid)) REQUIRE(sys::wait_readable(pidfd->get(), 10000));
  CHECK(run(box, box.request({"/bin/true"})) == 0);
  CHECK(waitpid(first->monitor_pid, nullptr, WNOHANG) < 0);
}

TEST_CASE("live: a launcher that is gone before the start leaves nothing") {
  LIVE();
  LiveContainer box;
  LiveClient client;
  auto pair = *sys::socket_pair(SOCK_SEQPACKET);
  {
    auto request = box.request({"/bin/sleep", "100"});
    request.attachments.push_back(client.attach());
    REQUIRE(send_packet(pair.first.get(), MessageType::kLaunch, encode_launch(request), launch_fds(request)));
  }
  pair.first.reset();
  sys::SpawnRequest spawn;
  spawn.program = *sys::program_dir() + "/caisson-monitor";
  spawn.args = {"caisson-monitor", box.id};
  spawn.fds = {{pair.second.get(), 3}};
  auto child = sys::spawn(spawn);
  REQUIRE(child);
  pair.second.reset();
  CHECK(sys::wait_child(*child) == 1);
  CHECK(sys::list_dir(box.state_dir)->empty());
  CHECK(read_exit_record(box.record_dir).error().kind == ErrorKind::kNotFound);
  CHECK(client.read_to_end().empty());
  CHECK_FALSE(sys::path_exists("/sys/fs/cgroup/pids/caisson-test/" + box.id));
}

TEST_CASE("live: what the container leaves in its cgroup dies with it when the pids are the host's") {
  LIVE();
  LiveContainer box;
  auto request = box.shell("sleep 100 & echo $!; exit 4");
  request.plan.create_namespaces &= ~static_cast<uint64_t>(CLONE_NEWPID);
  int64_t begin = monotonic_ns();
  CHECK(run(box, std::move(request)) == 4);
  CHECK(monotonic_ns() - begin < 5'000'000'000);
  auto left = parse_int(trim(log_text(box)));
  REQUIRE(left);
  // Ours to wait for it is not; it is gone or a zombie of init's.
  auto stat = sys::read_file(format("/proc/%d/stat", static_cast<int>(*left)));
  CHECK((!stat || stat->contains(") Z ")));
}

TEST_CASE("live: the launcher's death leaves the container and its log alone") {
  LIVE();
  LiveContainer box;
  // A launcher of its own: this program again, which then waits to be killed.
  auto pair = *sys::socket_pair(SOCK_SEQPACKET);
  sys::SpawnRequest spawn;
  spawn.program = *sys::program_dir() + "/monitor_test";
  spawn.args = {"monitor_test", "--test-case=launcher for the test above", "--no-skip"};
  spawn.env = {"CAISSON_LAUNCHER_BASE=" + box.base};
  spawn.fds = {{pair.second.get(), 3}};
  auto launcher = sys::spawn(spawn);
  REQUIRE(launcher);
  pair.second.reset();
  REQUIRE(sys::wait_readable(pair.first.get(), 10000));
  auto subscription = subscribe(box.state_dir);
  REQUIRE(subscription);
  auto state = wait_event(subscription->get(), Event::Kind::kState);
  REQUIRE(sys::signal_pidfd(launcher->pidfd.get(), SIGKILL));
  CHECK(sys::wait_child(*launcher) == 137);
  CHECK(kill(state.running.pid, 0) == 0);
  CHECK(wait_event(subscription->get(), Event::Kind::kExit).exit.exit_code == 8);
  CHECK(wait_event(subscription->get(), Event::Kind::kGone).kind == Event::Kind::kGone);
  CHECK(log_text(box).ends_with("99\n100\n"));
  CHECK(sys::list_dir(box.state_dir)->empty());
}

TEST_CASE("launcher for the test above" * doctest::skip()) {
  const char* base = getenv("CAISSON_LAUNCHER_BASE");
  if (!base) return;
  LiveContainer box(base);
  auto running = launch(box.shell("i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 8"));
  REQUIRE(running);
  (void)sys::send_message(3, "running").has_value();
  while (true) pause();
}
