// SPDX-License-Identifier: Apache-2.0
#include "image/pull_select.h"

#include <doctest/doctest.h>

#include "image/fetch_protocol.h"
#include "image/pull_layers.h"
#include "image/pull_progress.h"
#include "wire/digest.h"

using namespace caisson;
using namespace caisson::image;

namespace {

spec::Descriptor entry(const char* os, const char* arch, const char* variant, const char* name) {
  return {std::string(spec::kOciManifest),
          digest::sha256(name),
          100,
          {},
          {},
          "",
          spec::Platform{.architecture = arch, .os = os, .variant = variant}};
}

std::string chosen(const spec::Index& index, const char* platform) {
  auto found = select_platform(index, *parse_platform(platform));
  return found ? found->digest : found.error().message;
}

}  // namespace

TEST_CASE("platform names") {
  CHECK(platform_text(*parse_platform("linux/x86_64")) == "linux/amd64");
  CHECK(platform_text(*parse_platform("aarch64")) == "linux/arm64");
  CHECK(platform_text(*parse_platform("linux/arm64/v8")) == "linux/arm64");
  CHECK(platform_text(*parse_platform("linux/arm")) == "linux/arm/v7");
  CHECK(platform_text(*parse_platform("linux/armel")) == "linux/arm/v6");
  CHECK(parse_platform("")->os == "linux");
  CHECK(platform_text(*parse_platform("")) == platform_text(*parse_platform("linux")));
  for (auto bad : {"a/b/c/d", "/", "linux/", "lin ux", "linux/amd64/../x"}) {
    auto refused = parse_platform(bad);
    CHECK_MESSAGE((!refused && refused.error().kind == ErrorKind::kInvalid), bad);
  }
}

TEST_CASE("the platform of an index") {
  spec::Index index;
  index.manifests = {entry("unknown", "unknown", "", "attestation"),
                     entry("windows", "amd64", "", "win"),
                     entry("linux", "amd64", "", "amd"),
                     entry("linux", "arm", "v6", "arm6"),
                     entry("linux", "arm", "v7", "arm7"),
                     entry("linux", "arm64", "v8", "arm8"),
                     entry("linux", "amd64", "v3", "amd3")};
  CHECK(chosen(index, "linux/amd64") == digest::sha256("amd"));
  CHECK(chosen(index, "linux/amd64/v3") == digest::sha256("amd3"));
  CHECK(chosen(index, "linux/amd64/v2") == digest::sha256("amd"));
  CHECK(chosen(index, "linux/arm64") == digest::sha256("arm8"));
  CHECK(chosen(index, "linux/arm/v7") == digest::sha256("arm7"));
  CHECK(chosen(index, "linux/arm/v6") == digest::sha256("arm6"));
  CHECK(chosen(index, "linux/arm/v8") == digest::sha256("arm7"));
  CHECK(chosen(index, "linux/s390x") == "no matching manifest for linux/s390x in the manifest list entries");
  CHECK(select_platform(index, *parse_platform("linux/s390x")).error().kind == ErrorKind::kNotFound);
  index.manifests[2].digest = "sha256:../../etc/passwd";
  CHECK(!select_platform(index, *parse_platform("linux/amd64")));
}

TEST_CASE("documents are told apart, never both") {
  std::string oci_index(spec::kOciIndex), manifest(spec::kDockerManifest);
  CHECK(*classify_document(R"({"schemaVersion":2,"manifests":[]})", oci_index) == DocumentKind::kIndex);
  CHECK(*classify_document(R"({"schemaVersion":2,"manifests":[]})", "") == DocumentKind::kIndex);
  CHECK(*classify_document(R"({"schemaVersion":2,"config":{},"layers":[]})", "application/json") ==
        DocumentKind::kManifest);
  CHECK(*classify_document(R"({"schemaVersion":2,"mediaType":")" + manifest + R"(","config":{},"layers":[]})",
                           oci_index) == DocumentKind::kManifest);
  CHECK(!classify_document(R"({"schemaVersion":2,"manifests":[],"layers":[]})", oci_index));
  CHECK(!classify_document(R"({"schemaVersion":2,"layers":[]})", oci_index));
  CHECK(!classify_document("not json", manifest));
  CHECK(!classify_document(R"({"schemaVersion":2,"mediaType":"application/vnd.x","layers":[]})", ""));
  for (auto schema1 : {R"({"schemaVersion":1,"fsLayers":[]})", R"({"schemaVersion":2,"fsLayers":[{}]})"}) {
    auto refused = classify_document(schema1, "application/vnd.docker.distribution.manifest.v1+prettyjws");
    REQUIRE(!refused);
    CHECK(refused.error().kind == ErrorKind::kInvalid);
    CHECK(refused.error().message.contains("schema 1 is not supported"));
  }
}

