// SPDX-License-Identifier: Apache-2.0
#include "network/subnet_plan.h"

#include "base/text.h"

namespace caisson::network {

namespace {
constexpr size_t kMaxReserved = 4096;  // of one network
}

Result<Subnet> choose_network_subnet(NetworkSpec& spec, const std::vector<Subnet>& used,
                                     const std::vector<SubnetBlock>& blocks) {
  if (!spec.v4.gateway.empty() || !spec.v4.range.empty())
    return fail(ErrorKind::kInvalid, "a gateway or range needs a subnet");
  auto subnet = TRY(choose_subnet(used, blocks));
  spec.v4.subnet = subnet.text();
  spec.v4.gateway = format_ipv4(subnet.address);
  return subnet;
}

Result<Subnet> check_network_subnet(NetworkSpec& spec, const std::vector<Subnet>& used) {
  Subnet subnet = TRY(parse_subnet(spec.v4.subnet));
  if (subnet.prefix < 8 || subnet.prefix > 30)
    return fail(ErrorKind::kInvalid, "subnet %s: the prefix must be between 8 and 30", spec.v4.subnet.c_str());
  subnet.address = subnet.network();
  if (spec.v4.gateway.empty()) {
    // The first address of the range, as far as there is one, else of the subnet.
    uint32_t base = spec.v4.range.empty() ? subnet.network() : TRY(parse_subnet(spec.v4.range)).network();
    spec.v4.gateway = format_ipv4(base == subnet.network() ? base + 1 : base);
  }
  auto gateway = parse_ipv4(spec.v4.gateway);
  if (!gateway) return fail(ErrorKind::kInvalid, "invalid gateway address %s", quoted(spec.v4.gateway).c_str());
  if (!subnet.contains(*gateway))
    return fail(ErrorKind::kInvalid, "no matching subnet for gateway %s", spec.v4.gateway.c_str());
  if (*gateway == subnet.network() || *gateway == subnet.broadcast())
    return fail(ErrorKind::kInvalid, "gateway %s is not the address of a host", spec.v4.gateway.c_str());
  for (const auto& other : used)
    if (other.overlaps(subnet))
      return fail(ErrorKind::kDenied, "invalid pool request: Pool overlaps with other one on this address space");
  subnet.address = *gateway;
  return subnet;
}

Result<std::unique_ptr<Ipam>> make_ipam(const NetworkSpec& spec, const Subnet& subnet) {
  auto ipam = std::make_unique<Ipam>(subnet);
  if (!spec.v4.range.empty()) TRY(ipam->restrict_to(TRY(parse_subnet(spec.v4.range))));
  if (spec.v4.reserved.size() > kMaxReserved)
    return fail(ErrorKind::kInvalid, "more than %zu auxiliary addresses", kMaxReserved);
  for (const auto& text : spec.v4.reserved) {
    auto address = parse_ipv4(text);
    if (!address) return fail(ErrorKind::kInvalid, "invalid auxiliary address %s", quoted(text).c_str());
    if (auto kept = ipam->reserve(*address); !kept)
      return fail(ErrorKind::kInvalid, "no matching subnet for aux-address %s", text.c_str());
  }
  return ipam;
}

}  // namespace caisson::network
