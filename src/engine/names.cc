// SPDX-License-Identifier: Apache-2.0
#include "engine/names.h"

#include <cstdint>

#include "base/ids.h"
#include "base/text.h"

namespace caisson::engine {

static constexpr const char* kAdjectives[] = {
    "amber",  "brave", "brisk",    "calm",  "clear",  "cosy",  "crisp",  "deep",  "early",  "even",   "fair",
    "fleet",  "fresh", "gentle",   "glad",  "golden", "grand", "handy",  "hardy", "jolly",  "keen",   "kind",
    "lively", "lucid", "mellow",   "merry", "mild",   "neat",  "nimble", "noble", "plain",  "plucky", "proud",
    "quiet",  "quick", "rapid",    "ready", "robust", "salty", "serene", "sharp", "silent", "smooth", "snug",
    "solid",  "spry",  "steady",   "stout", "sturdy", "sunny", "swift",  "tidal", "tidy",   "true",   "upbeat",
    "vivid",  "warm",  "watchful", "windy", "wise",   "witty", "woven",  "young", "zesty",
};
static constexpr const char* kNouns[] = {
    "albatross", "anchor", "anemone", "atoll",    "barge",  "bay",     "beacon",  "bollard", "breaker",    "breeze",
    "brig",      "buoy",   "capstan", "channel",  "coral",  "cove",    "current", "cutter",  "delta",      "dolphin",
    "dory",      "dune",   "estuary", "ferry",    "fjord",  "galley",  "gannet",  "grebe",   "gull",       "harbor",
    "heron",     "inlet",  "islet",   "jetty",    "kelp",   "ketch",   "lagoon",  "lantern", "lighthouse", "lock",
    "marina",    "marlin", "mast",    "narwhal",  "oyster", "pearl",   "pelican", "pier",    "plover",     "puffin",
    "quay",      "rudder", "sail",    "schooner", "seal",   "sextant", "shoal",   "skiff",   "sloop",      "starfish",
    "tern",      "tide",   "urchin",  "wharf",
};

std::string random_name(int attempt) {
  uint32_t dice[2];
  random_bytes(dice, sizeof dice);
  std::string name =
      std::string(kAdjectives[dice[0] % std::size(kAdjectives)]) + "_" + kNouns[dice[1] % std::size(kNouns)];
  if (attempt > 3) name += std::to_string(dice[0] % 10000);
  return name;
}

Result<std::string> check_name(std::string_view name) {
  if (name.starts_with('/')) name.remove_prefix(1);
  auto alphanumeric = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  bool good = name.size() >= 2 && name.size() <= 253 && alphanumeric(name[0]);
  for (char c : name) good = good && (alphanumeric(c) || c == '_' || c == '.' || c == '-');
  if (!good)
    return fail(ErrorKind::kInvalid, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                std::string(name.substr(0, 256)).c_str());
  return std::string(name);
}

}  // namespace caisson::engine
