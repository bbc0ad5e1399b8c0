// SPDX-License-Identifier: Apache-2.0
// Contexts on disk, in the layout of Docker's client, so that both read each other's: CONFIG/contexts/meta/ID/meta.json
// and CONFIG/contexts/tls/ID/docker/{ca,cert,key}.pem, where ID is the digest of the name.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/json_value.h"

namespace caisson::cli {

inline constexpr size_t kMaxContextMeta = 1 << 20, kMaxContextFile = 1 << 20, kMaxContextFiles = 32;
inline constexpr const char* kTlsFiles[] = {"ca.pem", "cert.pem", "key.pem"};

struct ContextRecord {
  std::string name;
  JsonValue meta;                          // the whole of meta.json
  std::map<std::string, std::string> tls;  // "docker/ca.pem" -> text; filled by read_tls()
  std::string host() const { return meta.at("Endpoints", "docker", "Host").text(); }
  std::string description() const { return meta.at("Metadata", "Description").text(); }
  bool skip_verify() const { return meta.at("Endpoints", "docker", "SkipTLSVerify").as_bool(); }
};

// kInvalid with Docker's sentence; also for "default", which is not on disk.
Result<> check_context_name(const std::string& name);

class ContextStore {
 public:
  explicit ContextStore(std::string config_dir) : root_(std::move(config_dir) + "/contexts") {}

  Result<ContextRecord> find(const std::string& name) const;  // kNotFound
  Result<std::vector<ContextRecord>> list() const;            // by name
  Result<> read_tls(ContextRecord& record) const;
  // Replaces what is there under this name; nothing half-written is left under it.
  Result<> save(const ContextRecord& record) const;
  Result<> remove(const std::string& name) const;

  std::string meta_dir(const std::string& name) const;
  std::string tls_dir(const std::string& name) const;
  std::vector<std::string> tls_names(const std::string& name) const;  // files of the docker endpoint

 private:
  std::string root_;
};

}  // namespace caisson::cli
