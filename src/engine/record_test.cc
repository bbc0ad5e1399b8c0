// SPDX-License-Identifier: Apache-2.0
#include "engine/record.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>

#include "engine/container.h"
#include "engine/host_files.h"
#include "engine/inspect.h"
#include "engine/spec_builder.h"
#include "engine/top.h"

using namespace caisson;
using namespace caisson::engine;

namespace {
ContainerRecord sample() {
  ContainerRecord record;
  record.id = std::string(64, 'a');
  record.name = "web";
  record.created_ns = 1000000000;
  record.image_id = "sha256:" + std::string(64, 'b');
  record.image_name = "busybox";
  record.path = "sh";
  record.args = {"-c", "echo hi"};
  record.config.hostname = "aaaaaaaaaaaa";
  record.config.exposed_ports["80/tcp"];
  record.host_config.network_mode = "bridge";
  record.host_config.ipc_mode = "private";
  record.host_config.cgroupns_mode = "private";
  record.cgroup_path = "/caisson/" + record.id;
  return record;
}
const EngineOptions kOptions;
const Paths kPaths(kOptions);
}  // namespace

TEST_CASE("record: what is stored comes back") {
  auto record = sample();
  record.set_status(Status::kRunning);
  record.pid = 42;
  network::Endpoint first;
  first.container_id = record.id;
  first.network_id = "n1";
  first.interface = "veth1";
  first.inside = "eth0";
  first.mac = "02:42:ac:11:00:02";
  first.address = "172.17.0.2";
  first.prefix = 16;
  first.gateway = "172.17.0.1";
  first.ports = {{"tcp", 80, "0.0.0.0", 8080}};
  record.endpoints = {StoredEndpoint{}, store_endpoint(first)};
  record.endpoints[0].network = "other";
  record.endpoints[1].network = "own";
  record.endpoints[1].is_gateway = true;
  record.config.cmd = {{"x"}, true};
  auto back = decode_record(encode_record(record));
  REQUIRE(back);
  CHECK(back->status() == Status::kRunning);
  CHECK(back->pid == 42);
  CHECK(back->args == record.args);
  CHECK(back->config.cmd.items == record.config.cmd.items);
  CHECK(!back->config.entrypoint.present);
  REQUIRE(back->endpoints.size() == 2);
  CHECK(back->main_endpoint().network == "own");
  CHECK(back->endpoint_in("n1") == &back->endpoints[1]);
  CHECK(back->endpoint_in("other") == &back->endpoints[0]);
  CHECK(back->endpoint_in("x") == nullptr);
  CHECK(ContainerRecord{}.main_endpoint().address.empty());
  auto endpoint = load_endpoint(back->id, back->main_endpoint());
  CHECK(endpoint.network_id == "n1");
  CHECK(endpoint.inside == "eth0");
  REQUIRE(endpoint.ports.size() == 1);
  CHECK(endpoint.ports[0].host_port == 8080);
  CHECK(endpoint.gateway == "172.17.0.1");
  CHECK(!decode_record("{"));
}

TEST_CASE("record: the life cycle has no short cuts") {
  CHECK(transition_allowed(Status::kCreated, Status::kRunning));
  CHECK(transition_allowed(Status::kRunning, Status::kExited));
  CHECK(!transition_allowed(Status::kRunning, Status::kRemoving));
  CHECK(!transition_allowed(Status::kExited, Status::kPaused));
  CHECK(!transition_allowed(Status::kRemoving, Status::kRunning));
}

TEST_CASE("container: waiters by condition") {
  auto running = sample();
  running.set_status(Status::kRunning);
  Container container(running);
  std::string heard;
  auto note = [&heard](const char* text) { return [&heard, text](const WaitOutcome&) { heard += text; }; };
  container.add_waiter(WaitCondition::kNotRunning, note("n"));
  container.add_waiter(WaitCondition::kNextExit, note("x"));
  container.add_waiter(WaitCondition::kRemoved, note("r"));
  uint64_t gone = container.add_waiter(WaitCondition::kNotRunning, note("?"));
  CHECK(container.remove_waiter(gone));
  CHECK(heard.empty());
  container.notify_exit({3, ""});
  CHECK(heard == "nx");
  container.notify_removed({3, ""});
  CHECK(heard == "nxr");
  // After the removal nobody waits for ever.
  container.add_waiter(WaitCondition::kRemoved, note("!"));
  CHECK(heard == "nxr!");
}

