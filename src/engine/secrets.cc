// SPDX-License-Identifier: Apache-2.0
#include "engine/secrets.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "base/clock.h"
#include "base/ids.h"
#include "base/text.h"
#include "sys/files.h"
#include "wire/base64.h"

namespace caisson::engine {

namespace {

const std::vector<std::string> kSchema = {
    "CREATE TABLE secrets(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, labels TEXT NOT NULL, version INTEGER NOT "
    "NULL,"
    " created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, data TEXT NOT NULL)"};
constexpr const char* kDirectory = "/run/secrets/";
constexpr const char* kColumns = "SELECT id, name, labels, version, created_ns, updated_ns FROM secrets";

Secret secret_of(const db::Row& row) {
  Secret out{row.text(0), row.text(1), {}, row.integer(3), row.integer(4), row.integer(5)};
  // It is what we wrote; a database that was damaged loses labels, not the secret.
  if (auto labels = json::decode<std::map<std::string, std::string>>(row.text(2))) out.labels = std::move(*labels);
  return out;
}

class DatabaseSecrets : public SecretStore {
 public:
  explicit DatabaseSecrets(db::Database& database) : database_(database) {}

  Result<Secret> create(const std::string& name, std::map<std::string, std::string> labels,
                        const std::string& data) override {
    if (!is_valid_secret_name(name))
      return fail(ErrorKind::kInvalid,
                  "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end "
                  "character must be [a-zA-Z0-9]");
    if (data.empty() || data.size() > kMaxSecret)
      return fail(ErrorKind::kInvalid, "secret data must be larger than 0 and less than %zu bytes", kMaxSecret);
    std::lock_guard lock(mutex_);
    for (const auto& other : TRY(list()))
      if (other.name == name) return fail(ErrorKind::kConflict, "secret %s already exists", name.c_str());
    Secret secret{random_id().substr(0, 25), name, std::move(labels), 1, now_ns(), 0};
    secret.updated_ns = secret.created_ns;
    TRY(database_.execute("INSERT INTO secrets VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                          {secret.id, name, json::encode(secret.labels), secret.version, secret.created_ns,
                           secret.updated_ns, base64_encode(data)}));
    return secret;
  }

  Result<Secret> find(const std::string& reference) override {
    std::vector<Secret> by_prefix;
    for (auto& secret : TRY(list())) {
      if (secret.id == reference || secret.name == reference) return secret;
      if (!reference.empty() && secret.id.starts_with(reference)) by_prefix.push_back(std::move(secret));
    }
    if (by_prefix.size() == 1) return std::move(by_prefix[0]);
    const char* why = by_prefix.empty() ? "not found" : "is ambiguous";
    return fail(ErrorKind::kNotFound, "secret %s %s", reference.substr(0, 128).c_str(), why);
  }

  Result<std::vector<Secret>> list() override {
    std::vector<Secret> out;
    TRY(database_.query(std::string(kColumns) + " ORDER BY name", {},
                        [&](const db::Row& row) { out.push_back(secret_of(row)); }));
    return out;
  }

  Result<std::string> data(const std::string& id) override {
    std::optional<std::string> text;
    TRY(database_.query("SELECT data FROM secrets WHERE id=?1", {id}, [&](const db::Row& row) { text = row.text(0); }));
    if (!text) return fail(ErrorKind::kNotFound, "secret %s not found", id.c_str());
    auto plain = base64_decode_url(*text);
    if (!plain) return fail(ErrorKind::kCorrupt, "secret %s is damaged", id.c_str());
    return std::move(*plain);
  }

  Result<> update(const std::string& id, int64_t version, std::map<std::string, std::string> labels) override {
    std::lock_guard lock(mutex_);
    Secret secret = TRY(find(id));
    if (secret.version != version) return fail(ErrorKind::kConflict, "update out of sequence");
    return database_.execute("UPDATE secrets SET labels=?2, version=?3, updated_ns=?4 WHERE id=?1",
                             {secret.id, json::encode(labels), version + 1, now_ns()});
  }

