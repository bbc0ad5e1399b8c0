// SPDX-License-Identifier: Apache-2.0
#include "engine/create_defaults.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::engine;

TEST_CASE("defaults fill what a container leaves open, and nothing else") {
  EngineOptions options;
  options.default_shm_size = 1 << 20;
  options.default_ipc_mode = "shareable";
  options.default_cgroupns_mode = "host";
  options.default_init = options.no_new_privileges = true;
  options.default_ulimits = {{"nofile", {10, 20}}, {"core", {0, 0}}};

  spec::HostConfig open;
  apply_engine_defaults(open, options, options.live());
  CHECK(open.shm_size == 1 << 20);
  CHECK(open.ipc_mode == "shareable");
  CHECK(open.cgroupns_mode == "host");
  CHECK(open.init == true);
  CHECK(open.ulimits.size() == 2);
  CHECK(open.security_opt == std::vector<std::string>{"no-new-privileges"});

  spec::HostConfig own;
  own.shm_size = 5;
  own.ipc_mode = "none";
  own.cgroupns_mode = "private";
  own.init = false;
  own.ulimits = {{.name = "NOFILE", .soft = 1, .hard = 2}};
  own.security_opt = {"no-new-privileges=false"};
  apply_engine_defaults(own, options, options.live());
  CHECK(own.shm_size == 5);
  CHECK(own.ipc_mode == "none");
  CHECK(own.cgroupns_mode == "private");
  CHECK(own.init == false);
  REQUIRE(own.ulimits.size() == 2);
  CHECK(own.ulimits[0].hard == 2);
  CHECK(own.security_opt.size() == 1);

  spec::HostConfig privileged;
  privileged.privileged = true;
  apply_engine_defaults(privileged, options, options.live());
  CHECK(privileged.cgroupns_mode.empty());
}
