// SPDX-License-Identifier: Apache-2.0
#include "engine/create_rules.h"

#include <doctest/doctest.h>

#include "engine/mount_plan.h"
#include "engine/names.h"

using namespace caisson;
using namespace caisson::engine;

namespace {
const HostFacts kHost{2, "box"};

struct Outcome {
  spec::HostConfig host;
  spec::ContainerConfig config;
  std::vector<std::string> warnings;
  Result<> result;
};
Outcome normalise(const std::string& host_json, const std::string& config_json = "{}") {
  Outcome out{*json::decode<spec::HostConfig>(host_json), *json::decode<spec::ContainerConfig>(config_json), {}, {}};
  out.result = normalise_host_config(out.host, out.config, kHost, out.warnings);
  return out;
}
spec::StringList words(std::vector<std::string> items) { return {std::move(items), true}; }
}  // namespace

TEST_CASE("create rules: the image fills what the request left open") {
  spec::ImageConfig image;
  image.config.entrypoint = {"/entry"};
  image.config.cmd = {"default"};
  image.config.env = {"A=image", "B=image"};
  image.config.working_dir = "/srv";
  image.config.labels = {{"k", "image"}};

  spec::ContainerConfig config;
  config.env = {"A=mine"};
  REQUIRE(merge_image_config(config, image));
  CHECK(command_line(config) == std::vector<std::string>{"/entry", "default"});
  CHECK(config.env == std::vector<std::string>{"A=mine", "B=image"});
  CHECK(config.working_dir == "/srv");
  CHECK(config.labels.at("k") == "image");

  spec::ContainerConfig with_cmd;
  with_cmd.cmd = words({"other"});
  REQUIRE(merge_image_config(with_cmd, image));
  CHECK(command_line(with_cmd) == std::vector<std::string>{"/entry", "other"});

  // An own entrypoint makes the image's cmd void; one empty string resets the image's entrypoint.
  spec::ContainerConfig own;
  own.entrypoint = words({"/mine"});
  REQUIRE(merge_image_config(own, image));
  CHECK(command_line(own) == std::vector<std::string>{"/mine"});
  spec::ContainerConfig reset;
  reset.entrypoint = words({""});
  reset.cmd = words({"sh"});
  REQUIRE(merge_image_config(reset, image));
  CHECK(command_line(reset) == std::vector<std::string>{"sh"});
}

TEST_CASE("create rules: refused with Docker's words") {
  spec::ContainerConfig nothing;
  CHECK(merge_image_config(nothing, {}).error().message == "no command specified");
  CHECK(normalise(R"({"Memory": 1048576})").result.error().message == "Minimum memory limit allowed is 6MB");
  CHECK(normalise(R"({"NanoCpus": 3000000000})").result.error().message.find("only 2 CPUs available") !=
        std::string::npos);
  CHECK(normalise(R"({"CapAdd": ["NOPE"]})").result.error().kind == ErrorKind::kInvalid);
  CHECK(normalise(R"({"RestartPolicy": {"Name": "sometimes"}})").result.error().kind == ErrorKind::kInvalid);
  CHECK(normalise(R"({"LogConfig": {"Type": "nothing"}})").result.error().kind == ErrorKind::kInvalid);
  CHECK(normalise(R"({"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}})").result.error().kind ==
        ErrorKind::kInvalid);
  CHECK(normalise(R"({"PortBindings": {"http": null}})").result.error().kind == ErrorKind::kInvalid);
  CHECK(normalise(R"({"Memory": 67108864, "MemorySwap": 8388608})").result.error().kind == ErrorKind::kInvalid);
}

TEST_CASE("create rules: what is not in this release is said, not swallowed") {
  CHECK(normalise(R"({"LogConfig": {"Type": "gelf"}})").result.error().kind == ErrorKind::kUnsupported);
  CHECK(normalise(R"({"StorageOpt": {"size": "1G"}})").result.error().message.find("xfs") != std::string::npos);
  CHECK(normalise(R"({"StorageOpt": {"colour": "red"}})").result.error().message == "Unknown option colour");
  CHECK(normalise(R"({"VolumeDriver": "cloud"})").result.error().message ==
        "error looking up volume plugin cloud: plugin \"cloud\" not found");
}

