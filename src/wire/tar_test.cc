// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstring>

#include "base/text.h"
#include "wire/tar_reader.h"
#include "wire/tar_writer.h"

using namespace caisson;
using tar::Entry;
using tar::EntryType;

namespace {
struct StringSink : ByteSink {
  Result<> write(std::string_view data) override {
    text += data;
    return {};
  }
  std::string text;
};

struct Member {
  Entry entry;
  std::string data;
};

Result<std::vector<Member>> read_all(std::string_view archive, tar::Limits limits = {}) {
  StringSource source(archive);
  tar::Reader reader(source, limits);
  std::vector<Member> out;
  while (auto entry = TRY(reader.next())) {
    Member member{*entry, ""};
    char buffer[1000];
    while (size_t got = TRY(reader.read(buffer))) member.data.append(buffer, got);
    out.push_back(std::move(member));
  }
  return out;
}

std::string write_all(const std::vector<Member>& members) {
  StringSink sink;
  tar::Writer writer(sink);
  for (const Member& member : members) CHECK(writer.add(member.entry, std::string_view(member.data)));
  CHECK(writer.finish());
  return sink.text;
}

// A header block by hand, with a right checksum.
std::string block(const std::string& name, char type, const std::string& size_field,
                  const std::string& magic = std::string("ustar\0"
                                                         "00",
                                                         8)) {
  std::string out(512, '\0');
  out.replace(0, name.size(), name);
  out.replace(100, 7, "0000644");
  out.replace(124, size_field.size(), size_field);
  out.replace(136, 11, "00000000000");
  out[156] = type;
  out.replace(257, magic.size(), magic);
  out.replace(148, 8, "        ");
  unsigned sum = 0;
  for (char c : out) sum += static_cast<unsigned char>(c);
  out.replace(148, 7, format("%06o", sum) + std::string(1, '\0'));
  return out;
}

std::string padded(std::string data) {
  data.resize((data.size() + 511) / 512 * 512);
  return data;
}

std::string octal(size_t value) { return format("%011zo", value); }

std::string why(const std::string& archive) {
  auto result = read_all(archive);
  return result ? "accepted" : result.error().message;
}
const std::string kEnd(1024, '\0');
}  // namespace

