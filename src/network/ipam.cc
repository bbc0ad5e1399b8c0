// SPDX-License-Identifier: Apache-2.0
#include "network/ipam.h"

namespace caisson::network {

Ipam::Ipam(IpSubnet subnet) : subnet_(subnet), first_(subnet.network().value), last_(subnet.last().value) {
  next_ = first_ + 2;
  reserved_ = {first_, subnet.address.value};
  if (!subnet.v6()) reserved_.insert(last_);
  used_ = reserved_;
}

Result<> Ipam::check_inside(const IpAddress& address) const {
  if (subnet_.contains(address)) return {};
  return fail(ErrorKind::kInvalid, "address %s is not in the subnet %s", address.text().c_str(),
              subnet_.text().c_str());
}

Result<> Ipam::restrict_to(const IpSubnet& range) {
  if (range.prefix < subnet_.prefix || !subnet_.contains(range.address))
    return fail(ErrorKind::kInvalid, "range %s is not in the subnet %s", range.text().c_str(), subnet_.text().c_str());
  first_ = next_ = range.network().value;
  last_ = range.last().value;
  return {};
}

Result<> Ipam::reserve(const IpAddress& address) {
  TRY(check_inside(address));
  reserved_.insert(address.value);
  used_.insert(address.value);
  return {};
}

Result<IpAddress> Ipam::take() {
  auto free_from = [this](Uint128 start) {
    Uint128 candidate = start;
    for (auto at = used_.lower_bound(start); at != used_.end() && *at == candidate && candidate <= last_; ++at)
      ++candidate;
    return candidate;
  };
  Uint128 start = next_ < first_ || next_ > last_ ? first_ : next_;
  Uint128 candidate = free_from(start);
  // Past the end, or past the highest address there is.
  if (candidate > last_ || candidate < start) {
    candidate = free_from(first_);
    if (candidate > last_ || candidate >= start || candidate < first_)
      return fail(ErrorKind::kExhausted, "no available %s addresses on the subnet %s", subnet_.v6() ? "IPv6" : "IPv4",
                  subnet_.text().c_str());
  }
  used_.insert(candidate);
  next_ = candidate + 1;
  return IpAddress{subnet_.v6(), candidate};
}

Result<> Ipam::take_wanted(const IpAddress& address) {
  TRY(check_inside(address));
  if (!used_.insert(address.value).second)
    return fail(ErrorKind::kConflict, "address %s is already in use", address.text().c_str());
  if (address.value >= first_ && address.value <= last_) next_ = address.value + 1;
  return {};
}

void Ipam::release(const IpAddress& address) {
  if (subnet_.contains(address) && !reserved_.contains(address.value)) used_.erase(address.value);
}

}  // namespace caisson::network
