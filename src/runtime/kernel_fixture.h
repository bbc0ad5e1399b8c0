// SPDX-License-Identifier: Apache-2.0
// For the kernel tests of this folder: a root made of one static busybox, and running plans in it.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/clock.h"
#include "base/text.h"
#include "runtime/container.h"
#include "runtime/default_spec.h"
#include "runtime/plan_builder.h"
#include "runtime/seccomp_profile.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/process.h"

namespace caisson::runtime::test {

inline bool can_run() {
  if (geteuid() == 0 && access("/bin/busybox", X_OK) == 0) return true;
  fputs("SKIPPED: needs root and /bin/busybox (package busybox-static)\n", stderr);
  return false;
}

struct Outcome {
  int code = -1;
  std::string out;
  Error error;  // of the start
  bool started = false;
};

class Root {
 public:
  Root() {
    char name[] = "/tmp/caisson-runtime-XXXXXX";
    dir_ = mkdtemp(name);
    for (auto sub : {"bin", "etc", "tmp", "root"}) REQUIRE(sys::make_dirs(path() + "/" + sub));
    auto busybox = sys::read_file("/bin/busybox");
    REQUIRE(busybox);
    REQUIRE(sys::write_file(path() + "/bin/busybox", *busybox, 0755));
    for (auto applet : {"sh",   "cat",  "ls",       "mount", "unshare", "stty",   "id", "sleep", "hostname",
                        "grep", "stat", "readlink", "touch", "mknod",   "umount", "ps", "true",  "false",
                        "tty",  "wc",   "pwd",      "kill",  "ulimit",  "env",    "dd", "echo",  "cut"})
      REQUIRE(symlink("busybox", (path() + "/bin/" + applet).c_str()) == 0);
    REQUIRE(sys::write_file(path() + "/etc/passwd",
                            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"));
    REQUIRE(sys::write_file(path() + "/etc/group", "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"));
    auto cgroups = sys::detect_cgroups();
    REQUIRE(cgroups);
    system = *cgroups;
    parent = format("/caisson-test-%d", getpid());
  }
  ~Root() {
    CHECK(sys::remove_cgroup(sys::cgroup_paths(system, parent)));
    CHECK(sys::remove_tree(dir_));
  }
  std::string path() const { return dir_ + "/rootfs"; }
  std::string outside() const { return dir_; }

  spec::RuntimeSpec spec(std::vector<std::string> args) const {
    auto out = default_runtime_spec();
    out.process->args = std::move(args);
    out.process->env = {"PATH=/usr/bin:/bin"};
    out.root->path = path();
    out.hostname = "box";
    out.linux_part->cgroups_path = parent + "/" + format("c%d", ++counter_);
    return out;
  }
  Plan plan(const spec::RuntimeSpec& in) const {
    BuildOptions options;
    options.id = format("test%d", counter_);
    options.cgroups = system;
    auto made = build_plan(in, options);
    if (!made) FAIL(made.error().message);
    return *made;
  }
  Plan command(std::vector<std::string> args) const { return plan(spec(std::move(args))); }

  Outcome run(const Plan& plan, int rootfs = -1) const {
    Outcome outcome;
    int pipe_fds[2];
    REQUIRE(pipe2(pipe_fds, O_CLOEXEC) == 0);
    UniqueFd reader(pipe_fds[0]), writer(pipe_fds[1]);
    StartFds fds;
    fds.rootfs = rootfs;
    fds.stdio = {-1, writer.get(), writer.get()};
    auto started = runtime::run(plan, fds);
    writer.reset();
    if (!started) {
      outcome.error = started.error();
      return outcome;
    }
    outcome.started = true;
    finish(outcome, *started, reader.get());
    CHECK(sys::remove_cgroup(started->cgroup));
    for (const auto& dir : started->cgroup.dirs) CHECK_FALSE(sys::path_exists(dir));
    return outcome;
  }
  Outcome run_command(std::vector<std::string> args) const { return run(command(std::move(args))); }
  Outcome shell(std::string script) const { return run_command({"sh", "-c", std::move(script)}); }

  static void finish(Outcome& outcome, Started& started, int reader) {
    outcome.out = *sys::read_fd(reader);
    auto code = sys::wait_child({started.pid, UniqueFd(dup(started.pidfd.get()))});
    REQUIRE(code);
    outcome.code = *code;
  }

  sys::CgroupSystem system;
  std::string parent;

 private:
  std::string dir_;
  mutable int counter_ = 0;
};

}  // namespace caisson::runtime::test
