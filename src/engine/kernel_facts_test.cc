// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel_facts.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::engine;

TEST_CASE("kernel facts: lists of numbers") {
  CHECK(*parse_number_list("0-3,8") == std::vector<int>{0, 1, 2, 3, 8});
  CHECK(*parse_number_list("5") == std::vector<int>{5});
  for (const char* bad : {"", "a", "1-", "3-1", "0-99999", "1,,2", "-1"}) {
    CAPTURE(bad);
    CHECK(parse_number_list(bad).error().kind == ErrorKind::kInvalid);
  }
}

TEST_CASE("kernel facts: a kernel that can do everything says nothing") {
  auto host = *json::decode<spec::HostConfig>(
      R"({"Memory": 9999999, "MemorySwappiness": 5, "OomKillDisable": true, "CpuShares": 5, "CpusetCpus": "0-1",
          "CpuRealtimeRuntime": 5, "BlkioWeight": 10, "BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1}]})");
  std::vector<std::string> warnings;
  REQUIRE(fit_to_kernel(host, {}, warnings));
  CHECK(warnings.empty());
  CHECK(host.memory_swappiness == 5);
  CHECK(host.blkio_weight == 10);
}

TEST_CASE("kernel facts: what cannot be set is told and taken out") {
  KernelFacts none;
  none.swap_limit = none.swappiness = none.oom_kill_disable = none.cpu_quota = none.block_weight =
      none.block_weight_device = none.block_throttle = false;
  auto host = *json::decode<spec::HostConfig>(
      R"({"Memory": 9999999, "MemorySwappiness": 5, "OomKillDisable": true, "KernelMemory": 7, "CpuQuota": 5000,
          "BlkioWeight": 10, "BlkioWeightDevice": [{"Path": "/dev/a", "Weight": 10}],
          "BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1}], "BlkioDeviceWriteIOps": [{"Path": "/dev/a", "Rate": 1}]})");
  std::vector<std::string> warnings;
  REQUIRE(fit_to_kernel(host, none, warnings));
  CHECK(warnings.size() == 9);
  CHECK(warnings[0] ==
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without "
        "swap.");
  CHECK(host.memory_swap == -1);
  CHECK(!host.memory_swappiness);
  CHECK(!host.oom_kill_disable);
  CHECK(host.kernel_memory == 0);
  CHECK(host.cpu_quota == 0);
  CHECK(host.blkio_weight == 0);
  CHECK(host.blkio_weight_device.empty());
  CHECK(host.blkio_device_read_bps.empty());
  CHECK(host.blkio_device_write_iops.empty());
  // Nobody is told of what nobody asked for.
  warnings.clear();
  spec::HostConfig nothing;
  nothing.oom_kill_disable = false;
  REQUIRE(fit_to_kernel(nothing, none, warnings));
  CHECK(warnings.empty());
}

TEST_CASE("kernel facts: processors, nodes and the real-time scheduler") {
  KernelFacts kernel;
  kernel.cpus = "0-1";
  kernel.memory_nodes = "0";
  kernel.cpu_realtime = false;
  auto refusal = [&](const char* text) {
    auto host = *json::decode<spec::HostConfig>(text);
    std::vector<std::string> warnings;
    auto done = fit_to_kernel(host, kernel, warnings);
    return done ? "" : done.error().message;
  };
  CHECK(refusal(R"({"CpusetCpus": "1", "CpusetMems": "0"})") == "");
  CHECK(refusal(R"({"CpusetCpus": "0-2"})") == "Requested CPUs are not available - requested 0-2, available: 0-1");
  CHECK(refusal(R"({"CpusetMems": "1"})") == "Requested memory nodes are not available - requested 1, available: 0");
  CHECK(refusal(R"({"CpusetCpus": "x"})") == "Invalid value x for cpuset cpus: invalid format: x");
  CHECK(refusal(R"({"CpuRealtimePeriod": 1000})") == "kernel does not support CPU real-time scheduler");
}
