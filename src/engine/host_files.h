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
  std::string address;                                     // of the container on the bridge; empty without one
  std::string gateway;                                     // for host-gateway
  std::string host_resolv;                                 // the host's resolv.conf
  std::vector<std::pair<std::string, std::string>> links;  // address, names of those it is linked to
  bool host_network = false;
};

std::string hosts_text(const ContainerRecord& record, const HostFileFacts& facts);
std::string resolv_text(const ContainerRecord& record, const EngineOptions& options, const HostFileFacts& facts);

Result<> write_host_files(const ContainerRecord& record, const EngineOptions& options, const Paths& paths,
                          HostFileFacts facts);

}  // namespace caisson::engine
