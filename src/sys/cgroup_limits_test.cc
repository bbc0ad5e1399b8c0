// SPDX-License-Identifier: Apache-2.0
// Limits, updates, taking over and leaving out, on directories that look like cgroupfs: what is written to
// which file, in which order it matters, and what is refused.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "sys/cgroup.h"
#include "sys/cgroup_details.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {

class Tree {
 public:
  Tree() { REQUIRE(mkdtemp(path_)); }
  ~Tree() { (void)remove_tree(path_); }
  std::string dir(const std::string& name) const {
    std::string out = std::string(path_) + "/" + name;
    REQUIRE(make_dirs(out));
    return out;
  }

 private:
  char path_[32] = "/tmp/caisson-cgroup-XXXXXX";
};

// Plain files keep what was behind a shorter value, so every test starts its files empty.
void put(const std::string& dir, const std::string& file, const std::string& value = "") {
  REQUIRE(write_file(dir + "/" + file, value));
}
std::string get(const std::string& dir, const std::string& file) {
  return read_file(dir + "/" + file).value_or("absent");
}

struct V1 {
  Tree tree;
  CgroupPaths paths;
  std::string memory = add("memory"), cpu = add("cpu");
  std::string add(const char* controller) {
    paths.dirs.push_back(tree.dir(controller));
    paths.controllers.push_back({controller});
    return paths.dirs.back();
  }
};

struct V2 {
  Tree tree;
  CgroupPaths paths{.v2 = true, .dirs = {tree.dir("group")}, .controllers = {{"cpu", "memory"}}};
  const std::string& dir = paths.dirs.front();
};

}  // namespace

TEST_CASE("v1: memory and swap in the order that the kernel takes") {
  V1 v1;
  CgroupLimits limits;
  limits.memory = 100;
  limits.memory_swap = 200;
  // The swap file is missing: which of both was written first shows in whether the other one was.
  put(v1.memory, "memory.limit_in_bytes", "500");
  CHECK_FALSE(apply_cgroup_limits(v1.paths, limits));
  CHECK(get(v1.memory, "memory.limit_in_bytes") == "100");  // shrinking: memory first
  put(v1.memory, "memory.limit_in_bytes", "150");
  CHECK_FALSE(apply_cgroup_limits(v1.paths, limits));
  CHECK(get(v1.memory, "memory.limit_in_bytes") == "150");  // growing: swap first
  put(v1.memory, "memory.memsw.limit_in_bytes");
  CHECK(apply_cgroup_limits(v1.paths, limits));
  CHECK(get(v1.memory, "memory.memsw.limit_in_bytes") == "200");
  put(v1.memory, "memory.memsw.limit_in_bytes");
  put(v1.memory, "memory.limit_in_bytes");
  CgroupLimits open;
  open.memory = -1;
  CHECK(update_cgroup_limits(v1.paths, open));
  CHECK(get(v1.memory, "memory.memsw.limit_in_bytes") == "-1");
}

