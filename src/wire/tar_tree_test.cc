// SPDX-License-Identifier: Apache-2.0
// Trees to tar and back: what a hostile archive or tree may do, and what `cp` promises.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/files.h"
#include "wire/tar_extract.h"
#include "wire/tar_pack.h"

using namespace caisson;

namespace {

struct Scratch {
  Scratch() {
    char name[] = "/tmp/tar-tree-XXXXXX";
    path = mkdtemp(name);
    for (const char* dir : {"/root", "/root/in", "/root/outside", "/copy"}) REQUIRE(sys::make_dirs(path + dir));
    root = *sys::open_file(path + "/root", O_RDONLY | O_DIRECTORY);
  }
  ~Scratch() { (void)sys::remove_tree(path); }
  std::string read(const std::string& name) { return sys::read_file(path + name).value_or("?"); }
  std::string path;
  UniqueFd root;
};

class TreeSink : public ByteSink {
 public:
  Result<> write(std::string_view data) override {
    text += data;
    return {};
  }
  std::string text;
};

std::string archive(std::initializer_list<std::pair<tar::Entry, std::string_view>> members) {
  TreeSink sink;
  tar::Writer writer(sink);
  for (auto& [entry, data] : members) REQUIRE(writer.add(entry, data));
  REQUIRE(writer.finish());
  return sink.text;
}

tar::Entry file(const char* path) {
  return {.path = path, .mode = 0640, .uid = getuid(), .gid = getgid(), .mtime_ns = 5'000'000'000};
}
tar::Entry other(tar::EntryType type, const char* path, const char* link = "") {
  tar::Entry entry = file(path);
  entry.type = type;
  entry.link = link;
  return entry;
}

Result<> extract(Scratch& scratch, const std::string& tar, const std::string& destination = "/in",
                 tar::ExtractOptions options = {}) {
  StringSource source(tar);
  return tar::extract_archive(source, scratch.root.get(), destination, options);
}

}  // namespace

TEST_CASE("tar tree: there and back") {
  Scratch scratch;
  REQUIRE(sys::make_dirs(scratch.path + "/root/in/d/e"));
  REQUIRE(sys::write_file(scratch.path + "/root/in/d/e/f", "hello"));
  REQUIRE(link((scratch.path + "/root/in/d/e/f").c_str(), (scratch.path + "/root/in/d/second").c_str()) == 0);
  REQUIRE(symlink("e/f", (scratch.path + "/root/in/d/link").c_str()) == 0);
  auto source = tar::TreeSource::open(scratch.root.get(), "/in/d", "new");
  REQUIRE(source);
  UniqueFd copy = *sys::open_file(scratch.path + "/copy", O_RDONLY | O_DIRECTORY);
  REQUIRE(tar::extract_archive(**source, copy.get(), "/", {}));
  CHECK(scratch.read("/copy/new/e/f") == "hello");
  CHECK(scratch.read("/copy/new/link") == "hello");
  struct stat a {
  }, b{};
  REQUIRE(stat((scratch.path + "/copy/new/e/f").c_str(), &a) == 0);
  REQUIRE(stat((scratch.path + "/copy/new/second").c_str(), &b) == 0);
  CHECK(a.st_ino == b.st_ino);
}

TEST_CASE("tar tree: one file, and a link as such") {
  Scratch scratch;
  REQUIRE(sys::write_file(scratch.path + "/root/in/f", std::string(700000, 'x')));
  REQUIRE(symlink("/in/f", (scratch.path + "/root/in/l").c_str()) == 0);
  UniqueFd copy = *sys::open_file(scratch.path + "/copy", O_RDONLY | O_DIRECTORY);
  for (const char* name : {"/in/f", "/in/l"}) {
    auto source = tar::TreeSource::open(scratch.root.get(), name, std::string(name).substr(4));
    REQUIRE(source);
    REQUIRE(tar::extract_archive(**source, copy.get(), "/", {}));
  }
  CHECK(scratch.read("/copy/f").size() == 700000);
  char target[16] = "";
  CHECK(readlink((scratch.path + "/copy/l").c_str(), target, sizeof target) == 5);
  auto missing = tar::TreeSource::open(scratch.root.get(), "/in/none", "none");
  CHECK(missing.error().kind == ErrorKind::kNotFound);
}

TEST_CASE("tar tree: names that climb out are refused, absolute ones stay inside") {
  Scratch scratch;
  auto refused = extract(scratch, archive({{file("../outside/x"), "bad"}}));
  REQUIRE(!refused);
  CHECK(refused.error().message == R"("../outside/x" is outside of "/in")");
  CHECK(!sys::path_exists(scratch.path + "/root/outside/x"));
  REQUIRE(extract(scratch, archive({{file("/etc/x"), "fine"}, {file("a/../b"), "also"}})));
  CHECK(scratch.read("/root/in/etc/x") == "fine");
  CHECK(scratch.read("/root/in/b") == "also");
  CHECK(!extract(scratch, archive({{other(tar::EntryType::kHardLink, "h", "../outside/y"), ""}})));
}

TEST_CASE("tar tree: links in the archive lead no further than the root") {
  Scratch scratch;
  REQUIRE(extract(
      scratch, archive({{other(tar::EntryType::kSymlink, "l", "/../../../../outside"), ""}, {file("l/x"), "inside"}})));
  CHECK(scratch.read("/root/outside/x") == "inside");
  CHECK(!sys::path_exists(scratch.path + "/outside"));
}

TEST_CASE("tar tree: kinds are kept when asked") {
  Scratch scratch;
  REQUIRE(sys::make_dirs(scratch.path + "/root/in/d"));
  REQUIRE(sys::write_file(scratch.path + "/root/in/f", "old"));
  tar::ExtractOptions keep{.keep_kinds = true};
  auto refused = extract(scratch, archive({{file("d"), "x"}}), "/in", keep);
  REQUIRE(!refused);
  CHECK(refused.error().message == R"(cannot overwrite directory "/in/d" with non-directory "/in")");
  refused = extract(scratch, archive({{other(tar::EntryType::kDirectory, "f/"), ""}}), "/in", keep);
  REQUIRE(!refused);
  CHECK(refused.error().message == R"(cannot overwrite non-directory "/in/f" with directory "/in")");
  REQUIRE(extract(scratch, archive({{file("d"), "x"}, {file("f"), "new"}})));
  CHECK(scratch.read("/root/in/d") == "x");
  CHECK(scratch.read("/root/in/f") == "new");
}

TEST_CASE("tar tree: names are replaced, modes and times kept") {
  Scratch scratch;
  tar::ExtractOptions rename{.rename = std::pair("old", "new")};
  REQUIRE(extract(scratch, archive({{other(tar::EntryType::kDirectory, "old/"), ""}, {file("old/f"), "x"}}), "/in",
                  rename));
  struct stat st {};
  REQUIRE(stat((scratch.path + "/root/in/new/f").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0640);
  CHECK(st.st_mtim.tv_sec == 5);
  REQUIRE(stat((scratch.path + "/root/in/new").c_str(), &st) == 0);
  CHECK(st.st_mtim.tv_sec == 5);
}
