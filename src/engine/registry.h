// SPDX-License-Identifier: Apache-2.0
// All containers of this engine: lookup by id, prefix or name, and their durable records.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "db/database.h"
#include "engine/container.h"
#include "image/image_store.h"

namespace caisson::engine {

class ContainerRegistry {
 public:
  // Reads what the database holds. The database outlives the registry.
  static Result<std::unique_ptr<ContainerRegistry>> open(db::Database& database);
  ~ContainerRegistry();

  // By full id, name (with or without '/'), unique prefix of an id, or "parent/alias" of a link; kNotFound with
  // Docker's text.
  Result<ContainerPtr> find(const std::string& reference) const;
  std::vector<ContainerPtr> list() const;  // newest first
  // Those that may be linked to this one (their records tell).
  std::vector<ContainerPtr> linking_to(const ContainerRecord& target) const;
  // Containers made from this image, or with it as a mount.
  image::ImageUsers users_of_image(const std::string& image_id) const;
  std::string user_of_secret(const std::string& id) const;    // any container that gets it, "" without one
  std::string user_of_volume(const std::string& name) const;  // any container that mounts it, "" without one

  // Durable before it returns (with --rm: against kill -9 only). kConflict with Docker's text when the name is taken.
  Result<ContainerPtr> add(ContainerRecord record);
  Result<> rename(Container& container, const std::string& name);
  // Publishes and stores; with the container's operation held. kFull for what a client was told.
  Result<> save(Container& container, ContainerRecord record, db::Durability durability);
  // Stores without publishing: what only the next engine needs to know, should this one die now.
  Result<> note(const ContainerRecord& record);
  // Forgets the container, durably.
  Result<> remove(Container& container);

 private:
  explicit ContainerRegistry(db::Database& database);
  struct State;
  db::Database& database_;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::engine
