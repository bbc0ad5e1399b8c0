// SPDX-License-Identifier: Apache-2.0
#include "image/archive_legacy.h"

#include "base/text.h"
#include "image/packed_stream.h"
#include "image/test_support.h"
#include "wire/compress.h"

using namespace caisson;
using namespace caisson::image;

namespace {

std::string id_of(char digit) { return std::string(64, digit); }

struct Archive {
  Archive() { REQUIRE(sys::make_dirs(temp.path + "/tmp")); }
  void layer(char digit, const std::string& parent, const std::string& more = "") {
    std::string id = id_of(digit);
    tar.file(id + "/json", "{ \"id\": \"" + id + "\"" + (parent.empty() ? "" : ", \"parent\": \"" + parent + "\"") +
                               ", \"created\": \"2015-01-01T00:00:00Z\", \"os\": \"linux\"" + more + "}");
    tar.file(id + "/layer.tar", std::string("layer ") + digit);
  }
  Result<std::vector<LegacyImage>> read(const std::string& repositories) {
    tar.file("repositories", repositories);
    std::string bytes = tar.finish();
    StringSource source(bytes);
    auto blobs = TRY(BlobStore::open(temp.path, temp.path + "/tmp"));
    members = TRY(ArchiveMembers::read(source, blobs));
    return read_legacy_archive(members);
  }
  TempDir temp;
  TarBuilder tar;
  ArchiveMembers members;
};

}  // namespace

TEST_CASE("legacy archive: configs are written as Docker does it") {
  Archive archive;
  archive.layer('1', "", ", \"container_config\": {\"Cmd\": [\"/bin/sh\", \"-c\", \"a \\\" <b\"]}");
  archive.layer('2', id_of('1'), ", \"author\": \"me\", \"Size\": 7");
  auto images = archive.read("{\"app\":{\"1\":\"" + id_of('2') + "\",\"2\":\"" + id_of('2') + "\"}}");
  REQUIRE(images);
  REQUIRE(images->size() == 1);
  CHECK((*images)[0].tags == std::vector<std::string>{"app:1", "app:2"});
  CHECK((*images)[0].layers.size() == 2);
  CHECK((*images)[0].config_json ==
        "{\"author\":\"me\",\"created\":\"2015-01-01T00:00:00Z\",\"history\":[{\"created\":\"2015-01-01T00:00:00Z\","
        "\"created_by\":\"/bin/sh -c a \\\" \\u003cb\"},{\"created\":\"2015-01-01T00:00:00Z\",\"author\":\"me\"}],"
        "\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" +
            digest::sha256("layer 1") + "\",\"" + digest::sha256("layer 2") + "\"]}}");
}

TEST_CASE("legacy archive: circles, gaps and bad names are refused") {
  auto refusal = [](const std::string& parent, const std::string& repositories) {
    Archive archive;
    archive.layer('1', parent);
    auto images = archive.read(repositories);
    REQUIRE(!images);
    CHECK(images.error().kind == ErrorKind::kInvalid);
    return images.error().message;
  };
  std::string good = "{\"app\":{\"1\":\"" + id_of('1') + "\"}}";
  CHECK(refusal(id_of('1'), good) == "image archive: more than 500 layers below one another");
  CHECK(refusal(id_of('2'), good).contains("is missing"));
  CHECK(refusal("../../x", good) == "image archive: '../../x' is no layer id");
  CHECK(refusal("", "{\"UPPER\":{\"1\":\"" + id_of('1') + "\"}}") == "image archive: invalid tag 'UPPER:1'");
  CHECK(refusal("", "[]").contains("'repositories'"));
}

TEST_CASE("packed streams: what needs no worker is unpacked here") {
  std::string text(100000, 'x'), packed;
  {
    StringSource plain(text);
    compress::GzipSource gzip(plain);
    char buffer[4096];
    while (size_t got = *gzip.read(buffer)) packed.append(buffer, got);
  }
  for (const std::string& sent : {text, packed}) {
    StringSource source(sent);
    auto stream = open_stream(source, "/nonexistent");
    REQUIRE(stream);
    std::string out;
    char buffer[5000];
    while (size_t got = *(*stream)->read(buffer)) out.append(buffer, got);
    CHECK(out == text);
  }
  StringSource bzip2("BZh9 and what follows");
  auto refused = open_stream(bzip2, "/nonexistent");
  REQUIRE(!refused);
  CHECK(refused.error().message.contains("starting the fetch worker"));
}
