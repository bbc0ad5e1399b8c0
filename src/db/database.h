// SPDX-License-Identifier: Apache-2.0
// SQLite in WAL mode with one connection behind a mutex: the engine's durable state. A write that
// returned is on disk (synchronous=FULL) unless made with Durability::kRelaxed, which survives kill -9
// but not power loss.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace caisson::db {

using Value = std::variant<int64_t, std::string>;

// One row's columns; NULL reads as 0 or "".
class Row {
 public:
  virtual ~Row() = default;
  virtual int64_t integer(int column) const = 0;
  virtual std::string text(int column) const = 0;
};

enum class Durability : unsigned char { kFull, kRelaxed };

class Database {
 public:
  static Result<std::unique_ptr<Database>> open(const std::string& path);
  virtual ~Database() = default;
  // Runs the steps that `user_version` has not seen yet, each in its own transaction. `name` keeps the
  // counters of several modules apart (table schema_version).
  virtual Result<> migrate(std::string_view name, const std::vector<std::string>& steps) = 0;
  // One statement with ?1, ?2... bound.
  virtual Result<> execute(std::string_view sql, const std::vector<Value>& values = {},
                           Durability durability = Durability::kFull) = 0;
  virtual Result<> query(std::string_view sql, const std::vector<Value>& values,
                         const std::function<void(const Row&)>& each) = 0;
  // All of `body` or nothing; execute() and query() inside belong to it. Not nestable.
  virtual Result<> transaction(const std::function<Result<>()>& body, Durability durability = Durability::kFull) = 0;
};

}  // namespace caisson::db
