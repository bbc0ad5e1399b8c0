// SPDX-License-Identifier: Apache-2.0
#include "sys/copy_tree.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "sys/files.h"

using namespace caisson;

TEST_CASE("copy_tree: contents, modes and links come along, links are not followed") {
  char root[] = "/tmp/caisson-copy-XXXXXX";
  REQUIRE(mkdtemp(root));
  std::string base = root;
  REQUIRE(sys::make_dirs(base + "/from/sub"));
  REQUIRE(sys::make_dirs(base + "/to"));
  REQUIRE(sys::write_file(base + "/from/file", "text", 0640));
  REQUIRE(sys::write_file(base + "/from/sub/deep", std::string(200000, 'x')));
  REQUIRE(symlink("/etc/passwd", (base + "/from/link").c_str()) == 0);
  REQUIRE(chmod((base + "/from").c_str(), 0750) == 0);
  // A link in the target under a source's name must not be written through.
  REQUIRE(sys::write_file(base + "/victim", "safe"));
  REQUIRE(symlink((base + "/victim").c_str(), (base + "/to/file").c_str()) == 0);
  auto from = sys::open_file(base + "/from", O_RDONLY | O_DIRECTORY),
       to = sys::open_file(base + "/to", O_RDONLY | O_DIRECTORY);
  REQUIRE(from);
  REQUIRE(to);
  REQUIRE(sys::copy_tree(from->get(), to->get()));
  CHECK(*sys::read_file(base + "/victim") == "safe");
  CHECK(sys::read_file(base + "/to/sub/deep")->size() == 200000);
  struct stat st {};
  REQUIRE(lstat((base + "/to/link").c_str(), &st) == 0);
  CHECK(S_ISLNK(st.st_mode));
  REQUIRE(stat((base + "/to").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0750);
  CHECK(sys::remove_tree(base));
}

TEST_CASE("remove_tree and tree_size: thousands of levels on a small stack") {
  char root[] = "/tmp/caisson-deep-XXXXXX";
  REQUIRE(mkdtemp(root));
  std::string base = root;
  REQUIRE(sys::make_dirs(base + "/top"));
  auto dir = sys::open_file(base + "/top", O_RDONLY | O_DIRECTORY);
  REQUIRE(dir);
  for (int level = 0; level < 3000; ++level) {
    REQUIRE(mkdirat(dir->get(), "d", 0755) == 0);
    auto next = sys::open_at(dir->get(), "d", O_RDONLY | O_DIRECTORY);
    REQUIRE(next);
    REQUIRE(sys::write_all(sys::open_at(next->get(), "f", O_WRONLY | O_CREAT, 0644)->get(), "x"));
    dir = std::move(next);
  }
  auto size = sys::tree_size(base + "/top");
  REQUIRE(size);
  CHECK(size->bytes >= 390);
  CHECK(sys::remove_tree(base + "/top"));
  CHECK(!sys::path_exists(base + "/top"));
  CHECK(sys::list_dir(base)->empty());
  CHECK(sys::remove_tree(base));
  CHECK(sys::remove_tree(base));
}
