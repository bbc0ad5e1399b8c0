// SPDX-License-Identifier: Apache-2.0
// Links on the default bridge (HostConfig.Links): who is linked under which name, what a container learns of those
// it is linked to (environment, lines of /etc/hosts), and keeping those lines true when an address changes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/registry.h"
#include "engine/services.h"

namespace caisson::engine {

// "name", "name:alias", or as inspect shows them "/name:/parent/alias". kInvalid with Docker's texts.
struct LinkText {
  std::string name, alias;
};
Result<LinkText> parse_link(const std::string& text);

// What a create request asks for. kInvalid: no such container, or one without a network of its own.
Result<std::vector<StoredLink>> resolve_links(const spec::HostConfig& host_config, const ContainerRegistry& containers);

struct LinkedContainer {
  std::string alias;
  std::shared_ptr<const ContainerRecord> record;
};
// Those whom a container is linked to, all of them running on the default bridge. kInternal with Docker's texts.
Result<std::vector<LinkedContainer>> linked_containers(const ContainerRecord& record,
                                                       const ContainerRegistry& containers);
// Pure: ALIAS_NAME, ALIAS_PORT..., ALIAS_ENV_...
std::vector<std::string> link_environment(const std::string& parent, const std::vector<LinkedContainer>& linked);
// The same for a process in a container that runs; those that have ended meanwhile are left out.
std::vector<std::string> link_environment(const ContainerRecord& record, const ContainerRegistry& containers);
// Pure: "ALIAS HOSTNAME NAME" of one of them, what follows its address in /etc/hosts.
std::string link_host_names(const LinkedContainer& linked);

// "/db:/web/alias" for inspect.
std::vector<std::string> shown_links(const ContainerRecord& record, const ContainerRegistry& containers);
// Further names of containers, "/web/alias", by id; `all` are those whose links count.
std::multimap<std::string, std::string> link_names(const std::vector<ContainerPtr>& all,
                                                   const ContainerRegistry& containers);

// Pure: the text with another address in the lines whose first name is `alias`; without those for an empty address.
std::string hosts_with_address(std::string_view text, const std::string& alias, const std::string& address);
// After a start, with no operation held: those linked to this container learn of its address.
void tell_linking_containers(const Services& services, const ContainerRecord& started);
// `name` is "parent/alias". The containers themselves stay.
Result<> remove_link(const Services& services, const std::string& name);

}  // namespace caisson::engine
