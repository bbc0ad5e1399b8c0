// SPDX-License-Identifier: Apache-2.0
#include "engine/links.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "engine/create_rules.h"
#include "sys/files.h"

namespace caisson::engine {

namespace {

constexpr size_t kMaxHostsFile = 4 << 20;  // the container may have written to it

// By id; a container that took the place of one that was removed is found by its name.
ContainerPtr target_of(const StoredLink& link, const ContainerRegistry& containers) {
  for (const auto* reference : {&link.target_id, &link.target_name})
    if (auto found = containers.find(*reference)) return *found;
  return nullptr;
}

bool on_default_bridge(const ContainerRecord& record) { return record.host_config.network_mode == "bridge"; }

std::string upper_case(std::string_view text) {
  std::string out;
  for (char c : text) out += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return out;
}

struct SharedPort {
  int number = 0;
  std::string protocol;
  bool operator<(const SharedPort& other) const {
    // tcp before the others, so that the first one is the one that a program most likely wants.
    bool tcp = protocol == "tcp", other_tcp = other.protocol == "tcp";
    if (tcp != other_tcp) return tcp;
    return number != other.number ? number < other.number : protocol < other.protocol;
  }
};

std::vector<SharedPort> exposed_ports(const ContainerRecord& record) {
  std::vector<SharedPort> ports;
  for (const auto& [text, unused] : record.config.exposed_ports)
    if (auto parsed = parse_container_ports(text))
      for (const auto& port : *parsed) ports.push_back({port.number, port.protocol});
  std::sort(ports.begin(), ports.end());
  return ports;
}

void add_port_variables(const std::string& alias, const std::string& address, const std::vector<SharedPort>& ports,
                        std::vector<std::string>& env) {
  auto url = [&](const SharedPort& port) {
    return port.protocol + "://" + address + ":" + std::to_string(port.number);
  };
  auto prefix = [&](const SharedPort& port) {
    return alias + "_PORT_" + std::to_string(port.number) + "_" + upper_case(port.protocol);
  };
  if (!ports.empty()) env.push_back(alias + "_PORT=" + url(ports[0]));
  for (size_t first = 0, next = 0; first < ports.size(); first = next) {
    next = first + 1;
    while (next < ports.size() && ports[next].protocol == ports[first].protocol &&
           ports[next].number == ports[next - 1].number + 1)
      ++next;
    if (next == first + 1) continue;
    const auto& last = ports[next - 1];
    env.push_back(prefix(ports[first]) + "_START=" + url(ports[first]));
    env.push_back(prefix(ports[first]) + "_PORT_START=" + std::to_string(ports[first].number));
    env.push_back(prefix(ports[first]) + "_END=" + url(last));
    env.push_back(prefix(ports[first]) + "_PORT_END=" + std::to_string(last.number));
  }
  for (const auto& port : ports) {
    env.push_back(prefix(port) + "=" + url(port));
    env.push_back(prefix(port) + "_ADDR=" + address);
    env.push_back(prefix(port) + "_PORT=" + std::to_string(port.number));
    env.push_back(prefix(port) + "_PROTO=" + port.protocol);
  }
}

// With the container's operation held.
void rewrite_hosts(const Services& services, const ContainerRecord& record, const std::string& alias,
                   const std::string& address) {
  std::string path = services.paths.hosts(record.id);
  auto text = sys::read_file(path, kMaxHostsFile);
  if (!text) return log_warn("container %s: %s", record.name.c_str(), text.error().message.c_str());
  std::string changed = hosts_with_address(*text, alias, address);
  if (changed == *text) return;
  // In place: the file is mounted into the container.
  if (auto written = sys::write_file(path, changed); !written)
    log_warn("container %s: %s", record.name.c_str(), written.error().message.c_str());
}

}  // namespace

Result<LinkText> parse_link(const std::string& text) {
  if (text.empty()) return fail(ErrorKind::kInvalid, "empty string specified for links");
  auto parts = split(text, ':');
  auto bad = [&] { return fail(ErrorKind::kInvalid, "bad format for links: %s", text.substr(0, 256).c_str()); };
  if (parts.size() > 2) return bad();
  LinkText out{parts[0], parts.back()};
  if (out.name.starts_with('/')) out.name.erase(0, 1);
  if (size_t slash = out.alias.rfind('/'); slash != std::string::npos) out.alias.erase(0, slash + 1);
  if (out.name.empty() || out.alias.empty()) return bad();
  // It becomes a word of a line in /etc/hosts and part of a variable's name.
  for (char c : out.alias)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
          c == '-'))
      return bad();
  return out;
}

Result<std::vector<StoredLink>> resolve_links(const spec::HostConfig& host_config,
                                              const ContainerRegistry& containers) {
  std::vector<StoredLink> links;
  for (const auto& text : host_config.links) {
    auto asked = TRY(parse_link(text));
    auto target = containers.find(asked.name);
    // 404 on this route means the image, and clients would go and pull it.
    if (!target)
      return fail(ErrorKind::kInvalid, "could not get container for %s: %s", asked.name.c_str(),
                  target.error().message.c_str());
    auto record = (*target)->snapshot();
    for (int depth = 0; depth < 16 && record->host_config.network_mode.starts_with("container:"); ++depth) {
      auto owner = containers.find(record->host_config.network_mode.substr(10));
      if (!owner)
        return fail(ErrorKind::kInvalid, "could not get container for %s: %s",
                    record->host_config.network_mode.substr(10).c_str(), owner.error().message.c_str());
      record = (*owner)->snapshot();
    }
    if (record->host_config.network_mode == "host")
      return fail(ErrorKind::kInvalid,
                  "conflicting options: host type networking can't be used with links. This would result in undefined "
                  "behavior");
    bool taken = std::any_of(links.begin(), links.end(), [&](auto& link) { return link.alias == asked.alias; });
    if (taken) {
      // DOCKER-QUIRK: the first one has the name, nobody hears of the other.
      log_warn("link to %s: the alias '%s' is taken, ignoring", record->name.c_str(), asked.alias.c_str());
      continue;
    }
    links.push_back({record->id, record->name, asked.alias});
  }
  return links;
}

