// SPDX-License-Identifier: Apache-2.0
// Addresses of one subnet of either family, taken next-fit so that a freed address is not given out again at
// once. Memory goes by the addresses in use. Not thread-safe; knows nothing of the kernel.
#pragma once

#include <set>

#include "base/ip_address.h"
#include "base/result.h"

namespace caisson::network {

class Ipam {
 public:
  // `subnet.address` is the gateway; it, the network and (IPv4) the broadcast address are never given out.
  explicit Ipam(IpSubnet subnet);

  const IpSubnet& subnet() const { return subnet_; }
  // Addresses are chosen from `range` only; wanted ones may be of the whole subnet. kInvalid outside of it.
  Result<> restrict_to(const IpSubnet& range);
  Result<> reserve(const IpAddress& address);      // never given out again, wanted or not; kInvalid outside the subnet
  Result<IpAddress> take();                        // kExhausted when the subnet is full
  Result<> take_wanted(const IpAddress& address);  // kInvalid outside the subnet, kConflict when taken
  void release(const IpAddress& address);          // unknown addresses are fine

 private:
  Result<> check_inside(const IpAddress& address) const;

  IpSubnet subnet_;
  Uint128 first_ = 0, last_ = 0;  // that are chosen from
  Uint128 next_ = 0;
  std::set<Uint128> used_, reserved_;  // used_ has the reserved ones too
};

}  // namespace caisson::network
