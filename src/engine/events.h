// SPDX-License-Identifier: Apache-2.0
// What happened, for `docker events`: replays from memory and from the journal, and live subscribers. Order is that of
// publish(); times never go back.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::engine {

struct ContainerRecord;
struct StoredEndpoint;

struct Event {
  std::string type;    // container, image, volume, network, daemon
  std::string action;  // start, die, pull...
  std::string id;
  std::map<std::string, std::string> attributes;
  int64_t time_ns = 0;  // set by publish()
};

// The object Docker's clients read, one line.
std::string event_json(const Event& event);

class EventFilter {
 public:
  // {"type": ["container"], "event": ["die"], "container": ["name"], ...}. DOCKER-QUIRK: unknown keys are let pass.
  static Result<EventFilter> parse(const std::string& json);
  bool matches(const Event& event) const;

 private:
  bool matches_one(const std::string& key, const std::string& wanted, const Event& event) const;
  std::map<std::string, std::set<std::string>> values_;
};

class EventHub {
 public:
  EventHub();
  ~EventHub();
  // Remembers beyond memory and restarts from here on; before the first publish().
  Result<> keep_journal(const std::string& path);
  void publish(Event event);
  void publish_container(const ContainerRecord& record, const std::string& action,
                         std::map<std::string, std::string> attributes = {});
  void publish_image(const std::string& action, const std::string& id, const std::string& name,
                     std::map<std::string, std::string> labels = {});
  void publish_die(const ContainerRecord& record);  // with how it ended and how long it ran
  // A container's networks and volumes at the beginning of a run, and at its end.
  void publish_connected(const ContainerRecord& record);
  void publish_disconnected(const ContainerRecord& record, const std::vector<StoredEndpoint>& endpoints);

  // The callback runs under the hub's lock, in order, on whichever thread publishes: it must not block.
  // Past events from `since_ns` on come first (negative: none), those of the journal in this thread and without it.
  using Callback = std::function<void(const Event&)>;
  uint64_t subscribe(int64_t since_ns, Callback callback);
  void unsubscribe(uint64_t id);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::engine
