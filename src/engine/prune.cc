// SPDX-License-Identifier: Apache-2.0
#include "engine/prune.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/container_filter.h"
#include "sys/files.h"

namespace caisson::engine {

namespace {

// Go's durations; nullopt for anything else.
std::optional<int64_t> parse_go_duration(std::string_view text) {
  static constexpr std::pair<std::string_view, double> units[] = {
      {"ns", 1}, {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  double total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == text.npos || digits > 18) return std::nullopt;
    std::string_view number = text.substr(0, digits);
    if (std::count(number.begin(), number.end(), '.') > 1 || number == ".") return std::nullopt;
    double value = 0, scale = 1;
    bool is_fraction = false;
    for (char c : number) {
      if (c == '.') {
        is_fraction = true;
        continue;
      }
      value = value * 10 + (c - '0');
      if (is_fraction) scale *= 10;
    }
    text.remove_prefix(digits);
    const auto* found = std::begin(units);
    size_t end = text.find_first_of("0123456789.");
    while (found != std::end(units) && found->first != text.substr(0, end)) ++found;
    if (found == std::end(units)) return std::nullopt;
    total += value / scale * found->second;
    text.remove_prefix(found->first.size());
  }
  if (total > 9e18) return std::nullopt;
  return static_cast<int64_t>(total);
}

}  // namespace

Result<int64_t> parse_until(const std::string& text, int64_t now) {
  if (auto ago = parse_go_duration(text)) return now - *ago;
  if (auto stamp = parse_rfc3339(text)) return *stamp;
  // Shortened forms: seconds, minutes, the time or the zone may be missing.
  static constexpr std::string_view whole = "0000-01-01T00:00:00Z";
  if (text.size() >= 4 && text.size() < whole.size() && text.find('-') != text.npos) {
    if (auto stamp = parse_rfc3339(text + std::string(whole.substr(text.size())))) return *stamp;
  }
  auto parts = split_once(text, '.');
  auto seconds = parse_int(parts ? parts->first : text);
  auto fraction = parts ? parse_uint((parts->second + "000000000").substr(0, 9)) : std::optional<uint64_t>(0);
  if (!seconds || !fraction || *seconds < 0 || *seconds > 1LL << 33)
    return fail(ErrorKind::kInvalid, "invalid filter 'until=%s'", text.substr(0, 64).c_str());
  return *seconds * 1'000'000'000 + static_cast<int64_t>(*fraction);
}

Result<PruneFilter> PruneFilter::parse(const std::string& json, int64_t now) {
  static constexpr std::string_view known[] = {"until", "label", "label!"};
  auto values = TRY(parse_filters(json, known));
  PruneFilter out;
  if (values["until"].size() > 1) return fail(ErrorKind::kInvalid, "more than one until filter specified");
  for (const auto& text : values["until"]) out.until_ns_ = TRY(parse_until(text, now));
  out.labels_.assign(values["label"].begin(), values["label"].end());
  out.not_labels_.assign(values["label!"].begin(), values["label!"].end());
  return out;
}

bool PruneFilter::matches(const ContainerRecord& record) const {
  auto has = [&](const std::string& label) { return label_matches(record.config.labels, label); };
  return record.created_ns <= until_ns_ && std::all_of(labels_.begin(), labels_.end(), has) &&
         std::none_of(not_labels_.begin(), not_labels_.end(), has);
}

PruneReport prune_containers(const ContainerRegistry& containers, Lifecycle& lifecycle, const Paths& paths,
                             EventHub& events, const PruneFilter& filter) {
  PruneReport report;
  for (const auto& container : containers.list()) {
    auto record = container->snapshot();
    if (record->running() || record->status() == Status::kRemoving || !filter.matches(*record)) continue;
    auto size = sys::tree_size(paths.upper(record->id));
    auto removed = lifecycle.remove(container, {});
    // Started or removed by somebody else meanwhile: then it is not ours to report.
    if (!removed) {
      log_info("pruning container %s: %s", record->id.c_str(), removed.error().message.c_str());
      continue;
    }
    report.containers_deleted.push_back(record->id);
    if (size) report.space_reclaimed += static_cast<int64_t>(size->bytes);
  }
  events.publish({"container", "prune", "", {{"reclaimed", std::to_string(report.space_reclaimed)}}, 0});
  return report;
}

}  // namespace caisson::engine