TEST_CASE("v1: files of the other controllers") {
  V1 v1;
  auto blkio = v1.add("blkio"), hugetlb = v1.add("hugetlb"), net_cls = v1.add("net_cls"), net_prio = v1.add("net_prio"),
       rdma = v1.add("rdma");
  for (auto file : {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.idle"})
    put(v1.cpu, file);
  for (auto file : {"blkio.weight", "blkio.leaf_weight", "blkio.leaf_weight_device", "blkio.throttle.read_bps_device"})
    put(blkio, file);
  put(hugetlb, "hugetlb.2MB.limit_in_bytes");
  put(net_cls, "net_cls.classid");
  put(net_prio, "net_prio.ifpriomap");
  put(rdma, "rdma.max");
  CgroupLimits limits;
  limits.cpu_shares = 512;
  limits.cpu_quota = 5000;
  limits.cpu_period = 10000;
  limits.cpu_burst = 1000;
  limits.cpu_idle = 1;
  limits.blkio_weight = 300;
  limits.blkio_leaf_weight = 200;
  limits.blkio_leaf_weight_devices = {{8, 0, 100}};
  limits.read_bps = {{8, 16, 4096}};
  limits.huge_pages = {{"2MB", 4 << 20}};
  limits.net_class_id = 0x100001;
  limits.net_priorities = {{"lo", 5}};
  limits.rdma = {{"mlx5_1", 3, 10000}};
  auto done = apply_cgroup_limits(v1.paths, limits);
  if (!done) FAIL(done.error().message);
  CHECK(get(v1.cpu, "cpu.shares") == "512");
  CHECK(get(v1.cpu, "cpu.cfs_quota_us") == "5000");
  CHECK(get(v1.cpu, "cpu.cfs_period_us") == "10000");
  CHECK(get(v1.cpu, "cpu.cfs_burst_us") == "1000");
  CHECK(get(v1.cpu, "cpu.idle") == "1");
  CHECK(get(blkio, "blkio.weight") == "300");
  CHECK(get(blkio, "blkio.leaf_weight") == "200");
  CHECK(get(blkio, "blkio.leaf_weight_device") == "8:0 100");
  CHECK(get(blkio, "blkio.throttle.read_bps_device") == "8:16 4096");
  CHECK(get(hugetlb, "hugetlb.2MB.limit_in_bytes") == "4194304");
  CHECK(get(net_cls, "net_cls.classid") == "1048577");
  CHECK(get(net_prio, "net_prio.ifpriomap") == "lo 5");
  CHECK(get(rdma, "rdma.max") == "mlx5_1 hca_handle=3 hca_object=10000");
}

TEST_CASE("v1: what is refused, and how") {
  V1 v1;
  put(v1.memory, "memory.limit_in_bytes");
  CgroupLimits limits;
  auto says = [&] {
    auto done = apply_cgroup_limits(v1.paths, limits);
    return done ? std::string("nothing") : done.error().message;
  };
  limits.memory = 100;
  limits.unified = {{"memory.high", "1"}};
  CHECK(says() == "invalid configuration: cannot use unified on cgroup v1");
  CHECK(get(v1.memory, "memory.limit_in_bytes") == "");  // before anything is written
  limits = {};
  limits.cpu_shares = 262145;
  CHECK(says() == "the maximum allowed cpu-shares is 262144");
  limits.cpu_shares = 1;
  CHECK(says() == "the minimum allowed cpu-shares is 2");
  limits = {};
  limits.pids = 5;
  CHECK(says() == "pids limit: this host has no 'pids' cgroup");
  v1.paths.left_out = {"pids"};
  CHECK(says() == "cannot set pids limit: container could not join or create cgroup 'pids'");
  limits = {};
  limits.devices = {{true, 'a', -1, -1, true, true, true}};
  CHECK(says() == "device rules: this host has no 'devices' cgroup");
  CHECK(apply_cgroup_limits(v1.paths, limits, {.rootless = true}));
}

TEST_CASE("a limit below the usage is refused when asked to look") {
  V1 v1;
  V2 v2;
  put(v1.memory, "memory.usage_in_bytes", "4096");
  put(v1.memory, "memory.limit_in_bytes");
  put(v2.dir, "memory.current", "4096\n");
  put(v2.dir, "memory.max");
  CgroupLimits limits;
  limits.memory = 4096;
  limits.memory_check_before_update = true;
  for (auto* paths : {&v1.paths, &v2.paths}) {
    auto done = update_cgroup_limits(*paths, limits);
    REQUIRE_FALSE(done);
    CHECK(done.error().kind == ErrorKind::kConflict);
    CHECK(done.error().message == "rejecting memory limit 4096 <= usage 4096");
  }
  CHECK(get(v2.dir, "memory.max") == "");
  limits.memory_check_before_update = false;
  CHECK(update_cgroup_limits(v2.paths, limits));
  CHECK(get(v2.dir, "memory.max") == "4096");
}

TEST_CASE("v2: memory with swap, memory without, swap without") {
  V2 v2;
  CgroupLimits limits;
  auto swap = [&](std::optional<int64_t> memory, std::optional<int64_t> both, bool update) {
    put(v2.dir, "memory.swap.max");
    put(v2.dir, "memory.max", update ? "100\n" : "");
    limits.memory = memory;
    limits.memory_swap = both;
    auto done = update ? update_cgroup_limits(v2.paths, limits) : apply_cgroup_limits(v2.paths, limits);
    return done ? get(v2.dir, "memory.swap.max") : done.error().message;
  };
  CHECK(swap(100, 300, false) == "200");
  CHECK(swap(100, 100, false) == "0");
  CHECK(swap(100, -1, false) == "max");
  CHECK(swap(100, std::nullopt, false) == "");
  CHECK(swap(-1, std::nullopt, false) == "max");
  CHECK(swap(-1, 300, false) == "300");
  CHECK(swap(100, 50, false) == "memory+swap limit should be >= memory limit");
  CHECK(swap(std::nullopt, 300, false) == "unable to set swap limit without memory limit");
  CHECK(swap(std::nullopt, 300, true) == "200");  // memory.max is read
  CHECK(swap(std::nullopt, 50, true) == "memory+swap limit should be >= memory limit");
  // A kernel without swap accounting: "none" and "any" need no file, a number does.
  REQUIRE(remove_file(v2.dir + "/memory.swap.max"));
  limits.memory = 100;
  for (auto [both, fine] : {std::pair{100, true}, {-1, true}, {300, false}}) {
    limits.memory_swap = both;
    CHECK(apply_cgroup_limits(v2.paths, limits).has_value() == fine);
  }
}

TEST_CASE("v2: quota and period are one file") {
  V2 v2;
  auto written = [&](std::optional<int64_t> quota, std::optional<uint64_t> period) {
    put(v2.dir, "cpu.max", "5000 20000\n");
    CgroupLimits limits;
    limits.cpu_quota = quota;
    limits.cpu_period = period;
    REQUIRE(update_cgroup_limits(v2.paths, limits));
    // The file's tail is a regular file's: cgroupfs has none.
    auto text = get(v2.dir, "cpu.max");
    return text.substr(0, text.find('\n'));
  };
  CHECK(written(9999, 50000) == "9999 50000");
  CHECK(written(std::nullopt, 50000) == "5000 50000");
  CHECK(written(-1, 500000) == "max 500000");
  CHECK(written(7000, std::nullopt).starts_with("7000"));
}

TEST_CASE("limits with what they stand beside") {
  V2 v2;
  put(v2.dir, "cpu.max", "max 50000\n");
  put(v2.dir, "memory.max", "4096\n");
  CgroupLimits limits;
  limits.cpu_quota = 30000;
  limits.memory_swap = 8192;
  auto complete = complete_cgroup_limits(v2.paths, limits);
  CHECK(complete.cpu_period == 50000);
  CHECK(complete.memory == 4096);
  limits = {};
  limits.cpu_period = 20000;
  CHECK(complete_cgroup_limits(v2.paths, limits).cpu_quota == -1);
  V1 v1;
  put(v1.cpu, "cpu.cfs_quota_us", "7000\n");
  put(v1.cpu, "cpu.cfs_period_us", "10000\n");
  CHECK(complete_cgroup_limits(v1.paths, limits).cpu_quota == 7000);
  CHECK(complete_cgroup_limits(v1.paths, {}) == CgroupLimits{});
}

TEST_CASE("v2: unified settings") {
  V2 v2;
  put(v2.dir, "memory.high");
  put(v2.dir, "io.max");
  put(v2.dir, "cgroup.controllers", "cpu memory\n");
  CgroupLimits limits;
  auto says = [&](const char* name, const char* value) {
    limits.unified = {{name, value}};
    auto done = apply_cgroup_limits(v2.paths, limits);
    return done ? std::string("done") : done.error().message;
  };
  CHECK(says("memory.high", "4096") == "done");
  CHECK(get(v2.dir, "memory.high") == "4096");
  CHECK(says("../x.y", "1").find("must be a file name (no slashes)") != std::string::npos);
  CHECK(says("nodot", "1").find("must be in the form CONTROLLER.PARAMETER") != std::string::npos);
  CHECK(says("pids.max", "1").find("controller 'pids' not available") != std::string::npos);
  CHECK(says("memory.nonsense", "1").find("unable to set unified resource 'memory.nonsense'") == 0);
  for (auto file : {"memory.nonsense", "nodot"}) CHECK_FALSE(path_exists(v2.dir + "/" + file));
}

TEST_CASE("weights on v2's scales") {
  CHECK(cpu_weight_of_shares(0) == 1);
  CHECK(cpu_weight_of_shares(2) == 1);
  CHECK(cpu_weight_of_shares(1024) == 39);
  CHECK(cpu_weight_of_shares(262144) == 10000);
  CHECK(cpu_weight_of_shares(UINT64_MAX) == 10000);
  CHECK(io_weight_of_blkio(10) == 1);
  CHECK(io_weight_of_blkio(1000) == 10000);
}

TEST_CASE("a group that is there: refused, taken over, joined") {
  Tree tree;
  CgroupSystem system;
  system.hierarchies = {{tree.dir("pids"), {"pids"}, "/", "/"}, {tree.dir("memory"), {"memory"}, "/", "/"}};
  using IfThere = CgroupCreation::IfThere;
  REQUIRE(create_cgroup(system, "/box/one"));
  auto again = create_cgroup(system, "/box/one");
  REQUIRE_FALSE(again);
  CHECK(again.error().kind == ErrorKind::kExists);
  auto dir = tree.dir("pids/box/one");
  put(dir, "cgroup.procs");
  CHECK(create_cgroup(system, "/box/one", {IfThere::kUseEmpty}));
  put(dir, "cgroup.procs", "1\n2\n");
  auto used = create_cgroup(system, "/box/one", {IfThere::kUseEmpty});
  REQUIRE_FALSE(used);
  CHECK(used.error().kind == ErrorKind::kConflict);
  CHECK(used.error().message == "container's cgroup is not empty: 2 process(es) found");
  CHECK(create_cgroup(system, "/box/one", {IfThere::kJoin}));
  CHECK(path_exists(dir));  // what was there stays on every error
  system.v2 = true;
  system.hierarchies.pop_back();
  put(dir, "cgroup.procs");
  put(dir, "cgroup.freeze", "1\n");
  auto frozen = create_cgroup(system, "/box/one", {IfThere::kUseEmpty});
  REQUIRE_FALSE(frozen);
  CHECK(frozen.error().message == "container's cgroup unexpectedly frozen");
}

TEST_CASE("v2 controllers are enabled on the way down, only where they are not") {
  Tree tree;
  CgroupSystem system{.v2 = true, .hierarchies = {{tree.dir("top"), {"cpu", "memory"}, "/", "/"}}};
  put(tree.dir("top"), "cgroup.subtree_control", "cpu memory\n");
  put(tree.dir("top/box"), "cgroup.subtree_control", "cpu\n");
  REQUIRE(create_cgroup(system, "/box/one"));
  CHECK(get(tree.dir("top"), "cgroup.subtree_control") == "cpu memory\n");
  CHECK(get(tree.dir("top/box"), "cgroup.subtree_control").starts_with("+memory"));
}

TEST_CASE("hierarchies that may not be written to are left out on request") {
  if (geteuid() == 0) return;  // root may write everywhere
  Tree tree;
  CgroupSystem system;
  system.hierarchies = {{tree.dir("pids"), {"pids"}, "/", "/"}, {tree.dir("memory"), {"memory"}, "/", "/"}};
  REQUIRE(chmod(tree.dir("memory").c_str(), 0555) == 0);
  CHECK_FALSE(create_cgroup(system, "/one"));
  CHECK_FALSE(path_exists(tree.dir("pids") + "/one"));
  auto made = create_cgroup(system, "/one", {.leave_out_denied = true});
  REQUIRE(made);
  CHECK(made->dirs.size() == 1);
  CHECK(made->left_out == std::vector<std::string>{"memory"});
}

TEST_CASE("relative paths and mounts of parts") {
  const char* mountinfo =
      "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
      "33 31 0:30 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "34 31 0:31 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
  auto v1 = parse_cgroup_system(mountinfo, "", "3:pids:/elsewhere\n2:memory:/docker/abc/inner\n1:cpu:/user\n");
  REQUIRE(v1.hierarchies.size() == 3);
  CHECK(v1.hierarchies[0].own == "/user");
  CHECK(v1.hierarchies[1].root == "/docker/abc");
  CHECK(v1.hierarchies[1].own == "/inner");
  CHECK(v1.hierarchies[2].own.empty());
  CHECK(cgroup_paths(v1, "box/one").dirs == std::vector<std::string>{"/sys/fs/cgroup/cpu/user/box/one",
                                                                     "/sys/fs/cgroup/memory/inner/box/one",
                                                                     "/sys/fs/cgroup/pids/box/one"});
  CHECK(cgroup_paths(v1, "/box").dirs.at(1) == "/sys/fs/cgroup/memory/box");
  auto v2 =
      parse_cgroup_system("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "cpu", "0::/user.slice/run.scope\n");
  CHECK(cgroup_paths(v2, "one").dirs.at(0) == "/sys/fs/cgroup/user.slice/one");
  v2 = parse_cgroup_system("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "cpu", "0::/\n");
  CHECK(cgroup_paths(v2, "one").dirs.at(0) == "/sys/fs/cgroup/one");
  CHECK(detail::below_root("/../x", "/") == "");
  CHECK(detail::below_root("/docker/abcd", "/docker/abc") == "");
  CHECK(detail::below_root("/docker/abc", "/docker/abc") == "/");
}

TEST_CASE("lists of processors and pressure") {
  CHECK(*parse_cpu_list("0-2,7\n") == std::vector<uint16_t>{0, 1, 2, 7});
  CHECK(parse_cpu_list("")->empty());
  for (auto bad : {"1-", "3-1", "a", "0-70000", "1,,2"}) CHECK_FALSE(parse_cpu_list(bad));
  auto pressure = parse_pressure(
      "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n");
  REQUIRE(pressure);
  CHECK(pressure->some.avg10 == 1.5);
  CHECK(pressure->some.total_us == 123);
  CHECK(pressure->full.total_us == 4);
  CHECK_FALSE(parse_pressure("nonsense"));
}

TEST_CASE("details of a v2 group") {
  V2 v2;
  put(v2.dir, "memory.current", "1000\n");
  put(v2.dir, "memory.max", "max\n");
  put(v2.dir, "memory.swap.current", "24\n");
  put(v2.dir, "memory.swap.max", "4096\n");
  put(v2.dir, "memory.stat", "anon 1\nfile 600\n");
  put(v2.dir, "io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n");
  put(v2.dir, "hugetlb.2MB.max", "4194304\n");
  put(v2.dir, "hugetlb.2MB.current", "2097152\n");
  put(v2.dir, "hugetlb.2MB.rsvd.max", "4194304\n");
  auto details = read_cgroup_details(v2.paths);
  REQUIRE(details);
  CHECK(details->memory.usage == 1000);
  CHECK(details->memory.limit == UINT64_MAX);
  CHECK(details->swap.usage == 1024);
  CHECK(details->swap.limit == UINT64_MAX);
  CHECK(details->memory_cache == 600);
  CHECK(details->block["io_service_bytes"].at(1).value == 2);
  CHECK(details->block["io_serviced"].at(0).operation == "Read");
  REQUIRE(details->huge_pages.size() == 1);
  CHECK(details->huge_pages["2MB"].usage == 2097152);
}

TEST_CASE("details of a v1 group") {
  V1 v1;
  auto blkio = v1.add("blkio"), cpuset = v1.add("cpuset"), cpuacct = v1.add("cpuacct");
  put(v1.memory, "memory.kmem.usage_in_bytes", "77\n");
  put(v1.memory, "memory.memsw.limit_in_bytes", "99\n");
  put(v1.memory, "memory.use_hierarchy", "1\n");
  put(blkio, "blkio.throttle.io_service_bytes_recursive", "8:0 Read 10\n8:0 Write 0\n8:0 Total 10\nTotal 10\n");
  put(cpuset, "cpuset.cpus", "0-1\n");
  put(cpuset, "cpuset.mem_hardwall", "0\n");
  put(cpuacct, "cpuacct.usage_all", "cpu user system\n0 5 6\n1 7 8\n");
  auto details = read_cgroup_details(v1.paths);
  REQUIRE(details);
  CHECK(details->kernel.usage == 77);
  CHECK(details->swap.limit == 99);
  CHECK(details->memory_hierarchy);
  CHECK(details->block["io_service_bytes"].size() == 3);
  CHECK(details->cpus == std::vector<uint16_t>{0, 1});
  CHECK(details->cpuset_flags.at("mem_hardwall") == 0);
  CHECK(details->per_cpu_user_ns == std::vector<uint64_t>{5, 7});
  CHECK(details->per_cpu_kernel_ns == std::vector<uint64_t>{6, 8});
}

}  // namespace caisson::sys
