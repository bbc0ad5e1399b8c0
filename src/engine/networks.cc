// SPDX-License-Identifier: Apache-2.0
#include "engine/networks.h"

#include "engine/cni_networks.h"
#include "engine/network_drivers.h"

#include <algorithm>
#include <mutex>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "engine/network_plan.h"
#include "wire/digest.h"

namespace caisson::engine {

CAISSON_JSON(NetworkRecord, CAISSON_FIELD("id", id), CAISSON_FIELD("name", name), CAISSON_FIELD("driver", driver),
             CAISSON_FIELD("created_ns", created_ns), CAISSON_FIELD("internal", internal),
             CAISSON_FIELD("attachable", attachable), CAISSON_FIELD("ingress", ingress),
             CAISSON_FIELD("config_only", config_only), CAISSON_FIELD("config_from", config_from),
             CAISSON_FIELD("ipam", ipam), CAISSON_FIELD("own_subnet", own_subnet), CAISSON_FIELD("options", options),
             CAISSON_FIELD("labels", labels), CAISSON_FIELD("enable_ipv4", enable_ipv4),
             CAISSON_FIELD("enable_ipv6", enable_ipv6), CAISSON_FIELD("own_subnet6", own_subnet6))

namespace {

const std::vector<std::string> kSchema = {
    "CREATE TABLE networks(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL)"};
constexpr size_t kMaxName = 128, kMaxNetworks = 4096;

// Docker's rule for names of objects, and no others: they become words of events, host names and file names.
bool is_network_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxName) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && (i == 0 || (c != '_' && c != '.' && c != '-'))) return false;
  }
  return true;
}

NetworkRecordPtr predefined(const char* name, const char* driver, bool ipv6 = false) {
  auto record = std::make_shared<NetworkRecord>();
  record->name = name;
  record->id = network_id_of(name);
  record->driver = driver;
  record->enable_ipv6 = ipv6;
  return record;
}

class DatabaseNetworks final : public NetworkStore {
 public:
  DatabaseNetworks(db::Database& database, NetworkDrivers& drivers, CniNetworks* cni, NetworkDefaults defaults)
      : database_(database),
        drivers_(drivers),
        cni_(cni),
        defaults_(std::move(defaults)),
        networks_{predefined("bridge", "bridge", defaults_.ipv6), predefined("host", "host"),
                  predefined("none", "null")} {}

  Result<> load();
  Result<NetworkRecordPtr> create(spec::NetworkCreate request, std::string& warning) override;
  Result<NetworkRecordPtr> find(std::string_view reference) override;
  std::vector<NetworkRecordPtr> list() override {
    auto others = cni_ ? cni_->list() : std::vector<NetworkRecordPtr>{};
    std::lock_guard lock(mutex_);
    auto all = networks_;
    for (auto& other : others)
      if (std::none_of(networks_.begin(), networks_.end(), [&](const auto& own) { return own->name == other->name; }))
        all.push_back(std::move(other));
    return all;
  }
  Result<> remove(const NetworkRecord& record) override;

 private:
  Result<> check(const spec::NetworkCreate& request);

  db::Database& database_;
  NetworkDrivers& drivers_;
  CniNetworks* cni_;
  const NetworkDefaults defaults_;
  std::mutex change_mutex_;  // one creation or removal at a time
  std::mutex mutex_;
  std::vector<NetworkRecordPtr> networks_;
};

Result<> DatabaseNetworks::load() {
  TRY(database_.migrate("networks", kSchema));
  std::vector<std::shared_ptr<NetworkRecord>> found;
  TRY(database_.query("SELECT record FROM networks ORDER BY rowid", {}, [&](const db::Row& row) {
    auto record = json::decode<NetworkRecord>(row.text(0));
    if (record)
      found.push_back(std::make_shared<NetworkRecord>(std::move(*record)));
    else
      log_error("a network in the state database: %s", record.error().message.c_str());
  }));
  for (auto& record : found) {
    if (!record->config_only) {
      auto spec = network_spec_of(*record);
      auto known = spec ? drivers_.add(*record, *spec, {}, false) : Result<>(std::unexpected(spec.error()));
      if (!known) log_error("network %s: %s", record->name.c_str(), known.error().message.c_str());
    }
    networks_.push_back(std::move(record));
  }
  return {};
}

