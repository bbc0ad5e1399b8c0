// SPDX-License-Identifier: Apache-2.0
// Created and started in two steps, hooks in between, and namespaces of users and of time.
#include <signal.h>
#include <sys/socket.h>

#include "runtime/kernel_fixture.h"
#include "sys/unix_socket.h"

namespace caisson::runtime::test {

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  UniqueFd reader, writer;
};

Hook shell_hook(const std::string& script) { return {"/bin/busybox", {"sh", "-c", script}, {"PATH=/bin:/usr/bin"}, 0}; }

std::string text_of(const std::string& path) { return sys::read_file(path).value_or("(none)"); }

bool gone(const sys::CgroupPaths& cgroup) {
  for (const auto& dir : cgroup.dirs)
    if (sys::path_exists(dir)) return false;
  return true;
}

}  // namespace

TEST_CASE("a created container waits at its gate without its creator") {
  if (!can_run()) return;
  Root root;
  std::string gate_path = root.outside() + "/start.sock";
  auto gate = sys::listen_unix(gate_path, SOCK_SEQPACKET, 0600);
  REQUIRE(gate);
  Pipe out;
  pid_t told = 0;
  StartFds fds;
  fds.stdio = {-1, out.writer.get(), out.writer.get()};
  fds.start_gate = gate->get();
  fds.cloned = [&](pid_t pid, const sys::CgroupPaths&) -> Result<> {
    told = pid;
    return {};
  };
  auto plan = root.command({"echo", "started"});
  auto created = create(plan, fds);
  if (!created) FAIL(created.error().message);
  out.writer.reset();
  gate->reset();
  auto waiting = created->detach();
  CHECK(waiting.pid == told);
  CHECK(waits_for_start(gate_path));
  CHECK(waits_for_start(gate_path));  // looking does not start it
  CHECK_FALSE(*sys::reap_child(waiting.pidfd.get()));

  SUBCASE("and starts") {
    REQUIRE(start_created(gate_path, nullptr, {}, waiting.pid));
    Outcome outcome;
    Root::finish(outcome, waiting, out.reader.get());
    CHECK(outcome.out == "started\n");
    CHECK(outcome.code == 0);
  }
  SUBCASE("and is killed") {
    REQUIRE(sys::signal_pidfd(waiting.pidfd.get(), SIGKILL));
    CHECK(*sys::wait_child({waiting.pid, UniqueFd(dup(waiting.pidfd.get()))}) == 137);
  }
  CHECK_FALSE(waits_for_start(gate_path));
  auto again = start_created(gate_path, nullptr, {}, waiting.pid);
  REQUIRE_FALSE(again);
  CHECK(again.error().kind == ErrorKind::kConflict);
  CHECK(sys::remove_cgroup(waiting.cgroup));
}

TEST_CASE("a missing program is told by create, a bad one by start") {
  if (!can_run()) return;
  Root root;
  std::string gate_path = root.outside() + "/start.sock";
  auto gate = sys::listen_unix(gate_path, SOCK_SEQPACKET, 0600);
  REQUIRE(gate);
  StartFds fds;
  fds.start_gate = gate->get();
  auto missing = root.command({"nosuch"});
  auto created = create(missing, fds);
  REQUIRE_FALSE(created);
  CHECK(created.error().message == "exec: \"nosuch\": executable file not found in $PATH");
  CHECK(gone(sys::cgroup_paths(root.system, missing.cgroup.path)));

  REQUIRE(sys::write_file(root.path() + "/bin/bad", "no program", 0755));
  auto bad = root.command({"/bin/bad"});
  auto waiting = create(bad, fds);
  if (!waiting) FAIL(waiting.error().message);
  gate->reset();
  auto process = waiting->detach();
  auto started = start_created(gate_path, nullptr, {}, process.pid);
  REQUIRE_FALSE(started);
  CHECK(started.error().message == "exec /bin/bad: exec format error");
  CHECK(*sys::wait_child({process.pid, UniqueFd(dup(process.pidfd.get()))}) == 1);
  CHECK(sys::remove_cgroup(process.cgroup));
}

TEST_CASE("a process that nobody wrote down never runs its program") {
  if (!can_run()) return;
  Root root;
  StartFds fds;
  fds.cloned = [](pid_t, const sys::CgroupPaths&) -> Result<> { return fail(ErrorKind::kIo, "disk full"); };
  auto plan = root.command({"touch", "/ran"});
  auto started = run(plan, fds);
  REQUIRE_FALSE(started);
  CHECK(started.error().message == "disk full");
  CHECK_FALSE(sys::path_exists(root.path() + "/ran"));
  CHECK(gone(sys::cgroup_paths(root.system, plan.cgroup.path)));
}

