// SPDX-License-Identifier: Apache-2.0
#include "api/metrics.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::api;

TEST_CASE("metrics of containers") {
  CHECK(container_metrics({}).empty());
  ContainerFigures web{.id = "ab", .name = "web", .image = "a\"b\\c\nd", .stats = {}};
  web.stats.cpu.usage.total = 1'500'000'000;
  web.stats.memory.usage = 7;
  web.stats.networks["eth0"].rx_bytes = 3;
  web.stats.networks["eth1"].rx_bytes = 4;
  web.stats.blkio.service_bytes = {{8, 0, "Read", 5}, {8, 0, "Write", 6}, {8, 16, "read", 1}};
  std::string text = container_metrics({web, {.id = "cd", .name = "db", .image = "i", .stats = {}}});
  const std::string labels = R"({id="ab",name="web",image="a\"b\\c\nd"} )";
  CHECK(text.contains("# TYPE container_cpu_usage_seconds_total counter\n"));
  CHECK(text.contains("container_cpu_usage_seconds_total" + labels + "1.500000\n"));
  CHECK(text.contains("container_memory_usage_bytes" + labels + "7\n"));
  CHECK(text.contains("container_network_receive_bytes_total" + labels + "7\n"));
  CHECK(text.contains("container_fs_reads_bytes_total" + labels + "6\n"));
  CHECK(text.contains("container_fs_writes_bytes_total" + labels + "6\n"));
  CHECK(text.contains("container_processes{id=\"cd\",name=\"db\",image=\"i\"} 0\n"));
  CHECK(text.find("# HELP container_processes ") == text.rfind("# HELP container_processes "));
}
