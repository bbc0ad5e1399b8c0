// SPDX-License-Identifier: Apache-2.0
#include "engine/image_gc.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/container_filter.h"

namespace caisson::engine {

namespace {

constexpr int64_t kTickMs = 60'000, kSoonMs = 1'000;
constexpr int64_t kSecond = 1'000'000'000;

std::string bytes_words(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return format(unit == 0 ? "%.0f%s" : "%.1f%s", value, kUnits[unit]);
}

}  // namespace

std::string age_words(int64_t ns) {
  int64_t seconds = std::max<int64_t>(ns / kSecond, 0);
  struct Unit {
    int64_t seconds;
    const char* name;
  };
  for (Unit unit : {Unit{86400, "day"}, Unit{3600, "hour"}, Unit{60, "minute"}, Unit{1, "second"}})
    if (int64_t count = seconds / unit.seconds; count >= 1 || unit.seconds == 1)
      return format("%lld %s%s", static_cast<long long>(count), unit.name, count == 1 ? "" : "s");
  return "";
}

std::vector<GcChoice> choose_garbage(std::vector<GcImage> images, const ImageGcPolicy& policy, int64_t now) {
  std::vector<GcChoice> out;
  if (!policy.is_on()) return out;
  std::map<std::string, int> users;  // of each layer and blob
  std::map<std::string, int> children;
  int64_t total = 0;
  for (auto& image : images) {
    std::sort(image.parts.begin(), image.parts.end());
    image.parts.erase(std::unique(image.parts.begin(), image.parts.end()), image.parts.end());
    for (const auto& [name, size] : image.parts)
      if (++users[name] == 1) total += size;
    if (!image.parent.empty()) ++children[image.parent];
  }
  std::stable_sort(images.begin(), images.end(),
                   [](const GcImage& a, const GcImage& b) { return a.last_use_ns < b.last_use_ns; });
  for (auto& image : images) {
    int64_t unused = now - image.last_use_ns;
    if (image.is_used || image.is_pinned || children[image.id] > 0) continue;
    if (policy.keep_used_ns > 0 && unused <= policy.keep_used_ns) continue;
    if (policy.max_bytes > 0 && total <= policy.max_bytes) break;
    GcChoice choice{.id = image.id, .names = std::move(image.names), .reason = "", .last_use_ns = image.last_use_ns};
    for (const auto& [name, size] : image.parts)
      if (--users[name] == 0) choice.size += size;
    --children[image.parent];
    choice.reason = "unused for " + age_words(unused);
    if (policy.max_bytes > 0)
      choice.reason += "; images take " + bytes_words(total) + " and may take " + bytes_words(policy.max_bytes);
    else
      choice.reason += ", longer than " + age_words(policy.keep_used_ns);
    total -= choice.size;
    out.push_back(std::move(choice));
  }
  return out;
}

struct ImageGc::Running : std::mutex {};

ImageGc::ImageGc(Services services) : services_(std::move(services)), running_(std::make_unique<Running>()) {}

ImageGc::~ImageGc() {
  // Its timers are the loop's, which no longer runs, and may be gone already.
  if (subscription_) services_.events.unsubscribe(subscription_);
}

void ImageGc::start() {
  timer_ = services_.loop.after_ms(kTickMs, [this] { tick(); });
  if (!services_.options.image_gc.is_on()) return;
  subscription_ = services_.events.subscribe(-1, [this](const Event& event) {
    bool brings = event.action == "pull" || event.action == "load" || event.action == "create" ||
                  event.action == "import" || event.action == "tag" || event.action == "destroy";
    if (brings && (event.type == "image" || event.type == "container")) services_.loop.post([this] { soon(); });
  });
  soon();
}

void ImageGc::tick() {
  timer_ = services_.loop.after_ms(kTickMs, [this] { tick(); });
  services_.executor.post([this] {
    if (auto written = services_.images.write_uses(); !written)
      log_warn("writing when images were used: %s", written.error().message.c_str());
    run();
  });
}

void ImageGc::soon() {
  if (soon_timer_) return;
  soon_timer_ = services_.loop.after_ms(kSoonMs, [this] {
    soon_timer_ = 0;
    services_.executor.post([this] { run(); });
  });
}

std::vector<GcImage> ImageGc::images() const {
  std::map<std::string, GcImage> out;
  for (const auto& image : services_.images.list()) {
    GcImage entry{.id = image.id, .parent = image.parent, .names = image.repo_tags};
    entry.names.insert(entry.names.end(), image.repo_digests.begin(), image.repo_digests.end());
    entry.last_use_ns = services_.images.last_use(image);
    auto users = services_.containers.users_of_image(image.id);
    entry.is_used = !users.running.empty() || !users.stopped.empty();
    for (const auto& label : services_.options.image_gc.keep_labels)
      entry.is_pinned = entry.is_pinned || label_matches(image.config.config.labels, label);
    out[image.id] = std::move(entry);
  }
  for (auto& usage : services_.images.usage().images)
    if (auto found = out.find(usage.id); found != out.end()) found->second.parts = std::move(usage.parts);
  std::vector<GcImage> list;
  for (auto& [id, entry] : out) list.push_back(std::move(entry));
  return list;
}

std::vector<GcChoice> ImageGc::plan() { return choose_garbage(images(), services_.options.image_gc, now_ns()); }

std::vector<GcChoice> ImageGc::run() {
  if (!services_.options.image_gc.is_on()) return {};
  std::lock_guard lock(*running_);
  std::vector<GcChoice> gone;
  for (auto& choice : plan()) {
    auto users_of = [&](const std::string& id) { return services_.containers.users_of_image(id); };
    auto image = services_.images.find(choice.id);
    if (!image) continue;
    std::vector<std::string> names = image->repo_tags;
    names.insert(names.end(), image->repo_digests.begin(), image->repo_digests.end());
    if (names.empty()) names.push_back(choice.id);
    bool is_gone = false;
    for (const auto& name : names) {
      if (auto left = services_.images.find(name); !left || left->id != choice.id) continue;
      auto removed = services_.images.remove(name, {}, users_of);
      if (!removed) {
        // A container was made from it meanwhile.
        log_info("image garbage: '%s': %s", name.c_str(), removed.error().message.c_str());
        break;
      }
      for (const auto& entry : *removed) {
        is_gone = is_gone || entry.deleted == choice.id;
        if (!entry.untagged.empty())
          services_.events.publish_image("untag", choice.id, choice.id, image->config.config.labels);
        if (entry.deleted == choice.id) services_.events.publish_image("delete", choice.id, choice.id);
      }
    }
    if (!is_gone) continue;
    log_info("image garbage: removed '%s': %s", choice.names.empty() ? choice.id.c_str() : choice.names[0].c_str(),
             choice.reason.c_str());
    gone.push_back(std::move(choice));
  }
  return gone;
}

}  // namespace caisson::engine
