// SPDX-License-Identifier: Apache-2.0
// Texts of -p, -v, --mount, --network, --ulimit; frames; progress; hosts; detach keys.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/container_checks.h"
#include "cli/container_rows.h"
#include "cli/detach_keys.h"
#include "cli/host.h"
#include "cli/mount_spec.h"
#include "cli/network_spec.h"
#include "cli/progress.h"
#include "cli/ssh_transport.h"
#include "cli/stdcopy.h"
#include "sys/files.h"

using namespace caisson;
using namespace caisson::cli;

static std::string publish(const char* text) {
  auto bindings = parse_publish(text);
  if (!bindings) return "error: " + bindings.error().message;
  std::string out;
  for (const PortBinding& binding : *bindings)
    out += (out.empty() ? "" : " ") + binding.host_ip + "|" + binding.host_port + "|" + binding.container_port;
  return out;
}

TEST_CASE("publish: every form") {
  CHECK(publish("80") == "||80/tcp");
  CHECK(publish("8080:80") == "|8080|80/tcp");
  CHECK(publish("127.0.0.1:8080:80/udp") == "127.0.0.1|8080|80/udp");
  CHECK(publish("127.0.0.1::80") == "127.0.0.1||80/tcp");
  CHECK(publish("[::1]:8080:80") == "::1|8080|80/tcp");
  CHECK(publish("8000-8001:80-81") == "|8000|80/tcp |8001|81/tcp");
  CHECK(publish("8000-8010:80") == "|8000-8010|80/tcp");
  CHECK(publish("80-81") == "||80/tcp ||81/tcp");
  CHECK(publish("published=8080,target=80,protocol=udp") == "|8080|80/udp");
  CHECK(publish("abc") == "error: invalid containerPort: abc");
  CHECK(publish("99999999:80") == "error: invalid hostPort: 99999999");
  CHECK(publish("8000-8002:80-81") ==
        "error: invalid ranges specified for container and host Ports: 80-81 and 8000-8002");
  CHECK(publish("80/foo") == "error: invalid proto: foo");
  CHECK(publish("1.2.3:80:80") == "error: invalid IP address: 1.2.3");
  CHECK(publish("80:") == "error: no port specified: 80:<empty>");
  CHECK(*parse_expose("80-81/udp") == std::vector<std::string>{"80/udp", "81/udp"});
  CHECK(parse_expose("abc").error().message ==
        "invalid range format for --expose: abc, error: strconv.ParseUint: parsing \"abc\": invalid syntax");
}

TEST_CASE("volume: binds and anonymous volumes") {
  CHECK(parse_volume("/a:/b:ro", "/w")->bind == "/a:/b:ro");
  CHECK(parse_volume("name:/b", "/w")->bind == "name:/b");
  CHECK(parse_volume("./x/../y:/b", "/w")->bind == "/w/y:/b");
  CHECK(parse_volume(".:/b", "/w")->bind == "/w:/b");
  CHECK(parse_volume("/only", "/w")->anonymous == "/only");
  CHECK(!parse_volume("", "/w"));
  CHECK(parse_volume(":/b", "/w")->bind == ":/b");
}

static std::string mount(const char* text) {
  auto parsed = parse_mount(text);
  return parsed ? parsed->dump() : "error: " + parsed.error().message;
}

TEST_CASE("mount: options and errors") {
  CHECK(mount("type=bind,source=/a,target=/b,readonly") ==
        R"({"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true})");
  CHECK(mount("src=v,dst=/b") == R"({"Type":"volume","Source":"v","Target":"/b"})");
  CHECK(mount("type=tmpfs,dst=/b,tmpfs-size=10m,tmpfs-mode=1770") ==
        R"({"Type":"tmpfs","Target":"/b","TmpfsOptions":{"SizeBytes":10485760,"Mode":1016}})");
  CHECK(mount("type=bind,src=/a,dst=/b,bind-propagation=rslave") ==
        R"({"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"Propagation":"rslave"}})");
  CHECK(mount("dst=/b,volume-driver=local,volume-opt=type=nfs,volume-label=a=b")
            .find(R"("DriverConfig":{"Name":"local","Options":{"type":"nfs"}})") != std::string::npos);
  CHECK(mount("type=bind,\"src=/a,b\",dst=/c") == R"({"Type":"bind","Source":"/a,b","Target":"/c"})");
  CHECK(mount("a=b") == "error: unexpected key 'a' in 'a=b'");
  CHECK(mount("x") == "error: invalid field 'x' must be a key=value pair");
  CHECK(mount("type=bind,src=/a") == "error: target is required");
  CHECK(mount("type=tmpfs,target=/x,tmpfs-size=abc") == "error: invalid value for tmpfs-size: abc");
  CHECK(mount("src=a,dst=/b,bind-propagation=rslave") == "error: cannot mix 'bind-*' options with mount type 'volume'");
  CHECK(mount("type=bind,src=/a,dst=/b,ro=maybe") == "error: invalid value for ro: maybe");
}