TEST_CASE("bounds of manifests") {
  spec::Manifest manifest;
  manifest.config = {std::string(spec::kOciConfig), digest::sha256("c"), 10};
  manifest.layers = {{std::string(spec::kOciLayerGzip), digest::sha256("l"), 10}};
  CHECK(check_manifest(manifest));
  auto changed = manifest;
  changed.config.size = kMaxConfigBytes + 1;
  CHECK(!check_manifest(changed));
  changed = manifest;
  changed.layers[0].size = -1;
  CHECK(!check_manifest(changed));
  changed = manifest;
  changed.layers[0].digest = "sha512:00";
  CHECK(!check_manifest(changed));
  changed = manifest;
  changed.config.media_type = "application/vnd.cncf.helm.config.v1+json";
  CHECK(check_manifest(changed).error().kind == ErrorKind::kInvalid);
}

TEST_CASE("a layer may unpack to 1100 times its size, and to 64 GiB") {
  CHECK(unpacked_limit(0) == 1 << 20);
  CHECK(unpacked_limit(1 << 20) == (1 << 20) + int64_t{1100} * (1 << 20));
  CHECK(unpacked_limit(int64_t{1} << 40) == kMaxLayerUnpacked);
  CHECK(unpacked_limit(INT64_MAX) == kMaxLayerUnpacked);
}

TEST_CASE("progress lines are Docker's") {
  CHECK(status_line("Pulling from library/busybox", "latest") ==
        "{\"status\":\"Pulling from library/busybox\",\"id\":\"latest\"}\r\n");
  CHECK(status_line("Digest: sha256:0") == "{\"status\":\"Digest: sha256:0\"}\r\n");
  CHECK(layer_line("Pull complete", "abc") ==
        "{\"status\":\"Pull complete\",\"progressDetail\":{},\"id\":\"abc\"}\r\n");
  CHECK(error_line("a \"b\"") == "{\"errorDetail\":{\"message\":\"a \\\"b\\\"\"},\"error\":\"a \\\"b\\\"\"}\r\n");
  CHECK(push_aux_line("latest", "sha256:0", 527) ==
        "{\"progressDetail\":{},\"aux\":{\"Tag\":\"latest\",\"Digest\":\"sha256:0\",\"Size\":527}}\r\n");
  CHECK(progress_bar(0, 0) == "");
  CHECK(progress_bar(1000, 2000) == "[=========================>                         ]      1kB/2kB");
  CHECK(progress_bar(2000, 2000) == "[==================================================>]      2kB/2kB");
  CHECK(progress_bar(1234567, 0) == " 1.235MB");
  CHECK(progress_bar(3000, 2000).ends_with("]      3kB"));
  CHECK(
      transfer_line("Downloading", "abc", 1, 2)
          .starts_with("{\"status\":\"Downloading\",\"progressDetail\":{\"current\":1,\"total\":2},\"progress\":\"["));
  CHECK(short_digest("sha256:0123456789abcdef") == "0123456789ab");
}

TEST_CASE("messages of a worker are bounded") {
  CHECK(parse_fetch_reply(R"({"id":1,"done":true,"ok":true,"size":5})")->size == 5);
  CHECK(parse_fetch_reply(R"({"id":1,"done":true,"ok":false})")->message == "fetch worker failed without a reason");
  CHECK(parse_fetch_reply("{\"id\":1,\"message\":\"a\\u001b[2Jb\"}")->message == "a [2Jb");
  CHECK(parse_fetch_reply("{\"id\":1,\"message\":\"" + std::string(9000, 'x') + "\"}")->message.size() == 4096);
  CHECK(parse_fetch_reply(R"({"id":1,"size":-99})")->size == -1);
  CHECK(!parse_fetch_reply(R"({"id":1,"digest":"sha256:../x"})"));
  CHECK(!parse_fetch_reply("nonsense"));
  CHECK(error_kind_of_name("not found") == ErrorKind::kNotFound);
  CHECK(error_kind_of_name("surprise") == ErrorKind::kInternal);
}
