// SPDX-License-Identifier: Apache-2.0
// Driver local, and what both file drivers share: rotation, compression, clearing, going on after a kill.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "base/unique_fd.h"
#include "logs/gzip_file.h"
#include "logs/local_record.h"
#include "logs/log_files.h"
#include "logs/log_test_helpers.h"

using namespace caisson;
using namespace caisson::logs;
using namespace caisson::logs::test;

namespace {

std::string record(std::string_view text, bool newline = true, StreamId stream = StreamId::kStdout) {
  std::string out(kRecordOverhead + text.size(), '\0');
  encode_record(out.data(), {stream, text, newline, kTime, 0});
  return out;
}

void for_both(const std::function<void(const char* driver)>& check) {
  for (const char* driver : {"local", "json-file"}) {
    CAPTURE(driver);
    check(driver);
  }
}

void append_file(const std::string& path, std::string_view data) {
  UniqueFd file(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(sys::write_all(file.get(), data));
}

bool packed(const LogConfig& config, int index) { return sys::path_exists(gzip_name(config.path, index)); }
bool plain(const LogConfig& config, int index) { return sys::path_exists(file_name(config.path, index)); }

}  // namespace

TEST_CASE("a record is its text and 17 bytes") {
  TempDir dir;
  auto config = config_in(dir, "local");
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStderr, "hello\n", kTime));
  REQUIRE(writer->append(StreamId::kStdout, std::string_view("a\0b", 3), kTime + 5));
  REQUIRE(writer->finish());
  CHECK(*sys::read_file(config.path) == record("hello", true, StreamId::kStderr) + [] {
    std::string r = record(std::string_view("a\0b", 3), false);
    r[5] += 5;
    return r;
  }());
  CHECK(sys::read_file(config.path)->size() == 5 + 3 + 2 * 17);
  auto reader = *LogReader::open(config, {});
  LogEntry entry;
  REQUIRE(*reader->next(entry));
  CHECK(entry.stream == StreamId::kStderr);
  CHECK(entry.text == "hello\n");
  CHECK(entry.time_ns == kTime);
  REQUIRE(*reader->next(entry));
  CHECK(entry.text == std::string_view("a\0b", 3));
  CHECK(entry.time_ns == kTime + 5);
}

TEST_CASE("what is no record is not taken for one") {
  size_t needed;
  std::string good = record("text");
  CHECK(record_size(good, needed) == good.size());
  CHECK(record_size(good + "more", needed) == good.size());
  CHECK(record_size_before("more" + good) == good.size());
  for (size_t cut = 0; cut < good.size(); ++cut) {
    CHECK(record_size(std::string_view(good).substr(0, cut), needed) == 0);
    CHECK(needed > cut);
    CHECK(record_size_before(std::string_view(good).substr(0, cut)) == 0);
  }
  CHECK(last_record_end(good + record("x") + "\1\2\3") == good.size() + 18);
  CHECK(last_record_end("no record at all, but some text") == 0);
  for (auto [at, value] : {std::pair{0, '\xff'}, {2, '\x01'}, {4, '\0'}, {4, '\xa3'}, {17, '\x09'}}) {
    std::string bad = good;
    bad[static_cast<size_t>(at)] = value;
    CAPTURE(at);
    CHECK((record_size(bad, needed) == 0 || needed > bad.size()));
  }
  CHECK(record_size(std::string(64, '\0'), needed) == 0);
}

TEST_CASE("a torn end is cut away by the next writer, and a reader that has seen it goes on") {
  for (size_t cut : {1, 4, 5, 12, 20}) {
    TempDir dir;
    auto config = config_in(dir, "local");
    append_file(config.path, record("one") + record("two") + record("three").substr(0, cut));
    auto reader = *LogReader::open(config, {});
    CHECK(read_all(*reader) == "one\ntwo\n");
    auto writer = *LogWriter::open(config);
    REQUIRE(writer->append(StreamId::kStdout, "four\n", kTime));
    REQUIRE(writer->flush());
    CAPTURE(cut);
    CHECK(read_all(*reader) == "four\n");
    CHECK(tail_of(config, 2) == "two\nfour\n");
    CHECK(all_of(config) == "one\ntwo\nfour\n");
  }
}

