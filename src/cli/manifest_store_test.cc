// SPDX-License-Identifier: Apache-2.0
#include "cli/manifest_store.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::cli;

namespace {

spec::Reference named(const char* text) { return spec::parse_reference_with_default_tag(text).value(); }

JsonValue record(const char* ref, const char* type, const char* platform) {
  std::string text = std::string(R"({"Ref":")") + ref + R"(","Descriptor":{"mediaType":")" + type +
                     R"(","digest":"sha256:aa","size":7,"platform":)" + platform + "}}";
  return JsonValue::parse(text).value();
}

constexpr const char* kDocker = "application/vnd.docker.distribution.manifest.v2+json";
constexpr const char* kOci = "application/vnd.oci.image.manifest.v1+json";

}  // namespace

TEST_CASE("files of lists and manifests are called as Docker's client calls them") {
  CHECK(manifest_file_name(named("127.0.0.1:5000/x/list:1")) == "127.0.0.1-5000_x_list-1");
  CHECK(manifest_file_name(named("busybox")) == "docker.io_library_busybox-latest");
}

TEST_CASE("a list is written byte for byte as Docker's client writes it") {
  auto list = assemble_list(named("h:1/a:1"), {record("h:1/b:1", kDocker, R"({"architecture":"arm64","os":"linux"})")});
  REQUIRE(list);
  CHECK(list->media_type == "application/vnd.docker.distribution.manifest.list.v2+json");
  CHECK(list->text == R"({
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
   "manifests": [
      {
         "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
         "size": 7,
         "digest": "sha256:aa",
         "platform": {
            "architecture": "arm64",
            "os": "linux"
         }
      }
   ]
})");
}

TEST_CASE("the first manifest says what kind of list it is") {
  auto list = assemble_list(named("h:1/a:1"), {record("h:1/b:1", kOci, R"({"architecture":"arm64","os":"linux"})")});
  REQUIRE(list);
  CHECK(list->media_type == "application/vnd.oci.image.index.v1+json");
}

TEST_CASE("what cannot be in a list") {
  auto bare = assemble_list(named("h:1/a:1"), {record("h:1/b:1", kDocker, R"({"os":"linux"})")});
  REQUIRE(!bare);
  CHECK(bare.error().message == "manifest h:1/b:1 must have an OS and Architecture to be pushed to a registry");
  auto foreign =
      assemble_list(named("other/a:1"), {record("h:1/b:1", kDocker, R"({"architecture":"arm64","os":"linux"})")});
  REQUIRE(!foreign);
  CHECK(foreign.error().message ==
        "cannot use source images from a different registry than the target image: h:1 != docker.io");
}

TEST_CASE("platforms that there are") {
  CHECK(is_known_platform("linux", "riscv64"));
  CHECK_FALSE(is_known_platform("linux", "nosuch"));
  CHECK_FALSE(is_known_platform("", "amd64"));
  CHECK_FALSE(is_known_platform("linux", "386/x"));
}
