// SPDX-License-Identifier: Apache-2.0
#include "engine/update.h"

#include <doctest/doctest.h>

#include "engine/stats.h"

using namespace caisson;
using namespace caisson::engine;

namespace {
std::string refusal(spec::HostConfig host, const spec::HostConfig& change) {
  HostFacts facts;
  facts.cpus = 4;
  auto merged = merge_update(host, change, facts);
  return merged ? "" : std::string(error_kind_name(merged.error().kind)) + ": " + merged.error().message;
}
}  // namespace

TEST_CASE("update: what the request names is taken, all else stays") {
  spec::HostConfig host, change;
  host.memory = 64 << 20;
  host.memory_swap = 128 << 20;
  host.cpu_shares = 100;
  change.memory = 96 << 20;
  change.pids_limit = 50;
  change.restart_policy = {"on-failure", 3};
  HostFacts facts;
  facts.cpus = 4;
  REQUIRE(merge_update(host, change, facts));
  CHECK(host.memory == 96 << 20);
  CHECK(host.memory_swap == 128 << 20);
  CHECK(host.cpu_shares == 100);
  CHECK(host.pids_limit == 50);
  CHECK(host.restart_policy.name == "on-failure");
  auto limits = limits_of_update(change);
  CHECK(limits.memory == 96 << 20);
  CHECK(!limits.memory_swap);
  CHECK(limits.pids == 50);
  CHECK(!limits.cpu_shares);
}

TEST_CASE("update: limits of single devices") {
  auto host = *json::decode<spec::HostConfig>(R"({"BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1}]})");
  auto change = *json::decode<spec::HostConfig>(
      R"({"BlkioDeviceReadBps": [{"Path": "/dev/b", "Rate": 2}], "BlkioWeightDevice": [{"Path": "/dev/b", "Weight": 20}]})");
  REQUIRE(merge_update(host, change, {}));
  REQUIRE(host.blkio_device_read_bps.size() == 1);
  CHECK(host.blkio_device_read_bps[0].path == "/dev/b");
  CHECK(host.blkio_weight_device.size() == 1);
  spec::OciBlockIo devices;
  devices.weight_device.push_back({8, 1, 20, {}});
  devices.throttle_read_bps_device.push_back({8, 0, 2});
  devices.throttle_write_iops_device.push_back({8, 0, 3});
  auto limits = limits_of_update(change, devices);
  CHECK(limits.blkio_weight_devices == std::vector<sys::BlockThrottle>{{8, 1, 20}});
  CHECK(limits.read_bps == std::vector<sys::BlockThrottle>{{8, 0, 2}});
  CHECK(limits.write_iops == std::vector<sys::BlockThrottle>{{8, 0, 3}});
  CHECK(limits.write_bps.empty());
}

TEST_CASE("update: limits that cannot be") {
  spec::HostConfig host, change;
  change.memory = 64 << 20;
  CHECK(refusal(host, change) ==
        "conflict: Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same "
        "time");
  host.memory_swap = -1;
  CHECK(refusal(host, change).empty());
  change.memory = 1 << 20;
  CHECK(refusal(host, change) == "invalid: Minimum memory limit allowed is 6MB");
  change = {};
  change.nano_cpus = 500000000;
  host.cpu_quota = 5000;
  CHECK(refusal(host, change) ==
        "conflict: Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set");
  change = {};
  host = {};
  host.nano_cpus = 500000000;
  change.cpu_period = 50000;
  CHECK(refusal(host, change) ==
        "conflict: Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
  change = {};
  change.restart_policy = {"sometimes", 0};
  CHECK(refusal(host, change).starts_with("invalid: invalid restart policy: unknown policy 'sometimes'"));
  change.restart_policy = {"always", 0};
  host.auto_remove = true;
  CHECK(refusal(host, change) ==
        "conflict: Restart policy cannot be updated because AutoRemove is enabled for the container");
  change = {};
  change.blkio_weight = 5;
  CHECK(refusal({}, change) == "invalid: range of blkio weight is from 10 to 1000");
}

TEST_CASE("stats: interfaces and the host's CPU time") {
  auto interfaces = parse_net_dev(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier "
      "compressed\n"
      "    lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0 "
      "         0\n"
      "  eth0:    1118      13    1    2    0     0          0         0      746       9    3    4    0     0       0 "
      "         0\n");
  REQUIRE(interfaces.size() == 1);
  CHECK(interfaces["eth0"].rx_bytes == 1118);
  CHECK(interfaces["eth0"].rx_dropped == 2);
  CHECK(interfaces["eth0"].tx_packets == 9);
  CHECK(interfaces["eth0"].tx_errors == 3);
  auto host =
      parse_proc_stat("cpu  1 2 3 4 5 6 7 100 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 5\n");
  CHECK(host.total_ns == 28 * 10'000'000);
  CHECK(host.online == 2);
}

TEST_CASE("stats: a stopped container has Docker's zeros") {
  ContainerRecord record;
  record.name = "web";
  record.id = "abc";
  CHECK(
      json::encode(sample_stats(record, {})) ==
      R"({"name":"/web","id":"abc","read":"0001-01-01T00:00:00Z","preread":"0001-01-01T00:00:00Z","pids_stats":{},)"
      R"("blkio_stats":{"io_service_bytes_recursive":[],"io_serviced_recursive":null,"io_queue_recursive":null,)"
      R"("io_service_time_recursive":null,"io_wait_time_recursive":null,"io_merged_recursive":null,"io_time_recursive":null,"sectors_recursive":null},)"
      R"("num_procs":0,"storage_stats":{},"cpu_stats":{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},)"
      R"("throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},"precpu_stats":{"cpu_usage":{"total_usage":0,)"
      R"("usage_in_kernelmode":0,"usage_in_usermode":0},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},"memory_stats":{}})");
}
