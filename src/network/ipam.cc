// SPDX-License-Identifier: Apache-2.0
#include "network/ipam.h"

#include <algorithm>

namespace caisson::network {

Ipam::Ipam(Subnet subnet) : subnet_(subnet), size_(~subnet.mask() + 1), end_(size_), bits_((size_ + 63) / 64) {
  set(0, true);
  set(size_ - 1, true);
  set(subnet_.address - subnet_.network(), true);
}

bool Ipam::is_reserved(uint32_t offset) const {
  return offset == 0 || offset == size_ - 1 || offset == subnet_.address - subnet_.network() ||
         std::find(reserved_.begin(), reserved_.end(), offset) != reserved_.end();
}

void Ipam::set(uint32_t offset, bool on) {
  uint64_t bit = uint64_t{1} << (offset % 64);
  if (on)
    bits_[offset / 64] |= bit;
  else
    bits_[offset / 64] &= ~bit;
}

Result<> Ipam::restrict_to(const Subnet& range) {
  if (range.prefix < subnet_.prefix || !subnet_.contains(range.network()))
    return fail(ErrorKind::kInvalid, "range %s is not in the subnet %s", range.text().c_str(), subnet_.text().c_str());
  first_ = range.network() - subnet_.network();
  end_ = first_ + (~range.mask() + 1);
  next_ = first_;
  return {};
}

Result<> Ipam::reserve(uint32_t address) {
  if (!subnet_.contains(address))
    return fail(ErrorKind::kInvalid, "address %s is not in the subnet %s", format_ipv4(address).c_str(),
                subnet_.text().c_str());
  reserved_.push_back(address - subnet_.network());
  set(reserved_.back(), true);
  return {};
}

Result<uint32_t> Ipam::take() {
  uint32_t span = end_ - first_;
  uint32_t offset = next_ < first_ || next_ >= end_ ? first_ : next_;
  for (uint32_t seen = 0; seen < span; ++seen, offset = offset + 1 >= end_ ? first_ : offset + 1) {
    if (bits_[offset / 64] == ~uint64_t{0}) {  // a full word: go to its last bit
      uint32_t last = offset | 63;
      if (last >= end_) last = end_ - 1;
      seen += last - offset;
      offset = last;
      continue;
    }
    if (used(offset)) continue;
    set(offset, true);
    next_ = offset + 1;
    return subnet_.network() + offset;
  }
  return fail(ErrorKind::kExhausted, "no available IPv4 addresses on the subnet %s", subnet_.text().c_str());
}

Result<> Ipam::take_wanted(uint32_t address) {
  if (!subnet_.contains(address))
    return fail(ErrorKind::kInvalid, "address %s is not in the subnet %s", format_ipv4(address).c_str(),
                subnet_.text().c_str());
  uint32_t offset = address - subnet_.network();
  if (is_reserved(offset) || used(offset))
    return fail(ErrorKind::kConflict, "address %s is already in use", format_ipv4(address).c_str());
  set(offset, true);
  if (offset >= first_ && offset < end_) next_ = offset + 1;
  return {};
}

void Ipam::release(uint32_t address) {
  if (!subnet_.contains(address)) return;
  uint32_t offset = address - subnet_.network();
  if (!is_reserved(offset)) set(offset, false);
}

}  // namespace caisson::network
