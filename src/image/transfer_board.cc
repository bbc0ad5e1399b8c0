// SPDX-License-Identifier: Apache-2.0
#include "image/transfer_board.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

namespace caisson::image {

struct TransferBoard::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::shared_ptr<Flight>> flights;
};

TransferBoard::TransferBoard() : state_(std::make_unique<State>()) {}
TransferBoard::~TransferBoard() = default;

TransferBoard::Seat TransferBoard::join(const std::string& key) {
  std::lock_guard lock(state_->mutex);
  auto [entry, is_new] = state_->flights.try_emplace(key);
  if (is_new) {
    entry->second = std::make_shared<Flight>();
    entry->second->key = key;
  }
  return Seat(*this, entry->second, is_new);
}

void TransferBoard::end(Flight& flight) {
  std::lock_guard lock(state_->mutex);
  flight.is_over = true;
  state_->flights.erase(flight.key);
  state_->changed.notify_all();
}

bool TransferBoard::wait(Flight& flight, int milliseconds) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return flight.is_over; });
}

}  // namespace caisson::image
