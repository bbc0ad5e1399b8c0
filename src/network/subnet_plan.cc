// SPDX-License-Identifier: Apache-2.0
#include "network/subnet_plan.h"

#include <algorithm>

#include "base/text.h"

namespace caisson::network {

namespace {
constexpr size_t kMaxReserved = 4096;  // of one network

int smallest_prefix(bool v6) { return v6 ? 16 : 8; }
int largest_prefix(bool v6) { return v6 ? 126 : 30; }

bool is_host(const IpSubnet& subnet, const IpAddress& address) {
  return subnet.contains(address) && address != subnet.network() && (subnet.v6() || address != subnet.last());
}

// Chosen subnets have to stay the same over restarts, not to be secret.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash ^ hash >> 29;
}

SubnetBlock ula_block(std::string_view seed) {
  Uint128 id = hash_of(seed) & 0xffffffffff;
  return {{{true, Uint128{0xfd} << 120 | id << 80}, 48}, 64};
}

std::vector<SubnetBlock> ipv4_blocks() {
  std::vector<SubnetBlock> blocks;
  for (uint32_t second = 17; second <= 31; ++second)
    blocks.push_back({{IpAddress::ipv4(172u << 24 | second << 16), 16}, 16});
  blocks.push_back({{IpAddress::ipv4(192u << 24 | 168u << 16), 16}, 20});
  return blocks;
}
}  // namespace

std::vector<SubnetBlock> default_blocks(std::string_view seed) {
  auto blocks = ipv4_blocks();
  blocks.push_back(ula_block(seed));
  return blocks;
}

Result<std::vector<SubnetBlock>> parse_blocks(const std::vector<AddressBlock>& given, std::string_view seed) {
  std::vector<SubnetBlock> blocks;
  bool v4 = false, v6 = false;
  for (const auto& block : given) {
    auto base = TRY_CTX(parse_ip_subnet(block.base), "default address pool");
    if (base.prefix < smallest_prefix(base.v6()) || block.size < base.prefix || block.size > largest_prefix(base.v6()))
      return fail(ErrorKind::kInvalid, "default address pool %s: size %d is not between its prefix and %d",
                  block.base.c_str(), block.size, largest_prefix(base.v6()));
    (base.v6() ? v6 : v4) = true;
    base.address = base.network();
    blocks.push_back({base, block.size});
  }
  if (!v4) {
    auto more = ipv4_blocks();
    blocks.insert(blocks.end(), more.begin(), more.end());
  }
  if (!v6) blocks.push_back(ula_block(seed));
  return blocks;
}

Result<IpSubnet> parse_gateway(std::string_view text) {
  auto subnet = parse_ip_subnet(text);
  if (!subnet) return fail(ErrorKind::kInvalid, "bridge address %s is not an address and prefix", quoted(text).c_str());
  bool v6 = subnet->v6();
  if (subnet->prefix < smallest_prefix(v6) || subnet->prefix > largest_prefix(v6))
    return fail(ErrorKind::kInvalid, "bridge address %s: prefix must be between %d and %d", quoted(text).c_str(),
                smallest_prefix(v6), largest_prefix(v6));
  if (!is_host(*subnet, subnet->address))
    return fail(ErrorKind::kInvalid, "bridge address %s is not the address of a host", quoted(text).c_str());
  return *subnet;
}

Result<IpSubnet> choose_subnet(bool v6, const std::vector<IpSubnet>& used, const std::vector<SubnetBlock>& blocks) {
  for (const auto& block : blocks) {
    if (block.base.v6() != v6) continue;
    IpSubnet candidate{block.base.network(), block.size};
    Uint128 last = block.base.last().value, step = candidate.host_mask() + 1;
    while (true) {
      auto taken =
          std::find_if(used.begin(), used.end(), [&](const IpSubnet& other) { return other.overlaps(candidate); });
      if (taken == used.end()) {
        ++candidate.address.value;
        return candidate;
      }
      // The first one after what is in the way, in one step however large that is.
      Uint128 end = std::max(taken->last().value, candidate.last().value);
      if (end >= last || end + 1 == 0) break;
      candidate.address.value = (end / step + 1) * step;
      if (candidate.address.value > last) break;
    }
  }
  return fail(
      ErrorKind::kExhausted,
      "could not find an available, non-overlapping %s address pool among the defaults to assign to the network",
      v6 ? "IPv6" : "IPv4");
}

Result<IpSubnet> plan_subnet(AddressPlan& plan, bool v6, const std::vector<IpSubnet>& used,
                             const std::vector<SubnetBlock>& blocks) {
  if (plan.subnet.empty()) {
    if (!plan.gateway.empty() || !plan.range.empty())
      return fail(ErrorKind::kInvalid, "a gateway or range needs a subnet");
    auto chosen = TRY(choose_subnet(v6, used, blocks));
    plan.subnet = chosen.text();
    if (plan.mode == GatewayMode::kIsolated)
      chosen.address = chosen.network();
    else
      plan.gateway = chosen.address.text();
    return chosen;
  }
  IpSubnet subnet = TRY(parse_ip_subnet(plan.subnet));
  if (subnet.v6() != v6)
    return fail(ErrorKind::kInvalid, "subnet %s is not of %s", plan.subnet.c_str(), v6 ? "IPv6" : "IPv4");
  if (subnet.prefix < smallest_prefix(v6) || subnet.prefix > largest_prefix(v6))
    return fail(ErrorKind::kInvalid, "subnet %s: the prefix must be between %d and %d", plan.subnet.c_str(),
                smallest_prefix(v6), largest_prefix(v6));
  subnet.address = subnet.network();
  if (plan.mode == GatewayMode::kIsolated) {
    plan.gateway.clear();
  } else {
    if (plan.gateway.empty()) {
      // The first address of the range, as far as there is one, else of the subnet.
      IpAddress base = plan.range.empty() ? subnet.network() : TRY(parse_ip_subnet(plan.range)).network();
      if (base == subnet.network()) ++base.value;
      plan.gateway = base.text();
    }
    auto gateway = parse_ip(plan.gateway);
    if (!gateway) return fail(ErrorKind::kInvalid, "invalid gateway address %s", quoted(plan.gateway).c_str());
    if (!subnet.contains(*gateway))
      return fail(ErrorKind::kInvalid, "no matching subnet for gateway %s", plan.gateway.c_str());
    if (!is_host(subnet, *gateway))
      return fail(ErrorKind::kInvalid, "gateway %s is not the address of a host", plan.gateway.c_str());
    subnet.address = *gateway;
  }
  for (const auto& other : used)
    if (other.overlaps(subnet))
      return fail(ErrorKind::kDenied, "invalid pool request: Pool overlaps with other one on this address space");
  return subnet;
}

Result<std::unique_ptr<Ipam>> make_ipam(const AddressPlan& plan, const IpSubnet& subnet) {
  auto ipam = std::make_unique<Ipam>(subnet);
  if (!plan.range.empty()) TRY(ipam->restrict_to(TRY(parse_ip_subnet(plan.range))));
  if (plan.reserved.size() > kMaxReserved)
    return fail(ErrorKind::kInvalid, "more than %zu auxiliary addresses", kMaxReserved);
  for (const auto& text : plan.reserved) {
    auto address = parse_ip(text);
    if (!address) return fail(ErrorKind::kInvalid, "invalid auxiliary address %s", quoted(text).c_str());
    if (auto kept = ipam->reserve(*address); !kept)
      return fail(ErrorKind::kInvalid, "no matching subnet for aux-address %s", text.c_str());
  }
  return ipam;
}

}  // namespace caisson::network
