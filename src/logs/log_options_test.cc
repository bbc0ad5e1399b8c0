// SPDX-License-Identifier: Apache-2.0
#include "logs/log_options.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::logs;

namespace {

const std::map<std::string, std::string> kLabels = {{"com.x.team", "blue"}, {"com.x.tier", "web"}, {"other", "1"}};
const std::vector<std::string> kEnv = {"PATH=/bin", "STAGE=prod", "STAGE2=a=b", "EMPTY"};

LogSubject subject() {
  LogSubject out;
  out.id = std::string(10, '1') + std::string(54, '2');
  out.name = "web";
  out.image_id = "sha256:abcdef0123456789";
  out.image_name = "nginx:latest";
  out.labels = &kLabels;
  out.env = &kEnv;
  return out;
}

Result<LogConfig> made(const std::string& driver, const Options& options = {}) {
  return make_config(driver, options, subject());
}
std::string refused(const std::string& driver, const Options& options = {}) {
  auto config = made(driver, options);
  return config ? "(taken)" : config.error().message;
}

}  // namespace

TEST_CASE("log options: defaults of each driver") {
  auto local = *made("local");
  CHECK(local.max_size == 20 << 20);
  CHECK(local.max_files == 5);
  CHECK(local.compress);
  CHECK(local.attrs.empty());
  auto json = *made("json-file");
  CHECK(json.max_size == -1);
  CHECK(json.max_files == 1);
  CHECK_FALSE(json.compress);
  auto syslog = *made("syslog");
  CHECK(syslog.cache);
  CHECK(syslog.max_size == 20 << 20);
  CHECK(syslog.tag == "111111111122");
  CHECK(syslog.facility == 3);
  CHECK(syslog.address.empty());
  CHECK(made("journald")->address == "/run/systemd/journal/socket");
  CHECK_FALSE(made("none")->has_files());
  CHECK_FALSE(made("journald", {{"cache-disabled", "true"}})->has_files());
}

TEST_CASE("log options: values") {
  auto json = *made("json-file", {{"max-size", "10k"}, {"max-file", "3"}, {"compress", "true"}});
  CHECK(json.max_size == 10000);
  CHECK(json.max_files == 3);
  CHECK(json.compress);
  CHECK_FALSE(made("local", {{"max-file", "1"}})->compress);  // its default only
  auto slow = *made("local", {{"mode", "non-blocking"}, {"max-buffer-size", "4m"}});
  CHECK(slow.non_blocking);
  CHECK(slow.max_buffer == 4 << 20);
  auto cached = *made("syslog", {{"cache-max-size", "1m"}, {"cache-max-file", "2"}, {"cache-compress", "false"}});
  CHECK(cached.max_size == 1000000);
  CHECK(cached.max_files == 2);
  CHECK_FALSE(cached.compress);
  auto sys = *made(
      "syslog", {{"syslog-address", "udp://[::1]"}, {"syslog-facility", "local7"}, {"syslog-format", "rfc5424micro"}});
  CHECK(sys.address == "udp://[::1]:514");
  CHECK(sys.facility == 23);
  CHECK(sys.format == SyslogFormat::kRfc5424Micro);
  CHECK(made("syslog", {{"syslog-address", "tcp://log.example:6514"}})->address == "tcp://log.example:6514");
  CHECK(made("syslog", {{"syslog-facility", "16"}})->facility == 16);
}

