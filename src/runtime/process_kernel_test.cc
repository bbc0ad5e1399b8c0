// SPDX-License-Identifier: Apache-2.0
// What a program is given, in real containers: scheduling, home, descriptors, network devices, an agent for its
// system calls; and the sentences where it cannot be given.
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstring>

#include "runtime/child_home.h"
#include "runtime/kernel_fixture.h"
#include "runtime/process_checks.h"
#include "runtime/scheduling_builder.h"
#include "sys/netns.h"
#include "sys/unix_socket.h"
#include "wire/json.h"

namespace caisson::runtime::test {

static std::string home_of(std::string_view passwd, uint32_t uid, size_t size = 64) {
  char path[] = "/tmp/caisson-passwd-XXXXXX";
  UniqueFd fd(mkstemp(path));
  unlink(path);
  REQUIRE(write(fd.get(), passwd.data(), passwd.size()) == static_cast<ssize_t>(passwd.size()));
  lseek(fd.get(), 0, SEEK_SET);
  std::string out(size, 'x');
  return find_home(fd.get(), uid, out.data(), size) ? std::string(out.c_str()) : "none";
}

TEST_CASE("the home in a passwd file") {
  const char* usual =
      "root:x:0:0:root:/root:/bin/sh\n# words\n\nu:x:1000:1000::/home/u:/bin/sh\nv:x:1000:1:second:/other:\n";
  CHECK(home_of(usual, 0) == "/root");
  CHECK(home_of(usual, 1000) == "/home/u");
  CHECK(home_of(usual, 5) == "none");
  CHECK(home_of("u:x:7:7:g:/h", 7) == "/h");  // no newline at the end, no shell
  CHECK(home_of("u:x:7:7:g", 7) == "none");
  CHECK(home_of("u:x:7:7:::\n", 7) == "none");
  CHECK(home_of("u:x:7:7::relative:\n", 7) == "none");
  CHECK(home_of("u:x::7::/h:\n", 0) == "none");
  CHECK(home_of("u:x:4294967303:7::/h:\n", 7) == "none");  // not 7 modulo 2^32
  CHECK(home_of("u:x:7x:7::/h:\n", 7) == "none");
  CHECK(home_of("u:x:7:7::/12345678:\n", 7, 10) == "/12345678");
  CHECK(home_of("u:x:7:7::/123456789:\n", 7, 10) == "none");
  CHECK(home_of(std::string(1 << 20, '\n') + "u:x:7:7::/h:\n", 7) == "none");  // beyond what is read
  CHECK(home_of(std::string(9000, 'a') + ":x:7:7::/h:\n", 7) == "/h");
}

TEST_CASE("a home is found in the container's passwd, at start and at exec") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sh", "-c", "echo $HOME; sleep 100"});
  CHECK(root.shell("echo $HOME").out == "/root\n");
  spec.process->args = {"sh", "-c", "echo $HOME"};
  spec.process->env.push_back("HOME=/given");
  CHECK(root.run(root.plan(spec)).out == "/given\n");
  spec.process->env.back() = "HOME=";
  spec.process->user.uid = 1000;
  CHECK(root.run(root.plan(spec)).out == "/home/user\n");
  spec.process->user.uid = 4000;
  CHECK(root.run(root.plan(spec)).out == "/\n");
  // A pipe instead of the file: nobody waits for it.
  REQUIRE(unlink((root.path() + "/etc/passwd").c_str()) == 0);
  REQUIRE(mkfifo((root.path() + "/etc/passwd").c_str(), 0600) == 0);
  CHECK(root.run(root.plan(spec)).out == "/\n");
}

TEST_CASE("scheduler, io priority, memory policy") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sh", "-c",
                         "set -- $(sed 's/.*) //' /proc/self/stat); echo nice ${17} policy ${39}; busybox ionice; cat "
                         "/proc/self/numa_maps | grep -c bind"});
  spec.process->scheduler = spec::OciScheduler{"SCHED_BATCH", 5, 0, {}, 0, 0, 0};
  spec.process->io_priority = spec::OciIoPriority{"IOPRIO_CLASS_BE", 6};
  spec.linux_part->memory_policy = spec::OciMemoryPolicy{"MPOL_BIND", "0", {}};
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  INFO(outcome.out);
  CHECK(outcome.out.find("nice 5 policy 3\n") == 0);
  CHECK(outcome.out.find("best-effort: prio 6") != std::string::npos);
  if (sys::path_exists("/proc/self/numa_maps")) CHECK_FALSE(outcome.out.ends_with("\n0\n"));
  spec.process->scheduler.reset();
  spec.linux_part->memory_policy = spec::OciMemoryPolicy{"MPOL_BIND", "1000", {}};
  auto absent = root.run(root.plan(spec));
  CHECK(absent.error.message == "set the memory policy (set_mempolicy): Invalid argument");
}

