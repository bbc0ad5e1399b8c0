// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "exec_flags.h"
#include "flags.h"

using namespace caisson;
using namespace caisson::oci;

namespace {

using enum Flag::Kind;
constexpr Flag kFlags[] = {
    {"bundle", 'b', kValue, "where"}, {"detach", 'd', kSwitch, "go"}, {"env", 'e', kList, "more"}};
constexpr Usage kAnywhere{"try", "<id>", "does", "", kFlags};
constexpr Usage kFirst{"try", "<id>", "does", "", kFlags, 1, SIZE_MAX, true};

Result<Parsed> parse(const Usage& usage, std::vector<std::string> words) { return parse_flags(usage, words); }

}  // namespace

TEST_CASE("values come in every notation") {
  for (auto words :
       {std::vector<std::string>{"--bundle", "x"}, {"--bundle=x"}, {"-bundle", "x"}, {"-b", "x"}, {"-b=x"}, {"-bx"}}) {
    auto parsed = parse(kAnywhere, words);
    REQUIRE(parsed);
    CHECK(parsed->value("bundle") == "x");
    CHECK(parsed->arguments.empty());
  }
  auto parsed = parse(kAnywhere, {"-e", "A=1", "--env=B=2", "-b", "1", "-b", "2"});
  REQUIRE(parsed);
  CHECK(parsed->list("env") == std::vector<std::string>{"A=1", "B=2"});
  CHECK(parsed->value("bundle") == "2");
}

TEST_CASE("switches may say no") {
  CHECK(parse(kAnywhere, {"-d"})->on("detach"));
  CHECK(parse(kAnywhere, {"--detach=true"})->on("detach"));
  CHECK_FALSE(parse(kAnywhere, {"--detach=false"})->on("detach"));
  CHECK_FALSE(parse(kAnywhere, {})->on("detach"));
  CHECK(parse(kAnywhere, {"--detach=maybe"}).error().message == "invalid boolean value \"maybe\" for -detach");
}

TEST_CASE("where flags may stand") {
  CHECK(parse(kAnywhere, {"id", "-d"})->on("detach"));
  auto parsed = parse(kFirst, {"-d", "id", "-b", "--", "x"});
  REQUIRE(parsed);
  CHECK(parsed->arguments == std::vector<std::string>{"id", "-b", "--", "x"});
  CHECK(parse(kAnywhere, {"--", "-d"})->arguments == std::vector<std::string>{"-d"});
  CHECK(parse(kAnywhere, {"-"})->arguments == std::vector<std::string>{"-"});
}

TEST_CASE("what is no flag is named") {
  CHECK(parse(kAnywhere, {"--nope"}).error().message == "flag provided but not defined: -nope");
  CHECK(parse(kAnywhere, {"-9"}).error().message == "flag provided but not defined: -9");
  CHECK(parse(kAnywhere, {"-dx"}).error().message == "flag provided but not defined: -dx");
  CHECK(parse(kAnywhere, {"--bundle"}).error().message == "flag needs an argument: -bundle");
  CHECK(parse(kAnywhere, {"--help", "--nope"})->help);
}

TEST_CASE("help has one line per flag") {
  CHECK(flag_lines(kFlags) ==
        "   --bundle value, -b value  where\n   --detach, -d              go\n   --env value, -e value     more\n");
}

TEST_CASE("sub-cgroups") {
  sys::CgroupPaths box;
  box.dirs = {"/cg/cpu/box", "/cg/memory/box"};
  box.controllers = {{"cpu", "cpuacct"}, {"memory"}};
  CHECK(sub_cgroups(box, {})->dirs == box.dirs);
  CHECK(sub_cgroups(box, {"sub"})->dirs == std::vector<std::string>{"/cg/cpu/box/sub", "/cg/memory/box/sub"});
  CHECK(sub_cgroups(box, {"cpu,cpuacct:/a", "memory:b"})->dirs ==
        std::vector<std::string>{"/cg/cpu/box/a", "/cg/memory/box/b"});
  CHECK_FALSE(sub_cgroups(box, {"../up"}));
  CHECK_FALSE(sub_cgroups(box, {"pids:a"}));
  box.v2 = true;
  CHECK_FALSE(sub_cgroups(box, {"cpu:a"}));
}
