// SPDX-License-Identifier: Apache-2.0
#include "engine/host_files.h"

#include "base/text.h"
#include "sys/files.h"

namespace caisson::engine {

std::string hosts_text(const ContainerRecord& record, const HostFileFacts& facts) {
  std::string out =
      "127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::\tip6-localnet\n"
      "ff00::\tip6-mcastprefix\n"
      "ff02::1\tip6-allnodes\n"
      "ff02::2\tip6-allrouters\n";
  for (const auto& entry : record.host_config.extra_hosts) {
    auto parts = split_once(entry, ':');
    if (!parts) continue;
    std::string address = parts->second == "host-gateway" ? facts.gateway : parts->second;
    if (!address.empty()) out += address + "\t" + parts->first + "\n";
  }
  for (const auto& [address, names] : facts.links) out += address + "\t" + names + "\n";
  if (!facts.address.empty()) {
    std::string names = record.config.hostname;
    if (!record.config.domainname.empty()) names = names + "." + record.config.domainname + " " + names;
    out += facts.address + "\t" + names + "\n";
  }
  return out;
}

std::string resolv_text(const ContainerRecord& record, const EngineOptions& options, const HostFileFacts& facts) {
  const auto& host = record.host_config;
  auto pick = [](const std::vector<std::string>& own, const std::vector<std::string>& engine_wide) {
    return own.empty() ? engine_wide : own;
  };
  std::vector<std::string> servers = pick(host.dns, options.dns), search = pick(host.dns_search, options.dns_search),
                           resolver_options = pick(host.dns_options, options.dns_options);
  bool own_servers = !servers.empty();
  for (const auto& line : split(facts.host_resolv, '\n')) {
    std::vector<std::string> words;
    for (auto& word : split(trim(line), ' '))
      if (!word.empty()) words.push_back(std::move(word));
    if (words.size() < 2) continue;
    if (words[0] == "nameserver" && !own_servers) {
      // The host's loopback is not the container's, unless they share the network.
      if (facts.host_network || !(words[1].starts_with("127.") || words[1] == "::1")) servers.push_back(words[1]);
    } else if ((words[0] == "search" || words[0] == "domain") && host.dns_search.empty() &&
               options.dns_search.empty()) {
      search.assign(words.begin() + 1, words.end());
    } else if (words[0] == "options" && host.dns_options.empty() && options.dns_options.empty()) {
      resolver_options.assign(words.begin() + 1, words.end());
    }
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

}  // namespace caisson::engine
