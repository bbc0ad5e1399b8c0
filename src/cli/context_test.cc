// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "cli/context_digest.h"
#include "cli/context_store.h"
#include "cli/context_transfer.h"
#include "wire/tar_writer.h"

using namespace caisson;
using namespace caisson::cli;

namespace {

struct TextSink : ByteSink {
  std::string text;
  Result<> write(std::string_view data) override {
    text += data;
    return {};
  }
};

struct TextSource : ByteSource {
  explicit TextSource(std::string_view all) : rest(all) {}
  std::string_view rest;
  Result<size_t> read(std::span<char> buffer) override {
    size_t size = rest.copy(buffer.data(), buffer.size());
    rest.remove_prefix(size);
    return size;
  }
};

constexpr const char* kMeta =
    R"({"Name":"theirs","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://x:1","SkipTLSVerify":false}}})";

// An archive of meta.json and one more member.
std::string archive(tar::Entry extra, std::string_view data, std::string_view meta = kMeta) {
  TextSink sink;
  tar::Writer writer(sink);
  CHECK(writer.add({.path = "meta.json"}, meta));
  if (extra.type == tar::EntryType::kFile)
    CHECK(writer.add(std::move(extra), data));
  else
    CHECK(writer.begin(extra));
  CHECK(writer.finish());
  return sink.text;
}

std::string refusal(std::string_view text) {
  TextSource source(text);
  auto record = read_context_archive(source, "mine");
  return record ? "" : record.error().message;
}

}  // namespace

TEST_CASE("the digest of names") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("names of contexts") {
  for (const char* name : {"ab", "A1", "a_b.c+d-e"}) CHECK(check_context_name(name));
  for (const char* name : {"", "a", "default", "-ab", "a/b", "..", "a b", "a\n"}) CHECK(!check_context_name(name));
}

TEST_CASE("a context survives its archive, under the importer's name") {
  ContextRecord record{
      .name = "theirs", .meta = *JsonValue::parse(kMeta), .tls = {{"docker/ca.pem", "CA"}, {"docker/key.pem", "KEY"}}};
  TextSink sink;
  REQUIRE(write_context_archive(sink, record));
  TextSource source(sink.text);
  auto back = read_context_archive(source, "mine");
  REQUIRE(back);
  CHECK(back->name == "mine");
  CHECK(back->meta.at("Name").text() == "mine");
  CHECK(back->host() == "tcp://x:1");
  CHECK(back->tls == record.tls);
}

TEST_CASE("archives of strangers") {
  using Type = tar::EntryType;
  CHECK(refusal(archive({.path = "tls/docker/ca.pem"}, "x")) == "");
  for (const char* path : {"../meta.json", "/etc/passwd", "tls/docker/../../x", "tls/docker/sub/ca.pem",
                           "tls/other/ca.pem", "tls/docker/odd.pem", "x"})
    CHECK_MESSAGE(refusal(archive({.path = path}, "x")).starts_with("unexpected context file"), path);
  CHECK(refusal(archive({.type = Type::kSymlink, .path = "tls/docker/ca.pem", .link = "/etc/shadow"}, ""))
            .starts_with("unexpected context file"));
  CHECK(refusal(archive({.type = Type::kDirectory, .path = "other"}, "")).starts_with("unexpected context file"));
  CHECK(refusal(archive({.path = "meta.json"}, kMeta)).find("is there twice") != std::string::npos);
  CHECK(refusal(archive({.path = "tls/docker/ca.pem"}, std::string(kMaxContextFile + 1, 'x'))).find("is larger than") !=
        std::string::npos);
  CHECK(refusal(archive({.path = "tls/docker/ca.pem"}, "x", "[]")) == "meta.json is not a JSON object");
  CHECK(refusal(archive({.path = "tls/docker/ca.pem"}, "x", "{}")) == "meta.json has no docker endpoint");
  CHECK(refusal("").find("no meta.json") != std::string::npos);
  CHECK(refusal(std::string(2000, 'x')) != "");
}
