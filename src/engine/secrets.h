// SPDX-License-Identifier: Apache-2.0
// Secrets of this host: short texts that containers get as files below /run/secrets or as variables, and that no answer
// ever shows. Kept in the state database, which root alone can read; a running container's copies lie in the run
// directory and go with it. Thread-safe. Blocking (disk).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "db/database.h"
#include "engine/record.h"
#include "spec/oci_runtime.h"

namespace caisson::engine {

inline constexpr size_t kMaxSecret = 500 << 10;  // bytes; Docker's limit

struct Secret {
  std::string id, name;  // id: 25 digits, as Docker's
  std::map<std::string, std::string> labels;
  int64_t version = 1;
  int64_t created_ns = 0, updated_ns = 0;
};

class SecretStore {
 public:
  static Result<std::unique_ptr<SecretStore>> open(db::Database& database);
  virtual ~SecretStore() = default;

  // On disk when it returns. kInvalid for a bad name or size, kConflict for a name that is taken.
  virtual Result<Secret> create(const std::string& name, std::map<std::string, std::string> labels,
                                const std::string& data) = 0;
  virtual Result<Secret> find(const std::string& reference) = 0;  // id, name or unique start of an id; kNotFound
  virtual Result<std::vector<Secret>> list() = 0;                 // by name
  virtual Result<std::string> data(const std::string& id) = 0;
  // Labels alone may change. kConflict when somebody else has changed it since `version`.
  virtual Result<> update(const std::string& id, int64_t version, std::map<std::string, std::string> labels) = 0;
  virtual Result<> remove(const std::string& id) = 0;
};

// Docker's rule: letters, digits, "-_." inside, 64 at most.
bool is_valid_secret_name(std::string_view name);

// At the creation of a container: names become ids, targets and modes are checked. kInvalid.
Result<> resolve_secrets(std::vector<spec::SecretUse>& uses, SecretStore& secrets);
// At a start: writes the files below `run_dir`/secrets, and adds mounts and variables to `spec`.
Result<> place_secrets(const std::vector<spec::SecretUse>& uses, SecretStore& secrets, const std::string& run_dir,
                       spec::RuntimeSpec& spec);

}  // namespace caisson::engine
