// SPDX-License-Identifier: Apache-2.0
#include "engine/events.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/text.h"
#include "engine/event_journal.h"
#include "engine/networks.h"
#include "engine/record.h"
#include "wire/json.h"

namespace caisson::engine {

namespace {
constexpr size_t kRemembered = 1024;
}

std::string event_json(const Event& event) {
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  if (event.type == "container" || event.type == "image") {
    writer.key("status");
    writer.string(event.action);
    writer.key("id");
    writer.string(event.id);
    if (auto from = event.attributes.find("image"); from != event.attributes.end()) {
      writer.key("from");
      writer.string(from->second);
    }
  }
  writer.key("Type");
  writer.string(event.type);
  writer.key("Action");
  writer.string(event.action);
  writer.key("Actor");
  writer.begin_object();
  writer.key("ID");
  writer.string(event.id);
  writer.key("Attributes");
  writer.write(event.attributes);
  writer.end_object();
  writer.key("scope");
  writer.string("local");
  writer.key("time");
  writer.int_number(event.time_ns / 1000000000);
  writer.key("timeNano");
  writer.int_number(event.time_ns);
  writer.end_object();
  return out + "\n";
}

Result<EventFilter> EventFilter::parse(const std::string& text) {
  EventFilter filter;
  if (text.empty()) return filter;
  auto raw = json::decode<std::map<std::string, json::Raw>>(text);
  if (!raw) return fail(ErrorKind::kInvalid, "invalid filter: %s", raw.error().message.c_str());
  for (const auto& [key, value] : *raw) {
    auto& values = filter.values_[key];
    if (auto list = json::decode<std::vector<std::string>>(value.text)) {
      values.insert(list->begin(), list->end());
    } else if (auto set = json::decode<std::map<std::string, bool>>(value.text)) {
      for (const auto& [entry, wanted] : *set)
        if (wanted) values.insert(entry);
    } else {
      return fail(ErrorKind::kInvalid, "invalid filter '%s': expected a list", key.substr(0, 64).c_str());
    }
  }
  return filter;
}

namespace {

std::string attribute(const Event& event, const char* name) {
  auto found = event.attributes.find(name);
  return found == event.attributes.end() ? std::string() : found->second;
}

// "a/b:tag" and "a/b@digest" are "a/b", too.
std::string without_tag(const std::string& name) {
  std::string out = name.substr(0, name.find('@'));
  size_t colon = out.rfind(':'), slash = out.rfind('/');
  return colon != std::string::npos && (slash == std::string::npos || colon > slash) ? out.substr(0, colon) : out;
}

// Kinds of objects that are filtered for by their name or id, or how these begin.
bool is_object_type(std::string_view key) {
  static constexpr std::string_view kTypes[] = {"config", "container", "daemon",  "network", "node",
                                                "plugin", "secret",    "service", "volume"};
  return std::find(std::begin(kTypes), std::end(kTypes), key) != std::end(kTypes);
}

}  // namespace

bool EventFilter::matches_one(const std::string& key, const std::string& wanted, const Event& event) const {
  if (key == "type") return event.type == wanted;
  // DOCKER-QUIRK: "exec_start: sh" is an exec_start, "health_status: healthy" a health_status.
  if (key == "event") return event.action == wanted || event.action.starts_with(wanted + ":");
  if (key == "image") {
    std::string name = attribute(event, event.type == "image" ? "name" : "image");
    return wanted == name || wanted == event.id || wanted == without_tag(name) || wanted == without_tag(event.id);
  }
  if (key == "scope") return wanted == "local";
  return event.type == key && (event.id.starts_with(wanted) || attribute(event, "name").starts_with(wanted));
}

bool EventFilter::matches(const Event& event) const {
  for (const auto& [key, values] : values_) {
    if (values.empty()) continue;
    if (key == "label") {
      // All of them, unlike the values of the other keys.
      bool has_all = std::all_of(values.begin(), values.end(), [&](const std::string& wanted) {
        auto pair = split_once(wanted, '=');
        auto found = event.attributes.find(pair ? pair->first : wanted);
        return found != event.attributes.end() && (!pair || found->second == pair->second);
      });
      if (!has_all) return false;
      continue;
    }
    if (key != "type" && key != "event" && key != "image" && key != "scope" && !is_object_type(key)) continue;
    if (std::none_of(values.begin(), values.end(),
                     [&](const std::string& wanted) { return matches_one(key, wanted, event); }))
      return false;
  }
  return true;
}

struct EventHub::State {
  std::mutex mutex;
  std::deque<Event> past;
  std::map<uint64_t, Callback> subscribers;
  uint64_t next_id = 1;
  int64_t last_ns = 0;
  std::optional<EventJournal> journal;
};

EventHub::EventHub() : state_(std::make_unique<State>()) {}
EventHub::~EventHub() = default;

void EventHub::publish(Event event) {
  std::lock_guard lock(state_->mutex);
  event.time_ns = state_->last_ns = std::max(now_ns(), state_->last_ns + 1);
  for (auto& [id, callback] : state_->subscribers) callback(event);
  if (state_->journal) state_->journal->append(event_json(event));
  state_->past.push_back(std::move(event));
  if (state_->past.size() > kRemembered) state_->past.pop_front();
}

static std::vector<Event> network_events(const ContainerRecord& record, const std::vector<StoredEndpoint>& endpoints,
                                         const char* action) {
  const std::string& mode = record.host_config.network_mode;
  std::vector<Event> events;
  auto add = [&](const std::string& id, const std::string& name, const std::string& driver) {
    events.push_back({"network", action, id, {{"container", record.id}, {"name", name}, {"type", driver}}, 0});
  };
  if (mode == "none" || mode == "host") add(network_id_of(mode), mode, mode == "none" ? "null" : "host");
  for (const auto& endpoint : endpoints) add(endpoint.network_id, endpoint.network, endpoint.driver);
  return events;
}

void EventHub::publish_container(const ContainerRecord& record, const std::string& action,
                                 std::map<std::string, std::string> attributes) {
  for (const auto& [key, value] : record.config.labels) attributes.try_emplace(key, value);
  attributes["image"] = record.image_name;
  attributes["name"] = record.name;
  publish({"container", action, record.id, std::move(attributes), 0});
}

void EventHub::publish_image(const std::string& action, const std::string& id, const std::string& name,
                             std::map<std::string, std::string> labels) {
  labels["name"] = name;
  publish({"image", action, id, std::move(labels), 0});
}

void EventHub::publish_die(const ContainerRecord& record) {
  int64_t seconds = record.started_ns ? std::max<int64_t>(record.finished_ns - record.started_ns, 0) / 1000000000 : 0;
  publish_container(record, "die",
                    {{"execDuration", std::to_string(seconds)}, {"exitCode", std::to_string(record.exit_code)}});
}

void EventHub::publish_connected(const ContainerRecord& record) {
  for (auto& event : network_events(record, record.endpoints, "connect")) publish(std::move(event));
  for (const auto& mount : record.mounts)
    if (mount.type == "volume")
      publish({"volume",
               "mount",
               mount.name,
               {{"container", record.id},
                {"destination", mount.destination},
                {"driver", mount.driver},
                {"propagation", mount.propagation},
                {"read/write", mount.rw ? "true" : "false"}},
               0});
}

void EventHub::publish_disconnected(const ContainerRecord& record, const std::vector<StoredEndpoint>& endpoints) {
  for (auto& event : network_events(record, endpoints, "disconnect")) publish(std::move(event));
  for (const auto& mount : record.mounts)
    if (mount.type == "volume")
      publish({"volume", "unmount", mount.name, {{"container", record.id}, {"driver", mount.driver}}, 0});
}

Result<> EventHub::keep_journal(const std::string& path) {
  state_->journal = TRY(EventJournal::open(path));
  state_->last_ns = state_->journal->last_ns();
  return {};
}

uint64_t EventHub::subscribe(int64_t since_ns, Callback callback) {
  std::unique_lock lock(state_->mutex);
  auto oldest = [&] { return state_->past.empty() ? state_->last_ns + 1 : state_->past.front().time_ns; };
  if (since_ns >= 0) {
    // The long read without the lock; what memory has lost to the journal meanwhile is a few lines.
    int64_t until = oldest();
    if (state_->journal && since_ns < until) {
      lock.unlock();
      state_->journal->replay(since_ns, until, callback);
      lock.lock();
      if (oldest() > until) state_->journal->replay(until, oldest(), callback);
    }
    for (const auto& event : state_->past)
      if (event.time_ns >= since_ns) callback(event);
  }
  uint64_t id = state_->next_id++;
  state_->subscribers.emplace(id, std::move(callback));
  return id;
}

void EventHub::unsubscribe(uint64_t id) {
  std::lock_guard lock(state_->mutex);
  state_->subscribers.erase(id);
}

}  // namespace caisson::engine