TEST_CASE("network and ulimit texts") {
  CHECK(parse_network("mynet")->target == "mynet");
  CHECK(parse_network("container:abc")->target == "container:abc");
  auto advanced = parse_network("name=n,alias=a,alias=b,ip=10.0.0.2,driver-opt=k=v");
  CHECK(advanced->target == "n");
  CHECK(advanced->endpoint.dump() ==
        R"({"Aliases":["a","b"],"IPAMConfig":{"IPv4Address":"10.0.0.2"},"DriverOpts":{"k":"v"}})");
  CHECK(parse_network("name=n,foo=x").error().message == "invalid field key foo");
  CHECK(parse_ulimit("nofile=100:200")->dump() == R"({"Name":"nofile","Hard":200,"Soft":100})");
  CHECK(parse_ulimit("core=-1")->dump() == R"({"Name":"core","Hard":-1,"Soft":-1})");
  CHECK(parse_ulimit("a").error().message == "invalid ulimit argument: a");
  CHECK(parse_ulimit("nofile=3:2").error().message ==
        "ulimit soft limit must be less than or equal to hard limit: 3 > 2");
  CHECK(!check_add_host("a"));
  CHECK(check_add_host("a:1.2.3.4"));
  CHECK(check_add_host("a=[::1]"));
  CHECK(check_add_host("a:host-gateway"));
  CHECK(!check_add_host("a:foo"));
}

TEST_CASE("frames: cut anywhere") {
  std::string wire = std::string("\x01\0\0\0\0\0\0\x05hello", 13) +
                     std::string(
                         "\x02\0\0\0\0\0\0\x03"
                         "err",
                         11) +
                     std::string("\x01\0\0\0\0\0\0\0", 8) + std::string("\x01\0\0\0\0\0\0\x01!", 9);
  for (size_t step = 1; step <= wire.size(); ++step) {
    std::string out, err;
    FrameReader reader([&](int stream, std::string_view data) { (stream == 2 ? err : out) += data; });
    for (size_t at = 0; at < wire.size(); at += step) REQUIRE(reader.feed(std::string_view(wire).substr(at, step)));
    CHECK(out == "hello!");
    CHECK(err == "err");
  }
  FrameReader bad([](int, std::string_view) {});
  CHECK(bad.feed(std::string("\x07\0\0\0\0\0\0\x01x", 9)).error().kind == ErrorKind::kCorrupt);
  FrameReader engine_error([](int, std::string_view) {});
  CHECK(engine_error.feed(std::string("\x03\0\0\0\0\0\0\x04oops", 12)).error().message ==
        "error from daemon in stream: oops");
}

static std::string progress(std::initializer_list<const char*> messages, size_t columns) {
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  UniqueFd in(ends[0]), out(ends[1]);
  std::string errors;
  {
    Output output(out.get());
    ProgressDisplay display(output, columns);
    for (const char* message : messages)
      if (auto shown = display.show(*JsonValue::parse(message)); !shown) errors += "error: " + shown.error().message;
  }
  out.reset();
  return *sys::read_fd(in.get()) + errors;
}

TEST_CASE("progress: plain lines and redrawn lines") {
  std::initializer_list<const char*> messages = {
      R"({"status":"Pulling from x","id":"latest"})", R"({"status":"Pulling fs layer","progressDetail":{},"id":"aa"})",
      R"({"status":"Downloading","progressDetail":{"current":50,"total":100},"id":"aa"})",
      R"({"status":"Pull complete","progressDetail":{},"id":"aa"})", R"({"status":"Digest: d"})"};
  CHECK(progress(messages, 0) == "latest: Pulling from x\naa: Pulling fs layer\naa: Pull complete\nDigest: d\n");
  CHECK(progress(messages, 80) ==
        "latest: Pulling from x\n"
        "\n\x1b[1A\x1b[2K\raa: Pulling fs layer \r\x1b[1B"
        "\x1b[1A\x1b[2K\raa: Downloading      50B/100B\r\x1b[1B"
        "\x1b[1A\x1b[2K\raa: Pull complete \r\x1b[1B"
        "Digest: d\n");
  CHECK(progress({R"({"errorDetail":{"message":"boom"},"error":"boom"})"}, 0) == "error: boom");
  CHECK(progress_bar(*JsonValue::parse(R"({"current":50,"total":100})"), 120) ==
        "[" + std::string(25, '=') + ">" + std::string(25, ' ') + "]      50B/100B");
}

