// SPDX-License-Identifier: Apache-2.0
// From what a request says about mounts (binds, mounts, the image's VOLUMEs) to the mount points of a
// container. Pure: nothing is looked up or made on the host.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "spec/docker_config.h"
#include "spec/docker_container.h"

namespace caisson::engine {

struct PlannedMount {
  spec::MountPoint point;      // point.source is empty for volumes until they are made
  bool create_source = false;  // -v makes a missing host directory, --mount refuses it
  bool no_copy = false;
  bool anonymous = false;  // a volume without a name
  bool recursive = true;
  bool recursively_read_only = true;  // where it is read-only at all
  std::string subpath;                // of the volume or the image: what is seen of it
  spec::TmpfsOptions tmpfs;
  std::string tmpfs_options;  // HostConfig.Tmpfs
};

// kInvalid with Docker's text: bad mode, relative paths, duplicate destinations. `inherited` are those of
// --volumes-from: the request's own win over them, they win over the image's VOLUMEs.
Result<std::vector<PlannedMount>> plan_mounts(const spec::ContainerConfig& config, const spec::HostConfig& host_config,
                                              const std::vector<spec::MountPoint>& inherited = {});

// What of the volume is seen that is mounted there; "": all of it.
std::string subpath_at(const spec::HostConfig& host_config, const std::string& destination);

// "NAME[:MODE]" of HostConfig.VolumesFrom. kInvalid for another mode than ro, rw, z, Z.
struct VolumesFrom {
  std::string container;
  bool read_only = false;
};
Result<VolumesFrom> parse_volumes_from(const std::string& text);

}  // namespace caisson::engine