  Result<> remove(const std::string& id) override { return database_.execute("DELETE FROM secrets WHERE id=?1", {id}); }

 private:
  db::Database& database_;
  std::mutex mutex_;  // between looking and writing
};

bool is_variable(const spec::SecretUse& use) { return use.type == "env"; }

Result<> check_use(const spec::SecretUse& use) {
  if (!use.type.empty() && use.type != "mount" && use.type != "env")
    return fail(ErrorKind::kInvalid, "secret %s: type '%s' is neither 'mount' nor 'env'", use.source.c_str(),
                use.type.substr(0, 64).c_str());
  bool is_sane = use.target.size() < 4096 && use.target.find('\0') == std::string::npos;
  if (is_variable(use)) is_sane = is_sane && use.target.find('=') == std::string::npos;
  for (const auto& part : split(use.target, '/')) is_sane = is_sane && part != "..";
  if (!is_sane || use.target.ends_with('/'))
    return fail(ErrorKind::kInvalid, "secret %s: invalid target %s", use.source.c_str(),
                quoted(use.target.substr(0, 128)).c_str());
  if (use.mode < 0 || use.mode > 0777 || use.uid < 0 || use.gid < 0 || use.uid > UINT32_MAX - 1 ||
      use.gid > UINT32_MAX - 1)
    return fail(ErrorKind::kInvalid, "secret %s: mode, uid or gid is out of range", use.source.c_str());
  return {};
}

}  // namespace

bool is_valid_secret_name(std::string_view name) {
  auto is_word = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (name.empty() || name.size() > 64 || !is_word(name.front()) || !is_word(name.back())) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return is_word(c) || c == '-' || c == '_' || c == '.'; });
}

Result<std::unique_ptr<SecretStore>> SecretStore::open(db::Database& database) {
  TRY(database.migrate("secrets", kSchema));
  return std::make_unique<DatabaseSecrets>(database);
}

Result<> resolve_secrets(std::vector<spec::SecretUse>& uses, SecretStore& secrets) {
  for (auto& use : uses) {
    TRY(check_use(use));
    auto secret = secrets.find(use.source);
    // 404 on this route means the image, and clients would go and pull it.
    if (!secret) return fail(ErrorKind::kInvalid, "%s", secret.error().message.c_str());
    use.source = secret->id;
    if (use.target.empty()) use.target = secret->name;
  }
  return {};
}

Result<> place_secrets(const std::vector<spec::SecretUse>& uses, SecretStore& secrets, const std::string& run_dir,
                       spec::RuntimeSpec& spec) {
  if (uses.empty()) return {};
  std::string directory = run_dir + "/secrets";
  TRY(sys::make_dirs(directory, 0700));
  for (size_t i = 0; i < uses.size(); ++i) {
    const auto& use = uses[i];
    std::string text = TRY(secrets.data(use.source));
    if (is_variable(use)) {
      if (text.find('\0') != std::string::npos)
        return fail(ErrorKind::kInvalid, "secret %s holds a zero byte and cannot be a variable", use.target.c_str());
      if (spec.process) spec.process->env.push_back(use.target + "=" + text);
      continue;
    }
    std::string path = directory + "/" + std::to_string(i);
    TRY(sys::write_file(path, text, 0400));
    if (chown(path.c_str(), static_cast<uid_t>(use.uid), static_cast<gid_t>(use.gid)) < 0)
      return fail_errno("chown '%s'", path.c_str());
    if (chmod(path.c_str(), static_cast<mode_t>(use.mode)) < 0) return fail_errno("chmod '%s'", path.c_str());
    std::string target = use.target.starts_with('/') ? use.target : kDirectory + use.target;
    spec.mounts.push_back({target, "bind", path, {"bind", "rprivate", "ro", "nosuid", "nodev", "noexec"}, {}, {}});
  }
  return {};
}

}  // namespace caisson::engine