TEST_CASE("create rules: what contradicts itself in a request") {
  auto refusal = [](const char* host, const char* config = "{}", const char* networking = "{}") {
    auto done = check_request(*json::decode<spec::ContainerConfig>(config), *json::decode<spec::HostConfig>(host),
                              *json::decode<spec::NetworkingConfig>(networking));
    return done ? "" : done.error().message;
  };
  CHECK(refusal("{}") == "");
  CHECK(refusal(R"({"NetworkMode": "container:"})") ==
        "Invalid network mode: invalid container format container:<name|id>");
  const char* shared = R"({"NetworkMode": "container:a"})";
  CHECK(refusal(shared) == "");
  CHECK(refusal(shared, R"({"Hostname": "x"})") == "conflicting options: hostname and the network mode");
  CHECK(refusal(shared, R"({"ExposedPorts": {"80/tcp": {}}})") ==
        "conflicting options: port exposing and the container type network mode");
  CHECK(refusal(R"({"NetworkMode": "container:a", "Dns": ["1.2.3.4"]})") ==
        "conflicting options: dns and the network mode");
  CHECK(refusal(R"({"UTSMode": "host"})", R"({"Hostname": "x"})") == "conflicting options: hostname and the UTS mode");
  CHECK(refusal(R"({"NetworkMode": "host", "Links": ["a"]})").find("host type networking") != std::string::npos);
  CHECK(refusal("{}", "{}", R"({"EndpointsConfig": {"default": {"IPAMConfig": {"IPv4Address": "1.2.3.4"},
                                                                "Aliases": ["a"]}}})") ==
        "invalid config for network bridge: invalid endpoint settings:\n"
        "user specified IP address is supported on user defined networks only\n"
        "network-scoped alias is supported only for containers in user defined networks");
  CHECK(refusal("{}", "{}", R"({"EndpointsConfig": {"mine": {"Aliases": ["a"]}}})") == "");
  CHECK(is_link_local("169.254.1.2"));
  CHECK(is_link_local("fe80::1"));
  CHECK(!is_link_local("169.255.1.2"));
  CHECK(!is_link_local("2001:db8::1"));
}

TEST_CASE("create rules: an image for another platform") {
  spec::ImageConfig image;
  std::vector<std::string> warnings;
  CHECK(check_platform(image, "a", "", warnings));
  image.os = "linux";
  image.architecture = "mips64le";
  CHECK(check_platform(image, "a", "linux/mips64le", warnings));
  CHECK(warnings.empty());
  CHECK(check_platform(image, "a", "", warnings));
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].starts_with("The requested image's platform (linux/mips64le) does not match the detected host"));
  auto other = check_platform(image, "a:1", "linux/s390x", warnings);
  CHECK(other.error().kind == ErrorKind::kNotFound);
  CHECK(other.error().message ==
        "image with reference a:1 was found but its platform (linux/mips64le) does not match the specified platform "
        "(linux/s390x)");
  CHECK(check_platform(image, "a", "a/b/c/d", warnings).error().kind == ErrorKind::kInvalid);
}

TEST_CASE("create rules: defaults as inspect shows them") {
  auto out = normalise(R"({"Memory": 67108864})");
  REQUIRE(out.result);
  CHECK(out.host.network_mode == "bridge");
  CHECK(out.host.ipc_mode == "private");
  CHECK(out.host.memory_swap == 2 * 67108864);
  CHECK(out.host.shm_size == 64 << 20);
  CHECK(out.host.log_config.type == "local");
  CHECK(!out.host.masked_paths->empty());
  CHECK(normalise(R"({"Privileged": true})").host.masked_paths->empty());
  auto ports = normalise(R"({"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}})");
  CHECK(ports.warnings.size() == 1);
  CHECK(ports.config.hostname == "box");
}