TEST_CASE("garbage between records is skipped in both directions") {
  TempDir dir;
  auto config = config_in(dir, "local");
  append_file(config.path,
              std::string(5000, '\0') + record("a") + "garbage" + record("b") + record("c").substr(3) + record("d"));
  CHECK(all_of(config) == "a\nb\nd\n");
  CHECK(tail_of(config, 2) == "b\nd\n");
  CHECK(tail_of(config, 9) == "a\nb\nd\n");
  TempDir other;
  auto broken = config_in(other, "local");
  append_file(broken.path, std::string(200000, 'x'));
  auto writer = *LogWriter::open(broken);
  REQUIRE(writer->append(StreamId::kStdout, "readable\n", kTime));
  REQUIRE(writer->flush());
  CHECK(all_of(broken) == "readable\n");
  CHECK(tail_of(broken, 1) == "readable\n");
}

TEST_CASE("tail goes backwards over blocks and long records") {
  for_both([](const char* driver) {
    TempDir dir;
    auto config = config_in(dir, driver);
    auto writer = *LogWriter::open(config);
    std::vector<std::string> lines;
    for (size_t i = 0; i < 400; ++i) {
      lines.push_back(std::to_string(i) + std::string(i * 331 % 16000, 'x') + "\n");
      REQUIRE(writer->append(StreamId::kStdout, lines.back(), kTime));
    }
    REQUIRE(writer->flush());
    for (size_t tail : {0, 1, 2, 7, 50, 399, 400, 500}) {
      std::string expected;
      for (size_t i = lines.size() - std::min(tail, lines.size()); i < lines.size(); ++i) expected += lines[i];
      CHECK(tail_of(config, static_cast<int64_t>(tail)) == expected);
    }
  });
}

TEST_CASE("rotated files are compressed while the log grows, and read as before") {
  for_both([](const char* driver) {
    TempDir dir;
    auto config = config_in(dir, driver, 20000, 4, true);
    auto writer = *LogWriter::open(config);
    auto follower = *LogReader::open(config, {});
    std::string all, followed;
    for (int i = 0; i < 6000; ++i) {
      std::string line = "line " + std::to_string(i * 7919) + "\n";
      all += line;
      REQUIRE(writer->append(StreamId::kStdout, line, kTime + i));
      if (i % 50 != 0) continue;
      REQUIRE(writer->flush());
      followed += read_all(*follower);
    }
    REQUIRE(writer->finish());
    followed += read_all(*follower);
    CHECK(followed == all);
    CHECK(packed(config, 3));
    CHECK_FALSE(plain(config, 3));
    CHECK_FALSE(packed(config, 4));
    struct stat st {};
    REQUIRE(stat(gzip_name(config.path, 3).c_str(), &st) == 0);
    CHECK(st.st_size < 10000);
    std::string kept = all_of(config);
    CHECK(all.ends_with(kept));
    CHECK(kept.size() > 9000);
    for (int tail : {1, 300, 700, 2000, 1000000}) CHECK(kept.ends_with(tail_of(config, tail)));
    CHECK(tail_of(config, 1000000) == kept);
    REQUIRE(remove_logs(config));
    CHECK(sys::list_dir(dir.path)->empty());
  });
}

TEST_CASE("a reader of a file that is compressed under it goes on behind it") {
  for_both([](const char* driver) {
    TempDir dir;
    auto config = config_in(dir, driver, 3000, 20, true);
    auto writer = *LogWriter::open(config);
    std::string all;
    auto write = [&](int from, int to) {
      for (int i = from; i < to; ++i) {
        std::string line = "entry " + std::to_string(i) + "\n";
        all += line;
        REQUIRE(writer->append(StreamId::kStdout, line, kTime));
        if (i % 10 == 0) REQUIRE(writer->flush());
      }
      REQUIRE(writer->flush());
    };
    write(0, 20);
    auto early = *LogReader::open(config, {});
    std::string seen = read_all(*early);
    write(20, 600);  // its file is packed by now
    CHECK_FALSE(plain(config, 2));
    auto late = *LogReader::open(config, {});  // begins in a packed file
    seen += read_all(*early);
    CHECK(seen == all);
    std::string old = read_all(*late);
    write(600, 900);
    CHECK(old + read_all(*late) == all);
    CHECK(seen + read_all(*early) == all);
  });
}

TEST_CASE("compression that a kill has cut short is taken up again") {
  TempDir dir;
  auto config = config_in(dir, "local", 5000, 3, true);
  append_file(config.path, record("newest"));
  append_file(config.path + ".1", record("older"));
  append_file(config.path + ".2", record("oldest"));
  append_file(config.path + ".1.gz", "half of");
  append_file(config.path + ".gz.tmp", "half of");
  CHECK(all_of(config) == "oldest\nolder\nnewest\n");
  auto writer = *LogWriter::open(config);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(writer->append(StreamId::kStdout, "more\n", kTime));
    REQUIRE(writer->flush());
  }
  CHECK(packed(config, 1));
  CHECK(packed(config, 2));
  CHECK_FALSE(plain(config, 1));
  CHECK_FALSE(sys::path_exists(config.path + ".gz.tmp"));
  CHECK(all_of(config) == "oldest\nolder\nnewest\nmore\nmore\nmore\n");
}

