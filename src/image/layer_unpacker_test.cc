// SPDX-License-Identifier: Apache-2.0
#include "image/layer_unpacker.h"

#include <sys/sysmacros.h>

#include "image/test_support.h"
#include "sys/nodes.h"

using namespace caisson;
using namespace caisson::image;
using tar::EntryType;

namespace {
struct Stack {
  TempDir temp;
  std::vector<std::string> layers;

  Stack() {
    REQUIRE(sys::make_dirs(temp.path + "/outside"));
    REQUIRE(sys::write_file(temp.path + "/outside/secret", "secret"));
  }
  Result<UnpackedLayer> add(const std::string& tar) {
    std::string path = temp.path + "/layer" + std::to_string(layers.size());
    REQUIRE(sys::make_dirs(path));
    auto fd = *sys::open_file(path, O_RDONLY | O_DIRECTORY);
    StringSource source(tar);
    auto result = unpack_layer(source, fd.get(), layers);
    layers.push_back(path);
    return result;
  }
  std::string text(const std::string& path) { return sys::read_file(layers.back() + "/" + path).value_or("<none>"); }
  sys::FileStat stat(const std::string& path) {
    auto fd = *sys::open_file(layers.back(), O_RDONLY | O_DIRECTORY);
    auto st = *sys::stat_at(fd.get(), path);
    REQUIRE(st);
    return *st;
  }
  std::string xattr(const std::string& path, const char* name) {
    auto fd = sys::open_file(layers.back() + "/" + path, O_RDONLY);
    return fd ? sys::get_xattr(fd->get(), name).value_or("") : "<none>";
  }
  std::string refusal(const std::string& tar) {
    auto result = add(tar);
    CHECK(sys::read_file(temp.path + "/outside/secret").value_or("") == "secret");
    CHECK(sys::list_dir(temp.path + "/outside")->size() == 1);
    if (result) return "accepted";
    CHECK(result.error().kind == ErrorKind::kInvalid);
    return result.error().message;
  }
};
}  // namespace

