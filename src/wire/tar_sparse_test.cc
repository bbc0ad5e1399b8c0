// SPDX-License-Identifier: Apache-2.0
// Sparse members in all their forms, ACL texts, and what becomes of holes in files.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>

#include "base/text.h"
#include "base/unique_fd.h"
#include "sys/files.h"
#include "wire/posix_acl.h"
#include "wire/tar_file.h"
#include "wire/tar_reader.h"

using namespace caisson;

namespace {

std::string octal(size_t value) { return format("%011zo", value); }

std::string padded(std::string data) {
  data.resize((data.size() + 511) / 512 * 512);
  return data;
}

std::string sealed(std::string block) {
  block.replace(148, 8, "        ");
  unsigned sum = 0;
  for (char c : block) sum += static_cast<unsigned char>(c);
  block.replace(148, 7, format("%06o", sum) + std::string(1, '\0'));
  return block;
}

std::string header(const std::string& name, char type, size_t size) {
  std::string out(512, '\0');
  out.replace(0, name.size(), name);
  out.replace(100, 7, "0000644");
  out.replace(124, 11, octal(size));
  out.replace(136, 11, octal(0));
  out[156] = type;
  out.replace(257, 8, type == 'S' ? std::string("ustar  \0", 8) : std::string("ustar\00000", 8));
  return sealed(out);
}

std::string pax(const std::vector<std::pair<std::string, std::string>>& records) {
  std::string text;
  for (auto& [name, value] : records) {
    size_t size = name.size() + value.size() + 3, total = size + std::to_string(size).size();
    total = size + std::to_string(total).size();
    text += std::to_string(total) + " " + name + "=" + value + "\n";
  }
  return header("PaxHeaders/x", 'x', text.size()) + padded(text);
}

const std::string kEnd(1024, '\0');

struct Sparse {
  std::string path, data;
  std::vector<uint64_t> holes;  // offset, size, offset, size
};

Result<Sparse> read_one(const std::string& archive, bool allow = true) {
  StringSource source(archive);
  tar::Reader reader(source, {.allow_sparse = allow});
  Sparse out;
  auto entry = TRY(reader.next());
  REQUIRE(entry);
  out.path = entry->path;
  char buffer[700];
  while (true) {
    uint64_t hole = reader.skip_hole();
    if (hole > 0) {
      out.holes.insert(out.holes.end(), {out.data.size(), hole});
      out.data.append(hole, '.');
    }
    size_t got = TRY(reader.read(buffer));
    if (got == 0) break;
    out.data.append(buffer, got);
  }
  CHECK(out.data.size() == entry->size);
  auto next = TRY(reader.next());
  REQUIRE(next);
  CHECK(next->path == "next");
  return out;
}

// "....abcd........efgh...." in every form; 4096 bytes of data twice in a file of 20000.
const std::string kA(4096, 'a'), kB(1000, 'b');
const std::vector<uint64_t> kHoles = {0, 4096, 8192, 8192, 17384, 2616};
std::string after() { return header("next", '0', 0) + kEnd; }

std::vector<std::pair<std::string, std::string>> forms() {
  std::string data = padded(kA + kB);
  std::string old = header("file", 'S', 5096);
  for (auto [at, value] : {std::pair(386, 4096), {398, 4096}, {410, 16384}, {422, 1000}, {434, 20000}, {446, 0}})
    old.replace(static_cast<size_t>(at), 11, octal(static_cast<size_t>(value)));
  old.replace(483, 11, octal(20000));
  return {
      {"old GNU", sealed(old) + data + after()},
      {"pax 0.0", pax({{"GNU.sparse.size", "20000"},
                       {"GNU.sparse.numblocks", "2"},
                       {"GNU.sparse.offset", "4096"},
                       {"GNU.sparse.numbytes", "4096"},
                       {"GNU.sparse.offset", "16384"},
                       {"GNU.sparse.numbytes", "1000"}}) +
                      header("file", '0', 5096) + data + after()},
      {"pax 0.1", pax({{"GNU.sparse.size", "20000"},
                       {"GNU.sparse.numblocks", "2"},
                       {"GNU.sparse.name", "file"},
                       {"GNU.sparse.map", "4096,4096,16384,1000"}}) +
                      header("GNUSparseFile.1/file", '0', 5096) + data + after()},
      {"pax 1.0", pax({{"GNU.sparse.major", "1"},
                       {"GNU.sparse.minor", "0"},
                       {"GNU.sparse.name", "file"},
                       {"GNU.sparse.realsize", "20000"}}) +
                      header("GNUSparseFile.1/file", '0', 512 + 5096) + padded("2\n4096\n4096\n16384\n1000\n") + data +
                      after()},
  };
}

std::string why(const std::string& archive, bool allow = true) {
  auto result = read_one(archive, allow);
  return result ? "accepted" : result.error().message;
}

}  // namespace

