// SPDX-License-Identifier: Apache-2.0
#include "logs/container_log.h"

#include "logs/log_line.h"
#include "logs/log_test_helpers.h"

using namespace caisson;
using namespace caisson::logs;
using namespace caisson::logs::test;

namespace {

LogConfig config_in(const TempDir& dir, int64_t max_size = -1, int max_files = 1) {
  return {"json-file", dir.path + "/c-json.log", max_size, max_files};
}

std::string encoded(std::string_view text) {
  std::string out(encoded_bound(text.size()), '\0');
  out.resize(static_cast<size_t>(encode_line(out.data(), StreamId::kStdout, text, false, "T") - out.data()));
  const std::string prefix = "{\"log\":\"", suffix = "\",\"stream\":\"stdout\",\"time\":\"T\"}\n";
  REQUIRE(out.starts_with(prefix));
  REQUIRE(out.ends_with(suffix));
  return out.substr(prefix.size(), out.size() - prefix.size() - suffix.size());
}

std::string contents(const std::string& path) { return sys::read_file(path, 1 << 30).value_or("(none)"); }

}  // namespace

TEST_CASE("lines are written exactly as docker writes them") {
  TempDir dir;
  auto writer = *LogWriter::open(config_in(dir));
  REQUIRE(writer->append(StreamId::kStdout, "hel", kTime));
  REQUIRE(writer->append(StreamId::kStderr, "oops\n", kTime + 1));
  REQUIRE(writer->append(StreamId::kStdout, "lo\n\nlast", kTime + 2));
  REQUIRE(writer->flush());
  std::string three =
      "{\"log\":\"oops\\n\",\"stream\":\"stderr\",\"time\":\"2024-05-01T10:20:30.120000001Z\"}\n"
      "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2024-05-01T10:20:30.12Z\"}\n"
      "{\"log\":\"\\n\",\"stream\":\"stdout\",\"time\":\"2024-05-01T10:20:30.120000002Z\"}\n";
  CHECK(contents(dir.path + "/c-json.log") == three);
  REQUIRE(writer->finish());
  CHECK(contents(dir.path + "/c-json.log") ==
        three + "{\"log\":\"last\",\"stream\":\"stdout\",\"time\":\"2024-05-01T10:20:30.120000002Z\"}\n");
}

