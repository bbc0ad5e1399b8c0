// SPDX-License-Identifier: Apache-2.0
// Names of units, properties of limits and annotations, and the program on the other end of the pipes,
// played by a shell script.
#include "sys/systemd_cgroup.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "sys/files.h"

namespace caisson::sys {

TEST_CASE("cgroupsPath of the systemd driver") {
  auto unit = [](const char* path, bool rootless = false) { return systemd_unit_of(path, "id", rootless); };
  CHECK(*unit("machine.slice:libpod:abc") == SystemdUnit{"machine.slice", "libpod-abc.scope"});
  CHECK(*unit("") == SystemdUnit{"system.slice", "caisson-id.scope"});
  CHECK(*unit("", true) == SystemdUnit{"user.slice", "caisson-id.scope"});
  CHECK(*unit(":docker:abc") == SystemdUnit{"system.slice", "docker-abc.scope"});
  CHECK(*unit("a.slice::pod7.slice") == SystemdUnit{"a.slice", "pod7.slice"});
  CHECK(unit("a.slice::pod7.slice")->is_slice());
  auto wrong = unit("/not/this");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message ==
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got '/not/this' instead");
  for (auto bad :
       {"a:b", "a.slice:b:c:d", "nothing:b:c", "a.slice:b:", "a.slice:b:c/../d", "a--b.slice:x:y", "-.slice:b:x y"})
    CHECK_FALSE(unit(bad));
}

TEST_CASE("where slices lie") {
  CHECK(*slice_path("system.slice") == "/system.slice");
  CHECK(*slice_path("a-b-c.slice") == "/a.slice/a-b.slice/a-b-c.slice");
  CHECK(*slice_path("-.slice") == "/");
  for (auto bad : {"", ".slice", "x", "a--b.slice", "-a.slice", "a-.slice", "a/b.slice", "a b.slice"})
    CHECK_FALSE(slice_path(bad));
}

TEST_CASE("annotations become properties") {
  using Values = std::vector<std::string>;
  auto of = [](const char* name, const char* text) { return systemd_property_of(name, text); };
  CHECK(*of("CollectMode", "'inactive-or-failed'") == SystemdProperty{"CollectMode", "s", {"inactive-or-failed"}});
  CHECK(*of("KillMode", "\"a\\\"b\"") == SystemdProperty{"KillMode", "s", {"a\"b"}});
  CHECK(*of("SendSIGHUP", "true") == SystemdProperty{"SendSIGHUP", "b", {"1"}});
  CHECK(*of("TimeoutStopUSec", "uint64 123000000") == SystemdProperty{"TimeoutStopUSec", "t", {"123000000"}});
  CHECK(*of("CPUWeight", "@t 5") == SystemdProperty{"CPUWeight", "t", {"5"}});
  CHECK(*of("Number", "-7") == SystemdProperty{"Number", "i", {"-7"}});
  CHECK(*of("After", "['a.service', 'b.service']") == SystemdProperty{"After", "as", {"a.service", "b.service"}});
  CHECK(*of("AllowedCPUs", "[byte 1, 2]") == SystemdProperty{"AllowedCPUs", "ay", {"1", "2"}});
  CHECK(*of("Before", "@as []") == SystemdProperty{"Before", "as", Values{}});
  CHECK(*of("TimeoutStopSec", "uint64 30") == SystemdProperty{"TimeoutStopUSec", "t", {"30000000"}});
  CHECK(*of("TimeoutStopSec", "1.5") == SystemdProperty{"TimeoutStopUSec", "t", {"1500000"}});
  // "Sec" behind an upper case letter is no unit of time.
  CHECK(of("ISec", "'x'")->name == "ISec");
  for (auto bad : {"", "'x", "[1, 'a']", "[]", "byte 256", "uint32 -1", "true false", "(1, 2)", "@z 1", "1 2",
                   "nonsense", "'a' 'b'", "[1"})
    CHECK_FALSE(of("Name", bad));
  for (auto bad : {"ab", "Na me", "Name1", ""}) CHECK_FALSE(of(bad, "true"));
  CHECK_FALSE(of("TimeoutSec", "'x'"));
  CHECK_FALSE(of("TimeoutSec", "-1"));
}

TEST_CASE("limits become properties") {
  auto value = [](const CgroupLimits& limits, const char* name, bool v2 = true) {
    auto all = systemd_properties_of(limits, v2);
    if (!all) return all.error().message;
    std::string out = "absent";
    for (const auto& property : *all)
      if (property.name == name) {
        out = property.signature;
        for (const auto& text : property.values) out += " " + text;
      }
    return out;
  };
  CgroupLimits limits;
  limits.memory = 64 << 20;
  limits.memory_swap = 96 << 20;
  limits.cpu_shares = 512;
  limits.cpu_quota = 20500;
  limits.cpu_period = 100000;
  limits.pids = -1;
  limits.cpuset_cpus = "0-2,9";
  limits.blkio_weight = 10;
  CHECK(value(limits, "MemoryMax") == "t 67108864");
  CHECK(value(limits, "MemorySwapMax") == "t 33554432");
  CHECK(value(limits, "CPUWeight") == "t 20");
  CHECK(value(limits, "CPUQuotaPeriodUSec") == "t 100000");
  CHECK(value(limits, "CPUQuotaPerSecUSec") == "t 210000");  // up to a whole percent
  CHECK(value(limits, "TasksMax") == "t 18446744073709551615");
  CHECK(value(limits, "AllowedCPUs") == "ay 7 2");
  CHECK(value(limits, "IOWeight") == "t 1");
  CHECK(value(limits, "MemoryLimit", false) == "t 67108864");
  CHECK(value(limits, "CPUShares", false) == "t 512");
  CHECK(value(limits, "MemoryMax", false) == "absent");
  limits.cpu_idle = 1;
  CHECK(value(limits, "CPUWeight") == "t 0");
  limits.unified = {{"memory.high", "max"}, {"cpu.max", "10000 20000"}, {"pids.max", "7"}};
  CHECK(value(limits, "MemoryHigh") == "t 18446744073709551615");
  CHECK(value(limits, "CPUQuotaPerSecUSec") == "t 500000");
  limits.unified = {{"memory.max", "lots"}};
  CHECK(value(limits, "x") == "unified resource 'memory.max' value invalid: 'lots'");
  limits.unified = {};
  limits.memory_swap = 1;
  CHECK(value(limits, "x") == "memory+swap limit should be >= memory limit");
}

TEST_CASE("the request and what comes back") {
  CHECK(encode_systemd_properties({{"A", "as", {"x", ""}}}) == std::string("1\0A\0as\0"
                                                                           "2\0x\0\0",
                                                                           12));
  char dir[] = "/tmp/caisson-systemd-XXXXXX";
  REQUIRE(mkdtemp(dir));
  std::string program = std::string(dir) + "/program";
  auto play = [&](const std::string& script) {
    REQUIRE(write_file(program, "#!/bin/sh\n" + script + "\n"));
    REQUIRE(chmod(program.c_str(), 0755) == 0);
  };
  SystemdManager manager{program, false};
  SystemdScope scope;
  scope.unit = {"system.slice", "box-x.scope"};
  scope.pid = 1;

  play("echo \"$*\" >" + std::string(dir) + "/args; echo cgroup=/system.slice/box-x.scope");
  auto started = start_systemd_unit(manager, scope);
  if (!started) FAIL(started.error().message);
  CHECK(started->cgroup == "/system.slice/box-x.scope");
  CHECK(*read_file(std::string(dir) + "/args") == "start-unit box-x.scope\n");

  manager.user = true;
  scope.pid = 0;
  play("cd " + std::string(dir) +
       "; trap 'touch left; exit 0' TERM; echo \"$*\" >args; dd bs=65536 count=1 of=request 2>dd; "
       "echo cgroup=/x; exec >&-; while read line; do :; done; touch left");
  started = start_systemd_unit(manager, scope);
  REQUIRE(started);
  CHECK(*read_file(std::string(dir) + "/args") == "--user start-unit --hold box-x.scope\n");
  CHECK_FALSE(path_exists(std::string(dir) + "/left"));
  started->holder.release();
  CHECK(path_exists(std::string(dir) + "/left"));
  auto request = *read_file(std::string(dir) + "/request");
  CHECK(request.find(std::string("Slice\0s\0"
                                 "1\0system.slice\0",
                                 23)) != std::string::npos);
  CHECK(request.find("PIDs") == std::string::npos);

  play("echo 'start unit: it is there' >&2; exit 3");
  started = start_systemd_unit(manager, scope);
  REQUIRE_FALSE(started);
  CHECK(started.error().kind == ErrorKind::kExists);
  CHECK(started.error().message == "systemd: start unit: it is there");
  play("exit 4");
  auto stopped = stop_systemd_unit(manager, "x.scope");
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().kind == ErrorKind::kUnavailable);
  play("echo cgroup=relative");
  CHECK_FALSE(start_systemd_unit(manager, scope));
  REQUIRE(remove_tree(dir));
  auto none = stop_systemd_unit(manager, "x.scope");
  REQUIRE_FALSE(none);
  CHECK(none.error().kind == ErrorKind::kUnavailable);
}

}  // namespace caisson::sys
