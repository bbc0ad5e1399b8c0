// SPDX-License-Identifier: Apache-2.0
// Real containers: what a process inside sees and may not do, errors of a start, terminals, exec.
#include <signal.h>
#include <sys/ioctl.h>

#include "runtime/kernel_fixture.h"

namespace caisson::runtime::test {

static int exit_of(Started& started) {
  auto code = sys::wait_child(sys::Child{started.pid, std::move(started.pidfd)});
  return code.value_or(-1);
}

TEST_CASE("a container is isolated as by default") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec(
      {"sh", "-c",
       "hostname; echo $$; grep -E 'Cap(Eff|Inh|Prm|Bnd|Amb)|Seccomp:|NoNewPrivs' /proc/self/status;"
       "wc -c < /proc/interrupts; echo x 2>&1 > /proc/sys/kernel/domainname; ls /dev; ls -l /proc/self/fd | wc -l;"
       "unshare -U true 2>&1; mount -t tmpfs none /tmp 2>&1; cat /proc/self/cgroup; pwd"});
  SeccompCache cache;
  auto context = host_seccomp_context(0x00000000a80425fb);
  REQUIRE(context);
  auto filter = cache.default_bpf(*context);
  REQUIRE(filter);
  auto plan = root.plan(spec);
  plan.process.seccomp_bpf = *filter;
  auto outcome = root.run(plan);
  if (!outcome.started) FAIL(outcome.error.message);
  INFO(outcome.out);
  auto has = [&](const char* text) { return outcome.out.find(text) != std::string::npos; };
  CHECK(outcome.out.starts_with("box\n1\n"));
  CHECK(has("CapInh:\t0000000000000000"));
  CHECK(has("CapPrm:\t00000000a80425fb"));
  CHECK(has("CapEff:\t00000000a80425fb"));
  CHECK(has("CapBnd:\t00000000a80425fb"));
  CHECK(has("CapAmb:\t0000000000000000"));
  CHECK(has("Seccomp:\t2"));
  CHECK(has("\n0\n"));  // a masked file reads as empty
  CHECK(has("Read-only file system"));
  CHECK(has("fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"));
  CHECK(has("unshare: unshare(0x10000000): Operation not permitted"));
  CHECK(has("permission denied"));
}

TEST_CASE("only the standard streams are open") {
  if (!can_run()) return;
  Root root;
  UniqueFd leak(open("/etc", O_RDONLY | O_DIRECTORY));  // without O_CLOEXEC, on purpose
  auto outcome = root.run_command({"ls", "-l", "/proc/self/fd"});
  INFO(outcome.out);
  // 3 is the directory that ls reads, gone by the time it asks for the link.
  CHECK(outcome.out.find(" 2 -> ") != std::string::npos);
  CHECK(outcome.out.find(" 3 -> ") == std::string::npos);
  CHECK(outcome.out.find(" 4") == std::string::npos);
  CHECK(outcome.out.find("/etc") == std::string::npos);
}

TEST_CASE("exit codes and signals") {
  if (!can_run()) return;
  Root root;
  CHECK(root.run_command({"true"}).code == 0);
  CHECK(root.run_command({"false"}).code == 1);
  CHECK(root.shell("exit 42").code == 42);
  CHECK(root.shell("sh -c 'kill -9 $$'; exit $?").code == 137);
}

TEST_CASE("the root may come as a descriptor") {
  if (!can_run()) return;
  Root root;
  auto plan = root.command({"hostname"});
  plan.rootfs.clear();
  auto mount = sys::clone_mount(AT_FDCWD, root.path(), false);
  REQUIRE(mount);
  auto outcome = root.run(plan, mount->get());
  CHECK(outcome.error.message == "");
  CHECK(outcome.out == "box\n");
  auto missing = root.run(plan, -1);
  CHECK(missing.error.message == "no root file system given");
}