TEST_CASE("clearing while the writer and a follower are at work") {
  for_both([](const char* driver) {
    TempDir dir;
    auto config = config_in(dir, driver, 1000, 4, true);
    auto writer = *LogWriter::open(config);
    for (int i = 0; i < 100; ++i) REQUIRE(writer->append(StreamId::kStdout, "old " + std::to_string(i) + "\n", kTime));
    REQUIRE(writer->flush());
    auto follower = *LogReader::open(config, {});
    (void)read_all(*follower);
    REQUIRE(clear_logs(config));
    CHECK(sys::list_dir(dir.path)->size() == 1);
    CHECK(all_of(config).empty());
    CHECK(tail_of(config, 5).empty());
    for (int i = 0; i < 2; ++i) REQUIRE(writer->append(StreamId::kStdout, "new " + std::to_string(i) + "\n", kTime));
    REQUIRE(writer->finish());
    CHECK(all_of(config) == "new 0\nnew 1\n");
    CHECK(read_all(*follower) == "new 0\nnew 1\n");
    CHECK_FALSE(packed(config, 1));
  });
  CHECK(clear_logs({"none", "/nowhere"}).error().kind == ErrorKind::kUnsupported);
}

TEST_CASE("a new client goes on where a reader of the files has stopped") {
  for_both([](const char* driver) {
    TempDir dir;
    auto config = config_in(dir, driver, 700, 50, true);
    auto writer = *LogWriter::open(config);
    std::string live;
    auto replay = [&](StreamId stream, std::string_view text) {
      live += (stream == StreamId::kStderr ? "E:" : "") + std::string(text);
    };
    auto empty = *LogReader::open(config, {});
    CHECK(read_all(*empty).empty());
    REQUIRE(writer->append(StreamId::kStdout, "first\nsecond\npart of a li", kTime));
    REQUIRE(writer->replay(empty->position(), replay));
    CHECK(live == "first\nsecond\npart of a li");
    auto reader = *LogReader::open(config, {});
    CHECK(read_all(*reader) == "first\nsecond\n");
    live.clear();
    REQUIRE(writer->append(StreamId::kStderr, "problem\nmore", kTime));
    REQUIRE(writer->replay(reader->position(), replay));
    CHECK(live == "E:problem\npart of a liE:more");
    // Over rotations that happened between the two.
    std::string lines;
    REQUIRE(writer->append(StreamId::kStdout, "\n", kTime));
    for (int i = 0; i < 100; ++i) lines += std::to_string(i) + "\n";
    REQUIRE(writer->flush());
    (void)read_all(*reader);
    REQUIRE(writer->append(StreamId::kStdout, lines, kTime));
    live.clear();
    REQUIRE(writer->replay(reader->position(), replay));
    CHECK(live == lines + "E:more");
  });
}

TEST_CASE("details of driver local come from the configuration") {
  TempDir dir;
  auto config = config_in(dir, "local");
  config.attrs = {{"env", "a b"}, {"k,=", "\xc3\xbc"}};
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStdout, "x\n", kTime));
  REQUIRE(writer->flush());
  ReadOptions options;
  options.details = true;
  auto reader = *LogReader::open(config, options);
  LogEntry entry;
  REQUIRE(*reader->next(entry));
  CHECK(entry.details == "env=a+b,k%2C%3D=%C3%BC");
}

TEST_CASE("an entry younger than until ends the reading for good") {
  for_both([](const char* driver) {
    TempDir dir;
    auto config = config_in(dir, driver);
    auto writer = *LogWriter::open(config);
    REQUIRE(writer->append(StreamId::kStdout, "1\n", kTime));
    REQUIRE(writer->flush());
    ReadOptions options;
    options.until_ns = kTime + 10;
    auto reader = *LogReader::open(config, options);
    CHECK(read_all(*reader) == "1\n");
    CHECK_FALSE(reader->ended());
    REQUIRE(writer->append(StreamId::kStdout, "2\n", kTime + 11));
    REQUIRE(writer->append(StreamId::kStdout, "3\n", kTime));
    REQUIRE(writer->flush());
    CHECK(read_all(*reader).empty());
    CHECK(reader->ended());
  });
}
