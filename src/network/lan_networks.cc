// SPDX-License-Identifier: Apache-2.0
#include "network/lan_networks.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "network/mac_address.h"
#include "sys/files.h"
#include "sys/rtnetlink_lan.h"

namespace caisson::network {

namespace {

constexpr int64_t kLeftoverMs = 10'000;

// Where nobody says which: bridges take theirs from 172.16.0.0/12 first.
Result<IpSubnet> choose_lan_subnet(const std::vector<IpSubnet>& avoid) {
  for (uint32_t third = 255; third > 0; --third) {
    IpSubnet subnet{IpAddress::ipv4(0xc0a80000u | third << 8), 24};
    if (std::none_of(avoid.begin(), avoid.end(), [&](const auto& used) { return used.overlaps(subnet); }))
      return subnet;
  }
  return fail(ErrorKind::kExhausted, "all subnets of 192.168.0.0/16 are in use");
}

Result<IpAddress> parse_inside(const std::string& text, const IpSubnet& subnet, const char* what) {
  auto address = parse_ip(text);
  if (!address || !subnet.contains(*address))
    return fail(ErrorKind::kInvalid, "%s %s is not in the subnet %s", what, quoted(text.substr(0, 64)).c_str(),
                subnet.text().c_str());
  return *address;
}

sys::MacAddress mac_for(const std::vector<IpAddress>& addresses) {
  for (const auto& address : addresses)
    if (!address.v6) return mac_of(address);
  sys::MacAddress mac;
  random_bytes(mac.data(), mac.size());
  mac[0] = static_cast<uint8_t>((mac[0] & 0xfe) | 2);
  return mac;
}

}  // namespace

struct LanNetworks::Locks {
  std::mutex setup;  // kernel work on parents
  std::mutex data;
};

LanNetworks::LanNetworks(NetworkManager& manager, std::string alias)
    : manager_(manager), alias_(std::move(alias)), locks_(std::make_unique<Locks>()) {}
LanNetworks::~LanNetworks() = default;

// --- addresses ------------------------------------------------------------------------------------------

Result<LanNetworks::Pool> LanNetworks::make_pool(LanSpec::Pool& spec, bool routed, const std::vector<IpSubnet>& avoid) {
  IpSubnet subnet = spec.subnet.empty() ? TRY(choose_lan_subnet(avoid)) : TRY(parse_ip_subnet(spec.subnet));
  subnet.address = subnet.network();
  if (subnet.prefix > subnet.address.width() - 2)
    return fail(ErrorKind::kInvalid, "subnet %s is too small", subnet.text().c_str());
  for (const auto& other : avoid)
    if (other.overlaps(subnet))
      return fail(ErrorKind::kDenied, "invalid pool request: Pool overlaps with other one on this address space");
  IpAddress gateway{subnet.v6(), subnet.network().value + 1};
  if (!spec.gateway.empty()) gateway = TRY(parse_inside(spec.gateway, subnet, "gateway"));
  subnet.address = gateway;
  Pool pool{subnet, Ipam(subnet)};
  if (!spec.range.empty()) TRY(pool.ipam.restrict_to(TRY(parse_ip_subnet(spec.range))));
  for (const auto& text : spec.reserved) TRY(pool.ipam.reserve(TRY(parse_inside(text, subnet, "auxiliary address"))));
  spec.subnet = IpSubnet{subnet.network(), subnet.prefix}.text();
  spec.gateway = routed ? "" : gateway.text();
  return pool;
}

Result<std::vector<IpAddress>> LanNetworks::reserve(Network& network, const AttachRequest& request) {
  std::lock_guard lock(locks_->data);
  auto known = networks_.find(request.network_id);
  if (known == networks_.end() || known->second.get() != &network)  // removed meanwhile
    return fail(ErrorKind::kNotFound, "network %s not found", network.spec.name.c_str());
  if (network.members.contains(request.container_id))
    return fail(ErrorKind::kConflict, "container '%s' is attached already", request.container_id.c_str());
  std::vector<IpAddress> taken;
  Rollback undo;
  undo.add([&] {
    for (size_t i = 0; i < taken.size(); ++i) network.pools[i].ipam.release(taken[i]);
  });
  for (auto& pool : network.pools) {
    const auto& wanted = pool.subnet.v6() ? request.address6 : request.address;
    if (wanted.empty()) {
      taken.push_back(TRY(pool.ipam.take()));
      continue;
    }
    auto address = TRY(parse_inside(wanted, pool.subnet, "address"));
    TRY(pool.ipam.take_wanted(address));
    taken.push_back(address);
  }
  undo.commit();
  network.members[request.container_id] = taken;
  return taken;
}

void LanNetworks::release(Network& network, const std::string& container_id) {
  std::lock_guard lock(locks_->data);
  auto found = network.members.find(container_id);
  if (found == network.members.end()) return;
  for (auto& pool : network.pools)
    for (const auto& address : found->second)
      if (address.v6 == pool.subnet.v6()) pool.ipam.release(address);
  network.members.erase(found);
}

// --- networks -------------------------------------------------------------------------------------------

Result<std::shared_ptr<LanNetworks::Network>> LanNetworks::find(const std::string& id) {
  std::lock_guard lock(locks_->data);
  auto found = networks_.find(id);
  if (found == networks_.end()) return fail(ErrorKind::kNotFound, "network %s not found", id.c_str());
  return found->second;
}

Result<> LanNetworks::remove_parents() {
  std::lock_guard setup(locks_->setup);
  std::vector<LanPlan> plans;
  {
    std::lock_guard lock(locks_->data);
    for (const auto& [id, network] : networks_) plans.push_back(network->plan);
  }
  for (const auto& plan : plans) TRY(remove_lan_parent(plan, alias_));
  return {};
}

Result<> LanNetworks::add(LanSpec& spec, const std::vector<IpSubnet>& avoid, bool make) {
  auto network = std::make_shared<Network>();
  network->plan = TRY(plan_lan(spec.driver, spec.options, spec.id, spec.internal));
  if (spec.pools.empty()) spec.pools.emplace_back();
  for (auto& pool : spec.pools) {
    network->pools.push_back(TRY(make_pool(pool, network->plan.routed, avoid)));
    for (size_t i = 0; i + 1 < network->pools.size(); ++i)
      if (network->pools[i].subnet.v6() == network->pools.back().subnet.v6())
        return fail(ErrorKind::kInvalid, "networks of driver %s have one subnet of a family", spec.driver.c_str());
  }
  network->spec = spec;
  std::lock_guard setup(locks_->setup);
  {
    std::lock_guard lock(locks_->data);
    for (const auto& [id, other] : networks_)
      if (other->plan.parent == network->plan.parent)
        return fail(ErrorKind::kDenied, "network %s is already using parent interface %s", other->spec.name.c_str(),
                    network->plan.parent.c_str());
  }
  if (make) {
    TRY(check_lan_kernel(network->plan));
    TRY(ensure_lan_parent(network->plan, alias_));
  }
  std::lock_guard lock(locks_->data);
  networks_[spec.id] = std::move(network);
  return {};
}

Result<> LanNetworks::remove(const std::string& id) {
  std::lock_guard setup(locks_->setup);
  std::shared_ptr<Network> network;
  {
    std::lock_guard lock(locks_->data);
    auto found = networks_.find(id);
    if (found == networks_.end()) return {};
    if (!found->second->members.empty())
      return fail(ErrorKind::kConflict, "network %s has active endpoints", found->second->spec.name.c_str());
    network = std::move(found->second);
    networks_.erase(found);
  }
  return remove_lan_parent(network->plan, alias_);
}

// Is it something that goes by itself?
bool LanNetworks::may_be_leftover(const Error& error, Network& network) {
  if (error.err == EADDRINUSE) return true;
  std::lock_guard lock(locks_->data);
  return error.kind == ErrorKind::kConflict && network.members.size() == 1;
}

// IPv6 is off for links of a new namespace, see sys/netns.h.
Result<> LanNetworks::prepare_inside(Sandbox& sandbox, const std::string& interface, bool v6,
                                     const std::vector<Setting>& settings) {
  if (!v6 && settings.empty()) return {};
  return manager_.run_inside(sandbox.netns.get(), [&]() -> Result<> {
    const std::string conf = "/proc/sys/net/ipv6/conf/" + interface + "/";
    if (v6) {
      TRY_CTX(sys::write_file(conf + "accept_ra", "0"), "turn on IPv6 in the container");
      TRY_CTX(sys::write_file(conf + "disable_ipv6", "0"), "turn on IPv6 in the container");
    }
    return apply_settings(settings);
  });
}

// --- endpoints ------------------------------------------------------------------------------------------

Result<Endpoint> LanNetworks::attach(Sandbox& sandbox, const AttachRequest& request) {
  auto network = TRY(find(request.network_id));
  const auto& plan = network->plan;
  if (!sys::is_interface_name(request.inside))
    return fail(ErrorKind::kInvalid, "%s is not a name of an interface", quoted(request.inside).c_str());
  if (!request.link_local.empty())
    return fail(ErrorKind::kUnsupported, "network %s: networks of driver %s take no link-local addresses",
                network->spec.name.c_str(), network->spec.driver.c_str());
  if (request.limit_in)
    return fail(ErrorKind::kUnsupported, "network %s: what comes in cannot be limited on networks of driver %s",
                network->spec.name.c_str(), network->spec.driver.c_str());
  auto settings = TRY(parse_settings(request.sysctls, request.inside));
  std::optional<sys::MacAddress> mac;
  if (!request.mac.empty()) {
    if (!plan.has_mac())
      return fail(ErrorKind::kInvalid, "a MAC address cannot be chosen on networks of driver %s: it is the parent's",
                  network->spec.driver.c_str());
    mac = parse_mac(request.mac);
    if (!mac || (*mac)[0] & 1 || *mac == sys::MacAddress{})
      return fail(ErrorKind::kInvalid, "%s is not a MAC address of a station", quoted(request.mac).c_str());
  }
  auto addresses = TRY(reserve(*network, request));
  Rollback undo;
  undo.add([&] { release(*network, request.container_id); });
  // passthru hands the parent's own address through.
  if (!mac && plan.has_mac() && plan.takes_mac()) mac = mac_for(addresses);
  int parent = 0;
  {
    std::lock_guard setup(locks_->setup);
    parent = TRY(ensure_lan_parent(plan, alias_));
  }
  Endpoint endpoint;
  endpoint.container_id = request.container_id;
  endpoint.network_id = request.network_id;
  endpoint.inside = request.inside;
  sys::LanSetup setup;
  setup.name = request.inside;
  bool way_out = !network->spec.internal, any_v6 = false;
  for (size_t i = 0; i < addresses.size(); ++i) {
    const auto& pool = network->pools[i];
    bool v6 = pool.subnet.v6();
    setup.addresses.push_back({addresses[i].bytes(), pool.subnet.prefix});
    std::string gateway = way_out && !plan.routed ? pool.subnet.address.text() : "";
    any_v6 = any_v6 || v6;
    (v6 ? endpoint.address6 : endpoint.address) = addresses[i].text();
    (v6 ? endpoint.prefix6 : endpoint.prefix) = pool.subnet.prefix;
    (v6 ? endpoint.gateway6 : endpoint.gateway) = gateway;
    if (!way_out || !(v6 ? request.default_route6 : request.default_route)) continue;
    setup.default_routes.push_back({v6, plan.routed ? "" : pool.subnet.address.bytes()});
  }
  auto plug = [&]() -> Result<> {
    TRY(create_lan_link(plan, parent, sandbox.netns.get(), request.inside, mac, network->spec.mtu));
    Rollback unplug;
    unplug.add([&] {
      if (auto gone = sandbox.route.delete_link(request.inside); !gone)
        log_debug("%s, ignoring", gone.error().message.c_str());
    });
    TRY(prepare_inside(sandbox, request.inside, any_v6, settings));
    endpoint.mac = format_mac(TRY(sandbox.route.set_up_on_lan(setup)));
    if (request.limit_out) TRY(sandbox.route.limit_rate(request.inside, request.limit_out));
    unplug.commit();
    return {};
  };
  auto done = plug();
  // A namespace is taken apart some time after its last process; until then the parent knows the link of the run
  // before, with its addresses.
  int64_t deadline = monotonic_ns() + kLeftoverMs * 1'000'000;
  while (!done && may_be_leftover(done.error(), *network) && monotonic_ns() < deadline) {
    usleep(20'000);
    done = plug();
  }
  if (!done) return std::unexpected(done.error());
  undo.commit();
  return endpoint;
}

Result<> LanNetworks::disconnect(Sandbox& sandbox, const Endpoint& endpoint) {
  TRY(sandbox.route.delete_link(endpoint.inside));
  if (auto network = find(endpoint.network_id)) release(**network, endpoint.container_id);
  return {};
}

void LanNetworks::detach(const std::string& container_id) {
  std::vector<std::shared_ptr<Network>> all;
  {
    std::lock_guard lock(locks_->data);
    for (const auto& [id, network] : networks_)
      if (network->members.contains(container_id)) all.push_back(network);
  }
  for (const auto& network : all) release(*network, container_id);
}

Result<> LanNetworks::restore(const Endpoint& endpoint) {
  auto network = TRY(find(endpoint.network_id));
  std::lock_guard lock(locks_->data);
  auto& addresses = network->members[endpoint.container_id];
  for (const auto& text : {endpoint.address, endpoint.address6}) {
    auto address = parse_ip(text);
    if (!address) continue;
    for (auto& pool : network->pools)
      if (pool.subnet.contains(*address) && pool.ipam.take_wanted(*address)) addresses.push_back(*address);
  }
  return {};
}

}  // namespace caisson::network
