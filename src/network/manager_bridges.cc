// SPDX-License-Identifier: Apache-2.0
// Bridges that somebody deleted or took addresses from: made again, with their containers on them.
#include <algorithm>

#include "base/log.h"
#include "network/manager.h"
#include "sys/rtnetlink.h"

namespace caisson::network {

int Manager::link_events() {
  auto opened = LinkWatch::open();
  if (!opened) {
    log_warn("changes of the host's links are not watched: %s", opened.error().message.c_str());
    return -1;
  }
  links_ = std::move(*opened);
  return links_->fd();
}

bool Manager::bridges_are_lost() {
  auto links = links_->read();
  std::lock_guard lock(mutex_);
  for (const auto& [index, network] : bridges_)
    if (!links || links->contains(index)) lost_bridges_.insert(index);
  return !lost_bridges_.empty();
}

// With setup_mutex_.
void Manager::set_bridge(const NetworkPtr& network, int index) {
  std::lock_guard lock(mutex_);
  bridges_.erase(network->bridge_index);
  network->bridge_index = index;
  bridges_[index] = network;
}

// Does nothing for a link that is on the bridge with these properties.
Result<> Manager::plug_again(const Network& network, int bridge, const std::string& interface, bool hairpin) {
  auto route = TRY(sys::RouteSocket::open());
  TRY(route.set_master(interface, bridge));
  if (hairpin) TRY(route.set_hairpin(interface));
  if (!network.spec.icc) TRY(route.set_isolated(interface));
  return {};
}

// With setup_mutex_, on a bridge that may be a new one.
void Manager::plug_all_again(const NetworkPtr& network) {
  std::vector<std::pair<std::string, bool>> links;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [key, record] : endpoints_)
      if (record.network == network && !record.interface.empty())
        links.push_back({record.interface, !record.ports.empty()});
  }
  for (const auto& [interface, hairpin] : links)
    if (auto done = plug_again(*network, network->bridge_index, interface, hairpin); !done)
      log_warn("%s, ignoring", done.error().message.c_str());
}

Result<> Manager::repair_bridges() {
  std::lock_guard setup(setup_mutex_);
  std::vector<NetworkPtr> lost;
  {
    std::lock_guard lock(mutex_);
    for (int index : std::exchange(lost_bridges_, {}))
      if (auto found = bridges_.find(index); found != bridges_.end()) lost.push_back(found->second);
  }
  Result<> outcome;
  for (const auto& network : lost) {
    if (!network->ready) continue;
    const auto& spec = network->spec;
    auto route = TRY(sys::RouteSocket::open());
    auto link = TRY(route.find_link(spec.bridge));
    bool same = link && link->index == network->bridge_index;
    if (!same) log_info("somebody deleted bridge '%s', making it again", spec.bridge.c_str());
    auto made = ensure_bridge(bridge_of(*network));
    if (!made) {
      // The next container tries again.
      network->ready = false;
      if (outcome) outcome = with_context(made.error(), "set up bridge '" + spec.bridge + "'");
      continue;
    }
    if (same) continue;
    set_bridge(network, *made);
    if (network->loopback_allowed)
      if (auto done = allow_loopback_publishing(spec.bridge); !done) log_warn("%s", done.error().message.c_str());
    plug_all_again(network);
  }
  return outcome;
}

}  // namespace caisson::network
