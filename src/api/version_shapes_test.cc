// SPDX-License-Identifier: Apache-2.0
#include "api/version_shapes.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::api;

TEST_CASE("shapes: the last version is left as it is") {
  CHECK(shape_answer(Shape::kInfo, 51, R"({"A":1})") == R"({"A":1})");
  CHECK(shape_answer(Shape::kDiskUsage, 51, R"({"Images":[{"Size":5}]})") == R"({"Images":[{"Size":5}]})");
}

TEST_CASE("shapes: members of lists, copies, removals") {
  CHECK(shape_answer(Shape::kDiskUsage, 43, R"({"Images":[{"Size":5},{"Size":6}]})") ==
        R"({"Images":[{"Size":5,"VirtualSize":5},{"Size":6,"VirtualSize":6}]})");
  CHECK(shape_answer(Shape::kContainerSummary, 45, R"([{"HostConfig":{"NetworkMode":"a","Annotations":{"b":"c"}}}])") ==
        R"([{"HostConfig":{"NetworkMode":"a"}}])");
  CHECK(shape_answer(Shape::kContainerSummary, 24, R"([{"State":"removing"},{"State":"running"}])") ==
        R"([{"State":"exited"},{"State":"running"}])");
  CHECK(shape_answer(Shape::kImageSummary, 50, R"([{"RepoTags":[],"Containers":3}])") ==
        R"([{"RepoTags":[],"Containers":-1}])");
  CHECK(shape_answer(Shape::kImageSummary, 42, R"([{"RepoTags":[],"RepoDigests":[],"Size":7}])") ==
        R"([{"RepoTags":["<none>:<none>"],"RepoDigests":["<none>@<none>"],"Size":7,"VirtualSize":7,"Containers":-1}])");
  CHECK(shape_answer(Shape::kImageSummary, 42, R"([{"RepoTags":["a"],"RepoDigests":[],"Size":7}])") ==
        R"([{"RepoTags":["a"],"RepoDigests":[],"Size":7,"VirtualSize":7,"Containers":-1}])");
  CHECK(shape_answer(Shape::kInfo, 43, R"({"Runtimes":{"a":{"path":"x","status":{}}}})")
            .starts_with(R"({"Runtimes":{"a":{"path":"x"}})"));
}

TEST_CASE("shapes: other values than expected do no harm") {
  CHECK(shape_answer(Shape::kContainerSummary, 24, "null") == "null");
  CHECK(shape_answer(Shape::kDiskUsage, 43, R"({"Images":null})") == R"({"Images":null})");
  CHECK(shape_answer(Shape::kImageInspect, 51, R"({"Config":null})") == R"({"Config":null})");
}

TEST_CASE("shapes: a create request of its time") {
  auto create = [](int version, auto prepare) {
    spec::ContainerConfig config;
    spec::CreateExtras extras;
    prepare(config, extras.host_config, extras.networking_config.endpoints);
    std::vector<std::string> warnings;
    auto done = shape_create(version, false, config, extras, warnings);
    return std::tuple{done ? "" : done.error().message, config, extras, warnings};
  };
  auto nothing = [](auto&, auto&, auto&) {};
  CHECK(std::get<2>(create(39, nothing)).host_config.ipc_mode == "shareable");
  CHECK(std::get<2>(create(40, nothing)).host_config.ipc_mode.empty());
  CHECK(std::get<2>(create(40, nothing)).host_config.cgroupns_mode == "host");
  CHECK(std::get<2>(create(41, nothing)).host_config.cgroupns_mode.empty());
  auto removed = [](auto&, auto& host, auto&) { host.auto_remove = true; };
  CHECK_FALSE(std::get<2>(create(24, removed)).host_config.auto_remove);
  CHECK(std::get<2>(create(25, removed)).host_config.auto_remove);
  auto tmpfs = [](auto&, auto& host, auto&) {
    host.mounts.push_back({.type = "tmpfs", .target = "/a", .volume_options = spec::VolumeOptions{}});
  };
  CHECK(std::get<0>(create(41, tmpfs)).empty());
  CHECK(std::get<0>(create(42, tmpfs)) == "VolumeOptions must not be specified on mount type \"tmpfs\"");
  auto two = [](auto&, auto&, auto& endpoints) { endpoints["a"], endpoints["b"]; };
  CHECK(std::get<0>(create(43, two)) == "Container cannot be created with multiple network endpoints: a, b");
  CHECK(std::get<0>(create(44, two)).empty());
  auto mac = [](auto& config, auto&, auto&) { config.mac_address = "02:42:00:00:00:01"; };
  CHECK(std::get<3>(create(43, mac)).empty());
  CHECK(std::get<3>(create(44, mac)).size() == 1);
  CHECK(std::get<2>(create(44, mac)).networking_config.endpoints["bridge"]->mac_address == "02:42:00:00:00:01");
  auto sysctl = [](auto&, auto& host, auto&) { host.sysctls["net.ipv4.conf.eth0.forwarding"] = "1"; };
  CHECK(std::get<0>(create(47, sysctl)).empty());
  CHECK(std::get<0>(create(48, sysctl)).starts_with("interface specific sysctl"));
}
