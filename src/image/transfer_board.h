// SPDX-License-Identifier: Apache-2.0
// Which layers are being brought in right now, so that two pulls of one layer share the work: one flies, the others
// look on and see its progress. Where the one fails, a looker-on takes over. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace caisson::image {

class TransferBoard {
 public:
  TransferBoard();
  ~TransferBoard();

  enum class Phase : unsigned char { kDownloading, kUnpacking };
  struct Flight {
    std::string key;
    std::atomic<int64_t> bytes = 0;
    std::atomic<Phase> phase = Phase::kDownloading;
    bool is_over = false;  // guarded by the board
  };

  // One's own flight ends with this object.
  class Seat {
   public:
    Seat(TransferBoard& board, std::shared_ptr<Flight> flight, bool is_pilot)
        : board_(&board), flight_(std::move(flight)), is_pilot_(is_pilot) {}
    Seat(Seat&& other) noexcept = default;
    ~Seat() {
      if (flight_ && is_pilot_) board_->end(*flight_);
    }
    bool is_pilot() const { return is_pilot_; }
    Flight& flight() const { return *flight_; }
    // True when the flight is over, false after `milliseconds`.
    bool wait(int milliseconds) const { return board_->wait(*flight_, milliseconds); }

   private:
    TransferBoard* board_;
    std::shared_ptr<Flight> flight_;
    bool is_pilot_;
  };
  Seat join(const std::string& key);

 private:
  void end(Flight& flight);
  bool wait(Flight& flight, int milliseconds);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::image
