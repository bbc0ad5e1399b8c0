// SPDX-License-Identifier: Apache-2.0
// POST /networks/{id}/connect and disconnect: of containers that run and of those that do not.
#include "base/log.h"
#include "engine/lifecycle.h"
#include "engine/network_links.h"

namespace caisson::engine {

namespace {
void tell(EventHub& events, const NetworkRecord& network, const std::string& container, const char* action) {
  events.publish(
      {"network", action, network.id, {{"container", container}, {"name", network.name}, {"type", network.driver}}, 0});
}
}  // namespace

Result<> Lifecycle::connect(const ContainerPtr& container, const NetworkRecord& network,
                            spec::EndpointSettings settings) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  if (record.status() == Status::kRemoving || record.status() == Status::kDead)
    return fail(ErrorKind::kConflict, "container %s is marked for removal and cannot be connected or disconnected",
                record.name.c_str());
  TRY(connect_network(services_, record, network, std::move(settings)));
  bool attached = record.endpoint_in(network.id) != nullptr;
  TRY(services_.containers.save(*container, record, db::Durability::kFull));
  if (attached) tell(services_.events, network, record.id, "connect");
  return {};
}

Result<> Lifecycle::disconnect(const ContainerPtr& container, const NetworkRecord& network) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  bool attached = record.endpoint_in(network.id) != nullptr;
  auto done = disconnect_network(services_, record, network);
  // What failed half-way has left the network all the same.
  bool changed = attached && !record.endpoint_in(network.id);
  if (done || changed)
    if (auto saved = services_.containers.save(*container, record, db::Durability::kFull); !saved && done) done = saved;
  if (changed) tell(services_.events, network, record.id, "disconnect");
  return done;
}

void Lifecycle::settle_cni() {
  for (const auto& id : services_.cni.noted()) {
    auto container = services_.containers.find(id);
    if (!container) {
      services_.cni.detach(id);
      continue;
    }
    auto operation = (*container)->begin_operation();
    auto record = (*container)->snapshot();
    std::set<std::string> present;
    for (const auto& endpoint : record->endpoints)
      if (record->running() && endpoint.driver == kCniDriver) present.insert(endpoint.inside);
    services_.cni.detach(id, present);
    services_.cni.check(id);
  }
  services_.cni.collect_garbage();
}

Result<> Lifecycle::change_ports(const ContainerPtr& container, const spec::PortChange& change) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  TRY(engine::change_ports(services_, record, change));
  return services_.containers.save(*container, record, db::Durability::kFull);
}

}  // namespace caisson::engine
