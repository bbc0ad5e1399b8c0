// SPDX-License-Identifier: Apache-2.0
// Images that go by themselves: what the policy in daemon.json says about their bytes, their last use and their labels.
// Off unless it is configured. Images of containers are never touched.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/services.h"

namespace caisson::engine {

struct GcImage {
  std::string id, parent;
  std::vector<std::string> names;
  int64_t last_use_ns = 0;
  bool is_used = false, is_pinned = false;
  std::vector<std::pair<std::string, int64_t>> parts;  // layers and blobs with their bytes; shared ones are equal
};

struct GcChoice {
  std::string id;
  std::vector<std::string> names;
  std::string reason;
  int64_t size = 0;  // bytes that go with it, after those before it
  int64_t last_use_ns = 0;
};
CAISSON_JSON(GcChoice, CAISSON_FIELD("Id", id), CAISSON_FIELD("Names", names), CAISSON_FIELD("Reason", reason),
             CAISSON_FIELD("Size", size), CAISSON_FIELD("LastUsed", last_use_ns))

// Pure: what goes, the longest unused first. Nothing where the policy is off.
std::vector<GcChoice> choose_garbage(std::vector<GcImage> images, const ImageGcPolicy& policy, int64_t now_ns);

class ImageGc {
 public:
  explicit ImageGc(Services services);
  ~ImageGc();
  // Every minute, and soon after an image came. Loop thread.
  void start();
  std::vector<GcChoice> plan();
  // What went. Blocking.
  std::vector<GcChoice> run();
  std::vector<GcImage> images() const;

 private:
  void tick();
  void soon();

  Services services_;
  struct Running;
  std::unique_ptr<Running> running_;  // one run at a time
  sys::EventLoop::TimerId timer_ = 0, soon_timer_ = 0;
  uint64_t subscription_ = 0;
};

// "3 days", "2 hours": for reasons.
std::string age_words(int64_t ns);

}  // namespace caisson::engine
