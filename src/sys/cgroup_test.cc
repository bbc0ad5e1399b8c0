// SPDX-License-Identifier: Apache-2.0
// Detection on made-up mount tables, and device rules as a v2 filter.
#include "sys/cgroup.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "sys/device_filter.h"
#include "sys/files.h"

namespace caisson::sys {

TEST_CASE("v1, hybrid and v2 hosts are told apart") {
  auto v1 = parse_cgroup_system(
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
      "33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n"
      "34 31 0:29 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "");
  CHECK_FALSE(v1.v2);
  REQUIRE(v1.hierarchies.size() == 2);
  CHECK(v1.hierarchies[0].controllers == std::vector<std::string>{"cpu", "cpuacct"});
  CHECK(v1.hierarchies[1].controllers == std::vector<std::string>{"name=systemd"});
  CHECK(v1.has("cpuacct"));
  CHECK_FALSE(v1.has("memory"));
  auto v2 = parse_cgroup_system("41 31 0:38 / /sys/fs/cg\\040roup rw - cgroup2 cgroup2 rw\n", "cpu memory pids\n");
  CHECK(v2.v2);
  CHECK(v2.hierarchies.at(0).mount_point == "/sys/fs/cg roup");
  CHECK(v2.has("pids"));
  CHECK(parse_cgroup_system("garbage\n\n - cgroup\n", "").empty());
}

TEST_CASE("paths stay below their hierarchy") {
  CgroupSystem system;
  system.hierarchies = {{"/cg/a", {"cpu"}}, {"/cg/b", {"memory"}}};
  auto paths = cgroup_paths(system, "//x/./y");
  CHECK(paths.dirs == std::vector<std::string>{"/cg/a/x/y", "/cg/b/x/y"});
  CHECK(*paths.dir_of("memory") == "/cg/b/x/y");
  CHECK(paths.dir_of("pids") == nullptr);
  CHECK_FALSE(create_cgroup(system, "/x/../../y"));
  CHECK_FALSE(create_cgroup(system, "x"));
}

TEST_CASE("a limit without its controller is an error that says so") {
  CgroupPaths paths;
  paths.dirs = {"/cg/a"};
  paths.controllers = {{"cpu"}};
  CgroupLimits limits;
  CHECK(apply_cgroup_limits(paths, limits));
  limits.memory = 1;
  auto done = apply_cgroup_limits(paths, limits);
  REQUIRE_FALSE(done);
  CHECK(done.error().kind == ErrorKind::kUnsupported);
  CHECK(done.error().message == "memory limit: this host has no 'memory' cgroup");
}

// Runs the program's few instructions; the kernel's verifier has its say in the next test.
static bool allowed(const std::vector<uint64_t>& words, uint32_t type, uint32_t access, uint32_t major,
                    uint32_t minor) {
  uint32_t context[3] = {(access << 16) | type, major, minor};
  uint64_t reg[11] = {};
  for (size_t pc = 0; pc < words.size(); ++pc) {
    bpf_insn i;
    memcpy(&i, &words[pc], sizeof i);
    auto immediate = static_cast<uint32_t>(i.imm);
    switch (i.code) {
      case BPF_LDX | BPF_MEM | BPF_W: reg[i.dst_reg] = context[i.off / 4]; break;
      case BPF_ALU | BPF_AND | BPF_K: reg[i.dst_reg] &= immediate; break;
      case BPF_ALU | BPF_RSH | BPF_K: reg[i.dst_reg] >>= immediate; break;
      case BPF_ALU | BPF_MOV | BPF_X: reg[i.dst_reg] = reg[i.src_reg]; break;
      case BPF_ALU64 | BPF_MOV | BPF_K: reg[i.dst_reg] = immediate; break;
      case BPF_JMP32 | BPF_JEQ | BPF_K: pc += reg[i.dst_reg] == immediate ? static_cast<size_t>(i.off) : 0; break;
      case BPF_JMP32 | BPF_JNE | BPF_K: pc += reg[i.dst_reg] != immediate ? static_cast<size_t>(i.off) : 0; break;
      case BPF_JMP | BPF_JA: pc += static_cast<size_t>(i.off); break;
      case BPF_JMP | BPF_EXIT: return reg[0];
      default: FAIL("unknown instruction"); return false;
    }
  }
  FAIL("fell off the end");
  return false;
}

TEST_CASE("the group of a process below a container's") {
  const std::string top = "/sys/fs/cgroup", within = top + "/caisson/id";
  auto dir = [&](std::string_view membership) {
    return cgroup_dir_of(membership, {top, {}, "/", "/"}, within).value_or("none");
  };
  CHECK(dir("0::/caisson/id\n") == within);
  CHECK(dir("0::/caisson/id/init\n") == within + "/init");
  CHECK(dir("4:memory:/caisson/id/v1\n0::/caisson/id/a/b\n") == within + "/a/b");
  for (auto foreign :
       {"", "0::/\n", "0::/caisson\n", "0::/caisson/id2/x\n", "0::/../caisson/id/x\n", "0::/caisson/id/../../x\n"})
    CHECK(dir(foreign) == "none");
}

static const std::vector<DeviceRule> kRules = {{false, 'a', -1, -1, true, true, true},
                                               {true, 'c', -1, -1, false, false, true},
                                               {true, 'c', 1, 3, true, true, true},
                                               {true, 'b', 8, -1, true, false, false},
                                               {false, 'b', 8, 1, true, false, false}};

TEST_CASE("device rules: the last match decides, per access") {
  auto program = compile_device_filter(kRules);
  constexpr uint32_t kMknod = BPF_DEVCG_ACC_MKNOD, kRead = BPF_DEVCG_ACC_READ, kWrite = BPF_DEVCG_ACC_WRITE;
  CHECK(allowed(program, BPF_DEVCG_DEV_CHAR, kRead | kWrite, 1, 3));
  CHECK(allowed(program, BPF_DEVCG_DEV_CHAR, kMknod, 1, 1));
  CHECK_FALSE(allowed(program, BPF_DEVCG_DEV_CHAR, kRead, 1, 1));
  CHECK_FALSE(allowed(program, BPF_DEVCG_DEV_CHAR, kRead | kMknod, 1, 1));
  CHECK(allowed(program, BPF_DEVCG_DEV_BLOCK, kRead, 8, 0));
  CHECK_FALSE(allowed(program, BPF_DEVCG_DEV_BLOCK, kRead | kWrite, 8, 0));
  CHECK_FALSE(allowed(program, BPF_DEVCG_DEV_BLOCK, kRead, 8, 1));
  CHECK_FALSE(allowed(program, BPF_DEVCG_DEV_BLOCK, kMknod, 8, 0));
  auto all = compile_device_filter({{true, 'a', -1, -1, true, true, true}});
  CHECK(allowed(all, BPF_DEVCG_DEV_BLOCK, kMknod | kRead | kWrite, 99, 99));
  CHECK_FALSE(allowed(compile_device_filter({}), BPF_DEVCG_DEV_CHAR, kRead, 1, 3));
}

TEST_CASE("the kernel takes the filters") {
  if (geteuid() != 0) {
    fputs("SKIPPED: needs root\n", stderr);
    return;
  }
  for (const auto& rules : {kRules, std::vector<DeviceRule>{}, {{true, 'a', -1, -1, true, true, true}}}) {
    auto program = load_device_filter(rules);
    if (!program && program.error().err == EPERM) {
      fputs("SKIPPED: no permission to load BPF\n", stderr);
      return;
    }
    if (!program) FAIL(program.error().message);
  }
}

}  // namespace caisson::sys
