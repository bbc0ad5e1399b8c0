// SPDX-License-Identifier: Apache-2.0
// From a container's record to the OCI runtime spec that the runtime carries out. Pure: what must be
// looked up on the host (users, devices, other containers' namespaces) comes in as facts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/paths.h"
#include "engine/record.h"
#include "runtime/users.h"
#include "spec/oci_runtime.h"

namespace caisson::engine {

// What this engine has itself and can therefore grant.
struct HostLimits {
  uint64_t nofile_hard = 524288;
  uint64_t capabilities = ~0ULL;  // bit n: capability n
};

HostLimits own_limits();

struct SpecFacts {
  runtime::ResolvedUser user;
  std::map<std::string, std::string> namespace_paths;  // "network" -> "/proc/PID/ns/net", for container: modes
  std::vector<spec::OciDevice> host_devices;           // --device and --privileged
  std::string init_program;                            // absolute path of caisson-init, with HostConfig.Init
  std::map<std::string, std::vector<std::string>> image_layers;  // by destination: of mounts of type image
  std::string network_peer;                                      // id of the container whose network it has
  std::string shm_source;                                        // path of another container's /dev/shm, or "/dev/shm"
  spec::OciBlockIo block_io;                                     // limits of single devices
  std::vector<std::string> link_environment;                     // of those it is linked to
  HostLimits limits;
};

// kInvalid with Docker's text for what only shows here (security options, sysctls, ulimits).
Result<spec::RuntimeSpec> build_spec(const ContainerRecord& record, const Paths& paths, const SpecFacts& facts);

struct SecurityOptions {
  bool no_new_privileges = false;
  bool seccomp_unconfined = false;
  std::string seccomp_profile;  // JSON text; empty: the default
  bool unmask_system_paths = false;
};
Result<SecurityOptions> parse_security_options(const std::vector<std::string>& options);

// Environment of a process: PATH, HOSTNAME, TERM, that of links, then the container's own, HOME if nobody set one.
std::vector<std::string> process_environment(const ContainerRecord& record, const std::vector<std::string>& extra,
                                             bool tty, const std::string& home,
                                             const std::vector<std::string>& links = {});

// The process of `docker exec`.
Result<spec::OciProcess> build_exec_process(const ContainerRecord& record, const spec::ExecConfig& config,
                                            const runtime::ResolvedUser& user, const HostLimits& limits,
                                            const std::vector<std::string>& links = {});

}  // namespace caisson::engine
