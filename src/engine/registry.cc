// SPDX-License-Identifier: Apache-2.0
#include "engine/registry.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "base/log.h"
#include "base/text.h"

namespace caisson::engine {

struct ContainerRegistry::State {
  mutable std::shared_mutex mutex;
  std::map<std::string, ContainerPtr> by_id;
  std::map<std::string, std::string> id_by_name;
  // Who was created with links, by the id and by the name of whom it is linked to.
  std::multimap<std::string, std::string> linking;

  void note_links(const ContainerRecord& record) {
    for (const auto& link : record.links) {
      linking.emplace(link.target_id, record.id);
      linking.emplace("/" + link.target_name, record.id);
    }
  }
};

ContainerRegistry::ContainerRegistry(db::Database& database) : database_(database), state_(std::make_unique<State>()) {}
ContainerRegistry::~ContainerRegistry() = default;

Result<std::unique_ptr<ContainerRegistry>> ContainerRegistry::open(db::Database& database) {
  TRY(database.migrate(
      "containers", {"CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL) "
                     "WITHOUT ROWID"}));
  std::unique_ptr<ContainerRegistry> registry(new ContainerRegistry(database));
  std::vector<std::pair<std::string, std::string>> rows;
  TRY(database.query("SELECT id, record FROM containers", {},
                     [&](const db::Row& row) { rows.emplace_back(row.text(0), row.text(1)); }));
  for (const auto& [id, text] : rows) {
    auto record = decode_record(text);
    if (!record) {
      // Said loudly and left in the database: a newer release may read it, and nothing of a user's is dropped.
      log_error("container '%s' has an unreadable record: %s", id.c_str(), record.error().message.c_str());
      continue;
    }
    registry->state_->id_by_name[record->name] = record->id;
    registry->state_->note_links(*record);
    registry->state_->by_id[id] = std::make_shared<Container>(std::move(*record));
  }
  return registry;
}

Result<ContainerPtr> ContainerRegistry::find(const std::string& reference) const {
  std::string_view wanted = reference;
  if (wanted.starts_with('/')) wanted.remove_prefix(1);
  if (auto link = split_once(wanted, '/')) {
    if (auto parent = find(link->first)) {
      auto record = (*parent)->snapshot();
      for (const auto& entry : record->links) {
        if (entry.alias != link->second) continue;
        if (auto target = find(entry.target_id)) return target;
        return find(entry.target_name);
      }
    }
    return fail(ErrorKind::kNotFound, "No such container: %s", reference.c_str());
  }
  std::shared_lock lock(state_->mutex);
  if (auto exact = state_->by_id.find(std::string(wanted)); exact != state_->by_id.end()) return exact->second;
  if (auto named = state_->id_by_name.find(std::string(wanted)); named != state_->id_by_name.end())
    return state_->by_id.at(named->second);
  if (is_hex(wanted)) {
    auto first = state_->by_id.lower_bound(std::string(wanted));
    if (first != state_->by_id.end() && first->first.starts_with(wanted)) {
      auto second = std::next(first);
      if (second != state_->by_id.end() && second->first.starts_with(wanted))
        return fail(ErrorKind::kInvalid, "multiple IDs found with provided prefix: %s", std::string(wanted).c_str());
      return first->second;
    }
  }
  return fail(ErrorKind::kNotFound, "No such container: %s", reference.c_str());
}

std::vector<ContainerPtr> ContainerRegistry::list() const {
  std::vector<std::pair<int64_t, ContainerPtr>> dated;
  {
    std::shared_lock lock(state_->mutex);
    for (const auto& [id, container] : state_->by_id) dated.emplace_back(container->snapshot()->created_ns, container);
  }
  std::stable_sort(dated.begin(), dated.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<ContainerPtr> out;
  for (auto& [created, container] : dated) out.push_back(std::move(container));
  return out;
}

std::vector<ContainerPtr> ContainerRegistry::linking_to(const ContainerRecord& target) const {
  std::vector<ContainerPtr> out;
  std::shared_lock lock(state_->mutex);
  if (state_->linking.empty()) return out;
  for (const auto& key : {target.id, "/" + target.name}) {
    auto [first, last] = state_->linking.equal_range(key);
    for (; first != last; ++first) {
      auto found = state_->by_id.find(first->second);
      if (found != state_->by_id.end() && std::find(out.begin(), out.end(), found->second) == out.end())
        out.push_back(found->second);
    }
  }
  return out;
}

image::ImageUsers ContainerRegistry::users_of_image(const std::string& image_id) const {
  image::ImageUsers out;
  for (const auto& container : list()) {
    auto record = container->snapshot();
    bool mounted = std::any_of(record->mounts.begin(), record->mounts.end(), [&](const spec::MountPoint& point) {
      return point.type == "image" && point.name == image_id;
    });
    if (record->image_id != image_id && !mounted) continue;
    (record->running() ? out.running : out.stopped) = record->id;
  }
  return out;
}

std::string ContainerRegistry::user_of_volume(const std::string& name) const {
  for (const auto& container : list()) {
    auto record = container->snapshot();
    for (const auto& mount : record->mounts)
      if (mount.type == "volume" && mount.name == name) return record->id;
  }
  return "";
}

std::string ContainerRegistry::user_of_secret(const std::string& id) const {
  for (const auto& container : list()) {
    auto record = container->snapshot();
    for (const auto& use : record->host_config.secrets)
      if (use.source == id) return record->id;
  }
  return "";
}

static std::unexpected<Error> name_conflict(const std::string& name, const std::string& owner) {
  return fail(ErrorKind::kConflict,
              "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or "
              "rename) that container to be able to reuse that name.",
              name.c_str(), owner.c_str());
}

// A container of `--rm` does not outlive its process, and no process outlives a power loss: its row need
// only survive the engine. adopt() settles one that comes back.
static db::Durability durability_of(const ContainerRecord& record) {
  return record.host_config.auto_remove ? db::Durability::kRelaxed : db::Durability::kFull;
}

Result<ContainerPtr> ContainerRegistry::add(ContainerRecord record) {
  auto container = std::make_shared<Container>(record);
  // The name is taken before the row is written, so that two creates cannot both pass; the slow write
  // itself happens without the lock.
  {
    std::unique_lock lock(state_->mutex);
    auto [at, fresh] = state_->id_by_name.emplace(record.name, record.id);
    if (!fresh) return name_conflict(record.name, at->second);
  }
  auto stored = database_.execute("INSERT INTO containers (id, name, record) VALUES (?1, ?2, ?3)",
                                  {record.id, record.name, encode_record(record)}, durability_of(record));
  std::unique_lock lock(state_->mutex);
  if (!stored) {
    state_->id_by_name.erase(record.name);
    return with_context(stored.error(), "storing the container");
  }
  state_->by_id[record.id] = container;
  state_->note_links(record);
  return container;
}

Result<> ContainerRegistry::rename(Container& container, const std::string& name) {
  ContainerRecord record = *container.snapshot();
  std::string old_name = record.name;
  {
    std::unique_lock lock(state_->mutex);
    auto [at, fresh] = state_->id_by_name.emplace(name, record.id);
    if (!fresh) return name_conflict(name, at->second);
  }
  record.name = name;
  auto stored = database_.execute("UPDATE containers SET name = ?2, record = ?3 WHERE id = ?1",
                                  {record.id, name, encode_record(record)});
  std::unique_lock lock(state_->mutex);
  if (!stored) {
    state_->id_by_name.erase(name);
    return with_context(stored.error(), "storing the new name");
  }
  state_->id_by_name.erase(old_name);
  container.publish(std::move(record));
  return {};
}

Result<> ContainerRegistry::save(Container& container, ContainerRecord record, db::Durability durability) {
  auto stored = database_.execute("UPDATE containers SET record = ?2 WHERE id = ?1", {record.id, encode_record(record)},
                                  durability);
  // Readers see the truth even when the disk is full; the caller decides what the failure means.
  container.publish(std::move(record));
  if (!stored) return with_context(stored.error(), "storing the container's state");
  return {};
}

Result<> ContainerRegistry::note(const ContainerRecord& record) {
  TRY_CTX(database_.execute("UPDATE containers SET record = ?2 WHERE id = ?1", {record.id, encode_record(record)},
                            db::Durability::kRelaxed),
          "storing the container's state");
  return {};
}

Result<> ContainerRegistry::remove(Container& container) {
  auto record = container.snapshot();
  TRY_CTX(database_.execute("DELETE FROM containers WHERE id = ?1", {container.id()}, durability_of(*record)),
          "forgetting the container");
  std::unique_lock lock(state_->mutex);
  state_->id_by_name.erase(record->name);
  state_->by_id.erase(container.id());
  if (!state_->linking.empty()) std::erase_if(state_->linking, [&](auto& entry) { return entry.second == record->id; });
  return {};
}

}  // namespace caisson::engine