TEST_CASE("hooks run in their order and places") {
  if (!can_run()) return;
  Root root;
  std::string log = root.outside() + "/hooks";
  auto plan = root.command({"cat", "/made"});
  plan.bundle = root.outside();
  plan.annotations = {{"key", "value"}};
  auto note = [&](const char* kind) { return shell_hook(format("echo %s $(cat) $(pwd) >> %s", kind, log.c_str())); };
  plan.hooks.prestart = {note("prestart")};
  plan.hooks.create_runtime = {note("createRuntime")};
  // The host's file system, the container's mounts: a file bound there shows inside.
  plan.hooks.create_container = {note("createContainer"),
                                 shell_hook(format("echo made > %s/made && echo $$ > /dev/null", root.path().c_str()))};
  plan.hooks.start_container = {{"/bin/sh", {"sh", "-c", "cat > /state; hostname >> /state"}, {"PATH=/bin"}, 0}};
  auto outcome = root.run(plan);
  if (!outcome.started) FAIL(outcome.error.message);
  CHECK(outcome.out == "made\n");
  auto lines = split(text_of(log), '\n');
  REQUIRE(lines.size() == 4);
  const char* kinds[] = {"prestart {", "createRuntime {", "createContainer {"};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(lines[i].starts_with(kinds[i]));
    CHECK(lines[i].find("\"status\":\"creating\"") != std::string::npos);
    CHECK(lines[i].find("\"key\":\"value\"") != std::string::npos);
    CHECK(lines[i].find("\"pid\":0") == std::string::npos);
    CHECK(lines[i].find("\"pid\":") != std::string::npos);
  }
  auto state = text_of(root.path() + "/state");
  CHECK(state.find("\"status\":\"created\"") != std::string::npos);
  CHECK(state.ends_with("box\n"));
}

TEST_CASE("a failing hook takes the container down and says why") {
  if (!can_run()) return;
  Root root;
  struct Place {
    const char* name;
    std::vector<Hook> Hooks::*list;
  };
  const Place places[] = {{"prestart", &Hooks::prestart},
                          {"createRuntime", &Hooks::create_runtime},
                          {"createContainer", &Hooks::create_container},
                          {"startContainer", &Hooks::start_container}};
  for (const auto& place : places) {
    auto plan = root.command({"touch", "/ran"});
    plan.bundle = "/";
    plan.hooks.*place.list = {{place.list == &Hooks::start_container ? "/bin/sh" : "/bin/busybox",
                               {"sh", "-c", "echo because >&2; exit 3"},
                               {},
                               0}};
    auto outcome = root.run(plan);
    CHECK_FALSE(outcome.started);
    CHECK(outcome.error.message.starts_with(format("error running %s hook #0: ", place.name)));
    CHECK(outcome.error.message.find("exit status 3, stdout: , stderr: because") != std::string::npos);
    CHECK(gone(sys::cgroup_paths(root.system, plan.cgroup.path)));
  }
  CHECK_FALSE(sys::path_exists(root.path() + "/ran"));

  auto plan = root.command({"true"});
  plan.hooks.prestart = {{"/bin/busybox", {"sleep", "100"}, {}, 1}};
  auto late = root.run(plan);
  CHECK(late.error.kind == ErrorKind::kTimeout);
  CHECK(late.error.message == "error running prestart hook #0: hook ran past specified timeout of 1 s");
}

TEST_CASE("a user namespace, for the container and for what joins it") {
  if (!can_run()) return;
  Root root;
  for (auto sub : {"", "/tmp"}) REQUIRE(chown((root.path() + sub).c_str(), 100000, 100000) == 0);
  auto spec = root.spec({"sleep", "100"});
  spec.linux_part->namespaces.push_back({"user", ""});
  spec.linux_part->namespaces.push_back({"time", ""});
  spec.linux_part->uid_mappings = spec.linux_part->gid_mappings = {{0, 100000, 65536}};
  spec.linux_part->time_offsets["boottime"] = {1000000000, 0};
  auto started = runtime::run(root.plan(spec), {});
  if (!started) FAIL(started.error().message);
  Pipe out;
  auto process = build_process(
      *root.spec({"sh", "-c",
                  "id -u; cat /proc/self/uid_map /proc/uptime; touch /tmp/x; for n in user time mnt net; do "
                  "a=$(readlink /proc/self/ns/$n); b=$(readlink /proc/1/ns/$n); [ $a = $b ] && echo $n; done"})
           .process);
  REQUIRE(process);
  auto executed =
      exec_process(started->pidfd.get(), *process, started->cgroup, {-1, out.writer.get(), out.writer.get()});
  out.writer.reset();
  if (!executed) FAIL(executed.error().message);
  Outcome outcome;
  Root::finish(outcome, *executed, out.reader.get());
  INFO(outcome.out);
  CHECK(outcome.out.starts_with("0\n         0     100000      65536\n100"));
  CHECK(outcome.out.ends_with("user\ntime\nmnt\nnet\n"));

  SUBCASE("whose namespaces another container joins") {
    auto second = root.spec({"sh", "-c", "cat /proc/self/uid_map; readlink /proc/self/ns/net"});
    for (auto& ns : second.linux_part->namespaces)
      if (ns.type == "network") ns.path = format("/proc/%d/ns/net", started->pid);
    second.linux_part->namespaces.push_back({"user", format("/proc/%d/ns/user", started->pid)});
    auto plan = root.plan(second);
    char net[64] = {};
    REQUIRE(readlink(format("/proc/%d/ns/net", started->pid).c_str(), net, sizeof net - 1) > 0);
    auto joined = root.run(plan);
    if (!joined.started) FAIL(joined.error.message);
    CHECK(joined.out == std::string("         0     100000      65536\n") + net + "\n");
  }
  CHECK(sys::kill_cgroup(started->cgroup));
  CHECK(*sys::wait_child({started->pid, UniqueFd(dup(started->pidfd.get()))}) == 137);
  CHECK(sys::remove_cgroup(started->cgroup));
}

}  // namespace caisson::runtime::test