TEST_CASE("container: not-running is answered at once when it does not run, next-exit is not") {
  Container container(sample());
  int heard = 0;
  container.add_waiter(WaitCondition::kNotRunning, [&](const WaitOutcome&) { ++heard; });
  CHECK(heard == 1);
  container.add_waiter(WaitCondition::kNextExit, [&](const WaitOutcome&) { ++heard; });
  CHECK(heard == 1);
}

TEST_CASE("inspect: words of docker ps") {
  CHECK(human_duration(0) == "Less than a second");
  CHECK(human_duration(1) == "1 second");
  CHECK(human_duration(59) == "59 seconds");
  CHECK(human_duration(61) == "About a minute");
  CHECK(human_duration(3600) == "About an hour");
  CHECK(human_duration(86400 * 3) == "3 days");
  auto record = sample();
  CHECK(status_sentence(record, 0) == "Created");
  record.set_status(Status::kExited);
  record.exit_code = 137;
  record.finished_ns = 1000000000;
  CHECK(status_sentence(record, 6000000000) == "Exited (137) 5 seconds ago");
  CHECK(summarise_container(record, "busybox", 0).command == "sh -c 'echo hi'");
}

TEST_CASE("host files: hosts and resolv.conf") {
  auto record = sample();
  record.host_config.extra_hosts = {"db:10.0.0.9", "gw:host-gateway"};
  HostFileFacts facts;
  facts.addresses = {"172.17.0.2", "10.1.0.7"};
  facts.gateway = "172.17.0.1";
  std::string hosts = hosts_text(record, facts);
  CHECK(hosts.find("10.0.0.9\tdb\n") != std::string::npos);
  CHECK(hosts.find("172.17.0.1\tgw\n") != std::string::npos);
  CHECK(hosts.find("172.17.0.2\taaaaaaaaaaaa\n") != std::string::npos);
  CHECK(hosts.find("10.1.0.7\taaaaaaaaaaaa\n") != std::string::npos);
  // The host's own loopback resolver is of no use inside.
  facts.host_resolv = "nameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch lan\noptions ndots:2\n";
  CHECK(resolv_text(record, kOptions, facts) == "nameserver 10.1.1.1\nsearch lan\noptions ndots:2\n");
  facts.embedded_names = true;
  CHECK(resolv_text(record, kOptions, facts) == "nameserver 127.0.0.11\nsearch lan\noptions ndots:2\n");
  facts.embedded_names = false;
  facts.host_network = true;
  CHECK(resolv_text(record, kOptions, facts).starts_with("nameserver 127.0.0.53\n"));
  record.host_config.dns = {"9.9.9.9"};
  CHECK(resolv_text(record, kOptions, facts).starts_with("nameserver 9.9.9.9\nsearch lan"));
}

TEST_CASE("spec: environment, last word wins") {
  auto record = sample();
  record.config.env = {"A=1", "PATH=/mine"};
  auto env = process_environment(record, {"A=2"}, true, "/root");
  auto has = [&](const char* entry) { return std::find(env.begin(), env.end(), entry) != env.end(); };
  CHECK(has("A=2"));
  CHECK(!has("A=1"));
  CHECK(has("PATH=/mine"));
  CHECK(has("TERM=xterm"));
  CHECK(has("HOME=/root"));
  CHECK(has("HOSTNAME=aaaaaaaaaaaa"));
}

