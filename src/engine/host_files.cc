// SPDX-License-Identifier: Apache-2.0
#include "engine/host_files.h"

#include <algorithm>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::engine {

static std::string own_line(const ContainerRecord& record, const std::string& address) {
  std::string names = record.config.hostname;
  if (!record.config.domainname.empty()) names = names + "." + record.config.domainname + " " + names;
  return address + "\t" + names + "\n";
}

// As in Docker the loopback's names of IPv6 are there unless a container has none at all.
static bool ipv6_is_off(const spec::HostConfig& host) {
  for (const char* key : {"net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.lo.disable_ipv6"})
    if (auto found = host.sysctls.find(key); found != host.sysctls.end() && found->second == "1") return true;
  return false;
}

std::string hosts_text(const ContainerRecord& record, const HostFileFacts& facts) {
  std::string out = "127.0.0.1\tlocalhost\n";
  bool has_ipv6 = !ipv6_is_off(record.host_config);
  if (has_ipv6)
    out +=
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n";
  auto gateways = facts.host_gateways;
  if (gateways.empty()) gateways = {facts.gateway, facts.gateway6};
  for (const auto& entry : record.host_config.extra_hosts) {
    auto parts = split_once(entry, ':');
    if (!parts) continue;
    auto addresses = parts->second == "host-gateway" ? gateways : std::vector<std::string>{parts->second};
    for (const auto& address : addresses)
      if (!address.empty() && (has_ipv6 || address.find(':') == std::string::npos))
        out += address + "\t" + parts->first + "\n";
  }
  for (const auto& [address, names] : facts.links) out += address + "\t" + names + "\n";
  for (const auto& address : facts.addresses) out += own_line(record, address);
  return out;
}

std::string resolv_text(const ContainerRecord& record, const EngineOptions& options, const HostFileFacts& facts) {
  const auto& host = record.host_config;
  auto pick = [](const std::vector<std::string>& own, const std::vector<std::string>& engine_wide) {
    return own.empty() ? engine_wide : own;
  };
  std::vector<std::string> servers = pick(host.dns, options.dns), search = pick(host.dns_search, options.dns_search),
                           resolver_options = pick(host.dns_options, options.dns_options);
  bool own_servers = !servers.empty(), own_search = !search.empty();
  if (!own_search) search = facts.search;
  for (const auto& line : split(facts.host_resolv, '\n')) {
    std::vector<std::string> words;
    for (auto& word : split(trim(line), ' '))
      if (!word.empty()) words.push_back(std::move(word));
    if (words.size() < 2) continue;
    if (words[0] == "nameserver" && !own_servers) {
      // The host's loopback is not the container's, unless they share the network.
      if (facts.host_network || !(words[1].starts_with("127.") || words[1] == "::1")) servers.push_back(words[1]);
    } else if ((words[0] == "search" || words[0] == "domain") && !own_search && facts.search.empty()) {
      search.assign(words.begin() + 1, words.end());
    } else if (words[0] == "options" && host.dns_options.empty() && options.dns_options.empty()) {
      resolver_options.assign(words.begin() + 1, words.end());
    }
  }
  if (facts.embedded_names) {
    servers = {"127.0.0.11"};
    bool has_ndots = false;
    for (const auto& option : resolver_options) has_ndots = has_ndots || option.starts_with("ndots:");
    if (!has_ndots) resolver_options.push_back("ndots:0");
  }
  // DOCKER-QUIRK: without any usable server Docker names public ones; so do we, a client expects names to work.
  if (servers.empty()) servers = {"8.8.8.8", "8.8.4.4"};
  std::string out;
  for (const auto& server : servers) out += "nameserver " + server + "\n";
  if (!search.empty() && search[0] != ".") out += "search " + join(search, " ") + "\n";
  if (!resolver_options.empty()) out += "options " + join(resolver_options, " ") + "\n";
  return out;
}

Result<> write_host_files(const ContainerRecord& record, const EngineOptions& options, const Paths& paths,
                          HostFileFacts facts) {
  if (auto text = sys::read_file("/etc/resolv.conf", 64 << 10)) facts.host_resolv = *text;
  facts.host_gateways = options.network.host_gateway;
  const auto& domain = record.config.domainname;
  TRY(sys::write_file(paths.hostname(record.id), record.config.hostname + (domain.empty() ? "" : "." + domain) + "\n"));
  TRY(sys::write_file(paths.resolv_conf(record.id), resolv_text(record, options, facts)));
  if (facts.host_network) {
    // With the host's network the host's own names are the right ones.
    std::string text = hosts_text(record, facts);
    if (auto host = sys::read_file("/etc/hosts", 1 << 20)) text = *host;
    return sys::write_file(paths.hosts(record.id), text);
  }
  return sys::write_file(paths.hosts(record.id), hosts_text(record, facts));
}

Result<> change_host_files(const ContainerRecord& record, const EngineOptions& options, const Paths& paths,
                           HostFileFacts before, HostFileFacts after) {
  constexpr size_t kMaxFile = 4 << 20;  // the container may have written to it
  if (auto text = sys::read_file("/etc/resolv.conf", 64 << 10)) before.host_resolv = after.host_resolv = *text;
  // In place: the files are mounted into the container.
  std::string path = paths.resolv_conf(record.id);
  auto present = TRY(sys::read_file(path, kMaxFile));
  std::string now = resolv_text(record, options, after);
  if (present != now && present == resolv_text(record, options, before)) TRY(sys::write_file(path, now));
  auto has = [](const std::vector<std::string>& list, const std::string& entry) {
    return std::find(list.begin(), list.end(), entry) != list.end();
  };
  path = paths.hosts(record.id);
  auto hosts = TRY(sys::read_file(path, kMaxFile));
  std::string changed;
  for (size_t at = 0; at < hosts.size();) {
    size_t end = std::min(hosts.find('\n', at), hosts.size() - 1);
    std::string line = hosts.substr(at, end + 1 - at);
    at = end + 1;
    bool gone = false;
    for (const auto& address : before.addresses)
      gone = gone || (!has(after.addresses, address) && line == own_line(record, address));
    if (!gone) changed += line;
  }
  for (const auto& address : after.addresses)
    if (!has(before.addresses, address)) changed += own_line(record, address);
  if (changed == hosts) return {};
  return sys::write_file(path, changed);
}

}  // namespace caisson::engine