TEST_CASE("cpu affinity is for further processes") {
  if (!can_run()) return;
  cpu_set_t before;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  int last = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &before)) last = cpu;
  Root root;
  auto started = run(root.command({"sleep", "100"}), {});
  if (!started) FAIL(started.error().message);
  auto allowed = [&](const char* initial, const std::string& final_list) {
    auto in = *root.spec({"grep", "Cpus_allowed_list", "/proc/self/status"}).process;
    in.exec_cpu_affinity = spec::OciCpuAffinity{initial, final_list};
    auto process = build_process(in);
    REQUIRE(process);
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    UniqueFd reader(fds[0]), writer(fds[1]);
    auto executed = exec_process(started->pidfd.get(), *process, started->cgroup, {-1, writer.get(), writer.get()});
    writer.reset();
    if (!executed) return executed.error().message;
    Outcome outcome;
    Root::finish(outcome, *executed, reader.get());
    return outcome.out;
  };
  auto text = format("%d", last);
  CHECK(allowed("", text) == "Cpus_allowed_list:\t" + text + "\n");
  CHECK(allowed("0", text) == "Cpus_allowed_list:\t" + text + "\n");
  CHECK(allowed("8000", "") == "set the initial cpu affinity: sched_setaffinity: Invalid argument");
  CHECK(allowed("", "8000") == "set the cpu affinity (sched_setaffinity): Invalid argument");
  cpu_set_t after;
  REQUIRE(sched_getaffinity(0, sizeof after, &after) == 0);
  CHECK(CPU_EQUAL(&before, &after));  // ours is as it was
  CHECK(sys::kill_cgroup(started->cgroup));
  CHECK(sys::wait_child({started->pid, std::move(started->pidfd)}));
  CHECK(sys::remove_cgroup(started->cgroup));
}

TEST_CASE("descriptors are handed down when asked for, others never") {
  if (!can_run()) return;
  Root root;
  auto plan = root.command({"sh", "-c", "cat <&3; cat <&4; ls /proc/self/fd"});
  plan.process.preserve_fds = 2;
  // Numbers 3 and 4 of a test's process may be taken: they come back after.
  UniqueFd held[2] = {UniqueFd(fcntl(3, F_DUPFD_CLOEXEC, 20)), UniqueFd(fcntl(4, F_DUPFD_CLOEXEC, 20))};
  for (int i = 0; i < 2; ++i) {
    auto path = root.outside() + format("/f%d", i);
    REQUIRE(sys::write_file(path, i ? "second\n" : "first\n"));
    UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() == 3 + i)
      (void)file.release();
    else
      REQUIRE(dup3(file.get(), 3 + i, O_CLOEXEC) == 3 + i);
  }
  auto outcome = root.run(plan);
  for (int i = 0; i < 2; ++i) {
    if (held[i])
      dup3(held[i].get(), 3 + i, O_CLOEXEC);
    else
      close(3 + i);
  }
  CHECK(outcome.error.message == "");
  CHECK(outcome.out == "first\nsecond\n0\n1\n2\n3\n4\n5\n");  // 5: the directory that ls reads
  ProcessPlan absent;
  absent.preserve_fds = 60000;
  CHECK(check_process(absent).error().message.ends_with("to hand down is not open"));
}

TEST_CASE("labels of security modules that are not there") {
  ProcessPlan plan;
  if (!sys::path_exists("/sys/module/apparmor")) {
    plan.apparmor_profile = "x";
    CHECK(check_process(plan).error().message == "apparmor profile 'x': AppArmor is not enabled on this host");
  }
  plan.apparmor_profile = "unconfined";
  CHECK(check_process(plan));
  if (!sys::path_exists("/sys/fs/selinux/enforce")) {
    plan.selinux_label = "a:b:c:d";
    CHECK(check_process(plan).error().message == "selinux label 'a:b:c:d': SELinux is not enabled on this host");
  }
}

TEST_CASE("limits are the program's, not the set-up's") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sh", "-c", "ulimit -n; ulimit -f"});
  spec.process->rlimits = {{"RLIMIT_NOFILE", 6, 4}, {"RLIMIT_FSIZE", 0, 0}};
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out == "4\n0\n");
  rlimit files{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &files) == 0);
  spec.process->rlimits = {{"RLIMIT_NOFILE", files.rlim_max + 1, 4}};
  auto raised = root.run(root.plan(spec));
  if (raised.started)
    CHECK(raised.out.starts_with("4\n"));
  else
    CHECK(raised.error.message.starts_with("process.rlimits: raise hard limit 7 from "));
}

