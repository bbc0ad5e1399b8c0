// SPDX-License-Identifier: Apache-2.0
// The codec, the builder and the defaults: no system calls.
#include "runtime/plan.h"

#include <doctest/doctest.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/plan_builder.h"

namespace caisson::runtime {

static spec::RuntimeSpec default_spec() {
  auto spec = default_runtime_spec();
  spec.process->args = {"sh", "-c", "true"};
  spec.root->path = "/rootfs";
  spec.hostname = "box";
  return spec;
}

static std::string build_error(const spec::RuntimeSpec& spec) {
  auto plan = build_plan(spec, {.id = "x"});
  return plan ? "" : plan.error().message;
}

TEST_CASE("a plan survives the codec") {
  auto spec = default_spec();
  spec.linux_part->sysctl = {{"net.ipv4.ip_forward", "1"}};
  spec.linux_part->uid_mappings = {{0, 1000, 10}};
  spec.process->oom_score_adj = -5;
  spec.process->rlimits = {{"RLIMIT_NOFILE", 20, 10}};
  spec.linux_part->resources->memory = spec::OciMemory{};
  spec.linux_part->resources->memory->limit = 1 << 20;
  spec.linux_part->resources->unified = {{"memory.high", "max"}};
  sys::CgroupSystem cgroups;
  cgroups.hierarchies = {{"/sys/fs/cgroup/cpu,cpuacct", {"cpu", "cpuacct"}}};
  auto plan = build_plan(spec, {.id = "x", .cgroups = cgroups});
  REQUIRE(plan);
  plan->process.seccomp_bpf = std::string("\0\1\2\3\4\5\6\7", 8);
  std::string bytes = encode(*plan);
  auto again = decode_plan(bytes);
  REQUIRE(again);
  CHECK(encode(*again) == bytes);
  CHECK(again->process == plan->process);
  CHECK(again->mounts == plan->mounts);
  CHECK(again->cgroup.limits == plan->cgroup.limits);
  CHECK(again->process.oom_score_adj == -5);
  CHECK(again->cgroup.limits.memory == 1 << 20);
  CHECK(again->cgroup.system.hierarchies.at(0).controllers.at(1) == "cpuacct");

  SUBCASE("cut anywhere it is refused") {
    for (size_t size = 0; size < bytes.size(); ++size) {
      auto cut = decode_plan(std::string_view(bytes).substr(0, size));
      CHECK_FALSE(cut);
      if (!cut) CHECK(cut.error().kind == ErrorKind::kCorrupt);
    }
  }
  SUBCASE("longer by a byte it is refused") { CHECK_FALSE(decode_plan(bytes + "x")); }
  SUBCASE("a count that promises too much is refused without memory for it") {
    std::string hostile = bytes;
    for (size_t at = 0; at + 4 <= hostile.size(); at += 1) {
      std::string changed = hostile;
      changed.replace(at, 4, "\xff\xff\xff\x7f");
      (void)decode_plan(changed);
    }
  }
  SUBCASE("the two kinds are not mixed up") {
    CHECK_FALSE(decode_process_plan(bytes));
    auto process = decode_process_plan(encode(plan->process));
    REQUIRE(process);
    CHECK(*process == plan->process);
  }
}

TEST_CASE("the default spec becomes Docker's container") {
  auto plan = build_plan(default_spec(), {.id = "abc", .default_cgroup_parent = "/docker"});
  REQUIRE(plan);
  CHECK(plan->process.cap_effective == 0xa80425fb);
  CHECK(plan->process.cap_bounding == 0xa80425fb);
  CHECK(plan->process.cap_inheritable == 0);
  CHECK(plan->process.cap_ambient == 0);
  CHECK(plan->create_namespaces ==
        (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP));
  CHECK(plan->cgroup.path == "/docker/abc");
  CHECK(plan->devices.size() == 6);
  CHECK(plan->devices[0].mode == (S_IFCHR | 0666));
  REQUIRE(plan->mounts.size() == 7);
  CHECK(plan->mounts[0].destination == "/proc");
  CHECK(plan->mounts[1].data == "mode=755,size=65536k");
  CHECK(plan->mounts[1].set_attributes == (MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME));
  CHECK(plan->mounts[3].set_attributes ==
        (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY));
  CHECK(plan->mounts[4].kind == Mount::Kind::kCgroup);
  CHECK(plan->mounts[6].data == "mode=1777,size=67108864");
}

TEST_CASE("mount options") {
  auto built = build_mount({"/x", "bind", "rel", {"rbind", "ro", "rslave", "noatime", "rnosuid"}, {}, {}}, "/bundle");
  REQUIRE(built);
  CHECK(built->kind == Mount::Kind::kBind);
  CHECK(built->recursive);
  CHECK(built->source == "/bundle/rel");
  CHECK(built->set_attributes == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME));
  CHECK(built->clear_attributes == MOUNT_ATTR__ATIME);
  CHECK(built->set_attributes_recursive == MOUNT_ATTR_NOSUID);
  CHECK(built->propagation == MS_SLAVE);
  CHECK(built->propagation_recursive);
  auto later_wins = build_mount({"/x", "tmpfs", "tmpfs", {"ro", "rw", "size=1m", "uid=5"}, {}, {}}, "");
  REQUIRE(later_wins);
  CHECK(later_wins->set_attributes == 0);
  CHECK(later_wins->data == "size=1m,uid=5");
  CHECK_FALSE(build_mount({"/x", "bind", "", {}, {}, {}}, ""));
  CHECK_FALSE(build_mount({"/x", "", "y", {}, {}, {}}, ""));
  CHECK_FALSE(build_mount({"", "tmpfs", "y", {}, {}, {}}, ""));
}

