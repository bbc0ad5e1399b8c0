// SPDX-License-Identifier: Apache-2.0
#include "sys/file_watch.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <unistd.h>

#include <cstdlib>

#include "sys/files.h"

using namespace caisson;

namespace {
struct Tree {
  std::string base;
  Tree() {
    char root[] = "/tmp/caisson-watch-XXXXXX";
    REQUIRE(mkdtemp(root));
    base = root;
    REQUIRE(sys::make_dirs(base + "/etc"));
    REQUIRE(sys::make_dirs(base + "/run/resolve"));
  }
  ~Tree() { CHECK(sys::remove_tree(base)); }
  void write(const std::string& name, const char* text) const { REQUIRE(sys::write_file(base + name, text)); }
  void replace(const std::string& name, const char* text) const { REQUIRE(sys::replace_file(base + name, text)); }
  void link(const std::string& target, const std::string& name) const {
    REQUIRE(symlink(target.c_str(), (base + name).c_str()) == 0);
  }
};
// Events of inotify are there when the call that caused them returns.
bool readable(const sys::FileWatch& watch) {
  pollfd one{watch.fd(), POLLIN, 0};
  return poll(&one, 1, 0) == 1;
}
}  // namespace

TEST_CASE("file watch: a plain file that is written, replaced, removed") {
  Tree tree;
  tree.write("/etc/conf", "a");
  auto watch = sys::FileWatch::open(tree.base + "/etc/conf");
  REQUIRE(watch);
  CHECK(!readable(*watch));
  CHECK(!watch->changed());
  tree.write("/etc/conf", "b");
  CHECK(readable(*watch));
  CHECK(watch->changed());
  tree.replace("/etc/conf", "c");
  CHECK(watch->changed());
  CHECK(!watch->changed());
  tree.write("/etc/other", "x");
  CHECK(!watch->changed());
  REQUIRE(unlink((tree.base + "/etc/conf").c_str()) == 0);
  CHECK(watch->changed());
  tree.write("/etc/conf", "d");
  CHECK(watch->changed());
}

TEST_CASE("file watch: what a link leads to is replaced by another file of its name") {
  Tree tree;
  tree.write("/run/resolve/stub", "a");
  tree.link("../run/resolve/stub", "/etc/conf");
  auto watch = sys::FileWatch::open(tree.base + "/etc/conf");
  REQUIRE(watch);
  tree.replace("/run/resolve/stub", "b");
  CHECK(watch->changed());
  tree.replace("/run/resolve/stub", "c");  // the new file is watched like the old one
  CHECK(watch->changed());
  tree.write("/run/resolve/neighbour", "x");
  CHECK(!watch->changed());
}

TEST_CASE("file watch: a link over a link, and one that leads elsewhere later") {
  Tree tree;
  tree.write("/run/resolve/stub", "a");
  tree.write("/run/second", "a");
  tree.link(tree.base + "/run/resolve/stub", "/run/first");
  tree.link("../run/first", "/etc/conf");
  auto watch = sys::FileWatch::open(tree.base + "/etc/conf");
  REQUIRE(watch);
  tree.replace("/run/resolve/stub", "b");
  CHECK(watch->changed());
  REQUIRE(unlink((tree.base + "/etc/conf").c_str()) == 0);
  tree.link("../run/second", "/etc/conf");
  CHECK(watch->changed());
  tree.replace("/run/resolve/stub", "c");
  CHECK(!watch->changed());
  tree.replace("/run/second", "b");
  CHECK(watch->changed());
}

TEST_CASE("file watch: a link to nothing becomes one to a file; a circle ends") {
  Tree tree;
  tree.link("../run/resolve/stub", "/etc/conf");
  tree.link("circle", "/etc/circle");
  auto watch = sys::FileWatch::open(tree.base + "/etc/conf"), circle = sys::FileWatch::open(tree.base + "/etc/circle");
  REQUIRE(watch);
  REQUIRE(circle);
  tree.replace("/run/resolve/stub", "a");
  CHECK(watch->changed());
  CHECK(!sys::FileWatch::open(tree.base + "/nowhere/conf"));
}
