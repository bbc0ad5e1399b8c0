// SPDX-License-Identifier: Apache-2.0
// The three files of a container that the engine writes: hostname, hosts, resolv.conf. Text only here is
// pure; write_host_files() puts them into the container's directory.
#pragma once

#include <string>
#include <string_view>

#include "engine/options.h"
#include "engine/paths.h"
#include "engine/record.h"

namespace caisson::engine {

struct HostFileFacts {
  std::vector<std::string> addresses;                      // of the container, one for each network
  std::vector<std::string> search;                         // domains that networks bring along
  std::string gateway, gateway6;                           // of the container's networks
  std::vector<std::string> host_gateways;                  // what host-gateway means; empty: those gateways
  std::string host_resolv;                                 // the host's resolv.conf
  std::vector<std::pair<std::string, std::string>> links;  // address, names of those it is linked to
  bool host_network = false;
  bool embedded_names = false;  // names are asked of 127.0.0.11
};

std::string hosts_text(const ContainerRecord& record, const HostFileFacts& facts);
std::string resolv_text(const ContainerRecord& record, const EngineOptions& options, const HostFileFacts& facts);

Result<> write_host_files(const ContainerRecord& record, const EngineOptions& options, const Paths& paths,
                          HostFileFacts facts);

// For a container that runs: addresses that came or went, and resolv.conf unless somebody else wrote it.
Result<> change_host_files(const ContainerRecord& record, const EngineOptions& options, const Paths& paths,
                           HostFileFacts before, HostFileFacts after);

}  // namespace caisson::engine
