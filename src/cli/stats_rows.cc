// SPDX-License-Identifier: Apache-2.0
#include "cli/stats_rows.h"

#include <time.h>

#include "base/text.h"
#include "cli/containers.h"
#include "cli/units.h"

namespace caisson::cli {

double cpu_percent(const JsonValue& sample) {
  auto of = [&](const char* which, auto... path) { return sample.at(which, path...).as_double(); };
  double used = of("cpu_stats", "cpu_usage", "total_usage") - of("precpu_stats", "cpu_usage", "total_usage");
  double host = of("cpu_stats", "system_cpu_usage") - of("precpu_stats", "system_cpu_usage");
  double cpus = of("cpu_stats", "online_cpus");
  if (cpus == 0) cpus = static_cast<double>(sample.at("cpu_stats", "cpu_usage", "percpu_usage").items().size());
  return used > 0 && host > 0 ? used / host * cpus * 100 : 0;
}

double used_memory(const JsonValue& sample) {
  const JsonValue& memory = sample.at("memory_stats");
  double usage = memory.at("usage").as_double();
  for (const char* name : {"total_inactive_file", "inactive_file"}) {
    const JsonValue& cache = memory.at("stats", name);
    if (cache.is_number() && cache.as_double() < usage) return usage - cache.as_double();
  }
  return usage;
}

JsonValue stats_row(const JsonValue& sample, const std::string& name, bool truncate) {
  double used = used_memory(sample), limit = sample.at("memory_stats", "limit").as_double();
  double read = 0, written = 0, received = 0, sent = 0;
  for (const JsonValue& entry : sample.at("blkio_stats", "io_service_bytes_recursive").items()) {
    const std::string& op = entry.at("op").text();
    if (op.starts_with('r') || op.starts_with('R')) read += entry.at("value").as_double();
    if (op.starts_with('w') || op.starts_with('W')) written += entry.at("value").as_double();
  }
  for (const auto& [interface, counters] : sample.at("networks").members()) {
    received += counters.at("rx_bytes").as_double();
    sent += counters.at("tx_bytes").as_double();
  }
  std::string shown = sample.at("name").text();
  JsonValue row = JsonValue::object();
  row.set("BlockIO", human_size(read, 3) + " / " + human_size(written, 3));
  row.set("CPUPerc", format("%.2f%%", cpu_percent(sample)));
  row.set("Container", name);
  row.set("ID", truncate ? short_id(sample.at("id").text()) : sample.at("id").text());
  row.set("MemPerc", format("%.2f%%", limit > 0 ? used / limit * 100 : 0));
  row.set("MemUsage", human_size_binary(used) + " / " + human_size_binary(limit));
  row.set("Name", shown.starts_with('/') ? shown.substr(1) : shown);
  row.set("NetIO", human_size(received, 3) + " / " + human_size(sent, 3));
  row.set("PIDs", std::to_string(sample.at("pids_stats", "current").as_int()));
  return row;
}

void wait_a_second() {
  timespec second{1, 0};
  nanosleep(&second, nullptr);
}

}  // namespace caisson::cli
