// SPDX-License-Identifier: Apache-2.0
#include "image/transfer_board.h"

#include <chrono>

namespace caisson::image {

TransferBoard::Seat TransferBoard::join(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto [entry, is_new] = flights_.try_emplace(key);
  if (is_new) {
    entry->second = std::make_shared<Flight>();
    entry->second->key = key;
  }
  return Seat(*this, entry->second, is_new);
}

void TransferBoard::end(Flight& flight) {
  std::lock_guard lock(mutex_);
  flight.is_over = true;
  flights_.erase(flight.key);
  changed_.notify_all();
}

bool TransferBoard::wait(Flight& flight, int milliseconds) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return flight.is_over; });
}

}  // namespace caisson::image