TEST_CASE("escaping follows go's encoder") {
  CHECK(encoded("a\tb\r\n\"\\/") == "a\\u0009b\\r\\n\\\"\\\\/");
  CHECK(encoded("<a href='x'>&\x1b\x7f") == "\\u003ca href='x'\\u003e\\u0026\\u001b\x7f");
  CHECK(encoded("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80") == "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
  CHECK(encoded("\xff\xc3(") == "\\ufffd\\ufffd(");
  CHECK(encoded("\xed\xa0\x80") == "\\ufffd\\ufffd\\ufffd");  // a surrogate
  CHECK(encoded("\xc0\x80\xf5") == "\\ufffd\\ufffd\\ufffd");  // overlong, out of range
  CHECK(encoded("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa") == "\\u2028\\u2029\xe2\x80\xaa");
  CHECK(encoded("\xe2\x80") == "\\ufffd\\ufffd");  // cut at the end
}

TEST_CASE("long lines are stored in parts of 16 KiB with the time of the first") {
  TempDir dir;
  auto writer = *LogWriter::open(config_in(dir));
  std::string longest(40000, 'x');
  for (size_t at = 0; at < longest.size(); at += 1000)
    REQUIRE(writer->append(StreamId::kStdout, std::string_view(longest).substr(at, 1000),
                           kTime + static_cast<int64_t>(at)));
  REQUIRE(writer->append(StreamId::kStdout, "\nnext\n", kTime + 99));
  REQUIRE(writer->flush());
  auto reader = *LogReader::open(config_in(dir), {});
  LogEntry entry;
  for (size_t size : {16384, 16384, 40000 - 2 * 16384 + 1}) {
    REQUIRE(*reader->next(entry));
    CHECK(entry.text.size() == size);
    CHECK(entry.time_ns == kTime);
  }
  CHECK(entry.text.ends_with("x\n"));
  REQUIRE(*reader->next(entry));
  CHECK(entry.text == "next\n");
  CHECK(entry.time_ns == kTime + 99);
}

TEST_CASE("a line of exactly 16 KiB leaves its newline as an entry of its own") {
  TempDir dir;
  auto writer = *LogWriter::open(config_in(dir));
  REQUIRE(writer->append(StreamId::kStdout, std::string(16384, 'y') + "\n", kTime));
  REQUIRE(writer->finish());
  auto reader = *LogReader::open(config_in(dir), {});
  LogEntry entry;
  REQUIRE(*reader->next(entry));
  CHECK(entry.text.size() == 16384);
  REQUIRE(*reader->next(entry));
  CHECK(entry.text == "\n");
  CHECK_FALSE(*reader->next(entry));
}

TEST_CASE("worst case escapes fit the buffer") {
  TempDir dir;
  auto writer = *LogWriter::open(config_in(dir));
  std::string bad(200000, '\x01');
  REQUIRE(writer->append(StreamId::kStderr, bad, kTime));
  REQUIRE(writer->finish());
  CHECK(read_all(**LogReader::open(config_in(dir), {})) == bad);
}

TEST_CASE("rotation keeps max_files files and starts a new one at the limit") {
  TempDir dir;
  auto config = config_in(dir, 1000, 3);
  auto writer = *LogWriter::open(config);
  std::string all;
  for (int i = 0; i < 100; ++i) {
    std::string line = "line " + std::to_string(i) + "\n";
    all += line;
    REQUIRE(writer->append(StreamId::kStdout, line, kTime));
  }
  REQUIRE(writer->flush());
  CHECK(sys::path_exists(config.path + ".2"));
  CHECK_FALSE(sys::path_exists(config.path + ".3"));
  CHECK(contents(config.path + ".1").size() >= 1000);
  CHECK(contents(config.path + ".1").size() < 1100);
  std::string kept = read_all(**LogReader::open(config, {}));
  CHECK(kept.size() > 200);
  CHECK(all.ends_with(kept));
  for (int tail : {0, 1, 2, 13, 14, 15, 30})
    CHECK(tail_of(config, tail) == [&] {
      size_t at = all.size();
      for (int i = 0; i < tail; ++i) at = all.rfind('\n', at - 2) + 1;
      return all.substr(at);
    }());
  CHECK(tail_of(config, 1000) == kept);
  REQUIRE(remove_logs(config));
  CHECK(sys::list_dir(dir.path)->empty());
}

TEST_CASE("one file only: the old one is dropped") {
  TempDir dir;
  auto config = config_in(dir, 500, 1);
  auto writer = *LogWriter::open(config);
  for (int i = 0; i < 50; ++i) REQUIRE(writer->append(StreamId::kStdout, "0123456789\n", kTime));
  REQUIRE(writer->flush());
  CHECK(sys::list_dir(dir.path)->size() == 1);
  CHECK(contents(config.path).size() < 600);
}

TEST_CASE("tail looks at the end only and counts entries, not text") {
  TempDir dir;
  auto config = config_in(dir);
  auto writer = *LogWriter::open(config);
  CHECK(tail_of(config, 5).empty());
  for (int i = 0; i < 20000; ++i) REQUIRE(writer->append(StreamId::kStdout, std::to_string(i) + "\n", kTime));
  REQUIRE(writer->append(StreamId::kStdout, "end", kTime));
  REQUIRE(writer->finish());
  CHECK(tail_of(config, 0).empty());
  CHECK(tail_of(config, 1) == "end");
  CHECK(tail_of(config, 3) == "19998\n19999\nend");
  CHECK(tail_of(config, 20001).starts_with("0\n1\n"));
}

TEST_CASE("since, until and streams filter") {
  TempDir dir;
  auto config = config_in(dir);
  auto writer = *LogWriter::open(config);
  for (int i = 0; i < 10; ++i)
    REQUIRE(writer->append(i % 2 ? StreamId::kStderr : StreamId::kStdout, std::to_string(i) + "\n", kTime + i));
  REQUIRE(writer->flush());
  ReadOptions options;
  options.since_ns = kTime + 3;
  options.until_ns = kTime + 7;
  CHECK(read_all(**LogReader::open(config, options)) == "3\n4\n5\n6\n7\n");
  options.want_stderr = false;
  CHECK(read_all(**LogReader::open(config, options)) == "4\n6\n");
}

TEST_CASE("following goes on over appends, half lines and rotations") {
  TempDir dir;
  auto config = config_in(dir, 400, 5);
  ReadOptions options;
  auto reader = *LogReader::open(config, options);  // before the file is there
  LogEntry entry;
  CHECK_FALSE(*reader->next(entry));
  auto writer = *LogWriter::open(config);
  std::string expected, seen;
  for (int i = 0; i < 300; ++i) {
    std::string line = "entry " + std::to_string(i) + "\n";
    expected += line;
    REQUIRE(writer->append(StreamId::kStdout, line, kTime));
    if (i % 7 == 0) {
      REQUIRE(writer->flush());
      seen += read_all(*reader);
    }
  }
  REQUIRE(writer->finish());
  seen += read_all(*reader);
  CHECK(seen == expected);
}

TEST_CASE("a half-written line is given when its rest has come") {
  TempDir dir;
  auto config = config_in(dir);
  std::string line = "{\"log\":\"abc\\n\",\"stream\":\"stdout\",\"time\":\"2024-05-01T10:20:30Z\"}\n";
  REQUIRE(sys::write_file(config.path, line.substr(0, 20)));
  auto reader = *LogReader::open(config, {});
  LogEntry entry;
  CHECK_FALSE(*reader->next(entry));
  REQUIRE(sys::write_file(config.path, line));
  REQUIRE(*reader->next(entry));
  CHECK(entry.text == "abc\n");
}

TEST_CASE("a reader left behind by rotations continues with the oldest file") {
  TempDir dir;
  auto config = config_in(dir, 200, 2);
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStdout, "first\n", kTime));
  REQUIRE(writer->flush());
  auto reader = *LogReader::open(config, {});
  CHECK(read_all(*reader) == "first\n");
  for (int i = 0; i < 40; ++i) REQUIRE(writer->append(StreamId::kStdout, std::to_string(i) + "\n", kTime));
  REQUIRE(writer->flush());
  std::string rest = read_all(*reader);
  std::string kept = read_all(**LogReader::open(config, {}));
  CHECK(kept.ends_with("38\n39\n"));
  CHECK(rest == "0\n1\n2\n" + kept);  // the rest of its own file, then what is left
}

