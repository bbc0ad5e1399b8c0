// SPDX-License-Identifier: Apache-2.0
#include "engine/image_gc.h"

#include <doctest/doctest.h>

using namespace caisson::engine;

namespace {

constexpr int64_t kHour = int64_t{3600} * 1'000'000'000;

// Three images on one base of 100 bytes, last used 1, 2 and 3 hours ago.
std::vector<GcImage> three() {
  std::vector<GcImage> out;
  for (int i = 1; i <= 3; ++i) {
    GcImage image{.id = "id" + std::to_string(i), .names = {"image:" + std::to_string(i)}};
    image.last_use_ns = 100 * kHour - i * kHour;
    image.parts = {{"base", 100}, {"own" + std::to_string(i), 10}};
    out.push_back(image);
  }
  return out;
}

std::string chosen(const std::vector<GcImage>& images, const ImageGcPolicy& policy) {
  std::string out;
  for (const auto& choice : choose_garbage(images, policy, 100 * kHour))
    out += (out.empty() ? "" : " ") + choice.id + "=" + std::to_string(choice.size);
  return out;
}

}  // namespace

TEST_CASE("image garbage: off unless configured") { CHECK(chosen(three(), {}) == ""); }

TEST_CASE("image garbage: by last use") {
  CHECK(chosen(three(), {.keep_used_ns = 10 * kHour}) == "");
  CHECK(chosen(three(), {.keep_used_ns = kHour * 3 / 2}) == "id3=10 id2=10");
  CHECK(chosen(three(), {.keep_used_ns = 1}) == "id3=10 id2=10 id1=110");
  auto choice = choose_garbage(three(), {.keep_used_ns = 2 * kHour}, 100 * kHour);
  REQUIRE(choice.size() == 1);
  CHECK(choice[0].reason == "unused for 3 hours, longer than 2 hours");
}

TEST_CASE("image garbage: by bytes, each shared one counted once") {
  CHECK(chosen(three(), {.max_bytes = 130}) == "");
  CHECK(chosen(three(), {.max_bytes = 129}) == "id3=10");
  CHECK(chosen(three(), {.max_bytes = 1}) == "id3=10 id2=10 id1=110");
  // What was used lately stays, even if it is too much.
  CHECK(chosen(three(), {.max_bytes = 1, .keep_used_ns = kHour * 3 / 2}) == "id3=10 id2=10");
  auto choice = choose_garbage(three(), {.max_bytes = 129}, 100 * kHour);
  CHECK(choice[0].reason == "unused for 3 hours; images take 130B and may take 129B");
}

TEST_CASE("image garbage: what containers, labels and children keep") {
  auto images = three();
  images[2].is_used = true;
  images[1].is_pinned = true;
  CHECK(chosen(images, {.max_bytes = 1}) == "id1=10");
  images = three();
  images[0].parent = "id3";  // id3 is older, but id1 is made from it
  CHECK(chosen(images, {.keep_used_ns = kHour * 3 / 2}) == "id2=10");
}

TEST_CASE("image garbage: ages in words") {
  CHECK(age_words(0) == "0 seconds");
  CHECK(age_words(1'000'000'000) == "1 second");
  CHECK(age_words(90 * kHour / 60) == "1 hour");
  CHECK(age_words(48 * kHour) == "2 days");
}
