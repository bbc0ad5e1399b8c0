// SPDX-License-Identifier: Apache-2.0
// Words of the spec about a process -> numbers, and what is refused in which words.
#include <doctest/doctest.h>
#include <linux/sched.h>
#include <sys/resource.h>

#include "runtime/default_spec.h"
#include "runtime/plan_builder.h"
#include "runtime/scheduling_builder.h"

namespace caisson::runtime {

static spec::OciProcess process() {
  spec::OciProcess out;
  out.args = {"true"};
  out.cwd = "/";
  return out;
}

static std::string refusal(const spec::OciProcess& in) {
  auto out = build_process(in);
  if (out) return "accepted";
  CHECK(out.error().kind == ErrorKind::kInvalid);
  return out.error().message;
}

static Result<Plan> plan_of(spec::OciLinux part, spec::OciUser user = {}) {
  spec::RuntimeSpec spec;
  spec.oci_version = "1.0.2";
  spec.process = process();
  spec.process->user = std::move(user);
  spec.root = spec::OciRoot{"/r", false};
  spec.linux_part = std::move(part);
  BuildOptions options;
  options.id = "x";
  options.seccomp_bpf = std::string(8, 0);
  return build_plan(spec, options);
}

static std::string plan_refusal(spec::OciLinux part, spec::OciUser user = {}) {
  auto out = plan_of(std::move(part), std::move(user));
  return out ? "accepted" : out.error().message;
}

static std::vector<unsigned> bits(const std::string& mask) {
  std::vector<unsigned> out;
  for (unsigned i = 0; i < mask.size() * 8; ++i)
    if (mask[i / 8] >> (i % 8) & 1) out.push_back(i);
  return out;
}

TEST_CASE("process: what is missing or not what it must be") {
  auto in = process();
  in.args = {};
  CHECK(refusal(in) == "process.args is empty");
  in = process();
  in.cwd = "";
  CHECK(refusal(in) == "process.cwd '' is not an absolute path");
  in.cwd = "tmp";
  CHECK(refusal(in) == "process.cwd 'tmp' is not an absolute path");
  in = process();
  in.args = {std::string("a\0b", 3)};
  CHECK(refusal(in).starts_with("process.args: "));
  in = process();
  in.env = {std::string("a=\0b", 4)};
  CHECK(refusal(in).starts_with("process.env: "));
  in.env = {"PATH"};
  CHECK(refusal(in) == "process.env: 'PATH' has no '='");
  in.env = {"=x"};
  CHECK(refusal(in) == "process.env: '=x' has no name");
  in = process();
  in.user.uid = UINT32_MAX;
  CHECK(refusal(in) == "process.user: 4294967295 is no id");
  in = process();
  in.oom_score_adj = 1001;
  CHECK(refusal(in) == "process.oomScoreAdj 1001 is not within -1000 and 1000");
}

TEST_CASE("process: of two variables of one name the last one counts") {
  auto in = process();
  in.env = {"A=1", "B=2", "A=3", "C=4"};
  CHECK(build_process(in)->env == std::vector<std::string>{"B=2", "A=3", "C=4"});
}

TEST_CASE("process: limits") {
  auto in = process();
  in.rlimits = {{"RLIMIT_NOFILE", 200, 100}, {"RLIMIT_CORE", 0, 0}};
  auto out = build_process(in);
  REQUIRE(out);
  CHECK(out->rlimits == std::vector<ResourceLimit>{{RLIMIT_NOFILE, 100, 200}, {RLIMIT_CORE, 0, 0}});
  in.rlimits = {{"RLIMIT_NOFILE", 1, 1}, {"RLIMIT_NOFILE", 1, 1}};
  CHECK(refusal(in) == "process.rlimits: 'RLIMIT_NOFILE' is listed twice");
  in.rlimits = {{"RLIMIT_NOFILE", 5, 10}};
  CHECK(refusal(in) == "process.rlimits: 'RLIMIT_NOFILE' has a soft limit above its hard limit: 10 > 5");
  in.rlimits = {{"NOFILE", 5, 5}};
  CHECK(refusal(in) == "process.rlimits: unknown type 'NOFILE'");
  in.rlimits = {{"RLIMIT_NONSENSE", 5, 5}};
  CHECK(refusal(in) == "process.rlimits: unknown resource limit 'RLIMIT_NONSENSE'");
}

TEST_CASE("process: capabilities, with those that cannot be had left out") {
  auto in = process();
  in.capabilities = spec::OciCapabilities{};
  in.capabilities->bounding = in.capabilities->permitted = {"CAP_CHOWN", "CAP_KILL", "CAP_NOT_INVENTED"};
  in.capabilities->effective = {"CAP_CHOWN"};
  in.capabilities->inheritable = {"CAP_KILL"};
  in.capabilities->ambient = {"CAP_CHOWN", "CAP_KILL"};
  auto out = build_process(in);
  REQUIRE(out);
  CHECK(out->cap_bounding == 0x21);
  CHECK(out->cap_permitted == 0x21);
  CHECK(out->cap_effective == 0x1);
  CHECK(out->cap_inheritable == 0x20);
  CHECK(out->cap_ambient == 0x20);
}

TEST_CASE("scheduler") {
  auto in = process();
  auto with = [&](spec::OciScheduler scheduler) {
    in.scheduler = std::move(scheduler);
    return refusal(in);
  };
  in.scheduler =
      spec::OciScheduler{"SCHED_BATCH", 3, 0, {"SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_UTIL_CLAMP_MAX"}, 0, 0, 0};
  CHECK(build_process(in)->scheduler == SchedulerPlan{SCHED_BATCH, 0x41, 3, 0, 0, 0, 0});
  in.scheduler = spec::OciScheduler{"SCHED_DEADLINE", 0, 0, {}, 10, 20, 30};
  CHECK(build_process(in)->scheduler == SchedulerPlan{SCHED_DEADLINE, 0, 0, 0, 10, 20, 30});
  in.scheduler = spec::OciScheduler{"SCHED_RR", 0, 7, {}, 0, 0, 0};
  CHECK(build_process(in)->scheduler == SchedulerPlan{SCHED_RR, 0, 0, 7, 0, 0, 0});
  CHECK(with({}) == "process.scheduler: policy is missing");
  CHECK(with({"SCHED_NEW"}) == "process.scheduler: unknown policy 'SCHED_NEW'");
  CHECK(with({"SCHED_OTHER", 0, 0, {"SCHED_FLAG_X"}}) == "process.scheduler: unknown flag 'SCHED_FLAG_X'");
  CHECK(with({"SCHED_OTHER", 20}) == "process.scheduler: nice 20 is not within -20 and 19");
  CHECK(with({"SCHED_OTHER", 0, 1}) == "process.scheduler: priority is for 'SCHED_FIFO' and 'SCHED_RR' only");
  CHECK(with({"SCHED_FIFO", 0, 100}) == "process.scheduler: priority 100 is not within 1 and 99");
  CHECK(with({"SCHED_FIFO", 0, 0}) == "process.scheduler: priority 0 is not within 1 and 99");
  CHECK(with({"SCHED_OTHER", 0, 0, {}, 1}) ==
        "process.scheduler: runtime, deadline and period are for 'SCHED_DEADLINE' only");
  CHECK(with({"SCHED_DEADLINE", 0, 0, {}, 30, 20, 30}) ==
        "process.scheduler: 'SCHED_DEADLINE' needs 0 < runtime <= deadline <= period");
  auto iso = build_scheduler({"SCHED_ISO"});
  REQUIRE_FALSE(iso);
  CHECK(iso.error().kind == ErrorKind::kUnsupported);
  CHECK(iso.error().message == "process.scheduler: Linux does not implement 'SCHED_ISO'");
}

TEST_CASE("io priority") {
  CHECK(*build_io_priority({"IOPRIO_CLASS_RT", 5}) == (1 << 13 | 5));
  CHECK(*build_io_priority({"IOPRIO_CLASS_BE", 7}) == (2 << 13 | 7));
  CHECK(*build_io_priority({"IOPRIO_CLASS_IDLE", 0}) == 3 << 13);
  CHECK(build_io_priority({"IOPRIO_CLASS_NONE", 0}).error().message ==
        "process.ioPriority: unknown class 'IOPRIO_CLASS_NONE'");
  CHECK(build_io_priority({"IOPRIO_CLASS_BE", 8}).error().message ==
        "process.ioPriority: priority 8 is not within 0 and 7");
}

TEST_CASE("lists of cpus and nodes") {
  CHECK(bits(*parse_number_list("0-3,7", 64)) == std::vector<unsigned>{0, 1, 2, 3, 7});
  CHECK(bits(*parse_number_list(" 1 , 64 - 65 ", 128)) == std::vector<unsigned>{1, 64, 65});
  CHECK(parse_number_list("64", 128)->size() == 16);
  CHECK(parse_number_list("", 128)->empty());
  for (const char* bad : {"x", "1-", "-1", "1,,2", "3-2", "1-2-3", ",", "1 2"})
    CHECK_MESSAGE(parse_number_list(bad, 128).error().kind == ErrorKind::kInvalid, bad);
  CHECK(parse_number_list("0-128", 128).error().message == "list '0-128' goes beyond 127");
  CHECK_FALSE(parse_number_list("18446744073709551616", 128));
  CHECK_FALSE(parse_number_list("0-18446744073709551615", 128));
  auto in = process();
  in.exec_cpu_affinity = spec::OciCpuAffinity{"0-1", "2"};
  auto out = build_process(in);
  REQUIRE(out);
  CHECK(bits(out->initial_affinity) == std::vector<unsigned>{0, 1});
  CHECK(bits(out->final_affinity) == std::vector<unsigned>{2});
  in.exec_cpu_affinity->final_list = "y";
  CHECK(refusal(in) == "process.execCPUAffinity: final: list 'y' is malformed");
}

TEST_CASE("memory policy") {
  auto made = build_memory_policy({"MPOL_BIND", "0,2", {"MPOL_F_STATIC_NODES"}});
  REQUIRE(made);
  CHECK(made->mode == (2u | 1u << 15));
  CHECK(bits(made->nodes) == std::vector<unsigned>{0, 2});
  CHECK(build_memory_policy({"MPOL_PREFERRED", "", {}}));
  CHECK(build_memory_policy({"MPOL_LOCAL", "", {}})->mode == 4);
  auto text = [](spec::OciMemoryPolicy in) { return build_memory_policy(in).error().message; };
  CHECK(text({"", "", {}}) == "linux.memoryPolicy: unknown mode ''");
  CHECK(text({"MPOL_BIND", "0", {"MPOL_F_X"}}) == "linux.memoryPolicy: unknown flag 'MPOL_F_X'");
  CHECK(text({"MPOL_BIND", "", {}}) == "linux.memoryPolicy: 'MPOL_BIND' needs nodes");
  CHECK(text({"MPOL_DEFAULT", "0", {}}) == "linux.memoryPolicy: 'MPOL_DEFAULT' takes no nodes");
  CHECK(text({"MPOL_BIND", "0", {"MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"}}).ends_with("exclude each other"));
  CHECK(text({"MPOL_BIND", "1024", {}}) == "linux.memoryPolicy: list '1024' goes beyond 1023");
}

TEST_CASE("ids have to exist in the container's user namespace") {
  spec::OciLinux part;
  part.namespaces = {{"user", ""}};
  part.uid_mappings = {{0, 100000, 1000}};
  part.gid_mappings = {{0, 100000, 1000}, {5000, 200000, 1}};
  CHECK(plan_of(part, {999, 5000, {}, {5000, 3}, ""}));
  CHECK(plan_refusal(part, {5000, 0, {}, {}, ""}) == "process.user: uid 5000 is not mapped in the user namespace");
  CHECK(plan_refusal(part, {0, 1000, {}, {}, ""}) == "process.user: gid 1000 is not mapped in the user namespace");
  CHECK(plan_refusal(part, {0, 0, {}, {1, 5001}, ""}) ==
        "process.user: additional gid 5001 is not mapped in the user namespace");
}

TEST_CASE("personality, intelRdt, listener") {
  spec::OciLinux part;
  part.personality = spec::OciPersonality{"LINUX32", {}};
  CHECK(plan_of(part)->process.personality == 8u);
  part.personality->flags = {"ADDR_NO_RANDOMIZE"};
  CHECK(plan_refusal(part) == "linux.personality: unknown flag 'ADDR_NO_RANDOMIZE'");
  part.personality = spec::OciPersonality{"BSD", {}};
  CHECK(plan_refusal(part) == "linux.personality: unknown domain 'BSD'");
  part = {};
  part.intel_rdt = spec::OciIntelRdt{};
  CHECK(plan_of(part).error().kind == ErrorKind::kUnsupported);
  part = {};
  part.seccomp = spec::OciSeccomp{};
  part.seccomp->listener_path = "/run/agent";
  part.seccomp->listener_metadata = "m";
  auto plan = plan_of(part);
  REQUIRE(plan);
  CHECK(plan->process.seccomp_listener_path == "/run/agent");
  CHECK(plan->process.seccomp_listener_metadata == "m");
}

TEST_CASE("network devices") {
  spec::OciLinux part;
  part.net_devices = {{"eth7", {""}}, {"dummy0", {"lan"}}};
  CHECK(plan_refusal(part) == "linux.netDevices need a network namespace of the container's own");
  part.namespaces = {{"network", ""}};
  auto plan = plan_of(part);
  REQUIRE(plan);
  CHECK(plan->net_devices == std::vector<std::pair<std::string, std::string>>{{"dummy0", "lan"}, {"eth7", "eth7"}});
  part.net_devices = {{"eth7", {"lan"}}, {"dummy0", {"lan"}}};
  CHECK(plan_refusal(part) == "linux.netDevices: 'lan' would be in the container twice");
  for (const char* bad : {"a/b", "..", "sixteen-letters-x", "a b", "eth%d"}) {
    part.net_devices = {{"eth7", {bad}}};
    CHECK(plan_refusal(part).ends_with("is no name of a network device"));
  }
}

}  // namespace caisson::runtime
