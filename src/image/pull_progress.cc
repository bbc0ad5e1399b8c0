// SPDX-License-Identifier: Apache-2.0
#include "image/pull_progress.h"

#include <mutex>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "wire/json.h"

namespace caisson::image {
namespace {

constexpr int64_t kLineIntervalNs = 100'000'000;

// Go's units.HumanSize: four significant digits, powers of 1000.
std::string human_size(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) value /= 1000, ++unit;
  return format("%.4g%s", value, kUnits[unit]);
}

}  // namespace

std::string status_line(std::string_view status, std::string_view id) {
  std::string line = "{\"status\":" + json::quote(status);
  if (!id.empty()) line += ",\"id\":" + json::quote(id);
  return line + "}\r\n";
}

std::string layer_line(std::string_view status, std::string_view id) {
  return "{\"status\":" + json::quote(status) + ",\"progressDetail\":{},\"id\":" + json::quote(id) + "}\r\n";
}

std::string progress_bar(int64_t current, int64_t total) {
  if (current <= 0 && total <= 0) return "";
  if (total <= 0) return format("%8s", human_size(current).c_str());
  int filled = std::min(50, static_cast<int>(static_cast<double>(current) / static_cast<double>(total) * 100) / 2);
  std::string bar = "[" + std::string(static_cast<size_t>(filled), '=') + ">" +
                    std::string(static_cast<size_t>(50 - filled), ' ') + "] ";
  if (current > total) return bar + format("%8s", human_size(current).c_str());
  return bar + format("%8s/%s", human_size(current).c_str(), human_size(total).c_str());
}

std::string transfer_line(std::string_view status, std::string_view id, int64_t current, int64_t total) {
  std::string detail = "{\"current\":" + std::to_string(current);
  if (total > 0) detail += ",\"total\":" + std::to_string(total);
  return "{\"status\":" + json::quote(status) + ",\"progressDetail\":" + detail +
         "},\"progress\":" + json::quote(progress_bar(current, total)) + ",\"id\":" + json::quote(id) + "}\r\n";
}

std::string error_line(std::string_view message) {
  std::string text = json::quote(message);
  return "{\"errorDetail\":{\"message\":" + text + "},\"error\":" + text + "}\r\n";
}

std::string push_aux_line(std::string_view tag, std::string_view digest, int64_t size) {
  return "{\"progressDetail\":{},\"aux\":{\"Tag\":" + json::quote(tag) + ",\"Digest\":" + json::quote(digest) +
         ",\"Size\":" + std::to_string(size) + "}}\r\n";
}

std::string short_digest(std::string_view digest) {
  size_t colon = digest.find(':');
  return std::string(digest.substr(colon == std::string_view::npos ? 0 : colon + 1, 12));
}

struct ProgressSink::State {
  const Progress& out;
  std::mutex mutex;
  bool started = false;
};

ProgressSink::ProgressSink(const Progress& out) : state_(new State{out, {}, false}) {}
ProgressSink::~ProgressSink() = default;

void ProgressSink::send(const std::string& line) {
  std::lock_guard lock(state_->mutex);
  state_->started = true;
  if (state_->out) state_->out(line);
}

bool ProgressSink::started() const {
  std::lock_guard lock(state_->mutex);
  return state_->started;
}

void TransferMeter::at(int64_t current) {
  int64_t now = monotonic_ns();
  if (current != total_ && now - last_ns_ < kLineIntervalNs) return;
  last_ns_ = now;
  sink_.send(transfer_line(status_, id_, current, total_));
}

}  // namespace caisson::image