TEST_CASE("broken lines are skipped, a torn end is closed by the next writer") {
  TempDir dir;
  auto config = config_in(dir);
  REQUIRE(sys::write_file(config.path,
                          "garbage\n{\"log\":\"a\\n\"}\n{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"never\"}\n"
                          "{\"time\":\"2024-05-01T10:20:30Z\",\"attrs\":{\"k\":[1,\"}\",{}],\"n\":1.5},\"stream\":"
                          "\"stderr\",\"log\":\"\\ud83d\\ude00\\ud800\"}\n"
                          "{\"log\":\"torn"));
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStdout, "after\n", kTime));
  REQUIRE(writer->flush());
  CHECK(read_all(**LogReader::open(config, {})) ==
        "\xf0\x9f\x98\x80\xef\xbf\xbd"
        "after\n");
}

TEST_CASE("lines beyond the limit are skipped, not kept in memory") {
  TempDir dir;
  auto config = config_in(dir);
  std::string good = "{\"log\":\"g\\n\",\"stream\":\"stdout\",\"time\":\"2024-05-01T10:20:30Z\"}\n";
  REQUIRE(sys::write_file(config.path, good + std::string(5 << 20, 'z') + "\n" + good));
  CHECK(read_all(**LogReader::open(config, {})) == "g\ng\n");
}

TEST_CASE("a log emptied in place is read from its new beginning") {
  TempDir dir;
  auto config = config_in(dir);
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStdout, "one\ntwo\n", kTime));
  REQUIRE(writer->flush());
  auto reader = *LogReader::open(config, {});
  CHECK(read_all(*reader) == "one\ntwo\n");
  REQUIRE(truncate(config.path.c_str(), 0) == 0);
  REQUIRE(writer->append(StreamId::kStdout, "three\n", kTime));
  REQUIRE(writer->flush());
  CHECK(read_all(*reader) == "three\n");
}

TEST_CASE("attributes stand in each line, and in the details") {
  TempDir dir;
  auto config = config_in(dir);
  config.attrs = {{"STAGE", "a \"b\""}, {"tag", "x/y"}};
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStdout, "hi\n", kTime));
  REQUIRE(writer->flush());
  CHECK(contents(config.path) ==
        "{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"attrs\":{\"STAGE\":\"a \\\"b\\\"\",\"tag\":\"x/y\"},"
        "\"time\":\"2024-05-01T10:20:30.12Z\"}\n");
  ReadOptions options;
  options.details = true;
  LogEntry entry;
  config.attrs.clear();
  auto reader = *LogReader::open(config, options);
  REQUIRE(*reader->next(entry));
  CHECK(entry.details == "STAGE=a+%22b%22,tag=x%2Fy");
  CHECK(entry.text == "hi\n");
  CHECK(decode_line(
      "{\"attrs\":{\"n\":{\"x\":1},\"b\":\"1\",\"a\":\"2\"},\"stream\":\"stdout\",\"time\":\"2024-05-01T10:20:30Z\"}",
      entry, true));
  CHECK(entry.details == "a=2,b=1");
}

TEST_CASE("drivers") {
  TempDir dir;
  LogConfig config{"none", dir.path + "/x"};
  auto writer = *LogWriter::open(config);
  REQUIRE(writer->append(StreamId::kStdout, "gone\n", kTime));
  REQUIRE(writer->finish());
  CHECK_FALSE(sys::path_exists(config.path));
  auto reader = LogReader::open(config, {});
  REQUIRE_FALSE(reader);
  CHECK(reader.error().message == "configured logging driver does not support reading");
  config.driver = "fluentd";
  auto unknown = LogWriter::open(config);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().kind == ErrorKind::kUnsupported);
}
