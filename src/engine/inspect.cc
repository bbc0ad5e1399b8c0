// SPDX-License-Identifier: Apache-2.0
#include "engine/inspect.h"
#include "engine/network_links.h"
#include "engine/networks.h"
#include "engine/port_ranges.h"

#include <algorithm>

#include "base/clock.h"
#include "base/ids.h"
#include "base/text.h"
#include "wire/digest.h"

namespace caisson::engine {

const char* const kBridgeNetwork = "bridge";
static constexpr size_t kMaxKeptSummary = 64 << 10;

static std::string time_text(int64_t ns) { return ns == 0 ? std::string(kZeroTime) : format_rfc3339(ns); }

static spec::PortMap port_map(const ContainerRecord& record) {
  spec::PortMap out;
  if (!record.running()) return out;
  for (const auto& [port, unused] : expand_exposed(record.config.exposed_ports))
    out[port.find('/') == std::string::npos ? port + "/tcp" : port] = std::nullopt;
  for (const auto& endpoint : record.endpoints)
    for (const auto& port : load_endpoint(record.id, endpoint).ports)
      for (unsigned i = 0; i < port.count; ++i) {
        auto& list = out[format("%u/%s", port.container_port + i, port.protocol.c_str())];
        if (!list) list.emplace();
        list->push_back({port.host_ip, std::to_string(port.host_port + i)});
      }
  return out;
}

static spec::EndpointSettings endpoint_settings(const ContainerRecord& record, const std::string& network) {
  spec::EndpointSettings out;
  if (auto asked = record.networking.endpoints.find(network);
      asked != record.networking.endpoints.end() && asked->second)
    out = *asked->second;
  bool predefined = network == "bridge" || network == "host" || network == "none";
  if (predefined && record.running()) out.network_id = network_id_of(network);
  if (!predefined) out.dns_names = dns_names(record, out);
  const auto* endpoint = record.endpoint_in(network);
  if (!endpoint) return out;
  out.network_id = endpoint->network_id;
  out.endpoint_id = endpoint->endpoint_id;
  out.gateway = endpoint->gateway;
  out.ip_address = endpoint->address;
  out.ip_prefix_len = endpoint->prefix;
  out.ipv6_gateway = endpoint->gateway6;
  out.global_ipv6_address = endpoint->address6;
  out.global_ipv6_prefix_len = endpoint->prefix6;
  out.mac_address = endpoint->mac;
  return out;
}

static std::map<std::string, spec::EndpointSettings> networks_of(const ContainerRecord& record) {
  std::map<std::string, spec::EndpointSettings> out;
  const std::string& mode = record.host_config.network_mode;
  if (mode.starts_with("container:") || mode.starts_with("ns:")) return out;
  for (const auto& [name, settings] : record.networking.endpoints) out[name] = endpoint_settings(record, name);
  if (!has_networks(record.host_config)) out[mode] = endpoint_settings(record, mode);
  return out;
}

spec::ContainerInspect inspect_container(const ContainerRecord& record, const Paths& paths,
                                         const std::vector<std::string>& exec_ids) {
  spec::ContainerInspect out;
  out.id = record.id;
  out.created = time_text(record.created_ns);
  out.path = record.path;
  out.args = record.args;
  out.state.status = record.status_text;
  out.state.running = record.running();
  out.state.paused = record.status() == Status::kPaused;
  out.state.restarting = record.status() == Status::kRestarting;
  out.state.health = record.health;
  out.state.dead = record.status() == Status::kDead;
  out.state.oom_killed = record.oom_killed;
  out.state.pid = record.pid;
  out.state.exit_code = record.exit_code;
  out.state.error = record.error;
  out.state.started_at = time_text(record.started_ns);
  out.state.finished_at = time_text(record.finished_ns);
  out.image = record.image_id;
  out.resolv_conf_path = paths.resolv_conf(record.id);
  out.hostname_path = paths.hostname(record.id);
  out.hosts_path = paths.hosts(record.id);
  // As in Docker the other drivers' files are nobody's business.
  if (record.host_config.log_config.type == "json-file") out.log_path = paths.json_log(record.id);
  out.name = "/" + record.name;
  out.restart_count = record.restart_count;
  out.driver = "overlay2";
  out.platform = "linux";
  out.exec_ids = exec_ids;
  out.host_config = record.host_config;
  out.host_config.port_bindings = expand_ports(record.host_config.port_bindings);
  out.graph_driver.name = "overlay2";
  out.graph_driver.data = {{"UpperDir", paths.upper(record.id)}, {"WorkDir", paths.work(record.id)}};
  out.mounts = record.mounts;
  out.config = record.config;
  out.config.exposed_ports = expand_exposed(record.config.exposed_ports);
  auto& network = out.network_settings;
  // DOCKER-QUIRK: the members beside Networks tell of the default bridge alone.
  const auto* endpoint = record.endpoint_in("bridge");
  network.sandbox_id = record.running() ? record.main_endpoint().endpoint_id : "";
  network.sandbox_key =
      record.running() && record.pid ? format("/proc/%lld/ns/net", static_cast<long long>(record.pid)) : "";
  if (auto path = joined_namespace(record.host_config); !path.empty() && record.running()) network.sandbox_key = path;
  network.ports = port_map(record);
  if (endpoint) {
    network.gateway = endpoint->gateway;
    network.ip_address = endpoint->address;
    network.ip_prefix_len = endpoint->prefix;
    network.ipv6_gateway = endpoint->gateway6;
    network.global_ipv6_address = endpoint->address6;
    network.global_ipv6_prefix_len = endpoint->prefix6;
    network.mac_address = endpoint->mac;
    network.endpoint_id = endpoint->endpoint_id;
  }
  network.networks = networks_of(record);
  return out;
}

std::string human_duration(int64_t seconds) {
  auto text = [](int64_t count, const char* unit) { return format("%lld %s", static_cast<long long>(count), unit); };
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return text(seconds, "seconds");
  int64_t minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return text(minutes, "minutes");
  int64_t hours = (seconds + 1800) / 3600;
  if (hours == 1) return "About an hour";
  if (hours < 48) return text(hours, "hours");
  if (hours < 24 * 7 * 2) return text(hours / 24, "days");
  if (hours < 24 * 30 * 2) return text(hours / 24 / 7, "weeks");
  if (hours < 24 * 365 * 2) return text(hours / 24 / 30, "months");
  return text(hours / 24 / 365, "years");
}

static std::string health_suffix(const ContainerRecord& record) {
  if (!record.health) return "";
  return record.health->status == "starting" ? " (health: starting)" : " (" + record.health->status + ")";
}

std::string status_sentence(const ContainerRecord& record, int64_t now) {
  auto since = [now](int64_t then) { return human_duration((now - then) / 1000000000); };
  switch (record.status()) {
    case Status::kRunning: return "Up " + since(record.started_ns) + health_suffix(record);
    case Status::kPaused: return "Up " + since(record.started_ns) + " (Paused)";
    case Status::kRestarting:
      return format("Restarting (%lld) %s ago", static_cast<long long>(record.exit_code),
                    since(record.finished_ns).c_str());
    case Status::kRemoving: return "Removal In Progress";
    case Status::kDead: return "Dead";
    case Status::kCreated: return "Created";
    case Status::kExited:
      return format("Exited (%lld) %s ago", static_cast<long long>(record.exit_code),
                    since(record.finished_ns).c_str());
  }
  return "";
}

spec::ContainerSummary summarise_container(const ContainerRecord& record, const std::string& image_name, int64_t now) {
  spec::ContainerSummary out;
  out.id = record.id;
  out.names = {"/" + record.name};
  out.image = image_name;
  out.image_id = record.image_id;
  out.command = record.path;
  for (const auto& arg : record.args) {
    // DOCKER-QUIRK: arguments with spaces are shown in single quotes.
    bool spaced = arg.find(' ') != std::string::npos || arg.empty();
    out.command += spaced ? " '" + arg + "'" : " " + arg;
  }
  out.created = record.created_ns / 1000000000;
  for (const auto& [text, bindings] : port_map(record)) {
    auto parts = split_once(text, '/');
    spec::Port port;
    port.private_port = parse_int(parts ? parts->first : text).value_or(0);
    port.type = parts ? parts->second : "tcp";
    if (!bindings) out.ports.push_back(port);
    for (const auto& binding : bindings.value_or(std::vector<spec::PortBinding>{})) {
      port.ip = binding.host_ip;
      port.public_port = parse_int(binding.host_port).value_or(0);
      out.ports.push_back(port);
    }
  }
  out.labels = record.config.labels;
  out.state = record.status_text;
  out.status = status_sentence(record, now);
  out.host_config.network_mode = record.host_config.network_mode;
  out.host_config.annotations = record.host_config.annotations;
  out.network_settings.networks = networks_of(record);
  out.mounts = record.mounts;
  return out;
}

void append_summary(std::string& out, Container& container, const std::shared_ptr<const ContainerRecord>& record,
                    const std::string& image_name, int64_t now) {
  auto text = container.summary_text();
  if (!text || text->record != record || text->image_name != image_name) {
    auto summary = summarise_container(*record, image_name, now);
    summary.status = random_hex(32);  // what no label can have guessed
    std::string whole = json::encode(summary), mark = '"' + summary.status + '"';
    size_t at = whole.find(mark);
    auto made = std::make_shared<SummaryText>();
    *made = {record, image_name, whole.substr(0, at), whole.substr(at + mark.size())};
    text = made;
    // A container with thousands of ports is not worth its weight: it is put together anew each time.
    if (whole.size() <= kMaxKeptSummary) container.keep_summary_text(std::move(made));
  }
  out += text->head;
  out += json::quote(status_sentence(*record, now));
  out += text->tail;
}

}  // namespace caisson::engine
