// SPDX-License-Identifier: Apache-2.0
#include "cli/copy_paths.h"

#include <doctest/doctest.h>

using namespace caisson::cli;

namespace {
// "directory" or "directory old>new", or the error.
std::string plan(LocalPath source, LocalPath destination) {
  auto made = plan_copy(source, destination);
  if (!made) return made.error().message;
  return made->directory + (made->rename ? " " + made->rename->first + ">" + made->rename->second : "");
}
LocalPath a_file(const char* path) { return {.path = path, .exists = true}; }
LocalPath a_directory(const char* path) { return {.path = path, .exists = true, .is_directory = true}; }
LocalPath nothing(const char* path) { return {.path = path}; }
}  // namespace

TEST_CASE("cp: where a source goes") {
  CHECK(plan(a_file("/s/f"), a_directory("/d")) == "/d");
  CHECK(plan(a_file("/s/f"), a_file("/d/g")) == "/d f>g");
  CHECK(plan(a_file("/s/f"), nothing("/d/g")) == "/d f>g");
  CHECK(plan(a_file("/s/f"), nothing("/d/g/")) == "no such directory");
  CHECK(plan(a_directory("/s/t"), a_directory("/d")) == "/d");
  CHECK(plan(a_directory("/s/t"), nothing("/d/u")) == "/d t>u");
  CHECK(plan(a_directory("/s/t/."), nothing("/d/u")) == "/d .>u");
  CHECK(plan(a_directory("/s/t/."), a_directory("/d/u")) == "/d/u");
  CHECK(plan(a_directory("/s/t"), a_file("/d/g")) == "cannot copy directory");
  CHECK(plan(a_directory("/"), nothing("/d/u")) == "/d >u");
}

TEST_CASE("cp: followed links keep the name that was asked for") {
  std::string rebase;
  CHECK(rebase_name("/a/link", "/b/target", rebase) == "/b/target");
  CHECK(rebase == "link");
  rebase.clear();
  CHECK(rebase_name("/a/link/", "../b/target", rebase) == "/b/target/");
  CHECK(rebase_name("/a/link/.", "/b", rebase) == "/b/.");
  CHECK(path_base("/a/b/.") == ".");
  CHECK(path_base("/a/b/") == "b");
  CHECK(path_base("/") == "/");
}
