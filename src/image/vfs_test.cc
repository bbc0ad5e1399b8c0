// SPDX-License-Identifier: Apache-2.0
#include "image/vfs.h"

#include <sys/stat.h>
#include <unistd.h>

#include "image/layer_compare.h"
#include "image/layer_unpacker.h"
#include "image/registry_uploads.h"
#include "image/test_support.h"
#include "sys/nodes.h"

using namespace caisson;
using namespace caisson::image;

namespace {

struct Trees {
  TempDir temp;
  std::vector<std::string> layers;

  std::string dir(const std::string& name) {
    std::string path = temp.path + "/" + name;
    REQUIRE(sys::make_dirs(path));
    return path;
  }
  UniqueFd open(const std::string& path) { return *sys::open_file(path, O_RDONLY | O_DIRECTORY); }
  void add_layer(const std::string& tar) {
    layers.push_back(dir("layer" + std::to_string(layers.size())));
    StringSource source(tar);
    auto made = unpack_layer(source, open(layers.back()).get(), {});
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
  }
  std::string flatten(const std::string& name) {
    std::string path = dir(name);
    auto done = flatten_layers(layers, open(path).get());
    REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
    return path;
  }
  std::string difference(const std::string& a, const std::string& b) {
    auto found = first_difference(open(a).get(), open(b).get());
    return found ? *found : found.error().message;
  }
};

}  // namespace

TEST_CASE("vfs: layers become one tree" NEEDS_ROOT) {
  Trees t;
  t.add_layer(TarBuilder()
                  .dir("a")
                  .file("a/one", "1")
                  .hard_link("a/again", "a/one")
                  .dir("gone")
                  .file("gone/x", "x")
                  .dir("opaque")
                  .file("opaque/old", "o")
                  .symlink("link", "/etc/passwd")
                  .dir("was-dir")
                  .file("was-dir/y", "y")
                  .finish());
  t.add_layer(TarBuilder()
                  .file(".wh.gone", "")
                  .dir("opaque")
                  .file("opaque/.wh..wh..opq", "")
                  .file("opaque/new", "n")
                  .file("was-dir", "a file now")
                  .dir("link")
                  .file("link/inside", "i")
                  .finish());
  std::string path = t.flatten("flat");
  CHECK(*sys::read_file(path + "/a/one") == "1");
  CHECK(!sys::path_exists(path + "/gone"));
  CHECK(!sys::path_exists(path + "/opaque/old"));
  CHECK(*sys::read_file(path + "/opaque/new") == "n");
  CHECK(*sys::read_file(path + "/was-dir") == "a file now");
  CHECK(*sys::read_file(path + "/link/inside") == "i");  // not through the link below
  struct stat one {
  }, again{};
  REQUIRE(stat((path + "/a/one").c_str(), &one) == 0);
  REQUIRE(stat((path + "/a/again").c_str(), &again) == 0);
  CHECK(one.st_ino == again.st_ino);
  CHECK(one.st_mtim.tv_sec == 1);
  CHECK(t.difference(path, t.flatten("flat2")) == "");
}

TEST_CASE("vfs: what a container has changed, in overlay's form" NEEDS_ROOT) {
  Trees t;
  t.add_layer(TarBuilder()
                  .dir("etc")
                  .file("etc/same", "s")
                  .file("etc/changed", "c")
                  .file("etc/removed", "r")
                  .dir("d")
                  .file("d/f", "f")
                  .finish());
  std::string base = t.flatten("base"), changed = t.flatten("changed"), out = t.dir("out");
  REQUIRE(sys::write_file(changed + "/etc/changed", "other"));
  REQUIRE(sys::remove_file(changed + "/etc/removed"));
  REQUIRE(sys::remove_tree(changed + "/d"));
  REQUIRE(sys::make_dirs(changed + "/new/deep"));
  REQUIRE(sys::write_file(changed + "/new/deep/file", "n"));
  auto done = extract_changes(t.open(base).get(), t.open(changed).get(), t.open(out).get());
  REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
  CHECK(!sys::path_exists(out + "/etc/same"));
  CHECK(*sys::read_file(out + "/etc/changed") == "other");
  CHECK(*sys::read_file(out + "/new/deep/file") == "n");
  for (const char* gone : {"/etc/removed", "/d"}) {
    struct stat st {};
    REQUIRE(lstat((out + gone).c_str(), &st) == 0);
    CHECK(sys::is_whiteout(st));
  }
  // Over the base it is the container's tree again.
  t.layers = {base, out};
  std::string merged = t.flatten("merged");
  REQUIRE(sys::remove_tree(out));  // its files are links to the container's
  CHECK(t.difference(merged, changed) == "");
}

TEST_CASE("layers that differ are told apart" NEEDS_ROOT) {
  Trees t;
  t.add_layer(TarBuilder().dir("a").file("a/f", "same").symlink("a/l", "f").finish());
  std::string left = t.flatten("left"), right = t.flatten("right");
  CHECK(t.difference(left, right) == "");
  REQUIRE(chmod((right + "/a/f").c_str(), 0600) == 0);
  CHECK(t.difference(left, right) == "'a/f': other mode");
  REQUIRE(chmod((right + "/a/f").c_str(), 0644) == 0);
  REQUIRE(sys::write_file(right + "/a/g", ""));
  CHECK(t.difference(left, right).starts_with("'a/g': expected, found is 'a/l'"));
  REQUIRE(sys::remove_file(right + "/a/g"));
  REQUIRE(sys::remove_file(right + "/a/l"));
  CHECK(t.difference(left, right) == "'a/l': should not be there");
  CHECK(t.difference(right, left) == "'a/l': missing");
}

TEST_CASE("uploads to the registry server: order, size, digest, end") {
  TempDir temp;
  RegistryUploads uploads(temp.path);
  std::string id = *uploads.begin("repo");
  auto append = [&](std::string_view text, std::optional<int64_t> offset = std::nullopt) {
    StringSource source(text);
    return uploads.append("repo", id, offset, source);
  };
  CHECK(*append("abc") == 3);
  CHECK(append("x", 2).error().kind == ErrorKind::kExists);
  CHECK(*append("def", 3) == 6);
  CHECK(*uploads.size("repo", id) == 6);
  CHECK(uploads.size("other", id).error().kind == ErrorKind::kNotFound);
  CHECK(uploads.bytes() == 6);
  auto path = uploads.finish("repo", id, digest::sha256("abcdef"));
  REQUIRE(path);
  CHECK(*sys::read_file(*path) == "abcdef");
  CHECK(uploads.finish("repo", id, digest::sha256("abcdef")).error().kind == ErrorKind::kNotFound);
  id = *uploads.begin("repo");
  CHECK(*append("abc") == 3);
  CHECK(uploads.finish("repo", id, digest::sha256("abd")).error().kind == ErrorKind::kCorrupt);
  id = *uploads.begin("repo");
  uploads.expire(INT64_MAX);
  CHECK(uploads.size("repo", id).error().kind == ErrorKind::kNotFound);
  CHECK(sys::list_dir(temp.path)->size() == 1);  // the finished one, which is the test's
}