TEST_CASE("tar: sparse members in four forms") {
  for (auto& [name, archive] : forms()) {
    INFO(name);
    auto read = read_one(archive);
    REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
    CHECK(read->path == "file");
    CHECK(read->holes == kHoles);
    CHECK(read->data.substr(4096, 4096) == kA);
    CHECK(read->data.substr(16384, 1000) == kB);
    // Who does not ask for holes is not given any: a few bytes could stand for exabytes.
    CHECK(why(archive, false) == "tar archive: sparse files are not supported here");
  }
}

TEST_CASE("tar: holes are read as zeros where nobody asks") {
  std::string archive = forms()[1].second;
  StringSource whole(archive);
  tar::Reader reader(whole, {.allow_sparse = true});
  REQUIRE(reader.next());
  std::string data;
  char buffer[1000];
  while (true) {
    auto got = reader.read(buffer);
    REQUIRE(got);
    if (*got == 0) break;
    data.append(buffer, *got);
  }
  CHECK(data == std::string(4096, '\0') + kA + std::string(8192, '\0') + kB + std::string(20000 - 16384 - 1000, '\0'));
}

TEST_CASE("tar: old GNU sparse headers go on in further blocks") {
  std::string first = header("file", 'S', 30), extended(512, '\0'), last(512, '\0'), data;
  auto put = [](std::string& block, size_t at, size_t number) {
    block.replace(at, 11, octal(number * 1000));
    block.replace(at + 12, 11, octal(1));
  };
  size_t number = 0;
  for (size_t i = 0; i < 4; ++i) put(first, 386 + i * 24, number++);
  for (size_t i = 0; i < 21; ++i) put(extended, i * 24, number++);
  for (size_t i = 0; i < 5; ++i) put(last, i * 24, number++);
  first[482] = 1;
  extended[504] = 1;
  first.replace(483, 11, octal(29001));
  auto read = read_one(sealed(first) + extended + last + padded(std::string(30, 'x')) + after());
  REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
  CHECK(read->holes.size() == 29 * 2);
  CHECK(read->data[29000] == 'x');
}

TEST_CASE("tar: sparse maps that lie") {
  auto one = [](const std::string& map, const std::string& size, size_t stored) {
    return pax({{"GNU.sparse.size", size}, {"GNU.sparse.map", map}}) + header("file", '0', stored) +
           padded(std::string(stored, 'x')) + after();
  };
  const std::string kMalformed = "invalid tar archive: a sparse map is malformed";
  CHECK(why(one("0,10", "10", 10)) == "accepted");
  CHECK(why(one("", "10", 0)) == "accepted");
  CHECK(why(one("0,11", "10", 11)) == kMalformed);     // beyond the file
  CHECK(why(one("5,5,0,5", "10", 10)) == kMalformed);  // backwards
  CHECK(why(one("0,6,5,5", "10", 11)) == kMalformed);  // one over the other
  CHECK(why(one("0,5", "10", 10)) == kMalformed);      // more data than places
  CHECK(why(one("0,5,7", "10", 5)) == kMalformed);     // half a pair
  CHECK(why(one("0,x", "10", 5)) == kMalformed);
  CHECK(why(one("18446744073709551615,2", "10", 2)) == kMalformed);        // overflow
  CHECK(why(one("0,0", "2000000000000000000", 0)).contains("no number"));  // above any file
  CHECK(why(pax({{"GNU.sparse.map", "0,1"}}) + header("file", '0', 1) + padded("x") + after())
            .contains("a sparse file has no size"));
  CHECK(why(pax({{"GNU.sparse.size", "1"}, {"GNU.sparse.offset", "0"}}) + header("file", '0', 0) + after()) ==
        kMalformed);
  auto lines = [](const std::string& text, size_t stored) {
    return pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.realsize", "10"}}) + header("file", '0', stored) +
           padded(text + std::string(text.size() < 512 ? 0 : 10, 'x')) + after();
  };
  CHECK(why(lines("1\n0\n0\n", 512)) == "accepted");
  CHECK(why(lines("1\n0\nx\n", 512)) == kMalformed);
  CHECK(why(lines("99999999\n", 512)) == kMalformed);
  CHECK(why(lines(std::string(512, '9'), 512)) == kMalformed);
  CHECK(why(lines("2\n0\n0\n", 512)) == kMalformed);
  CHECK(why(lines("1\n", 0)).contains("in the middle of a sparse map"));
}