TEST_CASE("log options: refused with Docker's words") {
  CHECK(refused("local", {{"max-files", "1"}}) == "unknown log opt 'max-files' for log driver local");
  CHECK(refused("json-file", {{"syslog-tag", "1"}}) == "unknown log opt 'syslog-tag' for json-file log driver");
  CHECK(refused("journald", {{"max-size", "1m"}}) == "unknown log opt 'max-size' for journald log driver");
  CHECK(refused("json-file", {{"max-size", "0"}}) == "max-size must be a positive number");
  CHECK(refused("json-file", {{"max-file", "0"}}) == "max-file cannot be less than 1");
  CHECK(refused("json-file", {{"compress", "true"}}) ==
        "compress cannot be true when max-file is less than 2 or max-size is not set");
  CHECK(refused("local", {{"compress", "true"}, {"max-file", "1"}}) ==
        "compression cannot be enabled when max file count is 1");
  CHECK(refused("local", {{"mode", "lazy"}}) == "logger: logging mode not supported: lazy");
  CHECK(refused("local", {{"max-buffer-size", "1m"}}) ==
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  CHECK(refused("syslog", {{"syslog-facility", "local8"}}) == "invalid syslog facility");
  CHECK(refused("syslog", {{"syslog-format", "rfc1"}}) == "Invalid syslog format");
  CHECK(refused("syslog", {{"syslog-address", "1.2.3.4"}}) ==
        "syslog-address should be in form proto://address, got 1.2.3.4");
  CHECK(refused("syslog", {{"syslog-address", "http://x"}}) == "unsupported scheme: 'http'");
  CHECK(refused("nosuch") == "logger: no log driver named 'nosuch' is registered");
  for (auto [key, value] : {std::pair{"max-size", "10x"},
                            {"max-size", "-1m"},
                            {"max-size", ""},
                            {"max-file", "x"},
                            {"max-file", "1001"},
                            {"compress", "yes"},
                            {"labels-regex", "("},
                            {"env-regex", "[z-a]"},
                            {"tag", "{{.Nothing}}"},
                            {"tag", "{{.ID"}}) {
    CAPTURE(key);
    CAPTURE(value);
    auto config = made("json-file", {{key, value}});
    REQUIRE_FALSE(config);
    CHECK(config.error().kind == ErrorKind::kInvalid);
  }
}

TEST_CASE("log options: what Docker has and we have not is said") {
  for (const char* driver : {"fluentd", "gelf", "awslogs", "splunk", "gcplogs", "etwlogs", "logentries"}) {
    auto config = made(driver);
    REQUIRE_FALSE(config);
    CHECK(config.error().kind == ErrorKind::kUnsupported);
    CHECK(config.error().message ==
          std::string("logging driver '") + driver +
              "' is not supported by this release: use local, json-file, journald, syslog or none");
  }
  CHECK(made("syslog", {{"syslog-address", "tcp+tls://h:1"}}).error().kind == ErrorKind::kUnsupported);
  CHECK(made("syslog", {{"syslog-tls-skip-verify", "1"}}).error().kind == ErrorKind::kUnsupported);
}

TEST_CASE("log options: labels and environment become attributes") {
  auto config = *made("json-file", {{"labels", "other,missing"},
                                    {"labels-regex", "^com\\.x\\."},
                                    {"env", "STAGE2,EMPTY"},
                                    {"env-regex", "^STAGE$"},
                                    {"tag", "{{.Name}}/{{ .ImageName }}"}});
  Attributes expected = {{"STAGE", "prod"},     {"STAGE2", "a=b"}, {"com.x.team", "blue"},
                         {"com.x.tier", "web"}, {"other", "1"},    {"tag", "web/nginx:latest"}};
  CHECK(config.attrs == expected);
  CHECK(made("journald", {{"tag", "x"}})->attrs.empty());
}

TEST_CASE("log options: tags") {
  CHECK(*expand_tag("{{.FullID}}", subject()) == subject().id);
  CHECK(*expand_tag("a{{.ImageID}}b{{.DaemonName}}", subject()) == "asha256:abcdebdocker");
  CHECK(*expand_tag("plain } {", subject()) == "plain } {");
}

TEST_CASE("log options: sizes") {
  for (auto [text, decimal, binary] : {std::tuple{"10", 10, 10},
                                       {"5b", 5, 5},
                                       {"1k", 1000, 1024},
                                       {"2KB", 2000, 2048},
                                       {"3kib", 3000, 3072},
                                       {"1.5m", 1500000, 1572864},
                                       {"20 M", 20000000, 20971520}}) {
    CAPTURE(text);
    CHECK(*parse_log_size(text, 1000) == decimal);
    CHECK(*parse_log_size(text, 1024) == binary);
  }
  for (const char* bad : {"", "k", "1kk", "1.", ".5", "1..2", "99999999999g", "1e3", "0x10"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_log_size(bad, 1000));
  }
}

TEST_CASE("log configuration: survives the way to the monitor") {
  auto config = *made("syslog", {{"labels", "other"}, {"syslog-address", "udp://1.2.3.4:5"}, {"mode", "non-blocking"}});
  config.path = "/some/path";
  std::string text = encode_config(config);
  auto back = decode_config(text);
  REQUIRE(back);
  CHECK(encode_config(*back) == text);
  CHECK(back->path == "/some/path");
  CHECK(back->attrs == config.attrs);
  CHECK(back->non_blocking);
  for (size_t cut = 0; cut < text.size(); ++cut) CHECK_FALSE(decode_config(std::string_view(text).substr(0, cut)));
  CHECK_FALSE(decode_config(text + "x"));
}
