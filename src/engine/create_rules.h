// SPDX-License-Identifier: Apache-2.0
// The rules of POST /containers/create: merging the image's config, Docker's defaults, and refusing what
// is wrong or what this release does not do. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/kernel_facts.h"
#include "spec/docker_config.h"
#include "spec/oci_image.h"

namespace caisson::engine {

struct HostFacts {
  int cpus = 1;
  std::string hostname;
  bool cgroup_v2 = false;
  std::string log_driver = "local";  // where the request names none, with
  spec::StringMap log_options;
  KernelFacts kernel;
  std::string quota_problem = "its quotas are not known";  // why files of containers cannot be limited; "": they can
};

// Bytes of the storage option "size", 0 without one; kInvalid.
Result<int64_t> storage_size(const spec::HostConfig& host);

// What contradicts itself in a request, before the image's config is in it. kInvalid with Docker's texts.
Result<> check_request(const spec::ContainerConfig& config, const spec::HostConfig& host_config,
                       const spec::NetworkingConfig& networking);

// Is the image for the platform that was asked for ("": none was)? kNotFound with Docker's text, on which clients go
// and pull; a warning for an image that is not for this machine.
Result<> check_platform(const spec::ImageConfig& image, const std::string& image_name, const std::string& asked,
                        std::vector<std::string>& warnings);

// Fills what the request left open from the image. kInvalid "no command specified" when nothing is to run.
Result<> merge_image_config(spec::ContainerConfig& config, const spec::ImageConfig& image);

// Docker's defaults and checks of HostConfig; warnings for what is taken but has no effect. kInvalid for
// wrong values and unknown networks, kUnsupported for what is not in this release.
Result<> normalise_host_config(spec::HostConfig& host_config, spec::ContainerConfig& config, const HostFacts& facts,
                               std::vector<std::string>& warnings);

// The ranges of the resource limits, each for itself: what `create` and `update` share. kInvalid.
Result<> check_resource_values(const spec::HostConfig& host_config, const HostFacts& facts);

// 169.254.0.0/16 and fe80::/10.
bool is_link_local(const std::string& address);

// Exposed and published ports; in a row they become ranges. kInvalid.
Result<> check_ports(spec::HostConfig& host, spec::ContainerConfig& config, std::vector<std::string>& warnings);

// Program and arguments from entrypoint and cmd.
std::vector<std::string> command_line(const spec::ContainerConfig& config);

// "TERM", "SIGTERM", "15" -> 15; kInvalid `invalid signal: X`.
Result<int> parse_signal(std::string_view text);

// "80/tcp", "80", "80-82/udp" -> {80, "tcp"}...; kInvalid.
struct ContainerPort {
  int number = 0;
  std::string protocol = "tcp";
};
Result<std::vector<ContainerPort>> parse_container_ports(std::string_view text);

}  // namespace caisson::engine
