// SPDX-License-Identifier: Apache-2.0
#include <linux/mount.h>

#include "base/text.h"
#include "image/test_support.h"
#include "sys/mount.h"

using namespace caisson;
using namespace caisson::image;

namespace {
struct Layers {
  explicit Layers(int count, const std::string& below = "") {
    for (int i = 0; i < count; ++i) {
      std::string path = temp.path + below + "/layer" + std::to_string(i);
      REQUIRE(sys::make_dirs(path));
      REQUIRE(sys::write_file(path + "/own" + std::to_string(i), "x"));
      REQUIRE(sys::write_file(path + "/top", std::to_string(i)));
      lowers.push_back(path);
    }
    REQUIRE(sys::make_dirs(temp.path + "/upper"));
    REQUIRE(sys::make_dirs(temp.path + "/work"));
  }
  Result<UniqueFd> mount(OverlayOptions options = {}) {
    return mount_overlay(lowers, temp.path + "/upper", temp.path + "/work", options);
  }
  TempDir temp;
  std::vector<std::string> lowers;
};

std::string read_in(int mount, const std::string& name) {
  auto fd = sys::open_at(mount, name, O_RDONLY);
  return fd ? sys::read_fd(fd->get()).value_or("<error>") : fd.error().message;
}
}  // namespace

TEST_CASE("overlay: many layers, the last on top, writes go to upper" NEEDS_ROOT) {
  for (int count : {1, 2, 60, 300}) {
    Layers layers(count);
    auto mount = layers.mount();
    REQUIRE_MESSAGE(mount, (mount ? "" : mount.error().message));
    CHECK(read_in(mount->get(), "top") == std::to_string(count - 1));
    CHECK(read_in(mount->get(), "own0") == "x");
    auto fd = sys::open_at(mount->get(), "top", O_WRONLY | O_TRUNC);
    REQUIRE(fd);
    REQUIRE(sys::write_all(fd->get(), "changed"));
    fd->reset();
    CHECK(sys::read_file(layers.temp.path + "/upper/top").value_or("") == "changed");
    CHECK(sys::read_file(layers.lowers.back() + "/top").value_or("") == std::to_string(count - 1));
  }
}

TEST_CASE("overlay: paths longer than one mount option" NEEDS_ROOT) {
  Layers layers(3, "/" + std::string(200, 'a') + "/" + std::string(200, 'b'));
  auto mount = layers.mount();
  REQUIRE_MESSAGE(mount, (mount ? "" : mount.error().message));
  CHECK(read_in(mount->get(), "own1") == "x");
}

TEST_CASE("overlay: a volatile mount that was not unmounted can be mounted again" NEEDS_ROOT) {
  Layers layers(2);
  REQUIRE(layers.mount({.is_volatile = true}));
  CHECK(sys::path_exists(layers.temp.path + "/work/work/incompat/volatile"));
  CHECK(layers.mount());
}

TEST_CASE("overlay: read-only, with one layer and with several" NEEDS_ROOT) {
  for (int count : {1, 3}) {
    Layers layers(count);
    auto mount = mount_overlay(layers.lowers, "", "", {.read_only = true});
    REQUIRE_MESSAGE(mount, (mount ? "" : mount.error().message));
    CHECK(read_in(mount->get(), "top") == std::to_string(count - 1));
    auto refused = sys::open_at(mount->get(), "new", O_WRONLY | O_CREAT, 0644);
    REQUIRE(!refused);
    CHECK(refused.error().err == EROFS);
  }
  Layers layers(2);
  auto mount = layers.mount({.read_only = true});
  REQUIRE(mount);
  CHECK(sys::open_at(mount->get(), "new", O_WRONLY | O_CREAT, 0644).error().err == EROFS);
}

TEST_CASE("overlay: a missing layer is named; no layers are refused" NEEDS_ROOT) {
  Layers layers(2);
  layers.lowers.push_back(layers.temp.path + "/nosuch");
  auto refused = layers.mount();
  REQUIRE(!refused);
  CHECK(refused.error().err == ENOENT);
  CHECK(!mount_overlay({}, "", "", {}));
}

TEST_CASE("overlay: the mount(2) way of older kernels" NEEDS_ROOT) {
  Layers layers(40);
  std::vector<UniqueFd> held;
  std::string list;
  for (auto lower = layers.lowers.rbegin(); lower != layers.lowers.rend(); ++lower) {
    held.push_back(*sys::open_file(*lower, O_PATH | O_DIRECTORY));
    list += (list.empty() ? "" : ":") + format("/proc/self/fd/%d", held.back().get());
  }
  auto mount = sys::make_mount_by_page(
      "overlay",
      {{"lowerdir", list}, {"upperdir", layers.temp.path + "/upper"}, {"workdir", layers.temp.path + "/work"}},
      MOUNT_ATTR_RDONLY, layers.temp.path);
  REQUIRE_MESSAGE(mount, (mount ? "" : mount.error().message));
  CHECK(read_in(mount->get(), "top") == "39");
  CHECK(read_in(mount->get(), "own0") == "x");
  auto left = sys::list_dir(layers.temp.path);
  REQUIRE(left);
  for (const std::string& name : *left) CHECK(!name.starts_with("mount-"));
}