Result<std::vector<LinkedContainer>> linked_containers(const ContainerRecord& record,
                                                       const ContainerRegistry& containers) {
  std::vector<LinkedContainer> out;
  if (!on_default_bridge(record)) return out;
  for (const auto& link : record.links) {
    auto target = target_of(link, containers);
    auto found = target ? target->snapshot() : nullptr;
    std::string name = found ? found->name : link.target_name;
    if (found && !on_default_bridge(*found) && !found->endpoint_in("bridge"))
      return fail(ErrorKind::kInternal, "Cannot link to /%s, as it does not belong to the default network",
                  name.c_str());
    if (!found || !found->running() || !found->endpoint_in("bridge"))
      return fail(ErrorKind::kInternal, "Cannot link to a non running container: /%s AS /%s/%s", name.c_str(),
                  record.name.c_str(), link.alias.c_str());
    out.push_back({link.alias, std::move(found)});
  }
  return out;
}

std::vector<std::string> link_environment(const std::string& parent, const std::vector<LinkedContainer>& linked) {
  std::vector<std::string> env;
  for (const auto& [name, record] : linked) {
    std::string alias = upper_case(name);
    add_port_variables(alias, record->endpoint_in("bridge")->address, exposed_ports(*record), env);
    env.push_back(alias + "_NAME=/" + parent + "/" + name);
    for (const auto& entry : record->config.env)
      if (entry.find('=') != std::string::npos && !entry.starts_with("HOME=") && !entry.starts_with("PATH="))
        env.push_back(alias + "_ENV_" + entry);
  }
  return env;
}

std::vector<std::string> link_environment(const ContainerRecord& record, const ContainerRegistry& containers) {
  std::vector<LinkedContainer> linked;
  for (const auto& link : record.links) {
    ContainerRecord one = record;
    one.links = {link};
    if (auto found = linked_containers(one, containers))
      linked.insert(linked.end(), std::make_move_iterator(found->begin()), std::make_move_iterator(found->end()));
  }
  return link_environment(record.name, linked);
}

std::string link_host_names(const LinkedContainer& linked) {
  std::string names = linked.alias + " " + linked.record->config.hostname;
  return linked.alias == linked.record->name ? names : names + " " + linked.record->name;
}

std::vector<std::string> shown_links(const ContainerRecord& record, const ContainerRegistry& containers) {
  std::vector<std::string> out;
  for (const auto& link : record.links) {
    auto target = target_of(link, containers);
    out.push_back("/" + (target ? target->snapshot()->name : link.target_name) + ":/" + record.name + "/" + link.alias);
  }
  return out;
}

std::multimap<std::string, std::string> link_names(const std::vector<ContainerPtr>& all,
                                                   const ContainerRegistry& containers) {
  std::multimap<std::string, std::string> out;
  for (const auto& parent : all) {
    auto record = parent->snapshot();
    for (const auto& link : record->links)
      if (auto target = target_of(link, containers)) out.emplace(target->id(), "/" + record->name + "/" + link.alias);
  }
  return out;
}

std::string hosts_with_address(std::string_view text, const std::string& alias, const std::string& address) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size() - 1);
    std::string_view line = text.substr(at, end + 1 - at);
    at = end + 1;
    size_t tab = line.find('\t');
    std::string_view names = tab == line.npos ? "" : line.substr(tab + 1);
    if (names.starts_with(alias) && names.size() > alias.size() && (names[alias.size()] == ' ')) {
      if (!address.empty()) out.append(address).append(line.substr(tab));
    } else {
      out.append(line);
    }
  }
  return out;
}

void tell_linking_containers(const Services& services, const ContainerRecord& started) {
  const auto* endpoint = started.endpoint_in("bridge");
  if (!endpoint) return;
  for (const auto& parent : services.containers.linking_to(started)) {
    auto operation = parent->begin_operation();
    auto record = parent->snapshot();
    if (!record->running() || !on_default_bridge(*record)) continue;
    for (const auto& link : record->links)
      if (auto target = target_of(link, services.containers); target && target->id() == started.id)
        rewrite_hosts(services, *record, link.alias, endpoint->address);
  }
}

Result<> remove_link(const Services& services, const std::string& name) {
  std::string_view rest = name;
  if (rest.starts_with('/')) rest.remove_prefix(1);
  auto parts = split_once(rest, '/');
  if (!parts) return fail(ErrorKind::kInternal, "Conflict, cannot remove the default link name of the container");
  auto parent = services.containers.find(parts->first);
  if (!parent)
    return fail(ErrorKind::kInternal, "Cannot get parent /%s for link name /%s", parts->first.c_str(),
                std::string(rest).c_str());
  auto operation = (*parent)->begin_operation();
  ContainerRecord record = *(*parent)->snapshot();
  auto removed = std::erase_if(record.links, [&](const StoredLink& link) { return link.alias == parts->second; });
  if (removed == 0) return fail(ErrorKind::kNotFound, "No such container: %s", name.c_str());
  if (record.running()) rewrite_hosts(services, record, parts->second, "");
  return services.containers.save(**parent, std::move(record), db::Durability::kFull);
}

}  // namespace caisson::engine