TEST_CASE("a root descriptor serves for several starts when asked to") {
  if (!can_run()) return;
  Root root;
  auto plan = root.command({"true"});
  plan.rootfs.clear();
  auto mount = sys::clone_mount(AT_FDCWD, root.path(), false);
  REQUIRE(mount);
  StartFds fds;
  fds.rootfs = mount->get();
  fds.keep_rootfs = true;
  for (int i = 0; i < 3; ++i) {
    auto started = run(plan, fds);
    if (!started && started.error().message.find("open_tree") != std::string::npos) {
      fputs("SKIPPED: this kernel cannot clone a detached mount\n", stderr);
      return;
    }
    REQUIRE(started);
    CHECK(exit_of(*started) == 0);
    CHECK(sys::remove_cgroup(started->cgroup));
  }
}

TEST_CASE("texts of a failed start are Docker's, and nothing is left") {
  if (!can_run()) return;
  Root root;
  auto text_of = [&](std::vector<std::string> args, ErrorKind kind) {
    auto plan = root.command(std::move(args));
    auto outcome = root.run(plan);
    CHECK_FALSE(outcome.started);
    CHECK(outcome.error.kind == kind);
    for (const auto& dir : sys::cgroup_paths(root.system, plan.cgroup.path).dirs) CHECK_FALSE(sys::path_exists(dir));
    return outcome.error.message;
  };
  CHECK(text_of({"nosuch"}, ErrorKind::kNotFound) == "exec: \"nosuch\": executable file not found in $PATH");
  CHECK(text_of({"/nosuch"}, ErrorKind::kNotFound) == "exec: \"/nosuch\": stat /nosuch: no such file or directory");
  CHECK(text_of({"/etc/passwd"}, ErrorKind::kDenied) == "exec: \"/etc/passwd\": permission denied");
  CHECK(text_of({"/etc"}, ErrorKind::kDenied) == "exec: \"/etc\": is a directory");
  REQUIRE(sys::write_file(root.path() + "/x", "neither script nor program", 0755));
  CHECK(text_of({"/x"}, ErrorKind::kInvalid) == "exec /x: exec format error");
  REQUIRE(sys::write_file(root.path() + "/y", "#!/no/interpreter\n", 0755));
  CHECK(text_of({"/y"}, ErrorKind::kNotFound) == "exec /y: no such file or directory");
  // Our own program must not run in a container, where its file could be opened.
  CHECK(text_of({"/proc/self/exe"}, ErrorKind::kDenied) == "exec: \"/proc/self/exe\": permission denied");
}

TEST_CASE("create waits before exec, start goes on, destroying takes down") {
  if (!can_run()) return;
  Root root;
  auto plan = root.command({"sh", "-c", "exit 5"});
  {
    auto created = create(plan, {});
    REQUIRE(created);
    CHECK(created->pid() > 0);
    auto started = created->start();
    REQUIRE(started);
    CHECK(exit_of(*started) == 5);
    CHECK(sys::remove_cgroup(started->cgroup));
  }
  pid_t pid;
  {
    auto created = create(plan, {});
    REQUIRE(created);
    pid = created->pid();
  }
  CHECK(kill(pid, 0) < 0);
  for (const auto& dir : sys::cgroup_paths(root.system, plan.cgroup.path).dirs) CHECK_FALSE(sys::path_exists(dir));
}

TEST_CASE("mounts: binds, tmpfs, read-only root, made destinations, links that lead out") {
  if (!can_run()) return;
  Root root;
  REQUIRE(sys::make_dirs(root.outside() + "/vol"));
  REQUIRE(sys::write_file(root.outside() + "/vol/f", "data\n"));
  REQUIRE(symlink(root.outside().c_str(), (root.path() + "/escape").c_str()) == 0);
  REQUIRE(symlink("/made/by/link", (root.path() + "/dangling").c_str()) == 0);
  auto spec = root.spec(
      {"sh", "-c",
       "cat /a/b/f /file /dangling/sub/f; touch /a/b/g; touch /ro/g 2>&1; touch /g 2>&1; touch /t/g && stat -c %a /t"});
  spec.root->readonly = true;
  auto bind = [&](const char* destination, const std::string& source, std::vector<std::string> options) {
    spec.mounts.push_back({destination, "bind", source, std::move(options), {}, {}});
  };
  bind("/a/b", root.outside() + "/vol", {"rbind", "rprivate"});
  bind("/ro", root.outside() + "/vol", {"rbind", "ro"});
  bind("/file", root.outside() + "/vol/f", {"bind"});
  bind("/dangling/sub", root.outside() + "/vol", {"bind"});
  bind("/escape/made", root.outside() + "/vol", {"bind"});
  spec.mounts.push_back({"/t", "tmpfs", "tmpfs", {"nosuid", "mode=700", "size=1m"}, {}, {}});
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out ==
        "data\ndata\ndata\ntouch: /ro/g: Read-only file system\ntouch: /g: Read-only file system\n700\n");
  CHECK(sys::path_exists(root.outside() + "/vol/g"));
  CHECK_FALSE(sys::path_exists(root.outside() + "/made"));
  CHECK(sys::path_exists(root.path() + "/made/by/link/sub"));
}