TEST_CASE("tar: a member's holes and long runs of zeros become holes") {
  std::string plain(1 << 20, '\0');
  plain[300'000] = 'x';
  plain.replace((1 << 20) - 3, 3, "end");
  std::string zeros(200'000, '\0');
  for (const std::string& content : {plain, zeros, std::string("abc"), std::string()}) {
    std::string archive = header("file", '0', content.size()) + padded(content) + after();
    StringSource source(archive);
    tar::Reader reader(source);
    auto entry = reader.next();
    REQUIRE((entry && *entry));
    UniqueFd fd(memfd_create("member", MFD_CLOEXEC));
    std::vector<char> buffer(256 << 10);
    REQUIRE(tar::write_member(reader, fd.get(), (*entry)->size, buffer));
    struct stat st {};
    REQUIRE(fstat(fd.get(), &st) == 0);
    CHECK(static_cast<size_t>(st.st_size) == content.size());
    CHECK(st.st_blocks * 512 <= (content == plain ? 500'000 : 100'000));
    REQUIRE(lseek(fd.get(), 0, SEEK_SET) == 0);
    auto back = sys::read_fd(fd.get());
    REQUIRE(back);
    CHECK(*back == content);
  }
}

TEST_CASE("acl texts of star, GNU tar and bsdtar") {
  auto hex = [](std::string_view text) {
    auto value = tar::acl_to_xattr(text);
    return value ? to_hex(reinterpret_cast<const unsigned char*>(value->data()), value->size()) : "none";
  };
  const std::string expected =
      "02000000"
      "01000600ffffffff"
      "02000400e8030000"
      "04000400ffffffff"
      "10000600ffffffff"
      "20000400ffffffff";
  CHECK(hex("user::rw-,user:1000:r--,group::r--,mask::rw-,other::r--") == expected);
  CHECK(hex("user::rw-\nuser:1000:r--\t#effective:r--\ngroup::r--\nmask::rw-\nother::r--\n") == expected);
  CHECK(hex("user::rw-,group::r--,mask::rw-,other::r--,user:daniel:r--:1000") == expected);
  CHECK(hex("default:u::rw-,d:u:1000:r--,g::r--,m:rw-,o:r--") == expected);
  CHECK(hex("user:daniel:r--,group::r--,other::r--") == "none");  // nobody can tell who that is
  CHECK(hex("") == "none");
  CHECK(hex("user::rwz") == "none");
  CHECK(hex("role::rwx") == "none");
  CHECK(hex("user::rw-:1:2") == "none");
  CHECK(hex("user:4294967295:rw-") == "none");
}

TEST_CASE("tar: an acl text becomes the attribute, which itself wins") {
  auto attributes = [](const std::string& archive) {
    StringSource source(archive);
    tar::Reader reader(source);
    auto entry = reader.next();
    REQUIRE((entry && *entry));
    return (*entry)->xattrs;
  };
  std::string text = "user::rw-,group::r--,other::r--";
  auto from_text = attributes(pax({{"SCHILY.acl.access", text}, {"SCHILY.acl.default", "nonsense"}}) + after());
  CHECK(from_text == std::map<std::string, std::string>{{"system.posix_acl_access", *tar::acl_to_xattr(text)}});
  auto both =
      attributes(pax({{"SCHILY.acl.access", text}, {"SCHILY.xattr.system.posix_acl_access", "as it is"}}) + after());
  CHECK(both["system.posix_acl_access"] == "as it is");
}