TEST_CASE("spec: modes leave namespaces out or join them") {
  auto record = sample();
  auto types = [](const spec::RuntimeSpec& spec) {
    std::string out;
    for (const auto& entry : spec.linux_part->namespaces)
      out += entry.type + (entry.path.empty() ? " " : "=" + entry.path + " ");
    return out;
  };
  auto plain = build_spec(record, kPaths, {});
  REQUIRE(plain);
  CHECK(types(*plain).find("network ") != std::string::npos);
  CHECK(plain->linux_part->cgroups_path == record.cgroup_path);
  record.host_config.network_mode = "host";
  record.host_config.pid_mode = "container:x";
  SpecFacts facts;
  facts.namespace_paths["pid"] = "/proc/7/ns/pid";
  auto shared = build_spec(record, kPaths, facts);
  REQUIRE(shared);
  CHECK(types(*shared).find("network") == std::string::npos);
  CHECK(types(*shared).find("pid=/proc/7/ns/pid") != std::string::npos);
}

TEST_CASE("spec: limits and capabilities are those we can give") {
  auto record = sample();
  record.host_config.privileged = true;
  SpecFacts facts;
  facts.limits.capabilities = 1ULL << 0 | 1ULL << 21;  // CHOWN and SYS_ADMIN
  facts.limits.nofile_hard = 500;
  auto spec = build_spec(record, kPaths, facts);
  REQUIRE(spec);
  CHECK(spec->process->capabilities->bounding.size() == 2);
  REQUIRE(spec->process->rlimits.size() == 1);
  CHECK(spec->process->rlimits[0].hard == 500);
  CHECK(spec->process->rlimits[0].soft == 500);
}

TEST_CASE("spec: refused") {
  auto record = sample();
  record.host_config.sysctls["kernel.panic"] = "1";
  CHECK(build_spec(record, kPaths, {}).error().message.find("separate kernel namespace") != std::string::npos);
  record.host_config.sysctls = {{"net.ipv4.ip_forward", "1"}};
  CHECK(build_spec(record, kPaths, {}));
  record.host_config.network_mode = "host";
  CHECK(!build_spec(record, kPaths, {}));
  record.host_config.sysctls.clear();
  record.host_config.binds = {"/x:/proc"};
  CHECK(build_spec(record, kPaths, {}).error().kind == ErrorKind::kInvalid);
  record.host_config.binds.clear();
  for (const char* rule : {"c 1:3", "x 1:3 r", "c 1 r", "c 1:3 z", "c a:3 r"}) {
    record.host_config.device_cgroup_rules = {rule};
    CHECK(build_spec(record, kPaths, {}).error().kind == ErrorKind::kInvalid);
  }
  record.host_config.device_cgroup_rules = {"c 10:* rw"};
  CHECK(build_spec(record, kPaths, {})->linux_part->resources->devices.back().access == "rw");
  CHECK(parse_security_options({"nonsense"}).error().kind == ErrorKind::kInvalid);
  CHECK(parse_security_options({"apparmor=mine"}).error().kind == ErrorKind::kInvalid);
  CHECK(parse_security_options({"no-new-privileges"})->no_new_privileges);
  CHECK(!parse_security_options({"no-new-privileges:false"})->no_new_privileges);
  CHECK(parse_security_options({"seccomp=unconfined"})->seccomp_unconfined);
}

TEST_CASE("top: columns as ps names them") {
  auto table = top({getpid()}, "");
  REQUIRE(table);
  CHECK(table->titles == std::vector<std::string>{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"});
  REQUIRE(table->processes.size() == 1);
  CHECK(table->processes[0][1] == std::to_string(getpid()));
  CHECK(top({}, "-o pid,comm")->titles == std::vector<std::string>{"PID", "COMMAND"});
  CHECK(top({}, "-o pid,comm=NAME")->titles == std::vector<std::string>{"PID", "NAME"});
  CHECK(top({}, "-o pid=NUMBER").error().message == "Couldn't find PID field in ps output");
  CHECK(top({}, "aux")->titles[0] == "USER");
  for (const char* bad : {"-o", "-o nope", "--bad", "-Z"}) {
    CAPTURE(bad);
    CHECK(top({}, bad).error().kind == ErrorKind::kInvalid);
  }
}