TEST_CASE("what a spec may not say") {
  auto spec = default_spec();
  CHECK(build_error(spec) == "");
  SUBCASE("host sysctls") {
    for (const char* name : {"kernel.core_pattern", "vm.swappiness", "net/../kernel/core_pattern", "net.."}) {
      spec.linux_part->sysctl = {{name, "1"}};
      CHECK(build_error(spec) == format("sysctl \"%s\" is not in a separate kernel namespace", name));
    }
    spec.linux_part->sysctl = {{"net.ipv4.ip_forward", "1"}};
    std::erase_if(spec.linux_part->namespaces, [](auto& n) { return n.type == "network"; });
    CHECK(build_error(spec).ends_with("is not in a separate kernel namespace"));
  }
  SUBCASE("a hostname for the host") {
    std::erase_if(spec.linux_part->namespaces, [](auto& n) { return n.type == "uts"; });
    CHECK(build_error(spec) == "unable to set hostname without a private UTS namespace");
  }
  SUBCASE("a seccomp section that nobody compiled") {
    spec.linux_part->seccomp.emplace().default_action = "SCMP_ACT_ALLOW";
    CHECK(build_error(spec) == "linux.seccomp is set, but no compiled filter was given");
  }
  SUBCASE("a cgroup above the hierarchy") {
    spec.linux_part->cgroups_path = "/../x";
    CHECK(build_error(spec).ends_with("is invalid"));
  }
  SUBCASE("mounts over the root") {
    spec.mounts.push_back({"/a/..", "tmpfs", "tmpfs", {}, {}, {}});
    CHECK(build_error(spec) == "mount destination '/a/..' is invalid");
  }
  SUBCASE("zero bytes, relative directories, no command") {
    spec.process->args = {std::string("a\0b", 3)};
    CHECK(build_error(spec) != "");
    spec.process->args = {"a"};
    spec.process->cwd = "rel";
    CHECK(build_error(spec) == "process.cwd 'rel' is not an absolute path");
    spec.process->args = {};
    CHECK(build_error(spec) == "process.args is empty");
  }
  SUBCASE("namespaces twice or unknown") {
    spec.linux_part->namespaces.push_back({"pid", ""});
    CHECK(build_error(spec) == "namespace 'pid' is listed twice");
    spec.linux_part->namespaces.back().type = "moon";
    CHECK(build_error(spec) == "unknown namespace type 'moon'");
  }
}

TEST_CASE("capabilities are added and dropped as in Docker") {
  auto names = [](std::vector<std::string> add, std::vector<std::string> drop, bool privileged = false) {
    auto out = resolve_capabilities(add, drop, privileged);
    return out ? *out : std::vector<std::string>{out.error().message};
  };
  CHECK(names({}, {}).size() == 14);
  CHECK(names({}, {}, true).size() == 41);
  CHECK(names({"ALL"}, {"sys_admin"}).size() == 40);
  CHECK(names({"net_admin"}, {"ALL"}) == std::vector<std::string>{"CAP_NET_ADMIN"});
  CHECK(names({"CAP_sys_time"}, {}).size() == 15);
  CHECK(names({}, {"CHOWN", "cap_kill"}).size() == 12);
  CHECK(names({"nope"}, {}) == std::vector<std::string>{"invalid CapAdd: unknown capability: \"CAP_NOPE\""});
  CHECK(names({}, {"nope"}) == std::vector<std::string>{"invalid CapDrop: unknown capability: \"CAP_NOPE\""});
  CHECK(resolve_capabilities({"ALL"}, {}, false, 37)->size() == 38);
  CHECK(*capability_number("checkpoint_restore") == 40);
}

TEST_CASE("resources become limits") {
  auto resources =
      spec::parse_runtime_spec(R"({"linux":{"resources":{"memory":{"limit":-1,"swap":5,"disableOOMKiller":true},
    "cpu":{"quota":-1,"period":100,"cpus":"0-1"},"pids":{"limit":7},"blockIO":{"weight":100,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}]},
    "devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"access":"r"}]}}})");
  REQUIRE(resources);
  auto limits = build_limits(*resources->linux_part->resources);
  REQUIRE(limits);
  CHECK(limits->memory == -1);
  CHECK(limits->memory_swap == 5);
  CHECK(limits->oom_kill_disable);
  CHECK(limits->cpu_quota == -1);
  CHECK(limits->pids == 7);
  CHECK(limits->read_bps.at(0) == sys::BlockThrottle{8, 0, 600});
  CHECK(limits->devices.at(0) == sys::DeviceRule{false, 'a', -1, -1, true, true, true});
  CHECK(limits->devices.at(1) == sys::DeviceRule{true, 'c', 1, -1, true, false, false});
  CHECK(limits->devices.size() > 2);  // the default devices
  CHECK(*resource_of_name("RLIMIT_NOFILE") == RLIMIT_NOFILE);
  CHECK(*resource_of_name("nproc") == RLIMIT_NPROC);
  CHECK_FALSE(resource_of_name("RLIMIT_LUCK"));
}

}  // namespace caisson::runtime