TEST_CASE("create rules: the engine's log options go with the engine's driver only") {
  HostFacts facts = kHost;
  facts.log_driver = "json-file";
  facts.log_options = {{"max-size", "1m"}, {"max-file", "2"}};
  auto options_of = [&](const char* json) {
    auto host = *json::decode<spec::HostConfig>(json);
    spec::ContainerConfig config;
    std::vector<std::string> warnings;
    REQUIRE(normalise_host_config(host, config, facts, warnings));
    return host.log_config;
  };
  CHECK(options_of("{}").type == "json-file");
  CHECK(options_of("{}").config == facts.log_options);
  auto named = options_of(R"({"LogConfig": {"Type": "json-file", "Config": {"max-file": "5"}}})");
  CHECK(named.config == spec::StringMap{{"max-size", "1m"}, {"max-file", "5"}});
  CHECK(options_of(R"({"LogConfig": {"Type": "local"}})").config.empty());
  CHECK(normalise(R"({"LogConfig": {"Type": "local", "Config": {"max-size": "none"}}})").result.error().kind ==
        ErrorKind::kInvalid);
}

TEST_CASE("signals: names, numbers, real-time") {
  CHECK(*parse_signal("TERM") == 15);
  CHECK(*parse_signal("sigkill") == 9);
  CHECK(*parse_signal("9") == 9);
  CHECK(*parse_signal("SIGRTMIN+3") == 37);
  CHECK(*parse_signal("RTMAX") == 64);
  for (const char* bad : {"", "0", "65", "SIGNOPE", "RTMIN+99", "-1"}) {
    CAPTURE(bad);
    CHECK(parse_signal(bad).error().kind == ErrorKind::kInvalid);
  }
}

TEST_CASE("ports: single, range, protocol") {
  CHECK(parse_container_ports("80")->at(0).protocol == "tcp");
  CHECK(parse_container_ports("53/UDP")->at(0).protocol == "udp");
  CHECK(parse_container_ports("8000-8002/tcp")->size() == 3);
  for (const char* bad : {"", "0", "70000", "80/xxx", "9-8", "a", "80-"}) {
    CAPTURE(bad);
    CHECK(!parse_container_ports(bad));
  }
}

TEST_CASE("names: rule and generated ones") {
  CHECK(*check_name("/web.1") == "web.1");
  for (const char* bad : {"", "/", "-a", "a b", "a/b", "\n"}) CHECK(!check_name(bad));
  CHECK(check_name(random_name(0)));
  CHECK(check_name(random_name(9)));
}

TEST_CASE("mount plan: forms of -v and their order") {
  spec::ContainerConfig config;
  config.volumes["/anon"];
  spec::HostConfig host;
  host.binds = {"/host/a:/x/deep:ro", "/host:/x", "named:/v:nocopy"};
  auto planned = plan_mounts(config, host);
  REQUIRE(planned);
  REQUIRE(planned->size() == 4);
  CHECK(planned->back().point.destination == "/x/deep");
  CHECK(!planned->back().point.rw);
  for (const auto& mount : *planned) {
    if (mount.point.destination == "/v") CHECK(mount.no_copy);
    if (mount.point.destination == "/anon") CHECK(mount.anonymous);
    if (mount.point.destination == "/x") CHECK(mount.create_source);
  }
}

TEST_CASE("mount plan: refused") {
  for (const char* bind : {"", ":", "/a:", "/a:b", "/a:/b:what", "/a:/", "/a:/b:ro:z", "../a:/b", "a$:/b"}) {
    spec::HostConfig host;
    host.binds = {bind};
    CAPTURE(bind);
    CHECK(plan_mounts({}, host).error().kind == ErrorKind::kInvalid);
  }
  spec::HostConfig twice;
  twice.binds = {"/a:/x", "/b:/x/"};
  CHECK(plan_mounts({}, twice).error().message == "Duplicate mount point: /x");
}

TEST_CASE("mount plan: what the user put at an image's volume wins") {
  spec::ContainerConfig config;
  config.volumes["/data"];
  spec::HostConfig host;
  host.binds = {"/host:/data"};
  auto planned = plan_mounts(config, host);
  REQUIRE(planned->size() == 1);
  CHECK(planned->at(0).point.type == "bind");
}