TEST_CASE("unpack: every kind of entry with its metadata" NEEDS_ROOT) {
  Stack stack;
  auto result = stack.add(
      TarBuilder()
          .add({.type = EntryType::kDirectory, .path = "./", .mode = 0711, .mtime_ns = 5'000'000'000})
          .dir("bin", 01777)
          .add({.path = "bin/su",
                .mode = 04755,
                .uid = 7,
                .gid = 8,
                .mtime_ns = 1'234'567'890'123'456'789,
                .xattrs = {{"user.note", "n"},
                           {"trusted.overlay.opaque", "y"},
                           {"user.overlay.opaque", "y"},
                           {"security.capability", std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)}}},
               "program")
          .hard_link("bin/su2", "bin/su")
          .symlink("bin/sym", "/etc/passwd")
          .add({.type = EntryType::kCharDevice, .path = "null", .mode = 0666, .device_major = 1, .device_minor = 3})
          .add({.type = EntryType::kFifo, .path = "fifo", .mode = 0600, .uid = 9})
          .finish());
  REQUIRE(result);
  CHECK(result->self_contained);
  CHECK(result->size == 7);
  CHECK(result->entries == 7);
  CHECK((stack.stat(".").st_mode & 07777) == 0711);
  CHECK(stack.stat(".").st_mtim.tv_sec == 5);
  CHECK((stack.stat("bin").st_mode & 07777) == 01777);
  CHECK(stack.stat("bin").st_mtim.tv_sec == 1);
  auto su = stack.stat("bin/su");
  CHECK((su.st_mode & 07777) == 04755);
  CHECK(su.st_uid == 7);
  CHECK(su.st_gid == 8);
  CHECK(su.st_nlink == 2);
  CHECK(su.st_mtim.tv_nsec == 123456789);
  CHECK(stack.stat("bin/su2").st_ino == su.st_ino);
  CHECK(stack.text("bin/su") == "program");
  CHECK(stack.xattr("bin/su", "security.capability").size() == 20);
  CHECK(stack.xattr("bin/su", "trusted.overlay.opaque").empty());
  CHECK(stack.xattr("bin/su", "user.overlay.opaque").empty());
  CHECK(S_ISLNK(stack.stat("bin/sym").st_mode));
  CHECK(stack.stat("null").st_rdev == makedev(1, 3));
  CHECK((stack.stat("null").st_mode & 07777) == 0666);
  CHECK(stack.stat("fifo").st_uid == 9);
}

TEST_CASE("unpack: whiteouts and opaque directories in overlay's form" NEEDS_ROOT) {
  Stack stack;
  REQUIRE(stack.add(TarBuilder().dir("a").file("a/f", "1").dir("b").file("c", "1").finish()));
  auto result = stack.add(TarBuilder()
                              .dir("a")
                              .file("a/.wh..wh..opq", "")
                              .file("a/new", "2")
                              .file(".wh.b", "")
                              .file(".wh.c", "")
                              .file("c", "replaced")
                              .file(".wh.d", "")
                              .dir("d")
                              .dir("e")
                              .file(".wh.e", "")
                              .file(".wh..wh.plnk", "")
                              .finish());
  REQUIRE(result);
  CHECK(stack.xattr("a", sys::kOpaqueXattr) == "y");
  CHECK(sys::is_whiteout(stack.stat("b")));
  CHECK(stack.text("c") == "replaced");
  CHECK(stack.xattr("d", sys::kOpaqueXattr) == "y");
  CHECK(stack.xattr("e", sys::kOpaqueXattr) == "y");
  CHECK(!sys::path_exists(stack.layers.back() + "/.wh..wh.plnk"));
  CHECK(!sys::path_exists(stack.layers.back() + "/.wh.b"));
}

TEST_CASE("unpack: a parent directory that is not listed keeps the metadata of the layer below" NEEDS_ROOT) {
  Stack stack;
  REQUIRE(stack.add(TarBuilder()
                        .add({.type = EntryType::kDirectory,
                              .path = "srv",
                              .mode = 0700,
                              .uid = 5,
                              .gid = 6,
                              .mtime_ns = 9'000'000'000})
                        .dir("gone")
                        .dir("usr")
                        .dir("usr/lib", 0750)
                        .symlink("lib", "usr/lib")
                        .file("plain", "x")
                        .finish()));
  auto result = stack.add(TarBuilder()
                              .file("srv/data/file", "1")
                              .file("lib/libx", "2")
                              .file(".wh.gone", "")
                              .file("gone/again", "3")
                              .file("plain/below", "4")
                              .finish());
  REQUIRE(result);
  CHECK(!result->self_contained);
  auto srv = stack.stat("srv");
  CHECK((srv.st_mode & 07777) == 0700);
  CHECK(srv.st_uid == 5);
  CHECK(srv.st_gid == 6);
  CHECK(srv.st_mtim.tv_sec == 9);
  CHECK((stack.stat("srv/data").st_mode & 07777) == 0755);
  // A link below is followed, as one that looks at the merged tree would see it.
  CHECK(stack.text("usr/lib/libx") == "2");
  CHECK((stack.stat("usr/lib").st_mode & 07777) == 0750);
  CHECK(!sys::path_exists(stack.layers.back() + "/lib"));
  CHECK(stack.xattr("gone", sys::kOpaqueXattr) == "y");
  CHECK(stack.text("plain/below") == "4");

  REQUIRE(stack.add(TarBuilder().file("gone/third", "5").finish()));
  CHECK((stack.stat("gone").st_mode & 07777) == 0755);
}

TEST_CASE("unpack: a hard link to a file of a lower layer copies it up" NEEDS_ROOT) {
  Stack stack;
  REQUIRE(stack.add(TarBuilder()
                        .dir("d", 0711)
                        .add({.path = "d/f", .mode = 02755, .uid = 3, .mtime_ns = 7'000'000'000}, "data")
                        .finish()));
  auto result = stack.add(TarBuilder().dir("e").hard_link("e/link", "d/f").finish());
  REQUIRE(result);
  CHECK(!result->self_contained);
  CHECK(result->size == 4);
  CHECK(stack.text("e/link") == "data");
  CHECK(stack.stat("d/f").st_ino == stack.stat("e/link").st_ino);
  CHECK((stack.stat("e/link").st_mode & 07777) == 02755);
  CHECK(stack.stat("e/link").st_uid == 3);
  CHECK((stack.stat("d").st_mode & 07777) == 0711);
  CHECK(stack.refusal(TarBuilder().hard_link("x", "d/nothing").finish()) ==
        "layer: target 'd/nothing' of hard link 'x' does not exist");
}

TEST_CASE("unpack: the last of several members of one name counts" NEEDS_ROOT) {
  Stack stack;
  auto result = stack.add(TarBuilder()
                              .file("f", "first")
                              .file("f", "second")
                              .dir("d")
                              .file("d/in", "x")
                              .dir("d", 0700)
                              .file("d/kept", "y")
                              .dir("t")
                              .file("t/in", "x")
                              .file("t", "now a file")
                              .file("g", "file")
                              .dir("g")
                              .file("g/in", "z")
                              .symlink("s", "d")
                              .file("s", "no link")
                              .finish());
  REQUIRE(result);
  CHECK(stack.text("f") == "second");
  CHECK(stack.text("d/in") == "x");
  CHECK((stack.stat("d").st_mode & 07777) == 0700);
  CHECK(stack.text("t") == "now a file");
  CHECK(stack.text("g/in") == "z");
  CHECK(S_ISREG(stack.stat("s").st_mode));
  CHECK(result->size == 6 + 1 + 1 + 10 + 1 + 7);
}

TEST_CASE("unpack: hostile archives touch nothing outside" NEEDS_ROOT) {
  Stack stack;
  std::string outside = stack.temp.path + "/outside";
  CHECK(stack.refusal(TarBuilder().file("../outside/secret", "pwned").finish()) ==
        "layer: path '../outside/secret' leads out of the root");
  CHECK(stack.refusal(TarBuilder().file("a/../../outside/x", "pwned").finish()).starts_with("layer: path"));
  CHECK(stack.refusal(TarBuilder().hard_link("x", "../outside/secret").finish()).starts_with("layer: path"));
  CHECK(stack.refusal(TarBuilder().hard_link("x", outside + "/secret").finish()).ends_with("does not exist"));
  CHECK(stack.refusal(TarBuilder().symlink("l", outside).hard_link("x", "l/secret").finish())
            .ends_with("does not exist"));
  CHECK(stack.refusal(TarBuilder().file(".wh...", "").finish()) == "layer: a whiteout without a name");
  CHECK(stack.refusal(TarBuilder().file(".wh.", "").finish()) == "layer: a whiteout without a name");
  CHECK(stack.refusal(TarBuilder().file("f", "").file("f/x", "").finish()).contains("is no directory"));
  CHECK(stack.refusal(TarBuilder().symlink("a", "b").symlink("b", "a").file("a/x", "").finish())
            .starts_with("layer: too many links"));
  CHECK(stack.refusal(TarBuilder().file(std::string(300, 'n'), "").finish()).contains("longer than 255 bytes"));
  CHECK(stack.refusal(TarBuilder().symlink("./", "x").finish()) == "layer: the root is no directory");

  // Accepted, but inside.
  REQUIRE(stack.add(TarBuilder().file("/abs/file", "in").finish()));
  CHECK(stack.text("abs/file") == "in");
  REQUIRE(stack.add(TarBuilder().symlink("l", outside).file("l/secret", "in").finish()));
  CHECK(stack.text(outside.substr(1) + "/secret") == "in");
  REQUIRE(stack.add(TarBuilder().symlink("l", "../../../.." + outside).file("l/new", "in").finish()));
  CHECK(!sys::path_exists(outside + "/new"));
  REQUIRE(stack.add(TarBuilder().symlink("l", outside + "/secret").file("l", "in").finish()));
  CHECK(stack.text("l") == "in");
  REQUIRE(stack.add(TarBuilder().dir("d").file("d/a", "").symlink("d", outside).file("d/b", "in").finish()));
  REQUIRE(stack.add(TarBuilder().symlink("m", outside).dir("m", 0777).file("m/x", "in").finish()));
  CHECK(stack.text("m/x") == "in");
  REQUIRE(stack.add(TarBuilder().symlink("p", "/proc/self/root" + outside).file("p/x", "in").finish()));
  CHECK(sys::read_file(outside + "/secret").value_or("") == "secret");
  CHECK(sys::list_dir(outside)->size() == 1);
  struct stat st {};
  REQUIRE(stat(outside.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0755);
}

TEST_CASE("unpack: hostile links in the layers below are not followed out either" NEEDS_ROOT) {
  Stack stack;
  std::string outside = stack.temp.path + "/outside";
  REQUIRE(stack.add(TarBuilder().symlink("l", outside).symlink("up", "../../../../../../..").finish()));
  REQUIRE(stack.add(TarBuilder().file("l/new", "in").file("up/etc/x", "in").finish()));
  CHECK(sys::list_dir(outside)->size() == 1);
  CHECK(stack.text("etc/x") == "in");
  CHECK(stack.refusal(TarBuilder().hard_link("x", "l/secret").finish()).ends_with("does not exist"));
}

TEST_CASE("unpack: paths as deep as the format allows" NEEDS_ROOT) {
  Stack stack;
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep += "d/";
  REQUIRE(stack.add(TarBuilder().file(deep + "f", "x").finish()));
  CHECK(stack.text(deep + "f") == "x");
  CHECK(stack.refusal(TarBuilder().file(deep + deep + "f", "x").finish()) ==
        "invalid tar archive: a path longer than 4096 bytes");
}
