// SPDX-License-Identifier: Apache-2.0
#include "spec/oci_image.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::spec;

static const std::string kA = "sha256:" + std::string(64, 'a'), kB = "sha256:" + std::string(64, 'b');

TEST_CASE("image config: what Docker and other tools write is read, nulls and unknown fields included") {
  auto config = json::decode<ImageConfig>(R"({"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z",
    "config":{"Hostname":"","Env":["A=b"],"Cmd":["sh"],"Entrypoint":null,"OnBuild":null,"Labels":null,"Volumes":{"/data":{}},
      "ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","x"],"Interval":30000000000},"NewField":[1,{"x":null}]},
    "container_config":{"Env":null},"rootfs":{"type":"layers","diff_ids":[")" +
                                          kA + R"("]},
    "history":[{"created":"2024-01-02T03:04:05Z","created_by":"ADD x"},{"created_by":"CMD","empty_layer":true}]})");
  REQUIRE(config);
  CHECK(config->config.env == std::vector<std::string>{"A=b"});
  CHECK(config->config.entrypoint.empty());
  CHECK(config->config.volumes.contains("/data"));
  CHECK(config->config.exposed_ports.contains("80/tcp"));
  REQUIRE(config->config.healthcheck);
  CHECK(config->config.healthcheck->interval == 30000000000);
  CHECK(config->history.size() == 2);
  CHECK(config->history[1].empty_layer);
  CHECK(check_config(*config));

  CHECK(!json::decode<ImageConfig>(R"({"config":{"Env":"A=b"}})"));
  CHECK(json::decode<ImageConfig>(
      R"({"architecture":"amd64","os":"linux","config":null,"rootfs":{"type":"layers","diff_ids":null}})"));
}

TEST_CASE("image config: contradictions are refused") {
  ImageConfig config;
  config.rootfs.diff_ids = {kA};
  config.history.resize(2);
  CHECK(check_config(config).error().kind == ErrorKind::kInvalid);
  config.history[0].empty_layer = true;
  CHECK(check_config(config));
  config.rootfs.type = "layers+base";
  CHECK(!check_config(config));
  config.rootfs.type = "layers";
  config.rootfs.diff_ids = {"sha256:../../etc"};
  CHECK(!check_config(config));
  config.history.clear();
  config.rootfs.diff_ids.assign(501, kA);
  CHECK(!check_config(config));
}

TEST_CASE("chain-id: as the image specification defines it") {
  CHECK(chain_id({kA}, 1) == kA);
  // printf '%s %s' $A $B | sha256sum
  CHECK(chain_id({kA, kB}, 2) == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c");
  CHECK(chain_id({kA, kB}, 1) == kA);
  CHECK(chain_id({}, 0).empty());
}

TEST_CASE("manifest: encoding keeps the order of the specification") {
  Manifest manifest;
  manifest.media_type = kOciManifest;
  manifest.config = {.media_type = std::string(kOciConfig), .digest = kA, .size = 5};
  CHECK(
      json::encode(manifest) ==
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":")" +
          kA + R"(","size":5},"layers":[]})");
  CHECK(is_manifest_type(kDockerManifest));
  CHECK(is_index_type(kDockerManifestList));
  CHECK(!is_index_type(kOciManifest));
}