TEST_CASE("nothing may be mounted over procfs, and /proc must be procfs") {
  if (!can_run()) return;
  Root root;
  REQUIRE(sys::make_dirs(root.outside() + "/vol/sys"));
  for (const char* destination : {"/proc", "/proc/sys", "/link/sys"}) {
    unlink((root.path() + "/link").c_str());
    REQUIRE(symlink("proc", (root.path() + "/link").c_str()) == 0);
    auto spec = root.spec({"true"});
    spec.mounts.push_back({destination, "bind", root.outside() + "/vol", {"bind"}, {}, {}});
    auto outcome = root.run(root.plan(spec));
    CHECK(outcome.error.kind == ErrorKind::kInvalid);
    CHECK(outcome.error.message == format("mount on '%s': it is inside /proc", destination));
  }
  auto allowed = root.spec({"cat", "/proc/uptime"});
  REQUIRE(sys::write_file(root.outside() + "/uptime", "1 2\n"));
  allowed.mounts.push_back({"/proc/uptime", "bind", root.outside() + "/uptime", {"bind"}, {}, {}});
  CHECK(root.run(root.plan(allowed)).out == "1 2\n");
  // An image whose /proc is a link.
  rmdir((root.path() + "/proc").c_str());
  REQUIRE(symlink("/tmp", (root.path() + "/proc").c_str()) == 0);
  CHECK_FALSE(root.run_command({"true"}).started);
}

TEST_CASE("working directory: made when missing, never outside") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"pwd"});
  spec.process->cwd = "/deep/er";
  CHECK(root.run(root.plan(spec)).out == "/deep/er\n");
  for (int fd = 3; fd < 12; ++fd) {
    auto plan = root.command({"pwd"});
    plan.process.cwd = format("/proc/self/fd/%d", fd);
    auto outcome = root.run(plan);
    CHECK_FALSE(outcome.started);
  }
}

TEST_CASE("users, groups, umask, limits, no_new_privs, sysctl") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sh", "-c",
                         "id; umask; ulimit -n; grep -E 'CapEff|CapPrm|CapBnd|NoNewPrivs' /proc/self/status; cat "
                         "/proc/sys/net/ipv4/ip_forward"});
  spec.process->user = {1000, 1000, 027u, {2000}, ""};
  spec.process->capabilities = capability_sets(default_capabilities(), false);
  spec.process->rlimits = {{"RLIMIT_NOFILE", 200, 100}};
  spec.process->no_new_privileges = true;
  spec.linux_part->sysctl = {{"net.ipv4.ip_forward", "1"}};
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out ==
        "uid=1000(user) gid=1000(user) groups=2000(extra)\n0027\n100\nCapPrm:\t0000000000000000\n"
        "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\n1\n");
}