TEST_CASE("tar: every kind of member survives a round trip") {
  std::vector<Member> members;
  auto add = [&](Entry entry, std::string data = "") {
    entry.size = data.size();
    members.push_back({entry, data});
  };
  add({.type = EntryType::kDirectory,
       .path = "dir/",
       .mode = 01777,
       .uid = 1,
       .gid = 2,
       .mtime_ns = 1'700'000'000'000'000'000});
  add({.path = "dir/file", .mode = 04755, .mtime_ns = 1'700'000'000'123'456'789}, std::string(100000, 'x'));
  add({.path = "empty"});
  add({.path = "old", .mtime_ns = -1'500'000'000});
  add({.type = EntryType::kHardLink, .path = "hard", .link = "dir/file"});
  add({.type = EntryType::kSymlink, .path = "sym", .link = "/absolute/" + std::string(300, 'l')});
  add({.type = EntryType::kCharDevice, .path = "null", .device_major = 1, .device_minor = 3});
  add({.type = EntryType::kBlockDevice, .path = "disk", .device_major = 259, .device_minor = 70000});
  add({.type = EntryType::kFifo, .path = "fifo"});
  add({.path = "big-ids", .uid = 4294967294, .gid = 2097152});
  add({.path = "xattrs", .xattrs = {{"security.capability", std::string("\1\0\0\2", 4)}, {"user.a", "line\nbreak=x"}}},
      "y");
  add({.path = "\xc3\xa4\xc3\xb6"}, "utf-8");
  for (size_t size : {99, 100, 101, 155, 200, 256, 257, 1000, 4000}) {
    std::string path;
    while (path.size() < size) path += "component/";
    path.resize(size);
    if (path.ends_with('/')) path.back() = 'x';
    add({.path = path}, path);
    add({.path = std::string(size, 'n')}, "flat");
  }
  std::string archive = write_all(members);
  CHECK(archive == write_all(members));
  auto read = read_all(archive);
  REQUIRE(read);
  REQUIRE(read->size() == members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    const Entry &a = members[i].entry, &b = (*read)[i].entry;
    CAPTURE(a.path);
    CHECK(a.type == b.type);
    CHECK(a.path == b.path);
    CHECK(a.link == b.link);
    CHECK(a.mode == b.mode);
    CHECK(a.uid == b.uid);
    CHECK(a.gid == b.gid);
    CHECK(a.mtime_ns == b.mtime_ns);
    CHECK(a.size == b.size);
    CHECK(a.device_major == b.device_major);
    CHECK(a.device_minor == b.device_minor);
    CHECK(a.xattrs == b.xattrs);
    CHECK(members[i].data == (*read)[i].data);
  }
}

TEST_CASE("tar: GNU long names, base-256 numbers, v7 directories, a missing end") {
  std::string name(300, 'g'), link(200, 'k');
  std::string huge("\x80\0\0\0\0\0\0\0\0\0\0\5", 12);
  std::string archive = block("././@LongLink", 'K', octal(link.size() + 1), std::string("ustar  \0", 8)) +
                        padded(link + '\0') +
                        block("././@LongLink", 'L', octal(name.size() + 1), std::string("ustar  \0", 8)) +
                        padded(name + '\0') + block("short", '2', octal(0), std::string("ustar  \0", 8)) +
                        block("sized", '0', huge) + padded("12345") + block("v7dir/", '\0', octal(0), "");
  auto read = read_all(archive);
  REQUIRE(read);
  REQUIRE(read->size() == 3);
  CHECK((*read)[0].entry.path == name);
  CHECK((*read)[0].entry.link == link);
  CHECK((*read)[1].data == "12345");
  CHECK((*read)[2].entry.type == EntryType::kDirectory);
  std::string late = block("late", '0', octal(0));
  late.replace(136, 12, "\x80" + std::string(6, '\0') + "\x7f" + std::string(4, '\xff'));
  unsigned sum = 0;
  late.replace(148, 8, "        ");
  for (char c : late) sum += static_cast<unsigned char>(c);
  late.replace(148, 7, format("%06o", sum) + std::string(1, '\0'));
  REQUIRE(read_all(late));
  CHECK(read_all(late)->front().entry.mtime_ns == 9'000'000'000'000'000'000);
  CHECK(read_all("")->empty());
  CHECK(read_all(kEnd)->empty());
  CHECK(read_all(block("a", '0', octal(0)) + kEnd + "ignored")->size() == 1);
}

TEST_CASE("tar: pax sizes rule the data, global headers are skipped, the size of a link is ignored") {
  std::string pax = "9 size=3\n";
  std::string archive = block("g", 'g', octal(pax.size())) + padded(pax) + block("p", 'x', octal(pax.size())) +
                        padded(pax) + block("file", '0', octal(0)) + padded("abc") + block("link", '1', octal(99)) +
                        kEnd;
  auto read = read_all(archive);
  REQUIRE(read);
  REQUIRE(read->size() == 2);
  CHECK((*read)[0].data == "abc");
  CHECK((*read)[1].entry.size == 0);
}

TEST_CASE("tar: hostile archives are refused with a reason") {
  CHECK(why(std::string(600, 'x')).starts_with("invalid tar archive"));
  CHECK(why(std::string(100, '\0')) == "invalid tar archive: it ends in the middle of a header");
  CHECK(why(block("a", '0', octal(1000)) + "short") == "invalid tar archive: it ends in the middle of a file");
  std::string broken = block("a", '0', octal(0));
  broken[0] = 'b';
  CHECK(why(broken) == "invalid tar archive: a header's checksum is wrong");
  CHECK(why(block("a", '0', std::string(12, '\xff'))) == "invalid tar archive: a size is out of range");
  CHECK(why(block("a", '0', "\x80" + std::string(11, '\xff'))) == "invalid tar archive: a size is no number");
  CHECK(why(block("a", '0', "99999999999")) == "invalid tar archive: a size is no number");
  CHECK(why(block("a", 'x', octal(2 << 20))) == "invalid tar archive: an extended header longer than 1048576 bytes");
  CHECK(why(block("a", 'L', octal(5000))) == "invalid tar archive: a path longer than 4097 bytes");
  CHECK(why(block("a", 'S', octal(0))) == "tar archive: sparse files are not supported here");
  CHECK(why(block("a", 'V', octal(0))) == "tar archive: members of type 'V' are not supported");
  CHECK(why(block("", '0', octal(0))) == "invalid tar archive: a member has no name");
  CHECK(why(block("a", 'x', octal(0)) + kEnd.substr(512)) != "accepted");
  auto with_pax = [](std::string pax) {
    return why(block("p", 'x', octal(pax.size())) + padded(pax) + block("f", '0', octal(0)) + kEnd);
  };
  CHECK(with_pax("10 path=ab\n") == "invalid tar archive: a pax record has a wrong length");
  CHECK(with_pax("999999999999999999999 path=a\n") == "invalid tar archive: a pax record has a wrong length");
  CHECK(with_pax("4 a\n") == "invalid tar archive: a pax record has no name");
  CHECK(with_pax("11 size=-1\n") == "invalid tar archive: a pax record holds no number");
  CHECK(with_pax(std::string("12 path=a\0b\n", 12)) == "invalid tar archive: a path holds a NUL byte");
  CHECK(with_pax("21 GNU.sparse.major=1\n") == "invalid tar archive: a pax record has a wrong length");
  CHECK(with_pax("22 GNU.sparse.major=1\n") == "tar archive: sparse files are not supported here");
  std::string deep;
  for (int i = 0; i < 4000; ++i) deep += "d/";
  CHECK(why(write_all({{{.path = deep + "f"}, ""}})) == "invalid tar archive: a path longer than 4096 bytes");
  CHECK(read_all(write_all({{{.path = "a"}, ""}, {{.path = "b"}, ""}}), {.max_entries = 1}).error().message ==
        "invalid tar archive: too many members");
}

TEST_CASE("tar: a writer notices data that does not fit its header") {
  StringSink sink;
  tar::Writer writer(sink);
  Entry entry{.path = "a", .size = 3};
  StringSource shorter("ab"), longer("abcd");
  CHECK(!writer.add(entry, shorter));
  tar::Writer second(sink);
  CHECK(!second.add(entry, longer));
  tar::Writer third(sink);
  CHECK(third.begin(entry));
  CHECK(!third.finish());
}
