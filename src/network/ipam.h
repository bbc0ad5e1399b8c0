// SPDX-License-Identifier: Apache-2.0
// Addresses of one subnet: a bitmap, taken next-fit so that a freed address is not given out again at
// once. Not thread-safe; knows nothing of the kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "network/ipv4.h"

namespace caisson::network {

class Ipam {
 public:
  // `subnet.address` is the gateway; it, the network and the broadcast address are never given out.
  explicit Ipam(Subnet subnet);

  const Subnet& subnet() const { return subnet_; }
  // Addresses are chosen from `range` only; wanted ones may be of the whole subnet. kInvalid outside of it.
  Result<> restrict_to(const Subnet& range);
  Result<> reserve(uint32_t address);      // never given out again, wanted or not; kInvalid outside the subnet
  Result<uint32_t> take();                 // kExhausted when the subnet is full
  Result<> take_wanted(uint32_t address);  // kInvalid outside the subnet, kConflict when taken
  void release(uint32_t address);          // unknown addresses are fine

 private:
  bool is_reserved(uint32_t offset) const;
  bool used(uint32_t offset) const { return bits_[offset / 64] >> (offset % 64) & 1; }
  void set(uint32_t offset, bool on);

  Subnet subnet_;
  uint32_t size_;
  uint32_t first_ = 0, end_ = 0;  // offsets that are chosen from
  uint32_t next_ = 2;
  std::vector<uint32_t> reserved_;
  std::vector<uint64_t> bits_;
};

}  // namespace caisson::network
