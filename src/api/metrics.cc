// SPDX-License-Identifier: Apache-2.0
#include "api/metrics.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <thread>

#include "api/version.h"
#include "base/text.h"
#include "engine/container.h"
#include "engine/registry.h"
#include "engine/stats.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

void head(std::string& out, const char* name, const char* type, const char* help) {
  out += format("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void number(std::string& out, uint64_t value) { out += std::to_string(value) + "\n"; }

uint64_t block_bytes(const spec::BlkioStats& blkio, std::string_view operation) {
  uint64_t sum = 0;
  for (const auto& entry : blkio.service_bytes)
    if (equals_ignore_case(entry.op, operation)) sum += entry.value;
  return sum;
}

template <uint64_t spec::NetworkStats::*kMember>
uint64_t network_sum(const ContainerFigures& of) {
  uint64_t sum = 0;
  for (const auto& [name, stats] : of.stats.networks) sum += stats.*kMember;
  return sum;
}

struct Family {
  const char* name;
  const char* type;
  const char* help;
  uint64_t (*value)(const ContainerFigures& of);
};

constexpr Family kFamilies[] = {
    {"container_memory_usage_bytes", "gauge", "Memory in use, caches included.",
     [](const ContainerFigures& of) { return of.stats.memory.usage; }},
    {"container_spec_memory_limit_bytes", "gauge", "The most memory it may use.",
     [](const ContainerFigures& of) { return of.stats.memory.limit; }},
    {"container_memory_failcnt", "counter", "How often the memory limit was reached.",
     [](const ContainerFigures& of) { return of.stats.memory.fail_count; }},
    {"container_processes", "gauge", "Processes and threads.",
     [](const ContainerFigures& of) { return of.stats.pids.current; }},
    {"container_network_receive_bytes_total", "counter", "Bytes received on all its interfaces.",
     network_sum<&spec::NetworkStats::rx_bytes>},
    {"container_network_transmit_bytes_total", "counter", "Bytes sent on all its interfaces.",
     network_sum<&spec::NetworkStats::tx_bytes>},
    {"container_fs_reads_bytes_total", "counter", "Bytes read from block devices.",
     [](const ContainerFigures& of) { return block_bytes(of.stats.blkio, "read"); }},
    {"container_fs_writes_bytes_total", "counter", "Bytes written to block devices.",
     [](const ContainerFigures& of) { return block_bytes(of.stats.blkio, "write"); }},
};

struct States {
  uint64_t running = 0, paused = 0, stopped = 0;
};

void engine_metrics(std::string& out, const engine::Engine& engine, const States& states) {
  utsname host{};
  uname(&host);
  head(out, "engine_daemon_engine_info", "gauge", "What the engine is.");
  out += format("engine_daemon_engine_info{version=\"%s\",kernel=\"%s\",architecture=\"%s\",daemon_id=\"%s\"} 1\n",
                kEngineVersion, label_value(host.release).c_str(), label_value(host.machine).c_str(),
                label_value(engine.engine_id()).c_str());
  head(out, "engine_daemon_engine_cpus_cpus", "gauge", "CPUs of the host.");
  out += "engine_daemon_engine_cpus_cpus ";
  number(out, std::thread::hardware_concurrency());
  head(out, "engine_daemon_engine_memory_bytes", "gauge", "Memory of the host.");
  out += "engine_daemon_engine_memory_bytes ";
  number(out, static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  head(out, "engine_daemon_container_states_containers", "gauge", "Containers by state.");
  for (const auto& [state, count] : {std::pair<const char*, uint64_t>{"paused", states.paused},
                                     {"running", states.running},
                                     {"stopped", states.stopped}}) {
    out += format("engine_daemon_container_states_containers{state=\"%s\"} ", state);
    number(out, count);
  }
  // Fields of /proc/self/statm: total, resident, in pages.
  if (auto text = sys::read_file("/proc/self/statm", 256)) {
    auto fields = split(trim(*text), ' ');
    auto resident = fields.size() > 1 ? parse_uint(fields[1]) : std::nullopt;
    if (resident) {
      head(out, "process_resident_memory_bytes", "gauge", "Memory of the engine itself.");
      out += "process_resident_memory_bytes ";
      number(out, *resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
    }
  }
  if (auto open = sys::list_dir("/proc/self/fd")) {
    head(out, "process_open_fds", "gauge", "Descriptors that the engine holds.");
    out += "process_open_fds ";
    number(out, open->size());
  }
}

std::string all_metrics(engine::Engine& engine) {
  States states;
  std::vector<ContainerFigures> figures;
  for (const auto& container : engine.containers().list()) {
    auto record = container->snapshot();
    bool paused = record->status() == engine::Status::kPaused;
    ++(paused ? states.paused : record->running() ? states.running : states.stopped);
    if (!paused && !record->running()) continue;
    auto stats = engine::sample_stats(*record, engine.cgroups());
    std::string name = stats.name.starts_with('/') ? stats.name.substr(1) : stats.name;
    figures.push_back({record->id, std::move(name), record->config.image, std::move(stats)});
  }
  std::string out;
  engine_metrics(out, engine, states);
  return out + container_metrics(figures);
}

}  // namespace

std::string label_value(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

std::string container_metrics(const std::vector<ContainerFigures>& containers) {
  std::vector<std::string> labels;
  for (const auto& of : containers)
    labels.push_back(format("{id=\"%s\",name=\"%s\",image=\"%s\"} ", label_value(of.id).c_str(),
                            label_value(of.name).c_str(), label_value(of.image).c_str()));
  std::string out;
  if (containers.empty()) return out;
  constexpr const char* kCpu = "container_cpu_usage_seconds_total";
  head(out, kCpu, "counter", "CPU time used.");
  for (size_t i = 0; i < containers.size(); ++i)
    out += kCpu + labels[i] + format("%.6f\n", static_cast<double>(containers[i].stats.cpu.usage.total) / 1e9);
  for (const Family& family : kFamilies) {
    head(out, family.name, family.type, family.help);
    for (size_t i = 0; i < containers.size(); ++i) {
      out += family.name + labels[i];
      number(out, family.value(containers[i]));
    }
  }
  return out;
}

http::Router make_metrics_router(engine::Engine& engine) {
  return [&engine](const http::Request& request) {
    http::RouteDecision decision;
    bool reading = request.method == "GET" || request.method == "HEAD";
    if (request.path != "/metrics" || !reading) {
      decision.error_status = request.path == "/metrics" ? 405 : 404;
      return decision;
    }
    decision.handler = [&engine](std::shared_ptr<http::Exchange> exchange) {
      http::Headers headers;
      headers.add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
      exchange->reply(200, headers, all_metrics(engine));
    };
    return decision;
  };
}

}  // namespace caisson::api
