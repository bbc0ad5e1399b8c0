// SPDX-License-Identifier: Apache-2.0
#include "cli/flags.h"

#include <doctest/doctest.h>

#include "base/text.h"
#include "cli/command.h"
#include "cli/container_flags.h"

using namespace caisson;
using namespace caisson::cli;

namespace {

constexpr FlagSpec kFlags[] = {
    {.name = "interactive", .shorthand = 'i', .usage = "Keep STDIN open"},
    {.name = "tty", .shorthand = 't', .usage = "Allocate a pseudo-TTY"},
    {.name = "detach", .shorthand = 'd', .usage = "Background"},
    {.name = "env",
     .shorthand = 'e',
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Set environment variables"},
    {.name = "memory", .shorthand = 'm', .kind = FlagKind::kBytes, .type_name = "bytes", .usage = "Memory limit"},
    {.name = "timeout", .kind = FlagKind::kInt, .type_name = "int", .usage = "Seconds"},
    {.name = "time", .kind = FlagKind::kInt, .hidden = true, .alias_of = "timeout"},
    {.name = "sig-proxy", .usage = "Proxy", .initial = "true"},
    {.name = "name", .kind = FlagKind::kString, .type_name = "string", .usage = "Name"},
};

Result<ParsedLine> parse(const char* line, bool interspersed = false) {
  const std::span<const FlagSpec> tables[] = {kFlags};
  std::vector<std::string> args;
  if (*line) args = split(line, ' ');
  return parse_flags(tables, args, interspersed);
}

std::string error_of(const char* line) {
  auto parsed = parse(line);
  return parsed ? "" : parsed.error().message;
}

}  // namespace

TEST_CASE("flags: clusters, values and booleans") {
  auto line = parse("-it --sig-proxy=false -e A=1 --env B=2 -eC=3 -e=D=4 -m512m --name=x img sh -c -d");
  REQUIRE(line.has_value());
  CHECK(line->flags.on("interactive"));
  CHECK(line->flags.on("tty"));
  CHECK(!line->flags.on("detach"));
  CHECK(!line->flags.on("sig-proxy"));
  CHECK(line->flags.list("env") == std::vector<std::string>{"A=1", "B=2", "C=3", "D=4"});
  CHECK(line->flags.text("memory") == "512m");
  CHECK(line->flags.text("name") == "x");
  CHECK(line->args == std::vector<std::string>{"img", "sh", "-c", "-d"});
}

TEST_CASE("flags: where parsing stops") {
  CHECK(parse("img -d")->args.size() == 2);
  auto mixed = parse("a -d b -- -t", true);
  CHECK(mixed->flags.on("detach"));
  CHECK(!mixed->flags.on("tty"));
  CHECK(mixed->args == std::vector<std::string>{"a", "b", "-t"});
  CHECK(parse("-- -d")->args == std::vector<std::string>{"-d"});
  CHECK(parse("- -d")->args == std::vector<std::string>{"-", "-d"});
  CHECK(parse("-it=false x")->flags.on("interactive"));
  CHECK(!parse("-it=false x")->flags.on("tty"));
  CHECK(parse("--name a --name b")->flags.text("name") == "b");
  CHECK(parse("--time 3")->flags.integer("timeout") == 3);
  CHECK(parse("--timeout 0x10")->flags.integer("timeout") == 16);
  CHECK(parse("")->flags.on("sig-proxy"));
  CHECK(!parse("")->flags.changed("sig-proxy"));
  CHECK(parse("--help")->help);
  CHECK(parse("-h")->deprecated_help);
}

TEST_CASE("flags: errors as Docker's client words them") {
  CHECK(error_of("--foo") == "unknown flag: --foo");
  CHECK(error_of("--foo=1") == "unknown flag: --foo");
  CHECK(error_of("-z") == "unknown shorthand flag: 'z' in -z");
  CHECK(error_of("-itz") == "unknown shorthand flag: 'z' in -z");
  CHECK(error_of("--name") == "flag needs an argument: --name");
  CHECK(error_of("-e") == "flag needs an argument: 'e' in -e");
  CHECK(error_of("-ie") == "flag needs an argument: 'e' in -e");
  CHECK(error_of("---x") == "bad flag syntax: ---x");
  CHECK(error_of("--=x") == "bad flag syntax: --=x");
  CHECK(error_of("--tty=abc") ==
        "invalid argument \"abc\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"abc\": invalid syntax");
  CHECK(error_of("-m abc") == "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'");
  CHECK(error_of("--timeout x") ==
        "invalid argument \"x\" for \"--timeout\" flag: strconv.ParseInt: parsing \"x\": invalid syntax");
}

TEST_CASE("flags: help is sorted, aligned and wrapped") {
  const std::span<const FlagSpec> tables[] = {kFlags};
  std::string help = flags_help(tables, 79, false);
  CHECK(help.starts_with("  -d, --detach         Background\n  -e, --env list       Set environment variables\n"));
  CHECK(help.find("time ") == std::string::npos);
  static constexpr FlagSpec kLong[] = {
      {.name = "add-host",
       .kind = FlagKind::kList,
       .type_name = "list",
       .usage = "Add a custom host-to-IP mapping (host:ip)"},
      {.name = "health-start-interval", .kind = FlagKind::kDuration, .type_name = "duration", .usage = "x"}};
  const std::span<const FlagSpec> wide[] = {kLong};
  CHECK(flags_help(wide, 79, false)
            .starts_with("      --add-host list                    Add a custom host-to-IP mapping\n"
                         "                                         (host:ip)\n"));
}

TEST_CASE("flags: every name and shorthand of a command is there once") {
  for (auto table : command_tables())
    for (const Command& command : table) {
      CAPTURE(command.names);
      std::vector<std::string> seen;
      for (auto flags : {command.flags, command.more_flags})
        for (const FlagSpec& spec : flags) {
          CAPTURE(spec.name);
          CHECK(std::find(seen.begin(), seen.end(), spec.name) == seen.end());
          seen.emplace_back(spec.name);
          if (!spec.shorthand) continue;
          std::string shorthand = std::string("-") + spec.shorthand;
          CHECK(std::find(seen.begin(), seen.end(), shorthand) == seen.end());
          seen.push_back(shorthand);
        }
    }
}

TEST_CASE("flags: container flags become the request body") {
  const std::span<const FlagSpec> tables[] = {container_flags()};
  auto body = [&](std::vector<std::string> args) -> std::string {
    auto line = parse_flags(tables, args, false);
    if (!line) return "flags: " + line.error().message;
    // --pull is the commands' own flag.
    static constexpr FlagSpec kPull[] = {{.name = "pull", .kind = FlagKind::kString, .initial = "missing"}};
    line->flags.use(kPull);
    auto request = parse_container(line->flags, line->args, {"HOME=/h", "FROM_ENV=yes"});
    return request ? request->body() : "error: " + request.error().message;
  };
  CHECK(
      body({"x"}) ==
      R"({"AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Image":"x","HostConfig":{"NetworkMode":"default"},"NetworkingConfig":{"EndpointsConfig":{}}})");
  std::string text = body({"-i",   "-e",       "FROM_ENV", "-e",   "A=b",          "-p", "127.0.0.1:80:8080", "-m",
                           "1g",   "--cpus",   "1.5",      "--rm", "--entrypoint", "",   "--network",         "n1",
                           "--ip", "10.0.0.2", "x",        "sh",   "-c",           "y"});
  CHECK(text.find(R"("Env":["FROM_ENV=yes","A=b"])") != std::string::npos);
  CHECK(text.find(R"("PortBindings":{"8080/tcp":[{"HostIp":"127.0.0.1","HostPort":"80"}]})") != std::string::npos);
  CHECK(text.find(R"("ExposedPorts":{"8080/tcp":{}})") != std::string::npos);
  CHECK(text.find(R"("Memory":1073741824)") != std::string::npos);
  CHECK(text.find(R"("NanoCpus":1500000000)") != std::string::npos);
  CHECK(text.find(R"("Entrypoint":[""])") != std::string::npos);
  CHECK(text.find(R"("Cmd":["sh","-c","y"])") != std::string::npos);
  CHECK(text.find(R"("StdinOnce":true)") != std::string::npos);
  CHECK(text.find(R"({"n1":{"IPAMConfig":{"IPv4Address":"10.0.0.2"}}})") != std::string::npos);
  CHECK(body({"--rm", "--restart", "always", "x"}) ==
        "error: conflicting options: cannot specify both --restart and --rm");
  CHECK(body({"--pid", "foo", "x"}) == "error: --pid: invalid PID mode");
  CHECK(body({"--security-opt", "a", "x"}) == "error: Invalid --security-opt: \"a\"");
  CHECK(body({"--memory-swappiness", "200", "x"}) ==
        "error: invalid value: 200. Valid memory swappiness range is 0-100");
  CHECK(body({"--mac-address", "foo", "x"}) == "error: foo is not a valid mac address");
  CHECK(body({"UPPER"}).find("must be lowercase") != std::string::npos);
}