TEST_CASE("a terminal is the container's own") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sh", "-c", "tty; stty size; ls -l /dev/console; test -t 0 && echo interactive"});
  spec.process->terminal = true;
  spec.process->console_size = spec::OciConsoleSize{37, 91};
  auto started = run(root.plan(spec), {});
  if (!started) FAIL(started.error().message);
  REQUIRE(started->console_master);
  std::string out;
  char buffer[512];
  ssize_t got;
  while ((got = read(started->console_master.get(), buffer, sizeof buffer)) > 0)
    out.append(buffer, static_cast<size_t>(got));
  CHECK(exit_of(*started) == 0);
  CHECK(sys::remove_cgroup(started->cgroup));
  CHECK(out.find("/dev/pts/0") != std::string::npos);
  CHECK(out.find("37 91") != std::string::npos);
  CHECK(out.find("interactive") != std::string::npos);
  CHECK(out.find("136,   0") != std::string::npos);
}

TEST_CASE("limits arrive in the cgroup and are counted") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sleep", "100"});
  auto& resources = *spec.linux_part->resources;
  resources.memory = spec::OciMemory{};
  resources.memory->limit = 32 << 20;
  resources.pids = spec::OciPids{50};
  resources.cpu = spec::OciCpu{};
  resources.cpu->quota = 50000;
  resources.cpu->period = 100000;
  auto started = run(root.plan(spec), {});
  if (!started) FAIL(started.error().message);
  auto stats = sys::read_cgroup_stats(started->cgroup);
  REQUIRE(stats);
  CHECK(stats->memory_limit == 32 << 20);
  CHECK(stats->pids_limit == 50);
  CHECK(stats->pids_current == 1);
  CHECK(sys::read_oom_kills(started->cgroup).value_or(9) == 0);
  CHECK(*sys::cgroup_pids(started->cgroup) == std::vector<pid_t>{started->pid});
  CHECK(sys::freeze_cgroup(started->cgroup, true));
  CHECK(sys::cgroup_frozen(started->cgroup).value_or(false));
  CHECK(sys::freeze_cgroup(started->cgroup, false));
  CHECK(sys::kill_cgroup(started->cgroup));
  CHECK(exit_of(*started) == 137);
  CHECK(sys::remove_cgroup(started->cgroup));
}

TEST_CASE("a memory limit kills and the kill is counted") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1"});
  spec.linux_part->resources->memory = spec::OciMemory{};
  spec.linux_part->resources->memory->limit = spec.linux_part->resources->memory->swap = 8 << 20;
  auto plan = root.plan(spec);
  if (!sys::path_exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")) plan.cgroup.limits.memory_swap.reset();
  auto started = run(plan, {});
  if (!started) FAIL(started.error().message);
  CHECK(exit_of(*started) == 137);
  CHECK(sys::read_oom_kills(started->cgroup).value_or(0) >= 1);
  CHECK(sys::remove_cgroup(started->cgroup));
}

TEST_CASE("device rules: default devices work, others do not") {
  if (!can_run()) return;
  Root root;
  auto outcome = root.shell(
      "cat /dev/null && echo ok; mknod /tmp/mem c 1 1 && cat /tmp/mem 2>&1 | grep -c permitted; mknod /tmp/kmsg c 1 "
      "11; cat /tmp/kmsg 2>&1 | grep -c permitted");
  CHECK(outcome.out == "ok\n1\n1\n");
}

