// SPDX-License-Identifier: Apache-2.0
#include "engine/image_mounts.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "sys/files.h"

using namespace caisson;
using namespace caisson::engine;

namespace {
struct Layers {
  Layers() {
    char name[] = "/tmp/caisson-layers-XXXXXX";
    root = mkdtemp(name);
    for (const char* path : {"/base/etc/app", "/base/usr", "/middle/etc/app/more", "/top/usr/bin"})
      REQUIRE(sys::make_dirs(root + path));
  }
  ~Layers() { (void)sys::remove_tree(root); }
  std::vector<std::string> all() const { return {root + "/base", root + "/middle", root + "/top"}; }
  std::string root;
};
}  // namespace

TEST_CASE("image mounts: the directories of a subpath, base first") {
  Layers layers;
  CHECK(*image_mount_layers(layers.all(), "") == layers.all());
  CHECK(*image_mount_layers(layers.all(), "./") == layers.all());
  CHECK(*image_mount_layers(layers.all(), "etc/app") ==
        std::vector<std::string>{layers.root + "/base/etc/app", layers.root + "/middle/etc/app"});
  CHECK(*image_mount_layers(layers.all(), "usr//bin/") == std::vector<std::string>{layers.root + "/top/usr/bin"});
  CHECK(image_mount_layers(layers.all(), "nowhere").error().kind == ErrorKind::kInvalid);
}

TEST_CASE("image mounts: a file or a link on the way covers what is below") {
  Layers layers;
  REQUIRE(sys::write_file(layers.root + "/top/etc", "x"));
  CHECK(image_mount_layers(layers.all(), "etc/app").error().kind == ErrorKind::kInvalid);
  REQUIRE(unlink((layers.root + "/top/etc").c_str()) == 0);
  REQUIRE(symlink("/etc", (layers.root + "/top/etc").c_str()) == 0);
  CHECK(image_mount_layers(layers.all(), "etc").error().kind == ErrorKind::kInvalid);
}

TEST_CASE("image mounts: one layer is bound, several are put on top of each other") {
  auto one = image_mount("/in", {"/l/a"});
  CHECK(one.type == "bind");
  CHECK(one.source == "/l/a");
  auto two = image_mount("/in", {"/l/a", "/l/b"});
  CHECK(two.type == "overlay");
  CHECK(std::find(two.options.begin(), two.options.end(), "ro") != two.options.end());
  auto last = two.options.back(), before = two.options[two.options.size() - 2];
  bool listed = last == "lowerdir=/l/b:/l/a", single = before == "lowerdir+=/l/b" && last == "lowerdir+=/l/a";
  CHECK((listed || single));
}

TEST_CASE("image mounts: paths that stay inside") {
  for (const char* good : {"a", "a/b", "a/./b", "..a"}) CHECK(is_local_path(good));
  for (const char* bad : {"", "/a", "..", "a/..", "a/../../b"}) CHECK(!is_local_path(bad));
}
