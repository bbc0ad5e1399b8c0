// SPDX-License-Identifier: Apache-2.0
#include "api/registry_paths.h"

#include <doctest/doctest.h>

using namespace caisson::api;
using Kind = RegistryPath::Kind;

TEST_CASE("registry: what a path asks for") {
  auto is = [](const char* path, Kind kind, const char* name, const char* reference) {
    auto parsed = parse_registry_path(path);
    CHECK_MESSAGE(parsed.kind == kind, path);
    CHECK_MESSAGE(parsed.name == name, path);
    CHECK_MESSAGE(parsed.reference == reference, path);
  };
  is("/v2/", Kind::kBase, "", "");
  is("/v2", Kind::kBase, "", "");
  is("/v2/_catalog", Kind::kCatalog, "", "");
  is("/v2/a/b/tags/list", Kind::kTags, "a/b", "");
  is("/v2/a/manifests/1.0", Kind::kManifest, "a", "1.0");
  is("/v2/a/b/c/blobs/sha256:00", Kind::kBlob, "a/b/c", "sha256:00");
  is("/v2/a/blobs/uploads/", Kind::kUploads, "a", "");
  is("/v2/a/blobs/uploads", Kind::kUploads, "a", "");
  is("/v2/a/blobs/uploads/xyz", Kind::kUpload, "a", "xyz");
  is("/v2/manifests/blobs/uploads/manifests/1", Kind::kManifest, "manifests/blobs/uploads", "1");
  is("/v2/a/referrers/sha256:00", Kind::kReferrers, "a", "sha256:00");
  for (const char* path :
       {"/", "", "/v1/", "/v3/a/tags/list", "/v2/a", "/v2/a/tags", "/v2//manifests/", "/v2/manifests/1"})
    CHECK_MESSAGE(
        (parse_registry_path(path).kind == Kind::kNone || !is_repository_name(parse_registry_path(path).name)), path);
}

TEST_CASE("registry: names of repositories") {
  for (const char* name : {"a", "a0", "library/busybox", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c/d", "0"})
    CHECK_MESSAGE(is_repository_name(name), name);
  for (const char* name : {"", "/", "a/", "/a", "a//b", "A", ".", "..", "a..b", "a/../b", "a___b", "a._b", "-a", "a-",
                           "a b", "a\nb", "_catalog", "a:b", "a@b"})
    CHECK_MESSAGE(!is_repository_name(name), name);
  CHECK(is_repository_name(std::string(255, 'a')));
  CHECK(!is_repository_name(std::string(256, 'a')));
}

TEST_CASE("registry: ranges of a blob") {
  auto range = [](const char* header, int64_t first, int64_t length) {
    bool is_valid = false;
    auto parsed = parse_byte_range(header, 10, is_valid);
    CHECK(is_valid);
    REQUIRE_MESSAGE(parsed, header);
    CHECK_MESSAGE(parsed->first == first, header);
    CHECK_MESSAGE(parsed->length == length, header);
  };
  range("bytes=0-0", 0, 1);
  range("bytes=2-5", 2, 4);
  range("bytes=2-", 2, 8);
  range("bytes=2-999", 2, 8);
  range("bytes=-3", 7, 3);
  range("bytes=-99", 0, 10);
  bool is_valid = true;
  for (const char* header : {"bytes=10-", "bytes=10-11", "bytes=-0"}) {
    CHECK(!parse_byte_range(header, 10, is_valid));
    CHECK_MESSAGE(!is_valid, header);
  }
  for (const char* header : {"", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1",
                             "bytes=0-18446744073709551616"}) {
    CHECK(!parse_byte_range(header, 10, is_valid));
    CHECK_MESSAGE(is_valid, header);
  }
  CHECK(!parse_byte_range("bytes=0-", 0, is_valid));
  CHECK(!is_valid);
}

TEST_CASE("registry: ranges of an upload") {
  auto range = parse_content_range("5-9");
  REQUIRE(range);
  CHECK(range->first == 5);
  CHECK(range->length == 5);
  CHECK(parse_content_range("bytes 0-4/5")->length == 5);
  for (const char* header : {"", "-", "1", "9-5", "a-b", "-5", "5-", "0-18446744073709551615"})
    CHECK_MESSAGE(!parse_content_range(header), header);
}
