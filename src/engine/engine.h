// SPDX-License-Identifier: Apache-2.0
// One engine: builds the parts over their roots, adopts what a previous engine left running, and creates
// containers. What happens to them later is lifecycle's; what is asked about them goes to the parts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/container_root.h"
#include "engine/exec_manager.h"
#include "engine/image_gc.h"
#include "engine/lifecycle.h"
#include "engine/options.h"
#include "engine/services.h"

namespace caisson::engine {

class Engine {
 public:
  // Takes the lock on both roots (kConflict: another engine has it), drops what is half-made, adopts
  // running containers. The loop must outlive the engine; it need not run yet.
  // Removes what an engine with these options has left in the kernel's network: bridges and rules. kConflict while
  // one runs.
  static Result<> cleanup_network(EngineOptions options);
  static Result<std::unique_ptr<Engine>> open(EngineOptions options, sys::EventLoop& loop);
  ~Engine();

  struct Created {
    std::string id;
    std::vector<std::string> warnings;
  };
  // `name` may be empty. Nothing is left behind on failure.
  Result<Created> create(std::string name, spec::ContainerConfig config, spec::CreateExtras extras);

  // Limits and restart policy, with what `change` names; the warnings.
  Result<std::vector<std::string>> update(const ContainerPtr& container, const spec::HostConfig& change);

  // "parent/alias": neither container is touched otherwise.
  Result<> remove_link(const std::string& name);

  // Ends what would keep a stopping engine waiting. May be repeated.
  void begin_stop();

  const EngineOptions& options() const;
  // What may change while it runs; options() does not. Any thread.
  std::shared_ptr<const LiveOptions> live_options() const;
  void reload(const EngineOptions& fresh);
  const Paths& paths() const;
  ContainerRegistry& containers();
  Lifecycle& lifecycle();
  ExecManager& execs();
  ContainerRoots& roots();
  image::ImageStore& images();
  network::NetworkManager& network();
  NetworkStore& networks();
  volume::VolumeStore& volumes();
  SecretStore& secrets();
  EventHub& events();
  ImageGc& image_gc();
  db::Database& database();
  // Takes a name from an image, which goes with its last one; tells it as an event.
  Result<> untag_image(const std::string& name);
  const sys::CgroupSystem& cgroups() const;
  const std::string& engine_id() const;  // stays the same for one data root
  // Work that may be done while nobody waits: network namespaces for the next starts.
  void warm_up();

 private:
  Engine();
  Result<> build(EngineOptions options, sys::EventLoop& loop);
  Result<> lock_roots();
  Result<> drop_half_made();
  Result<std::vector<spec::MountPoint>> make_mount_points(ContainerRecord& record,
                                                          std::vector<std::shared_ptr<void>>& holds);
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace caisson::engine