TEST_CASE("cgroup v2: born inside, device filter, freezing, killing, exec") {
  if (!can_run()) return;
  Root root;
  // A hybrid host's v2 tree has no controllers, but everything else.
  std::string tree;
  for (const char* path : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"})
    if (tree.empty() && sys::path_exists(std::string(path) + "/cgroup.procs")) tree = path;
  if (tree.empty() || !sys::path_exists(tree + "/cgroup.subtree_control")) {
    fputs("SKIPPED: no cgroup2 mount\n", stderr);
    return;
  }
  auto before = root.system;
  root.system = {};
  root.system.v2 = true;
  root.system.hierarchies = {{tree, {}}};
  auto outcome = root.shell(
      "cat /dev/null && mknod /tmp/mem c 1 1 && cat /tmp/mem 2>&1 | grep -c permitted; grep ^0:: /proc/self/cgroup; "
      "grep -c 'cgroup2 ro' /proc/mounts; cat /sys/fs/cgroup/cgroup.procs | grep -c 1");
  CHECK(outcome.error.message == "");
  CHECK(outcome.out == "1\n0::/\n1\n1\n");
  auto started = run(root.command({"sleep", "100"}), {});
  if (!started) FAIL(started.error().message);
  CHECK(*sys::cgroup_pids(started->cgroup) == std::vector<pid_t>{started->pid});
  auto process = build_process(*root.spec({"true"}).process);
  auto executed = exec_process(started->pidfd.get(), *process, started->cgroup, {});
  if (!executed) FAIL(executed.error().message);
  CHECK(exit_of(*executed) == 0);
  CHECK(sys::freeze_cgroup(started->cgroup, true));
  CHECK(*sys::cgroup_frozen(started->cgroup));
  CHECK(sys::kill_cgroup(started->cgroup));
  CHECK(exit_of(*started) == 137);
  CHECK(sys::remove_cgroup(started->cgroup));
  CHECK(sys::remove_cgroup(sys::cgroup_paths(root.system, root.parent)));
  root.system = before;
}

TEST_CASE("a further process joins everything") {
  if (!can_run()) return;
  Root root;
  auto started = run(root.command({"sleep", "100"}), {});
  if (!started) FAIL(started.error().message);
  const char* script =
      "hostname; for n in mnt pid net ipc uts cgroup; do a=$(readlink /proc/self/ns/$n); b=$(readlink /proc/1/ns/$n); "
      "[ $a = $b ] && echo $n; done; grep -q /$ /proc/self/cgroup && cat /proc/self/cgroup | grep -vc ':/$'; ls -l "
      "/proc/self/fd 2>/dev/null | grep -c -- '->'; grep CapInh /proc/self/status";
  auto process = build_process(*root.spec({"sh", "-c", script}).process);
  REQUIRE(process);
  int fds[2];
  REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
  UniqueFd reader(fds[0]), writer(fds[1]);
  auto executed = exec_process(started->pidfd.get(), *process, started->cgroup, {-1, writer.get(), writer.get()});
  writer.reset();
  if (!executed) FAIL(executed.error().message);
  Outcome outcome;
  Root::finish(outcome, *executed, reader.get());
  CHECK(outcome.code == 0);
  CHECK(outcome.out == "box\nmnt\npid\nnet\nipc\nuts\ncgroup\n0\n3\nCapInh:\t0000000000000000\n");

  SUBCASE("with a terminal") {
    process->args = {"sh", "-c", "tty; stty size"};
    process->terminal = true;
    process->rows = 10;
    process->columns = 20;
    auto terminal = exec_process(started->pidfd.get(), *process, started->cgroup, {});
    if (!terminal) FAIL(terminal.error().message);
    std::string out;
    char buffer[256];
    ssize_t got;
    while ((got = read(terminal->console_master.get(), buffer, sizeof buffer)) > 0)
      out.append(buffer, static_cast<size_t>(got));
    CHECK(out == "/dev/pts/0\r\n10 20\r\n");
    CHECK(exit_of(*terminal) == 0);
  }
  SUBCASE("and fails in Docker's words") {
    process->args = {"nosuch"};
    auto failed = exec_process(started->pidfd.get(), *process, started->cgroup, {});
    REQUIRE_FALSE(failed);
    CHECK(failed.error().message == "exec: \"nosuch\": executable file not found in $PATH");
    process->args = {"pwd"};
    process->cwd = "/nowhere";
    failed = exec_process(started->pidfd.get(), *process, started->cgroup, {});
    REQUIRE_FALSE(failed);
    CHECK(failed.error().message == "chdir to cwd (\"/nowhere\") set in config.json failed: no such file or directory");
    for (int fd = 3; fd < 12; ++fd) {
      process->cwd = format("/proc/self/fd/%d", fd);
      CHECK_FALSE(exec_process(started->pidfd.get(), *process, started->cgroup, {}));
    }
  }
  SUBCASE("and later children are born outside again") { CHECK(root.shell("echo $$").out == "1\n"); }
  CHECK(sys::kill_cgroup(started->cgroup));
  CHECK(exit_of(*started) == 137);
  CHECK(sys::remove_cgroup(started->cgroup));
}

}  // namespace caisson::runtime::test
