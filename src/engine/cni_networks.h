// SPDX-License-Identifier: Apache-2.0
// Containers on networks that CNI plugins make: ADD at the start, DEL at the end, also after this engine was killed in
// between; CHECK of what a previous engine left, GC and STATUS where the list's version has them. See
// docs/decisions/0022. Thread-safe; calls block for as long as plugins take, so never on the event loop. Whoever calls
// for a container holds its operation.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "engine/cni_config.h"
#include "engine/cni_plugin.h"
#include "engine/cni_store.h"
#include "engine/networks.h"
#include "engine/record.h"

namespace caisson::engine {

inline constexpr const char* kCniDriver = "cni";

struct CniRequest {
  std::string container_id, container_name, network, interface;
  int netns = -1;                      // the caller's
  std::vector<std::string> addresses;  // wanted ones
  std::string mac;
  std::vector<network::PortMapping> ports;
};

struct CniEndpoint {
  network::Endpoint endpoint;
  std::vector<std::string> name_servers, search;
};

class CniNetworks {
 public:
  struct Config {
    bool enabled = false;  // otherwise there are no networks, and only what is left of before is undone
    std::string conf_dir;
    CniRunner runner;
    std::string state_dir;  // on disk
    std::string netns_dir;  // where plugins find namespaces by path; gone after a reboot, as these are
  };
  explicit CniNetworks(Config config);
  ~CniNetworks();

  // The networks of the configuration directory as it is now.
  std::vector<NetworkRecordPtr> list();

  // A failure undoes what the plugins did.
  Result<CniEndpoint> attach(const CniRequest& request);
  Result<> disconnect(const std::string& container_id, const std::string& network);
  // All of a container's but those of the interfaces in `keep`; what cannot be undone is logged and tried again at
  // the next start.
  void detach(const std::string& container_id, const std::set<std::string>& keep = {});

  // After an engine restart, for a running container: its ports are guarded again.
  void restore(const std::string& container_id);
  // Asks the plugins whether all is as they made it; logs what is not.
  void check(const std::string& container_id);
  // Containers that something is noted of.
  std::vector<std::string> noted() const { return store_.containers(); }
  // Tells plugins which attachments there are, so that they drop all others.
  void collect_garbage();
  // The engine stops: plugins at work are ended, no others started. What that leaves is the next engine's to undo.
  void stop();

 private:
  std::vector<CniList> lists();
  Result<CniList> find(const std::string& name);
  Result<std::string> run(const CniList& list, const CniPlugin& plugin, const CniCall& call, CniMembers members);
  Result<> ask_status(const CniList& list);
  Result<CniResult> add(const CniList& list, const std::string& container_id, CniAttachment& attachment);
  Result<> undo(const std::string& container_id, const CniAttachment& attachment);
  Result<std::string> bind_netns(const std::string& container_id, int netns);
  void unbind_netns(const std::string& container_id);
  void hold_ports(const std::string& container_id, const std::string& interface, std::vector<UniqueFd> sockets);

  const UniqueFd stop_;  // an eventfd
  const Config config_;
  CniStore store_;
  struct Locks;
  std::unique_ptr<Locks> locks_;                             // `data` guards what follows
  std::vector<std::string> problems_;                        // of the directory, as last told
  std::map<std::string, std::vector<UniqueFd>> held_ports_;  // "<container>/<interface>"
};

}  // namespace caisson::engine
