// SPDX-License-Identifier: Apache-2.0
// What was asked of CNI plugins, on disk before they are asked: whoever finds it after a crash can have it undone with
// the same configuration. One file for each attachment, one directory for each container. Blocking.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::engine {

struct CniAttachment {
  std::string network, interface, netns, args;
  std::string list;                            // CniList::encode()
  std::map<std::string, std::string> runtime;  // capability, its JSON text
  std::string result;                          // of the last plugin; empty: ADD has not come to its end
  std::vector<std::string> ports;              // guarded: "tcp/0.0.0.0/8080"
  int64_t order = 0;                           // undone backwards
};

class CniStore {
 public:
  explicit CniStore(std::string directory) : directory_(std::move(directory)) {}
  Result<> save(const std::string& container_id, const CniAttachment& attachment);
  Result<> remove(const std::string& container_id, const std::string& interface);
  // In the order in which they were made; an unreadable one is logged and left out.
  std::vector<CniAttachment> of(const std::string& container_id) const;
  bool has(const std::string& container_id) const;
  std::vector<std::string> containers() const;

 private:
  std::string directory_;
};

}  // namespace caisson::engine
