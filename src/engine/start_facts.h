// SPDX-License-Identifier: Apache-2.0
// What must be looked up on the host before a container can start: other containers' namespaces, devices,
// log servers. Reads only; whatever it finds wrong is the caller's error to report.
#pragma once

#include <string>
#include <vector>

#include "engine/registry.h"
#include "engine/spec_builder.h"
#include "logs/container_log.h"

namespace caisson::engine {

// namespace_paths and shm_source for the container: and host modes. kConflict when the other container
// does not run.
Result<> find_shared_namespaces(const ContainerRecord& record, const ContainerRegistry& containers, SpecFacts& facts);
// Host and domain name, and network_peer, of a container that has another's network.
Result<> take_network_names(ContainerRecord& record, const ContainerRegistry& containers, SpecFacts& facts);

// Nodes for --device and --privileged.
// Numbers of the devices that have block I/O limits of their own. kInvalid: no block device, or a bad value.
Result<spec::OciBlockIo> find_block_limits(const spec::HostConfig& host_config);
Result<std::vector<spec::OciDevice>> find_host_devices(const spec::HostConfig& host_config);

// HostConfig.DeviceRequests (--gpus): there is no driver that could answer one. kInternal with Docker's text.
Result<> find_devices_by_request(const spec::HostConfig& host_config);

// Driver, options and files of the container's log.
Result<logs::LogConfig> log_config_of(const ContainerRecord& record, const Paths& paths);
// The same for a start: a syslog host's name has become its address. May wait for the resolver.
Result<logs::LogConfig> resolved_log_config_of(const ContainerRecord& record, const Paths& paths);

}  // namespace caisson::engine