TEST_CASE("progress: messages cut anywhere") {
  std::string text = "{\"a\":\"}{\\\"\"}\r\n{\"b\":[1,{}]}";
  for (size_t step = 1; step <= text.size(); ++step) {
    JsonSplitter splitter;
    std::vector<std::string> seen;
    for (size_t at = 0; at < text.size(); at += step)
      REQUIRE(splitter.feed(std::string_view(text).substr(at, step), [&](std::string_view one) -> Result<> {
        seen.emplace_back(one);
        return {};
      }));
    CHECK(splitter.finish());
    CHECK(seen == std::vector<std::string>{"{\"a\":\"}{\\\"\"}", "{\"b\":[1,{}]}"});
  }
}

TEST_CASE("hosts") {
  CHECK(parse_host("unix:///a/b")->path == "/a/b");
  CHECK(parse_host("tcp://h:1234/x")->port == 1234);
  CHECK(parse_host("tcp://h")->port == 2375);
  CHECK(parse_host("tcp://[::1]:99")->name == "::1");
  CHECK(!parse_host("foo://x"));
  CHECK(!parse_host("tcp://h:99999"));
  auto ssh = parse_host("ssh://me@[::1]:2222/run/a.sock");
  REQUIRE(ssh);
  CHECK(ssh->kind == Host::Kind::kSsh);
  CHECK(ssh_arguments(*ssh) ==
        std::vector<std::string>{"ssh", "-o", "ConnectTimeout=30", "-T", "-l", "me", "-p", "2222", "--", "::1",
                                 "sh -c 'if command -v caisson >/dev/null; then exec caisson --host unix:///run/a.sock "
                                 "system dial-stdio; else exec docker --host unix:///run/a.sock system dial-stdio; "
                                 "fi'"});
  CHECK(ssh_arguments(*parse_host("ssh://-oProxyCommand=x/")).size() == 7);
  for (const char* text : {"ssh://", "ssh://a:b@h", "ssh://h:0", "ssh://h:x", "ssh://h?a", "ssh://h#a", "ssh://h/'"})
    CHECK_MESSAGE(!parse_host(text), text);
  GlobalOptions options;
  CHECK(choose_host(options, {"HOME=/nonexistent"}));
  CHECK(options.host_text == kDefaultHost);
  CHECK(options.autostart);
  GlobalOptions from_env;
  CHECK(choose_host(from_env, {"HOME=/nonexistent", "DOCKER_HOST=tcp://d:1", "CAISSON_HOST=unix:///c"}));
  CHECK(from_env.host_text == "unix:///c");
  CHECK(!from_env.autostart);
  GlobalOptions both{.hosts = {"unix:///a", "unix:///b"}, .context = "", .config_dir = "", .host_text = ""};
  CHECK(choose_host(both, {"HOME=/nonexistent", "CAISSON_HOST=unix:///c"}));
  CHECK(both.host_text == "unix:///b");
}

TEST_CASE("detach keys") {
  CHECK(*parse_detach_keys("") == "\x10\x11");
  CHECK(*parse_detach_keys("ctrl-a,b") ==
        "\x01"
        "b");
  CHECK(!parse_detach_keys("foo"));
  DetachDetector detector("\x10\x11");
  CHECK(!detector.feed("abc\x10"));
  CHECK(detector.feed("\x11"));
  DetachDetector again("\x10\x11");
  CHECK(!again.feed("\x10x\x11"));
  CHECK(again.feed("\x10\x10\x11"));
}

TEST_CASE("ports of a container") {
  auto text = [](const char* json) { return ports_text(*JsonValue::parse(json)); };
  CHECK(
      text(
          R"([{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"}])") ==
      "443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
  CHECK(
      text(
          R"([{"IP":"127.0.0.1","PrivatePort":7000,"PublicPort":7000,"Type":"tcp"},{"IP":"127.0.0.1","PrivatePort":7001,"PublicPort":7001,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}])") ==
      "53/udp, 127.0.0.1:7000-7001->7000-7001/tcp");
  CHECK(text("[]") == "");
}
