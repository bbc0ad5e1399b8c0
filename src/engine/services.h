// SPDX-License-Identifier: Apache-2.0
// What the parts of the engine share, by reference: built once by Engine::open, handed down.
#pragma once

#include <functional>
#include <memory>

#include "db/database.h"
#include "engine/cni_networks.h"
#include "engine/events.h"
#include "engine/executor.h"
#include "engine/networks.h"
#include "engine/options.h"
#include "engine/paths.h"
#include "engine/registry.h"
#include "engine/secrets.h"
#include "engine/spec_builder.h"
#include "image/image_store.h"
#include "network/dns_client.h"
#include "network/lan_networks.h"
#include "network/network_manager.h"
#include "runtime/seccomp_profile.h"
#include "sys/cgroup.h"
#include "sys/event_loop.h"
#include "volume/volume_store.h"

namespace caisson::engine {

struct Services {
  const EngineOptions& options;
  const Paths& paths;
  ContainerRegistry& containers;
  image::ImageStore& images;
  network::NetworkManager& network;
  network::DnsClient& names;
  NetworkStore& networks;
  CniNetworks& cni;
  network::LanNetworks& lans;
  volume::VolumeStore& volumes;
  SecretStore& secrets;
  runtime::SeccompCache& seccomp;
  const sys::CgroupSystem& cgroups;
  Executor& executor;
  EventHub& events;
  sys::EventLoop& loop;
  HostLimits limits;
  std::string monitor_program;  // to be spawned: the program behind a read-only mount
};

}  // namespace caisson::engine
