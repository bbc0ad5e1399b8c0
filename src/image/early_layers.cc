// SPDX-License-Identifier: Apache-2.0
#include "image/early_layers.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "sys/files.h"
#include "wire/compress_peek.h"

namespace caisson::image {

namespace {
// Documents are smaller; unpacking small layers is not worth a thread.
constexpr int64_t kMinSize = 1 << 20;
constexpr size_t kMaxWaiting = 256;  // each holds a descriptor
// No layer: with it below, one is unpacked by itself or not at all.
constexpr const char* kNobody = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
}  // namespace

struct EarlyLayers::State {
  struct Offer {
    UniqueFd file;
    std::string digest;
    int64_t size;
  };
  DiskImageStore& store;
  ProgressSink& progress;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Offer> waiting;
  bool is_over = false;
  std::thread thread;

  void run();
  void unpack(Offer offer);
};

void EarlyLayers::State::unpack(Offer offer) {
  sys::FdSource source(offer.file.get());
  auto peeked = compress::PeekedSource::open(source);
  if (!peeked || (*peeked)->format() != compress::Format::kNone || store.has_layer(offer.digest)) return;
  auto done = store.add_layer(offer.digest, {kNobody}, **peeked, true);
  if (!done) return log_debug("early layer %.19s: %s, ignoring", offer.digest.c_str(), done.error().message.c_str());
  std::string id = short_digest(offer.digest);
  progress.send(transfer_line("Loading layer", id, 0, offer.size));
  progress.send(transfer_line("Loading layer", id, offer.size, offer.size));
}

void EarlyLayers::State::run() {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [&] { return is_over || !waiting.empty(); });
    if (is_over) return;
    Offer offer = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    unpack(std::move(offer));
    lock.lock();
  }
}

EarlyLayers::EarlyLayers(DiskImageStore& store, ProgressSink& progress)
    : state_(new State{.store = store,
                       .progress = progress,
                       .mutex = {},
                       .changed = {},
                       .waiting = {},
                       .is_over = false,
                       .thread = {}}) {}
EarlyLayers::~EarlyLayers() { finish(); }

void EarlyLayers::offer(const SpooledBlob& member) {
  if (static_cast<int64_t>(member.size()) < kMinSize) return;
  auto file = member.open();
  if (!file) return;
  std::lock_guard lock(state_->mutex);
  if (state_->is_over || state_->waiting.size() >= kMaxWaiting) return;
  if (!state_->thread.joinable()) state_->thread = std::thread([state = state_.get()] { state->run(); });
  state_->waiting.push_back({std::move(*file), member.digest(), static_cast<int64_t>(member.size())});
  state_->changed.notify_one();
}

void EarlyLayers::finish() {
  {
    std::lock_guard lock(state_->mutex);
    state_->is_over = true;
    state_->changed.notify_one();
  }
  if (state_->thread.joinable()) state_->thread.join();
}

}  // namespace caisson::image
