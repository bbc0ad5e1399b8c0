// SPDX-License-Identifier: Apache-2.0
// A container's files as `cp`, `export` and `diff` see them: the merged root file system, running or not, with
// volumes and bind mounts where Docker shows them. A client may be slow: nothing here is held locked
// while it reads or writes.
#pragma once

#include <memory>

#include "engine/container.h"
#include "engine/services.h"
#include "sys/private_root.h"

namespace caisson::engine {

// The root of a container that does not run, shared by all who look into it at the same time; a start that
// comes meanwhile takes the spare mount, as one upper directory must not be mounted twice.
struct OpenRoot {
  sys::PrivateRoot files;
  image::LayerChain layers;
  std::shared_ptr<OpenRoot> base;  // whose file system this is
};

struct RootView {
  int fd() const { return root->files.root.get(); }
  std::shared_ptr<OpenRoot> root;
};

class ContainerRoots {
 public:
  explicit ContainerRoots(Services services) : services_(std::move(services)) {}

  // With volumes, binds and the engine's own files in /etc; for reading and, where the container may, writing.
  Result<RootView> open(const ContainerPtr& container);
  // The container's file system alone, as `export` and `commit` want it. Look at one mount only.
  Result<RootView> open_bare(const ContainerPtr& container);
  // What lies below the container's own changes: the image, read-only.
  struct Layers {
    UniqueFd lower, upper;
    std::vector<std::string> directories;
    image::LayerChain chain;
    std::shared_ptr<void> extracted;  // of the vfs driver: what `upper` is, until this goes
  };
  Result<Layers> open_layers(const ContainerRecord& record);

 private:
  Result<UniqueFd> clone_running(const ContainerRecord& record);
  Result<std::shared_ptr<OpenRoot>> open_stopped(Container& container, const ContainerRecord& record);
  Result<std::vector<sys::RootMount>> mounts_of(const ContainerRecord& record);

  Services services_;
};

}  // namespace caisson::engine