TEST_CASE("an agent answers for system calls") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sh", "-c", "busybox mkdir /tmp/x 2>&1; test -d /tmp/x || echo none"});
  spec.annotations = {{"key", "value"}};
  spec::OciSeccomp profile;
  profile.default_action = "SCMP_ACT_ALLOW";
  profile.syscalls = {{{"mkdir", "mkdirat"}, "SCMP_ACT_NOTIFY", {}, {}}};
  profile.listener_path = root.outside() + "/agent";
  profile.listener_metadata = "words";
  for (bool no_new_privs : {false, true}) {
    spec.process->no_new_privileges = no_new_privs;
    auto plan = root.plan(spec);
    plan.process.seccomp_bpf = *compile_seccomp(profile);
    plan.process.seccomp_flags = *seccomp_flags(profile);
    plan.process.seccomp_listener_path = profile.listener_path;
    plan.process.seccomp_listener_metadata = profile.listener_metadata;
    auto nobody = root.run(plan);
    CHECK_FALSE(nobody.started);
    CHECK(nobody.error.message.starts_with("seccomp listener: "));
    auto agent = sys::listen_unix(profile.listener_path, SOCK_STREAM, 0600);
    REQUIRE(agent);
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    UniqueFd reader(fds[0]), writer(fds[1]);
    StartFds start;
    start.stdio = {-1, writer.get(), writer.get()};
    auto started = run(plan, start);
    writer.reset();
    if (!started) FAIL(started.error().message);
    auto connection = sys::accept_connection(agent->get());
    REQUIRE(connection);
    auto message = sys::receive_message(connection->get(), 65536);
    REQUIRE(message);
    REQUIRE(message->fds.size() == 1);
    auto state = json::decode<spec::OciContainerProcessState>(message->data);
    REQUIRE(state);
    CHECK(state->fds == std::vector<std::string>{"seccompFd"});
    CHECK(state->pid == started->pid);
    CHECK(state->metadata == "words");
    CHECK(state->state.status == "creating");
    CHECK(state->state.id == plan.id);
    CHECK(state->state.annotations.at("key") == "value");
    seccomp_notif request{};
    REQUIRE(ioctl(message->fds[0].get(), SECCOMP_IOCTL_NOTIF_RECV, &request) == 0);
    seccomp_notif_resp answer{};
    answer.id = request.id;
    answer.error = -E2BIG;
    REQUIRE(ioctl(message->fds[0].get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0);
    Outcome outcome;
    Root::finish(outcome, *started, reader.get());
    CHECK(outcome.out == "mkdir: can't create directory '/tmp/x': Argument list too long\nnone\n");
    CHECK(sys::remove_cgroup(started->cgroup));
    unlink(profile.listener_path.c_str());
  }
}

static bool add_device(const std::string& name) {
  auto socket = sys::NetlinkSocket::open(NETLINK_ROUTE);
  REQUIRE(socket);
  sys::NetlinkBuilder out;
  out.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  out.header(ifinfomsg{});
  out.put_string(IFLA_IFNAME, name);
  out.nest(IFLA_LINKINFO);
  out.put_string(IFLA_INFO_KIND, "dummy");
  out.end_nest();
  if (socket->transact(out, "create dummy")) return true;
  auto own = sys::open_own_netns();
  REQUIRE(own);
  sys::VethRequest veth;
  veth.name = name;
  veth.peer_name = "peer0";
  veth.peer_mac = {2, 0, 0, 0, 0, 1};
  veth.peer_netns = own->get();
  return sys::RouteSocket::open()->create_veth(veth).has_value();
}

TEST_CASE("network devices move into the container, or all stay") {
  if (!can_run()) return;
  auto own = sys::open_own_netns();
  REQUIRE(own);
  REQUIRE(unshare(CLONE_NEWNET) == 0);
  auto moved = [&] {
    if (!add_device("dmy0")) {
      fputs("SKIPPED: the kernel has neither dummy nor veth devices\n", stderr);
      return;
    }
    auto route = sys::RouteSocket::open();
    REQUIRE(route);
    auto link = route->find_link("dmy0");
    REQUIRE(link);
    REQUIRE(link->has_value());
    REQUIRE(route->add_address((*link)->index, {IpAddress::ipv4(0x0a090801), 24}));
    Root root;
    auto spec = root.spec({"sh", "-c", "busybox ip -o addr; busybox ip -o link show lan0"});
    spec.linux_part->net_devices = {{"dmy0", {"lan0"}}, {"zzz", {""}}};
    auto missing = root.run(root.plan(spec));
    CHECK(missing.error.message == "linux.netDevices: no network device 'zzz'");
    auto still = route->find_link("dmy0");
    REQUIRE(still);
    REQUIRE(still->has_value());
    CHECK((*still)->up == (*link)->up);
    auto addresses = route->list_addresses();
    REQUIRE(addresses);
    CHECK(std::count_if(addresses->begin(), addresses->end(),
                        [](const sys::LinkAddress& entry) { return !entry.address.v6(); }) == 1);
    spec.linux_part->net_devices = {{"dmy0", {"lo"}}};
    CHECK(root.run(root.plan(spec)).error.message ==
          "linux.netDevices: the container has a network device 'lo' already");
    REQUIRE(route->find_link("dmy0")->has_value());
    spec.linux_part->net_devices = {{"dmy0", {"lan0"}}};
    auto outcome = root.run(root.plan(spec));
    CHECK(outcome.error.message == "");
    INFO(outcome.out);
    CHECK(outcome.out.find("lan0") != std::string::npos);
    CHECK(outcome.out.find("inet 10.9.8.1/24") != std::string::npos);
    CHECK(outcome.out.find("UP") != std::string::npos);
    CHECK_FALSE(route->find_link("dmy0")->has_value());
  };
  moved();
  REQUIRE(setns(own->get(), CLONE_NEWNET) == 0);
}

}  // namespace caisson::runtime::test
