// SPDX-License-Identifier: Apache-2.0
// GET /containers/{id}/stats: one sample. What Docker leaves out of a stopped container's sample is left out
// here too.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "wire/json.h"

namespace caisson::spec {

struct PidsStats {
  uint64_t current = 0, limit = 0;
};
struct BlkioEntry {
  uint64_t major = 0, minor = 0;
  std::string op;
  uint64_t value = 0;
};
struct BlkioStats {
  std::vector<BlkioEntry> service_bytes, serviced, queued, service_time, wait_time, merged, time, sectors;
};
struct CpuUsage {
  uint64_t total = 0;
  std::vector<uint64_t> per_cpu;
  uint64_t kernel = 0, user = 0;
};
struct ThrottlingData {
  uint64_t periods = 0, throttled_periods = 0, throttled_time = 0;
};
struct CpuStats {
  CpuUsage usage;
  uint64_t system_usage = 0;
  uint32_t online_cpus = 0;
  ThrottlingData throttling;
};
struct MemoryStats {
  uint64_t usage = 0, max_usage = 0;
  std::map<std::string, uint64_t> stats;
  uint64_t fail_count = 0, limit = 0;
};
struct NetworkStats {
  uint64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  uint64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
};

struct ContainerStats {
  std::string name, id, read, pre_read;
  PidsStats pids;
  BlkioStats blkio;
  uint32_t num_procs = 0;
  json::Empty storage;
  CpuStats cpu, pre_cpu;
  MemoryStats memory;
  std::map<std::string, NetworkStats> networks;
};

CAISSON_JSON(PidsStats, CAISSON_FIELD_OMIT("current", current), CAISSON_FIELD_OMIT("limit", limit))
CAISSON_JSON(BlkioEntry, CAISSON_FIELD("major", major), CAISSON_FIELD("minor", minor), CAISSON_FIELD("op", op),
             CAISSON_FIELD("value", value))
CAISSON_JSON(BlkioStats, CAISSON_FIELD("io_service_bytes_recursive", service_bytes),
             CAISSON_FIELD_NULL("io_serviced_recursive", serviced), CAISSON_FIELD_NULL("io_queue_recursive", queued),
             CAISSON_FIELD_NULL("io_service_time_recursive", service_time),
             CAISSON_FIELD_NULL("io_wait_time_recursive", wait_time), CAISSON_FIELD_NULL("io_merged_recursive", merged),
             CAISSON_FIELD_NULL("io_time_recursive", time), CAISSON_FIELD_NULL("sectors_recursive", sectors))
CAISSON_JSON(CpuUsage, CAISSON_FIELD("total_usage", total), CAISSON_FIELD_OMIT("percpu_usage", per_cpu),
             CAISSON_FIELD("usage_in_kernelmode", kernel), CAISSON_FIELD("usage_in_usermode", user))
CAISSON_JSON(ThrottlingData, CAISSON_FIELD("periods", periods), CAISSON_FIELD("throttled_periods", throttled_periods),
             CAISSON_FIELD("throttled_time", throttled_time))
CAISSON_JSON(CpuStats, CAISSON_FIELD("cpu_usage", usage), CAISSON_FIELD_OMIT("system_cpu_usage", system_usage),
             CAISSON_FIELD_OMIT("online_cpus", online_cpus), CAISSON_FIELD("throttling_data", throttling))
CAISSON_JSON(MemoryStats, CAISSON_FIELD_OMIT("usage", usage), CAISSON_FIELD_OMIT("max_usage", max_usage),
             CAISSON_FIELD_OMIT("stats", stats), CAISSON_FIELD_OMIT("failcnt", fail_count),
             CAISSON_FIELD_OMIT("limit", limit))
CAISSON_JSON(NetworkStats, CAISSON_FIELD("rx_bytes", rx_bytes), CAISSON_FIELD("rx_packets", rx_packets),
             CAISSON_FIELD("rx_errors", rx_errors), CAISSON_FIELD("rx_dropped", rx_dropped),
             CAISSON_FIELD("tx_bytes", tx_bytes), CAISSON_FIELD("tx_packets", tx_packets),
             CAISSON_FIELD("tx_errors", tx_errors), CAISSON_FIELD("tx_dropped", tx_dropped))
CAISSON_JSON(ContainerStats, CAISSON_FIELD("name", name), CAISSON_FIELD("id", id), CAISSON_FIELD("read", read),
             CAISSON_FIELD("preread", pre_read), CAISSON_FIELD("pids_stats", pids), CAISSON_FIELD("blkio_stats", blkio),
             CAISSON_FIELD("num_procs", num_procs), CAISSON_FIELD("storage_stats", storage),
             CAISSON_FIELD("cpu_stats", cpu), CAISSON_FIELD("precpu_stats", pre_cpu),
             CAISSON_FIELD("memory_stats", memory), CAISSON_FIELD_OMIT("networks", networks))

}  // namespace caisson::spec
