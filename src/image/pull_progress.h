// SPDX-License-Identifier: Apache-2.0
// The JSON lines of Docker's pull and push streams, exact to the field order. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "image/image_store.h"

namespace caisson::image {

// {"status":"...","id":"..."}; without id when it is empty.
std::string status_line(std::string_view status, std::string_view id = "");
// {"status":"...","progressDetail":{},"id":"..."}
std::string layer_line(std::string_view status, std::string_view id);
// With the counts and the bar that clients older than progressDetail print.
std::string transfer_line(std::string_view status, std::string_view id, int64_t current, int64_t total);
// {"errorDetail":{"message":"..."},"error":"..."}
std::string error_line(std::string_view message);
// {"progressDetail":{},"aux":{"Tag":"...","Digest":"...","Size":1}}
std::string push_aux_line(std::string_view tag, std::string_view digest, int64_t size);
// "[=====>    ]  1.2MB/3.4MB"
std::string progress_bar(int64_t current, int64_t total);

// First 12 hex digits of "sha256:...", how layers are named on the stream.
std::string short_digest(std::string_view digest);

// Serializes lines of several threads and drops transfer lines that come too fast for one layer.
class ProgressSink {
 public:
  explicit ProgressSink(const Progress& out);
  ~ProgressSink();
  void send(const std::string& line);
  bool started() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Byte counts of one layer, told at most ten times a second; the last one always.
class TransferMeter {
 public:
  TransferMeter(ProgressSink& sink, std::string status, std::string id, int64_t total)
      : sink_(sink), status_(std::move(status)), id_(std::move(id)), total_(total) {}
  void at(int64_t current);

 private:
  ProgressSink& sink_;
  std::string status_, id_;
  int64_t total_, last_ns_ = 0;
};

}  // namespace caisson::image
