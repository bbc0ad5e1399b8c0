// SPDX-License-Identifier: Apache-2.0
// The flags of `run` and `create`, and what they become: the body of the create request.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/flags.h"
#include "cli/json_value.h"

namespace caisson::cli {

std::span<const FlagSpec> container_flags();

struct ContainerRequest {
  JsonValue config = JsonValue::object();  // top level of the body
  JsonValue host_config = JsonValue::object();
  JsonValue networking = JsonValue::object();  // EndpointsConfig
  std::string image;
  std::string name, platform, cid_file, pull;
  bool tty = false, open_stdin = false, auto_remove = false, quiet = false, use_api_socket = false;
  bool attach_stdin = false, attach_stdout = false, attach_stderr = false;

  std::string body() const;
};

// `args`: the image, then the command. Reads the files that flags name (--env-file, --label-file,
// seccomp profiles) and `environment` for variables given without value.
Result<ContainerRequest> parse_container(const ParsedFlags& flags, const std::vector<std::string>& args,
                                         const std::vector<std::string>& environment);

}  // namespace caisson::cli