Result<> DatabaseNetworks::check(const spec::NetworkCreate& request) {
  const auto& name = request.name;
  if (name == "bridge" || name == "host" || name == "none" || name == "default")
    return fail(ErrorKind::kDenied, "operation is not permitted on predefined %s network", name.c_str());
  if (name.starts_with("container:") || !is_network_name(name))
    return fail(ErrorKind::kInvalid, "invalid network name %s: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                quoted(name.substr(0, 64)).c_str());
  if (!request.scope.empty() && request.scope != "local")
    return fail(ErrorKind::kDenied, "cannot create a network with scope '%s': this engine is not part of a swarm",
                request.scope.substr(0, 32).c_str());
  if (request.ingress)
    return fail(ErrorKind::kDenied, "cannot create an ingress network: this engine is not part of a swarm");
  if (request.driver == "overlay")
    return fail(ErrorKind::kDenied, "cannot create an overlay network: this engine is not part of a swarm");
  if (request.driver == kCniDriver)
    return fail(ErrorKind::kDenied, "networks of driver cni are made by files in the CNI configuration directory");
  if (request.driver == "host" || request.driver == "null")
    return fail(ErrorKind::kDenied, "only one instance of \"%s\" network is allowed", request.driver.c_str());
  if (!request.driver.empty() && request.driver != "bridge" && request.driver != "default" &&
      !network::is_lan_driver(request.driver))
    return fail(ErrorKind::kNotFound, "could not find plugin %s in v1 plugin registry: plugin not found",
                request.driver.substr(0, 64).c_str());
  return {};
}

Result<NetworkRecordPtr> DatabaseNetworks::create(spec::NetworkCreate request, std::string& warning) {
  TRY(check(request));
  std::lock_guard change(change_mutex_);
  auto existing = list();
  if (existing.size() >= kMaxNetworks) return fail(ErrorKind::kExhausted, "more than %zu networks", kMaxNetworks);
  for (const auto& other : existing)
    if (other->name == request.name)
      return fail(ErrorKind::kConflict, "network with name %s already exists", request.name.c_str());
  auto record = std::make_shared<NetworkRecord>();
  record->id = random_id();
  record->name = request.name;
  if (network::is_lan_driver(request.driver)) record->driver = request.driver;
  record->created_ns = now_ns();
  record->internal = request.internal;
  record->attachable = request.attachable;
  record->config_only = request.config_only;
  record->labels = std::move(request.labels);
  record->options = std::move(request.options);
  bool depends = request.config_from && !request.config_from->network.empty(), own_options = !record->options.empty();
  if (auto defaults = defaults_.options.find(record->driver); defaults != defaults_.options.end() && !depends)
    for (const auto& [key, value] : defaults->second) record->options.try_emplace(key, value);
  auto families = TRY(families_of(request, record->options));
  record->enable_ipv4 = families.v4;
  record->enable_ipv6 = families.v6;
  if (request.ipam) {
    TRY(check_ipam(*request.ipam, families));
    record->ipam = std::move(*request.ipam);
  }
  if (record->ipam.driver.empty()) record->ipam.driver = "default";
  if (depends) {
    if (request.config_only)
      return fail(ErrorKind::kInvalid, "a config-only network cannot take its configuration from another");
    if (own_options || !record->ipam.config.empty() || record->internal)
      return fail(ErrorKind::kInvalid,
                  "user specified configurations are not supported if the network depends on a "
                  "configuration network");
    auto from = TRY(find(request.config_from->network));
    if (!from->config_only)
      return fail(ErrorKind::kInvalid, "network %s is not a config-only network", from->name.c_str());
    record->config_from = from->name;
    record->options = from->options;
    record->ipam = from->ipam;
    record->internal = from->internal;
    record->enable_ipv4 = from->enable_ipv4;
    record->enable_ipv6 = from->enable_ipv6;
    auto own_labels = std::move(record->labels);
    record->labels = from->labels;
    for (auto& [key, value] : own_labels) record->labels[key] = value;
  }
  Rollback undo;
  if (!record->config_only) {
    auto spec = TRY(network_spec_of(*record));
    record->own_subnet = !spec.v4.subnet.empty();
    record->own_subnet6 = !spec.v6.subnet.empty();
    TRY(drivers_.add(*record, spec, existing, true));
    undo.add([this, &record] {
      if (auto gone = drivers_.remove(*record); !gone) log_warn("%s", gone.error().message.c_str());
    });
    note_addresses(*record, spec);
  } else {
    TRY(network_spec_of(*record));
  }
  TRY(database_.execute("INSERT INTO networks VALUES(?1, ?2, ?3)", {record->id, record->name, json::encode(*record)}));
  undo.commit();
  std::lock_guard lock(mutex_);
  networks_.push_back(record);
  warning.clear();
  return NetworkRecordPtr(record);
}

Result<NetworkRecordPtr> DatabaseNetworks::find(std::string_view reference) {
  auto all = list();
  for (const auto& record : all)
    if (record->name == reference || record->id == reference) return record;
  NetworkRecordPtr found;
  for (const auto& record : all) {
    if (reference.empty() || !record->id.starts_with(reference)) continue;
    if (found)
      return fail(ErrorKind::kInvalid, "network %s is ambiguous (2 matches found on ID prefix)",
                  std::string(reference).c_str());
    found = record;
  }
  if (found) return found;
  return fail(ErrorKind::kNotFound, "network %s not found", std::string(reference.substr(0, 128)).c_str());
}

Result<> DatabaseNetworks::remove(const NetworkRecord& record) {
  if (record.predefined())
    return fail(ErrorKind::kDenied, "%s is a pre-defined network and cannot be removed", record.name.c_str());
  if (record.driver == kCniDriver)
    return fail(ErrorKind::kDenied, "network %s is a CNI configuration: it goes with its file '%s'",
                record.name.c_str(), record.options.at("cni.file").c_str());
  std::lock_guard change(change_mutex_);
  for (const auto& other : list())
    if (record.config_only && other->config_from == record.name)
      return fail(ErrorKind::kDenied, "configuration network %s is in use", record.name.c_str());
  if (!record.config_only) {
    if (auto gone = drivers_.remove(record); !gone) {
      if (gone.error().kind == ErrorKind::kConflict)
        return fail(ErrorKind::kDenied, "error while removing network: %s", gone.error().message.c_str());
      return gone;
    }
  }
  TRY(database_.execute("DELETE FROM networks WHERE id = ?1", {record.id}));
  std::lock_guard lock(mutex_);
  std::erase_if(networks_, [&](const auto& other) { return other->id == record.id; });
  return {};
}

}  // namespace

std::string network_id_of(const std::string& name) {
  // 64 hex digits from the name alone: stable over restarts without being stored.
  return std::string(digest::hex_of(digest::sha256("caisson network " + name)));
}

Result<std::unique_ptr<NetworkStore>> NetworkStore::open(db::Database& database, NetworkDrivers& drivers,
                                                         CniNetworks* cni, NetworkDefaults defaults) {
  auto store = std::make_unique<DatabaseNetworks>(database, drivers, cni, std::move(defaults));
  TRY(store->load());
  return store;
}

}  // namespace caisson::engine
