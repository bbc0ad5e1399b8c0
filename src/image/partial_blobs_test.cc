// SPDX-License-Identifier: Apache-2.0
#include "image/partial_blobs.h"

#include <sys/stat.h>

#include "image/test_support.h"

using namespace caisson;
using namespace caisson::image;

namespace {

constexpr int64_t kNow = 2'000'000'000;

struct Fixture {
  TempDir dir;
  std::string directory = dir.path + "/partial", published;
  PartialBlobs blobs{directory};

  Fixture() { REQUIRE(blobs.open({}, kNow)); }
  Result<std::unique_ptr<BlobIntake>> begin(const std::string& digest, int64_t size = 1000) {
    return blobs.begin(digest, size, [this](const std::string& path) -> Result<> {
      published = TRY(sys::read_file(path));
      return sys::remove_file(path);
    });
  }
  void leave(const std::string& digest, std::string_view bytes, int64_t changed_s = kNow) {
    auto intake = begin(digest);
    REQUIRE(intake);
    REQUIRE((*intake)->write(bytes));
    intake->reset();
    timespec times[2] = {{changed_s, 0}, {changed_s, 0}};
    REQUIRE(utimensat(AT_FDCWD, path(digest).c_str(), times, 0) == 0);
  }
  std::string path(const std::string& digest) const { return directory + "/" + digest.substr(7); }
  std::vector<std::string> names() const {
    auto listed = sys::list_dir(directory);
    REQUIRE(listed);
    return *listed;
  }
};

}  // namespace

TEST_CASE("partial blobs: written in parts, gone on from, published when whole") {
  Fixture f;
  std::string digest = digest::sha256("hello world");
  f.leave(digest, "hello ");
  auto intake = f.begin(digest);
  REQUIRE(intake);
  CHECK((*intake)->size() == 6);
  auto fd = (*intake)->open();
  REQUIRE(fd);
  CHECK(sys::read_fd(fd->get()).value_or("") == "hello ");
  auto second = f.begin(digest);
  REQUIRE(!second);
  CHECK(second.error().kind == ErrorKind::kConflict);
  REQUIRE((*intake)->write("world"));
  CHECK(f.published.empty());
  REQUIRE((*intake)->finish());
  CHECK(f.published == "hello world");
  intake->reset();
  CHECK(f.names().empty());
}

TEST_CASE("partial blobs: nothing stays of wrong content and of nothing") {
  Fixture f;
  std::string digest = digest::sha256("right");
  f.leave(digest, "wro");
  {
    auto intake = f.begin(digest);
    REQUIRE(intake);
    REQUIRE((*intake)->write("ng"));
    auto done = (*intake)->finish();
    REQUIRE(!done);
    CHECK(done.error().kind == ErrorKind::kCorrupt);
    CHECK((*intake)->size() == 0);
    // The same intake may start afresh.
    REQUIRE((*intake)->write("right"));
    REQUIRE((*intake)->finish());
  }
  CHECK(f.published == "right");
  { REQUIRE(f.begin(digest)); }
  CHECK(f.names().empty());
  CHECK(f.begin("sha256:../../x").error().kind == ErrorKind::kInvalid);
}

TEST_CASE("partial blobs: one that is longer than the blob starts afresh") {
  Fixture f;
  std::string digest = digest::sha256("ab");
  f.leave(digest, "abc");
  auto intake = f.begin(digest, 2);
  REQUIRE(intake);
  CHECK((*intake)->size() == 0);
}

TEST_CASE("partial blobs: age, room, and what is in use") {
  Fixture f;
  std::string old = digest::sha256("old"), big = digest::sha256("big"), fresh = digest::sha256("fresh");
  f.leave(old, "12345", kNow - 101);
  f.leave(big, std::string(60, 'x'), kNow - 50);
  f.leave(fresh, std::string(60, 'y'), kNow - 1);
  REQUIRE(sys::write_file(f.directory + "/stray", "x"));
  PartialBlobs again(f.directory);
  REQUIRE(again.open({.max_age_s = 100, .max_bytes = 1000}, kNow));
  CHECK(f.names().size() == 2);
  PartialBlobs narrow(f.directory);
  REQUIRE(narrow.open({.max_age_s = 100, .max_bytes = 100}, kNow));
  CHECK(f.names() == std::vector<std::string>{fresh.substr(7)});
  auto busy = f.begin(fresh);
  REQUIRE(busy);
  CHECK(f.blobs.drop(nullptr, kNow) == 0);
  busy->reset();
  CHECK(f.blobs.drop(nullptr, kNow) == 60);
  CHECK(f.names().empty());
}
