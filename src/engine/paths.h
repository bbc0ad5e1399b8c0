// SPDX-License-Identifier: Apache-2.0
// Where an engine keeps what: one place that knows the layout of its two roots.
#pragma once

#include <string>

#include "engine/options.h"

namespace caisson::engine {

class Paths {
 public:
  explicit Paths(const EngineOptions& options) : data_(options.data_root), exec_(options.exec_root) {}
  std::string state_db() const { return data_ + "/state.db"; }
  std::string temporary() const { return data_ + "/tmp"; }
  std::string containers() const { return data_ + "/containers"; }
  std::string container(const std::string& id) const { return containers() + "/" + id; }
  std::string upper(const std::string& id) const { return container(id) + "/upper"; }
  std::string work(const std::string& id) const { return container(id) + "/work"; }
  std::string json_log(const std::string& id) const { return container(id) + "/" + id + "-json.log"; }
  std::string local_log(const std::string& id) const { return container(id) + "/container.log"; }
  std::string cached_log(const std::string& id) const { return container(id) + "/container-cached.log"; }
  std::string hostname(const std::string& id) const { return container(id) + "/hostname"; }
  std::string hosts(const std::string& id) const { return container(id) + "/hosts"; }
  std::string resolv_conf(const std::string& id) const { return container(id) + "/resolv.conf"; }
  // In a container's directory, also once it lies in the trash: the volumes that go with it.
  static std::string volume_list(const std::string& container_dir) { return container_dir + "/volumes"; }
  std::string volumes() const { return data_ + "/volumes"; }
  std::string seccomp_cache() const { return data_ + "/seccomp"; }
  std::string run_containers() const { return exec_ + "/c"; }
  std::string cni_attachments() const { return data_ + "/cni"; }
  std::string cni_namespaces() const { return exec_ + "/netns"; }
  // Short on purpose: monitor.sock must fit into 107 bytes with most roots.
  std::string run(const std::string& id) const { return run_containers() + "/" + id; }

 private:
  std::string data_, exec_;
};

}  // namespace caisson::engine
